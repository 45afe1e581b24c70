"""Conditions as Boolean functions of who asks: what can be proved of entries and routes without a request at hand.

Exact over everything declarative: addresses are bits, names are codes, groups, scopes and the values of claims are variables
of their own (a claim may be a list, so any of its values may be there together). A `when` is an unknown: equal text,
equal unknown. What the functions say of a caller is what `decide.py` does with it; the tests hold one against the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from authproxy.model.address import Network
from authproxy.policy.condition import FACTORS, SECOND_FACTOR, Condition, Entry
from authproxy.policy.diagram import FALSE, TRUE, Diagram
from authproxy.policy.table import Route

SIX = 0  # is the client's address an IPv6 one? Its bits follow, the first one first.
BITS = range(1, 129)
KNOWN = 130  # is there an identity at all?
PREFLIGHT = 131
_AUTHENTICATOR, _SUBJECT, _NAMED = 140, 180, 1000
UNKNOWNS = 1 << 40  # variables from here on are the outcomes of `when`
_METHODS = (*sorted(frozenset().union(*FACTORS)), "mfa")  # the last one is the first to be made up
_MAPPED = 0xFFFF << 32  # ::ffff:0:0/96: such an address counts as the IPv4 one, so no client has it


class Outcome(NamedTuple):
    """What a request comes to: `allow` or a code; `shadow`: a `forbidden` was withheld for it."""

    code: str
    shadow: bool = False


def _names(routes: Iterable[Route], word: str) -> list[str]:
    """All names in the conditions of this word, each once."""
    entries = (e for route in routes for e in (*route.deny, *(route.allow or ())))
    found = (c.wanted for entry in entries for c in entry.conditions if c.word == word)
    return list(dict.fromkeys(name for wanted in found for name in wanted))


def _value(value: Any) -> tuple[str, Any]:
    """A claim's value such that equal means the same to JSON: `1`, `true` and `"1"` are three, `2` and `2.0` one."""
    kind = bool if isinstance(value, bool) else str if isinstance(value, str) else float
    return kind.__name__, value


class Code:
    """A property that has one of several names, or another one, as bits from `first` on."""

    def __init__(self, first: int, names: Sequence[str]) -> None:
        self.names = names
        self.bits = range(first, first + len(names).bit_length())
        self._codes = {name: number for number, name in enumerate(names, 1)}

    def is_any_of(self, diagram: Diagram, names: Iterable[str]) -> int:
        """Where it is one of these names."""
        codes = sorted({self._codes[name] for name in names if name in self._codes})
        return self._below(diagram, codes, 0)

    def _below(self, diagram: Diagram, codes: list[int], at: int) -> int:
        if not codes or at == len(self.bits):
            return TRUE if codes else FALSE
        bit = 1 << (len(self.bits) - at - 1)
        low = self._below(diagram, [c for c in codes if not c & bit], at + 1)
        high = self._below(diagram, [c for c in codes if c & bit], at + 1)
        return diagram.node(self.bits[at], low, high)

    def values(self, name: str) -> dict[int, bool]:
        """The bits of this name; of one that nothing asks for, those of another one."""
        code = self._codes.get(name, 0)
        return {bit: bool(code >> at & 1) for at, bit in enumerate(reversed(self.bits))}

    def read(self, values: Mapping[int, bool]) -> str | None:
        """The name; None: another one. Bits that nobody asked for may be anything."""
        code = 0
        for bit in self.bits:
            code = code << 1 | values.get(bit, False)
        return self.names[code - 1] if 0 < code <= len(self.names) else None


class Algebra:
    """The functions of some routes' conditions, over the variables that these routes need.

    All of them belong to `diagram` and may be combined there; `possible` is where a caller like that can exist at all.
    """

    def __init__(self, routes: Sequence[Route], diagram: Diagram | None = None) -> None:
        self.diagram = Diagram() if diagram is None else diagram
        asked = [name for route in routes for name in route.authenticators]
        asked += _names(routes, "authenticators")
        self.authenticator = Code(_AUTHENTICATOR, list(dict.fromkeys(asked)))
        self.subject = Code(_SUBJECT, _names(routes, "subjects"))
        self._variables: dict[tuple[str, Any], int] = {}
        self.keys: dict[int, tuple[str, Any]] = {}
        self.sources: dict[str, int] = {}
        self.networks: dict[Network, None] = {}

    # What conditions, entries and routes say.

    def outcomes(self, route: Route, method: str) -> dict[Outcome, int]:
        """For each thing a request of this method can come to at the route: for whom it does. Limits aside."""
        d, found = self.diagram, {}
        preflight = route.forward_preflight and method == "OPTIONS"
        ahead = d.variable(PREFLIGHT) if preflight else FALSE
        asked, permitted = d.opposite(ahead), self.permitted(route)
        if route.authenticators:
            known = d.variable(KNOWN)
            taken = self.authenticator.is_any_of(d, route.authenticators)
            found[Outcome("unauthenticated")] = d.minus(asked, known)
            found[Outcome("token_invalid")] = d.minus(d.every((asked, known)), taken)
            asked = d.every((asked, known, taken))
        passes, refused = d.every((asked, permitted)), d.minus(asked, permitted)
        silent = self.permitted(route, noted=True)
        noted = d.minus(passes, silent)
        found[Outcome("allow")] = d.some((ahead, d.every((passes, silent))))
        found[Outcome("allow", shadow=True)] = d.some((noted, refused)) if route.shadow else noted
        found[Outcome("forbidden")] = FALSE if route.shadow else refused
        return found

    def vouched(self, route: Route) -> int:
        """Whom the route's authenticators vouch for; everybody where it asks nobody."""
        if not route.authenticators:
            return TRUE
        taken = self.authenticator.is_any_of(self.diagram, route.authenticators)
        return self.diagram.every((self.diagram.variable(KNOWN), taken))

    def permitted(self, route: Route, *, noted: bool = False) -> int:
        """For whom `authorize` gives no reason against, among those that the route's authenticators vouch for.

        `noted`: nor is anything noted, as nothing would be different without the entries in shadow.
        """
        d = self.diagram
        denied = d.some(self.entry(e, deny=True) for e in route.deny if noted or not e.shadow)
        wanted = TRUE
        if route.allow is not None:
            wanted = d.some(self.entry(e) for e in route.allow if not (noted and e.shadow))
        if route.second_factor:
            wanted = d.every((wanted, self.condition(SECOND_FACTOR)))
        return d.minus(wanted, denied)

    def entry(self, entry: Entry, *, deny: bool = False) -> int:
        """For whom the entry holds; an error of `when` holds in `deny`, and fails in `allow`."""
        if not entry.conditions:
            return TRUE if deny else FALSE
        return self.diagram.every(self.condition(c, deny=deny) for c in reversed(entry.conditions))

    def condition(self, condition: Condition, *, deny: bool = False) -> int:
        """For whom the condition holds."""
        d, wanted = self.diagram, condition.wanted
        match condition.word:
            case "groups":
                return self._any_of("group", wanted)
            case "scopes":
                return d.every(sorted((self._has("scope", s) for s in set(wanted)), reverse=True))
            case "subjects":
                return self.subject.is_any_of(d, wanted)
            case "authenticators":
                return self.authenticator.is_any_of(d, wanted)
            case "networks":
                return d.some(map(self._network, wanted))
            case "claims":
                name, values = wanted
                good = [_value(v) for v in values if v == v]  # noqa: PLR0124  # NaN equals nothing, itself included
                return self._any_of("claim", [(name, value) for value in good])
            case "second_factor":
                return self._second_factor()
        return self._when(wanted[0], deny=deny)

    def _has(self, kind: str, key: Any) -> int:
        number = self._variables.setdefault((kind, key), _NAMED + len(self._variables))
        self.keys[number] = (kind, key)
        return self.diagram.variable(number)

    def _any_of(self, kind: str, keys: Iterable[Any]) -> int:
        """The last variable first: so each step is one node."""
        for key in keys:
            self._has(kind, key)
        found = FALSE
        for number in sorted({self._variables[kind, key] for key in keys}, reverse=True):
            found = self.diagram.node(number, found, TRUE)
        return found

    def _when(self, source: str, *, deny: bool) -> int:
        first = self.sources.setdefault(source.strip(), UNKNOWNS + 2 * len(self.sources))
        failed, true = self.diagram.variable(first), self.diagram.variable(first + 1)
        return self.diagram.some((failed, true)) if deny else self.diagram.minus(true, failed)

    def _second_factor(self) -> int:
        """As `condition.SECOND_FACTOR` reads the claim `amr`: a list that holds `mfa`, or of two kinds."""
        d = self.diagram
        held = {m: self._has("claim", ("amr", _value(m))) for m in _METHODS}
        listed = self._has("amr", "list")
        kinds = [d.some(held[m] for m in sorted(kind)) for kind in FACTORS]
        pairs = ((kinds[0], kinds[1]), (kinds[0], kinds[2]), (kinds[1], kinds[2]))
        several = d.some((held["mfa"], *(d.every(pair) for pair in pairs)))
        return d.every((several, listed))

    def _network(self, network: Network) -> int:
        width = network.max_prefixlen
        self.networks[network] = None
        bits = self._prefix(int(network.network_address), width, network.prefixlen)
        return self.diagram.node(SIX, bits, FALSE) if width == 32 else self.diagram.node(SIX, FALSE, bits)  # fmt: skip

    def _prefix(self, address: int, width: int, length: int) -> int:
        found = TRUE
        for at in reversed(range(length)):
            one = address >> (width - at - 1) & 1
            found = self.diagram.node(BITS[at], *((FALSE, found) if one else (found, FALSE)))
        return found

    # What a function says of callers.

    def possible(self, f: int) -> int:
        """`f`, without callers that nobody can be: from a mapped address, or with several methods in an `amr` that is no list."""
        d, several, one, found = self.diagram, FALSE, FALSE, f
        if any(network.version == 6 for network in self.networks):
            found = d.minus(f, d.node(SIX, FALSE, self._prefix(_MAPPED, 128, 96)))
        if ("amr", "list") not in self._variables:
            return found
        for number, key in self.keys.items():
            if key[0] == "claim" and key[1][0] == "amr":
                has = d.variable(number)
                one, several = d.some((one, has)), d.some((several, d.every((one, has))))
        return d.minus(found, d.minus(several, self._has("amr", "list")))

    def definite(self, f: int) -> int:
        """Where `f` holds whatever the `when` come to."""
        return self.diagram.whatever(f, UNKNOWNS)

    def unknowns(self, f: int) -> tuple[str, ...]:
        """The `when` that `f` depends on."""
        asked = {(v - UNKNOWNS) // 2 for v in self.diagram.variables(f) if v >= UNKNOWNS}
        return tuple(s for number, s in enumerate(self.sources) if number in asked)

"""Conditions as Boolean functions of who asks: what can be proved of entries and routes without a request at hand.

Exact over everything declarative: addresses are bits, names are codes, groups, scopes and the values of claims are variables
of their own (a claim may be a list, so any of its values may be there together). A `when` is an unknown: equal text,
equal unknown. What the functions say of a caller is what `decide.py` does with it; the tests hold one against the other.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from authproxy.model.address import LOOPBACK, Address, Network, parse_address
from authproxy.model.identity import Identity
from authproxy.policy.condition import FACTORS, SECOND_FACTOR, Condition, Entry
from authproxy.policy.diagram import FALSE, TRUE, Diagram
from authproxy.policy.table import Route

SIX = 0  # is the client's address an IPv6 one? Its bits follow, the first one first.
_BITS = range(1, 129)
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


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody for whom a function holds; `words` and `lacks` say what of them matters: what holds of them, and what
    must not. `unknowns` are the `when` that matter too.
    """

    identity: Identity | None
    client: Address
    preflight: bool
    words: tuple[str, ...]
    lacks: tuple[str, ...]
    unknowns: tuple[str, ...]


def _names(routes: Iterable[Route], word: str) -> list[str]:
    """All names in the conditions of this word, each once."""
    entries = (e for route in routes for e in (*route.deny, *(route.allow or ())))
    found = (c.wanted for entry in entries for c in entry.conditions if c.word == word)
    return list(dict.fromkeys(name for wanted in found for name in wanted))


def _value(value: Any) -> tuple[str, Any]:
    """A claim's value such that equal means the same to JSON: `1`, `true` and `"1"` are three, `2` and `2.0` one."""
    kind = bool if isinstance(value, bool) else str if isinstance(value, str) else float
    return kind.__name__, value


class _Code:
    """A property that has one of several names, or another one, as bits."""

    def __init__(self, first: int, names: Sequence[str]) -> None:
        self.names = names
        self.bits = range(first, first + len(names).bit_length())
        self._codes = {name: number for number, name in enumerate(names, 1)}

    def is_any_of(self, diagram: Diagram, names: Iterable[str]) -> int:
        codes = sorted({self._codes[name] for name in names if name in self._codes})
        return self._below(diagram, codes, 0)

    def _below(self, diagram: Diagram, codes: list[int], at: int) -> int:
        if not codes or at == len(self.bits):
            return TRUE if codes else FALSE
        bit = 1 << (len(self.bits) - at - 1)
        low = self._below(diagram, [c for c in codes if not c & bit], at + 1)
        high = self._below(diagram, [c for c in codes if c & bit], at + 1)
        return diagram.node(self.bits[at], low, high)

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
        self.diagram = diagram or Diagram()
        asked = [name for route in routes for name in route.authenticators]
        asked += _names(routes, "authenticators")
        self._authenticator = _Code(_AUTHENTICATOR, list(dict.fromkeys(asked)))
        self._subject = _Code(_SUBJECT, _names(routes, "subjects"))
        self._variables: dict[tuple[str, Any], int] = {}
        self._keys: dict[int, tuple[str, Any]] = {}
        self._unknowns: dict[str, int] = {}
        self._networks: dict[Network, None] = {}

    # What conditions, entries and routes say.

    def outcomes(self, route: Route, method: str) -> dict[Outcome, int]:
        """For each thing a request of this method can come to at the route: for whom it does. Limits aside."""
        d, found = self.diagram, {}
        preflight = route.forward_preflight and method == "OPTIONS"
        ahead = d.variable(PREFLIGHT) if preflight else FALSE
        asked, permitted = d.opposite(ahead), self.permitted(route)
        if route.authenticators:
            known = d.variable(KNOWN)
            taken = self._authenticator.is_any_of(d, route.authenticators)
            found[Outcome("unauthenticated")] = d.minus(asked, known)
            found[Outcome("token_invalid")] = d.minus(d.every((asked, known)), taken)
            asked = d.every((asked, known, taken))
        refused = Outcome("allow", shadow=True) if route.shadow else Outcome("forbidden")
        found[Outcome("allow")] = d.some((ahead, d.every((asked, permitted))))
        found[refused] = d.minus(asked, permitted)
        return found

    def permitted(self, route: Route) -> int:
        """For whom `authorize` gives no reason against, among those that the route's authenticators vouch for."""
        d = self.diagram
        denied = d.some(self.entry(entry, deny=True) for entry in route.deny)
        wanted = TRUE if route.allow is None else d.some(self.entry(e) for e in route.allow)
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
                return self._subject.is_any_of(d, wanted)
            case "authenticators":
                return self._authenticator.is_any_of(d, wanted)
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
        self._keys[number] = (kind, key)
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
        first = self._unknowns.setdefault(source.strip(), UNKNOWNS + 2 * len(self._unknowns))
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
        self._networks[network] = None
        bits = self._prefix(int(network.network_address), width, network.prefixlen)
        return self.diagram.node(SIX, bits, FALSE) if width == 32 else self.diagram.node(SIX, FALSE, bits)  # fmt: skip

    def _prefix(self, address: int, width: int, length: int) -> int:
        found = TRUE
        for at in reversed(range(length)):
            one = address >> (width - at - 1) & 1
            found = self.diagram.node(_BITS[at], *((FALSE, found) if one else (found, FALSE)))
        return found

    # What a function says of callers.

    def possible(self, f: int) -> int:
        """`f`, without callers that nobody can be: from a mapped address, or with several methods in an `amr` that is no list."""
        d, several, one, found = self.diagram, FALSE, FALSE, f
        if any(network.version == 6 for network in self._networks):
            found = d.minus(f, d.node(SIX, FALSE, self._prefix(_MAPPED, 128, 96)))
        if ("amr", "list") not in self._variables:
            return found
        for number, key in self._keys.items():
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
        return tuple(s for number, s in enumerate(self._unknowns) if number in asked)

    def caller(self, f: int) -> Caller:
        """Somebody for whom `f` holds, with no more about them than it takes. `f` must be possible."""
        values = self.diagram.example(self.possible(f))
        return Caller(
            self._identity(values),
            self._client(values),
            values.get(PREFLIGHT, False),
            tuple(self._words(values)),
            tuple(self._lacks(values)),
            self.unknowns(f),
        )

    def _identity(self, values: Mapping[int, bool]) -> Identity | None:
        has = self._held(values)
        named = any(values.get(bit) for code in (self._authenticator, self._subject) for bit in code.bits)  # fmt: skip
        if not values.get(KNOWN, bool(has or named)):
            return None
        subject = self._subject.read(values) or _fresh("someone", self._subject.names)
        return Identity(
            authenticator=self._authenticator.read(values)
            or _fresh("another", self._authenticator.names),
            subject=subject,
            groups=tuple(key for kind, key in has if kind == "group"),
            scopes=frozenset(key for kind, key in has if kind == "scope"),
            claims=self._claims(has, subject),
        )

    def _held(self, values: Mapping[int, bool]) -> list[tuple[str, Any]]:
        return [key for number, key in self._keys.items() if values.get(number)]

    def _claims(self, has: Sequence[tuple[str, Any]], subject: str) -> dict[str, Any]:
        found: dict[str, list[Any]] = {}
        for kind, key in has:
            if kind == "claim":
                found.setdefault(key[0], []).append(key[1][1])
        listed = ("amr", "list") in has
        claims: dict[str, Any] = {
            name: values if len(values) > 1 or (listed and name == "amr") else values[0]
            for name, values in found.items()
        }
        # A token says its subject in `sub`: where a condition asks for that and must not hold, it is another text.
        avoided = [key[1][1] for kind, key in self._keys.values() if kind == "claim" and key[0] == "sub"]  # fmt: skip
        return {"sub": subject if subject not in avoided else _fresh("another", avoided), **claims}

    def _client(self, values: Mapping[int, bool]) -> Address:
        """An address with these bits; one that is kept for examples where there is one (RFC 5737, RFC 3849)."""
        wanted = {bit: value for bit, value in values.items() if bit <= _BITS[-1]}
        if not wanted:
            return LOOPBACK
        for text in _EXAMPLES:
            address = parse_address(text)
            if address is not None and all(_bit(address, b) == v for b, v in wanted.items()):
                return address
        kind, width = (IPv6Address, 128) if wanted.get(SIX) else (IPv4Address, 32)
        bits = [wanted.get(bit, bit == width) for bit in range(1, width + 1)]
        return kind(int("".join("01"[bit] for bit in bits), 2))

    def _words(self, values: Mapping[int, bool]) -> Iterator[str]:
        if values.get(KNOWN) is False:
            yield "without a credential"
        if values.get(PREFLIGHT):
            yield "a CORS preflight"
        if not values.keys().isdisjoint(self._authenticator.bits):
            yield f"by {self._authenticator.read(values) or 'an authenticator that is not named'}"
        if not values.keys().isdisjoint(self._subject.bits):
            yield f"subject {self._subject.read(values) or 'that is not named'}"
        yield from (_word(self._keys[v]) for v, held in values.items() if held and v in self._keys)
        inside = [n for n in self._outermost(values) if self._client(values) in n]
        yield from (f"from {self._innermost(values)}" for _ in inside)
        for number, source in enumerate(self._unknowns):
            failed, true = (values.get(UNKNOWNS + 2 * number + at) for at in (0, 1))
            if failed is not None or true is not None:
                yield f"where `{source}` {'fails' if failed else 'is true' if true else 'is not true'}"

    def _lacks(self, values: Mapping[int, bool]) -> Iterator[str]:
        names = self._keys.items()
        yield from (_word(key) for number, key in names if values.get(number) is False)
        yield from (f"from {n}" for n in self._outermost(values) if self._client(values) not in n)

    def _outermost(self, values: Mapping[int, bool]) -> list[Network]:
        """The networks that are in no other one, of the client's kind, where its address matters."""
        if not any(bit in values for bit in (SIX, *_BITS)):
            return []
        kind = [n for n in self._networks if n.version == self._client(values).version]
        return [n for n in kind if not any(n != other and _within(n, other) for other in kind)]

    def _innermost(self, values: Mapping[int, bool]) -> Network:
        client = self._client(values)
        held = [n for n in self._networks if n.version == client.version and client in n]
        return max(held, key=lambda n: n.prefixlen)


_EXAMPLES = ("127.0.0.1", "192.0.2.1", "198.51.100.1", "2001:db8::1")


def _bit(address: Address, bit: int) -> bool:
    if bit == SIX:
        return address.version == 6
    if bit > address.max_prefixlen:
        return False
    return bool(int(address) >> (address.max_prefixlen - bit) & 1)


def _fresh(word: str, taken: Iterable[Any]) -> str:
    """The word, or the first of it numbered, that is none of these."""
    known = set(taken)
    return next(w for w in (word, *(f"{word}-{n}" for n in range(2, len(known) + 3))) if w not in known)  # fmt: skip


def _word(key: tuple[str, Any]) -> str:
    kind, what = key
    if kind == "claim":
        return f"claim {what[0]} = {json.dumps(what[1][1], ensure_ascii=False)}"
    return "a list in claim amr" if kind == "amr" else f"{kind} {what}"


def _within(one: Network, other: Network) -> bool:
    return one.network_address in other and one.prefixlen >= other.prefixlen

"""Those who ask, in the terms of an `Algebra`: what is known of somebody as values of its variables, and back.

Nobody here is real: a caller is made up to be somebody for whom a function holds, with no more about them than it takes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from authproxy.model.address import LOOPBACK, Address, Network
from authproxy.model.claims import find_claim, same
from authproxy.model.identity import Identity
from authproxy.policy.algebra import BITS, KNOWN, PREFLIGHT, SIX, UNKNOWNS, Algebra


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of somebody who asks. `subject`, `authenticator` and `client` None: it may be any; a group, a scope
    or a claim that is not here is not theirs. `anonymous`: nobody has been identified, and the rest but `client` is void.
    """

    subject: str | None = None
    authenticator: str | None = None
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict)
    client: Address | None = None
    anonymous: bool = False


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


# This machine, and what is kept for examples (RFC 5737, RFC 3849), so nobody's.
_EXAMPLES = (
    LOOPBACK, IPv4Address("192.0.2.1"), IPv4Address("198.51.100.1"), IPv6Address("2001:db8::1"),
)  # fmt: skip


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


def values_of(algebra: Algebra, known: Known) -> dict[int, bool]:
    """What is known, as values of the variables that the algebra has so far; no preflight."""
    found = {KNOWN: not known.anonymous, PREFLIGHT: False}
    if known.client is not None:
        found |= {bit: _bit(known.client, bit) for bit in (SIX, *BITS)}
    if known.subject is not None:
        found |= algebra.subject.values(known.subject)
    if known.authenticator is not None:
        found |= algebra.authenticator.values(known.authenticator)
    return found | {number: _held(known, *key) for number, key in algebra.keys.items()}


def _held(known: Known, kind: str, what: Any) -> bool:
    if kind == "amr":
        return isinstance(known.claims.get("amr"), list)
    if kind == "claim":
        found = find_claim(known.claims, what[0])
        return any(same(one, what[1][1]) for one in (found if isinstance(found, list) else [found]))
    return what in (known.groups if kind == "group" else known.scopes)


def caller_of(algebra: Algebra, f: int) -> Caller:
    """Somebody for whom `f` holds, with no more about them than it takes. `f` must be possible."""
    return _Made(algebra, algebra.diagram.example(algebra.possible(f))).caller(algebra.unknowns(f))


class _Made:
    """Reads one example of a function: some variables with their values; all others may be anything."""

    def __init__(self, algebra: Algebra, values: Mapping[int, bool]) -> None:
        self.algebra, self.values = algebra, values
        self.held = [key for number, key in algebra.keys.items() if values.get(number)]
        self.client = self._address()
        # Only where the address matters; those of the other kind are no more than that.
        matters = any(bit in values for bit in (SIX, *BITS))
        self.networks = [
            n for n in algebra.networks if matters and n.version == self.client.version
        ]

    def caller(self, unknowns: tuple[str, ...]) -> Caller:
        preflight = self.values.get(PREFLIGHT, False)
        words, lacks = tuple(self._words()), tuple(self._lacks())
        return Caller(self._identity(), self.client, preflight, words, lacks, unknowns)

    def _identity(self) -> Identity | None:
        who, what = self.algebra.subject, self.algebra.authenticator
        named = any(self.values.get(bit) for bit in (*who.bits, *what.bits))
        if not self.values.get(KNOWN, bool(self.held or named)):
            return None
        subject = who.read(self.values) or _fresh("someone", who.names)
        return Identity(
            authenticator=what.read(self.values) or _fresh("another", what.names),
            subject=subject,
            groups=tuple(what for kind, what in self.held if kind == "group"),
            scopes=frozenset(what for kind, what in self.held if kind == "scope"),
            claims=self._claims(subject),
        )

    def _claims(self, subject: str) -> dict[str, Any]:
        found: dict[str, list[Any]] = {}
        for kind, what in self.held:
            if kind == "claim":
                found.setdefault(what[0], []).append(what[1][1])
            elif kind == "amr":
                found.setdefault("amr", [])
        listed = {"amr"} if ("amr", "list") in self.held else set()
        claims = {n: v if len(v) > 1 or n in listed else v[0] for n, v in found.items()}
        # A token says its subject in `sub`: where a condition asks for that and must not hold, it is another text.
        asked = [what for kind, what in self.algebra.keys.values() if kind == "claim"]
        avoided = [what[1][1] for what in asked if what[0] == "sub"]
        return {"sub": _fresh("another", avoided) if subject in avoided else subject, **claims}

    def _address(self) -> Address:
        """An address with these bits; one that is kept for examples where there is one."""
        wanted = {bit: value for bit, value in self.values.items() if bit <= BITS[-1]}
        for address in _EXAMPLES:
            if all(_bit(address, bit) == value for bit, value in wanted.items()):
                return address
        kind, width = (IPv6Address, 128) if wanted.get(SIX) else (IPv4Address, 32)
        bits = (wanted.get(bit, bit == width) for bit in range(1, width + 1))
        return kind(int("".join("01"[bit] for bit in bits), 2))

    def _words(self) -> Iterator[str]:
        if self.values.get(KNOWN) is False:
            yield "without a credential"
        if self.values.get(PREFLIGHT):
            yield "a CORS preflight"
        for code, text in ((self.algebra.authenticator, "by"), (self.algebra.subject, "subject")):
            if not self.values.keys().isdisjoint(code.bits):
                yield f"{text} {code.read(self.values) or 'none that is named'}"
        yield from map(_word, self.held)
        inside = [network for network in self.networks if self.client in network]
        if inside:
            yield f"from {max(inside, key=lambda n: n.prefixlen)}"
        for number, source in enumerate(self.algebra.sources):
            failed, true = (self.values.get(UNKNOWNS + 2 * number + at) for at in (0, 1))
            if failed is not None or true is not None:
                yield f"where `{source}` {'fails' if failed else 'is true' if true else 'is not true'}"

    def _lacks(self) -> Iterator[str]:
        keys = self.algebra.keys.items()
        yield from (_word(key) for number, key in keys if self.values.get(number) is False)
        outside = [network for network in self.networks if self.client not in network]
        widest = (
            n for n in outside if not any(n != other and _within(n, other) for other in outside)
        )
        yield from (f"from {network}" for network in widest)

"""Warnings about the entries of `allow` and `deny`: those that decide nothing, hold for nobody, or hold for everyone.

Entries are compared by what they say, as written. Whether CEL expressions imply each other nobody asks: the same text is
the same condition, and one that reads nothing is evaluated.
"""

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from authproxy.model.address import Network, parse_network
from authproxy.model.claims import same
from authproxy.model.exchange import Exchange
from authproxy.policy import condition
from authproxy.policy.condition import without_texts
from authproxy.policy.document import Entry, RouteDocument
from authproxy.policy.findings import Findings

# One of these names is enough; of `scopes` all are wanted.
ANY_OF = ("groups", "subjects", "authenticators")
CONDITIONS = (*ANY_OF, "scopes", "claims", "when", "networks")
_READS = re.compile(r"\b(?:request|identity|claims|now)\b")
_ALL = {"0.0.0.0/0", "::/0"}
Key = tuple[Any, ...]


def lint_entries(wanted: RouteDocument, authenticators: Collection[str], found: Findings) -> None:
    """The warnings about the entries of one route, whose authenticators these are."""
    deny, allow = wanted.deny or [], wanted.allow if isinstance(wanted.allow, list) else []
    for listed, entries in (("deny", deny), ("allow", allow)):
        _lint_everyone(listed, entries, authenticators, found)
        _lint_never(listed, entries, found)
        _lint_values(listed, entries, found)
        if len(authenticators) > 1:
            _lint_subjects(wanted.name, listed, entries, found)
    _lint_unreachable(wanted.name, deny, allow, found)


def _lint_everyone(
    listed: str, entries: Sequence[Entry], authenticators: Collection[str], found: Findings
) -> None:
    if listed == "deny":
        entries = [entry for entry in entries if entry.mode == "enforce"]
    if not holds_for_everyone(entries, authenticators):
        return
    if listed == "deny":
        text = "these entries hold for everyone, so the route refuses everyone"
        found.warn((listed,), "deny-everyone", text, "make them narrower, or remove the route")
    elif authenticators:
        text = "these entries hold for every identity"
        remedy = "write `allow: authenticated`, or make them narrower"
        found.warn((listed,), "allow-everyone", text, remedy)


def holds_for_everyone(entries: Sequence[Entry], authenticators: Collection[str]) -> bool:
    """Does one of the entries hold, whoever comes by these authenticators? Also where several do only together."""
    networks: list[str] = []
    names: set[str] = set()
    for entry in entries:
        wanted = [
            word for word in _conditions(entry) if not _holds_always(entry, word, authenticators)
        ]
        if not wanted:
            return True
        if wanted == ["networks"]:
            networks += entry.networks or ()
        if wanted == ["authenticators"]:
            names.update(entry.authenticators or ())
    return _covers_all(tuple(networks)) or bool(authenticators and names.issuperset(authenticators))


def _conditions(entry: Entry) -> Iterator[str]:
    return (word for word in CONDITIONS if getattr(entry, word) is not None)


def _holds_always(entry: Entry, word: str, authenticators: Collection[str]) -> bool:
    if word == "authenticators":
        return bool(authenticators) and set(authenticators) <= set(entry.authenticators or ())
    if word == "networks":
        return _covers_all(tuple(entry.networks or ()))
    return word == "when" and _constant(entry.when or "") is True


@lru_cache(maxsize=4096)
def _covers_all(texts: tuple[str, ...]) -> bool:
    if len(texts) < 2:  # one network is of one family
        return False
    networks = [parse_network(text) for text in texts]
    four = [n for n in networks if isinstance(n, ipaddress.IPv4Network)]
    six = [n for n in networks if isinstance(n, ipaddress.IPv6Network)]
    whole = (*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six))
    return {str(network) for network in whole} >= _ALL


@lru_cache(maxsize=4096)
def _constant(source: str) -> bool | str | None:
    """What an expression that reads nothing comes to, a text for an error; None: it reads something."""
    if _READS.search(without_texts(source)):
        return None
    return condition.when(source).test(Exchange("", 0.0, 0.0))


def _lint_never(listed: str, entries: Sequence[Entry], found: Findings) -> None:
    for index, entry in enumerate(entries):
        value = None if entry.when is None else _constant(entry.when)
        # What fails counts for a refusal: it never allows, and always denies.
        if value is False or (isinstance(value, str) and listed == "allow"):
            text = f"{listed}[{index}] never holds: its `when` reads nothing and is not true"
            remedy = "remove the entry, or write what it should ask"
            found.warn((listed, index, "when"), "impossible-entry", text, remedy)


def _lint_values(listed: str, entries: Sequence[Entry], found: Findings) -> None:
    for index, entry in enumerate(entries):
        for word in ("groups", "subjects"):
            for at, value in enumerate(getattr(entry, word) or ()):
                if "*" in value:
                    text = f"`{value[:80]}` is compared as written, `*` stands for nothing here"
                    remedy = "name each, or ask with `when` (`identity.subject.endsWith(…)`)"
                    found.warn((listed, index, word, at), "glob-in-value", text, remedy)


def _lint_subjects(name: str, listed: str, entries: Sequence[Entry], found: Findings) -> None:
    for index, entry in enumerate(entries):
        if entry.subjects is not None and entry.authenticators is None:
            text = f"the route `{name}` names subjects, and takes them from several authenticators: the same name may be two people"
            remedy = "add `authenticators: [NAME]` to the entry"
            found.warn((listed, index, "subjects"), "ambiguous-subjects", text, remedy)


def _lint_unreachable(
    name: str, deny: Sequence[Entry], allow: Sequence[Entry], found: Findings
) -> None:
    denied, allowed = _Known("deny"), _Known("allow")
    for listed, entries, known in (("deny", deny, denied), ("allow", allow, allowed)):
        for index, entry in enumerate(entries):
            other = denied.held_by(entry) or known.held_by(entry)
            if entry.mode == "enforce":  # in shadow it decides nothing about those behind it
                known.add(index, entry)
            if other is None:
                continue
            text = f"the route `{name}`: {listed}[{index}] never decides, {other} holds whenever it does"
            if listed == "allow" and other.startswith("deny"):
                text = f"the route `{name}`: {listed}[{index}] lets nobody in, {other} holds whenever it does"
            remedy = "remove it, or make the other one narrower"
            found.warn((listed, index), "unreachable-entry", text, remedy)


class _Known:
    """The entries of a list so far, found by what a narrower entry must have in common with them."""

    def __init__(self, listed: str) -> None:
        self._listed = listed
        self._entries: dict[int, Entry] = {}
        self._by_key: dict[Key, list[int]] = {}

    def add(self, index: int, entry: Entry) -> None:
        """One more, which stands there."""
        for key in _home(entry):
            self._by_key.setdefault(key, []).append(index)
        self._entries[index] = entry

    def held_by(self, entry: Entry) -> str | None:
        """The first that holds whenever this entry does."""
        if not self._entries:
            return None
        near = sorted({at for key in _probes(entry) for at in self._by_key.get(key, ())})
        found = next((at for at in near if _holds_whenever(self._entries[at], entry)), None)
        return None if found is None else f"{self._listed}[{found}]"


def _home(entry: Entry) -> Iterable[Key]:
    """Where an entry is looked for; by one of its conditions, the one that tells most."""
    for word in ("subjects", "groups"):
        values = getattr(entry, word)
        if values is not None:
            return [(word, value) for value in values]
    if entry.claims is not None:
        name = next(iter(entry.claims))
        return [("claims", name, value) for value in _values(entry.claims[name])]
    if entry.scopes is not None:
        return [("scopes", entry.scopes[0])]
    if entry.when is not None:
        return [("when", entry.when)]
    return [("networks",)]


def _probes(entry: Entry) -> Iterator[Key]:
    """Where the entries are that may hold whenever this one does: what they want includes a value that this one wants."""
    yield ("networks",)
    if entry.subjects is not None:
        yield "subjects", entry.subjects[0]
    if entry.groups is not None:
        yield "groups", entry.groups[0]
    for name, value in (entry.claims or {}).items():
        yield "claims", name, _values(value)[0]
    yield from (("scopes", scope) for scope in entry.scopes or ())
    if entry.when is not None:
        yield "when", entry.when


def _values(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def _holds_whenever(wide: Entry, narrow: Entry) -> bool:
    """Does the first hold whenever the second does?"""
    return all(_implied(word, getattr(wide, word), getattr(narrow, word)) for word in _conditions(wide))  # fmt: skip


def _implied(word: str, wide: Any, narrow: Any) -> bool:
    if narrow is None:
        return False
    if word in ANY_OF:
        return set(narrow) <= set(wide)
    if word == "scopes":
        return set(wide) <= set(narrow)
    if word == "when":
        return bool(wide == narrow)
    if word == "networks":
        return all(any(_within(inner, outer) for outer in wide) for inner in narrow)
    return all(name in narrow and _any_of(wide[name], narrow[name]) for name in wide)


def _any_of(wide: Any, narrow: Any) -> bool:
    return all(any(same(one, other) for other in _values(wide)) for one in _values(narrow))


def _within(inner: str, outer: str) -> bool:
    if inner == outer:
        return True
    one, other = _network(inner), _network(outer)
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]  # they are of one family


@lru_cache(maxsize=16384)
def _network(text: str) -> Network:
    return parse_network(text)

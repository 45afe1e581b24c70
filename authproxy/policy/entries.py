"""The entries of `allow` and `deny`, and the CEL of a route, compiled; each problem at its place.

With `authenticate: none` nobody is identified: what asks who is calling is an error there, not a test that never holds.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from authproxy.model.address import parse_network
from authproxy.model.source import Path
from authproxy.policy import condition
from authproxy.policy.condition import Condition, Entry, ExpressionError, without_texts
from authproxy.policy.document import Entry as EntryDocument
from authproxy.policy.findings import Findings

_Of = TypeVar("_Of")
# What has been read so far: of many routes that say the same, all have one object, and requests to any of them keep it at hand.
Known = dict[Any, Any]
_IDENTITY_WORDS = re.compile(r"(?<![\w.])(identity|claims)\b")
_NO_CONDITIONS = frozenset({"mode"})
_NEED_NO_IDENTITY = frozenset({"networks", "when"}) | _NO_CONDITIONS


def same(known: Known, value: _Of) -> _Of:
    """The first of all equal values."""
    found: _Of = known.setdefault((type(value), value), value)
    return found


@dataclass(frozen=True, slots=True)
class EntryReader:
    """Compiles the entries of one route; `authenticators` are the route's own, empty where nobody is asked.

    `known` is what other routes of the same files came to: an entry that says the same, and about which there was
    nothing to say, is compiled once.
    """

    findings: Findings
    authenticators: Collection[str]
    known: Known = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Is nobody asked who they are?"""
        return not self.authenticators

    def entries(self, listed: str, entries: Sequence[EntryDocument]) -> tuple[Entry, ...]:
        """The entries of `allow` or `deny`."""
        return tuple(self._entry((listed, i), entry) for i, entry in enumerate(entries))

    def expression(self, path: Path, source: str, make: Callable[[str], _Of]) -> _Of | None:
        """What `make` makes of the CEL source; None where it cannot be used."""
        if self.is_open and _IDENTITY_WORDS.search(without_texts(source)):
            text = "with `authenticate: none` there is no identity and there are no claims"
            self.findings.wrong(path, "needs-identity", text, "read the request only")
        try:
            return make(source)
        except ExpressionError as error:
            text = f"this CEL expression cannot be used: {error}"
            remedy = "see the policy reference for what an expression may read"
            self.findings.wrong(path, "bad-expression", text, remedy, offset=error.column)
            return None

    def _entry(self, path: Path, entry: EntryDocument) -> Entry:
        said = repr(vars(entry)), tuple(self.authenticators)
        found: Entry | None = self.known.get(said)
        if found is None:
            problems = len(self.findings.problems)
            found = self._compiled(path, entry)
            # Of a damaged route not everything is said that would be of another.
            if len(self.findings.problems) == problems and not self.findings.damaged:
                self.known[said] = found
        return found

    def _compiled(self, path: Path, entry: EntryDocument) -> Entry:
        if not entry.model_fields_set - _NO_CONDITIONS:
            text = "an entry without conditions would hold for everyone"
            self.findings.wrong(path, "empty-entry", text, "write a condition, or remove the entry")
        if self.is_open:
            self._refuse_identity(path, entry)
        return Entry(tuple(self._conditions(path, entry)), entry.mode == "shadow")

    def _refuse_identity(self, path: Path, entry: EntryDocument) -> None:
        for word in sorted(entry.model_fields_set - _NEED_NO_IDENTITY):
            text = f"`{word}` needs an identity, and with `authenticate: none` there is none"
            remedy = "use networks or `when` over the request"
            self.findings.wrong((*path, word), "needs-identity", text, remedy, key=True)

    def _conditions(self, path: Path, entry: EntryDocument) -> list[Condition]:
        """In the order of their cost: sets first, CEL last."""
        found = [
            make(wanted)
            for make, wanted in (
                (condition.groups, entry.groups),
                (condition.scopes, entry.scopes),
                (condition.subjects, entry.subjects),
            )
            if wanted is not None
        ]
        if entry.authenticators is not None:
            found.append(self._authenticators((*path, "authenticators"), entry.authenticators))
        if entry.networks is not None:
            found.append(self._networks((*path, "networks"), entry.networks))
        found += [condition.claim(name, value) for name, value in (entry.claims or {}).items()]
        if entry.when is not None:
            made = self.expression((*path, "when"), entry.when, condition.when)
            found += [made] if made is not None else []
        return found

    def _authenticators(self, path: Path, names: Sequence[str]) -> Condition:
        for index, name in enumerate(names if not self.is_open else ()):
            self.findings.refer((*path, index), "authenticator", name, self.authenticators)
        return condition.authenticators(names)

    def _networks(self, path: Path, texts: Sequence[str]) -> Condition:
        good = []
        for index, text in enumerate(texts):
            try:
                good.append(parse_network(text))
            except ValueError as error:
                bits = "host bits" in str(error)
                hint = "its host bits must be 0" if bits else "write an address and a prefix length"
                said = f"`{text[:60]}` is no network"
                remedy = f"{hint}, such as 10.0.0.0/8"
                self.findings.wrong((*path, index), "bad-network", said, remedy)
        return condition.networks(good)

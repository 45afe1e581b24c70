"""What a replay comes to: each change in a line, and all of them grouped by route, reason and subject, with examples.

What is kept is bounded, whatever a log holds: a line is told and forgotten, a group counts.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from authproxy.policy.recorded import Recorded
from authproxy.policy.replay import Outcome

GROUPS_MOST = 10_000
SUBJECTS_MOST = 100  # that a group tells apart
EXAMPLES = 3
DIGESTS_MOST = 100
CODES_MOST = 100
TEXT_MOST = 256  # characters that are kept of a text, of which a log may hold any number and length


class Change(StrEnum):
    """How two outcomes differ."""

    allow_to_refuse = "allow-to-refuse"
    refuse_to_allow = "refuse-to-allow"
    other_refusal = "other-refusal"
    other_route = "other-route"


def kept(text: str) -> str:
    """A text of a log as it is kept: the beginning of one that is longer than nearly all of ours."""
    return text if len(text) <= TEXT_MOST else f"{text[:TEXT_MOST]}…"


def change_of(before: Outcome, after: Outcome) -> Change | None:
    """The change from one to the other; None where there is none."""
    if before.code == after.code:
        return Change.other_route if before.route != after.route else None
    if before.code == "allow":
        return Change.allow_to_refuse
    return Change.refuse_to_allow if after.code == "allow" else Change.other_refusal


@dataclass(frozen=True, slots=True)
class Changed:
    """A request whose outcome is another one."""

    change: Change
    record: Recorded
    before: Outcome
    after: Outcome

    def told(self) -> dict[str, Any]:
        """As JSON tells it."""
        return {
            **_request(self.record),
            "change": self.change.value,
            "old": {"verdict": self.before.code, "route": self.before.route or None, "reason": self.before.reason or None},
            "new": {"verdict": self.after.code, "route": self.after.route or None, "reason": self.after.reason or None},
            "subject": self.record.subject or None,
        }  # fmt: skip


def _request(record: Recorded) -> dict[str, str]:
    exchange = record.exchange
    path = exchange.target.path if exchange.target is not None else exchange.raw_target
    return {
        "request_id": exchange.request_id, "method": exchange.method, "host": exchange.host, "path": path,
    }  # fmt: skip


@dataclass(slots=True)
class Group:
    """Requests that have the same in common."""

    count: int = 0
    subjects: Counter[str] = field(default_factory=Counter)
    other_subjects: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, record: Recorded, subject: str) -> None:
        """One more."""
        self.count += 1
        subject = kept(subject)
        if subject in self.subjects or len(self.subjects) < SUBJECTS_MOST:
            self.subjects[subject] += 1
        else:
            self.other_subjects += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({name: kept(text) for name, text in _request(record).items()})

    def told(self) -> dict[str, Any]:
        """As JSON tells it; subjects by their number, who was not identified as the empty one."""
        return {
            "count": self.count, "subjects": dict(self.subjects.most_common()), "other_subjects": self.other_subjects,
            "examples": self.examples,
        }  # fmt: skip


class Groups:
    """Groups by what their requests have in common; the last one takes what is too much."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._groups: dict[tuple[str, ...], Group] = {}

    def add(self, key: tuple[str, ...], record: Recorded, subject: str = "") -> None:
        """One more request."""
        key = tuple(map(kept, key))
        found = self._groups.get(key)
        if found is None:
            if len(self._groups) >= GROUPS_MOST:
                key = ("others",) * len(self.names)
            found = self._groups.setdefault(key, Group())
        found.add(record, subject)

    def largest(self) -> list[tuple[dict[str, str], Group]]:
        """By their number, with what they have in common."""
        ordered = sorted(self._groups.items(), key=lambda item: (-item[1].count, item[0]))
        return [(dict(zip(self.names, key, strict=True)), group) for key, group in ordered]


class Tally:
    """Counts what comes out. `unchanged` includes what was `left` to somebody else than the policies, by its code."""

    def __init__(self) -> None:
        self.unchanged = 0
        self.undecidable = 0
        self.changes: Counter[Change] = Counter()
        self.left: Counter[str] = Counter()
        self.policies: Counter[str] = Counter()
        self.groups = Groups(("change", "old", "new", "old_route", "route", "reason"))
        self.unknown = Groups(("route", "why"))
        self.withheld: Counter[str] = Counter()  # by route: whom shadow mode would let pass
        self.doubtful: Counter[str] = Counter()  # by route: whom it might

    @property
    def decided(self) -> int:
        """How many requests came to an outcome."""
        return self.unchanged + sum(self.changes.values())

    def note(self, record: Recorded, before: Outcome, after: Outcome) -> Changed | None:
        """Count one; the change, where it is one."""
        policies, code = kept(record.policies), kept(after.code)
        if policies in self.policies or len(self.policies) < DIGESTS_MOST:
            self.policies[policies] += 1
        if after.unknown:
            self.undecidable += 1
            self.unknown.add((after.route, after.unknown), record)
            return None
        if after.left:
            self.left[code if code in self.left or len(self.left) < CODES_MOST else "others"] += 1
        if after.shadow:
            self.withheld[after.route] += 1
        if after.doubt:
            self.doubtful[after.route] += 1
        change = change_of(before, after)
        if change is None:
            self.unchanged += 1
            return None
        self.changes[change] += 1
        reason = after.reason if after.code != "allow" else before.reason
        key = (change.value, before.code, after.code, before.route, after.route, reason)
        self.groups.add(key, record, record.subject)
        return Changed(change, record, before, after)

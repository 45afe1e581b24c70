"""What a chaos run must hold, judged from three records: what clients got, what backends saw, what the proxies logged.

1. Nothing reaches a backend that the policies refuse, nobody under another's name, nobody past a limit (`wrong`).
2. No client waits past its patience (`hung`).
3. Each trial that did not end as it does on a quiet day has a line in the access log with a code that a fault of the
   time explains, or, where there is no line, a fault of the time that takes answers or lines away (`unexplained`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.endurance.callers import Outcome
from tests.endurance.faults import Fault
from tests.endurance.site import LIMIT
from tests.endurance.trials import ALLOW

# Which faults explain a code: what they take away is what the code names. A worker that was stopped, or has just been
# started, finds that its own waiting was too long.
EXPLAINED_BY: dict[str, frozenset[str]] = {
    "state_unavailable": frozenset({"Redis killed", "Redis stopped", "worker stopped", "worker killed"}),
    "upstream_unreachable": frozenset({"backend killed", "backend resets"}),
    "upstream_invalid": frozenset({"backend killed", "backend resets"}),
    "upstream_timeout": frozenset({"backend stopped", "worker stopped"}),
}  # fmt: skip
LATELY = "revoked lately"
LOSES_ANSWERS = frozenset({"worker killed"})
CUTS_SOCKETS = frozenset({"backend killed", "backend resets"})
LOSES_LINES = frozenset({"disk full", "worker killed"})
LATE_NEWS = frozenset({"Redis killed", "Redis stopped", "worker stopped"})
# Seconds after its end in which a fault still explains: Redis is looked for within five, and then timeouts end.
GRACE = {"Redis killed": 6.0, "Redis stopped": 6.0, "worker killed": 3.0}
GRACE_ELSE = 2.0
MINUTE = 60.0
HUNG = 20.0  # seconds; what a client waits, and what no answer may need


@dataclass
class Records:
    """What was collected."""

    outcomes: Sequence[Outcome]
    notes: Sequence[Mapping[str, Any]]  # of the backends
    lines: Mapping[str, Mapping[str, Any]]  # the access log's, by request id
    faults: Sequence[Fault]


@dataclass
class Judgement:
    """What was found."""

    wrong: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    by_fault: "Counter[tuple[str, str]]" = field(
        default_factory=Counter
    )  # (fault, what) -> how many
    longest_after: dict[str, float] = field(default_factory=dict)  # fault -> seconds after its end

    def passed(self) -> bool:
        """Nothing speaks against the program."""
        return not (self.wrong or self.hung or self.unexplained)


def around(faults: Iterable[Fault], kinds: frozenset[str], begin: float, end: float) -> list[Fault]:
    """Those of these kinds that were under way, or had just ended, in this time."""
    return [
        fault
        for fault in faults
        if fault.kind in kinds
        and fault.began <= end
        and begin <= fault.ended + GRACE.get(fault.kind, GRACE_ELSE)
    ]


def judge(records: Records) -> Judgement:
    """All three promises."""
    found = Judgement()
    known = {outcome.name: outcome for outcome in records.outcomes}
    _judge_notes(records, known, found)
    _judge_limits(records, known, found)
    for outcome in records.outcomes:
        if outcome.error == "timeout" or outcome.seconds > HUNG:
            found.hung.append(_told(outcome))
        elif outcome.trial.kind == LATELY and outcome.verdict == ALLOW:
            pass  # judged by what the backend saw
        elif not as_usual(outcome):
            _explain(records, outcome, found)
    return found


def as_usual(outcome: Outcome) -> bool:
    """Did it end as it does when nothing is broken?"""
    return not outcome.error and outcome.verdict in outcome.trial.verdicts


def _told(outcome: Outcome) -> str:
    """One line about it."""
    what = outcome.error or outcome.verdict
    return f"{outcome.at:.2f} {outcome.request_id} {what} after {outcome.seconds:.2f} s"


def _judge_notes(records: Records, known: Mapping[str, Outcome], found: Judgement) -> None:
    for note in records.notes:
        outcome = known.get(note["trial"])
        if outcome is None:
            found.wrong.append(f"the backend saw {note['trial']!r}, which nobody sent")
            continue
        one = outcome.trial
        if ALLOW not in one.verdicts:
            # news of a revocation cannot come from a Redis that is away, nor to a worker that does not run
            late = one.kind == LATELY and around(
                records.faults, LATE_NEWS, one.since - 1, note["at"]
            )
            if not late:
                found.wrong.append(f"let in: {_told(outcome)}")
            else:
                found.by_fault[late[0].kind, "a revocation that was known late"] += 1
        elif note["user"] != one.user:
            found.wrong.append(f"{_told(outcome)}: as {note['user']!r}")
    for outcome in records.outcomes:
        if outcome.verdict == ALLOW and ALLOW not in outcome.trial.verdicts:
            lately = outcome.trial.kind == LATELY  # judged by what the backend saw
            if not lately:
                found.wrong.append(f"answered: {_told(outcome)}")


def _judge_limits(records: Records, known: Mapping[str, Outcome], found: Judgement) -> None:
    """No minute has more than the limit of those that were surely counted within it."""
    passed: dict[str, list[Outcome]] = {}
    for name in {note["trial"] for note in records.notes}:
        outcome = known.get(name)
        if outcome is not None and outcome.trial.kind == "limited":
            passed.setdefault(outcome.trial.user, []).append(outcome)
    for user, outcomes in passed.items():
        for first in outcomes:
            end = first.at + MINUTE
            n = sum(first.at <= one.at and one.at + one.seconds < end for one in outcomes)
            if n > LIMIT:
                found.wrong.append(f"{n} of {user} in the minute from {first.at:.2f}")


def _explain(records: Records, outcome: Outcome, found: Judgement) -> None:
    """Why it did not end as usual."""
    begin, end = outcome.at, outcome.at + outcome.seconds
    line = records.lines.get(outcome.request_id)
    code = (line or {}).get("code") or ""
    told = outcome.verdict if outcome.verdict in EXPLAINED_BY else ""
    if line is None and not around(records.faults, LOSES_LINES, begin, end + 1):
        kinds, what = frozenset[str](), "no line in the log"
    elif code or told:
        kinds = EXPLAINED_BY.get(code or told, frozenset())
        what = code or f"{told}, its line lost"
    elif line is None and outcome.status >= 500:
        kinds, what = (
            frozenset[str]().union(*EXPLAINED_BY.values()),
            "a page of ours, its line lost",
        )
    elif line is not None and line["status"] == 101:
        kinds, what = CUTS_SOCKETS, "a WebSocket that the backend cut"
    else:
        kinds, what = LOSES_ANSWERS, "cut, no code"
    causes = around(records.faults, kinds, begin, end)
    if not causes or (code and told and code != told):
        found.unexplained.append(f"{_told(outcome)}: {what}")
        return
    cause = max(causes, key=lambda fault: fault.ended)
    found.by_fault[cause.kind, what] += 1
    after = end - cause.ended
    found.longest_after[cause.kind] = max(found.longest_after.get(cause.kind, 0.0), after)

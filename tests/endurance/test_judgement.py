"""The judge of a chaos run finds what it is there to find, and lets pass what a fault explains."""

from typing import Any

from tests.endurance.callers import Outcome
from tests.endurance.faults import Fault
from tests.endurance.judgement import Judgement, Records, judge
from tests.endurance.site import LIMIT
from tests.endurance.trials import ALLOW, Trial

GOOD = Trial("allowed", frozenset({ALLOW}), "/api/x", user="alice")
BAD = Trial("forged", frozenset({"token_invalid"}), "/api/x")


def outcome(trial: Trial, verdict: str = "", at: float = 100.0, seconds: float = 0.1, **more: Any) -> Outcome:  # fmt: skip
    """Of a trial that is called as its kind is."""
    name = more.get("name", f"{trial.kind}:1")
    return Outcome(name, trial, at, seconds, verdict, more.get("status", 200), name, more.get("error", ""))  # fmt: skip


def judged(one: Outcome, code: str | None = None, *faults: Fault, notes: Any = (), logged: bool = True) -> Judgement:  # fmt: skip
    """What is found in one outcome, with its line in the log."""
    lines = {one.request_id: {"code": code, "status": one.status}} if logged else {}
    return judge(Records([one], notes, lines, faults))


def note(one: Outcome, user: str, at: float = 100.0) -> dict[str, Any]:
    """What a backend noted."""
    return {"trial": one.name, "user": user, "at": at}


def test_nothing_that_is_refused_may_reach_a_backend() -> None:
    """Not with an answer, not without; nobody under another's name; nothing that nobody sent."""
    forged, good = outcome(BAD, "token_invalid"), outcome(GOOD, ALLOW)
    assert judged(forged, "token_invalid").passed()
    assert len(judged(forged, "token_invalid", notes=[note(forged, "")]).wrong) == 1
    assert len(judged(outcome(BAD, ALLOW)).wrong) == 1
    assert judged(good, notes=[note(good, "alice")]).passed()
    assert len(judged(good, notes=[note(good, "root")]).wrong) == 1
    assert len(judged(good, notes=[{"trial": "x", "user": "", "at": 1.0}]).wrong) == 1


def test_news_may_be_late_where_it_cannot_come() -> None:
    """A revocation is known within a second, unless Redis was away or a worker stood still just then."""
    dead = Trial("revoked lately", frozenset({"token_revoked"}), "/api/x", since=99.0)
    one = outcome(dead, ALLOW)
    away, before = Fault("Redis killed", "", 98.5, 103.0), Fault("Redis killed", "", 80.0, 85.0)
    assert len(judged(one, None, before, notes=[note(one, "rita")]).wrong) == 1
    assert judged(one, None, away, notes=[note(one, "rita")]).passed()


def test_whoever_waits_too_long_hung() -> None:
    """A client's own timeout, and an answer after more than its patience."""
    assert len(judged(outcome(GOOD, error="timeout")).hung) == 1
    assert len(judged(outcome(GOOD, ALLOW, seconds=21.0)).hung) == 1


def test_a_code_needs_its_fault() -> None:
    """The same code in answer and log, and a fault of that time that takes away what it names."""
    one = outcome(GOOD, "state_unavailable", status=503)
    away, other = Fault("Redis stopped", "", 99.0, 101.0), Fault("backend killed", "", 99.0, 101.0)
    assert judged(one, "state_unavailable", away).passed()
    for faults in ((), (other,), (Fault("Redis stopped", "", 50.0, 60.0),)):
        assert len(judged(one, "state_unavailable", *faults).unexplained) == 1
    assert len(judged(one, "upstream_invalid", away).unexplained) == 1
    assert len(judged(one, None, away, logged=False).unexplained) == 1
    full = Fault("disk full", "", 99.0, 101.0)
    assert judged(one, None, away, full, logged=False).passed()


def test_an_answer_that_is_cut_needs_a_killed_worker() -> None:
    """No code and no whole answer: somebody was killed just then, or it is not explained."""
    one = outcome(GOOD, error="ServerDisconnectedError", status=0)
    killed = Fault("worker killed", "", 100.05, 100.05)
    assert judged(one, None, killed, logged=False).passed()
    assert len(judged(one, None, logged=False).unexplained) == 1
    assert len(judged(outcome(GOOD, "internal_error"), "internal_error", killed).unexplained) == 1


def test_a_limit_is_counted_in_any_minute() -> None:
    """One more than the limit within a minute is wrong; what may have been counted in the next is not."""
    limited = Trial("limited", frozenset({ALLOW, "rate_limited"}), "/limited/x", user="alice")
    for last, wrong in ((140.0, 1), (160.5, 0)):
        times = [100.0 + n for n in range(LIMIT)] + [last]
        outcomes = [
            outcome(limited, ALLOW, at=at, name=f"limited:{n}") for n, at in enumerate(times)
        ]
        notes = [note(one, "alice") for one in outcomes]
        assert len(judge(Records(outcomes, notes, {}, ())).wrong) == wrong

"""Counting what a replay comes to: kinds of changes, groups with examples, all of it bounded."""

import pytest

from authproxy.policy import changes
from authproxy.policy.changes import Change, Groups, Tally, change_of
from authproxy.policy.recorded import Recorded
from authproxy.policy.replay import Outcome
from tests.policy.test_replay import line


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (("allow", "a"), ("allow", "a"), None),
        (("allow", "a"), ("allow", "b"), "other-route"),
        (("forbidden", "a"), ("forbidden", "b"), "other-route"),
        (("allow", "a"), ("forbidden", "a"), "allow-to-refuse"),
        (("no_route", ""), ("allow", "a"), "refuse-to-allow"),
        (("forbidden", "a"), ("no_route", ""), "other-refusal"),
    ],
)
def test_kinds_of_changes(
    before: tuple[str, str], after: tuple[str, str], change: str | None
) -> None:
    """By the verdict first, then by the route."""
    assert change_of(Outcome(*before), Outcome(*after)) == change


def note(tally: Tally, record: Recorded, after: Outcome) -> object:
    """The record was an allow of r0."""
    return tally.note(record, Outcome("allow", "r0"), after)


def test_a_tally() -> None:
    """Changes by kind, what was left by its code, what nobody can tell apart, and whom shadow would let pass."""
    tally = Tally()
    changed = note(tally, line(), Outcome("forbidden", "r0", "deny[0]"))
    assert isinstance(changed, changes.Changed)
    assert changed.told() == {
        "request_id": "i", "method": "GET", "host": "a.test", "path": "/a", "change": "allow-to-refuse",
        "old": {"verdict": "allow", "route": "r0", "reason": None},
        "new": {"verdict": "forbidden", "route": "r0", "reason": "deny[0]"}, "subject": "alice",
    }  # fmt: skip
    assert note(tally, line(), Outcome("allow", "r0", "deny[0]", "forbidden")) is None
    assert note(tally, line(), Outcome("", "r0", unknown="groups was not recorded")) is None
    tally.note(line(), Outcome("rate_limited", "r0"), Outcome("rate_limited", "r0", left=True))
    assert (tally.unchanged, tally.undecidable, tally.decided) == (2, 1, 3)
    assert tally.changes == {Change.allow_to_refuse: 1}
    assert (tally.left, tally.withheld) == ({"rate_limited": 1}, {"r0": 1})


def test_groups_have_examples_and_subjects() -> None:
    """The largest first; the reason is the one of the refusal."""
    tally = Tally()
    for number in range(5):
        note(tally, line(request_id=str(number)), Outcome("forbidden", "r0", "deny[0]"))
    note(tally, line(subject="bob"), Outcome("no_route"))
    (first, group), (second, _) = tally.groups.largest()
    assert first == {
        "change": "allow-to-refuse", "old": "allow", "new": "forbidden", "old_route": "r0", "route": "r0", "reason": "deny[0]",
    }  # fmt: skip
    assert (group.count, group.subjects) == (5, {"alice": 5})
    assert [one["request_id"] for one in group.examples] == ["0", "1", "2"]
    assert second["new"] == "no_route"


def test_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log with any number of reasons, subjects and policies takes no more than so much memory."""
    for name in ("GROUPS_MOST", "SUBJECTS_MOST", "DIGESTS_MOST", "CODES_MOST"):
        monkeypatch.setattr(changes, name, 2)
    groups, tally = Groups(("why",)), Tally()
    for number in range(5):
        groups.add((str(number),), line(), str(number))
        groups.add(("0",), line(), str(number))
        note(tally, line(policies=str(number)), Outcome("allow", "r0"))
        note(tally, line(), Outcome(f"code{number}", "r0", left=True))
    assert [(common["why"], group.count) for common, group in groups.largest()] == [
        ("0", 6),
        ("others", 3),
        ("1", 1),
    ]
    largest = groups.largest()[0][1]
    assert (len(largest.subjects), largest.other_subjects) == (2, 3)
    assert (len(tally.policies), tally.left) == (2, {"code0": 1, "code1": 1, "others": 3})


def test_long_texts_are_kept_by_their_beginning() -> None:
    """What a log says of reasons, codes, subjects, paths and policies may be of any length; a change is told whole."""
    tally, long = Tally(), "x" * 100_000
    record = line(path=f"/{long}", subject=long, policies=long, request_id=long)
    changed = note(tally, record, Outcome("forbidden", "r0", long))
    note(tally, record, Outcome(long, "r0", left=True))
    note(tally, record, Outcome("", long, unknown=long))
    assert isinstance(changed, changes.Changed)
    assert changed.told()["path"] == f"/{long}"
    [(common, group), _] = tally.groups.largest()
    assert common["reason"] == "x" * changes.TEXT_MOST + "…"
    assert group.examples[0]["path"].endswith("…")
    said = str([one.told() for _, one in (*tally.groups.largest(), *tally.unknown.largest())])
    assert len(said) + len(str((tally.left, tally.policies))) < 20 * changes.TEXT_MOST

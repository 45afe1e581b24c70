"""What shadow mode withheld, by route, reason and subject, since when."""

import pytest

from authproxy.policy import withheld as module
from authproxy.policy.withheld import Withheld
from tests.policy.test_replay import line


def test_what_was_withheld_is_told_with_its_share_and_its_time() -> None:
    """Of all requests of the route; from the first that was withheld to the last, whatever their order in the log."""
    found = Withheld()
    found.note(line(time="2027-01-15T08:00:00.000Z"))
    for second, subject in ((9, "bob"), (3, "bob"), (5, "eve")):
        shadow = {"shadow": "forbidden", "reason": "deny[0]", "subject": subject}
        found.note(line(time=f"2027-01-15T09:00:0{second}.000Z", **shadow))
    found.note(
        line(
            time="2027-01-15T10:00:00.000Z",
            route="other",
            shadow="rate_limited",
            reason="limit fair",
        )
    )
    assert (found.requests, found.count) == (5, 4)
    assert (found.first, found.last) == ("2027-01-15T08:00:00.000Z", "2027-01-15T10:00:00.000Z")
    first, second_group = found.told()
    assert {k: v for k, v in first.items() if k != "examples"} == {
        "route": "r0", "code": "forbidden", "reason": "deny[0]", "of": 4, "since": "2027-01-15T09:00:03.000Z",
        "until": "2027-01-15T09:00:09.000Z", "count": 3, "subjects": {"bob": 2, "eve": 1}, "other_subjects": 0,
    }  # fmt: skip
    assert (second_group["code"], second_group["reason"], second_group["of"]) == (
        "rate_limited",
        "limit fair",
        1,
    )


def test_routes_and_reasons_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log with any number of them takes no more than so much memory."""
    monkeypatch.setattr(module, "GROUPS_MOST", 2)
    found = Withheld()
    for number in range(5):
        found.note(line(route=str(number), shadow="forbidden"))
    assert (len(found.by_route), found.count) == (2, 5)
    assert len(found.told()) == 5


def test_long_routes_and_reasons_are_kept_by_their_beginning() -> None:
    """As of what a replay comes to; their share and their times are told all the same."""
    found, long = Withheld(), "x" * 100_000
    found.note(line(route=long, shadow="forbidden", reason=long))
    [told] = found.told()
    assert (told["of"], told["since"]) == (1, found.first)
    assert len(told["route"]) + len(told["reason"]) < 1000
    assert max(map(len, found.by_route)) < 1000

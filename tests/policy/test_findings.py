"""Findings: problems at their place in a route, without those that only follow from known damage."""

from authproxy.model.errors import Problem
from authproxy.model.source import Source
from authproxy.policy.findings import Findings
from tests.model.marks import at

SOURCE = Source("f.yaml", {("routes", 0): at(2, 5), ("routes", 0, "allow"): at(4, 12)})


def findings(*damaged: str) -> tuple[Findings, list[Problem]]:
    problems: list[Problem] = []
    return Findings(SOURCE, ("routes", 0), damaged, problems), problems


def test_a_problem_stands_inside_its_route() -> None:
    """Paths are those of the route; the place is that of the file."""
    found, problems = findings()
    found.wrong(("allow",), "code", "text", "remedy")
    assert [str(p) for p in problems] == ["f.yaml:4:12: error: code: text — remedy"]


def test_what_follows_from_damage_is_not_noted() -> None:
    """A broken `allow` is no missing `allow`; what has nothing to do with it is noted still."""
    found, problems = findings("allow")
    for code in ("missing-allow", "empty-entry", "route-tie", "bad-path"):
        found.wrong((), code, "text", "remedy")
    assert [p.code for p in problems] == ["route-tie", "bad-path"]


def test_a_name_that_nothing_has_is_noted_with_those_there_are() -> None:
    """The remedy lists what could have been meant."""
    found, problems = findings()
    found.refer((), "upstream", "a", ["b", "a"])
    found.refer((), "upstream", "x", ["b", "a"])
    found.refer((), "upstream", "x", [])
    assert [(p.code, p.remedy) for p in problems] == [
        ("unknown-upstream", "there is: a, b"),
        ("unknown-upstream", "there is: none"),
    ]

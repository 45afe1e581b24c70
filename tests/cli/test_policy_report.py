"""What `policy test` says, to people and to programs: all of it, and never as anybody's command."""

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from authproxy.cli.policy_report import Report, as_github, as_json, as_junit, shown_percent, text
from authproxy.model.source import Source
from authproxy.policy.cases import Case, run_case
from authproxy.policy.coverage import Coverage, Gap
from authproxy.policy.document import CaseDocument
from authproxy.policy.offline import PolicySet
from tests.model.marks import at
from tests.policy.reading import parsed, route_text

EVIL = 'evil\n::set-env name=A::b\x1b[31m\x00]]>&<x a="b">\u202e'
GAP = Gap("f.yaml", 3, 4, "r", "allow[0]", "the route `r`: allow[0] never decided")


def report(*cases: dict[str, Any], coverage: Coverage | None = None) -> Report:
    """What these tests come to; each stands on a line of its own."""
    policies = PolicySet(parsed(route_text(allow="[{groups: [eng]}]")).table)
    source = Source("f.yaml", {("tests", n): at(n + 1, 5) for n in range(len(cases))})
    results = [
        run_case(policies, Case(CaseDocument.model_validate({"request": "GET https://a/a/1", **case}), source, ("tests", n)), 0.0)
        for n, case in enumerate(cases)
    ]  # fmt: skip
    return Report(results, 0, 0.25, coverage)


MIXED = report(
    {"expect": "unauthenticated"}, {"expect": "allow", "name": EVIL}, {"expect": "unauthenticated"},
    coverage=Coverage(4, (GAP,)),
)  # fmt: skip


def test_people_get_a_line_for_each_thing() -> None:
    """Marks, failures with what differs, gaps, numbers; nothing that a terminal would obey."""
    told = list(text(MIXED, verbosity=0))
    assert told[0] == "f.yaml .F."
    assert told[1].startswith("f.yaml:2:5: FAILED evil\\n::set-env")
    assert told[2:4] == ["    - expect: allow", "    + expect: unauthenticated"]
    assert told[-3:] == [str(GAP), "coverage: 75% (3 of 4)", "2 passed, 1 failed"]
    assert not any("\x1b" in line or "\n" in line or "\u202e" in line for line in told)
    assert len(list(text(MIXED, verbosity=1))) == len(told) + 2
    assert list(text(MIXED, verbosity=-1)) == told[1:]


def test_annotations_stand_at_their_places() -> None:
    """An error for each failure, a warning for each gap, each one line."""
    lines = as_github(MIXED).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("::error file=f.yaml,line=2,col=5,title=policy test failed::evil")
    assert lines[1] == f"::warning file=f.yaml,line=3,col=4,title=not tested::{GAP.text}"


def test_json_holds_everything() -> None:
    """Each test with place, verdict and differences; coverage with its gaps, null where it was not asked for."""
    found = json.loads(as_json(MIXED))
    assert (found["passed"], found["failed"], found["seconds"]) == (2, 1, 0.25)
    assert found["tests"][1]["line"] == 2
    assert found["tests"][1]["differences"] == [
        {"key": "expect", "expected": "allow", "actual": "unauthenticated"}
    ]
    assert found["coverage"]["percent"] == 75
    assert found["coverage"]["missing"][0]["place"] == "allow[0]"
    assert json.loads(as_json(report()))["coverage"] is None


def test_junit_is_read_by_any_reader() -> None:
    """Well-formed whatever a test is called; suites by file, tests of one name told apart."""
    root = ET.fromstring(as_junit(MIXED))
    suite = root[0]
    assert (root.get("tests"), root.get("failures"), root.get("time")) == ("3", "1", "0.250")
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("f.yaml", "3", "1")
    names = [case.get("name") for case in suite]
    assert (names[0], names[2]) == ("GET https://a/a/1", "GET https://a/a/1 [2]")
    assert [len(case) for case in suite] == [0, 1, 0]
    assert "expected allow, got unauthenticated" in (suite[1][0].get("message") or "")


def test_nothing_to_run_is_said() -> None:
    """No tests at all, or none that was wanted."""
    assert "no tests" in report().summary
    assert Report([], 3, 0.0, None).summary == "no test was selected"


@pytest.mark.parametrize(("total", "shown"), [(1_000_000, "99.9%"), (3, "66.6%"), (1, "0%")])
def test_trap_nearly_all_is_not_shown_as_all(total: int, shown: str) -> None:
    """It is cut off, never rounded up."""
    assert shown_percent(Coverage(total, (GAP,))) == shown
    assert shown_percent(Coverage(total, ())) == "100%"

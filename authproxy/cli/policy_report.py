"""How `policy test` tells what came out: for people, for JUnit's readers, as GitHub's annotations, as JSON.

Names in the files are somebody's words: they are shown escaped, and can be no command of a terminal or of a workflow.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any
from xml.etree import ElementTree as ET

from authproxy.cli.annotations import annotation
from authproxy.model.errors import printable
from authproxy.policy.cases import Result
from authproxy.policy.coverage import Coverage
from authproxy.policy.decide import Step


@dataclass(frozen=True, slots=True)
class Report:
    """What was run, how many were not selected, how long it took in seconds, and what was covered, if that was asked."""

    results: Sequence[Result]
    left_out: int
    seconds: float
    coverage: Coverage | None

    @property
    def failed(self) -> list[Result]:
        """The tests that failed."""
        return [one for one in self.results if not one.passed]

    @property
    def summary(self) -> str:
        """The numbers, in a line."""
        if not self.results:
            return (
                "no test was selected"
                if self.left_out
                else "no tests: add `tests:` to a policy file"
            )
        failed = len(self.failed)
        left = f", {self.left_out} deselected" if self.left_out else ""
        return f"{len(self.results) - failed} passed, {failed} failed{left}"


def text(report: Report, *, verbosity: int) -> Iterator[str]:
    """Lines for people: a mark for each test (a line with `-v`, nothing with `-q`), what failed and why, what is not covered."""
    for file, results in groupby(report.results, lambda one: one.case.source.file):
        if verbosity > 0:
            yield from (f"{_place(one)}: {_word(one)} {_title(one)}" for one in results)
        elif verbosity == 0:
            yield f"{printable(file)} {''.join('.' if one.passed else 'F' for one in results)}"
    for one in report.failed:
        yield f"{_place(one)}: FAILED {_title(one)}"
        yield from (f"    {line}" for line in _explained(one))
    if report.coverage is not None:
        yield from _uncovered(report.coverage)
    yield report.summary


def _explained(one: Result) -> Iterator[str]:
    for difference in one.differences:
        yield f"- {difference.key}: {printable(difference.expected)}"
        yield f"+ {difference.key}: {printable(difference.actual)}"
    if one.decision.conditions:
        yield "conditions:"
        yield from (f"  {line}" for line in map(_step, one.decision.conditions))


def _step(step: Step) -> str:
    error = step.outcome.error.splitlines()[0] if step.outcome.error else ""
    came_to = f"error ({error})" if error else "holds" if step.outcome.holds else "does not hold"
    return printable(f"{step.place} {step.text}: {came_to}")


def _uncovered(coverage: Coverage) -> Iterator[str]:
    yield from (printable(str(gap)) for gap in coverage.gaps)
    yield f"coverage: {shown_percent(coverage)} ({coverage.covered} of {coverage.total})"


def shown_percent(coverage: Coverage) -> str:
    """`99.9%`: cut off, so that 100 is said of all only."""
    return f"{int(coverage.percent * 10) / 10:g}%"


def _place(one: Result) -> str:
    line, column = one.case.place
    return f"{printable(one.case.source.file)}:{line}:{column}"


def _title(one: Result) -> str:
    return printable(one.case.title)


def _word(one: Result) -> str:
    return "PASSED" if one.passed else "FAILED"


def as_github(report: Report) -> str:
    """An error for each test that failed, a warning for each gap."""
    found = [
        annotation("error", one.case.source.file, *one.case.place, "policy test failed", f"{_title(one)}\n" + "\n".join(_explained(one)))
        for one in report.failed
    ]  # fmt: skip
    gaps = report.coverage.gaps if report.coverage else ()
    found += [annotation("warning", g.file, g.line, g.column, "not tested", g.text) for g in gaps]
    return "".join(found)


def as_json(report: Report) -> str:
    """One document: the numbers, every test, and what was not covered."""
    coverage = report.coverage
    document = {
        "passed": len(report.results) - len(report.failed),
        "failed": len(report.failed),
        "deselected": report.left_out,
        "seconds": round(report.seconds, 6),
        "tests": [_test(one) for one in report.results],
        "coverage": coverage
        and {
            "percent": int(coverage.percent * 10) / 10,
            "covered": coverage.covered,
            "total": coverage.total,
            "missing": [asdict(gap) for gap in coverage.gaps],
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _test(one: Result) -> dict[str, Any]:
    line, column = one.case.place
    return {
        "file": one.case.source.file,
        "line": line,
        "column": column,
        "title": one.case.title,
        "passed": one.passed,
        "verdict": one.decision.verdict,
        "route": one.decision.route,
        "reason": one.decision.reason or None,
        "differences": [asdict(difference) for difference in one.differences],
    }


# XML 1.0 section 2.2: what no document may hold, not even as a reference.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(report: Report) -> str:
    """A test suite for each file, as JUnit's readers (GitLab, Jenkins) take it."""
    tests, failures = str(len(report.results)), str(len(report.failed))
    seconds = f"{report.seconds:.3f}"
    root = ET.Element("testsuites", name="authproxy policy test", tests=tests, failures=failures, time=seconds)  # fmt: skip
    for file, results in groupby(report.results, lambda one: one.case.source.file):
        of_file = list(results)
        failed = sum(not one.passed for one in of_file)
        suite = ET.SubElement(root, "testsuite", name=_xml(file), tests=str(len(of_file)), failures=str(failed), errors="0", skipped="0")  # fmt: skip
        called: Counter[str] = Counter()
        for one in of_file:
            called[one.case.title] += 1
            _junit_case(suite, one, called[one.case.title])
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _junit_case(suite: ET.Element, one: Result, number: int) -> None:
    file, line = _xml(one.case.source.file), str(one.case.place[0])
    # Readers follow a test by its name: two of one name are numbered, as lines change with every edit.
    name = _xml(one.case.title) + (f" [{number}]" if number > 1 else "")
    case = ET.SubElement(suite, "testcase", classname=file, name=name, file=file, line=line)
    if not one.passed:
        told = _xml("; ".join(map(str, one.differences)))
        failure = ET.SubElement(case, "failure", type="difference", message=told)
        failure.text = _xml(f"{_place(one)}\n" + "\n".join(_explained(one)))


def _xml(text: str) -> str:
    return _NO_XML.sub(lambda found: ascii(found[0])[1:-1], text)

"""Problems as SARIF 2.1.0: what code scanning services read, and what they could trip over."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from authproxy.cli.sarif import sarif
from authproxy.model.errors import Problem
from authproxy.model.lints import LINTS

PROBLEMS = [
    Problem("policies/a b%2F.yaml", 3, 7, "open-route", "it is `open`", "close it", "warning"),
    Problem("/etc/authproxy/ü.yaml", 1, 1, "unknown-key", 'a "key" — \u2028', "mend it"),
    Problem("policies/c.yaml", 9, 1, "open-route", "so is it", "close it", "warning"),
]


def run(problems: list[Problem]) -> dict[str, Any]:
    """The one run of the log."""
    log = json.loads(sarif(problems))
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    found: dict[str, Any] = log["runs"][0]
    return found


def test_each_problem_is_a_result_of_its_rule() -> None:
    """Its index points at the rule of its code (section 3.27.6), which is there once."""
    found = run(PROBLEMS)
    rules = found["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["open-route", "unknown-key"]
    for result, problem in zip(found["results"], PROBLEMS, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == problem.code
        assert result["level"] == problem.severity
        assert problem.text in result["message"]["text"]
        assert problem.remedy in result["message"]["text"]


def test_places_are_exact() -> None:
    """Line and column as everywhere, counted in code points, and one character long."""
    found = run(PROBLEMS)
    assert found["columnKind"] == "unicodeCodePoints"
    regions = [r["locations"][0]["physicalLocation"]["region"] for r in found["results"]]
    assert regions[0] == {"startLine": 3, "startColumn": 7, "endColumn": 8}


def test_files_are_uri_references() -> None:
    """Relative to where `check` ran, or absolute; what a URI cannot hold is escaped (RFC 3986 section 2.1)."""
    found = run(PROBLEMS)
    uris = [
        r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in found["results"]
    ]
    assert uris == ["policies/a%20b%252F.yaml", Path(PROBLEMS[1].file).as_uri(), "policies/c.yaml"]
    assert urlsplit(uris[1]).scheme == "file"


def test_a_rule_of_a_warning_says_what_it_means() -> None:
    """And where its examples are; errors say all of it in their text."""
    warning, error = run(PROBLEMS)["tool"]["driver"]["rules"]
    assert warning["shortDescription"]["text"] == LINTS["open-route"]
    assert "docs/lint.md#open-route" in warning["help"]["text"]
    assert (warning["defaultConfiguration"], error["defaultConfiguration"]) == ({"level": "warning"}, {"level": "error"})  # fmt: skip
    assert "help" not in error


def test_without_problems_there_is_an_empty_run() -> None:
    """So that what was open is closed by the service."""
    found = run([])
    assert (found["results"], found["tool"]["driver"]["rules"]) == ([], [])

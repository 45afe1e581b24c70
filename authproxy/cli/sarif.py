"""Problems as SARIF 2.1.0 (OASIS Standard), which code scanning services read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from authproxy.model.errors import Problem
from authproxy.model.lints import LINTS

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"  # fmt: skip


def sarif(problems: Sequence[Problem]) -> str:
    """One run with all problems, the last line ended; columns count code points, as everywhere here."""
    from authproxy import __version__

    codes = list(dict.fromkeys(p.code for p in problems))
    severities = {p.code: p.severity for p in problems}
    rules = [_rule(code, severities[code]) for code in codes]
    driver = {"name": "authproxy", "semanticVersion": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(p, codes.index(p.code)) for p in problems],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(code: str, severity: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": code, "defaultConfiguration": {"level": severity}}
    if code in LINTS:
        rule["shortDescription"] = {"text": LINTS[code]}
        rule["help"] = {"text": f"docs/lint.md#{code} has examples, and says how to ignore it."}
    return rule


def _result(problem: Problem, rule: int) -> dict[str, Any]:
    # A column without its end would mark the rest of the line.
    region = {
        "startLine": problem.line,
        "startColumn": problem.column,
        "endColumn": problem.column + 1,
    }
    place = {"artifactLocation": {"uri": _uri(problem.file)}, "region": region}
    return {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": problem.severity,
        "message": {"text": f"{problem.text} — {problem.remedy}"},
        "locations": [{"physicalLocation": place}],
    }


def _uri(file: str) -> str:
    """The file as a URI reference (RFC 3986): relative to where `check` ran, or absolute."""
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())

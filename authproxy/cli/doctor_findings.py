"""What `doctor` says: of each thing that it looked at, whether it is well, and in plain words what to change."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok`: it is well; `note`: nothing to change, but worth knowing, or it could not be looked at; `problem`: change it."""

    kind: Literal["ok", "note", "problem"]
    code: str
    text: str
    remedy: str = ""


def ok(code: str, text: str) -> Finding:
    """It is well."""
    return Finding("ok", code, text)


def note(code: str, text: str, remedy: str = "") -> Finding:
    """Worth knowing."""
    return Finding("note", code, text, remedy)


def problem(code: str, text: str, remedy: str) -> Finding:
    """To be changed."""
    return Finding("problem", code, text, remedy)


def as_text(findings: Sequence[Finding]) -> str:
    """For people: a line each, and below it what to do."""
    lines = []
    for one in findings:
        lines.append(f"{one.kind:<8} {one.code}: {one.text}")
        lines += [f"         {one.remedy}"] if one.remedy else []
    count = sum(one.kind == "problem" for one in findings)
    lines.append(f"{count or 'no'} problem{'' if count == 1 else 's'} found")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """For programs."""
    found: list[dict[str, Any]] = [asdict(one) for one in findings]
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()

"""An explanation for people: what was asked, which route, each entry with what it saw, and the verdict last.

Nothing that a request holds steers the terminal; colours are for terminals only.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

from authproxy.model.errors import printable

VALUE_MOST = 72
_SIGNS = {True: "✓", False: "✗", None: "·"}
_COLOURS = {"✓": "green", "✗": "red"}
Told = Mapping[str, Any]


def render_text(found: Told, *, colour: bool = False) -> str:
    """The explanation; its last line is `verdict: …`."""
    lines = [printable(line) for line in _lines(found)]
    return "\n".join(map(_coloured, lines) if colour else lines)


def _coloured(line: str) -> str:
    for sign, name in _COLOURS.items():
        line = line.replace(f"  {sign} ", f"  {typer.style(sign, fg=name)} ", 1)
    if line.startswith("verdict: "):
        return typer.style(line, bold=True, fg="green" if line == "verdict: allow" else "red")
    return line


def _lines(found: Told) -> Iterator[str]:
    asked = found["request"]
    yield f"request:  {asked['method']} {asked['host']} {asked['path']} from {asked['client']}"
    yield from _happened(found.get("happened"))
    yield f"route:    {_route(found)}"
    yield from _aligned([_candidate(one) for one in found["candidates"]])
    yield from _identity(found["identity"])
    for entry in found["entries"]:
        yield from _entry(entry)
    if found["limits"]:
        yield "limits:"
        yield from _aligned([_limit(one) for one in found["limits"]])
    if found["backend_head"]:
        yield f"towards {found['upstream']}:"
        yield from (f"  {line}" for line in found["backend_head"])
    if found["reason"]:
        yield f"reason:   {found['reason']}"
    if found["hint"]:
        yield f"hint:     {found['hint']}"
    yield from (f"note:     {note}" for note in found.get("notes", ()))
    if found["shadow"]:
        yield f"shadow:   {found['shadow']} was withheld"
    yield f"verdict: {found['verdict']}"


def _happened(what: Told | None) -> Iterator[str]:
    if what is not None:
        why = f" ({what['reason']})" if what["reason"] else ""
        yield f"happened: {what['time']}, {what['verdict']}{why}, answered with {what['status']}"
        if what["limits"]:
            yield f"limits:   {', '.join(what['limits'])} (left then)"


def _route(found: Told) -> str:
    if found["route"] is None:
        return "none"
    shadow = " (shadow: `forbidden` is withheld)" if found["mode"] == "shadow" else ""
    place = f", {found['place']}" if found["place"] else ""
    return f"{found['route']}{shadow}{place}"


def _candidate(one: Told) -> Sequence[str]:
    sign = _SIGNS[True] if one["chosen"] else _SIGNS[None]
    methods = " ".join(one["methods"]) if one["methods"] is not None else "any method"
    return f"{sign} {one['route']}", f"{one['host'] or 'any host'} {one['path']}", methods, one["why"]  # fmt: skip


def _identity(who: Told | None) -> Iterator[str]:
    if who is not None:
        yield f"identity: {who['subject']} by {who['authenticator']}, groups {_value(who['groups'])}, scopes {_value(who['scopes'])}"


def _entry(entry: Told) -> Iterator[str]:
    shadow = " (shadow)" if entry["mode"] == "shadow" else ""
    outcome = {True: "holds", False: "does not hold", None: "not asked"}[entry["holds"]]
    yield f"{entry['place']}{shadow}: {outcome}"
    yield from _aligned([_condition(one) for one in entry["conditions"]])


def _condition(one: Told) -> Sequence[str]:
    sign = _SIGNS[one["holds"]]
    if one["holds"] is None:
        return f"{sign} {one['condition']}", "not asked"
    said = [f"{name} is {_value(value)}" for name, value in one["seen"].items()]
    said += [f"{name} is missing" for name in one["missing"]]
    if one["error"]:
        said.insert(0, f"error: {one['error'].splitlines()[0]}")
    return f"{sign} {one['condition']}", ", ".join(said)


def _limit(one: Told) -> Sequence[str]:
    shadow = "shadow" if one["mode"] == "shadow" else ""
    left = ""
    if one.get("remaining") is not None:
        left = f"{one['remaining']} left, more in {one['reset']} s"
    who = one["key"] if one["key"] is not None else "nobody known yet"
    return f"{one['name']}", f"{one['limit']} per {one['per']}, of {one['of']}", str(who), left, shadow  # fmt: skip


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_MOST else text[: VALUE_MOST - 1] + "…"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows in columns, indented; long ones do not push the others away."""
    widths = [max((len(row[at]) for row in rows if len(row[at]) <= 48), default=0) for at in range(len(rows[0]))] if rows else []  # fmt: skip
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield "  " + "  ".join(cells).rstrip()

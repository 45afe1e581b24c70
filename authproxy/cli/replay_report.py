"""How `policy replay` and `policy shadow-report` tell what they found: a line a change, groups with examples; or JSON.

Changes are told as they are found, so that a log of any length needs no more memory than its groups.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from authproxy.cli.log_lines import Damaged, Reader
from authproxy.model.errors import printable
from authproxy.policy.changes import Changed, Group, Tally
from authproxy.policy.withheld import Withheld

GROUPS_SHOWN = 50
SUBJECTS_SHOWN = 5


class TextReport:
    """For people. `digest` is of the policies that it is decided by."""

    def __init__(self, digest: str) -> None:
        self._digest = digest

    def begin(self) -> None:
        """Nothing is said before the first change."""

    def change(self, changed: Changed) -> None:
        """One line."""
        told = changed.told()
        old, new = told["old"], told["new"]
        route = old["route"] or "none"
        if old["route"] != new["route"]:
            route += f" -> {new['route'] or 'none'}"
        reason = new["reason"] if new["verdict"] != "allow" else old["reason"]
        _say(
            f"{old['verdict']} -> {new['verdict']}  {told['request_id']}  {told['method']} {told['host']}{told['path']}"
            f"  route {route}, by {told['subject'] or 'nobody known'}{f': {reason}' if reason else ''}"
        )

    def end(self, tally: Tally, reader: Reader) -> None:
        """The groups, then the numbers."""
        for title, groups in (("changes", tally.groups), ("undecidable", tally.unknown)):
            found = groups.largest()
            if found:
                _say("", f"{title}, by what they have in common:")
            for common, group in found[:GROUPS_SHOWN]:
                _say(f"  {group.count:>7}  {_in_common(common)}")
                _say(*_shown(group))
            if len(found) > GROUPS_SHOWN:
                _say(f"  and {len(found) - GROUPS_SHOWN} groups more: see --format json")
        if tally.withheld:
            many = ", ".join(f"{route} {count}" for route, count in tally.withheld.most_common(20))
            _say("", f"of those that pass, shadow mode would withhold a refusal from: {many}")
        if tally.doubtful:
            many = ", ".join(f"{route} {count}" for route, count in tally.doubtful.most_common(20))
            _say(
                "",
                f"of those that pass, nobody can tell whether only by shadow mode, as it was not recorded: {many}",
            )
        _say(*_damage(reader.damaged))
        if tally.changes or tally.undecidable or reader.damaged.count:
            _say("")
        _say(*self._numbers(tally, reader))

    def _numbers(self, tally: Tally, reader: Reader) -> Iterator[str]:
        changes = ", ".join(
            f"{count} {change.value}" for change, count in sorted(tally.changes.items())
        )
        many = sum(tally.changes.values())
        yield (
            f"{reader.lines} lines: {many} would change{f' ({changes})' if changes else ''}, {tally.unchanged} would not, "
            f"{tally.undecidable} undecidable, {reader.damaged.count} damaged, {reader.about_nothing} about no target"
        )
        if tally.left:
            left = ", ".join(f"{code} {count}" for code, count in sorted(tally.left.items()))
            yield f"left as they were, as no policy decides them: {left}"
        if tally.policies and set(tally.policies) == {self._digest}:
            yield "these are the policies that they were decided by"
        elif len(tally.policies) > 1:
            yield f"they were decided by {len(tally.policies)} sets of policies, one after the other"
        if reader.lines and not tally.decided:
            yield "nothing could be decided, so nothing is known of these policies"


def _in_common(common: Mapping[str, str]) -> str:
    if "why" in common:
        return f"route {common['route'] or 'none'}: {common['why']}"
    route = common["old_route"] or "none"
    if common["route"] != common["old_route"]:
        route += f" -> {common['route'] or 'none'}"
    reason = f": {common['reason']}" if common["reason"] else ""
    return f"{common['old']} -> {common['new']}, route {route}{reason}"


def _shown(group: Group) -> Iterator[str]:
    subjects = group.subjects.most_common(SUBJECTS_SHOWN)
    if any(name for name, _ in subjects):
        more = len(group.subjects) - len(subjects) + bool(group.other_subjects)
        names = ", ".join(f"{name or 'nobody known'} {count}" for name, count in subjects)
        yield f"           by {names}{', and others' if more else ''}"
    for one in group.examples:
        yield f"           such as {one['method']} {one['host']}{one['path']} ({one['request_id']})"


def _damage(damaged: Damaged) -> Iterator[str]:
    if damaged.count:
        yield ""
        yield f"damaged lines, not counted among the others: {damaged.count}"
        yield from (f"  {name}:{number}: {what}" for name, number, what in damaged.places)
        if damaged.count > len(damaged.places):
            yield f"  and {damaged.count - len(damaged.places)} more"


def _say(*lines: str) -> None:
    """Print them; each stays one line, whatever the log had in it."""
    for line in lines:
        print(printable(line))


class JsonReport:
    """One JSON document, for programs; its changes are written as they are found."""

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._next = "\n"

    def begin(self) -> None:
        """Open the list."""
        print('{"changes": [', end="")

    def change(self, changed: Changed) -> None:
        """One of its items."""
        print(self._next + json.dumps(changed.told()), end="")
        self._next = ",\n"

    def end(self, tally: Tally, reader: Reader) -> None:
        """Close the list, and say the rest."""
        rest = {
            "groups": [{**common, **group.told()} for common, group in tally.groups.largest()],
            "undecidable": [
                {**common, **group.told()} for common, group in tally.unknown.largest()
            ],
            "withheld_by_shadow": dict(tally.withheld),
            "perhaps_withheld_by_shadow": dict(tally.doubtful),
            "left": dict(tally.left),
            "lines": reader.lines,
            "changed": {change.value: count for change, count in tally.changes.items()},
            "unchanged": tally.unchanged,
            "undecidable_count": tally.undecidable,
            "about_nothing": reader.about_nothing,
            "recorded_under": dict(tally.policies),
            "against": self._digest,
            **_damage_told(reader.damaged),
        }
        print("\n],\n" + json.dumps(rest, indent=2)[1:].lstrip("\n"))


def _damage_told(damaged: Damaged) -> dict[str, Any]:
    places = [{"file": name, "line": number, "what": what} for name, number, what in damaged.places]
    return {"damaged": damaged.count, "damaged_lines": places}


def shadow_text(withheld: Withheld, reader: Reader) -> Iterator[str]:
    """What was withheld, for people."""
    groups = withheld.told()
    for found, (_, group) in zip(groups, withheld.groups.largest()[:GROUPS_SHOWN], strict=False):
        share = f" of {found['of']}" if found["of"] else ""
        reason = f", {found['reason']}" if found["reason"] else ""
        yield printable(
            f"{found['count']}{share} requests of route {found['route']}: {found['code']}{reason}"
        )
        yield printable(f"           since {found['since']}, last {found['until']}")
        yield from map(printable, _shown(group))
    if len(groups) > GROUPS_SHOWN:
        yield f"and {len(groups) - GROUPS_SHOWN} groups more: see --format json"
    yield from map(printable, _damage(reader.damaged))
    if groups or reader.damaged.count:
        yield ""
    between = f" from {withheld.first} to {withheld.last}" if withheld.requests else ""
    yield f"{withheld.count} of {withheld.requests} requests{between} would have been refused without shadow mode"


def shadow_json(withheld: Withheld, reader: Reader) -> Iterator[str]:
    """What was withheld, for programs."""
    told = {
        "requests": withheld.requests, "withheld": withheld.count, "since": withheld.first or None,
        "until": withheld.last or None, "groups": withheld.told(), "about_nothing": reader.about_nothing,
        **_damage_told(reader.damaged),
    }  # fmt: skip
    yield json.dumps(told, indent=2)

"""A decision told as a tree: the routes that could have served the request and why one did, and what each entry looked at.

The decision is `decide.judge`'s, and its trace the only witness; what was not asked is told from the route that was found.
Everything is in JSON's own terms.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from authproxy.model.claims import MISSING
from authproxy.model.exchange import Exchange
from authproxy.model.source import Path, Source
from authproxy.policy.decide import Step, Trace, Verdict
from authproxy.policy.table import Leaf, Route, Table

Places = Mapping[str, tuple[Source, Path]]
Told = dict[str, Any]
CANDIDATES_MOST = 20


def explain(table: Table, places: Places, exchange: Exchange, verdict: Verdict, trace: Trace) -> Told:  # fmt: skip
    """What was asked, what came of it and why."""
    route, identity = verdict.route, exchange.identity
    return {
        "request": {"method": exchange.method, "host": exchange.host, "path": exchange.path, "client": exchange.client_text},
        "route": route.name if route else None,
        "place": _place(places, route) if route else None,
        "mode": ("shadow" if route.shadow else "enforce") if route else None,
        "candidates": list(_candidates(table, exchange, verdict)),
        "identity": None if identity is None else {
            "subject": identity.subject, "authenticator": identity.authenticator,
            "groups": list(identity.groups), "scopes": sorted(identity.scopes),
        },
        "entries": list(_entries(route, trace.steps)) if route and trace.steps else [],
        "conditions": [_told(step) for step in trace.steps],
        "reason": verdict.reason or None,
        "shadow": exchange.shadow or None,
        "verdict": verdict.code,
    }  # fmt: skip


def _place(places: Places, route: Route) -> str | None:
    if route.name not in places:
        return None
    source, path = places[route.name]
    return f"{source.file}:{source.place(path)[0]}"


def _candidates(table: Table, exchange: Exchange, verdict: Verdict) -> Iterator[Told]:
    """The routes whose host and path fit, those of the pattern that decides first."""
    if exchange.target is None:
        return
    first: Leaf | None = None
    left = CANDIDATES_MOST
    for leaf in table.patterns(exchange.host, exchange.target.segments):
        first = first or leaf
        for route in leaf.routes:
            if left == 0:
                return
            left -= 1
            yield {
                "route": route.name,
                "host": leaf.host or None,
                "path": leaf.path,
                "methods": None if route.methods is None else sorted(route.methods),
                "chosen": route is verdict.route,
                "why": _why(first, leaf, route, exchange.method),
            }


def _why(first: Leaf, leaf: Leaf, route: Route, method: str) -> str:
    """Why this route serves the request, or why not."""
    if leaf is first:
        takes = route.methods is None or method in route.methods
        return "the most specific pattern" if takes else f"not for {method}"
    if leaf.host != first.host:
        return f"the host {first.host} goes first"
    pairs = zip_longest(first.path.split("/"), leaf.path.split("/"))
    one, other = next((one, other) for one, other in pairs if one != other)
    if one is None:
        return f"the end goes before {other}"
    return f"{one or 'the slash at the end'} goes before {other}"


def _entries(route: Route, steps: Sequence[Step]) -> Iterator[Told]:
    """Each entry of the route: whether it holds (null where it was not asked), and its conditions in order."""
    by_place: dict[str, list[Step]] = {}
    for step in steps:
        by_place.setdefault(step.place, []).append(step)
    for listed, entries in (("deny", route.deny), ("second_factor", ()), ("allow", route.allow or ())):  # fmt: skip
        if listed in by_place:
            told = [_told(step) for step in by_place[listed]]
            yield {
                "place": listed,
                "holds": told[0]["holds"],
                "mode": "enforce",
                "conditions": told,
            }
        for index, entry in enumerate(entries):
            place = f"{listed}[{index}]"
            asked = by_place.get(place, [])
            # An error holds in `deny` and fails in `allow`.
            held = [s.outcome.holds or (listed == "deny" and bool(s.outcome.error)) for s in asked]
            rest = [condition.text for condition in entry.conditions[len(asked) :]]
            yield {
                "place": place,
                "holds": all(held) and not rest if asked else None,
                "mode": "shadow" if entry.shadow else "enforce",
                "conditions": [*map(_told, asked), *map(_not_asked, rest)],
            }


def _told(step: Step) -> Told:
    values = {name: value for name, value in step.seen.items() if value is not MISSING}
    return {
        "place": step.place,
        "condition": step.text,
        "holds": step.outcome.holds,
        "error": step.outcome.error or None,
        "seen": values,
        "missing": [name for name, value in step.seen.items() if value is MISSING],
    }


def _not_asked(text: str) -> Told:
    return {"condition": text, "holds": None}

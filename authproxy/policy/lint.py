"""What is allowed but probably not meant: warnings about policies, each with its place, code and remedy."""

from collections.abc import Collection, Iterator

from authproxy.model.errors import Problem
from authproxy.model.source import Path, Source
from authproxy.policy.condition import Entry
from authproxy.policy.parse import Policies
from authproxy.policy.table import Route


def lint(policies: Policies) -> Iterator[Problem]:
    """The warnings about routes, in the order of the files."""
    for route in policies.table.routes:
        source, path = policies.places[route.name]
        yield from _lint_route(route, source, path)


def _lint_route(route: Route, source: Source, path: Path) -> Iterator[Problem]:
    name = f"the route `{route.name}`"
    if not route.authenticators and route.allow is None:
        text = f"{name} is open to anyone"
        remedy = "name authenticators and `allow`, or keep it if that is meant"
        yield source.problem(
            (*path, "authenticate"), "open-route", text, remedy, severity="warning"
        )
    if route.shadow:
        text = f"{name} is in shadow mode: nobody is refused as forbidden"
        yield source.problem(
            (*path, "mode"),
            "shadow-mode",
            text,
            "set `mode: enforce` when the log agrees",
            severity="warning",
        )
    for listed in ("deny", "allow"):
        yield from _lint_entries(getattr(route, listed) or (), listed, name, source, path)
    if len(route.authenticators) > 1:
        yield from _lint_subjects(route, name, source, path)


def _lint_entries(
    entries: Collection[Entry], listed: str, name: str, source: Source, path: Path
) -> Iterator[Problem]:
    """An entry whose conditions include all of an earlier one's decides nothing."""
    seen: list[set[str]] = []
    for index, entry in enumerate(entries):
        texts = {condition.text for condition in entry.conditions}
        earlier = next((i for i, other in enumerate(seen) if other <= texts), None)
        if earlier is not None:
            text = f"{name}: {listed}[{index}] never decides, {listed}[{earlier}] holds whenever it does"
            yield source.problem(
                (*path, listed, index),
                "unreachable-entry",
                text,
                "remove it, or make the earlier one narrower",
                severity="warning",
            )
        seen.append(texts)


def _lint_subjects(route: Route, name: str, source: Source, path: Path) -> Iterator[Problem]:
    for listed in ("deny", "allow"):
        for index, entry in enumerate(getattr(route, listed) or ()):
            texts = [condition.text for condition in entry.conditions]
            if any(t.startswith("subjects:") for t in texts) and not any(
                t.startswith("authenticators:") for t in texts
            ):
                text = f"{name} names subjects, and takes them from several authenticators: the same name may be two people"
                yield source.problem(
                    (*path, listed, index, "subjects"),
                    "ambiguous-subjects",
                    text,
                    "add `authenticators: [NAME]` to the entry",
                    severity="warning",
                )

"""What tests never exercised: routes that were never found, entries that never held, conditions seen from one side only.

Read from the traces of decisions, which the decision function itself writes: what it never looked at nobody tested.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from authproxy.model.source import Path, Source
from authproxy.policy.condition import Entry
from authproxy.policy.decide import Step
from authproxy.policy.offline import Decision
from authproxy.policy.table import Route

# Route, place in it, and what of it: the word `holds`, or one side of a condition.
Point = tuple[str, str, str]
FOUND, HOLDS, FAILS = "found", "holds", "does not hold"


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that no test exercised, and where it stands."""

    file: str
    line: int
    column: int
    route: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many points there are, and those that were not covered, in the order of the files."""

    total: int
    gaps: tuple[Gap, ...]

    @property
    def covered(self) -> int:
        """Points that were exercised."""
        return self.total - len(self.gaps)

    @property
    def percent(self) -> float:
        """0 to 100; 100 is said of all only. Nothing to cover is all covered."""
        return 100 * self.covered / self.total if self.total else 100.0


def measure_coverage(
    routes: Iterable[Route],
    places: Mapping[str, tuple[Source, Path]],
    decisions: Iterable[Decision],
) -> Coverage:
    """The coverage of these routes by these decisions; `places` says where each route stands.

    A route is covered once it is found. An entry is, once it decided: all of its conditions held. A `when`, and a
    second factor that is wanted, are two points, one a side; an expression that could not be evaluated is on neither.
    """
    known = {route.name: route for route in routes}
    reached: set[Point] = set()
    for decision in decisions:
        if decision.route in known:
            reached |= set(_reached(known[decision.route], decision))
    total, gaps = 0, []
    for route in known.values():
        source, path = places[route.name]
        for point, inside, text in _points(route):
            total += 1
            if point not in reached:
                line, column = source.place((*path, *inside))
                gaps.append(Gap(source.file, line, column, route.name, point[1], text))
    gaps.sort(key=lambda gap: (gap.file, gap.line, gap.column))
    return Coverage(total, tuple(gaps))


def _points(route: Route) -> Iterator[tuple[Point, Path, str]]:
    """All that can be exercised of a route: the point, its path in the route, and what to say when it was not."""
    name = f"the route `{route.name}`"
    yield (route.name, "", FOUND), (), f"{name} was never found"
    for listed, entries in (("deny", route.deny), ("allow", route.allow or ())):
        for index, entry in enumerate(entries):
            place = f"{listed}[{index}]"
            yield (route.name, place, HOLDS), (listed, index), f"{name}: {place} never decided"
            if _has_when(entry):
                for side in (HOLDS, FAILS):
                    text = f"{name}: the `when` of {place} was never seen where it {side}"
                    yield (route.name, f"{place}.when", side), (listed, index, "when"), text
    if route.allow is None and route.authenticators:
        text = f"{name}: nobody was let in by `allow: authenticated`"
        yield (route.name, "allow", HOLDS), ("allow",), text
    if route.second_factor:
        for side in (HOLDS, FAILS):
            text = f"{name}: the second factor was never seen where it {side}"
            yield (route.name, "second_factor", side), ("second_factor",), text


def _has_when(entry: Entry) -> bool:
    # CEL is evaluated last in its entry, so it is the last condition where there is one.
    return bool(entry.conditions) and entry.conditions[-1].text.startswith("when: ")


def _reached(route: Route, decision: Decision) -> Iterator[Point]:
    yield route.name, "", FOUND
    if route.allow is None and decision.allowed and decision.identity is not None:
        yield route.name, "allow", HOLDS
    for place, steps in _by_place(decision.conditions).items():
        last = steps[-1]
        if place == "second_factor":
            yield route.name, place, HOLDS if last.outcome.holds else FAILS
            continue
        listed, index = place.removesuffix("]").split("[")
        entry = (getattr(route, listed) or ())[int(index)]
        whole = len(steps) == len(entry.conditions)
        if whole and _has_when(entry) and not last.outcome.error:
            yield route.name, f"{place}.when", HOLDS if last.outcome.holds else FAILS
        # In `deny` an error holds, in `allow` it fails (decide.py).
        held = (s.outcome.holds or (listed == "deny" and bool(s.outcome.error)) for s in steps)
        if whole and all(held):
            yield route.name, place, HOLDS


def _by_place(steps: Iterable[Step]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in steps:
        found.setdefault(step.place, []).append(step)
    return found

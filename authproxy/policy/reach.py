"""Who can reach a target, and what somebody can reach: proved over the conditions, in the words of the policy files.

A condition that changes nothing is left out, and said to; a `when` is an unknown here, and named where it matters.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from authproxy.policy.algebra import Algebra, Outcome
from authproxy.policy.caller import Known, values_of
from authproxy.policy.condition import SECOND_FACTOR, Condition
from authproxy.policy.diagram import FALSE, TRUE, TooLarge
from authproxy.policy.table import Route, Table


@dataclass(frozen=True, slots=True)
class Way:
    """An entry as far as it says anything: its conditions without those that change nothing; `place` as in a trace."""

    place: str
    conditions: tuple[Condition, ...]

    @property
    def text(self) -> str:
        """The conditions as one line; an entry that needs none holds for anybody."""
        return " and ".join(c.text for c in self.conditions) or "anybody"


@dataclass(frozen=True, slots=True)
class Who:
    """Who gets through a route.

    `ways` are the entries of `allow` that let somebody in, `except_for` those of `deny` that keep somebody out, `idle` the
    entries that change nothing, `watched` those in shadow: of `deny` they keep nobody out, of `allow` they do let in. `public`: some come through without a credential. `nobody`: nobody ever does, and
    `anybody`: everybody whom the route's authenticators vouch for (or everybody at all, where it asks nobody).
    """

    route: Route
    ways: tuple[Way, ...]
    except_for: tuple[Way, ...]
    idle: tuple[str, ...]
    watched: tuple[str, ...]
    public: bool
    nobody: bool
    anybody: bool
    unknowns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """What somebody comes to at a route: one verdict, or `possible` ones, and the conditions on which that depends."""

    route: Route
    possible: tuple[Outcome, ...]
    depends_on: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """`allow`, a code, or `depends`."""
        return self.possible[0].code if len({o.code for o in self.possible}) == 1 else "depends"


def who(route: Route) -> Who:
    """Who can get through this route, limits and preflights aside.

    Raises:
        TooLarge: its conditions are too many to be solved.
    """
    found = _Simplified(route)
    algebra, goal = found.algebra, found.goal
    allowed = algebra.outcomes(route, "GET")[Outcome("allow")]
    nobody_known = values_of(algebra, Known(anonymous=True))
    return Who(
        route,
        ways=tuple(Way(place, tuple(held)) for place, held in found.allow.items()),
        except_for=tuple(Way(place, tuple(held)) for place, held in found.deny.items()),
        idle=tuple(found.idle),
        watched=tuple(_watched(route)),
        public=algebra.diagram.given(algebra.possible(allowed), nobody_known) != FALSE,
        nobody=goal == FALSE,
        anybody=goal == algebra.possible(algebra.vouched(route)),
        unknowns=algebra.unknowns(goal),
    )


def _watched(route: Route) -> Iterator[str]:
    for listed, entries in (("deny", route.deny), ("allow", route.allow or ())):
        yield from (f"{listed}[{i}]" for i, entry in enumerate(entries) if entry.shadow)


_Listed = dict[str, list[Condition]]


class _Simplified:
    """The entries of a route, without those and without the conditions that change nothing for anybody."""

    def __init__(self, route: Route) -> None:
        self.algebra, self.route = Algebra([route]), route
        self.deny = {
            f"deny[{i}]": list(e.conditions) for i, e in enumerate(route.deny) if not e.shadow
        }
        self.allow = {f"allow[{i}]": list(e.conditions) for i, e in enumerate(route.allow or ())}
        self.idle: list[str] = []
        self.goal = self._permitted()
        for listed in (self.deny, self.allow):
            # The last one first: of two that say the same the first is kept.
            for place in reversed(list(listed)):
                self._try_without(listed, place)
        for listed in (self.deny, self.allow):
            for held in listed.values():
                for condition in list(held):
                    self._try_shorter(held, condition)
        self.idle.sort()

    def _permitted(self) -> int:
        """Within whom the authenticators vouch for, whom these entries let through."""
        d, route = self.algebra.diagram, self.route
        denied = d.some(self._all(held, deny=True) for held in self.deny.values())
        allowed = d.some(self._all(held) for held in self.allow.values())
        wanted = [TRUE if route.allow is None else allowed, self.algebra.vouched(route)]
        wanted += [self.algebra.condition(SECOND_FACTOR)] if route.second_factor else []
        return self.algebra.possible(d.minus(d.every(wanted), denied))

    def _all(self, conditions: list[Condition], *, deny: bool = False) -> int:
        held = (self.algebra.condition(condition, deny=deny) for condition in conditions)
        return self.algebra.diagram.every(held)

    def _try_without(self, listed: _Listed, place: str) -> None:
        kept = dict(listed)
        del listed[place]
        if self._permitted() == self.goal:
            self.idle.append(place)
        else:
            listed.update({key: listed.pop(key, kept[key]) for key in kept})

    def _try_shorter(self, held: list[Condition], condition: Condition) -> None:
        kept = list(held)
        held.remove(condition)
        if self._permitted() != self.goal:
            held[:] = kept


def what(table: Table, known: Known) -> Iterator[Reach]:
    """What this caller comes to at each route, in the order of the files; limits and preflights aside."""
    for route in table.routes:
        try:
            yield _at(route, known)
        except TooLarge:
            yield Reach(route, (), ("conditions that are too many to be solved",))


def _at(route: Route, known: Known) -> Reach:
    """By each of the authenticators that may have vouched for them."""
    named = known.authenticator is None and not known.anonymous and route.authenticators
    cases = (
        [replace(known, authenticator=name) for name in route.authenticators] if named else [known]
    )
    algebra = Algebra([route])
    outcomes = algebra.outcomes(route, "GET")
    possible: dict[Outcome, None] = {}
    depends: dict[str, None] = {}
    ways = [set(_case(algebra, outcomes, case)) for case in cases]
    for came_to in ways:
        possible.update(dict.fromkeys(sorted(came_to)))
    for case, came_to in zip(cases, ways, strict=True):
        if len(came_to) > 1:
            depends.update(dict.fromkeys(_open(algebra, route, case)))
    if any(came_to != ways[0] for came_to in ways):
        depends["authenticator"] = None
    return Reach(route, tuple(possible), tuple(depends))


def _case(algebra: Algebra, outcomes: Mapping[Outcome, int], known: Known) -> Iterator[Outcome]:
    values = values_of(algebra, known)
    for outcome, f in outcomes.items():
        if algebra.diagram.given(algebra.possible(f), values) != FALSE:
            yield outcome


def _open(algebra: Algebra, route: Route, known: Known) -> Iterator[str]:
    """The conditions that are not settled by what is known, and that matter."""
    d, values = algebra.diagram, values_of(algebra, known)
    matters = set(d.variables(d.given(algebra.permitted(route), values)))
    for entry, deny in (*((e, True) for e in route.deny), *((e, False) for e in route.allow or ())):
        for condition in entry.conditions:
            f = d.given(algebra.condition(condition, deny=deny), values)
            if not matters.isdisjoint(d.variables(f)):
                yield condition.text

"""What changes between two sets of policies: which requests, for whom, to what. Solved over their conditions, not sampled.

Targets fall into classes that both tables treat alike, callers into Boolean functions; where the two verdicts of a
class and a method differ for somebody, that somebody is made up, and asked: the decision function itself confirms it.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from authproxy.model.fields import Fields
from authproxy.model.rate import STRATEGIES
from authproxy.policy.algebra import Algebra, Outcome
from authproxy.policy.caller import Caller, caller_of
from authproxy.policy.decide import judge, presenting
from authproxy.policy.diagram import FALSE, TRUE, Diagram, TooLarge
from authproxy.policy.offline import exchange_for
from authproxy.policy.table import Leaf, Route, RouteLimit, Table
from authproxy.policy.targets import CLASSES_MOST, TargetClass, Walk

Kind = Literal["opens", "closes", "refusal", "shadow", "route", "limits", "renamed"]
KINDS: dict[Kind, str] = {
    "opens": "was refused, is allowed",
    "closes": "was allowed, is refused",
    "refusal": "is refused as it was, with another code",
    "shadow": "is allowed as it was; what shadow mode would refuse differs",
    "route": "is allowed as it was, and served in another way",
    "limits": "is allowed as it was, under other rate limits",
    "renamed": "is treated as it was, by a route of another name",
}
WORK_MOST = 10_000_000  # nodes for the conditions of all pairs of routes
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT")
PREFLIGHT_FIELDS = (("Origin", "https://origin.example"), ("Access-Control-Request-Method", "GET"))


@dataclass(frozen=True, slots=True)
class Witness:
    """A request that shows a difference: what to ask `policy explain`."""

    method: str
    url: str
    caller: Caller

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Its header fields, as far as they matter."""
        return PREFLIGHT_FIELDS if self.caller.preflight else ()


@dataclass(frozen=True, slots=True)
class Side:
    """What it comes to in one of the two: the verdict, and the route where there is one."""

    outcome: Outcome
    route: Route | None


@dataclass(slots=True)
class Difference:
    """Requests of some targets and methods that come to `now` where they came to `was`.

    `confirmed`: both verdicts of the witness are the decision function's own. `changes` says what differs where the
    verdict is the same.
    """

    kind: Kind
    was: Side
    now: Side
    witness: Witness
    changes: tuple[str, ...] = ()
    confirmed: bool = False
    methods: dict[str, None] = field(default_factory=dict)
    targets: dict[str, None] = field(default_factory=dict)

    @property
    def unknowns(self) -> tuple[str, ...]:
        """The `when` on which it depends whether anybody is concerned; none: the witness is, whatever they come to."""
        return self.witness.caller.unknowns


@dataclass(slots=True)
class Comparison:
    """All differences; `bounds` says what was too much to be looked at, and is empty where all of it was."""

    differences: list[Difference] = field(default_factory=list)
    bounds: list[str] = field(default_factory=list)


def compare(old: Table, new: Table, now: float) -> Comparison:
    """Everything that the decisions of two tables differ in, grouped by the pair of routes and the two verdicts.

    `now` (seconds since the epoch) is when the witnesses are asked about.
    """
    return _Comparing(old, new, now).run()


_ORDER = "the order of authenticate"


def content(route: Route) -> tuple[Hashable, ...]:
    """All that a route does with what is matched to it; equal for routes that do the same. Its name is first."""
    who = (frozenset(route.authenticators), route.allow, route.deny, route.second_factor)
    how = (route.shadow, route.forward_preflight, route.allowed_doubts)
    return (route.name, who, how, tuple(_served(route).items()), _limits(route))


def _served(route: Route) -> dict[str, Hashable]:
    """What the backend gets, by the key of the policy file."""
    setting = sorted((name, expression.source) for name, expression in route.set_headers)
    return {
        "upstream": route.upstream,
        "rewrite": route.strip_prefix,
        "headers.remove": route.remove_headers,
        "headers.set": tuple(setting),
        "forward_authorization": route.forward_authorization,
        "streams": route.finish_streams,
        "preserve_post": route.preserve_post,
        _ORDER: route.authenticators,
    }


def _limits(route: Route) -> frozenset[RouteLimit]:
    return frozenset((*route.address_limits, *route.identity_limits))


@dataclass(frozen=True, slots=True)
class _Found:
    """A difference of a pair of routes, before anybody knows where it is met."""

    kind: Kind
    was: Outcome
    now: Outcome
    caller: Caller
    changes: tuple[str, ...] = ()


# What a target and method come to in one table: a route, or the code where there is none.
_Reached = Route | str


class _Comparing:
    def __init__(self, old: Table, new: Table, now: float) -> None:
        self.tables, self.now = (old, new), now
        self.result = Comparison()
        routes = [route for table in self.tables for route in table.routes]
        self._doubts = sorted(frozenset().union(*(route.allowed_doubts for route in routes)))
        self._contents = {id(route): content(route) for route in routes}
        self._pairs: dict[tuple[object, ...], list[_Found] | None] = {}
        self._work = 0  # nodes, over all pairs
        self._grouped: dict[tuple[object, ...], Difference] = {}

    def run(self) -> Comparison:
        walk = Walk(self.tables, lambda route: self._contents[id(route)], CLASSES_MOST)
        for target in walk.classes():
            self._look_at(target, [])
            for doubt in self._doubts:
                doubtful = target.doubtful(doubt)
                if doubtful is not None:
                    self._look_at(doubtful, [target])
        if walk.bound:
            said = (
                f"there are more than {CLASSES_MOST} classes of targets: the rest was not compared"
            )
            self.result.bounds.append(said)
        self.result.differences = sorted(self._grouped.values(), key=_order)
        _count_apart(self.result.differences, self.tables)
        return self.result

    def _look_at(self, target: TargetClass, plain: Sequence[TargetClass]) -> None:
        """Note what differs for these targets; not what does so for those without the doubt as well."""
        for method, said in _methods(target.leaves):
            old, new = (_reached(leaf, method, target.doubts) for leaf in target.leaves)
            known = (tuple(_reached(x, method, p.doubts) for x in p.leaves) for p in plain)
            if any(before[0] is old and before[1] is new for before in known):
                continue
            for found in self._differences(old, new, method):
                self._note(target, method, said, (old, new), found)

    def _differences(self, old: _Reached, new: _Reached, method: str) -> list[_Found]:
        if isinstance(old, str) and old == new:
            return []
        named = isinstance(old, Route) and isinstance(new, Route) and old.name == new.name
        # What routes are called decides nothing else: where many say the same, it is solved once.
        key = (self._said(old), self._said(new), named, method == "OPTIONS")
        if key not in self._pairs:
            same = named and key[0] == key[1]
            self._pairs[key] = [] if same else self._solved(old, new, method)
        found = self._pairs[key]
        if found is None:
            self._bound(f"{_name(old)} and {_name(new)}: their conditions are too many to be compared")  # fmt: skip
        return found or []

    def _said(self, reached: _Reached) -> Hashable:
        return self._contents[id(reached)][1:] if isinstance(reached, Route) else reached

    def _solved(self, old: _Reached, new: _Reached, method: str) -> list[_Found] | None:
        """The differences of this pair; None where they are too many to be found."""
        if self._work >= WORK_MOST:
            self._bound(f"the conditions of all routes need more than {WORK_MOST:,} nodes: the rest was not compared")  # fmt: skip
            return []
        diagram = Diagram()
        try:
            return list(_solve(old, new, method, diagram))
        except TooLarge:
            return None
        finally:
            self._work += len(diagram)

    def _bound(self, said: str) -> None:
        if said not in self.result.bounds:
            self.result.bounds.append(said)

    def _note(
        self, target: TargetClass, method: str, said: str, reached: tuple[_Reached, _Reached], found: _Found,
    ) -> None:  # fmt: skip
        key = (found.kind, found.was, found.now, found.changes, *map(_key, reached))
        known = self._grouped.get(key)
        if known is None or (known.unknowns and not found.caller.unknowns):
            routes = [r if isinstance(r, Route) else None for r in reached]
            made = Difference(
                found.kind, Side(found.was, routes[0]), Side(found.now, routes[1]),
                Witness(method, target.url, found.caller), found.changes,
            )  # fmt: skip
            made.confirmed = all(map(self._confirms, self.tables, (made.was, made.now), [made.witness] * 2))  # fmt: skip
            if known is not None:
                made.methods, made.targets = known.methods, known.targets
            known = self._grouped[key] = made
        known.methods[said] = known.targets[target.pattern] = None

    def _confirms(self, table: Table, side: Side, witness: Witness) -> bool:
        """Does the decision function say the same of the witness?"""
        caller = witness.caller
        exchange = exchange_for(
            witness.method, witness.url, client=str(caller.client), now=self.now
        )
        exchange.fields = Fields((n.encode(), v.encode()) for n, v in witness.headers)
        verdict = judge(table, exchange, presenting(caller.identity))
        came_to = Outcome(verdict.code, bool(exchange.shadow))
        return came_to == side.outcome and verdict.route is side.route


def _key(reached: _Reached) -> object:
    return id(reached) if isinstance(reached, Route) else reached


def _name(reached: _Reached) -> str:
    return f"`{reached.name}`" if isinstance(reached, Route) else reached


def _order(one: Difference) -> tuple[int, str, str]:
    names = [side.route.name if side.route else "" for side in (one.was, one.now)]
    return (list(KINDS).index(one.kind), names[0] or names[1], names[1])


def _methods(leaves: Iterable[Leaf | None]) -> Iterator[tuple[str, str]]:
    """A method of each class of methods, and what the class is called."""
    reached = [leaf for leaf in leaves if leaf is not None]
    named = dict.fromkeys(method for leaf in reached for method in sorted(leaf.by_method))
    routes = [r for leaf in reached for r in (leaf.any_method, *leaf.by_method.values()) if r]
    if any(route.forward_preflight for route in routes):
        named["OPTIONS"] = None
    for method in named:
        yield method, method
    other = next((m for m in METHODS if m not in named), "X-" + max(named, default=""))
    yield other, "any other" if named else "any"


def _reached(leaf: Leaf | None, method: str, doubts: frozenset[str]) -> _Reached:
    """As `Table.find` decides it."""
    route = leaf.by_method.get(method, leaf.any_method) if leaf is not None else None
    if doubts and (route is None or not doubts <= route.allowed_doubts):
        return "bad_request"
    return route or ("no_route" if leaf is None else "method_not_allowed")


def _solve(old: _Reached, new: _Reached, method: str, diagram: Diagram) -> Iterator[_Found]:
    algebra = Algebra([r for r in (old, new) if isinstance(r, Route)], diagram)
    was, now = (
        algebra.outcomes(r, method) if isinstance(r, Route) else {Outcome(r): TRUE}
        for r in (old, new)
    )
    served: dict[Outcome, int] = {}
    for (before, f), (after, g) in product(was.items(), now.items()):
        both = algebra.possible(algebra.diagram.every((f, g)))
        if both == FALSE:
            continue
        if before != after:
            yield _Found(_kind(before, after), before, after, _caller(algebra, both))
        elif before.code == "allow":
            served[before] = both
    if served and isinstance(old, Route) and isinstance(new, Route):
        allowed = min(served, key=lambda outcome: outcome.shadow)
        for kind, changes in _changes(old, new):
            yield _Found(kind, allowed, allowed, _caller(algebra, served[allowed]), changes)


def _caller(algebra: Algebra, f: int) -> Caller:
    """Somebody whom it concerns whatever the `when` come to, if there is anybody like that."""
    definite = algebra.definite(f)
    return caller_of(algebra, definite if definite != FALSE else f)


def _kind(before: Outcome, after: Outcome) -> Kind:
    if before.code == after.code:
        return "shadow"
    if after.code == "allow":
        return "opens"
    return "closes" if before.code == "allow" else "refusal"


def _changes(old: Route, new: Route) -> Iterator[tuple[Kind, tuple[str, ...]]]:
    """How a request that both allow is treated differently."""
    before, after = _served(old), _served(new)
    # Of other authenticators the verdicts tell.
    told = set(old.authenticators) == set(new.authenticators)
    keys = tuple(k for k, v in before.items() if after[k] != v and (told or k != _ORDER))
    if keys:
        yield "route", keys
    ended, begun = _limits(old) - _limits(new), _limits(new) - _limits(old)
    if ended or begun:
        gone = (f"no longer {limit}" for limit in sorted(map(describe_limit, ended)))
        yield "limits", (*gone, *(f"now {limit}" for limit in sorted(map(describe_limit, begun))))
    elif not keys and old.name != new.name:
        yield "renamed", ()


def describe_limit(limit: RouteLimit) -> str:
    """A rate limit in the words of a policy file; what is at its default is left out."""
    per = f"claim:{limit.claim}" if limit.per == "claim" else limit.per
    strategy = "" if limit.strategy == STRATEGIES[0] else f", {limit.strategy}"
    cost = "" if limit.cost == 1 else f", cost {limit.cost}"
    return f"{limit.name}: {limit.rate} per {per}{strategy}{cost}{', shadow' if limit.shadow else ''}"  # fmt: skip


def _count_apart(differences: Iterable[Difference], tables: Sequence[Table]) -> None:
    """Limits are counted by route: where requests that shared a count no longer do, or begin to, the limits changed."""
    moved = [d for d in differences if d.kind == "renamed" and d.was.route and _limits(d.was.route)]
    before = [d.was.route.name for d in moved if d.was.route]
    after = [d.now.route.name for d in moved if d.now.route]
    stayed = [{route.name for route in table.routes} for table in tables]
    for difference, one, other in zip(moved, before, after, strict=True):
        alone = before.count(one) == 1 and after.count(other) == 1
        if not alone or one in stayed[1] or other in stayed[0]:
            difference.kind = "limits"
            difference.changes = (
                "counted with other requests than before, as limits count by route",
            )

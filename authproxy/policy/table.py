"""Routes as a table: `find` costs the same with 10 routes as with 10,000, and their order means nothing.

A trie of path segments for each host pattern. Literal before `*` before a final `**`, segment by segment; a node is
visited at most once in a look-up.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from authproxy.model.errors import Refusal
from authproxy.model.rate import Rate, Strategy
from authproxy.model.target import Target
from authproxy.policy.condition import Entry, Expression


@dataclass(frozen=True, slots=True)
class RouteLimit:
    """A rate limit of a route. `per`: `subject`, `claim`, `address` or `route`; `claim` names it for `per: claim:NAME`."""

    name: str
    rate: Rate
    per: str
    claim: str = ""
    strategy: Strategy = "sliding-window-counter"
    cost: int = 1
    shadow: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A route, compiled: nothing in it is looked up by name or parsed again when a request comes.

    `authenticators` empty: nobody is asked who they are. `allow` None: any identity (or anyone, where nobody is asked).
    """

    name: str
    upstream: str
    hosts: tuple[str, ...] = ("",)
    paths: tuple[str, ...] = ()
    methods: frozenset[str] | None = None
    authenticators: tuple[str, ...] = ()
    allow: tuple[Entry, ...] | None = None
    deny: tuple[Entry, ...] = ()
    second_factor: bool = False
    address_limits: tuple[RouteLimit, ...] = ()
    identity_limits: tuple[RouteLimit, ...] = ()
    shadow: bool = False
    strip_prefix: tuple[str, ...] = ()
    remove_headers: frozenset[bytes] = frozenset()
    set_headers: tuple[tuple[bytes, Expression], ...] = ()
    forward_authorization: bool = False
    forward_preflight: bool = False
    preserve_post: bool = False
    finish_streams: bool = False
    allowed_doubts: frozenset[str] = frozenset()


@dataclass(slots=True)
class Leaf:
    """The routes of one host and path pattern (as they are written; no host: any): by method, and the one for any method."""

    host: str
    path: str
    by_method: dict[str, Route] = field(default_factory=dict)
    any_method: Route | None = None
    only: Route | None = (
        None  # where there is just one, as nearly everywhere: its own methods say it all
    )

    @property
    def routes(self) -> Iterable[Route]:
        """All of them, each once."""
        return dict.fromkeys(
            [*self.by_method.values(), *([self.any_method] if self.any_method else [])]
        )

    def add(self, route: Route) -> Route | None:
        """Take the route in; the route that it ties with where there is one."""
        self.only = None if self.by_method or self.any_method else route
        if route.methods is None:
            tie = self.any_method or next(iter(self.by_method.values()), None)
            self.any_method = self.any_method or route
            return tie
        tie = self.any_method or next(
            (self.by_method[m] for m in sorted(route.methods) if m in self.by_method), None
        )
        for method in route.methods:
            self.by_method.setdefault(method, route)
        return tie


# What follows where nothing does: one for all, as most nodes are a pattern's end, and memory that many share is at hand.
NOTHING: Final[dict[str, "Node"]] = {}


@dataclass(slots=True)
class Node:
    """What may follow after some segments of a path."""

    literal: dict[str, "Node"] = field(default_factory=lambda: NOTHING)
    star: "Node | None" = None
    end: Leaf | None = None
    rest: Leaf | None = None

    def follow(self, segment: str) -> "Node":
        """The node after this literal segment; it is made where there is none."""
        found = self.literal.get(segment)
        if found is None:
            if self.literal is NOTHING:
                self.literal = {}
            found = self.literal[segment] = Node()
        return found


class Table:
    """All routes. `add` while loading, `find` for each request."""

    __slots__ = ("_any", "_exact", "_mark", "_suffixes", "routes")

    def __init__(self) -> None:
        # Of the table with these very routes: what was found in it is known by it.
        self._mark = object()
        self._exact: dict[str, Node] = {}
        self._suffixes: dict[str, Node] = {}
        self._any = Node()
        self.routes: list[Route] = []

    def add(self, route: Route) -> Iterator[Route]:
        """Take the route in; yields each route that has a pattern and a method in common with it."""
        self.routes.append(route)
        for host in route.hosts:
            for path in route.paths:
                tie = self._leaf(host, path).add(route)
                self._mark = object()
                if tie is not None:
                    yield tie

    def serves(self, host: str) -> bool:
        """Does a route name this host (one without hosts names them all)?"""
        everything = self._any.literal or self._any.star or self._any.rest or self._any.end
        return bool(everything) or self.names(host)

    def names(self, host: str) -> bool:
        """Does a route name this host, or a `*.suffix` of it?"""
        return any(root is not self._any for root in self.roots(host))

    def find(self, host: str, method: str, target: Target) -> Route:
        """The route of this request: host, then path, then method; a less specific path is never tried for a method.

        Raises:
            Refusal: `no_route`, `method_not_allowed` with Allow, or `bad_request` where the target holds a doubt that
                its route does not allow.
        """
        # A path that is asked for again is kept by `model.target`: its route is at hand then, and thousands of routes
        # are not searched in memory that nobody has touched for a while. A route is no decision; that is made each time.
        for mark, its_host, its_method, found in target.memo:
            if mark is self._mark and its_host == host and its_method == method:
                known: Route = found
                return known
        route = self._search(host, method, target)
        target.memo[:] = [(self._mark, host, method, route)]
        return route

    def _search(self, host: str, method: str, target: Target) -> Route:
        leaf = self._pattern(host, target.segments)
        route = None
        if leaf is not None:
            route = leaf.only
            if route is None:
                route = leaf.by_method.get(method, leaf.any_method)
            elif route.methods is not None and method not in route.methods:
                route = None
        if target.doubts and (route is None or not target.doubts <= route.allowed_doubts):
            raise Refusal("bad_request", "-".join(sorted(target.doubts)))
        if route is not None:
            return route
        if leaf is None:
            raise Refusal("no_route")
        raise Refusal("method_not_allowed", headers=(("Allow", ", ".join(sorted(leaf.by_method))),))

    def candidates(self, host: str, target: Target) -> Iterable[Route]:
        """The routes that share the pattern which this host and path come to, whatever their methods."""
        leaf = self._pattern(host, target.segments)
        return () if leaf is None else leaf.routes

    def patterns(self, host: str, segments: tuple[str, ...]) -> Iterator[Leaf]:
        """Every pattern that this host and path fit. The first decides, the others are never tried."""
        for root in self.roots(host):
            yield from _fitting(root, segments, 0)

    def _pattern(self, host: str, segments: tuple[str, ...]) -> Leaf | None:
        if not self._exact and not self._suffixes:
            return _descend(self._any, segments, 0)
        for root in self.roots(host):
            leaf = _descend(root, segments, 0)
            if leaf is not None:
                return leaf
        return None

    def hosts(self) -> Iterable[str]:
        """The host patterns, those that are not for any host: `a.test`, `*.a.test`."""
        return [*self._exact, *("*" + suffix for suffix in self._suffixes)]

    def roots(self, host: str) -> Iterator[Node]:
        """Where the paths of this host begin: those of its own name, of longer suffixes before shorter, of any host."""
        if host in self._exact:
            yield self._exact[host]
        if self._suffixes:
            dot = host.find(".")
            while dot >= 0:
                if host[dot:] in self._suffixes:
                    yield self._suffixes[host[dot:]]
                dot = host.find(".", dot + 1)
        yield self._any

    def node(self, host: str, path: str) -> Node:
        """Where a pattern of the table ends, its final `**` left out."""
        if not host:
            node = self._any
        elif host.startswith("*"):
            node = self._suffixes.setdefault(host[1:], Node())
        else:
            node = self._exact.setdefault(host, Node())
        segments = path[1:].split("/")
        for segment in segments[:-1] if segments[-1] == "**" else segments:
            if segment == "*":
                node.star = node.star or Node()
                node = node.star
            else:
                node = node.follow(segment)
        return node

    def _leaf(self, host: str, path: str) -> Leaf:
        node = self.node(host, path)
        if path.endswith("/**"):
            node.rest = node.rest or Leaf(host, path)
            return node.rest
        node.end = node.end or Leaf(host, path)
        return node.end


def _descend(node: Node, segments: tuple[str, ...], at: int) -> Leaf | None:
    """Depth first, the more specific child first; what is tried is a path of the trie, so no node is seen twice.

    It goes no deeper than the patterns do, and these are bounded when they are read.
    """
    if at == len(segments):
        return node.end or node.rest
    child = node.literal.get(segments[at])
    if child is not None:
        found = _descend(child, segments, at + 1)
        if found is not None:
            return found
    if node.star is not None and segments[at]:
        found = _descend(node.star, segments, at + 1)
        if found is not None:
            return found
    return node.rest


def _fitting(node: Node, segments: tuple[str, ...], at: int) -> Iterator[Leaf]:
    """All that `_descend` would find, one after the other failing."""
    if at == len(segments):
        if node.end is not None:
            yield node.end
    else:
        child = node.literal.get(segments[at])
        if child is not None:
            yield from _fitting(child, segments, at + 1)
        if node.star is not None and segments[at]:
            yield from _fitting(node.star, segments, at + 1)
    if node.rest is not None:
        yield node.rest

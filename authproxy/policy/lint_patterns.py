"""Warnings about which requests a route gets: none, those of a protected route, or those that a protected route meant.

Patterns are asked for by an example of what they take: a segment that no pattern has stands for each `*`.
"""

from collections.abc import Collection, Mapping
from itertools import product

from authproxy.model.target import DOUBLE_SLASH
from authproxy.policy.findings import Findings
from authproxy.policy.table import Leaf, Node, Route, Table

# No pattern can have it as a segment or label: control characters are refused.
SOMETHING = "\0"


def lint_patterns(table: Table, found: Mapping[str, Findings], anyone: Collection[str]) -> set[str]:
    """The warnings about patterns. Of the routes that are open, which `anyone` names: those that it was said of."""
    said: set[str] = set()
    for route in table.routes:
        findings = found[route.name]
        _lint_reach(table, route, findings)
        if route.name in anyone:
            if _lint_inside(table, route, anyone, findings):
                said.add(route.name)
        elif anyone:
            _lint_slashes(table, route, anyone, findings)
    if anyone:
        _lint_hosts(table, anyone, found)
    return said


def _lint_reach(table: Table, route: Route, findings: Findings) -> None:
    double = DOUBLE_SLASH in route.allowed_doubts
    for index, path in enumerate(route.paths):
        if not path.endswith("/**"):
            continue  # what is one of some length can always be another word
        top = path == "/**"
        if all(_is_covered(table.node(host, path), top=top, double=double) for host in route.hosts):
            text = f"no request comes to `{path}` of the route `{route.name}`: more specific patterns take them all"
            remedy = "remove it, or one of the others"
            findings.warn(("match", "paths", index), "unreachable-route", text, remedy)


def _is_covered(node: Node, *, top: bool, double: bool) -> bool:
    """Do the patterns below take all that the node's own `**` would? `double`: also paths with empty segments."""
    slash, below = node.literal.get(""), node.star
    if slash is None or below is None or not (top or node.end):  # no path is shorter than `/`
        return False
    slashed = bool(slash.rest) or bool(slash.end and not double)
    return slashed and (bool(below.rest) or _is_covered(below, top=False, double=double))


def _lint_inside(table: Table, route: Route, anyone: Collection[str], findings: Findings) -> bool:
    """An open route that takes requests out of a protected one: is this one?"""
    for host, (index, path) in product(route.hosts, enumerate(route.paths)):
        behind = _pattern_behind(table, host, path)
        other = next((r for r in behind.routes if r.name not in anyone), None) if behind else None
        if behind is not None and other is not None:
            text = f"the route `{route.name}` is open to anyone, and takes requests from the protected route `{other.name}` (`{behind.path}`)"
            remedy = "ask who is calling here too, or keep it if that is meant"
            findings.warn(("match", "paths", index), "open-inside-protected", text, remedy)
            return True
    return False


def _pattern_behind(table: Table, host: str, path: str) -> Leaf | None:
    """The pattern that would decide if this one were not there."""
    fitting = table.patterns(_some_host(host), _segments(path))
    for leaf in fitting:
        if (leaf.host, leaf.path) == (host, path):
            return next(fitting, None)
    return None


def _lint_slashes(table: Table, route: Route, anyone: Collection[str], findings: Findings) -> None:
    """A protected path that an open route serves as well, with a slash more or less, from the same servers."""
    for host, (index, path) in product(route.hosts, enumerate(route.paths)):
        if path == "/" or path.endswith("/**"):
            continue
        other = path[:-1] if path.endswith("/") else f"{path}/"
        opening = _open_at(table, host, other, route, anyone)
        if opening is not None:
            text = f"`{path}` of the route `{route.name}` is protected, and the route `{opening}` serves `{other}` to anyone"
            remedy = f"add `{other}` to this route, or write `**`"
            findings.warn(("match", "paths", index), "open-way-around", text, remedy)
            return


def _lint_hosts(table: Table, anyone: Collection[str], found: Mapping[str, Findings]) -> None:
    """What is protected under its hosts, and under any other is an open route's, from the same servers."""
    protected: dict[str, list[str]] = {}
    for route in table.routes:
        if route.name not in anyone and "" not in route.hosts:
            openings = (_open_at(table, "", path, route, anyone) for path in route.paths)
            opening = next(filter(None, openings), None)
            if opening is not None:
                protected.setdefault(opening, []).append(route.name)
    for opening, names in protected.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        text = f"the route `{opening}` is open to anyone under any host, and serves so what the route `{names[0]}`{more} protects under its own hosts only"
        remedy = "name the hosts of the open route, or let the protected one be for any host"
        found[opening].warn(("match",), "open-way-around", text, remedy)


def _open_at(
    table: Table, host: str, path: str, route: Route, anyone: Collection[str]
) -> str | None:
    """The open route that a request of this host and path pattern comes to, where it leads to the route's own servers."""
    leaf = next(table.patterns(_some_host(host), _segments(path)), None)
    for other in leaf.routes if leaf is not None else ():
        if other.name in anyone and other.upstream == route.upstream:
            return other.name
    return None


def _some_host(pattern: str) -> str:
    return pattern.replace("*", SOMETHING) or SOMETHING


def _segments(path: str) -> tuple[str, ...]:
    return tuple(SOMETHING if part in {"*", "**"} else part for part in path[1:].split("/"))

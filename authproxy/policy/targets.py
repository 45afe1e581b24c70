"""Classes of targets that tables treat alike: hosts and paths walked as patterns, not as requests.

A class is what all hosts and paths have in common that come to the same patterns of each table, with one of them as its
example. It is found by walking the tables' own tries side by side; where they go on alike, nothing is walked.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from authproxy.model.target import DOUBLE_SLASH, ENCODED_PERCENT, ENCODED_SLASH
from authproxy.policy.table import Leaf, Node, Route, Table

CLASSES_MOST = 200_000
# What may still decide: nodes in the order in which they are tried, up to the first leaf that takes any rest.
_State = tuple[Node | Leaf, ...]


@dataclass(frozen=True, slots=True)
class TargetClass:
    """Hosts and paths that come to `leaves`, one for each table (None: no pattern takes them).

    `pattern` says which they are; `host` and `segments` are one of them. `free` is the index of a segment that may be
    any other as well, `rest` whether anything may follow.
    """

    pattern: str
    host: str
    segments: tuple[str, ...]
    leaves: tuple[Leaf | None, ...]
    free: int | None
    rest: bool

    @property
    def doubts(self) -> frozenset[str]:
        """What a route must allow by name before such a target may pass."""
        found = {ENCODED_PERCENT} if any("%" in s for s in self.segments) else set()
        if any("/" in s for s in self.segments):
            found.add(ENCODED_SLASH)
        return frozenset(found | ({DOUBLE_SLASH} if "//" in "/" + "/".join(self.segments) else set()))  # fmt: skip

    @property
    def url(self) -> str:
        """The example as a URL."""
        path = "/".join(quote(s, safe="!$&'()*+,;=:@~") for s in self.segments)
        return f"https://{self.host}/{path}"

    def doubtful(self, doubt: str) -> "TargetClass | None":
        """Those of its targets that hold this doubt; None where it has none, or all of them do."""
        segments = list(self.segments)
        mark = {ENCODED_SLASH: "/", ENCODED_PERCENT: "%"}.get(doubt)
        if self.rest:
            segments += ["", "x"] if mark is None else [f"x{mark}x"]
        elif self.free is None or mark is None:
            return None
        else:
            segments[self.free] += mark + segments[self.free]
        said = f"{self.pattern} ({doubt})"
        made = TargetClass(said, self.host, tuple(segments), self.leaves, self.free, self.rest)
        return None if made.doubts == self.doubts else made


class Walk:
    """The classes of some tables. `bound` is true once there were more than `most`, and then not all are given.

    Where there are two tables and `content`, which is equal for routes that do the same, what can only come to equal
    routes in both is left out.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        content: Callable[[Route], object] | None = None,
        most: int = CLASSES_MOST,
    ) -> None:
        self.tables = tables
        self._content = content
        self.bound = False
        self._left = most
        self._hosts = list(dict.fromkeys(host for table in tables for host in table.hosts()))
        self._numbers: dict[tuple[object, ...], int] = {}
        self._known: dict[int, int] = {}
        labels = {label for host in self._hosts for label in host.split(".")}
        self._label = _unused("x", labels)
        self._doubled = any(DOUBLE_SLASH in r.allowed_doubts for t in tables for r in t.routes)
        paths = (path for table in tables for route in table.routes for path in route.paths)
        self._segment = _unused("x", {s for path in paths for s in path.split("/")})

    def classes(self) -> Iterator[TargetClass]:
        """All of them, of the hosts that are named first."""
        for pattern in [*self._hosts, ""]:
            host = self._example(pattern)
            states = tuple(_cut(tuple(table.roots(host))) for table in self.tables)
            yield from self._walk(pattern or "*", host, (), states)
            if self.bound:
                return

    def _example(self, pattern: str) -> str:
        """A host of this pattern, and of no other one that comes before it."""
        if pattern.startswith("*"):
            return self._label + pattern[1:]
        return pattern or self._label

    def _walk(
        self, host: str, example: str, path: tuple[str, ...], states: tuple[_State, ...]
    ) -> Iterator[TargetClass]:
        """`path` holds the segments so far; the empty text and `*` stand for themselves and for any other."""
        if self._content is not None and self._same(*states):
            return
        settled = not any(isinstance(item, Node) for state in states for item in state)
        if settled and not path:  # all paths of the host alike
            path = ("*",) if any(states) else ()
        if path:
            if self._left <= 0:
                self.bound = True
                return
            self._left -= 1
            yield self._found(host, example, path, states, settled)
        if settled or (path and path[-1] == "" and not self._doubled):
            return
        nodes = [item for state in states for item in state if isinstance(item, Node)]
        words = dict.fromkeys(word for node in nodes for word in node.literal)
        if any(node.star for node in nodes):
            words[""] = None  # which `*` does not take, and the rest does
        for word in (*words, None):
            text = self._segment if word is None else word
            after = tuple(_after(state, text) for state in states)
            yield from self._walk(host, example, (*path, "*" if word is None else word), after)
            if self.bound:
                return

    def _found(
        self, host: str, example: str, path: tuple[str, ...], states: tuple[_State, ...], settled: bool
    ) -> TargetClass:  # fmt: skip
        free = max((i for i, word in enumerate(path) if word == "*"), default=None)
        rest = settled and any(states) and path[-1] != ""
        shown = (
            [*path[:-1], "**"]
            if settled and path[-1] == "*"
            else [*path, *(["**"] if settled and path[-1] else [])]
        )
        segments = tuple(self._segment if word == "*" else word for word in path)
        leaves = tuple(_end(state) for state in states)
        return TargetClass(f"{host}/{'/'.join(shown)}", example, segments, leaves, free, rest)

    def _same(self, one: _State, other: _State) -> bool:
        """Do both go on in the same way, whatever follows?"""
        return len(one) == len(other) and all(
            self._number(a) == self._number(b) for a, b in zip(one, other, strict=True)
        )

    def _number(self, item: Node | Leaf | None) -> int:
        """Equal for what is equal below: the same patterns with routes that say the same."""
        if item is None:
            return -1
        if id(item) not in self._known:
            if isinstance(item, Node):
                literal = (
                    (word, self._number(item.literal[word])) for word in sorted(item.literal)
                )
                key: tuple[object, ...] = (
                    tuple(literal), self._number(item.star), self._number(item.end), self._number(item.rest),
                )  # fmt: skip
            else:
                key = (
                    "leaf",
                    *(
                        (m, self._told(r))
                        for m, r in sorted(item.by_method.items(), key=lambda x: x[0])
                    ),
                    self._told(item.any_method),
                )
            self._known[id(item)] = self._numbers.setdefault(key, len(self._numbers))
        return self._known[id(item)]

    def _told(self, route: Route | None) -> object:
        return self._content(route) if route is not None and self._content is not None else None


def _unused(word: str, taken: set[str]) -> str:
    return next(w for w in (word, *(f"{word}{n}" for n in range(len(taken) + 1))) if w not in taken)


def _cut(items: _State) -> _State:
    """Up to the first leaf, which takes whatever comes to it; a node below which there is but a rest is that rest."""
    found: list[Node | Leaf] = []
    for item in items:
        simple = isinstance(item, Node) and not (item.literal or item.star or item.end)
        left = item.rest if simple and isinstance(item, Node) else item
        found += [left] if left is not None else []
        if isinstance(left, Leaf):
            break
    return tuple(found)


def _after(state: _State, segment: str) -> _State:
    """What may decide after one more segment: literal before `*` before the rest, as in `Table.find`."""
    found: list[Node | Leaf] = []
    for item in state:
        if isinstance(item, Leaf):
            found.append(item)
        else:
            star = item.star if segment else None
            found += [x for x in (item.literal.get(segment), star, item.rest) if x is not None]
    return _cut(tuple(found))


def _end(state: _State) -> Leaf | None:
    """What a path comes to that ends here."""
    for item in state:
        leaf = item if isinstance(item, Leaf) else item.end or item.rest
        if leaf is not None:
            return leaf
    return None

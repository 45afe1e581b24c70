"""Policy documents to a table of routes, with every problem at once, each at its place in its file.

Everything that can fail fails here, at load: no request ever meets a raw document.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from authproxy.model.errors import Problem
from authproxy.model.headers import NEVER_SET, HeaderRules, fold
from authproxy.model.source import Path, Source
from authproxy.model.target import DOUBLE_SLASH, ENCODED_PERCENT, ENCODED_SLASH
from authproxy.policy import condition
from authproxy.policy.condition import Condition, Entry, Expression, ExpressionError
from authproxy.policy.decide import NEVER_METHODS, RESERVED_PREFIX
from authproxy.policy.document import PolicyDocument, RouteDocument
from authproxy.policy.document import Entry as EntryDocument
from authproxy.policy.table import Route, RouteLimit, Table

_Of = TypeVar("_Of")
_IDENTITY_WORDS = re.compile(r"(?<![\w.])(identity|claims)\b")


@dataclass(frozen=True, slots=True)
class Names:
    """What policies may refer to: the configuration's names, and the header names that only we may set."""

    upstreams: Collection[str]
    authenticators: Collection[str]
    headers: HeaderRules


@dataclass(slots=True)
class Policies:
    """All routes, where each stands, and what is wrong."""

    table: Table = field(default_factory=Table)
    places: dict[str, tuple[Source, Path]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse_policies(files: Sequence[tuple[PolicyDocument, Source]], names: Names) -> Policies:
    """Compile the routes of all files; the order of files and routes means nothing."""
    policies = Policies()
    for document, source in files:
        for index, wanted in enumerate(document.routes):
            path: Path = ("routes", index)
            reader = _RouteReader(wanted, source, path, names, policies.problems)
            if wanted.name in policies.places:
                first = policies.places[wanted.name]
                reader.wrong(("name",), "duplicate-route", f"the route name `{wanted.name}` is taken in {_at(*first)}", "names are unique over all files")  # fmt: skip
                continue
            policies.places[wanted.name] = (source, path)
            route = reader.read()
            for other in dict.fromkeys(policies.table.add(route)):
                text = f"`{route.name}` and `{other.name}` ({_at(*policies.places[other.name])}) match the same requests"
                remedy = "give them different hosts, paths or methods; order never decides"
                reader.wrong(("match",), "route-tie", text, remedy)
    return policies


def _at(source: Source, path: Path) -> str:
    return f"{source.file}:{source.place(path)[0]}"


class _RouteReader:
    """Reads one route, noting each problem and going on."""

    def __init__(
        self,
        wanted: RouteDocument,
        source: Source,
        path: Path,
        names: Names,
        problems: list[Problem],
    ) -> None:
        self.wanted = wanted
        self.source = source
        self.path = path
        self.names = names
        self.problems = problems

    def wrong(self, path: Path, code: str, text: str, remedy: str, **where: Any) -> None:
        self.problems.append(self.source.problem(self.path + path, code, text, remedy, **where))

    def read(self) -> Route:
        wanted = self.wanted
        open_route = wanted.authenticate == "none"
        self._refer(("upstream",), "upstream", wanted.upstream, self.names.upstreams)
        allowed = {
            d
            for d in (ENCODED_SLASH, ENCODED_PERCENT, DOUBLE_SLASH)
            if getattr(wanted, d) == "forward"
        }
        limits = self._limits(open_route)
        return Route(
            name=wanted.name,
            upstream=wanted.upstream,
            hosts=tuple(dict.fromkeys(wanted.match.hosts or [""])),
            paths=self._paths(allowed),
            methods=self._methods(),
            authenticators=() if open_route else self._authenticators(),
            allow=self._allow(open_route),
            deny=tuple(self._entries("deny", wanted.deny or [], open_route)),
            address_limits=tuple(x for x in limits if x.per in {"address", "route"}),
            identity_limits=tuple(x for x in limits if x.per in {"subject", "claim"}),
            shadow=wanted.mode == "shadow",
            strip_prefix=self._strip_prefix(),
            remove_headers=frozenset(fold(n).encode() for n in self._changed_headers()),
            set_headers=tuple(self._set_headers(open_route)),
            forward_authorization=wanted.forward_authorization,
            forward_preflight=wanted.cors_preflight == "forward",
            finish_streams=wanted.streams == "finish",
            allowed_doubts=frozenset(allowed),
        )

    def _refer(self, path: Path, kind: str, name: str, known: Collection[str]) -> None:
        if name not in known:
            there = ", ".join(sorted(k for k in known if k.isprintable())) or "none"
            self.wrong(
                path,
                f"unknown-{kind}",
                f"there is no {kind} `{name[:80]}`",
                f"the configuration has: {there}",
            )

    def _paths(self, allowed: set[str]) -> tuple[str, ...]:
        for index, pattern in enumerate(self.wanted.match.paths):
            problem = path_pattern_problem(pattern, allowed)
            if problem is not None:
                self.wrong(("match", "paths", index), *problem)
        return tuple(dict.fromkeys(p for p in self.wanted.match.paths if p.startswith("/")))

    def _methods(self) -> frozenset[str] | None:
        methods = self.wanted.match.methods
        for index, method in enumerate(methods or []):
            if method.upper() in NEVER_METHODS:
                self.wrong(
                    ("match", "methods", index),
                    "bad-method",
                    f"{method} is always refused",
                    "remove it",
                )
            elif method != method.upper():
                self.wrong(("match", "methods", index), "bad-method", "methods are compared as written", f"write {method.upper()}")  # fmt: skip
        return None if methods is None else frozenset(methods)

    def _authenticators(self) -> tuple[str, ...]:
        for index, name in enumerate(self.wanted.authenticate):
            self._refer(("authenticate", index), "authenticator", name, self.names.authenticators)
        return tuple(dict.fromkeys(self.wanted.authenticate))

    def _allow(self, open_route: bool) -> tuple[Entry, ...] | None:
        allow = self.wanted.allow
        if allow is None:
            if not open_route:
                self.wrong((), "missing-allow", f"the route `{self.wanted.name}` has no `allow`", "write who may use it, or `allow: authenticated` for any identity")  # fmt: skip
            return None
        if allow == "authenticated":
            if open_route:
                self.wrong(("allow",), "needs-identity", "with `authenticate: none` nobody is identified", "remove `allow`, or name authenticators")  # fmt: skip
            return None
        return tuple(self._entries("allow", allow, open_route))

    def _entries(
        self, listed: str, entries: Sequence[EntryDocument], open_route: bool
    ) -> list[Entry]:
        return [
            Entry(tuple(self._conditions((listed, i), e, open_route)))
            for i, e in enumerate(entries)
        ]

    def _conditions(self, path: Path, entry: EntryDocument, open_route: bool) -> list[Condition]:
        if not entry.model_fields_set:
            self.wrong(path, "empty-entry", "an entry without conditions would hold for everyone", "write a condition, or remove the entry")  # fmt: skip
        found: list[Condition] = []
        if open_route:
            for word in entry.model_fields_set - {"networks", "when"}:
                self.wrong((*path, word), "needs-identity", f"`{word}` needs an identity, and with `authenticate: none` there is none", "use networks or `when` over the request", key=True)  # fmt: skip
        for word in ("groups", "scopes", "subjects"):
            if getattr(entry, word) is not None:
                found.append(getattr(condition, word)(getattr(entry, word)))
        if entry.authenticators is not None:
            known = () if isinstance(self.wanted.authenticate, str) else self.wanted.authenticate
            for index, name in enumerate(entry.authenticators):
                self._refer((*path, "authenticators", index), "authenticator", name, known)
            found.append(condition.authenticators(entry.authenticators))
        if entry.networks is not None:
            found.append(self._networks((*path, "networks"), entry.networks))
        found += [condition.claim(name, value) for name, value in (entry.claims or {}).items()]
        if entry.when is not None:
            found.append(self._when((*path, "when"), entry.when, open_route))
        return found

    def _networks(self, path: Path, networks: list[str]) -> Condition:
        good = []
        for index, text in enumerate(networks):
            try:
                condition.networks([text])
                good.append(text)
            except ValueError as error:
                hint = (
                    "its host bits must be 0"
                    if "host bits" in str(error)
                    else "write an address and a prefix length"
                )
                self.wrong(
                    (*path, index),
                    "bad-network",
                    f"`{text[:60]}` is no network",
                    f"{hint}, such as 10.0.0.0/8",
                )
        return condition.networks(good)

    def _expression(
        self, path: Path, make: Callable[[], _Of], source: str, open_route: bool
    ) -> _Of | None:
        if open_route and _IDENTITY_WORDS.search(re.sub(r'"[^"]*"|\'[^\']*\'', '""', source)):
            self.wrong(path, "needs-identity", "with `authenticate: none` there is no identity and there are no claims", "read the request only")  # fmt: skip
        try:
            return make()
        except ExpressionError as error:
            self.wrong(path, "bad-expression", f"this CEL expression cannot be used: {error}", "see the policy reference for what an expression may read", offset=error.column)  # fmt: skip
            return None

    def _when(self, path: Path, source: str, open_route: bool) -> Condition:
        found = self._expression(path, lambda: condition.when(source), source, open_route)
        return found or Condition(f"when: {source}", lambda _: "it could not be compiled")

    def _limits(self, open_route: bool) -> list[RouteLimit]:
        taken: set[str] = set()
        found = []
        for index, limit in enumerate(self.wanted.rate_limits or []):
            per, _, claim = limit.per.partition(":")
            if open_route and per in {"subject", "claim"}:
                self.wrong(("rate_limits", index, "per"), "needs-identity", f"`per: {limit.per}` needs an identity, and with `authenticate: none` there is none", "count by address or route")  # fmt: skip
            name = limit.name or next(n for n in _limit_names(per) if n not in taken)
            if name in taken:
                self.wrong(("rate_limits", index, "name"), "duplicate-limit", f"the limit name `{name}` is taken in this route", "give it another")  # fmt: skip
            taken.add(name)
            found.append(
                RouteLimit(
                    name, limit.rate, per, claim, limit.strategy, limit.cost, limit.mode == "shadow"
                )
            )
        return found

    def _strip_prefix(self) -> tuple[str, ...]:
        if self.wanted.rewrite is None:
            return ()
        prefix = self.wanted.rewrite.strip_prefix
        segments = tuple(prefix[1:].split("/"))
        if path_pattern_problem(prefix, set()) or "*" in prefix:
            self.wrong(("rewrite", "strip_prefix"), "bad-prefix", f"`{prefix[:80]}` is no prefix of paths", "write decoded literal segments, such as `/orders`")  # fmt: skip
        for index, pattern in enumerate(self.wanted.match.paths):
            if tuple(pattern[1:].split("/"))[: len(segments)] != segments:
                self.wrong(("match", "paths", index), "prefix-not-in-path", f"`{pattern[:80]}` does not begin with strip_prefix `{prefix[:80]}`", "strip only what every path of the route begins with")  # fmt: skip
        return segments

    def _changed_headers(self) -> list[str]:
        changes = self.wanted.headers
        for index, name in enumerate(changes.remove):
            if fold(name) in {"host", "content-length", "transfer-encoding"}:
                self.wrong(("headers", "remove", index), "reserved-header", f"`{name}` belongs to framing and routing", "remove it from the list")  # fmt: skip
        return [*changes.remove, *changes.set]

    def _set_headers(self, open_route: bool) -> list[tuple[bytes, Expression]]:
        found = []
        for name, source in self.wanted.headers.set.items():
            path: Path = ("headers", "set", name)
            if fold(name) in NEVER_SET or "_" in name or self.names.headers.reserved(name):
                self.wrong(path, "reserved-header", f"`{name}` is not a policy's to set", "choose a name outside identity, framing, Host and hop-by-hop headers", key=True)  # fmt: skip
            expression = self._expression(
                path, lambda s=source: Expression(s, boolean=False), source, open_route
            )  # type: ignore[misc]
            if expression is not None:
                found.append((name.encode(), expression))
        return found


def _limit_names(per: str) -> Any:
    yield per
    yield from (f"{per}-{n}" for n in range(2, 99))


def path_pattern_problem(pattern: str, allowed: set[str]) -> tuple[str, str, str] | None:
    """Why no request could ever match this path pattern, or why it must not be one: code, text, remedy."""
    shown = pattern[:80]
    if not pattern.startswith("/"):
        return "bad-path", f"`{shown}` is no path pattern", "begin it with `/`"
    segments = pattern[1:].split("/")
    if segments[0] == RESERVED_PREFIX:
        return "reserved-path", "`/.authproxy` belongs to the proxy itself", "choose another path"
    if "" in segments[:-1] and DOUBLE_SLASH not in allowed:
        return (
            "bad-path",
            f"`{shown}` has an empty segment, which is refused before routing",
            "write single slashes, or `double_slash: forward`",
        )
    if "**" in segments[:-1] or any("*" in s and s not in {"*", "**"} for s in segments):
        return (
            "bad-path",
            f"`{shown}` uses `*` in a way that means nothing",
            "`*` is one whole segment, `**` the rest and last",
        )
    if any(s.split(";")[0] in {".", ".."} for s in segments) or re.search(
        r"[\x00-\x1f\x7f\\]", pattern
    ):
        return (
            "bad-path",
            f"`{shown}` could never match: such paths are refused",
            "write the path as it decodes",
        )
    if "?" in pattern or "#" in pattern:
        return (
            "bad-path",
            f"`{shown}` holds `?` or `#`; paths are matched without the query",
            "use `when` if you must look further",
        )
    if "%" in pattern and ENCODED_PERCENT not in allowed:
        return (
            "bad-path",
            f"`{shown}` is matched decoded, so `%` never occurs",
            "write the decoded characters",
        )
    return None

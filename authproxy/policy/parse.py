"""Policy documents to a table of routes, with every problem at once, each at its place in its file.

Everything that can fail fails here, at load: no request ever meets a raw document.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from authproxy.model.errors import Problem
from authproxy.model.headers import NEVER_SET, HeaderRules, fold
from authproxy.model.source import Path, Source
from authproxy.model.target import DOUBLE_SLASH, ENCODED_PERCENT, ENCODED_SLASH
from authproxy.policy.condition import Entry, Expression
from authproxy.policy.decide import NEVER_METHODS
from authproxy.policy.document import PolicyDocument, RouteDocument
from authproxy.policy.entries import EntryReader, Known, same
from authproxy.policy.findings import Findings
from authproxy.policy.pattern import path_pattern_problem
from authproxy.policy.table import Route, RouteLimit, Table

DOUBTS = (ENCODED_SLASH, ENCODED_PERCENT, DOUBLE_SLASH)
# What frames the message and routes it is not a policy's to remove.
_NEVER_REMOVED = frozenset({"host", "content-length", "transfer-encoding"})
# The keys of damaged routes, by file and index of the route.
Damage = Mapping[tuple[str, int], Collection[str]]


@dataclass(frozen=True, slots=True)
class Names:
    """What policies may refer to: the configuration's names, and the header names that only we may set.

    None where the configuration is too broken to know its names: then any will do.
    """

    upstreams: Collection[str] | None
    authenticators: Collection[str] | None
    headers: HeaderRules


@dataclass(slots=True)
class Policies:
    """All routes, each as it is written and where it stands, and what is wrong."""

    table: Table = field(default_factory=Table)
    documents: dict[str, RouteDocument] = field(default_factory=dict)
    places: dict[str, tuple[Source, Path]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse_policies(
    files: Sequence[tuple[PolicyDocument, Source]], names: Names, damage: Damage | None = None
) -> Policies:
    """Compile the routes of all files; the order of files and routes means nothing."""
    policies = Policies()
    known: Known = {}
    for document, source in files:
        for index, wanted in enumerate(document.routes):
            damaged = (damage or {}).get((source.file, index), ())
            findings = Findings(source, ("routes", index), damaged, policies.problems)
            route = _RouteReader(wanted, findings, names, known).read()
            # A route whose name or pattern is a placeholder can be in nobody's way.
            if not {"name", "match"} & set(damaged):
                _enter(policies, route, wanted, findings)
    return policies


def _enter(policies: Policies, route: Route, wanted: RouteDocument, findings: Findings) -> None:
    if route.name in policies.places:
        first = _at(*policies.places[route.name])
        text = f"the route name `{route.name}` is taken in {first}"
        findings.wrong(("name",), "duplicate-route", text, "names are unique over all files")
        return
    policies.places[route.name] = (findings.source, findings.path)
    policies.documents[route.name] = wanted
    for other in dict.fromkeys(policies.table.add(route)):
        there = _at(*policies.places[other.name])
        text = f"`{route.name}` and `{other.name}` ({there}) match the same requests"
        remedy = "give them different hosts, paths or methods; order never decides"
        findings.wrong(("match",), "route-tie", text, remedy)


def _at(source: Source, path: Path) -> str:
    return f"{source.file}:{source.place(path)[0]}"


class _RouteReader:
    """Reads one route, noting each problem and going on."""

    def __init__(
        self, wanted: RouteDocument, findings: Findings, names: Names, known: Known
    ) -> None:
        self.wanted = wanted
        self.known = known
        self.findings = findings
        self.names = names
        asked = () if wanted.authenticate == "none" else tuple(dict.fromkeys(wanted.authenticate))
        self.authenticators = asked
        # Where one of them is a slip of the pen, an entry may name the one that was meant.
        meant = () if set(asked) <= set(names.authenticators or asked) else names.authenticators
        self.entry_reader = EntryReader(findings, (*asked, *(meant or ())), known)

    def read(self) -> Route:
        wanted = self.wanted
        self._check_names()
        doubts = frozenset(d for d in DOUBTS if getattr(wanted, d) == "forward")
        limits = list(self._limits())
        kept = partial(same, self.known)
        return Route(
            name=wanted.name,
            upstream=kept(wanted.upstream),
            hosts=kept(tuple(dict.fromkeys(wanted.match.hosts or [""]))),
            paths=self._paths(doubts),
            methods=kept(self._methods()),
            authenticators=kept(self.authenticators),
            allow=kept(self._allow()),
            deny=kept(self.entry_reader.entries("deny", wanted.deny or [])),
            second_factor=self._needs_login("second_factor"),
            preserve_post=self._needs_login("preserve_post"),
            address_limits=kept(tuple(x for x in limits if x.per in {"address", "route"})),
            identity_limits=kept(tuple(x for x in limits if x.per in {"subject", "claim"})),
            shadow=wanted.mode == "shadow",
            strip_prefix=self._strip_prefix(),
            remove_headers=kept(self._removed_headers()),
            set_headers=kept(tuple(self._set_headers())),
            forward_authorization=wanted.forward_authorization,
            forward_preflight=wanted.cors_preflight == "forward",
            finish_streams=wanted.streams == "finish",
            allowed_doubts=kept(doubts),
        )

    def _check_names(self) -> None:
        refer, names = self.findings.refer, self.names
        if "upstream" not in self.findings.damaged:
            refer(("upstream",), "upstream", self.wanted.upstream, names.upstreams)
        for index, name in enumerate(self.authenticators):
            refer(("authenticate", index), "authenticator", name, names.authenticators)

    def _paths(self, allowed: frozenset[str]) -> tuple[str, ...]:
        for index, pattern in enumerate(self.wanted.match.paths):
            problem = path_pattern_problem(pattern, allowed)
            if problem is not None:
                self.findings.wrong(("match", "paths", index), *problem)
        return tuple(dict.fromkeys(p for p in self.wanted.match.paths if p.startswith("/")))

    def _methods(self) -> frozenset[str] | None:
        methods = self.wanted.match.methods
        for index, method in enumerate(methods or []):
            path: Path = ("match", "methods", index)
            if method.upper() in NEVER_METHODS:
                self.findings.wrong(path, "bad-method", f"{method} is always refused", "remove it")
            elif method != method.upper():
                # RFC 9110 section 9.1: methods are case-sensitive, and all known ones are upper case.
                text = f"`{method}` would never match: methods are compared as written"
                self.findings.wrong(path, "bad-method", text, f"write {method.upper()}")
        return None if methods is None else frozenset(methods)

    def _allow(self) -> tuple[Entry, ...] | None:
        allow = self.wanted.allow
        if isinstance(allow, list):
            return self.entry_reader.entries("allow", allow)
        if allow is None and self.authenticators:
            text = f"the route `{self.wanted.name}` has no `allow`"
            remedy = "write who may use it, or `allow: authenticated` for any identity"
            self.findings.wrong((), "missing-allow", text, remedy)
        if allow is not None and not self.authenticators:
            text = "with `authenticate: none` nobody is identified"
            remedy = "remove `allow`, or name authenticators"
            self.findings.wrong(("allow",), "needs-identity", text, remedy)
        return None

    def _needs_login(self, word: str) -> bool:
        """Is this key set, which means nothing where nobody logs in?"""
        wanted: bool = getattr(self.wanted, word)
        if wanted and not self.authenticators:
            text = f"with `authenticate: none` nobody logs in, so `{word}` means nothing"
            remedy = f"remove `{word}`, or name authenticators"
            self.findings.wrong((word,), "needs-identity", text, remedy, key=True)
        return wanted

    def _limits(self) -> Iterator[RouteLimit]:
        taken: set[str] = set()
        for index, limit in enumerate(self.wanted.rate_limits or []):
            path: Path = ("rate_limits", index)
            per, _, claim = limit.per.partition(":")
            if per in {"subject", "claim"} and not self.authenticators:
                text = f"`per: {limit.per}` needs an identity, and with `authenticate: none` there is none"
                remedy = "count by address or route"
                self.findings.wrong((*path, "per"), "needs-identity", text, remedy)
            name = limit.name or _free_name(per, taken)
            if name in taken:
                text = f"the limit name `{name}` is taken in this route"
                self.findings.wrong((*path, "name"), "duplicate-limit", text, "give it another")
            taken.add(name)
            shadow = limit.mode == "shadow"
            yield RouteLimit(name, limit.rate, per, claim, limit.strategy, limit.cost, shadow)

    def _strip_prefix(self) -> tuple[str, ...]:
        if self.wanted.rewrite is None:
            return ()
        prefix = self.wanted.rewrite.strip_prefix
        segments = tuple(prefix[1:].split("/"))
        if path_pattern_problem(prefix, ()) or "*" in prefix:
            text = f"`{prefix[:80]}` is no prefix of paths"
            remedy = "write decoded literal segments, such as `/orders`"
            self.findings.wrong(("rewrite", "strip_prefix"), "bad-prefix", text, remedy)
            return segments
        for index, pattern in enumerate(self.wanted.match.paths):
            begins = tuple(pattern[1:].split("/"))[: len(segments)] == segments
            if not begins and pattern.startswith("/"):
                text = f"`{pattern[:80]}` does not begin with strip_prefix `{prefix[:80]}`"
                remedy = "strip only what every path of the route begins with"
                self.findings.wrong(("match", "paths", index), "prefix-not-in-path", text, remedy)
        return segments

    def _removed_headers(self) -> frozenset[bytes]:
        """What the client's fields lose: also those that are set, whatever their spelling."""
        changes = self.wanted.headers
        for index, name in enumerate(changes.remove):
            if fold(name) in _NEVER_REMOVED:
                text = f"`{name}` belongs to framing and routing"
                path: Path = ("headers", "remove", index)
                self.findings.wrong(path, "reserved-header", text, "remove it from the list")
        return frozenset(fold(name).encode() for name in (*changes.remove, *changes.set))

    def _set_headers(self) -> Iterator[tuple[bytes, Expression]]:
        taken: set[str] = set()
        for name, source in self.wanted.headers.set.items():
            path: Path = ("headers", "set", name)
            if fold(name) in NEVER_SET or "_" in name or self.names.headers.reserved(name):
                text = f"`{name}` is not a policy's to set"
                remedy = "choose a name outside identity, framing, Host and hop-by-hop headers"
                self.findings.wrong(path, "reserved-header", text, remedy, key=True)
            if fold(name) in taken:
                text = f"`{name}` is set twice, in two spellings"
                self.findings.wrong(path, "duplicate-header", text, "keep one of them", key=True)
            taken.add(fold(name))
            expression = self.entry_reader.expression(path, source, Expression.of_text)
            if expression is not None:
                yield name.encode(), expression


def _free_name(per: str, taken: Collection[str]) -> str:
    """The name of a limit that has none: what it counts by, numbered from the second on."""
    name, number = per, 1
    while name in taken:
        number += 1
        name = f"{per}-{number}"
    return name

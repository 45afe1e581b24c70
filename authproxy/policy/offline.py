"""Decisions without a server: a described request and a described identity in, what the proxy would do out.

The decision itself is `decide.judge`, as everywhere; what is added here is only told, never decided: which limits count
the request, and which header fields the backend would get.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from authproxy.model.address import parse_address
from authproxy.model.errors import Problem, Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.fields import read_fields
from authproxy.model.headers import HeaderRules
from authproxy.model.identity import Identity
from authproxy.model.source import Path, Source
from authproxy.policy.counting import CountedLimit, counted_limits
from authproxy.policy.decide import Identify, Step, Trace, Verdict, judge, presenting
from authproxy.policy.document import CaseIdentity
from authproxy.policy.outbound import Outbound
from authproxy.policy.table import Route, Table

# What a server makes for each request; nobody can expect a value of it.
UNKNOWN = "…"
_URL = re.compile(r"(https?)://([^/?#]*)(.*)", re.DOTALL)


class RequestError(ValueError):
    """The request cannot be read: its URL is no absolute http or https URL, or its client is no address."""


def _bare(route: Route) -> Outbound:
    return Outbound(route, host=None, own_cookies=())


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Policies as they were loaded, ready to decide.

    `places` says where each route stands, `identities` are those that the files name, `outbound` makes the heads of a
    route, `render` the identity's part of them. `problems` are the warnings of loading. `clock` is asked for the
    moment where nobody names one.
    """

    table: Table
    places: Mapping[str, tuple[Source, Path]] = field(default_factory=dict)
    identities: Mapping[str, CaseIdentity] = field(default_factory=dict)
    rules: HeaderRules = field(default_factory=HeaderRules)
    outbound: Callable[[Route], Outbound] = _bare
    render: Callable[[Identity], bytes | None] = lambda _identity: b""
    problems: Sequence[Problem] = ()
    clock: Callable[[], float] = lambda: 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What the proxy would do with a request. `verdict` is `allow`, or the code of the refusal.

    `route` is the route's name, None where none was found; `identity` is who it was taken for, `AUTHENTICATOR:SUBJECT`. `reason` is what the log would say, `shadow` the code that
    is withheld. `conditions` are those that were looked at, in order; `limits` those that count the request.
    `backend_headers` are the fields that the backend would get, repeated ones joined with `, `; None where nothing is
    forwarded. Ids that the server makes for each request are `…`.
    """

    verdict: str
    route: str | None = None
    identity: str | None = None
    reason: str = ""
    shadow: str = ""
    conditions: tuple[Step, ...] = ()
    limits: tuple[CountedLimit, ...] = ()
    backend_headers: Mapping[str, str] | None = None

    @property
    def allowed(self) -> bool:
        """Would it be forwarded?"""
        return self.verdict == "allow"

    def __bool__(self) -> bool:
        """Refused: `if decide(…):` would let everybody in."""
        raise TypeError("a decision is neither true nor false: ask for its `allowed`")


def exchange_for(method: str, url: str, *, client: str | None = None, now: float) -> Exchange:
    """The exchange that a request like this would make; its header fields are still to be read.

    Raises:
        RequestError: the URL or the client's address cannot be read.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise RequestError(f"`{url[:200]}` is no absolute URL: write https://host/path")
    exchange = Exchange("", now, 0.0)
    exchange.method, exchange.scheme, exchange.host_field = method, found[1], found[2]
    rest = found[3]
    exchange.raw_target = rest if rest.startswith("/") else "/" + rest
    if client is not None:
        address = parse_address(client)
        if address is None:
            raise RequestError(f"`{client[:80]}` is no IP address")
        exchange.peer = exchange.client = address
    exchange.client_text = str(exchange.client)
    exchange.chain = (exchange.client_text,)
    exchange.request_id = exchange.traceparent = UNKNOWN
    return exchange


def identity_of(wanted: CaseIdentity, authenticators: Sequence[str]) -> Identity:
    """The identity that is described; of the route's first authenticator where it names none."""
    claims = dict(wanted.claims)
    claims.setdefault("sub", wanted.subject)
    return Identity(
        authenticator=wanted.authenticator or next(iter(authenticators), ""),
        subject=wanted.subject,
        groups=tuple(wanted.groups),
        scopes=frozenset(wanted.scopes),
        email=wanted.email,
        username=wanted.username,
        name=wanted.name,
        claims=claims,
    )


def decide_request(
    policies: PolicySet,
    exchange: Exchange,
    identity: CaseIdentity | None,
    headers: Mapping[str, str] | None = None,
) -> Decision:
    """What comes of this request, made by this identity (None: without credentials) with these header fields."""
    lines = [
        (name.encode("latin-1", "replace"), value.encode("utf-8", "replace"))
        for name, value in (headers or {}).items()
    ]
    trace = Trace()
    head = None
    try:
        # As at the intake: a policy never sees an identity header of the client, so a test must not hold by one.
        exchange.fields = read_fields(lines, policies.rules)
        verdict = judge(policies.table, exchange, _presenting(policies, identity), trace)
        if verdict.code == "allow":
            head = policies.outbound(exchange.route).head(exchange)
    except Refusal as refusal:  # the fields, or an identity that is too large for a head
        verdict = Verdict(refusal.code, exchange.route, refusal.reason)
    who = exchange.identity
    return Decision(
        verdict=verdict.code,
        identity=None if who is None else f"{who.authenticator}:{who.subject}",
        route=verdict.route.name if verdict.route is not None else None,
        reason=verdict.reason,
        shadow=exchange.shadow,
        conditions=tuple(trace.steps),
        limits=counted_limits(exchange),
        backend_headers=None if head is None else _fields_of(head),
    )


def _presenting(policies: PolicySet, wanted: CaseIdentity | None) -> Identify:
    def identify(route: Route, exchange: Exchange) -> Identity | None:
        if wanted is None:
            return presenting(None)(route, exchange)
        identity = identity_of(wanted, route.authenticators)
        return presenting(replace(identity, header_block=policies.render(identity)))(
            route, exchange
        )

    return identify


def _fields_of(head: bytes) -> dict[str, str]:
    """The fields of a head, in their order; repeated ones (in any spelling of case) joined with `, `."""
    found: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n")[1:-2]:
        name, _, value = line.partition(": ")
        name = spelled.setdefault(name.lower(), name)
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found

"""The decision: which route a request is for, and whether its identity may use it. Default deny.

The server's steps, `policy explain` and `policy test` all call these functions and no others. An identity
may be kept, and which route a path has; a decision never (CVE-2021-32701).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.host import parse_host
from authproxy.model.identity import Identity
from authproxy.model.target import parse_target
from authproxy.policy.condition import SECOND_FACTOR, Condition, Entry, Outcome
from authproxy.policy.pattern import RESERVED_PREFIX
from authproxy.policy.seen import seen
from authproxy.policy.table import Route, Table

# RFC 9110 section 9.3.8: a TRACE would show the backend's view, injected headers included; CONNECT asks for a tunnel.
NEVER_METHODS = frozenset({"TRACE", "CONNECT"})
_ALWAYS_REFUSED_ALLOW = (("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),)


@dataclass(frozen=True, slots=True)
class Step:
    """One condition that was looked at: where it stands (`allow[0]`), as written, what it came to, and the values that it
    looked at, by their names (`MISSING` for what is not there).
    """

    place: str
    text: str
    outcome: Outcome
    seen: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(slots=True)
class Trace:
    """What a decision looked at, in order; made only when somebody asks why."""

    steps: list[Step] = field(default_factory=list)

    def note(self, place: str, condition: Condition, exchange: Exchange, found: bool | str) -> None:
        """One more."""
        outcome = Outcome(found is True, found if isinstance(found, str) else "")
        self.steps.append(Step(place, condition.text, outcome, seen(condition, exchange)))


def resolve(table: Table, exchange: Exchange) -> Route | None:
    """Read the target and find the route; both are kept in the exchange. None: it is below our own prefix, which is
    never forwarded, whatever a `/**` says.

    Raises:
        Refusal: `method_not_allowed`, `bad_request`, `no_route`.
    """
    if exchange.method in NEVER_METHODS:
        raise never_served(exchange.method)
    exchange.target = target = parse_target(exchange.raw_target)
    if target.segments[0] == RESERVED_PREFIX:
        if target.doubts:
            raise Refusal("bad_request", "reserved")
        return None
    exchange.route = route = table.find(exchange.host, exchange.method, target)
    return route


def never_served(method: str) -> Refusal:
    """The refusal of one of `NEVER_METHODS`; before the target is read, as that of CONNECT is no path."""
    # RFC 9110 section 15.5.6 wants an Allow.
    return Refusal("method_not_allowed", method.lower(), headers=_ALWAYS_REFUSED_ALLOW)


def is_forwarded_preflight(route: Route, exchange: Exchange) -> bool:
    """May this request pass without an identity, as the route's `cors_preflight: forward` says?

    One with a body is no preflight (Fetch standard section 4.8), and nobody's bytes pass for one.
    """
    return route.forward_preflight and is_preflight(exchange)


def is_preflight(exchange: Exchange) -> bool:
    """Does a browser ask whether it may (Fetch standard section 4.8)?"""
    return (
        exchange.method == "OPTIONS"
        and not exchange.fields.has_body
        and "origin" in exchange.headers
        and "access-control-request-method" in exchange.headers
    )


def enforce(route: Route, exchange: Exchange, trace: Trace | None = None) -> None:
    """Authorize, and refuse where the route is enforced; in shadow the refusal is only noted in the exchange.

    Raises:
        Refusal: `forbidden`; its reason is the entry that refused.
    """
    reason = authorize(route, exchange, trace)
    if reason is None:
        return
    if not route.shadow:
        raise Refusal("forbidden", reason)
    exchange.shadow = "forbidden"
    exchange.reason = reason


def authorize(route: Route, exchange: Exchange, trace: Trace | None = None) -> str | None:
    """None where the identity may use the route, else why not.

    A `deny` entry that holds refuses whatever `allow` says, and so does a second factor that is wanted and was not used; an error holds in `deny` and fails in `allow`.
    Entries in shadow refuse nobody: who passes only because they are is noted in the exchange.
    """
    withheld = ""
    for index, entry in enumerate(route.deny):
        if _holds(entry, exchange, True, trace, "deny", index):
            if not entry.shadow:
                return f"deny[{index}]"
            withheld = withheld or f"deny[{index}]"
    if route.second_factor and not _has_second_factor(exchange, trace):
        return "second_factor"
    if route.allow is None:
        if exchange.identity is None and route.authenticators:
            return "no identity"
    else:
        only = ""  # the first of those in shadow that lets it in
        for index, entry in enumerate(route.allow):
            if _holds(entry, exchange, False, trace, "allow", index):
                if not entry.shadow:
                    break
                only = only or f"only allow[{index}] holds"
        else:
            if not only:
                return "no entry of allow holds"
            withheld = withheld or only
    if withheld:
        exchange.shadow, exchange.reason = "forbidden", withheld
    return None


def _holds(
    entry: Entry,
    exchange: Exchange,
    error_holds: bool,
    trace: Trace | None,
    listed: str,
    index: int,
) -> bool:
    if not entry.conditions:
        return error_holds  # an entry that says nothing allows nobody
    for condition in entry.conditions:
        found = condition.test(exchange)
        if trace is not None:
            trace.note(f"{listed}[{index}]", condition, exchange, found)
        if found is False or (found is not True and not error_holds):
            return False
    return True


def _has_second_factor(exchange: Exchange, trace: Trace | None) -> bool:
    found = SECOND_FACTOR.test(exchange)
    if trace is not None:
        trace.note("second_factor", SECOND_FACTOR, exchange, found)
    return found is True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request comes to, limits aside: `allow` or a code, the route where one was found, and why."""

    code: str
    route: Route | None
    reason: str = ""


Identify = Callable[[Route, Exchange], Identity | None]


def judge(
    table: Table, exchange: Exchange, identify: Identify, trace: Trace | None = None
) -> Verdict:
    """The whole decision without a server: host, target, route, identity, policy. Limits are not charged."""
    try:
        exchange.host = parse_host(exchange.host_field)
        route = resolve(table, exchange)
        if route is None:
            return Verdict("no_route", None, "reserved")
        if not is_forwarded_preflight(route, exchange):
            exchange.identity = identify(route, exchange) if route.authenticators else None
            enforce(route, exchange, trace)
    except Refusal as refusal:
        return Verdict(refusal.code, exchange.route, refusal.reason)
    return Verdict("allow", exchange.route, exchange.reason)


def presenting(identity: Identity | None) -> Identify:
    """An `identify` for a caller who is this identity: as if it had presented a good credential of its authenticator."""

    def identify(route: Route, _exchange: Exchange) -> Identity | None:
        if identity is None:
            raise Refusal("unauthenticated")
        if identity.authenticator not in route.authenticators:
            raise Refusal("token_invalid", "authenticator")
        return identity

    return identify

"""What the proxy would do with a request, found out by the functions that the server calls."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multidict import CIMultiDict

from authproxy.authn.slots import Presentation
from authproxy.cli.issuer_keys import fetch_for_request
from authproxy.cli.live import Peek, with_live
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.fields import read_fields
from authproxy.model.headers import ASSERTION_HEADER
from authproxy.model.identity import Identity
from authproxy.policy.counting import counted
from authproxy.policy.decide import Identify, Trace, Verdict, judge, presenting
from authproxy.policy.explanation import explain
from authproxy.policy.offline import exchange_for
from authproxy.policy.table import Route, RouteLimit
from authproxy.runtime import Verification, global_limits


@dataclass(frozen=True, slots=True)
class Asked:
    """The request to explain, and who makes it: a token, a described identity, or nobody."""

    method: str
    url: str
    token: str | None = None
    subject: str | None = None
    groups: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    authenticator: str | None = None
    client: str = "127.0.0.1"
    headers: tuple[tuple[str, str], ...] = ()


# What a token alone cannot show: what its holder brings with each request.
_AS_SOMEBODY = "or describe who comes: --subject, --group, --claim"
_HINTS = {
    "dpop-scheme": f"the token is bound to a key: --header 'Authorization: DPoP …' and a proof, {_AS_SOMEBODY}",
    "dpop-missing": f"a proof is needed: --header 'DPoP: …', {_AS_SOMEBODY}",
    "no-certificate": f"the token is bound to a certificate, and none is shown here; {_AS_SOMEBODY[3:]}",
}


def explain_request(
    decides: Verification, asked: Asked, now: float, peek: Peek | None = None
) -> dict[str, Any]:
    """The explanation: route, conditions with their outcomes, verdict, limits, and the head for the backend.

    With `peek`, which says what is left of limits, it is what a request would come to now.

    Raises:
        ValueError: the URL or the address cannot be read.
    """
    exchange = exchange_for(asked.method, asked.url, client=asked.client, now=now)
    exchange.request_id, exchange.traceparent = "…", "…"
    headers = CIMultiDict(asked.headers)
    if asked.token is not None:
        headers.add("Authorization", f"Bearer {asked.token}")
    lines = [(n.encode("latin-1", "replace"), v.encode()) for n, v in headers.items()]
    identify = (
        _by_credentials(
            decides, Presentation(headers, None, asked.method, asked.url.partition("?")[0])
        )
        if asked.subject is None
        else _described(decides, asked)
    )
    trace = Trace()
    try:
        exchange.fields = read_fields(lines, decides.header_rules)
        verdict = judge(decides.table, exchange, identify, trace)
    except Refusal as refusal:
        verdict = Verdict(refusal.code, None, refusal.reason)
    limits = told_limits(decides, exchange)
    if peek is not None:
        verdict = with_live(decides, exchange, verdict, limits, peek)
    return told(decides, exchange, verdict, trace, limits)


def told(
    decides: Verification,
    exchange: Exchange,
    verdict: Verdict,
    trace: Trace,
    limits: list[dict[str, Any]],
) -> dict[str, Any]:
    """The explanation of a decision, with what stands around it: limits, and the head for the backend."""
    found = explain(decides.table, decides.places, exchange, verdict, trace)
    return {
        **{key: value for key, value in found.items() if key not in _LAST},
        "limits": limits,
        "upstream": verdict.route.upstream if verdict.route else None,
        "backend_head": _backend_head(decides, exchange, verdict.code),
        "hint": _HINTS.get(verdict.reason),
        **{key: found[key] for key in _LAST},
    }


# What the explanation ends with.
_LAST = ("reason", "shadow", "verdict")


def _by_credentials(decides: Verification, presented: Presentation) -> Identify:
    def identify(route: Route, exchange: Exchange) -> Identity | None:
        authentication = decides.authentication(route)
        assert authentication is not None
        asked = [decides.authenticators[name] for name in route.authenticators]
        fetch_for_request(asked, presented)

        async def ask() -> Identity:
            try:
                return await authentication.authenticate(presented, exchange.now, lambda: None)
            finally:
                await decides.close()

        return asyncio.run(ask())

    return identify


def _described(decides: Verification, asked: Asked) -> Identify:
    def identify(route: Route, exchange: Exchange) -> Identity | None:
        claims = {"sub": asked.subject, **asked.claims}
        identity = Identity(
            authenticator=asked.authenticator or next(iter(route.authenticators), ""),
            subject=asked.subject or "",
            groups=asked.groups,
            scopes=frozenset(asked.scopes),
            claims=claims,
        )
        return presenting(decides.rendered(identity))(route, exchange)

    return identify


def told_limits(decides: Verification, exchange: Exchange) -> list[dict[str, Any]]:
    """The limits that count the request, and those that would if it were known who makes it, whose `key` is null."""
    route = exchange.route
    found = [(limit, "every request") for limit in global_limits(decides.config)]
    if route is not None:
        found += [(limit, "the route") for limit in (*route.address_limits, *route.identity_limits)]
    return [_limit(limit, of, exchange) for limit, of in found]


def _limit(limit: RouteLimit, of: str, exchange: Exchange) -> dict[str, Any]:
    known = exchange.identity is not None or limit.per in {"address", "route"}
    return {
        "name": limit.name,
        "limit": str(limit.rate),
        "per": f"claim:{limit.claim}" if limit.per == "claim" else limit.per,
        "of": of,
        "mode": "shadow" if limit.shadow else "enforce",
        "cost": limit.cost,
        "key": counted(limit, exchange).key if known else None,
    }


def _backend_head(decides: Verification, exchange: Exchange, code: str) -> list[str] | None:
    if code != "allow" or exchange.route is None:
        return None
    shown = _unsigned if decides.config.identity.assertion.enabled else None
    head = decides.outbound(exchange.route, shown).head(exchange)
    return head.decode("utf-8", "replace").rstrip("\r\n").split("\r\n")


def _unsigned(_identity: Identity, _now: float) -> bytes:
    """That there would be an assertion: a real one would be good, wherever it was pasted."""
    return ASSERTION_HEADER + ": …\r\n".encode()

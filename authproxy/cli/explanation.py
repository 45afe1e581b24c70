"""What the proxy would do with a request, found out by the functions that the server calls, and told to people."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multidict import CIMultiDict

from authproxy.authn.slots import Presentation
from authproxy.cli.issuer_keys import fetch_for_request
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.fields import read_fields
from authproxy.model.headers import ASSERTION_HEADER
from authproxy.model.identity import Identity
from authproxy.policy.decide import Identify, Trace, Verdict, judge, presenting
from authproxy.policy.offline import exchange_for
from authproxy.policy.table import Route
from authproxy.runtime import Verification


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


def explain_request(decides: Verification, asked: Asked, now: float) -> dict[str, Any]:
    """The explanation: route, conditions with their outcomes, verdict, limits, and the head for the backend.

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
    route, identity = verdict.route, exchange.identity
    return {
        "request": {"method": exchange.method, "host": exchange.host, "path": exchange.path, "client": exchange.client_text},
        "route": route.name if route else None,
        "mode": ("shadow" if route.shadow else "enforce") if route else None,
        "identity": None if identity is None else {
            "subject": identity.subject, "authenticator": identity.authenticator,
            "groups": list(identity.groups), "scopes": sorted(identity.scopes),
        },
        "conditions": [
            {"place": s.place, "condition": s.text, "holds": s.outcome.holds, "error": s.outcome.error or None}
            for s in trace.steps
        ],
        "limits": _limits(decides, route),
        "upstream": route.upstream if route else None,
        "backend_head": _backend_head(decides, exchange, verdict.code),
        "reason": verdict.reason or None,
        "hint": _HINTS.get(verdict.reason),
        "shadow": exchange.shadow or None,
        "verdict": verdict.code,
    }  # fmt: skip


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


def _limits(decides: Verification, route: Route | None) -> list[dict[str, Any]]:
    found = [
        {
            "name": limit.name or "address",
            "limit": limit.limit,
            "per": limit.per,
            "of": "every request",
            "mode": limit.mode,
        }
        for limit in decides.config.rate_limits
    ]
    for limit in (*route.address_limits, *route.identity_limits) if route else ():
        per = f"claim:{limit.claim}" if limit.per == "claim" else limit.per
        mode = "shadow" if limit.shadow else "enforce"
        found.append(
            {
                "name": limit.name,
                "limit": str(limit.rate),
                "per": per,
                "of": "the route",
                "mode": mode,
            }
        )
    return found


def _backend_head(decides: Verification, exchange: Exchange, code: str) -> list[str] | None:
    if code != "allow" or exchange.route is None:
        return None
    shown = _unsigned if decides.config.identity.assertion.enabled else None
    head = decides.outbound(exchange.route, shown).head(exchange)
    return head.decode("utf-8", "replace").rstrip("\r\n").split("\r\n")


def _unsigned(_identity: Identity, _now: float) -> bytes:
    """That there would be an assertion: a real one would be good, wherever it was pasted."""
    return ASSERTION_HEADER + ": …\r\n".encode()


def render_text(found: Mapping[str, Any]) -> str:
    """The explanation for people; its last line is `verdict: …`."""
    asked = found["request"]
    lines = [f"request:  {asked['method']} {asked['host']} {asked['path']} from {asked['client']}"]
    shadow = " (shadow: `forbidden` is withheld)" if found["mode"] == "shadow" else ""
    lines.append(f"route:    {found['route'] or 'none'}{shadow}")
    if found["identity"] is not None:
        who = found["identity"]
        lines.append(
            f"identity: {who['subject']} by {who['authenticator']}, groups {who['groups']}, scopes {who['scopes']}"
        )
    if found["conditions"]:
        lines.append("conditions:")
    for step in found["conditions"]:
        outcome = (
            f"error: {step['error']}"
            if step["error"]
            else "holds"
            if step["holds"]
            else "does not hold"
        )
        lines.append(f"  {step['place']}  {step['condition']}  → {outcome}")
    if found["limits"]:
        lines.append("limits:")
        lines += [
            f"  {x['name']}: {x['limit']} per {x['per']}, of {x['of']}, {x['mode']}"
            for x in found["limits"]
        ]
    if found["backend_head"]:
        lines.append(f"towards {found['upstream']}:")
        lines += [f"  {line}" for line in found["backend_head"]]
    if found["reason"]:
        lines.append(f"reason:   {found['reason']}")
    if found["hint"]:
        lines.append(f"hint:     {found['hint']}")
    if found["shadow"]:
        lines.append(f"shadow:   {found['shadow']} was withheld")
    lines.append(f"verdict: {found['verdict']}")
    return "\n".join(lines)

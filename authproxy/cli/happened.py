"""What happened to a request, as a worker remembers it, explained by the policies as they are now.

The record is what the server decided by; the tree is the decision function's, asked again. Where the two differ, that is said.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from authproxy.cli.explanation import told, told_limits
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields
from authproxy.model.identity import Identity
from authproxy.policy.decide import Identify, Trace, Verdict, judge, presenting
from authproxy.policy.recorded import DamagedRecordError, Recorded, replayed
from authproxy.policy.table import Route
from authproxy.runtime import Verification

PREFLIGHT = [(b"Origin", b"null"), (b"Access-Control-Request-Method", b"GET")]


def explain_happened(
    decides: Verification, found: Mapping[str, Any], digest: str
) -> dict[str, Any]:
    """The explanation of what a worker remembers; `digest` is that of the policies as they are now.

    The verdict is what happened. `now` is what the policies would say today, without limits, servers and credentials.
    """
    happened = found["happened"]
    recorded = _read(found["record"])
    exchange, trace = _exchange(recorded, happened), Trace()
    verdict = Verdict(happened["verdict"], None, happened["reason"])
    if recorded is not None:
        verdict = judge(decides.table, exchange, _identified(decides, recorded), trace)
    notes = list(_notes(recorded, happened, verdict, digest))
    explained = told(decides, exchange, verdict, trace, told_limits(decides, exchange))
    last = {"reason": happened["reason"] or None, "verdict": happened["verdict"]}
    shadow = {"shadow": (recorded.shadow or None) if recorded is not None else None}
    asked = {name: happened[name] for name in ("method", "host", "path", "client")}
    return {**explained, "request": asked, "happened": happened, "now": verdict.code, "notes": notes, **shadow, **last}  # fmt: skip


def _read(record: Any) -> Recorded | None:
    try:
        return None if record is None else replayed(record)
    except DamagedRecordError:
        return None


def _exchange(recorded: Recorded | None, happened: Mapping[str, Any]) -> Exchange:
    if recorded is None:
        exchange = Exchange(happened["request_id"], 0.0, 0.0)
        exchange.method, exchange.host = happened["method"], happened["host"]
        exchange.client_text = happened["client"]
        return exchange
    exchange = recorded.exchange
    exchange.host_field, exchange.scheme = exchange.host, happened["scheme"]
    exchange.chain, exchange.traceparent = tuple(happened["chain"]), "…"
    if recorded.preflight:
        exchange.fields = Fields([*exchange.fields.lines, *PREFLIGHT])
    return exchange


def _identified(decides: Verification, recorded: Recorded) -> Identify:
    """Who it was found to be; where that was not found out, what was said of it."""
    known = recorded.exchange.identity

    def identify(route: Route, exchange: Exchange) -> Identity | None:
        if known is None:
            code = "unauthenticated" if recorded.code == "allow" else recorded.code
            raise Refusal(code, recorded.reason)
        return presenting(decides.rendered(known))(route, exchange)

    return identify


def _notes(
    recorded: Recorded | None, happened: Mapping[str, Any], verdict: Verdict, digest: str
) -> Iterator[str]:
    if recorded is None:
        yield "it was refused before its path was looked at, or is one of the proxy's own pages"
        return
    if recorded.policies != digest:
        now = "say the same" if verdict.code == happened["verdict"] else f"would say {verdict.code}"
        yield f"the policies have changed since then, and {now} now"
    elif verdict.code == "allow" != happened["verdict"]:
        yield "the policies allow it; what refused it came before or after them"
    if recorded.withheld:
        yield f"not remembered, as it looks like a secret: {', '.join(recorded.withheld)}"
    if verdict.code == "allow":
        yield "of what the client sent only what policies read is remembered, so the rest is not in the head"

"""The status as a page for people: rendered here, whole; it loads nothing and runs nothing.

Everything that is not a literal of this file goes through `escape`. Nothing of the request is in it.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from html import escape

from authproxy.web.plots import sparkline, status_bar
from authproxy.web.status import (
    KeySetStatus,
    Latency,
    ReloadStatus,
    RouteStatus,
    Status,
    Traffic,
    UpstreamStatus,
)
from authproxy.web.status_style import STYLE

REFRESH = 5  # seconds
ROUTES_MOST = 100
# Nothing may be loaded or run, no frame may hold it, and of styles only ours is taken.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
QUOTED = re.compile("`([^`]+)`")
NONE = '<span class="none">—</span>'


def page(status: Status, refresh: int | None = REFRESH) -> str:
    """The whole page; it asks for itself again after `refresh` seconds."""
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{again}<title>{_title(status)}</title><style>{STYLE}</style></head><body>\n"
        f"{_header(status, refresh)}\n<main>\n{_alert(status.reload)}{_tiles(status)}\n"
        f"{_routes(status.routes)}\n"
        f'<div class="pair">\n<div>{_upstreams(status.upstreams)}\n{_key_sets(status)}\n{_reload(status)}</div>\n'
        f"<div>{_refusals(status.traffic)}\n{_listeners(status)}</div>\n</div>\n</main>\n{_footer(status)}\n</body></html>\n"
    )


# What numbers look like.


def seconds(value: float | None) -> str:
    """A latency, as exactly as its histogram allows."""
    if value is None:
        return NONE
    if value < 0.001:
        return "&lt;&nbsp;1&nbsp;ms"
    if value >= 10:
        return "≥&nbsp;10&nbsp;s"
    if value >= 0.9995:
        return f"{value:.1f}&nbsp;s"
    return f"{value * 1000:.{0 if value >= 0.01 else 1}f}&nbsp;ms"


def rate(value: float) -> str:
    """Requests a second."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 0.05 else "0"


def percent(share: float) -> str:
    """A share of 1; never 100 % or 0 % where it is not quite that."""
    if 0 < share < 0.001:
        return "&lt;&nbsp;0.1&nbsp;%"
    if 0.999 < share < 1:
        return "&gt;&nbsp;99.9&nbsp;%"
    return f"{share * 100:.{0 if share in {0, 1} else 1}f}&nbsp;%"


def duration(whole: int) -> str:
    """A time that has passed, in its two largest units."""
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}&nbsp;d {hours}&nbsp;h"
    if hours:
        return f"{hours}&nbsp;h {minutes}&nbsp;min"
    return f"{minutes}&nbsp;min {whole % 60}&nbsp;s" if minutes else f"{whole}&nbsp;s"


def moment(text: str) -> str:
    """A time that is RFC 3339, for people."""
    return f'<time datetime="{escape(text)}">{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC</time>'


def counted(number: int, noun: str) -> str:
    """`1 worker`, `2 workers`."""
    return f"{number:,}&nbsp;{noun}{'' if number == 1 else 's'}"


# The parts, from the top.


def _title(status: Status) -> str:
    if status.reload and not status.reload.success:
        return "Reload refused · authproxy"
    return "authproxy" if status.readiness.ready else "Not ready · authproxy"


def _header(status: Status, refresh: int | None) -> str:
    ready = status.readiness
    badge = (
        '<span class="badge good">Ready</span>'
        if ready.ready
        else f'<span class="badge bad">Not ready: {escape(ready.reason or "")}</span>'
    )
    control = (
        f'Updates every {refresh}&nbsp;s · <a href="?refresh=off">Pause</a>'
        if refresh
        else 'Paused · <a href="?">Resume</a>'
    )
    return (
        f'<header><div class="name"><h1>authproxy</h1><span class="version">{escape(status.version)}</span>{badge}</div>'
        f"<p>Up {duration(status.uptime_seconds)} · {counted(status.workers.count, 'worker')}</p>"
        f'<nav>{control} · <a href="?format=json">JSON</a></nav></header>'
    )


def _alert(last: ReloadStatus | None) -> str:
    if last is None or last.success:
        return ""
    items = "".join(
        f"<li><code>{escape(p.file)}:{p.line}:{p.column}</code> <strong>{escape(p.code)}</strong> "
        f"{_worded(p.text)} <em>{_worded(p.remedy)}</em></li>"
        for p in last.problems
    )
    more = f"<p>{counted(last.more, 'more problem')} in the log.</p>" if last.more else ""
    return (
        '<section class="alert" role="alert"><h2>The last reload was refused</h2>'
        f"<p>{moment(last.at)}. What was loaded before is still in force.</p><ul>{items}</ul>{more}</section>\n"
    )


def _worded(text: str) -> str:
    """What a problem says; the keys and values that it has between backticks are set like code."""
    return QUOTED.sub(r"<samp>\1</samp>", escape(text))


def _tile(title: str, figure: str, detail: str, plot: str = "") -> str:
    return f'<section class="tile"><h2>{title}</h2><p class="figure">{figure}</p>{plot}<p class="detail">{detail}</p></section>'


def _tiles(status: Status) -> str:
    traffic, cache, revoked = status.traffic, status.identity_cache, status.revocations
    open_now = sum(one.connections for one in status.listeners)
    failed = traffic.statuses.get("5xx", 0) / traffic.requests if traffic.requests else 0.0
    looked = f"{cache.hits:,} hits, {cache.misses:,} misses"
    plot = sparkline(traffic.last_minute, "Requests a second, in the last minute", wide=True)
    peak = max(traffic.last_minute, default=0.0)
    tiles = (
        _tile("Requests a second", rate(traffic.per_second), f"last minute, peak {rate(peak)}", plot),
        _tile("Answers", f"{traffic.requests:,}", _legend(traffic), status_bar(traffic.statuses, wide=True)),
        _tile("Median latency", seconds(traffic.seconds.median), f"95 % within {seconds(traffic.seconds.p95)}"),
        _tile("Server errors", percent(failed), f"{traffic.statuses.get('5xx', 0):,} answers of 5xx"),
        _tile("Open connections", f"{open_now:,}", counted(len(status.listeners), "listener")),
        _tile("Identity cache", NONE if cache.ratio is None else percent(cache.ratio), looked),
        _tile("Revocations", f"{revoked.entries:,}", "current" if revoked.current else "not read of late"),
    )  # fmt: skip
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _legend(traffic: Traffic) -> str:
    entries = (
        f'<span class="key c{escape(name[:1])}">{escape(name)}&nbsp;{count:,}</span>'
        for name, count in traffic.statuses.items()
    )
    return " ".join(entries) or "none yet"


def _table(
    title: str, note: str, heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]
) -> str:
    """`heads`: the columns' titles and classes. The first column names its row. Cells are markup already."""
    head = "".join(f'<th scope="col" role="columnheader" class="{c}">{h}</th>' for h, c in heads)
    body = "".join(f'<tr role="row">{_cells(heads, row)}</tr>' for row in rows)
    if not body:
        body = f'<tr role="row"><td role="cell" class="empty" colspan="{len(heads)}">None</td></tr>'
    return (
        f'<section class="panel"><h2>{title}</h2><p class="note">{note}</p><table role="table">'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table></section>'
    )


def _cells(heads: Sequence[tuple[str, str]], row: Sequence[str]) -> str:
    first, *others = row
    cells = (
        f'<td role="cell" class="{kind}" data-label="{title}">{cell}</td>'
        for (title, kind), cell in zip(heads[1:], others, strict=True)
    )
    return f'<th scope="row" role="rowheader">{first}</th>{"".join(cells)}'


ROUTE_HEADS = (
    ("Route", ""), ("Last minute", "plot"), ("Per second", "n"), ("Requests", "n"), ("Statuses", "plot"),
    ("Median", "n"), ("95 %", "n"), ("Refusals", "codes"),
)  # fmt: skip


def _routes(routes: Sequence[RouteStatus]) -> str:
    shown = busiest(routes, ROUTES_MOST)
    note = "Rates over the last minute; everything else since the start."
    if len(shown) < len(routes):
        note += f" The {len(shown)} busiest of {len(routes):,}; the JSON has all."
    return _table("Routes", note, ROUTE_HEADS, map(_route, shown))


def busiest(routes: Sequence[RouteStatus], most: int) -> list[RouteStatus]:
    """At most so many of the routes, in the order that they have."""
    if len(routes) <= most:
        return list(routes)
    ranked = sorted(range(len(routes)), key=lambda at: -routes[at].traffic.requests)
    return [routes[at] for at in sorted(ranked[:most])]


def _route(route: RouteStatus) -> tuple[str, ...]:
    traffic = route.traffic
    return (
        _route_name(route),
        sparkline(traffic.last_minute, "Requests a second, in the last minute"),
        rate(traffic.per_second),
        f"{traffic.requests:,}",
        status_bar(traffic.statuses),
        *_latency(traffic.seconds),
        _codes(traffic),
    )


def _route_name(route: RouteStatus) -> str:
    if route.name is None:
        return '<span class="aside">no route found</span>'
    gone = "" if route.configured else ' <span class="aside">no longer configured</span>'
    return f"{escape(route.name)}{gone}"


def _latency(found: Latency) -> tuple[str, str]:
    return seconds(found.median), seconds(found.p95)


def _codes(traffic: Traffic) -> str:
    chips = [_chip(code, count, "") for code, count in traffic.refusals.items()]
    chips += [_chip(code, count, " (shadow)") for code, count in traffic.shadow_refusals.items()]
    return " ".join(chips) or NONE


def _chip(code: str, count: int, aside: str) -> str:
    return f'<span class="chip">{escape(code)}{aside} <b>{count:,}</b></span>'


UPSTREAM_HEADS = (
    ("Upstream", ""), ("Requests", "n"), ("Median", "n"), ("95 %", "n"), ("Busy", "n"), ("Idle", "n"),
)  # fmt: skip


def _upstreams(upstreams: Sequence[UpstreamStatus]) -> str:
    note = "Until the head of the answer. Connections are those of the worker that answers."
    return _table("Upstreams", note, UPSTREAM_HEADS, map(_upstream, upstreams))


def _upstream(one: UpstreamStatus) -> tuple[str, ...]:
    servers = f'<span class="aside">{", ".join(map(escape, one.servers))}</span>'
    return (
        f"{escape(one.name)} {servers}",
        f"{one.requests:,}",
        *_latency(one.seconds),
        f"{one.busy:,}",
        f"{one.idle:,}",
    )


def _refusals(traffic: Traffic) -> str:
    heads = (("Code", ""), ("Requests", "n"), ("Share of all", "n"))
    rows = [*_shares(traffic.refusals, traffic, ""), *_shares(traffic.shadow_refusals, traffic, "withheld by shadow mode")]  # fmt: skip
    return _table("Refusals", "Requests that were refused or failed, by code.", heads, rows)


def _shares(counts: Mapping[str, int], traffic: Traffic, aside: str) -> list[tuple[str, ...]]:
    note = f' <span class="aside">{aside}</span>' if aside else ""
    return [
        (f"<code>{escape(code)}</code>{note}", f"{n:,}", percent(n / max(traffic.requests, 1)))
        for code, n in counts.items()
    ]


def _key_sets(status: Status) -> str:
    heads = (
        ("Authenticator", ""),
        ("Algorithms", ""),
        ("Keys", "n"),
        ("Version", ""),
        ("From", ""),
    )
    rows = (
        (
            escape(one.authenticator),
            escape(", ".join(one.algorithms)),
            f"{one.keys:,}",
            f"<code>{escape(one.version)}</code>" if one.version else _no_version(one),
            NONE if one.source is None else _fetched(one, one.source),
        )
        for one in status.key_sets
    )
    return _table("Key sets", "What tokens are verified with.", heads, rows)


def _no_version(keys: KeySetStatus) -> str:
    if keys.source is not None:
        return '<span class="badge bad">None yet, or no more</span>'
    return '<span class="aside">a secret: not shown</span>'


def _fetched(keys: KeySetStatus, source: str) -> str:
    age = "never fetched" if keys.age_seconds is None else f"{keys.age_seconds:,}&nbsp;s ago"
    error = f' <span class="aside">{escape(keys.last_error)}</span>' if keys.last_error else ""
    return f"<code>{escape(source)}</code>, {age}{error}"


def _listeners(status: Status) -> str:
    heads = (("Listener", ""), ("Protocol", ""), ("Connections", "n"))
    rows = (
        (f"<code>{escape(one.address)}</code>", "TLS" if one.tls else "HTTP", f"{one.connections:,}")
        for one in status.listeners
    )  # fmt: skip
    return _table(
        "Listeners", "Connections of clients that are open now, in all workers.", heads, rows
    )


def _reload(status: Status) -> str:
    last = status.reload
    if last is None:
        said = "Nothing has been reloaded since the start."
    elif last.success:
        said = f'<span class="badge good">Taken over</span> {moment(last.at)}'
    else:
        said = f'<span class="badge bad">Refused</span> {moment(last.at)}'
    return f'<section class="panel"><h2>Last reload</h2><p class="line">{said}</p></section>'


def _footer(status: Status) -> str:
    workers = status.workers
    return (
        f"<footer><p>As of {moment(status.now)}, running since {moment(status.since)}. "
        f"Answered by worker {workers.this} (pid&nbsp;{workers.pid}, since {moment(workers.since)}). "
        "Counts are of all workers.</p></footer>"
    )

"""What Prometheus scrapes: the counters of all workers as text (format 0.0.4), with what each of them means.

With thousands of routes this is much work, and it is done where requests are served: so it is a generator that pauses
after every few hundred series, and whoever runs it serves requests in between.
"""

from collections.abc import Generator, Iterator

from authproxy.telemetry.metrics import HISTOGRAM, STRIDE, Pages, Totals

HELP = {
    "authproxy_requests_total": ("counter", "Requests that have ended, by route and status."),
    "authproxy_request_seconds": ("histogram", "How long requests took."),
    "authproxy_refusals_total": ("counter", "Requests that were refused or failed, by code."),
    "authproxy_shadow_refusals_total": ("counter", "Refusals that shadow mode withheld, by code."),
    "authproxy_upstream_seconds": (
        "histogram",
        "From the request's forwarding to the head of its answer.",
    ),
    "authproxy_connections": ("gauge", "Open client connections."),
    "authproxy_handshakes_refused_total": (
        "counter",
        "Connections that were closed before their TLS handshake: there were too many.",
    ),
    "authproxy_config_reload_success": (
        "gauge",
        "1 where the last reload was taken over, 0 where it was refused.",
    ),
    "authproxy_redis_up": (
        "gauge",
        "1 where all workers reach the Redis of the state, by what it holds for them.",
    ),
    "authproxy_redis_failures_total": (
        "counter",
        "Calls to the Redis of the state that failed, by what it holds.",
    ),
    "authproxy_revocations": ("gauge", "Entries of the revocation list."),
    "authproxy_identity_cache_total": ("counter", "Look-ups of verified identities, by result."),
    "authproxy_key_set_age_seconds": (
        "gauge",
        "Since the keys in force were fetched, by authenticator; absent where there are none.",
    ),
    "authproxy_key_set_fetches_total": ("counter", "Key sets asked for, by result."),
    "authproxy_groups_left_out_total": (
        "counter",
        "Groups that no header can carry, counted when their identity is verified.",
    ),
    "authproxy_limits_unavailable_total": (
        "counter",
        "Times that limits could not reach the state store, by what became of the request.",
    ),
    "authproxy_state_round_trips_total": (
        "counter",
        "Calls to the Redis for limits and for what may be used once.",
    ),
    "authproxy_log_lines_lost_total": ("counter", "Lines of a log that were not written, by log."),
    "authproxy_spans_total": ("counter", "Spans for the collector of traces, by result."),
}


def exposition(pages: Pages) -> Generator[None, None, str]:
    """The whole text, in many steps; histograms are cumulated here."""
    totals = yield from pages.totals()
    text, lines = [], []
    for name, (kind, meaning) in HELP.items():
        lines += [f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"]
        written = _histogram(name, totals) if kind == "histogram" else _plain(name, totals)
        for line in written:
            lines.append(line)
            if len(lines) >= STRIDE:
                text.append("".join(lines))
                lines.clear()
                yield
    return "".join([*text, *lines])


def _plain(name: str, totals: Totals) -> Iterator[str]:
    for labels, value in totals.pop(name, {}).items():
        pairs = ",".join(map(_pair, labels))
        yield f"{name}{{{pairs}}} {value:.17g}\n" if pairs else f"{name} {value:.17g}\n"


def _histogram(name: str, totals: Totals) -> Iterator[str]:
    """What was counted between two bounds becomes what is at most the upper one; `le` is the last of the labels."""
    buckets = totals.pop(f"{name}_bucket", {})
    for labels, total in totals.pop(f"{name}_sum", {}).items():
        pairs, running = ",".join(map(_pair, labels)), 0.0
        for bound in HISTOGRAM[:-1]:
            running += buckets.get((*labels, ("le", bound)), 0.0)
            yield f'{name}_bucket{{{pairs},le="{bound}"}} {running:.17g}\n'
        yield f"{name}_sum{{{pairs}}} {total:.17g}\n"
        yield f"{name}_count{{{pairs}}} {running:.17g}\n"


def _pair(label: tuple[str, str]) -> str:
    name, value = label
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{quoted}"'

"""What the admin listener tells of the proxy: put together from the counters and the runtime, never from a request.

Whoever reaches the listener may read it, so nothing here names a caller: no identity, token, claim or address, and no
fingerprint of a secret.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from authproxy import __version__
from authproxy.authn.bearer import FollowingVerifier, JwtVerifier
from authproxy.model.errors import Problem
from authproxy.runtime import Runtime
from authproxy.telemetry.metrics import BUCKETS, Totals
from authproxy.telemetry.rates import Minute, Rate
from authproxy.telemetry.reload_record import Reload

# The algorithms whose keys are public: only of these may a fingerprint be shown. HS* is not among them.
PUBLIC_KEYS = ("RS", "PS", "ES", "Ed")
VERSION_SHOWN = 12

Counts = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Place:
    """The worker that answers: its number, its process, when it started, and how many there are."""

    number: int
    pid: int
    started: float
    workers: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a status is made of, as the worker has it at one moment; `unready`: why no requests should come."""

    now: float
    started: float
    place: Place
    unready: str | None
    listeners: Sequence[tuple[str, bool]]  # its address, and whether TLS is spoken there
    totals: Totals
    minute: Minute
    reload: Reload | None
    runtime: Runtime


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds since the start, estimated from the histogram; None where nothing was measured."""

    median: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was counted since the start; `per_second` and `last_minute` (each second, the oldest first) of the last minute."""

    requests: int
    per_second: float
    last_minute: tuple[float, ...]
    statuses: dict[str, int]
    refusals: dict[str, int]
    shadow_refusals: dict[str, int]
    seconds: Latency


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """A route; without a name: the requests that no route was found for."""

    name: str | None
    configured: bool
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class UpstreamStatus:
    """An upstream; `busy` and `idle` are the connections of the worker that answers."""

    name: str
    servers: tuple[str, ...]
    requests: int
    seconds: Latency
    busy: int
    idle: int


@dataclass(frozen=True, slots=True)
class KeySetStatus:
    """The keys of an authenticator; no version where it would be the fingerprint of a secret.

    Of those that are fetched: where from, how old they are (None: there are none), why the last question failed (None:
    it did not), and when they are asked for next.
    """

    authenticator: str
    algorithms: tuple[str, ...]
    keys: int
    version: str | None
    source: str | None = None
    age_seconds: int | None = None
    last_error: str | None = None
    next_refresh: str | None = None


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """A proxied listener."""

    address: str
    tls: bool
    connections: int


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """Look-ups of verified identities; `ratio` of hits, None where there were none."""

    hits: int
    misses: int
    ratio: float | None


@dataclass(frozen=True, slots=True)
class RevocationStatus:
    """The revocation list of the worker that answers; not `current` where it could not be read of late."""

    entries: int
    current: bool


@dataclass(frozen=True, slots=True)
class ReloadStatus:
    """The last reload; `more` problems are only in the log."""

    success: bool
    at: str
    problems: tuple[Problem, ...]
    more: int


@dataclass(frozen=True, slots=True)
class WorkersStatus:
    """How many there are, and which one answers."""

    count: int
    this: int
    pid: int
    since: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Should requests come? If not, why."""

    ready: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """What `/status` says. Times are UTC (RFC 3339)."""

    version: str
    now: str
    since: str
    uptime_seconds: int
    readiness: Readiness
    workers: WorkersStatus
    traffic: Traffic
    listeners: list[ListenerStatus]
    routes: list[RouteStatus]
    upstreams: list[UpstreamStatus]
    key_sets: list[KeySetStatus]
    identity_cache: CacheStatus
    revocations: RevocationStatus
    reload: ReloadStatus | None


def assemble(facts: Facts) -> Status:
    """The status at the moment of the facts."""
    totals, runtime, place = facts.totals, facts.runtime, facts.place
    routes = _Counted.by(totals, "route")
    return Status(
        version=__version__,
        now=utc(facts.now),
        since=utc(facts.started),
        uptime_seconds=max(0, int(facts.now - facts.started)),
        readiness=Readiness(facts.unready is None, facts.unready),
        workers=WorkersStatus(place.workers, place.number, place.pid, utc(place.started)),
        traffic=routes.merged().traffic("", facts.minute.total()),
        listeners=_listeners(facts),
        routes=list(_routes(facts, routes)),
        upstreams=list(_upstreams(totals, runtime)),
        key_sets=[
            _key_set(one, facts.now)
            for one in runtime.authenticators.values()
            if isinstance(one, JwtVerifier)
        ],
        identity_cache=_cache(totals),
        revocations=RevocationStatus(len(runtime.revocations), runtime.revocations.current),
        reload=_reload(facts.reload),
    )


def utc(seconds: float) -> str:
    """A moment in seconds since 1970, as RFC 3339 has it."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def quantile(buckets: Mapping[str, float], share: float) -> float | None:
    """The value that this share of what was measured does not exceed, interpolated within its bucket.

    The last bound stands for everything above it; None where nothing was measured.
    """
    rank = share * sum(buckets.values())
    below = lower = 0.0
    for bound in BUCKETS:
        count = buckets.get(str(bound), 0.0)
        if count and below + count >= rank:
            return round(lower + (bound - lower) * (rank - below) / count, 6)
        below, lower = below + count, bound
    return BUCKETS[-1] if rank else None


def _latency(buckets: Mapping[str, float]) -> Latency:
    return Latency(quantile(buckets, 0.5), quantile(buckets, 0.95))


def _counts(totals: Totals, name: str, group: str, kind: str) -> Counts:
    """The values of one metric: by the label `group`, then by the label `kind`."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for labels, value in totals.get(name, {}).items():
        words = dict(labels)
        found[words[group]][words[kind]] = value
    return found


@dataclass(frozen=True, slots=True)
class _Counted:
    """The counters of requests, by route."""

    statuses: Counts = field(default_factory=dict)
    refusals: Counts = field(default_factory=dict)
    shadows: Counts = field(default_factory=dict)
    seconds: Counts = field(default_factory=dict)

    @classmethod
    def by(cls, totals: Totals, label: str) -> "_Counted":
        return cls(
            _counts(totals, "authproxy_requests_total", label, "status"),
            _counts(totals, "authproxy_refusals_total", label, "code"),
            _counts(totals, "authproxy_shadow_refusals_total", label, "code"),
            _counts(totals, "authproxy_request_seconds_bucket", label, "le"),
        )

    def merged(self) -> "_Counted":
        """All routes as one, without a name."""
        parts = (self.statuses, self.refusals, self.shadows, self.seconds)
        return _Counted(*({"": _sum(part.values())} for part in parts))

    def traffic(self, name: str, rate: Rate) -> Traffic:
        statuses = self.statuses.get(name, {})
        return Traffic(
            requests=int(sum(statuses.values())),
            per_second=rate.per_second,
            last_minute=rate.intervals,
            statuses=_classes(statuses),
            refusals=_most_first(self.refusals.get(name, {})),
            shadow_refusals=_most_first(self.shadows.get(name, {})),
            seconds=_latency(self.seconds.get(name, {})),
        )


def _sum(parts: Collection[Mapping[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for part in parts:
        for key, value in part.items():
            sums[key] += value
    return sums


def _classes(statuses: Mapping[str, float]) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for status, count in sorted(statuses.items()):
        sums[f"{status[:1]}xx"] += int(count)
    return dict(sums)


def _most_first(counts: Mapping[str, float]) -> dict[str, int]:
    return {name: int(n) for name, n in sorted(counts.items(), key=lambda one: (-one[1], one[0]))}


def _routes(facts: Facts, counted: _Counted) -> Iterator[RouteStatus]:
    """Those of the policies in their order, then those that no longer are there, then what found no route."""
    configured = dict.fromkeys(route.name for route in facts.runtime.table.routes)
    gone = sorted(name for name in counted.statuses if name and name not in configured)
    lost = [""] if "" in counted.statuses else []
    for name in (*configured, *gone, *lost):
        traffic = counted.traffic(name, facts.minute.route(name))
        yield RouteStatus(name or None, name in configured, traffic)


def _upstreams(totals: Totals, runtime: Runtime) -> Iterator[UpstreamStatus]:
    seconds = _counts(totals, "authproxy_upstream_seconds_bucket", "upstream", "le")
    for name, settings in runtime.upstreams.items():
        buckets, pool = seconds.get(name, {}), runtime.pools.get(name)
        yield UpstreamStatus(
            name=name,
            servers=tuple(map(str, settings.servers)),
            requests=int(sum(buckets.values())),
            seconds=_latency(buckets),
            busy=pool.busy_count if pool else 0,
            idle=pool.idle_count if pool else 0,
        )


def _key_set(verifier: JwtVerifier, now: float) -> KeySetStatus:
    algorithms = tuple(sorted(verifier.algorithms))
    public = all(name.startswith(PUBLIC_KEYS) for name in algorithms)
    version = (verifier.keys.version[:VERSION_SHOWN] or None) if public else None
    known = KeySetStatus(verifier.name, algorithms, verifier.keys.size, version)
    if not isinstance(verifier, FollowingVerifier):
        return known
    report = verifier.remote.report(now)
    return replace(
        known,
        source=report.source,
        age_seconds=None if report.age is None else int(report.age),
        last_error=report.error,
        next_refresh=utc(now + report.refresh),
    )


def _listeners(facts: Facts) -> list[ListenerStatus]:
    counted = facts.totals.get("authproxy_connections", {})
    open_now = _sum([{dict(labels)["listener"]: value} for labels, value in counted.items()])
    return [
        ListenerStatus(address, tls, int(open_now.get(address, 0)))
        for address, tls in facts.listeners
    ]


def _cache(totals: Totals) -> CacheStatus:
    counted = totals.get("authproxy_identity_cache_total", {})
    hits, misses = (int(counted.get((("result", result),), 0)) for result in ("hit", "miss"))
    asked = hits + misses
    return CacheStatus(hits, misses, round(hits / asked, 4) if asked else None)


def _reload(last: Reload | None) -> ReloadStatus | None:
    if last is None:
        return None
    return ReloadStatus(last.success, utc(last.at), last.problems, last.more)

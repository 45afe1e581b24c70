"""What engines count by themselves, brought into the metrics that all workers share; the only place that knows of each.

An engine's count starts from 0 and only grows. One that a reload replaces is brought a last time before that.
"""

import math
import time
from collections.abc import Iterator

from authproxy.authenticators import followed_keys
from authproxy.authn.remote_keys import RemoteKeys
from authproxy.runtime import Runtime
from authproxy.state.redis import Redis
from authproxy.state.redis_records import RedisRecords
from authproxy.state.redis_store import RedisStore
from authproxy.telemetry.metrics import Metrics

KEY_SET_AGE = "authproxy_key_set_age_seconds"
REDIS_UP = "authproxy_redis_up"
KEY_SET_FETCHES = "authproxy_key_set_fetches_total"


def bring_figures(runtime: Runtime, metrics: Metrics) -> None:
    """Add what is news since the last time."""
    bring, cache, limiter = metrics.bring, runtime.cache, runtime.limiter
    for result, count in (("hit", cache.hits), ("miss", cache.misses)):
        bring("authproxy_identity_cache_total", cache, count, result=result)
    for result, count in limiter.unavailable.items():
        bring("authproxy_limits_unavailable_total", limiter, count, result=result)
    if isinstance(runtime.store, RedisStore):
        bring("authproxy_state_round_trips_total", runtime.store, runtime.store.round_trips)
    bring("authproxy_groups_left_out_total", runtime.profile, runtime.profile.groups_left_out)
    for lines in runtime.logs:
        bring("authproxy_log_lines_lost_total", lines, lines.lost, log=lines.name)
    for redis in reached(runtime):
        metrics.set(REDIS_UP, float(redis.trouble is None), holds=redis.holds)
        bring("authproxy_redis_failures_total", redis, redis.failures, holds=redis.holds)
    if runtime.traces is not None:
        exporter = runtime.traces.exporter
        bring("authproxy_spans_total", exporter, exporter.sent, result="sent")
        bring("authproxy_spans_total", exporter, exporter.lost, result="lost")
    for remote in followed_keys(runtime.authenticators).values():
        _bring_keys(remote, metrics)


def reached(runtime: Runtime) -> list[Redis]:
    """The connections to a Redis that the state has; none where it is no Redis."""
    store, records = runtime.store, runtime.records
    counters = [store.redis] if isinstance(store, RedisStore) else []
    return [*counters, records.redis] if isinstance(records, RedisRecords) else counters


def state_troubles(runtime: Runtime) -> Iterator[str]:
    """A line for each part of the state that cannot be reached."""
    for redis in reached(runtime):
        if redis.trouble is not None:
            yield f"{redis.holds} in {redis.name}: {redis.trouble}"


def _bring_keys(remote: RemoteKeys, metrics: Metrics) -> None:
    age, name = remote.report(time.time()).age, remote.name
    metrics.set(KEY_SET_AGE, math.nan if age is None else age, authenticator=name)
    for result, count in (("success", remote.successes), ("failure", remote.failures)):
        metrics.bring(KEY_SET_FETCHES, remote, count, authenticator=name, result=result)

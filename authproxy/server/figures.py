"""What engines count by themselves, brought into the metrics that all workers share; the only place that knows of each.

An engine's count starts from 0 and only grows. One that a reload replaces is brought a last time before that.
"""

import math
import time

from authproxy.authenticators import followed_keys
from authproxy.authn.remote_keys import RemoteKeys
from authproxy.runtime import Runtime
from authproxy.telemetry.metrics import Metrics

KEY_SET_AGE = "authproxy_key_set_age_seconds"
KEY_SET_FETCHES = "authproxy_key_set_fetches_total"


def bring_figures(runtime: Runtime, metrics: Metrics) -> None:
    """Add what is news since the last time."""
    bring, cache, limiter = metrics.bring, runtime.cache, runtime.limiter
    for result, count in (("hit", cache.hits), ("miss", cache.misses)):
        bring("authproxy_identity_cache_total", cache, count, result=result)
    for result, count in limiter.unavailable.items():
        bring("authproxy_limits_unavailable_total", limiter, count, result=result)
    bring("authproxy_groups_left_out_total", runtime.profile, runtime.profile.groups_left_out)
    for lines in runtime.logs:
        bring("authproxy_log_lines_lost_total", lines, lines.lost, log=lines.name)
    if runtime.traces is not None:
        exporter = runtime.traces.exporter
        bring("authproxy_spans_total", exporter, exporter.sent, result="sent")
        bring("authproxy_spans_total", exporter, exporter.lost, result="lost")
    for remote in followed_keys(runtime.authenticators).values():
        _bring_keys(remote, metrics)


def _bring_keys(remote: RemoteKeys, metrics: Metrics) -> None:
    age, name = remote.report(time.time()).age, remote.name
    metrics.set(KEY_SET_AGE, math.nan if age is None else age, authenticator=name)
    for result, count in (("success", remote.successes), ("failure", remote.failures)):
        metrics.bring(KEY_SET_FETCHES, remote, count, authenticator=name, result=result)

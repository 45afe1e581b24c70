"""The status: true of the counters, complete, and without a word about who called."""

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from authproxy.authn.bearer import JwtVerifier
from authproxy.authn.keys import secret_key_set
from authproxy.config.authenticators import JwtAuthenticator
from authproxy.model.errors import Problem
from authproxy.telemetry.metrics import BUCKETS, Labels, Totals
from authproxy.telemetry.rates import Minute
from authproxy.telemetry.reload_record import Reload
from authproxy.web.status import Facts, Latency, RouteStatus, Status, assemble, quantile, utc
from tests.playbook import GUARDED, OPEN, Proxy, playbook, token
from tests.wire import until


def facts_of(proxy: Proxy, **changes: Any) -> Facts:
    """What the running worker has, with these parts replaced."""
    return replace(proxy.facts(), **changes)


def route_of(status: Status, name: str | None) -> RouteStatus:
    """The route of this name."""
    (found,) = (route for route in status.routes if route.name == name)
    return found


async def test_what_happened_is_told() -> None:
    """Requests, statuses and refusals stand at their route; connections, cache, pools and keys at theirs."""
    async with playbook() as p:
        link, credential = await p.connect(), token()
        for _ in range(3):
            await p.request("GET", "/guarded/a", token=credential, link=link)
        await p.request("GET", "/guarded/a", link=link)
        await p.request("GET", "/open", link=link)
        await until(lambda: assemble(p.facts()).identity_cache.misses == 1)
        status = assemble(p.facts())
        assert (status.readiness.ready, status.workers.count) == (True, 1)
        guarded = route_of(status, "guarded").traffic
        assert (guarded.requests, guarded.statuses) == (4, {"2xx": 3, "4xx": 1})
        assert guarded.refusals == {"unauthenticated": 1}
        assert guarded.seconds.median is not None
        assert status.traffic.requests == 5
        assert [one.connections for one in status.listeners] == [1]
        assert (status.identity_cache.hits, status.identity_cache.ratio) == (2, 0.6667)
        (upstream,) = status.upstreams
        assert (upstream.name, upstream.requests, upstream.idle) == ("backend", 4, 1)
        (keys,) = status.key_sets
        assert (keys.authenticator, keys.algorithms, keys.keys) == ("tokens", ("ES256",), 1)
        verifier = p.runtime.authenticators["tokens"]
        assert isinstance(verifier, JwtVerifier)
        assert keys.version == verifier.keys.version[:12]


async def test_nobody_is_named() -> None:
    """Neither who called nor from where nor with what is anywhere in it."""
    async with playbook() as p:
        credential = token("somebody-in-particular", groups=("a-group-of-theirs",))
        await p.request("GET", "/guarded/a-path-of-theirs?q=a-query-of-theirs", token=credential)
        said = orjson.dumps(assemble(p.facts())).decode()
        told = json.loads(said)
        assert told["traffic"]["requests"] == 1
        for word in ("somebody", "of-theirs", *credential.split("."), "issuer.test", '"api"'):
            assert word not in said
        # The client's port is nowhere: only listeners and backends have addresses here.
        ends = {one["address"] for one in told["listeners"]} | {*told["upstreams"][0]["servers"]}
        assert said.count("127.0.0.1:") == len(ends)


async def test_a_secret_has_no_version() -> None:
    """The version of a set of HS* keys is a hash of the secret, which could be tried offline: it is never told."""
    secret = b"a secret of thirty-two bytes at least"
    async with playbook() as p:
        keys = secret_key_set(secret, ["HS256"])
        settings = p.loaded.usable().authenticators["tokens"]
        assert isinstance(settings, JwtAuthenticator)
        settings = settings.model_copy(update={"algorithms": ["HS256"]})
        shared = JwtVerifier("shared", settings, keys, 8192, lambda _identity: b"", p.runtime.store)
        runtime = replace(p.runtime, authenticators={"shared": shared})
        (told,) = assemble(facts_of(p, runtime=runtime)).key_sets
        assert (told.algorithms, told.keys, told.version) == (("HS256",), 1, None)
        assert keys.version[:8] not in orjson.dumps(told).decode()


async def test_routes_of_before_and_requests_without_one() -> None:
    """Routes stand in the order of the policies; then what was counted for one that is gone; then what found none."""
    async with playbook(OPEN, GUARDED) as p:
        requests: dict[Labels, float] = {
            (("route", route), ("status", "404")): 2.0 for route in ("", "gone", "open")
        }
        totals: Totals = {"authproxy_requests_total": requests}
        status = assemble(facts_of(p, totals=totals))
        assert [(r.name, r.configured, r.traffic.requests) for r in status.routes] == [
            ("open", True, 2), ("guarded", True, 0), ("gone", False, 2), (None, False, 2),
        ]  # fmt: skip
        assert status.traffic.requests == 6
        assert route_of(status, "guarded").traffic.seconds == Latency(None, None)


async def test_rates_stand_at_their_route() -> None:
    """Each route has its own rate and the whole proxy the sum of them."""
    async with playbook(OPEN, GUARDED) as p:
        minute = Minute({"open": 0, "guarded": 1}, ((0.0, (0.0, 0.0)), (2.0, (4.0, 6.0))))
        status = assemble(facts_of(p, minute=minute))
        assert route_of(status, "open").traffic.per_second == 2.0
        assert route_of(status, "guarded").traffic.last_minute == (3.0,)
        assert status.traffic.per_second == 5.0


async def test_the_last_reload_and_why_not() -> None:
    """A refused reload is told with file, line and column; where there was none, none is."""
    problem = Problem("policies/a.yaml", 3, 7, "bad-rate", "no rate", "write N/minute")
    async with playbook() as p:
        assert assemble(facts_of(p)).reload is None
        status = assemble(facts_of(p, reload=Reload(False, 0.0, (problem,), 2)))
        told = json.loads(orjson.dumps(status.reload))
        assert (told["success"], told["at"], told["more"]) == (False, "1970-01-01T00:00:00Z", 2)
        (found,) = told["problems"]
        assert (found["file"], found["line"], found["column"]) == ("policies/a.yaml", 3, 7)


async def test_it_says_why_it_is_not_ready() -> None:
    """The reason is the one of /readyz."""
    async with playbook() as p:
        readiness = assemble(facts_of(p, unready="draining")).readiness
        assert (readiness.ready, readiness.reason) == (False, "draining")


@pytest.mark.parametrize(
    ("buckets", "share", "value"),
    [
        ({}, 0.5, None),
        ({"0.001": 10}, 0.5, 0.0005),
        ({"0.001": 50, "0.1": 50}, 0.5, 0.001),
        ({"0.001": 50, "0.1": 50}, 0.95, 0.095),
        ({"+Inf": 3}, 0.5, BUCKETS[-1]),
        ({"0.005": 1, "+Inf": 99}, 0.95, BUCKETS[-1]),
    ],
)
def test_quantiles(buckets: dict[str, float], share: float, value: float | None) -> None:
    """Interpolated within the bucket, as Prometheus does; above the last bound it says the last bound."""
    assert quantile(buckets, share) == (None if value is None else pytest.approx(value))


def test_moments() -> None:
    """Times are UTC and whole seconds."""
    assert utc(1.9) == "1970-01-01T00:00:01Z"

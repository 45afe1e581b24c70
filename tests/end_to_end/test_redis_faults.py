"""A Redis on a bad day, under load: a failover by a real sentinel, one that is slow, one that hangs, one that is gone."""

import http.client
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.fleet import Fleet, fleet, guarded
from tests.end_to_end.load import Background, Tally, hammer
from tests.end_to_end.served import run, wait_until
from tests.redis_server import RedisServer, asked, sentinel
from tests.relay import Relay

ROUTES = [
    guarded("limited", rate_limits=[{"limit": "1000000/hour", "per": "subject"}]),
    guarded("few", rate_limits=[{"limit": "50/hour", "per": "subject"}]),
    guarded("plain"),
]
TIMEOUT = 0.3
BACK = 5.0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.stop()


@pytest.mark.slow
def test_a_failover_under_load(tmp_path: Path, redis: RedisServer, background: Background) -> None:
    """The primary dies while requests come: 503 until the sentinel has named another, then all is as before, by itself.
    Nothing passes uncounted, what was revoked stays so throughout, and what needs no limit never notices.
    """
    replica = RedisServer("--replicaof", f"127.0.0.1 {redis.port}")
    try:
        assert wait_until(lambda: "master_link_status:up" in replica.ask("INFO replication"), 10)
        with sentinel(tmp_path / "sentinel", redis.port) as watching:
            known = partial(asked, watching, "SENTINEL MASTER main")
            assert wait_until(lambda: "num-slaves\r\n$1\r\n1" in known(), 20)
            state = {"url": f"redis+sentinel://127.0.0.1:{watching}/main", "timeout": "300ms"}
            (tmp_path / "proxy").mkdir()
            with fleet(tmp_path / "proxy", routes=ROUTES, state=state) as f:
                dead = f.issuer.token("eve")
                assert run("token", "revoke", dead, "--config", str(f.file)).returncode == 0
                assert f.becomes("/plain", 401, 2.0, dead)
                fail_over(f, redis, background, dead)
                assert wait_until(
                    lambda: f.metric("authproxy_redis_up", holds="counters") == 1, BACK
                )
                # what the replica had, it has: as many more as before the failover had left
                statuses = [f.ask("/few", f.issuer.token("few")) for _ in range(60)]
                assert statuses.count(200) == 50
    finally:
        replica.close()


def fail_over(f: Fleet, primary: RedisServer, background: Background, dead: str) -> None:
    """Kill the primary under load, and wait until limits count again."""
    limited, plain, token = Tally(), Tally(), f.issuer.token("ann")
    waits = [
        background.begin(hammer(background, f.port, tally, 4, path=path, token=token))
        for tally, path in ((limited, "/limited"), (plain, "/plain"))
    ]
    time.sleep(0.5)
    assert set(limited.statuses) == {200}
    primary.stop()
    assert wait_until(lambda: limited.statuses[503], 3)
    assert f.everywhere("/plain", dead) == {401}
    # the sentinel needs half a second to see it, and some to be elected and to promote; then 5 s at most for us
    assert f.becomes("/limited", 200, 15.0, token)
    limited.stop = plain.stop = True
    for wait in waits:
        wait()
    assert limited.failed == plain.failed == []
    assert set(limited.statuses) == {200, 503}
    assert set(plain.statuses) == {200}


def timed(f: Fleet, path: str, token: str) -> tuple[int, float]:
    """The status of a request, and how long it took."""
    begin = time.monotonic()
    return f.ask(path, token), time.monotonic() - begin


def test_a_slow_redis_hurts_no_more_than_its_bound(
    tmp_path: Path, redis: RedisServer, background: Background
) -> None:
    """Late by a third of the timeout, requests wait and pass; by more than it, they are refused in its time and from then
    on at once; quick again, it is used again within 5 s.
    """
    relay = Relay(background, redis.port)
    state = {"url": f"redis://127.0.0.1:{relay.port}/0", "timeout": f"{TIMEOUT * 1000:.0f}ms"}
    with fleet(tmp_path, routes=ROUTES, state=state) as f:
        token = f.issuer.token("ann")
        assert f.everywhere("/limited", token) == {200}
        relay.delay = TIMEOUT / 6  # both ways
        status, took = timed(f, "/limited", token)
        assert status == 200
        assert took >= TIMEOUT / 3
        relay.delay = 2.0
        told = [timed(f, "/limited", token) for _ in range(12)]
        assert {status for status, _ in told} == {503}
        # what is over the timeout is the machine's, which is busy with other tests
        assert max(took for _, took in told) < TIMEOUT + 1.0
        assert sorted(took for _, took in told)[6] < TIMEOUT
        assert f.everywhere("/plain", token) == {200}
        relay.delay = 0.0
        assert f.becomes("/limited", 200, BACK + 2.0, token)
    relay.stop()


def test_a_redis_that_hangs_is_told_and_left_alone(
    tmp_path: Path, redis: RedisServer, background: Background
) -> None:
    """While it hangs, workers are ready and say so, and knock now and then, each at moments of its own; then it is back."""
    relay = Relay(background, redis.port)
    state = {"url": f"redis://127.0.0.1:{relay.port}/0", "timeout": f"{TIMEOUT * 1000:.0f}ms"}
    with fleet(tmp_path, routes=ROUTES, state=state) as f:
        token = f.issuer.token("ann")
        assert f.everywhere("/limited", token) == {200}
        redis.signal(signal.SIGSTOP)
        assert f.becomes("/limited", 503, 5.0, token)
        before, begin = relay.accepted, time.monotonic()
        tally = Tally()
        waiting = background.begin(
            hammer(background, f.port, tally, 8, path="/limited", token=token)
        )
        assert wait_until(lambda: f.metric("authproxy_redis_up", holds="records") == 0, 5)
        status, text = readiness(f)
        assert (status, "counters in redis://" in text) == (200, True)
        time.sleep(1.5)
        tally.stop = True
        waiting()
        # two workers, two connections each: some tries a second, however many requests come
        assert relay.accepted - before <= 4 * (3 + 5 * (time.monotonic() - begin))
        assert (set(tally.statuses), tally.failed) == ({503}, [])
        redis.signal(signal.SIGCONT)
        assert f.becomes("/limited", 200, BACK + 2.0, token)
        assert wait_until(lambda: readiness(f) == (200, "ready\n"), 5)
    relay.stop()


def readiness(f: Fleet) -> tuple[int, str]:
    """What `/readyz` says."""
    connection = http.client.HTTPConnection("127.0.0.1", f.admin, timeout=10)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()

"""Figures of engines: told in the metrics, whatever was replaced meanwhile."""

from pathlib import Path

from authproxy.state.redis_store import RedisStore
from tests.playbook import GUARDED, playbook, token
from tests.redis_server import emptied
from tests.wire import until


async def test_what_engines_count_is_in_the_metrics() -> None:
    """Groups that no header carries, limits without a store and lost log lines are told, those before a reload too."""
    route = {**GUARDED, "rate_limits": [{"limit": "1000/minute", "per": "subject"}]}
    nowhere = {"url": "lmdb:taken", "on_failure": "allow_limits"}
    full = {"access": {"path": "/dev/full"}}
    async with playbook(route, spoil=spoil_the_counters, state=nowhere, logging=full) as p:
        assert (
            await p.request("GET", "/guarded/1", token=token(groups=["a,b", "c"]))
        ).status == 200
        previous = p.worker._runtime
        p.worker.reload()
        await until(lambda: p.worker._runtime is not previous)
        assert (
            await p.request("GET", "/guarded/1", token=token(groups=["d,e", "f,g"]))
        ).status == 200
        for name, labels, count in (
            ("authproxy_groups_left_out_total", (), 3),
            ("authproxy_limits_unavailable_total", (("result", "passed"),), 2),
            ("authproxy_log_lines_lost_total", (("log", "access"),), 2),
        ):
            await until(lambda n=name, s=labels, c=count: p.facts().totals[n][s] == c)  # type: ignore[misc]


async def test_calls_to_the_redis_are_in_the_metrics() -> None:
    """With leases fewer than requests, though every one was limited."""
    route = {**GUARDED, "rate_limits": [{"limit": "1000/minute", "per": "subject", "strategy": "fixed-window"}]}  # fmt: skip
    state = {"url": emptied().url, "leases": True, "timeout": "5s"}
    same = token()
    async with playbook(route, state=state) as p:
        for _ in range(30):
            assert (await p.request("GET", "/guarded/1", token=same)).status == 200
        store = p.worker._runtime.store
        assert isinstance(store, RedisStore)
        assert 4 < store.round_trips < 20
        await until(
            lambda: (
                p.facts().totals["authproxy_state_round_trips_total"].get((), 0)
                == store.round_trips
            )
        )


def spoil_the_counters(folder: Path) -> None:
    """A file where their directory should be; the records beside them can be read, or nobody would be let in."""
    (folder / "taken").mkdir()
    (folder / "taken" / "counters").write_text("")

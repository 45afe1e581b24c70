"""The one conformance suite of the state: every backend keeps these promises. (What is counted: tests/rate_limits/test_ledger.py.)"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authproxy.state.lmdb import LmdbStore
from authproxy.state.memory import MemoryStore
from authproxy.state.redis_store import PREFIX, RedisStore
from authproxy.state.store import EmbeddedStore, Put, StateUnavailable, Store
from tests.redis_server import emptied

NOW = 1_700_000_000.0
A, B, C = b"a" * 16, b"b" * 16, b"c" * 16

Opener = Callable[[Path], EmbeddedStore]
BACKENDS: dict[str, Opener] = {
    "lmdb": lambda folder: LmdbStore(folder, map_bytes=1 << 20),
    "memory": lambda _folder: MemoryStore(),
}


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedStore]:
    opened = BACKENDS[request.param](tmp_path)
    opened.open()
    yield opened
    opened.close()


def write(store: EmbeddedStore, *puts: Put, now: float = NOW) -> None:
    store.transact([], now, lambda _records: (puts, None))


def test_a_record_is_read_as_it_was_written(store: EmbeddedStore) -> None:
    """What one step wrote, the next reads, byte for byte, the empty record included."""
    write(store, (A, b"\x00\xff", NOW + 1), (B, b"", NOW + 1))
    assert store.read([B, C, A], NOW) == [b"", None, b"\x00\xff"]


def test_a_step_reads_decides_and_writes(store: EmbeddedStore) -> None:
    """A step sees the records of its keys in their order, and returns what was decided."""
    write(store, (A, b"1", NOW + 9))

    def decide(records: list[bytes | None]) -> tuple[Sequence[Put], list[bytes | None]]:
        return [(A, b"2", NOW + 9), (B, b"3", NOW + 9)], records

    assert store.transact([A, B], NOW, decide) == [b"1", None]
    assert store.read([A, B], NOW) == [b"2", b"3"]


def test_a_record_is_gone_from_its_expiry_on(store: EmbeddedStore) -> None:
    """Just before its expiry a record is there, at it and after it is not."""
    write(store, (A, b"x", NOW + 5))
    assert store.read([A], NOW + 4.999) == [b"x"]
    assert store.read([A], NOW + 5) == [None]
    assert store.transact([A], NOW + 6, lambda records: ((), records)) == [None]


def test_a_step_that_fails_writes_nothing(store: EmbeddedStore) -> None:
    """When deciding raises, the error comes through, nothing was written, and the store goes on."""

    def fail(_records: list[bytes | None]) -> tuple[Sequence[Put], None]:
        raise KeyError("decide")

    with pytest.raises(KeyError):
        store.transact([A], NOW, fail)
    assert store.read([A], NOW) == [None]
    write(store, (A, b"x", NOW + 1))
    assert store.read([A], NOW) == [b"x"]


def test_steps_that_come_together_are_steps_of_their_own(store: EmbeddedStore) -> None:
    """What one notes the next finds, on one key or on others, however many they are; what has expired is not there."""
    write(store, (B, b"\x09", NOW))

    def weigh(record: bytes | None, more: int, now: float) -> tuple[int, bytes | None, float]:
        count = (record or b"\0")[0] + more
        return count, bytes([count]) if more else None, now + 9

    wanted = [(key, NOW, weigh, more) for key, more in ((A, 1), (B, 2), (A, 3), (C, 0), (A, 0))]
    assert store.transact_each(wanted) == [1, 2, 4, 0, 4]
    assert store.read([A, B, C], NOW) == [b"\x04", b"\x02", None]
    assert store.transact_each([]) == []
    many = [(key, NOW, weigh, 1) for key in (A, B)] * 50
    assert store.transact_each(many)[-2:] == [54, 52]


def test_a_step_that_could_not_be_done_is_an_error_without_frames(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the place of its outcome, beside those of others; what it came through is not held by it."""

    def away(*_: object) -> None:
        raise StateUnavailable("away")

    monkeypatch.setattr(store, "transact", away)
    [error] = EmbeddedStore.transact_each(store, [(A, NOW, lambda *_: (0, None, 0.0), 0)])
    assert isinstance(error, StateUnavailable)
    assert (error.__traceback__, error.__context__) == (None, None)


def test_a_sweep_removes_what_expired_and_nothing_else(store: EmbeddedStore) -> None:
    """Sweeping often enough removes every expired key and no living one."""
    keys = [bytes([n]) * 16 for n in range(200)]
    write(store, *((key, b"x", NOW + 1 + key[0] % 2) for key in keys))
    assert sum(store.sweep(NOW + 1, 10) for _ in range(20)) == 100
    living = [key for key in keys if key[0] % 2]
    assert store.read(living, NOW + 1) == [b"x"] * 100
    assert store.sweep(NOW + 1, 200) == 0


def test_a_sweep_walks_on_from_where_it_stopped(store: EmbeddedStore) -> None:
    """Small sweeps come around to every key, and then begin again."""
    write(store, *((bytes([n]) * 16, b"x", NOW + 1) for n in range(90)))
    assert [store.sweep(NOW, 40) for _ in range(5)] == [0] * 5
    assert sum(store.sweep(NOW + 1, 40) for _ in range(4)) == 90


def test_a_sweep_looks_at_no_more_than_asked(store: EmbeddedStore) -> None:
    """One sweep removes at most as many keys as it may look at."""
    write(store, *((bytes([n]) * 16, b"x", NOW + 1) for n in range(100)))
    assert store.sweep(NOW + 2, 7) == 7


def test_an_empty_store_is_swept_too(store: EmbeddedStore) -> None:
    """A sweep of nothing removes nothing."""
    assert store.sweep(NOW, 100) == 0


def test_it_opens_at_its_first_use_and_closes_twice(tmp_path: Path) -> None:
    """A store never opened opens by being used, and closing or opening again is no error."""
    for opener in BACKENDS.values():
        fresh = opener(tmp_path / "fresh")
        assert fresh.read([A], NOW) == [None]
        fresh.open()
        fresh.close()
        fresh.close()


PUTS = st.lists(
    st.tuples(
        st.sampled_from([bytes([n]) * 16 for n in range(6)]),
        st.binary(max_size=9),
        st.integers(0, 20),
    ),
    max_size=4,
)
STEPS = st.lists(st.tuples(st.integers(0, 3), PUTS, st.integers(0, 4)), max_size=15)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_it_behaves_as_a_dict_whose_values_expire(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, list[Put], int]]
) -> None:
    """Any run of steps and sweeps leaves in every backend what it would leave in a plain dict."""
    for name, opener in BACKENDS.items():
        store, model, now = opener(tmp_path_factory.mktemp(name)), dict[bytes, Put](), NOW
        for later, puts, swept in steps:
            now += later
            dated = [(key, record, now + life) for key, record, life in puts]
            write(store, *dated, now=now)
            model |= {put[0]: put for put in dated}
            store.sweep(now, swept)
            there = {key: record for key, record, expiry in model.values() if expiry > now}
            keys = [bytes([n]) * 16 for n in range(6)]
            assert store.read(keys, now) == [there.get(key) for key in keys]
        store.close()


ALL: dict[str, Callable[[Path], Store]] = {
    **BACKENDS,
    "redis": lambda _folder: RedisStore(emptied().access()),
}


@pytest.fixture(params=ALL)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = ALL[request.param](tmp_path)
    yield opened
    opened.close()


async def test_a_number_is_good_once(any_store: Store) -> None:
    """Only a greater one is news, until the one that is noted has ended; keys do not meet."""
    now = NOW
    assert await any_store.advance(A, 0, now + 600, now)
    assert not await any_store.advance(A, 0, now + 600, now)
    assert await any_store.advance(A, 7, now + 600, now)
    assert not await any_store.advance(A, 6, now + 600, now)
    assert await any_store.advance(B, 6, now + 600, now)


async def test_of_many_with_one_number_one_is_told_so(any_store: Store) -> None:
    """What is presented twice at once is taken once."""
    told = await asyncio.gather(*(any_store.advance(A, 1, NOW + 600, NOW) for _ in range(20)))
    assert sorted(told) == [False] * 19 + [True]


async def test_a_number_is_forgotten_with_its_time(any_store: Store) -> None:
    """What could not be used again anyway is not kept."""
    assert await any_store.advance(A, 5, NOW + 0.05, NOW)
    if isinstance(any_store, RedisStore):  # by the clock of its own
        while await any_store.redis.call("EXISTS", PREFIX + A):
            continue
    assert await any_store.advance(A, 5, NOW + 600, NOW + 1)

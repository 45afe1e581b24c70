"""The one conformance suite of durable records: every backend of `Records` keeps these promises."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authproxy.state.lmdb_records import LmdbRecords
from authproxy.state.memory_records import MemoryRecords
from authproxy.state.records import KEY_MOST, VALUE_MOST, Records
from authproxy.state.redis_records import RedisRecords
from tests.redis_server import emptied

NOW = 1_700_000_000.0
A, B, C = b"a", b"b" * 32, b"\x00\xff"

Opener = Callable[[Path], Records]
BACKENDS: dict[str, Opener] = {
    "lmdb": lambda folder: LmdbRecords(folder, map_bytes=1 << 20),
    "memory": lambda _folder: MemoryRecords(),
    "redis": lambda _folder: redis_records(NOW),
}


def redis_records(now: float) -> RedisRecords:
    """In an empty Redis; a record's life is counted from `now`, as here time stands still."""
    return RedisRecords(emptied().access(), clock=lambda: now, sweep_every=0)


@pytest.fixture(params=BACKENDS)
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    opened = BACKENDS[request.param](tmp_path)
    yield opened
    opened.close()


async def keys_since(records: Records, kind: str, sequence: int, now: float = NOW) -> list[bytes]:
    return [record.key for record in await records.since(kind, sequence, now)]


async def test_a_record_is_read_as_it_was_written(records: Records) -> None:
    """What was put is read, byte for byte, the empty value included; what was not put is not there."""
    await records.put("k", A, b"\x00\xff", NOW + 1)
    await records.put("k", C, b"", NOW + 1)
    assert await records.get("k", A, NOW) == b"\x00\xff"
    assert await records.get("k", C, NOW) == b""
    assert await records.get("k", B, NOW) is None


async def test_a_glance_tells_what_is_there_or_nothing(records: Records) -> None:
    """Never what was there: where it cannot tell without waiting, as with a Redis, it says nothing."""
    await records.put("k", A, b"1", NOW + 9)
    for value in (b"1", b"2"):
        await records.put("k", A, value, NOW + 9)
        assert records.glance("k", A, NOW) == (None if isinstance(records, RedisRecords) else value)
    assert records.glance("k", A, NOW + 9) is None
    assert records.glance("kk", A, NOW) is None
    await records.remove("k", A)
    assert records.glance("k", A, NOW) is None
    records.close()
    assert records.glance("k", A, NOW) is None


async def test_kinds_do_not_meet(records: Records) -> None:
    """The same key of two kinds is two records, also where one kind's name begins as the other's."""
    await records.put("k", A, b"1", NOW + 1)
    await records.put("kk", A, b"2", NOW + 1)
    assert await records.get("k", A, NOW) == b"1"
    assert [record.value for record in await records.since("k", 0, NOW)] == [b"1"]
    latest = [await records.latest(kind) for kind in ("k", "kk", "kkk")]
    assert [bool(one) for one in latest] == [True, True, False]
    assert await records.remove("kk", A)
    assert await records.get("k", A, NOW) == b"1"


async def test_a_record_is_gone_from_its_expiry_on(records: Records) -> None:
    """Just before its expiry a record is there, at it and after it is not, for whoever asks."""
    await records.put("k", A, b"x", NOW + 5)
    assert await records.get("k", A, NOW + 4.999) == b"x"
    assert await records.get("k", A, NOW + 5) is None
    assert await keys_since(records, "k", 0, NOW + 5) == []
    assert await records.update("k", A, NOW + 5, lambda held: (None, 0.0, held)) is None


async def test_a_record_may_be_for_ever(records: Records) -> None:
    """An infinite expiry never comes."""
    await records.put("k", A, b"x", float("inf"))
    assert await records.sweep(NOW * 1000, 10) == 0
    assert await records.get("k", A, NOW * 1000) == b"x"


async def test_update_reads_decides_and_writes(records: Records) -> None:
    """A step sees the record as it is, writes what it says, and returns what it decided."""
    assert await records.update("k", A, NOW, lambda held: (b"1", NOW + 9, held)) is None
    assert await records.update("k", A, NOW, lambda held: (b"2", NOW + 9, held)) == b"1"
    assert await records.update("k", A, NOW, lambda held: (None, 0.0, held)) == b"2"
    assert await records.get("k", A, NOW) == b"2"
    written = await records.latest("k")
    await records.update("k", A, NOW, lambda _: (None, 0.0, None))
    assert await records.latest("k") == written > 1


async def test_update_brings_nothing_back(records: Records) -> None:
    """A step that writes only over what is there leaves what was removed meanwhile removed."""

    def touch(held: bytes | None) -> tuple[bytes | None, float, bool]:
        return held and held + b"!", NOW + 99, held is not None

    await records.put("k", A, b"x", NOW + 9)
    assert await records.update("k", A, NOW, touch)
    assert await records.remove("k", A)
    assert not await records.update("k", A, NOW, touch)
    assert await records.get("k", A, NOW) is None


async def test_a_step_that_fails_writes_nothing(records: Records) -> None:
    """When deciding raises, the error comes through, nothing was written, and the records go on."""

    def fail(_held: bytes | None) -> tuple[bytes | None, float, None]:
        raise KeyError("change")

    with pytest.raises(KeyError):
        await records.update("k", A, NOW, fail)
    assert await records.get("k", A, NOW) is None
    assert await records.latest("k") == 0
    await records.put("k", A, b"x", NOW + 1)
    assert await records.get("k", A, NOW) == b"x"


async def test_many_steps_at_once_lose_nothing(records: Records) -> None:
    """Steps of many tasks over one record come one after the other."""

    def add(held: bytes | None) -> tuple[bytes | None, float, None]:
        return str(int(held or b"0") + 1).encode(), NOW + 9, None

    await asyncio.gather(*(records.update("k", A, NOW, add) for _ in range(50)))
    assert await records.get("k", A, NOW) == b"50"


async def test_of_several_that_remove_one_is_told_so(records: Records) -> None:
    """What may be used once is removed by who uses it, and only one is."""
    await records.put("k", A, b"x", NOW + 9)
    assert sorted(await asyncio.gather(*(records.remove("k", A) for _ in range(5)))) == [
        False,
        False,
        False,
        False,
        True,
    ]
    assert not await records.remove("k", B)


async def test_what_is_new_is_told_in_its_order(records: Records) -> None:
    """`since` tells the living records after a sequence as they were written, each once, where it was written last."""
    for key in (A, B, C):
        await records.put("k", key, key, NOW + 9)
    assert await keys_since(records, "k", 0) == [A, B, C]
    seen = await records.latest("k")
    assert seen >= 3
    assert await keys_since(records, "k", seen) == []
    await records.put("k", A, b"again", NOW + 9)
    assert await keys_since(records, "k", seen) == [A]
    assert await keys_since(records, "k", 0) == [B, C, A]
    found = await records.since("k", 0, NOW)
    assert [record.expiry for record in found] == [NOW + 9] * 3
    sequences = [record.sequence for record in found]
    assert sequences == sorted(set(sequences))
    assert sequences[-1] == await records.latest("k")


async def test_a_sequence_is_never_used_twice(records: Records) -> None:
    """Removing and sweeping all there is leaves the sequence where it was: nobody who follows it misses a record."""
    await records.put("k", A, b"x", NOW + 1)
    await records.put("k", B, b"x", NOW + 9)
    seen = await records.latest("k")
    await records.remove("k", B)
    assert await records.sweep(NOW + 1, 10) == 1
    assert await records.latest("k") == seen
    await records.put("k", C, b"x", NOW + 9)
    assert await keys_since(records, "k", seen) == [C]


async def test_they_are_counted(records: Records) -> None:
    """Each record once however often it was written, until it is removed or swept."""
    assert await records.count("k") == 0
    for key in (A, B, A, C):
        await records.put("k", key, b"x", NOW + 1)
    await records.put("kk", A, b"x", NOW + 9)
    assert (await records.count("k"), await records.count("kk")) == (3, 1)
    await records.remove("k", B)
    await records.remove("k", B)
    assert await records.count("k") == 2
    await records.sweep(NOW + 1, 10)
    assert (await records.count("k"), await records.count("kk")) == (0, 1)


async def test_long_lists_are_whole(records: Records) -> None:
    """What is told is whole, however long, also when much of it has expired."""
    for n in range(2_500):
        await records.put("k", b"%d" % n, b"x", NOW + 1 + n % 2)
    assert len(await keys_since(records, "k", 0)) == 2_500
    assert await keys_since(records, "k", 0, NOW + 1) == [b"%d" % n for n in range(1, 2_500, 2)]


@pytest.mark.parametrize("most", [1, 3, 10, 2_000])
async def test_lists_can_be_had_in_parts(records: Records, most: int) -> None:
    """Asked again after the last one it is told, whoever takes a part at a time has all the living ones in the end."""
    for n in range(30):
        await records.put("k", b"%d" % n, b"x", NOW + 1 + n % 3 // 2)
    told, reached = [], 0
    while part := await records.since("k", reached, NOW + 1, most):
        assert len(part) <= most
        told += [record.key for record in part]
        reached = part[-1].sequence
    assert told == [b"%d" % n for n in range(30) if n % 3 == 2]


async def test_a_sweep_removes_what_expired_and_nothing_else(records: Records) -> None:
    """Sweeping often enough comes around to every record, and removes the expired ones of all kinds."""
    for n in range(200):
        await records.put(f"kind{n % 3}", b"%d" % n, b"x", NOW + 1 + n % 2)
    removed = [await records.sweep(NOW + 1, 11) for _ in range(40)]
    assert sum(removed) == 100
    assert max(removed) <= 11
    living = [await keys_since(records, f"kind{n}", 0, NOW) for n in range(3)]
    assert sum(map(len, living)) == 100
    assert await records.sweep(NOW + 1, 500) == 0


async def test_what_was_written_again_outlives_the_sweep(records: Records) -> None:
    """A record that was written anew lives by its new expiry."""
    await records.put("k", A, b"x", NOW + 1)
    await records.put("k", A, b"y", NOW + 9)
    await records.put("k", B, b"x", NOW + 9)
    await records.remove("k", B)
    await records.put("k", B, b"y", NOW + 9)
    assert await records.sweep(NOW + 5, 100) == 0
    assert await records.get("k", A, NOW + 5) == b"y"
    assert await records.get("k", B, NOW + 5) == b"y"


@pytest.mark.parametrize("key", [b"", b"x" * (KEY_MOST + 1)])
async def test_keys_have_a_bound(records: Records, key: bytes) -> None:
    """A key that another backend could not hold is refused by each."""
    with pytest.raises(ValueError, match="64 bytes"):
        await records.put("k", key, b"x", NOW + 1)


async def test_values_have_a_bound(records: Records) -> None:
    """A value at the bound is kept, one over it refused."""
    with pytest.raises(ValueError, match="at most"):
        await records.put("k", A, bytes(VALUE_MOST + 1), NOW + 1)
    await records.put("k", A, bytes(VALUE_MOST), NOW + 1)
    assert await records.get("k", A, NOW) == bytes(VALUE_MOST)


async def test_it_closes_twice_and_opens_again(records: Records) -> None:
    """Closing again is nothing, and the next use opens."""
    await records.put("k", A, b"x", NOW + 1)
    records.close()
    records.close()
    await records.put("k", B, b"x", NOW + 1)
    assert await records.get("k", B, NOW) == b"x"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "sweep"]),
        st.sampled_from(["k", "l"]),
        st.sampled_from([A, B, C]),
        st.integers(0, 6),
    ),
    max_size=20,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_it_behaves_as_a_dict_whose_values_expire(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, bytes, int]]
) -> None:
    """Any run of writes, removals and sweeps leaves in every backend what it would leave in a plain dict."""

    async def play(records: Records) -> None:
        model: dict[tuple[str, bytes], tuple[bytes, float]] = {}
        for now, (verb, kind, key, number) in enumerate(steps, int(NOW)):
            if verb == "put":
                await records.put(kind, key, b"%d" % now, now + number)
                model.pop((kind, key), None)
                model[kind, key] = b"%d" % now, now + number
            elif verb == "remove":
                await records.remove(kind, key)
                model.pop((kind, key), None)
            else:
                await records.sweep(now, number)
            for asked in ("k", "l"):
                living = [(k, v) for (w, k), (v, end) in model.items() if w == asked and end > now]
                found = await records.since(asked, 0, now)
                assert [(record.key, record.value) for record in found] == living
                held = sum(kind == asked for kind, _ in model)
                assert len(living) <= await records.count(asked) <= held
                assert [await records.get(asked, k, now) for k, _ in living] == [
                    v for _, v in living
                ]

    for name, opener in BACKENDS.items():
        records = opener(tmp_path_factory.mktemp(name))
        asyncio.run(play(records))
        records.close()

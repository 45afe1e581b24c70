"""Embedded durable records: what they promise beyond the conformance suite."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import lmdb
import pytest

from authproxy.state.lmdb_records import LmdbRecords
from authproxy.state.store import StateUnavailable
from tests.state.test_records import NOW, A, B

ROOT = Path(__file__).parents[2]
SMALL, MOST = 64 << 10, 4 << 20


@asynccontextmanager
async def opened(folder: Path, most: int = MOST) -> AsyncIterator[LmdbRecords]:
    records = LmdbRecords(folder, SMALL, most)
    try:
        yield records
    finally:
        records.close()


def running(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Another process with `records` open in `argv[1]`; it says what it prints."""
    begin = (
        "import asyncio, os, sys, time; from pathlib import Path\n"
        "from tests.state.test_lmdb_records import *\n"
        f"records = LmdbRecords(Path(sys.argv[1]), {SMALL}, {MOST})\n"
    )
    command = [sys.executable, "-W", "error", "-c", begin + code, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def said(process: "subprocess.Popen[str]") -> str:
    """Its next line."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ended(process: "subprocess.Popen[str]") -> int:
    with process:
        return process.wait(60)


async def fill(records: LmdbRecords, expiry: float) -> int:
    """Writes until it is full; how many there are."""
    for n in range(1_000_000):
        try:
            await records.put("k", b"%d" % n, bytes(2_000), expiry)
        except StateUnavailable:
            return n
    raise AssertionError("the map has no bound")


async def test_a_write_is_there_after_the_process_was_killed(tmp_path: Path) -> None:
    """What `put` returned for survives a SIGKILL that comes at once."""
    put = "asyncio.run(records.put('k', b'a', b'x', NOW + 9)); os.kill(os.getpid(), 9)"
    assert ended(running(put, tmp_path)) == -signal.SIGKILL
    async with opened(tmp_path) as records:
        assert await records.get("k", A, NOW) == b"x"


async def test_every_write_is_synced(tmp_path: Path) -> None:
    """Data and meta page are synced at every commit, and nothing is written through the map."""
    async with opened(tmp_path) as records:
        await records.put("k", A, b"x", NOW + 9)
        assert records._env is not None
        flags = records._env.flags()
        assert (flags["sync"], flags["metasync"], flags["writemap"]) == (True, True, False)


async def test_another_process_sees_it(tmp_path: Path) -> None:
    """What one process writes, another that is open learns of by `latest` and `since`."""
    code = """
async def main():
    print(await records.latest("k"), flush=True)
    sys.stdin.readline()
    await records.put("k", b"b", b"y", NOW + 9)
    print("written", flush=True)
asyncio.run(main())
"""
    async with opened(tmp_path) as records:
        await records.put("k", A, b"x", NOW + 9)
        other = running(code, tmp_path)
        assert said(other) == "1"
        seen = await records.latest("k")
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
        assert said(other) == "written"
        assert [r.key for r in await records.since("k", seen, NOW)] == [B[:1]]
        assert ended(other) == 0


async def test_steps_of_several_processes_lose_nothing(tmp_path: Path) -> None:
    """Three processes adding to one record at once, from the making of the environment on, count exactly."""
    code = """
def add(held):
    return str(int(held or b"0") + 1).encode(), NOW + 9, None
async def main():
    for _ in range(100):
        await records.update("k", b"a", NOW, add)
asyncio.run(main())
"""
    others = [running(code, tmp_path) for _ in range(3)]
    assert [ended(other) for other in others] == [0, 0, 0]
    async with opened(tmp_path) as records:
        assert await records.get("k", A, NOW) == b"300"
        assert await records.latest("k") == 300


async def test_no_process_brings_back_what_another_removed(tmp_path: Path) -> None:
    """While others write over what is there, again and again, a removed record stays removed."""
    code = """
def touch(held):
    return held, NOW + 9, held is None
async def main():
    print("on", flush=True)
    while not await records.update("k", b"a", NOW, touch):
        pass
asyncio.run(main())
"""
    async with opened(tmp_path) as records:
        await records.put("k", A, b"x", NOW + 9)
        others = [running(code, tmp_path) for _ in range(2)]
        assert [said(other) for other in others] == ["on", "on"]
        await until_written(records, 20)
        assert await records.remove("k", A)
        assert [ended(other) for other in others] == [0, 0]
        assert await records.get("k", A, NOW) is None


async def until_written(records: LmdbRecords, times: int) -> None:
    async with asyncio.timeout(20):
        while await records.latest("k") < times:  # noqa: ASYNC110  # other processes write
            await asyncio.sleep(0.005)


async def test_the_map_grows_in_every_process(tmp_path: Path) -> None:
    """A map grows when it is full, and who has it open meanwhile goes on reading and writing."""
    code = """
async def main():
    for n in range(300):
        await records.put("k", b"%d" % n, bytes(2_000), NOW + 9)
asyncio.run(main())
"""
    async with opened(tmp_path) as records:
        await records.put("k", A, b"x", NOW + 9)
        assert ended(running(code, tmp_path)) == 0
        assert (tmp_path / "records" / "data.mdb").stat().st_size > 4 * SMALL
        assert len(await records.since("k", 0, NOW)) == 301
        await records.put("k", B, b"y", NOW + 9)
        assert await records.get("k", B, NOW) == b"y"


async def test_a_full_map_refuses_and_recovers(tmp_path: Path) -> None:
    """At its bound it refuses, keeps what it has, can be swept empty, and takes new records then."""
    async with opened(tmp_path, 1 << 20) as records:
        for turn in range(3):
            expiry = NOW + 10 * turn + 9
            full = await fill(records, expiry)
            assert full > 100
            assert len(await records.since("k", 0, expiry - 1)) == full
            swept = [await records.sweep(expiry, 100) for _ in range(full // 100 + 2)]
            assert sum(swept) == full


async def test_dead_readers_do_not_lock_others_out(tmp_path: Path) -> None:
    """Processes that died inside a read leave slots behind; who comes when there are none left clears them."""
    code = """
asyncio.run(records.put("k", b"a", b"x", NOW + 9))
env, held = records._env, []
try:
    while True:
        held.append(env.begin())
except lmdb.ReadersFullError:
    print(len(held), flush=True)
    os.kill(os.getpid(), 9)
"""
    async with opened(tmp_path) as records:
        # Open before: an opening clears dead readers too.
        await records.put("k", B, b"y", NOW + 9)
        other = running(code, tmp_path)
        assert int(said(other)) > 50
        assert ended(other) == -signal.SIGKILL
        assert await records.get("k", A, NOW) == b"x"
        assert len(await records.since("k", 0, NOW)) == 2


async def test_the_loop_does_not_wait_for_a_write(tmp_path: Path) -> None:
    """A step that takes its time is in a thread: meanwhile reads are answered."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_held: bytes | None) -> tuple[bytes | None, float, None]:
        begun.set()
        assert go_on.wait(10)
        return b"new", NOW + 9, None

    async with opened(tmp_path) as records:
        await records.put("k", A, b"old", NOW + 9)
        writing = asyncio.ensure_future(records.update("k", A, NOW, slow))
        while not begun.is_set():  # noqa: ASYNC110  # a thread sets it
            await asyncio.sleep(0.001)
        assert await records.get("k", A, NOW) == b"old"
        go_on.set()
        await writing
        assert await records.get("k", A, NOW) == b"new"


async def test_a_cancelled_write_harms_nobody(tmp_path: Path) -> None:
    """Who asked may leave: the step is whole or not at all, and the next one follows it."""
    async with opened(tmp_path) as records:
        for n in range(50):
            writing = asyncio.ensure_future(records.put("k", b"%d" % n, bytes(2_000), NOW + 9))
            await asyncio.sleep(0)
            writing.cancel()
        await records.put("k", A, b"x", NOW + 9)
        found = await records.since("k", 0, NOW)
        assert found[-1].key == A
        assert [record.sequence for record in found] == list(range(1, len(found) + 1))


async def test_only_the_owner_can_look(tmp_path: Path) -> None:
    """The directories are made for their owner alone, and so are the files."""
    async with opened(tmp_path / "state") as records:
        await records.put("k", A, b"x", NOW + 9)
    for place in (tmp_path / "state", tmp_path / "state" / "records"):
        assert place.stat().st_mode & 0o777 == 0o700
    files = {file.name: file.stat().st_mode & 0o777 for file in place.iterdir()}
    assert files == dict.fromkeys(("data.mdb", "lock.mdb", "mark", "opening"), 0o600)


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda data: cast("None", data.write_bytes(b"garbage" * 4096)), id="garbage"),
        pytest.param(lambda data: cast("None", data.write_bytes(b"")), id="emptied"),
        pytest.param(lambda data: cast("None", data.unlink()), id="gone"),
        pytest.param(lambda data: os.truncate(data, 8192), id="cut after the meta pages"),
        pytest.param(
            lambda data: os.truncate(data, data.stat().st_size // 2 // 4096 * 4096), id="cut in two"
        ),
        pytest.param(lambda data: os.truncate(data, 100), id="cut in the first page"),
        pytest.param(lambda data: remake(data, {}), id="another empty environment"),
        pytest.param(lambda data: remake(data, {b"a": b"b"}), id="not ours"),
        pytest.param(
            lambda data: remake(data, {b"#layout": b"authproxy records 0"}), id="another layout"
        ),
    ],
)
async def test_what_is_damaged_is_refused_and_kept(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """What cannot be what was written is never read as though it were, nor made anew; words say what to do."""
    async with opened(tmp_path) as records:
        for n in range(300):
            await records.put("k", b"%d" % n, bytes(900), NOW + 9)
    data = tmp_path / "records" / "data.mdb"
    harm(data)
    before = data.read_bytes() if data.exists() else None
    async with opened(tmp_path) as records:
        for _ in range(2):
            assert records.glance("k", b"1", NOW) is None
            with pytest.raises(StateUnavailable, match=r"damaged .*put a backup"):
                await records.get("k", b"1", NOW)
            with pytest.raises(StateUnavailable, match="move that directory away"):
                await records.put("k", A, b"x", NOW + 9)
    after = data.read_bytes() if data.exists() else None
    assert (after or b"")[: len(before or b"")] == (before or b"")


def remake(data: Path, content: dict[bytes, bytes]) -> None:
    """Another environment in its place."""
    data.unlink()
    with lmdb.open(str(data.parent)) as env, env.begin(write=True) as transaction:
        for key, value in content.items():
            transaction.put(key, value)


async def test_damage_met_in_use_is_refused(tmp_path: Path) -> None:
    """A page that goes bad while in use is an error for who meets it, never an empty answer."""
    async with opened(tmp_path) as records:
        for n in range(300):
            await records.put("k", b"%d" % n, bytes(900), NOW + 9)
        data = tmp_path / "records" / "data.mdb"
        with data.open("r+b") as file:
            file.seek(8192)
            file.write(bytes(data.stat().st_size - 8192))
        with pytest.raises(StateUnavailable, match="damaged"):
            await records.get("k", b"1", NOW)
        with pytest.raises(StateUnavailable, match="damaged"):
            await records.since("k", 0, NOW)


async def test_one_that_was_put_in_its_place_is_found(tmp_path: Path) -> None:
    """Where the directory was moved away and another is there, the next look is at that one."""
    async with opened(tmp_path) as records:
        await records.put("k", A, b"x", NOW + 9)
        (tmp_path / "records").rename(tmp_path / "away")
        assert ended(running("asyncio.run(records.put('k', b'b', b'y', NOW + 9))", tmp_path)) == 0
        await records.sweep(NOW, 10)
        assert await records.get("k", B[:1], NOW) == b"y"
        assert await records.get("k", A, NOW) is None


async def test_a_beginning_that_was_cut_off_is_no_damage(tmp_path: Path) -> None:
    """A process killed while it made the environment leaves one that the next may finish."""
    (tmp_path / "records").mkdir()
    lmdb.open(str(tmp_path / "records")).close()
    async with opened(tmp_path) as records:
        await records.put("k", A, b"x", NOW + 9)
        assert await records.get("k", A, NOW) == b"x"


async def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """A write that the disk has no room for is refused, nothing is lost, and the next goes on when there is room."""
    code = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    await records.put("k", b"a", b"x", NOW + 9)
    size = (Path(sys.argv[1]) / "records" / "data.mdb").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    for _ in range(2):
        try:
            await records.put("k", b"b", bytes(40_000), NOW + 9)
        except StateUnavailable as error:
            print(error, flush=True)
        assert await records.get("k", b"a", NOW) == b"x"
        assert await records.get("k", b"b", NOW) is None
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await records.put("k", b"b", bytes(40_000), NOW + 9)
    assert await records.get("k", b"b", NOW) == bytes(40_000)
asyncio.run(main())
"""
    process = running(code, tmp_path)
    assert "look at its disk" in said(process)
    assert "look at its disk" in said(process)
    assert ended(process) == 0


async def test_a_directory_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    """Where no directory can be, the first use raises with words to act on."""
    (tmp_path / "state").write_text("a file")
    async with opened(tmp_path / "state") as records:
        with pytest.raises(StateUnavailable, match=r"state\.url"):
            await records.latest("k")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
async def test_a_read_only_or_full_file_system_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where nothing can be written, the first use raises with words to act on, and a later one tries again."""

    def refuse(*_arguments: object, **_options: object) -> int:
        raise OSError(number, os.strerror(number))

    async with opened(tmp_path) as records:
        with monkeypatch.context() as patched:
            patched.setattr(os, "posix_fallocate", refuse)
            with pytest.raises(StateUnavailable, match=os.strerror(number)):
                await records.latest("k")
        assert await records.latest("k") == 0


async def test_reads_cost_microseconds(tmp_path: Path) -> None:
    """Looking whether there is anything new waits for nothing: a thousand looks in far less than a tick."""
    async with opened(tmp_path) as records:
        await records.put("k", A, b"x", NOW + 9)
        begun = time.perf_counter()
        for _ in range(1_000):
            await records.latest("k")
        assert time.perf_counter() - begun < 0.1

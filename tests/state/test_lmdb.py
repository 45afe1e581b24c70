"""The embedded store: what it promises beyond the conformance suite."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from struct import Struct
from typing import cast

import pytest

import authproxy.state.lmdb as module
from authproxy.state.lmdb import LmdbStore
from authproxy.state.store import Put, StateUnavailable
from tests.state.test_store import NOW, A, B, write

SMALL = 1 << 20
COUNT = Struct("<Q")


def opened(folder: Path) -> LmdbStore:
    store = LmdbStore(folder, SMALL)
    store.open()
    return store


def key(n: int) -> bytes:
    return n.to_bytes(16, "big")


def fill(store: LmdbStore, expiry: float, record: bytes = bytes(24)) -> int:
    """Writes new keys until the map is full; how many there are."""
    for n in range(1_000_000):
        try:
            write(store, (key(n), record, expiry))
        except StateUnavailable:
            return n
    raise AssertionError("the map has no bound")


def test_a_full_map_refuses_and_recovers(tmp_path: Path) -> None:
    """A full map raises instead of forgetting a count, keeps what it has, and takes new keys once others expired."""
    store = opened(tmp_path)
    full = fill(store, NOW + 9)
    assert full > 1_000
    assert store.read([key(0), key(full)], NOW) == [bytes(24), None]
    for n in range(full, full + 100):
        with pytest.raises(StateUnavailable, match="map is full"):
            write(store, (key(n), bytes(24), NOW + 9))
    write(store, (key(full), bytes(24), NOW + 99), now=NOW + 9)
    assert store.read([key(full)], NOW + 9) == [bytes(24)]
    store.close()


def test_of_steps_that_come_together_only_what_has_no_room_is_refused(tmp_path: Path) -> None:
    """In a full map those whose key is there are counted, once, whoever comes beside them; new keys are told why."""
    store, full = opened(tmp_path), 0

    def weigh(record: bytes | None, more: int, now: float) -> tuple[int, bytes | None, float]:
        count = (COUNT.unpack(record)[0] if record else 0) + more
        return count, COUNT.pack(count), now + 9

    while not isinstance(store.transact_each([(key(full), NOW, weigh, 0)])[0], StateUnavailable):
        full += 1
    assert full > 1_000
    old = [key(n) for n in range(400)]
    new = [key(full + n) for n in range(400)]  # some of them before the room is looked at again
    told = store.transact_each([(k, NOW, weigh, 1) for k in (*old, *new)])
    assert told[:400] == [1] * 400
    assert any(isinstance(one, StateUnavailable) for one in told[400:])
    assert [COUNT.unpack(record or b"")[0] for record in store.read(old, NOW)] == [1] * 400
    store.close()


def test_a_full_map_can_always_be_swept(tmp_path: Path) -> None:
    """Removing needs free pages too: a map filled to its end with expired keys is swept empty and used again."""
    store = opened(tmp_path)
    for turn in range(3):
        now = NOW + 10 * turn
        full = fill(store, now + 9)
        assert sum(store.sweep(now + 9, 1_000) for _ in range(full // 1_000 + 2)) == full
    store.close()


def test_big_records_fill_the_map_without_harm(tmp_path: Path) -> None:
    """Records of many pages (moving windows) are refused when there is no room, and the ones there stay whole."""
    store, record = opened(tmp_path), os.urandom(40_000)
    kept = fill(store, NOW + 9, record)
    assert 10 < kept < 30
    assert store.read([key(n) for n in range(kept)], NOW) == [record] * kept
    store.close()


def test_counters_outlive_the_process(tmp_path: Path) -> None:
    """Closing and opening again finds what was counted."""
    store = opened(tmp_path)
    write(store, (A, b"1", NOW + 9))
    store.close()
    assert store.read([A], NOW) == [b"1"]
    store.close()


def test_only_the_owner_can_look(tmp_path: Path) -> None:
    """The directories are made for their owner alone, and so are the files."""
    store = opened(tmp_path / "state")
    for place in (tmp_path / "state", tmp_path / "state" / "counters"):
        assert place.stat().st_mode & 0o777 == 0o700
    for file in (tmp_path / "state" / "counters").iterdir():
        assert file.name == "mark" or file.stat().st_mode & 0o777 == 0o600
    store.close()


def test_it_takes_no_more_disk_than_it_uses(tmp_path: Path) -> None:
    """The bound of the map is no allocation: a new store takes some pages only."""
    store = LmdbStore(tmp_path)
    store.open()
    data = (tmp_path / "counters" / "data.mdb").stat()
    assert data.st_size <= module.MAP_BYTES
    assert data.st_blocks * 512 < 1 << 20
    store.close()


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda data: cast("None", data.write_bytes(b"garbage" * 4096)), id="garbage"),
        pytest.param(lambda data: cast("None", data.write_bytes(b"")), id="emptied"),
        pytest.param(lambda data: os.truncate(data, 8192), id="cut after the meta pages"),
        pytest.param(lambda data: os.truncate(data, 100), id="cut in the first page"),
    ],
)
def test_a_damaged_file_is_replaced(
    tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be read is made anew at start and counts again."""
    store = opened(tmp_path)
    write(store, *((key(n), bytes(24), NOW + 9) for n in range(500)))
    store.close()
    harm(tmp_path / "counters" / "data.mdb")
    store.open()
    write(store, (A, b"1", NOW + 9))
    assert store.read([A, key(1)], NOW) == [b"1", None]
    store.close()


@pytest.mark.parametrize(
    "older", [pytest.param("authproxy counters 0\n", id="layout"), pytest.param("", id="unmarked")]
)
def test_another_layout_is_replaced(tmp_path: Path, older: str) -> None:
    """Counters of another layout version are not read but made anew."""
    store = opened(tmp_path)
    write(store, (A, b"1", NOW + 9))
    store.close()
    (tmp_path / "counters" / "mark").write_text(older)
    assert store.read([A], NOW) == [None]
    store.close()


def test_another_boot_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never synced is not trusted after the machine went down, whatever it looks like."""
    (tmp_path / "boot").write_text("one")
    monkeypatch.setattr(module, "BOOT_ID", tmp_path / "boot")
    store = opened(tmp_path)
    write(store, (A, b"1", NOW + 9))
    store.close()
    assert store.read([A], NOW) == [b"1"]
    store.close()
    (tmp_path / "boot").write_text("two")
    assert store.read([A], NOW) == [None]
    store.close()


def test_damage_found_in_use_is_mended_by_the_next_step(tmp_path: Path) -> None:
    """A page that goes bad while in use costs the steps that meet it, never more: the next opens a new store."""
    store = opened(tmp_path)
    write(store, *((key(n), bytes(24), NOW + 9) for n in range(500)))
    data = tmp_path / "counters" / "data.mdb"
    with data.open("r+b") as file:
        file.seek(8192)
        file.write(bytes(data.stat().st_size - 8192))
    with pytest.raises(StateUnavailable):
        store.read([key(1)], NOW)
    write(store, (A, b"1", NOW + 9))
    assert store.read([A, key(1)], NOW) == [b"1", None]
    store.close()


def test_a_directory_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    """Where no directory can be, opening raises with words to act on."""
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateUnavailable, match=r"state\.url"):
        LmdbStore(tmp_path / "state").open()


def test_a_read_only_file_system_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be written, opening raises with words to act on."""

    def refuse(*_arguments: object, **_options: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StateUnavailable, match="Read-only file system"):
        LmdbStore(tmp_path).open()


def test_a_disk_without_room_is_refused_at_start(tmp_path: Path) -> None:
    """The map must fit on the disk, because a write to a page that does not kills the process."""
    with pytest.raises(StateUnavailable, match="must be free"):
        LmdbStore(tmp_path, map_bytes=1 << 60).open()


def test_one_process_opens_a_folder_once(tmp_path: Path) -> None:
    """LMDB's own rule is an error of ours, and the first store goes on."""
    store = opened(tmp_path)
    with pytest.raises(StateUnavailable, match="already open"):
        opened(tmp_path)
    write(store, (B, b"1", NOW + 9))
    store.close()


COUNTING = """
import sys
from pathlib import Path
from tests.state.test_lmdb import add_one, opened
store = opened(Path(sys.argv[1]))
for _ in range(2000):
    add_one(store)
"""


def add_one(store: LmdbStore) -> None:
    def decide(records: list[bytes | None]) -> tuple[Sequence[Put], None]:
        (count,) = COUNT.unpack(records[0] or bytes(8))
        return [(A, COUNT.pack(count + 1), NOW + 9)], None

    store.transact([A], NOW, decide)


def test_two_processes_count_exactly(tmp_path: Path) -> None:
    """Two processes adding to one key at once, from the making of the store on, lose nothing."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "error", "-c", COUNTING, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=root) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    store = opened(tmp_path)
    assert store.read([A], NOW) == [COUNT.pack(4000)]
    store.close()


def test_a_killed_writer_stops_nobody(tmp_path: Path) -> None:
    """A process that dies inside a step leaves nothing of it, and the others go on."""
    dying = COUNTING + "store.transact([], 0, lambda _: __import__('os')._exit(9))"
    root = Path(__file__).parents[2]
    died = subprocess.run([sys.executable, "-c", dying, str(tmp_path)], cwd=root, check=False)
    assert died.returncode == 9
    store = opened(tmp_path)
    add_one(store)
    assert store.read([A], NOW) == [COUNT.pack(2001)]
    store.close()


DYING_READERS = """
import lmdb, os, sys
from pathlib import Path
from tests.state.test_lmdb import opened
store, held = opened(Path(sys.argv[1])), []
try:
    while True:
        held.append(store._env.begin())
except lmdb.ReadersFullError:
    os.kill(os.getpid(), 9)
"""


def test_dead_readers_do_not_lock_others_out(tmp_path: Path) -> None:
    """Processes that died inside a read leave their places taken; whoever finds none left clears them."""
    store = opened(tmp_path)
    add_one(store)
    command = [sys.executable, "-c", DYING_READERS, str(tmp_path)]
    died = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert died.returncode == -9
    assert store.read([A], NOW) == [COUNT.pack(1)]
    store.close()

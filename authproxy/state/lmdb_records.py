"""Durable records of one machine, embedded: an LMDB environment, `<dir>/records`, synced to the disk at every write.

Reads are made where they are asked for (they touch memory), writes in the one thread of this object: no loop waits for
the disk. What is damaged or of another layout is never made anew and never touched: whoever needs it is refused
until the operator has decided, since to forget a revocation is to let somebody in.
"""

import asyncio
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import TypeAlias, TypeVar

import lmdb

from authproxy.state.lmdb import DAMAGED, locked, walk_to_both_ends
from authproxy.state.records import Change, Record, Records, check_key, check_value
from authproxy.state.store import StateUnavailable

T = TypeVar("T")
Transaction: TypeAlias = "lmdb.Transaction[bytes]"

# What a map begins with and may grow to; nothing of it is taken from the disk before it is used.
MAP_BYTES, MAP_MOST = 64 << 20, 4 << 30
# How much a removal may grow a full map by: LMDB needs free pages to remove.
SPARE_BYTES = 1 << 20
# Two pages are needed. Taken at once, since a write to a lock file that the disk has no room for kills the process.
LOCK_BYTES = 16 << 10
LAYOUT = b"authproxy records 1"
SWEEP_STEP = 100
PAGE = 1_000
# Often enough for others growing the map meanwhile, and for doublings from the first size to the last.
ATTEMPTS = 10

# One tree: the layout; `r` KIND 0 KEY -> head, value; `s` KIND 0 SEQUENCE -> KEY; `l` KIND 0 -> the last SEQUENCE, count.
LAYOUT_KEY = b"#layout"
HEAD = Struct("<dQ")  # expiry, sequence
SEQUENCE = Struct(">Q")  # in the order of bytes, which is the order of the tree
TALLY = Struct(">QQ")


class Damaged(Exception):  # noqa: N818  # it becomes StateUnavailable, which says what to do
    """What is there cannot be what was written."""


class LmdbRecords(Records):
    """Records in `folder`/records, shared by every process that opens it.

    Open after a fork; one process opens a folder once (LMDB's own rule).
    """

    def __init__(self, folder: Path, map_bytes: int = MAP_BYTES, map_most: int = MAP_MOST) -> None:
        self._folder = folder / "records"
        self._map_bytes = map_bytes
        self._map_most = map_most
        self._env: lmdb.Environment | None = None
        # Held by a read, and by whoever opens, closes or resizes the map. Only the thread resizes, as only it writes.
        self._lock = Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._inode = 0
        self._swept_to = b"r"

    @property
    def epoch(self) -> int:
        return self._inode  # a backup that was put in its place is another

    async def get(self, kind: str, key: bytes, now: float) -> bytes | None:
        return await self._read(partial(_living, _record_key(kind, key), now))

    def glance(self, kind: str, key: bytes, now: float) -> bytes | None:
        try:
            with self._lock:
                if self._env is None:
                    return None
                with self._env.begin() as transaction:
                    return _living(_record_key(kind, key), now, transaction)
        except (lmdb.Error, Damaged):
            return None  # whoever waits for it learns what is wrong

    async def update(self, kind: str, key: bytes, now: float, change: Change[T]) -> T:
        check_key(key)
        where = _record_key(kind, key)

        def step(transaction: Transaction) -> T:
            held = transaction.get(where)
            alive = held is not None and _head(held)[0] > now
            value, expiry, outcome = change(held[HEAD.size :] if held and alive else None)
            if value is not None:
                check_value(value)
                _write(transaction, kind, key, held, expiry, value)
            return outcome

        return await self._in_thread(partial(self._transact, step))

    async def remove(self, kind: str, key: bytes) -> bool:
        step = partial(_remove_all, [_record_key(kind, key)], math.inf)
        return bool(await self._in_thread(partial(self._transact, step, spare=True)))

    async def since(
        self, kind: str, sequence: int, now: float, most: int | None = None
    ) -> list[Record]:
        found: list[Record] = []
        while True:
            page = await self._read(partial(_page, kind, sequence))
            found += [record for record in page if record.expiry > now]
            if len(page) < PAGE or (most is not None and len(found) >= most):
                return found[:most]
            sequence = page[-1].sequence
            await asyncio.sleep(0)  # a long list keeps nobody waiting

    async def latest(self, kind: str) -> int:
        return (await self._read(partial(_tally, kind)))[0]

    async def count(self, kind: str) -> int:
        return (await self._read(partial(_tally, kind)))[1]

    async def sweep(self, now: float, most: int) -> int:
        if self._env is not None and _inode(self._folder) != self._inode:
            # Another one was put in its place: what is written from now on is written there.
            await self._in_thread(self._let_go)
        expired, swept_to = await self._read(
            lambda transaction: _expired(transaction, self._swept_to, now, most)
        )
        removed = 0
        for start in range(0, len(expired), SWEEP_STEP):
            step = partial(_remove_all, expired[start : start + SWEEP_STEP], now)
            removed += await self._in_thread(partial(self._transact, step, spare=True))
        self._swept_to = swept_to
        return removed

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        self._let_go()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "records")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _read(self, step: Callable[[Transaction], T]) -> T:
        try:
            with self._lock, (self._env or self._opened()).begin() as transaction:
                return step(transaction)
        except (lmdb.MapResizedError, lmdb.ReadersFullError, lmdb.PanicError):
            # The thread can mend it.
            return await self._in_thread(partial(self._transact, step, write=False))
        except (lmdb.Error, Damaged) as error:
            raise self._unavailable(error) from error

    def _transact(
        self, step: Callable[[Transaction], T], *, write: bool = True, spare: bool = False
    ) -> T:
        """One step in the thread, again when the map had to grow or dead readers to go. `spare` also when it is full."""
        for _ in range(ATTEMPTS):
            with self._lock:
                env = self._env or self._opened()
            try:
                with env.begin(write=write) as transaction:
                    return step(transaction)
            except lmdb.MapFullError:
                self._grow(env, spare=spare)
            except lmdb.MapResizedError:  # by another process
                with self._lock:
                    env.set_mapsize(0)
            except lmdb.ReadersFullError:
                env.reader_check()
            except lmdb.PanicError:  # the disk failed in a write; what it holds is opened again
                self._let_go()
            except (lmdb.Error, Damaged) as error:
                raise self._unavailable(error) from error
        raise StateUnavailable(f"{self._folder}: the map could not be made to fit")

    def _grow(self, env: lmdb.Environment, *, spare: bool) -> None:
        env.reader_check()  # a killed reader would keep all that it saw from being used again
        size = env.info()["map_size"]
        if size >= self._map_most and not spare:
            raise StateUnavailable(f"{self._folder} is full ({self._map_most >> 20} MiB)")
        larger = min(size * 2, self._map_most) if size < self._map_most else size + SPARE_BYTES
        with self._lock:
            env.set_mapsize(larger)

    def _unavailable(self, error: Exception) -> StateUnavailable:
        if isinstance(error, (*DAMAGED, Damaged)):
            return self._damaged(error)
        return StateUnavailable(f"{self._folder}: {error}: look at its disk (room, mode, health)")

    def _damaged(self, error: Exception) -> StateUnavailable:
        return StateUnavailable(
            f"the records in {self._folder} are damaged ({error}). They are left as they are: put a backup in their "
            "place, or move that directory away to begin without them (revocations are then forgotten)"
        )

    def _let_go(self) -> None:
        with self._lock:
            if self._env is not None:
                self._env.close()
                self._env = None

    def _opened(self) -> lmdb.Environment:
        try:
            with locked(self._folder):
                self._env = self._open_here()
        except (*DAMAGED, Damaged) as error:
            raise self._damaged(error) from error
        except (OSError, lmdb.Error) as error:
            raise StateUnavailable(
                f"the records cannot be kept in {self._folder} ({error}): "
                "give state.url a directory that this user may write to"
            ) from error
        return self._env

    def _open_here(self) -> lmdb.Environment:
        data, mark = self._folder / "data.mdb", self._folder / "mark"
        if mark.exists() and not (data.exists() and data.stat().st_size):
            raise Damaged(f"{data.name} is gone or empty")
        _reserve(self._folder / "lock.mdb", LOCK_BYTES)
        env = lmdb.open(str(self._folder), self._map_bytes, mode=0o600)
        try:
            env.reader_check()
            self._check_length(env, data)
            _check_layout(env, new=not mark.exists())
            mark.touch(0o600)
            self._inode = _inode(self._folder)
        except BaseException:
            env.close()
            raise
        return env

    def _check_length(self, env: lmdb.Environment, data: Path) -> None:
        """A page that the file does not reach kills whoever reads it (SIGBUS), so the file is made to reach it."""
        needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        if data.stat().st_size >= needed:
            return
        if needed > self._map_most * 2:
            raise Damaged("it names pages beyond all bounds")
        _reserve(data, needed)
        with env.begin() as transaction, transaction.cursor() as cursor:
            for key, value in cursor:  # what was cut off shows as an error here
                if key.startswith(b"r"):
                    _head(value)


def _inode(folder: Path) -> int:
    try:
        return (folder / "data.mdb").stat().st_ino
    except OSError:
        return 0


def _reserve(file: Path, size: int) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _check_layout(env: lmdb.Environment, *, new: bool) -> None:
    walk_to_both_ends(env)
    with env.begin() as transaction:
        layout, entries = transaction.get(LAYOUT_KEY), transaction.stat()["entries"]
    if layout is None and new and not entries:
        with env.begin(write=True) as transaction:
            transaction.put(LAYOUT_KEY, LAYOUT)
    elif layout is None:
        raise Damaged("what must be in it is not")
    elif layout != LAYOUT:
        raise Damaged("they are of another version of authproxy")


def _living(where: bytes, now: float, transaction: Transaction) -> bytes | None:
    held = transaction.get(where)
    return held[HEAD.size :] if held and _head(held)[0] > now else None


def _record_key(kind: str, key: bytes) -> bytes:
    return b"r%b\0%b" % (kind.encode(), key)


def _sequence_key(kind: str, sequence: int) -> bytes:
    return b"s%b\0%b" % (kind.encode(), SEQUENCE.pack(sequence))


def _tally_key(kind: str) -> bytes:
    return b"l%b\0" % kind.encode()


def _tally(kind: str, transaction: Transaction) -> tuple[int, int]:
    """The last sequence of a kind, and how many records there are."""
    held = transaction.get(_tally_key(kind))
    if held is None:
        return 0, 0
    sequence, count = TALLY.unpack(held)
    return sequence, count


def _head(held: bytes) -> tuple[float, int]:
    """Expiry and sequence."""
    expiry, sequence = HEAD.unpack_from(held)
    if not sequence:  # pages of zeros are what a disk gives for what it has lost
        raise Damaged("a record without a sequence")
    return expiry, sequence


def _write(
    transaction: Transaction, kind: str, key: bytes, held: bytes | None, expiry: float, value: bytes
) -> None:
    latest, count = _tally(kind, transaction)
    sequence = latest + 1
    if held is not None:
        transaction.delete(_sequence_key(kind, _head(held)[1]))
    transaction.put(_record_key(kind, key), HEAD.pack(expiry, sequence) + value)
    transaction.put(_sequence_key(kind, sequence), key)
    transaction.put(_tally_key(kind), TALLY.pack(sequence, count + (held is None)))


def _remove_all(keys: list[bytes], now: float, transaction: Transaction) -> int:
    """Remove those that are there and have ended by `now`; how many it were."""
    removed = 0
    for where in keys:
        held = transaction.get(where)
        if held is not None and _head(held)[0] <= now:
            kind = where[1 : where.index(b"\0")].decode()
            transaction.delete(_sequence_key(kind, _head(held)[1]))
            transaction.delete(where)
            sequence, count = _tally(kind, transaction)
            transaction.put(_tally_key(kind), TALLY.pack(sequence, count - 1))
            removed += 1
    return removed


def _page(kind: str, sequence: int, transaction: Transaction) -> list[Record]:
    """Up to `PAGE` records of a kind after `sequence`, expired ones too."""
    found: list[Record] = []
    prefix = _sequence_key(kind, 0)[: -SEQUENCE.size]
    with transaction.cursor() as cursor:
        there = cursor.set_range(_sequence_key(kind, sequence + 1))
        while there and len(found) < PAGE and cursor.key().startswith(prefix):
            key = cursor.value()
            held = transaction.get(_record_key(kind, key))
            if held is None:
                raise Damaged("a record that was written is gone")
            found.append(Record(key, held[HEAD.size :], *_head(held)))
            there = cursor.next()
    return found


def _expired(
    transaction: Transaction, start: bytes, now: float, most: int
) -> tuple[list[bytes], bytes]:
    """The keys of what has ended among `most` records from `start` on, and where to go on."""
    found: list[bytes] = []
    with transaction.cursor() as cursor:
        there = cursor.set_range(start)
        for _ in range(most):
            if not (there and cursor.key().startswith(b"r")):
                return found, b"r"
            if _head(cursor.value())[0] <= now:
                found.append(cursor.key())
            there = cursor.next()
        return found, cursor.key() if there else b"r"

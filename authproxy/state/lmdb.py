"""The state of all workers of one machine, embedded: an LMDB environment of counters, `<dir>/counters`.

Written through the map and never synced: 1 to 3 µs a step, whole after the death of any process, worth nothing after
the machine's own. So it belongs to one boot and one layout, and what is damaged or of another is made anew, never a
reason not to start. A full map refuses: nothing passes uncounted. Only this module and lmdb_records.py import lmdb.
"""

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct

import lmdb

from authproxy.state.store import C, Decide, EmbeddedStore, One, StateUnavailable, T

# Sparse: what the counters may come to take, not what they take. A counter needs about 100 bytes.
MAP_BYTES = 256 * 1024 * 1024
LAYOUT = "authproxy counters 1"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Small, so that the lock on writing is held for microseconds, and because even a removal needs free pages: those of
# one small transaction are given back before the next one starts.
SWEEP_STEP = 32
# Little, because while the map is full every new key pays for it.
SWEEP_WHEN_FULL = 256
# LMDB needs free pages to remove, so a map is never let run full: it could not be emptied again. New keys stop first,
# then those that are there too (their records may grow); expressed as parts of the map.
MOST_FOR_NEW, MOST_FOR_ALL = 3 / 4, 7 / 8

# How many steps that come together are one transaction: whoever else writes waits for no more than these.
TOGETHER = 32

# A value is its expiry followed by the record.
EXPIRY = Struct("<d")
pack_expiry, unpack_expiry = EXPIRY.pack, EXPIRY.unpack_from
DAMAGED = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
)

log = logging.getLogger(__name__)


class LmdbStore(EmbeddedStore):
    """Counters in `folder`/counters, shared by every process that opens it.

    Open after a fork; one process opens a folder once (LMDB's own rule).
    """

    def __init__(self, folder: Path, map_bytes: int = MAP_BYTES) -> None:
        self._folder = folder / "counters"
        self._map_bytes = map_bytes
        self._env: lmdb.Environment | None = None
        self._inode = 0
        self._swept_to = b""
        # How many bytes may still be written before the room is looked at again.
        self._unseen = 0

    def open(self) -> None:
        self._opened()

    def transact(self, keys: Sequence[bytes], now: float, decide: Decide[T]) -> T:
        try:
            return self._step(keys, now, decide)
        except lmdb.MapFullError:
            return self._step_with_room(keys, now, decide)
        except lmdb.Error as error:
            raise self._unavailable(error) from error

    def transact_each(self, wanted: Sequence[One[C, T]]) -> list[T | StateUnavailable]:
        done: list[T | StateUnavailable] = []
        for at in range(0, len(wanted), TOGETHER):
            some = wanted[at : at + TOGETHER]
            try:
                done += self._each(some)
            except (
                lmdb.Error,
                StateUnavailable,
            ):  # none of these is written, so each has a try of its own
                done += super().transact_each(some)
        return done

    def _each(self, wanted: Sequence[One[C, T]]) -> list[T]:
        # What `transact` does, without the lists: this is what nearly every request waits for.
        done = []
        with (self._env or self._opened()).begin(write=True) as transaction:
            cursor = (
                transaction.cursor()
            )  # it writes where it has read, without another way down the tree
            for key, now, weigh, what in wanted:
                value = cursor.value() if cursor.set_key(key) else None
                held = value[8:] if value and unpack_expiry(value)[0] > now else None
                outcome, record, expiry = weigh(held, what, now)
                done.append(outcome)
                if record is not None:
                    self._unseen -= len(record)
                    if self._unseen < 0:
                        raise lmdb.MapFullError("perhaps")  # the longer way looks
                    cursor.put(key, pack_expiry(expiry) + record)
        return done

    def _step(self, keys: Sequence[bytes], now: float, decide: Decide[T]) -> T:
        # Leaving `with` by an exception aborts: nothing of the step is kept.
        env = self._env or self._opened()
        with env.begin(write=True) as transaction:
            records = _records(transaction, keys, now)
            puts, outcome = decide(records)
            for key, record, expiry in puts:
                transaction.put(key, pack_expiry(expiry) + record)
                self._unseen -= len(record)
            if self._unseen < 0 and puts:
                self._check_room(env, None in records)
        return outcome

    def _check_room(self, env: lmdb.Environment, new: bool) -> None:
        pages = env.stat()  # as of the step before this one
        used = pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]
        if used * pages["psize"] > self._map_bytes * (MOST_FOR_NEW if new else MOST_FOR_ALL):
            raise lmdb.MapFullError("the map is full but for what removing needs")
        self._unseen = self._map_bytes // 1024

    def _step_with_room(self, keys: Sequence[bytes], now: float, decide: Decide[T]) -> T:
        env = self._env or self._opened()
        env.reader_check()  # a killed reader would keep all that it saw from being used again
        self.sweep(now, SWEEP_WHEN_FULL)
        try:
            return self._step(keys, now, decide)
        except lmdb.Error as error:
            raise self._unavailable(error) from error

    def read(self, keys: Sequence[bytes], now: float) -> list[bytes | None]:
        try:
            return self._read(keys, now)
        except lmdb.ReadersFullError:
            # Those that were killed inside a read leave their places taken.
            self._opened().reader_check()
            try:
                return self._read(keys, now)
            except lmdb.Error as error:
                raise self._unavailable(error) from error
        except lmdb.Error as error:
            raise self._unavailable(error) from error

    def _read(self, keys: Sequence[bytes], now: float) -> list[bytes | None]:
        with (self._env or self._opened()).begin() as transaction:
            return _records(transaction, keys, now)

    def sweep(self, now: float, most: int) -> int:
        removed = 0
        try:
            for left in range(most, 0, -SWEEP_STEP):
                removed += self._sweep_step(now, min(left, SWEEP_STEP))
        except lmdb.Error as error:
            raise self._unavailable(error) from error
        return removed

    def _sweep_step(self, now: float, most: int) -> int:
        with (self._env or self._opened()).begin(write=True) as transaction:
            cursor = transaction.cursor()
            there, removed = cursor.set_range(self._swept_to), 0
            for _ in range(most):
                if not there:
                    break
                if unpack_expiry(cursor.value())[0] > now:
                    there = cursor.next()
                else:  # delete() leaves the cursor on the key after
                    removed += cursor.delete()
                    there = bool(cursor.key())
            swept_to = cursor.key() if there else b""
        self._swept_to = swept_to
        return removed

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    def _opened(self) -> lmdb.Environment:
        if self._env is None:
            try:
                with locked(self._folder):
                    self._env = self._open_or_renew()
                    self._inode = (self._folder / "data.mdb").stat().st_ino
            except (OSError, lmdb.Error) as error:
                raise StateUnavailable(
                    f"the counters cannot be kept in {self._folder} ({error}): "
                    "give state.url a directory that this user may write to"
                ) from error
        return self._env

    def _open_or_renew(self) -> lmdb.Environment:
        mark = _mark()
        if not _holds(self._folder / "mark", mark):
            _discard(self._folder, "it is of another boot or layout")
        try:
            env = self._open_here()
        except DAMAGED as error:
            _discard(self._folder, str(error))
            env = self._open_here()
        (self._folder / "mark").write_text(mark)
        return env

    def _open_here(self) -> lmdb.Environment:
        self._check_space()
        name, size = str(self._folder), self._map_bytes
        env = lmdb.open(name, size, mode=0o600, writemap=True, sync=False, metasync=False)
        try:
            walk_to_both_ends(env)
        except lmdb.Error:
            env.close()
            raise
        return env

    def _check_space(self) -> None:
        """A write to a page that the disk has no room for kills the process (SIGBUS), so there must be room for all."""
        space, data = os.statvfs(self._folder), self._folder / "data.mdb"
        taken = data.stat().st_blocks * 512 if data.exists() else 0
        if space.f_bavail * space.f_frsize + taken < self._map_bytes:
            raise OSError(f"{self._map_bytes >> 20} MiB must be free there")

    def _unavailable(self, error: lmdb.Error) -> StateUnavailable:
        if isinstance(error, DAMAGED):
            self._renounce(error)
        return StateUnavailable(f"{self._folder}: {error}")

    def _renounce(self, error: lmdb.Error) -> None:
        """Found damaged while in use: the next step opens a new one, the same for all workers."""
        log.error("the counters in %s are damaged (%s)", self._folder, error)
        self.close()
        with suppress(OSError), locked(self._folder):
            if (self._folder / "data.mdb").stat().st_ino == self._inode:  # else another was first
                (self._folder / "mark").unlink()


def walk_to_both_ends(env: lmdb.Environment) -> None:
    """A tree that was cut or emptied shows here, as an error of `DAMAGED`."""
    with env.begin() as transaction, transaction.cursor() as cursor:
        cursor.first()
        cursor.last()


def _records(
    transaction: "lmdb.Transaction[bytes]", keys: Sequence[bytes], now: float
) -> list[bytes | None]:
    records: list[bytes | None] = []
    for key in keys:
        value = transaction.get(key)
        if value is not None:
            value = value[8:] if unpack_expiry(value)[0] > now else None
        records.append(value)
    return records


def _mark() -> str:
    """What the environment belongs to: this layout, and this boot, for pages in memory do not outlive it."""
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    return f"{LAYOUT}\n{boot}\n"


def _holds(file: Path, text: str) -> bool:
    return file.exists() and file.read_bytes() == text.encode()


def _discard(folder: Path, why: str) -> None:
    if (folder / "data.mdb").exists():
        log.warning("the counters in %s begin anew: %s", folder, why)
    for name in ("mark", "data.mdb", "lock.mdb"):
        (folder / name).unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time opens, discards or renounces what is in the folder."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / "opening", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

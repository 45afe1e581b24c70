"""From the word in the configuration, `state.url`, to what it names. Opens nothing: the worker does, after its fork.

What a Redis needs is imported where the state is one: redis-py takes as long as all else that a configuration is read with.
"""

from pathlib import Path

from authproxy.state.lmdb import LmdbStore
from authproxy.state.lmdb_records import LmdbRecords
from authproxy.state.memory import MemoryStore
from authproxy.state.memory_records import MemoryRecords
from authproxy.state.records import Records
from authproxy.state.redis_access import RedisAccess
from authproxy.state.store import Store


def open_store(url: str, folder: Path, access: RedisAccess | None = None) -> Store:
    """The counters of `lmdb:DIR` (DIR relative to `folder`), `memory:`, or the Redis of `access`, not yet open.

    Raises:
        ValueError: no such kind of state, or `lmdb:` without a directory.
    """
    if access is not None:
        from authproxy.state.redis_store import RedisStore

        return RedisStore(access)
    place = _directory(url, folder)
    return MemoryStore() if place is None else LmdbStore(place)


def open_records(url: str, folder: Path, access: RedisAccess | None = None) -> Records:
    """The durable records beside them, not yet open.

    Raises:
        ValueError: as above.
    """
    if access is not None:
        from authproxy.state.redis_records import RedisRecords

        return RedisRecords(access)
    place = _directory(url, folder)
    return MemoryRecords() if place is None else LmdbRecords(place)


def _directory(url: str, folder: Path) -> Path | None:
    kind, _, rest = url.partition(":")
    if kind == "lmdb" and rest:
        return folder / rest
    if url == "memory:":
        return None
    raise ValueError(f"`{url}` names no store: use lmdb:DIR or memory:")

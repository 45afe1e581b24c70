"""From the word in the configuration, `state.url`, to the store that it names. Opens nothing: the worker does."""

from pathlib import Path

from authproxy.state.lmdb import LmdbStore
from authproxy.state.memory import MemoryStore
from authproxy.state.store import Store


def open_store(url: str, folder: Path) -> Store:
    """The store of `lmdb:DIR` (DIR relative to `folder`) or `memory:`, not yet open, so that a fork may follow.

    Raises:
        ValueError: no such kind of store, or `lmdb:` without a directory.
    """
    kind, _, rest = url.partition(":")
    if kind == "lmdb" and rest:
        return LmdbStore(folder / rest)
    if url == "memory:":
        return MemoryStore()
    raise ValueError(f"`{url}` names no store: use lmdb:DIR or memory:")

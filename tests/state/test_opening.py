"""The words of `state.url`."""

from pathlib import Path

import pytest

from authproxy.state.lmdb import LmdbStore
from authproxy.state.lmdb_records import LmdbRecords
from authproxy.state.memory import MemoryStore
from authproxy.state.memory_records import MemoryRecords
from authproxy.state.opening import open_records, open_store


def test_lmdb_is_found_beside_the_configuration(tmp_path: Path) -> None:
    """`lmdb:DIR` is relative to the folder given, and nothing is opened before it is used."""
    store = open_store("lmdb:state", tmp_path)
    assert isinstance(store, LmdbStore)
    assert not (tmp_path / "state").exists()
    store.open()
    assert (tmp_path / "state" / "counters" / "data.mdb").exists()
    store.close()


def test_an_absolute_directory_stays_so(tmp_path: Path) -> None:
    """`lmdb:/DIR` is taken as it is."""
    store = open_store(f"lmdb:{tmp_path}/elsewhere", Path("/nowhere"))
    store.open()
    assert (tmp_path / "elsewhere" / "counters").is_dir()
    store.close()


def test_memory_is_one_process(tmp_path: Path) -> None:
    """`memory:` is the store of one process."""
    assert isinstance(open_store("memory:", tmp_path), MemoryStore)


async def test_records_are_beside_the_counters(tmp_path: Path) -> None:
    """The same word names the durable records, which are not opened before they are used either."""
    assert isinstance(open_records("memory:", tmp_path), MemoryRecords)
    records = open_records("lmdb:state", tmp_path)
    assert isinstance(records, LmdbRecords)
    assert not (tmp_path / "state").exists()
    assert await records.latest("k") == 0
    assert (tmp_path / "state" / "records" / "data.mdb").exists()
    records.close()


@pytest.mark.parametrize("url", ["lmdb:", "lmdb", "memory:x", "", "file:x"])
def test_other_words_are_refused(url: str, tmp_path: Path) -> None:
    """What names no store is an error that says what would."""
    with pytest.raises(ValueError, match="lmdb:DIR or memory:"):
        open_store(url, tmp_path)
    with pytest.raises(ValueError, match="lmdb:DIR or memory:"):
        open_records(url, tmp_path)

"""The store in memory: what it promises beyond the conformance suite."""

import pytest

from authproxy.state.memory import MemoryStore
from authproxy.state.store import StateUnavailable
from tests.state.test_store import NOW, A, B, C, write


def test_a_full_memory_refuses_a_new_key() -> None:
    """When all keys live a new one is refused, and what is there is still counted."""
    store = MemoryStore(most_keys=2)
    write(store, (A, b"1", NOW + 9), (B, b"1", NOW + 9))
    with pytest.raises(StateUnavailable):
        write(store, (A, b"2", NOW + 9), (C, b"1", NOW + 9))
    assert store.read([A, B, C], NOW) == [b"1", b"1", None]
    write(store, (A, b"2", NOW + 9))
    assert store.read([A], NOW) == [b"2"]


def test_a_full_memory_takes_the_place_of_what_expired() -> None:
    """An expired key makes room for a new one by itself."""
    store = MemoryStore(most_keys=2)
    write(store, (A, b"1", NOW + 1), (B, b"1", NOW + 9))
    write(store, (C, b"1", NOW + 9), now=NOW + 1)
    assert store.read([A, B, C], NOW + 1) == [None, b"1", b"1"]


def test_an_expired_key_of_the_same_step_keeps_its_place() -> None:
    """A step that renews an expired key and adds a new one never holds more than the bound."""
    store = MemoryStore(most_keys=2)
    write(store, (A, b"1", NOW + 1), (B, b"1", NOW + 9))
    with pytest.raises(StateUnavailable):
        write(store, (A, b"2", NOW + 9), (C, b"1", NOW + 9), now=NOW + 1)
    assert store.read([A, C], NOW + 1) == [None, None]

"""Our state behind limits' own strategies."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import limits.storage
import limits.strategies
import pytest
from limits import RateLimitItemPerSecond

from authproxy.model.rate import STRATEGIES, Charge, Rate, Strategy
from authproxy.rate_limits import limits_storage
from authproxy.rate_limits.limits_storage import AuthproxyStorage
from tests.rate_limits.reference import Reference

NOW = 1_700_000_040.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits_storage, "time", clock)
    return clock


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[AuthproxyStorage]:
    made = limits.storage.storage_from_string(f"authproxy+lmdb://{tmp_path}")
    assert isinstance(made, AuthproxyStorage)
    yield made
    made._store.close()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_strategies_of_limits_decide_the_same_over_it(
    strategy: Strategy, storage: AuthproxyStorage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits' strategies over our storage decide, and look, as they do over their own memory storage."""
    reference = Reference(monkeypatch)
    monkeypatch.setattr(limits.strategies, "time", SimpleNamespace(time=clock.time))
    limiter, item = limits.strategies.STRATEGIES[strategy](storage), RateLimitItemPerSecond(5, 8)
    charge = Charge(b"k" * 16, Rate(5, 8), strategy)
    for hit in range(300):
        clock.now += 3 * 8 if hit % 50 == 0 else (hit * hit % 23) / 16
        assert limiter.hit(item, "k") == reference.hit(charge, clock.now)
        assert limiter.test(item, "k") == (limiter.get_window_stats(item, "k").remaining > 0)
        assert limiter.get_window_stats(item, "k").reset_time >= clock.now


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_clearing_gives_everything_back(
    strategy: Strategy, storage: AuthproxyStorage, clock: Clock
) -> None:
    """After `clear` a used-up limit is as new, and others stay as they were."""
    limiter, item = limits.strategies.STRATEGIES[strategy](storage), RateLimitItemPerSecond(1, 60)
    assert limiter.hit(item, "a")
    assert limiter.hit(item, "b")
    limiter.clear(item, "a")
    assert limiter.hit(item, "a")
    assert not limiter.hit(item, "b")


def test_it_says_whether_it_can_be_used(storage: AuthproxyStorage, tmp_path: Path) -> None:
    """`check` is true for a directory that can be used and false for one that cannot."""
    assert storage.check()
    (tmp_path / "file").write_text("")
    assert not AuthproxyStorage(f"authproxy+lmdb://{tmp_path}/file").check()


def test_what_it_cannot_do_it_says(storage: AuthproxyStorage) -> None:
    """No resetting of what others share, and no moving window greater than its record may be."""
    with pytest.raises(NotImplementedError):
        storage.reset()
    with pytest.raises(ValueError, match="at most"):
        storage.acquire_entry("k", 10_001, 60)


def test_its_errors_can_be_wrapped(tmp_path: Path) -> None:
    """With `wrap_exceptions` what is unavailable is limits' own StorageError."""
    (tmp_path / "file").write_text("")
    storage = AuthproxyStorage(f"authproxy+lmdb://{tmp_path}/file", wrap_exceptions=True)
    with pytest.raises(limits.errors.StorageError):
        storage.incr("k", 60)

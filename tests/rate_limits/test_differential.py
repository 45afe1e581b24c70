"""Every decision of ours is the one that the limits package would have taken over a correct storage."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authproxy.model.rate import STRATEGIES, Charge, Rate, Strategy
from authproxy.rate_limits.ledger import Ledger
from authproxy.state.lmdb import LmdbStore
from authproxy.state.memory import MemoryStore
from authproxy.state.store import EmbeddedStore
from tests.rate_limits.reference import Reference

TICKS = (
    1024  # of a window: times that floats hold exactly, so that an edge is an edge to both sides
)


@dataclass(frozen=True)
class Run:
    """Hits on one key: when the first comes (seconds), and how much later each next one (ticks of the window)."""

    rate: Rate
    cost: int
    beginning: int
    gaps: list[int]


# Often at once, on the window's edges, or just beside them.
EDGES = [0, 0, TICKS // 4, TICKS // 2, TICKS, 2 * TICKS, 3 * TICKS, TICKS - 1, TICKS + 1]
RUNS = st.builds(
    Run,
    st.builds(Rate, st.integers(1, 12), st.sampled_from([1, 2, 3, 7, 10, 60, 3600])),
    st.integers(1, 5),
    # Not within the first window of 1970, where limits takes a window for the one before it.
    st.sampled_from([7200, 1_700_000_000, 1_700_000_040]) | st.integers(7200, 1 << 32),
    st.lists(
        st.sampled_from(EDGES) | st.integers(0, TICKS // 3) | st.integers(0, 5 * TICKS // 2),
        min_size=1,
        max_size=60,
    ),
)


def compare(store: EmbeddedStore, strategy: Strategy, run: Run) -> None:
    charge = Charge(b"k" * 16, run.rate, strategy, run.cost)
    now = float(run.beginning)
    with pytest.MonkeyPatch.context() as patch:
        ledger, reference = Ledger(store), Reference(patch)
        for hit, gap in enumerate(run.gaps):
            now += gap * run.rate.window / TICKS
            theirs = reference.hit(charge, now)
            [ours] = ledger.acquire([charge], now)
            assert ours.granted == theirs, (hit, now)
            # Of a refused hit the fixed window of limits says less: it has counted it.
            if strategy == "sliding-window-counter" or (
                strategy == "fixed-window" and ours.granted
            ):
                assert ours.remaining == reference.remaining(charge, now), (hit, now)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=250, deadline=None)
@given(run=RUNS)
def test_decisions_are_those_of_limits(strategy: Strategy, run: Run) -> None:
    """For any run of hits on one key, across window edges, each decision equals that of limits' own strategy."""
    compare(MemoryStore(), strategy, run)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=15, deadline=None)
@given(run=RUNS)
def test_decisions_over_lmdb_are_those_of_limits(
    tmp_path_factory: pytest.TempPathFactory, strategy: Strategy, run: Run
) -> None:
    """The same over the embedded store, where records expire as in production."""
    folder: Path = tmp_path_factory.mktemp("state")
    store = LmdbStore(folder, map_bytes=1 << 20)
    compare(store, strategy, run)
    store.close()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_several_keys_do_not_meet(strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many clients in turn, each at its own pace, are each decided as limits decides them."""
    ledger, reference, now = Ledger(MemoryStore()), Reference(monkeypatch), 1_700_000_000.0
    clients = [Charge(bytes([n]) * 16, Rate(3 + n % 4, 5), strategy, 1 + n % 2) for n in range(10)]
    for hit in range(1_500):
        now += 0.037 if hit % 100 else 4.9
        charge = clients[hit * hit % 10]
        assert ledger.acquire([charge], now)[0].granted == reference.hit(charge, now)

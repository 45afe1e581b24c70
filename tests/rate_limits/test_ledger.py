"""Charging several limits at once: all or none, shadow limits, and the traps of limits' own storage."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authproxy.model.rate import STRATEGIES, Charge, Rate
from authproxy.rate_limits.keys import limit_key
from authproxy.rate_limits.ledger import Ledger
from authproxy.state.lmdb import LmdbStore
from authproxy.state.memory import MemoryStore
from authproxy.state.store import EmbeddedStore, StateUnavailable
from tests.rate_limits.ledgers import LEDGERS, AnyLedger

NOW = 1_700_000_040.0
WIDE = Charge(b"w" * 16, Rate(10, 60))
NARROW = Charge(b"n" * 16, Rate(2, 60), "fixed-window")
SHADOW = Charge(b"s" * 16, Rate(1, 60), "moving-window", binding=False)


@pytest.fixture(params=LEDGERS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyLedger]:
    made = LEDGERS[request.param](tmp_path)
    yield made
    made.store.close()


async def remaining(ledger: AnyLedger, *charges: Charge) -> list[int]:
    return [balance.remaining for balance in await ledger.peek(charges, NOW)]


async def test_balances_come_in_the_order_of_the_charges(ledger: AnyLedger) -> None:
    """Each charge has its own balance, in its own place."""
    balances = await ledger.acquire([NARROW, WIDE], NOW)
    assert [(b.granted, b.remaining) for b in balances] == [(True, 1), (True, 9)]


async def test_one_limit_without_room_keeps_all_uncharged(ledger: AnyLedger) -> None:
    """When one binding limit refuses, no other of the step is charged, before it or after it."""
    for _ in range(2):
        await ledger.acquire([NARROW], NOW)
    other = WIDE._replace(key=b"o" * 16)
    for _ in range(3):
        balances = await ledger.acquire([WIDE, NARROW, other, SHADOW], NOW)
        assert [(b.granted, b.remaining) for b in balances] == [
            (True, 10),
            (False, 0),
            (True, 10),
            (True, 1),
        ]
    assert await remaining(ledger, WIDE, NARROW, other, SHADOW) == [10, 0, 10, 1]


async def test_a_shadow_limit_never_refuses(ledger: AnyLedger) -> None:
    """A shadow limit over its amount says so, is charged no further, and the others of the step are charged."""
    granted = [[b.granted for b in await ledger.acquire([SHADOW, WIDE], NOW)] for _ in range(3)]
    assert granted == [[True, True], [False, True], [False, True]]
    assert await remaining(ledger, SHADOW, WIDE) == [0, 7]


async def test_a_shadow_limit_alone_is_counted(ledger: AnyLedger) -> None:
    """A step of one shadow limit counts up to its amount and says when it would have refused."""
    assert [(await ledger.acquire([SHADOW], NOW))[0].granted for _ in range(3)] == [
        True,
        False,
        False,
    ]


async def test_two_charges_on_one_key_both_count(ledger: AnyLedger) -> None:
    """Naming a key twice in a step charges it twice, and refuses when there is room for one only."""
    assert [b.remaining for b in await ledger.acquire([WIDE, WIDE], NOW)] == [9, 8]
    assert await remaining(ledger, WIDE) == [8]
    assert [b.granted for b in await ledger.acquire([NARROW], NOW)] == [True]
    assert [b.granted for b in await ledger.acquire([NARROW, NARROW], NOW)] == [True, False]
    assert await remaining(ledger, NARROW) == [1]


async def test_peek_charges_nothing(ledger: AnyLedger) -> None:
    """Looking any number of times leaves the limit as it was, and says what acquire would say."""
    await ledger.acquire([NARROW], NOW)
    for _ in range(5):
        assert [(b.granted, b.remaining) for b in await ledger.peek([NARROW, WIDE], NOW)] == [
            (True, 1),
            (True, 10),
        ]
    await ledger.acquire([NARROW], NOW)
    assert [(b.granted, b.remaining) for b in await ledger.peek([NARROW], NOW)] == [(False, 0)]


async def test_a_step_without_limits_is_nothing(ledger: AnyLedger) -> None:
    """No charges, no balances."""
    assert await ledger.acquire([], NOW) == await ledger.peek([], NOW) == []


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedStore]:
    made: EmbeddedStore = (
        MemoryStore() if request.param == "memory" else LmdbStore(tmp_path, 1 << 20)
    )
    yield made
    made.close()


CHARGES = st.builds(
    Charge,
    st.sampled_from([bytes([n]) * 16 for n in range(4)]),
    st.just(Rate(3, 60)),
    st.just("fixed-window"),
    st.integers(1, 2),
    st.booleans(),
)


@settings(max_examples=150)
@given(st.lists(st.lists(CHARGES, max_size=4), max_size=20))
def test_a_step_charges_all_or_none(steps: list[list[Charge]]) -> None:
    """After any step either every binding charge and every shadow charge with room was counted, or nothing was."""
    ledger, used = Ledger(MemoryStore()), dict.fromkeys([bytes([n]) * 16 for n in range(4)], 0)
    for charges in steps:
        balances = ledger.acquire(charges, NOW)
        if all(b.granted for c, b in zip(charges, balances, strict=True) if c.binding):
            for charge, balance in zip(charges, balances, strict=True):
                used[charge.key] += charge.cost * balance.granted
        looks = [Charge(key, Rate(3, 60), "fixed-window") for key in used]
        assert [b.remaining for b in ledger.peek(looks, NOW)] == [3 - n for n in used.values()]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_full_store_never_passes_uncounted(tmp_path: Path, strategy: str) -> None:
    """When the map is full a new client's step raises: it is not granted, and those known stay limited."""
    store = LmdbStore(tmp_path, 1 << 20)
    ledger, known = Ledger(store), Charge(b"k" * 16, Rate(1, 60), strategy)  # type: ignore[arg-type]
    assert ledger.acquire([known], NOW)[0].granted
    refused = 0
    for n in range(30_000):
        try:
            ledger.acquire([known._replace(key=n.to_bytes(16, "big"))], NOW)
        except StateUnavailable:
            refused += 1
            if refused == 50:
                break
    assert refused == 50
    assert not ledger.acquire([known], NOW)[0].granted
    store.close()


def test_trap_limits_memory_storage_walks_all_keys(store: EmbeddedStore) -> None:
    """The trap of limits' own storage: here a hit reads and writes its own keys only, however many there are."""
    for n in range(2_000):
        store.transact([], NOW, lambda _, n=n: ([(limit_key(str(n)), bytes(24), NOW + 9)], None))  # type: ignore[misc]
    few, many = Ledger(MemoryStore()), Ledger(store)
    many.acquire([WIDE], NOW)
    few.acquire([WIDE], NOW)
    # A walk over 2,000 keys takes 70 µs or more, a hit about 3: a wide margin, the best of several tries.
    assert min(cost_of(many) for _ in range(5)) < 10 * min(cost_of(few) for _ in range(5))


def cost_of(ledger: Ledger) -> float:
    begin = time.process_time()
    for _ in range(200):
        ledger.acquire([WIDE], NOW)
    return time.process_time() - begin


def test_trap_several_limits_are_one_transaction() -> None:
    """The trap of limits' `hit`, one limit a call: any number of charges is one step of the store."""
    steps = 0

    class Counting(MemoryStore):
        def transact(self, *arguments: object) -> object:  # type: ignore[override]
            nonlocal steps
            steps += 1
            return super().transact(*arguments)  # type: ignore[arg-type]

    Ledger(Counting()).acquire([WIDE, NARROW, SHADOW], NOW)
    assert steps == 1


TAKING = """
import sys
from pathlib import Path
from authproxy.model.rate import Charge, Rate
from authproxy.rate_limits.ledger import Ledger
from authproxy.state.lmdb import LmdbStore
ledger = Ledger(LmdbStore(Path(sys.argv[1]), 1 << 20))
charge = Charge(b"k" * 16, Rate(1000, 60), sys.argv[2])
print(sum(ledger.acquire([charge], 1_700_000_040.0)[0].granted for _ in range(900)))
"""


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_share_one_limit_exactly(tmp_path: Path, strategy: str) -> None:
    """Two workers asking at once for 1,800 of 1,000 are together granted exactly 1,000."""
    command = [sys.executable, "-W", "error", "-c", TAKING, str(tmp_path), strategy]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(process.communicate(timeout=60)[0]) for process in running) == 1_000


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_nothing_is_counted_there_is_room(tmp_path: Path, strategy: str) -> None:
    """Also for a charge that takes all of its limit at once; what was counted is seen until its window has passed."""
    ledger = Ledger(LmdbStore(tmp_path))
    charge = Charge(b"k" * 16, Rate(3, 60), strategy, cost=3)  # type: ignore[arg-type]  # one of them
    assert ledger.untouched(charge.key, NOW)
    assert ledger.peek([charge], NOW)[0].granted
    ledger.acquire([charge], NOW)
    assert not ledger.untouched(charge.key, NOW + 1)
    assert not ledger.peek([charge], NOW + 1)[0].granted
    assert ledger.untouched(charge.key, NOW + 10_000)
    assert ledger.peek([charge], NOW + 10_000)[0].granted
    ledger._store.close()

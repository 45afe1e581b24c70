"""Slices in hand: spent without asking, void with their window, little beside what was spent, given back where refused."""

from typing import Any

import pytest

from authproxy.model.rate import Balance, Charge, Rate, Strategy
from authproxy.rate_limits.leases import (
    PART_OF_LEFT,
    PART_OF_SPENT,
    REPEATED,
    Leases,
    Told,
    weighed,
)
from bench.fleet_of_leases import Fleet, Simulation

NOW = 1_700_000_040.0
FIXED: Strategy = "fixed-window"
STRATEGIES: list[Strategy] = ["fixed-window", "sliding-window-counter"]
KEY = Charge(b"k" * 16, Rate(1000, 60), FIXED)
OTHER = Charge(b"o" * 16, Rate(3, 60), FIXED)


class Alone:
    """A worker with a ledger of its own, whose clock shows another time."""

    def __init__(self, leases: Leases | None = None, ahead: float = -NOW + 5.0) -> None:
        self.leases, self.ahead = leases or Leases(), ahead
        self.records: dict[bytes, bytes] = {}
        self.asked = 0

    def take(self, now: float, *charges: Charge) -> list[bool]:
        """Charge a step, asking where that is needed."""
        mine = now + self.ahead
        balances = self.leases.spend(charges, mine)
        if balances is None:
            parts = self.leases.ask(charges, mine, slices=True)
            balances = self.leases.answered(parts, self.told(parts, now), mine, mine)
        return [one.granted for one in balances]

    def told(self, parts: list[Any], now: float) -> list[Told]:
        """What the ledger says of what it is asked about."""
        self.asked += 1
        found, puts = [], {}
        for charge, lease, want in parts:
            if lease is None:
                told, record, _ = weighed(self.records.get(charge.key), charge, want, now)
                found.append(told)
                puts[charge.key] = record
        if all(one.balance.granted for one in found):
            self.records.update({key: record for key, record in puts.items() if record})
        return found

    def passed(self, times: int, now: float, charge: Charge = KEY) -> int:
        """Of so many at once, how many pass."""
        return sum(self.take(now, charge)[0] for _ in range(times))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_alone_as_much_passes_as_without(strategy: Strategy) -> None:
    """A worker that is alone spends all that it takes: exactly the limit passes, with a few questions."""
    worker = Alone()
    assert worker.passed(1500, NOW, KEY._replace(strategy=strategy)) == 1000
    assert worker.asked < 60


def test_the_first_of_a_key_are_asked_about() -> None:
    """Who has spent nothing yet has nothing in hand: limits that are small beside the workers are exact."""
    worker = Alone()
    assert worker.passed(PART_OF_SPENT, NOW) == worker.asked == PART_OF_SPENT
    worker.take(NOW, KEY)
    assert worker.leases.in_hand(KEY.key, NOW + worker.ahead) == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_slice_is_void_with_its_window(strategy: Strategy) -> None:
    """What was charged in a window is not spent in the next one, however the worker's clock stands."""
    worker, charge = Alone(), KEY._replace(strategy=strategy, rate=Rate(1000, 10))
    worker.passed(200, NOW, charge)
    assert worker.leases.in_hand(charge.key, NOW + worker.ahead + 9.98) > 0
    assert worker.leases.in_hand(charge.key, NOW + worker.ahead + 9.995) == 0
    asked = worker.asked
    worker.take(NOW + 10.0, charge)
    assert worker.asked == asked + 1


def test_a_slow_answer_is_of_the_time_of_its_question() -> None:
    """The window's end is reckoned from before the question was sent, so it is never taken for later than it is."""
    leases = Leases()
    leases.answered(leases.ask([KEY], 100.0, slices=True), [Told(_granted(10), 5, 1.0, 10.0)], 100.0, 108.0)  # fmt: skip
    assert leases.in_hand(KEY.key, 109.9) == 5
    assert leases.in_hand(KEY.key, 110.0) == 0


def test_a_slice_is_a_part_of_what_was_spent_and_of_what_is_left() -> None:
    """So little stays unspent, and a single worker never takes all that is left."""
    worker = Alone()
    for passed in range(1, 1001):
        assert worker.take(NOW, KEY) == [True]
        held = worker.leases.in_hand(KEY.key, NOW + worker.ahead)
        assert held <= passed / PART_OF_SPENT
        told, _, _ = weighed(worker.records[KEY.key], KEY, 1000, NOW)
        assert told.extra <= (1000 - passed - held) / PART_OF_LEFT


def test_towards_its_end_a_window_has_small_slices() -> None:
    """No more than the worker is likely to spend until then."""
    worker = Alone()
    worker.passed(400, NOW)
    while worker.leases.in_hand(KEY.key, NOW + worker.ahead):
        worker.take(NOW, KEY)
    wants = [worker.leases.ask([KEY], NOW + worker.ahead + at, slices=True)[0].want for at in (0.0, 50.0, 59.0)]  # fmt: skip
    assert wants[0] > 80
    assert wants[1] < 80
    assert wants[2] < 10


def test_the_next_window_begins_with_what_the_last_one_spent() -> None:
    """And one that begins much later with nothing."""
    worker = Alone()
    worker.passed(400, NOW)
    mine = NOW + worker.ahead
    assert worker.leases.ask([KEY], mine + 61.0, slices=True)[0].want == 400 // PART_OF_SPENT
    assert worker.leases.ask([KEY], mine + 121.0, slices=True)[0].want == 0


def test_a_refusal_is_repeated_without_asking() -> None:
    """For a second at most, and never past the moment when there is room again."""
    worker = Alone()
    worker.passed(1000, NOW)
    worker.take(NOW, KEY)
    asked = worker.asked
    assert worker.passed(500, NOW + REPEATED - 0.01) == 0
    assert worker.asked == asked
    assert worker.take(NOW + REPEATED, KEY) == [False]
    assert worker.asked == asked + 1
    assert worker.take(NOW + 59.9, KEY) == [False]
    assert worker.take(NOW + 60.0, KEY) == [True]


def test_a_repeated_refusal_tells_the_time_that_is_left() -> None:
    """Retry-After is of the moment of the answer, and is not cut to the second."""
    worker = Alone()
    worker.passed(1001, NOW)
    balances = worker.leases.spend([KEY], NOW + worker.ahead + 0.5)
    assert balances is not None
    assert (balances[0].granted, balances[0].remaining, balances[0].reset) == (False, 0, 59.5)


def test_of_several_limits_all_are_charged_or_none() -> None:
    """What was in hand is so again where another limit of the step refuses, asked or not."""
    worker = Alone()
    worker.passed(100, NOW)
    mine = NOW + worker.ahead
    held = worker.leases.in_hand(KEY.key, mine)
    assert [worker.take(NOW, KEY, OTHER) for _ in range(3)] == [[True, True]] * 3
    assert worker.leases.in_hand(KEY.key, mine) == held - 3
    for _ in range(5):  # the first asks; the others know
        assert worker.take(NOW, KEY, OTHER) == [True, False]
        assert worker.leases.in_hand(KEY.key, mine) == held - 3


def test_what_cannot_be_asked_gives_back() -> None:
    """No answer: what was in hand is so again."""
    worker = Alone()
    worker.passed(100, NOW)
    mine = NOW + worker.ahead
    held = worker.leases.in_hand(KEY.key, mine)
    parts = worker.leases.ask([KEY, OTHER], mine, slices=True)
    assert worker.leases.in_hand(KEY.key, mine) == held - 1
    worker.leases.failed(parts)
    assert worker.leases.in_hand(KEY.key, mine) == held


def test_a_shadow_limit_has_no_say() -> None:
    """Spent, it refuses nobody, and costs no question either."""
    worker, shadow = Alone(), OTHER._replace(binding=False)
    worker.records[OTHER.key] = _spent(OTHER)
    worker.passed(100, NOW)
    told = [worker.take(NOW, KEY, shadow) for _ in range(10)]
    assert told == [[True, False]] * 10
    assert worker.asked < 40


def test_a_cost_is_taken_whole() -> None:
    """Slices are of whole costs: nothing is left in hand that nobody can spend."""
    worker, charge = Alone(), KEY._replace(cost=7)
    passed = worker.passed(200, NOW, charge)
    assert passed == 1000 // 7
    assert worker.leases.in_hand(charge.key, NOW + worker.ahead) == 0


def test_a_moving_window_is_asked_for_every_request() -> None:
    """It promises the amount in any window, whenever that begins: what is charged early would cease to count early."""
    worker = Alone()
    assert worker.passed(500, NOW, KEY._replace(strategy="moving-window")) == worker.asked == 500


def test_memory_is_bounded() -> None:
    """As many keys as there is room for, whoever makes them up; what goes was in nobody's way."""
    worker = Alone(Leases(most_keys=10))
    for number in range(100):
        worker.passed(20, NOW, KEY._replace(key=number.to_bytes(16)))
    assert len(worker.leases._leases) == 10


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("workers", [1, 4, 50])
def test_a_fleet_keeps_the_bounds(strategy: Strategy, workers: int) -> None:
    """Nobody passes for whom an exact ledger over the same passes had no room; when somebody is refused no more is unspent
    than argued; and nearly all passes that could.
    """
    outcome = Simulation(
        Fleet(workers, 50, 20_000, 1000.0, Rate(100, 3), strategy, round_trip=0.01)
    ).play()
    assert (outcome.excess, outcome.beyond_bound) == (0, 0)
    assert outcome.exact < outcome.requests
    assert abs(outcome.shortfall) < 0.02
    if workers <= 4:
        assert outcome.trips_per_request < 0.6


def test_costs_keep_the_bounds_too() -> None:
    """Of requests that weigh more than one."""
    outcome = Simulation(Fleet(4, 20, 10_000, 1000.0, Rate(500, 3), FIXED, cost=7)).play()
    assert (outcome.excess, outcome.beyond_bound) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("spread", [4, 1000])
def test_a_large_fleet_keeps_the_bounds(strategy: Strategy, spread: int) -> None:
    """1,000 workers, 1,000,000 keys."""
    outcome = Simulation(
        Fleet(1000, 1_000_000, 1_000_000, 50_000.0, Rate(600, 10), strategy, spread)
    ).play()
    assert (outcome.excess, outcome.beyond_bound) == (0, 0)
    assert abs(outcome.shortfall) < 0.02


def _granted(remaining: int) -> Balance:
    return Balance(True, remaining, 1.0)


def _spent(charge: Charge) -> bytes:
    _, record, _ = weighed(None, charge._replace(cost=charge.rate.amount), 0, NOW)
    assert record is not None
    return record

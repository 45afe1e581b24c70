"""The strategies as steps over a record: what they promise beyond deciding as limits does."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authproxy.model.rate import MOVING_WINDOW_MOST, STRATEGIES, Balance, Charge, Rate, Strategy
from authproxy.rate_limits.strategies import STEPS

NOW = 1_700_000_040.0  # a multiple of 60: the start of a window of the sliding-window-counter
BESIDE = 1e-3

each = pytest.mark.parametrize("strategy", STRATEGIES)


class Client:
    """One key under one limit, its record kept as a store would."""

    def __init__(self, strategy: Strategy, amount: int, window: int = 60, cost: int = 1) -> None:
        self.charge = Charge(b"k" * 16, Rate(amount, window), strategy, cost)
        self.record: bytes | None = None
        self.expiry = 0.0

    def hit(self, now: float) -> Balance:
        balance, record, expiry = self.try_at(now)
        assert balance.granted == (record is not None)
        if record is not None:
            assert expiry > now
            self.record, self.expiry = record, expiry
        return balance

    def try_at(self, now: float) -> tuple[Balance, bytes | None, float]:
        record = self.record if self.expiry > now else None
        return STEPS[self.charge.strategy](record, self.charge, now)


@each
def test_the_first_hits_pass_and_the_next_does_not(strategy: Strategy) -> None:
    """Of 3 per minute, three at once pass with 2, 1 and 0 remaining, and the fourth is refused with 0."""
    client = Client(strategy, 3)
    assert [client.hit(NOW + 30).remaining for _ in range(3)] == [2, 1, 0]
    refused = client.hit(NOW + 30)
    assert (refused.granted, refused.remaining) == (False, 0)


@each
def test_a_refused_charge_changes_nothing(strategy: Strategy) -> None:
    """Hammering a used-up limit neither prolongs it nor counts."""
    client = Client(strategy, 2, cost=2)
    client.hit(NOW)
    record, wait = client.record, client.hit(NOW).reset
    for second in range(50):
        client.hit(NOW + second / 2)
    assert client.record == record
    assert client.hit(NOW + wait + BESIDE).granted


@each
def test_a_cost_beyond_the_amount_never_passes(strategy: Strategy) -> None:
    """A cost greater than the amount is refused on an untouched limit too, with the window as its wait."""
    client = Client(strategy, 3, cost=4)
    assert client.hit(NOW) == Balance(False, 3, 60.0)


@each
def test_the_record_of_the_largest_counts_fits(strategy: Strategy) -> None:
    """The greatest amount of the grammar counts like any other; a moving window's is bounded by its record."""
    amount = MOVING_WINDOW_MOST if strategy == "moving-window" else 999_999_999
    client = Client(strategy, amount, cost=amount)
    assert client.hit(NOW + 1).granted
    refused = client.hit(NOW + 1)
    assert (refused.granted, refused.remaining) == (False, 0)


RUNS = st.lists(st.integers(0, 900), min_size=1, max_size=40)


@each
@settings(max_examples=150, deadline=None)
@given(amount=st.integers(1, 8), cost=st.integers(1, 3), tenths=RUNS)
def test_reset_is_when_a_refused_cost_has_room(
    strategy: Strategy, amount: int, cost: int, tenths: list[int]
) -> None:
    """A refused cost that can ever pass does so right after `reset`, not before, and within the window if it is 1."""
    client, now = Client(strategy, amount, cost=cost), NOW
    for tenth in tenths:
        now += tenth / 10 if tenth > 300 else tenth / 100
        balance = client.hit(now)
        assert balance.remaining >= 0
        assert balance.reset >= 0
        if balance.granted or cost > amount:
            continue
        assert balance.reset <= 60 * (1 if cost == 1 or strategy != STRATEGIES[0] else 2)
        assert client.try_at(now + balance.reset + BESIDE)[0].granted
        if balance.reset > BESIDE:
            assert not client.try_at(now + balance.reset - BESIDE)[0].granted


@each
@settings(max_examples=100, deadline=None)
@given(amount=st.integers(1, 8), tenths=RUNS)
def test_reset_of_a_granted_hit_is_when_more_becomes_free(
    strategy: Strategy, amount: int, tenths: list[int]
) -> None:
    """If nothing else is charged, `remaining` is greater right after `reset`, and no greater before."""
    client, now = Client(strategy, amount), NOW
    for tenth in tenths:
        now += tenth / 10 if tenth > 300 else tenth / 100
        balance = client.hit(now)
        if not balance.granted:
            continue
        assert balance.reset <= 60
        after = client.try_at(now + balance.reset + BESIDE)[0]
        assert after.granted
        assert after.remaining + 1 > balance.remaining
        if balance.reset > BESIDE:
            before = client.try_at(now + balance.reset - BESIDE)[0]
            assert before.remaining + before.granted <= balance.remaining


@each
def test_never_more_than_the_amount_in_a_window_of_their_own(strategy: Strategy) -> None:
    """Under constant pressure: a moving window never has more than the amount in any window, the others not twice it."""
    client = Client(strategy, 5, 10)
    granted = [NOW + n / 16 for n in range(1_600) if client.hit(NOW + n / 16).granted]
    most = max(sum(1 for other in granted if at <= other <= at + 10) for at in granted)
    assert most <= {"moving-window": 5, "sliding-window-counter": 7, "fixed-window": 10}[strategy]
    assert len(granted) >= 5 * 9


@each
@pytest.mark.parametrize("back", [1, 59, 61, 100, 3_600, 86_400])
def test_a_clock_that_steps_back_does_not_freeze_a_limit(strategy: Strategy, back: int) -> None:
    """However far the clock steps back, a used-up limit under constant trying grants again within three windows."""
    client = Client(strategy, 3)
    for _ in range(3):
        client.hit(NOW + 30)
    then = NOW + 30 - back
    assert any(client.hit(then + second).granted for second in range(181))


@each
def test_a_clock_that_steps_back_a_little_frees_nothing(strategy: Strategy) -> None:
    """A step back within the window leaves a used-up limit used up."""
    client = Client(strategy, 3)
    for _ in range(3):
        client.hit(NOW + 30)
    refused = client.hit(NOW + 28)
    assert not refused.granted
    assert refused.remaining == 0
    assert 0 <= refused.reset <= 60


@each
def test_a_worker_whose_clock_lags_does_not_lose_counts(strategy: Strategy) -> None:
    """Around an edge two workers with clocks a little apart together grant no more than one would."""
    client = Client(strategy, 5)
    for n in range(5):
        client.hit(NOW + 59.9 + n / 100)
    ahead, behind = NOW + 60.001, NOW + 59.999
    granted = [client.hit(at).granted for at in (ahead, behind, ahead, behind, ahead, behind)]
    assert sum(granted) <= 1


def test_a_moving_window_keeps_no_more_stamps_than_the_amount() -> None:
    """The record is bounded by the amount, whatever the number of hits, and what left the window is forgotten."""
    client, sizes = Client("moving-window", 100, 10), []
    for n in range(1_000):
        client.hit(NOW + n / 50)
        sizes.append(len(client.record or b""))
    assert max(sizes) == 100 * 8
    client.hit(NOW + 100)
    assert len(client.record or b"") == 8


def test_a_stamp_one_window_old_still_counts() -> None:
    """As in limits: exactly one window later the unit is still taken, just after it is free."""
    client = Client("moving-window", 1)
    client.hit(NOW)
    assert not client.hit(NOW + 60).granted
    assert client.hit(NOW + 60 + BESIDE).granted


def test_a_sliding_window_forgets_gradually() -> None:
    """The weight of the window before falls unit by unit: 4 of 4 used, then one more each quarter of the next window."""
    client = Client("sliding-window-counter", 4)
    for _ in range(4):
        client.hit(NOW + 59)
    granted = [at for at in range(61, 120) if client.hit(NOW + at).granted]
    assert granted == [61, 76, 91, 106]
    assert all(later - earlier == 15 for earlier, later in pairwise(granted))

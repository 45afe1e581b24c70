"""Turns are fair, and a guess about health never makes a service unreachable."""

from hypothesis import given
from hypothesis import strategies as st

from authproxy.upstream.balance import REST, RoundRobin


def test_every_server_has_its_turn() -> None:
    """Exchanges are spread evenly over the servers."""
    turns = RoundRobin(3)
    seen = []
    for _ in range(6):
        server = turns.next(0.0)
        turns.given(server)
        seen.append(server)
    assert seen == [0, 1, 2, 0, 1, 2]


def test_a_turn_that_was_not_used_stays() -> None:
    """Asking whose turn it is does not end the turn."""
    turns = RoundRobin(2)
    assert [turns.next(0.0), turns.next(0.0), turns.order(0.0)[0]] == [0, 0, 0]


def test_a_failed_server_is_tried_last() -> None:
    """A server that could not be reached is the last resort for a few seconds, then takes its turns again."""
    turns = RoundRobin(3)
    turns.failed(0, now=10.0)
    assert turns.order(10.0) == [1, 2, 0]
    assert turns.order(10.0 + REST - 0.1) == [1, 2, 0]
    assert turns.order(10.0 + REST) == [0, 1, 2]


def test_a_server_that_answers_again_is_forgiven() -> None:
    """One connection that opens ends a server's rest."""
    turns = RoundRobin(2)
    turns.failed(0, now=10.0)
    turns.reached(0)
    assert turns.order(10.0) == [0, 1]


@given(count=st.integers(1, 6), failed=st.sets(st.integers(0, 5)), now=st.floats(0, 100))
def test_no_server_is_ever_left_out(count: int, failed: set[int], now: float) -> None:
    """However many failed, all are tried."""
    turns = RoundRobin(count)
    for server in failed:
        turns.failed(server % count, now)
    assert sorted(turns.order(now)) == list(range(count))

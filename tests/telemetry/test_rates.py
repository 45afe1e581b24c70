"""Rates: requests a second of the last minute, from what all workers count, in a ring that does not grow."""

import pytest

from authproxy.telemetry.metrics import Metrics, Pages
from authproxy.telemetry.rates import STEPS, Rate, Rates


def counted(metrics: Metrics, route: str, requests: int, status: str = "200") -> None:
    """So many requests have ended."""
    metrics.add("authproxy_requests_total", requests, route=route, status=status)


def test_all_workers_and_statuses_count() -> None:
    """A route's rate is of all its statuses in all workers; the total is of all routes, those of no route too."""
    pages = Pages(2)
    rates, one, two = Rates(pages), Metrics(pages, 0), Metrics(pages, 1)
    rates.sample(10)
    counted(one, "a", 4)
    counted(two, "a", 6, "403")
    counted(two, "", 2, "404")
    rates.sample(12)
    minute = rates.minute()
    assert minute.route("a") == Rate(5.0, (5.0,))
    assert minute.route("") == Rate(1.0, (1.0,))
    assert minute.total() == Rate(6.0, (6.0,))


def test_a_second_goes_by_between_samples() -> None:
    """However often it is asked to, it samples once a second; after a pause it goes on from there."""
    rates = Rates(Pages(1))
    for tick in (0.1, 0.3, 0.9, 1.11, 1.2, 7.0, 7.5, 8.01):
        rates.sample(tick)
    assert [when for when, _ in rates.minute().samples] == [0.1, 1.11, 7.0, 8.01]


def test_the_last_minute_and_no_more() -> None:
    """What is older than a minute is forgotten, so the memory is bounded and an old burst does not count."""
    pages = Pages(1)
    rates, metrics = Rates(pages), Metrics(pages, 0)
    counted(metrics, "a", 1000)
    for second in range(10, 200):
        counted(metrics, "a", 3 if second < 199 else 9)
        rates.sample(second)
    rate = rates.minute().route("a")
    assert len(rate.intervals) == STEPS
    assert rate.intervals[-2:] == (3.0, 9.0)
    assert rate.per_second == pytest.approx(3.1)


def test_a_route_that_begins_later() -> None:
    """A route that is first asked for within the minute had no requests before."""
    pages = Pages(1)
    rates, metrics = Rates(pages), Metrics(pages, 0)
    rates.sample(10)
    counted(metrics, "a", 1)
    rates.sample(11)
    counted(metrics, "b", 8)
    rates.sample(12)
    assert rates.minute().route("b") == Rate(4.0, (0.0, 8.0))


def test_what_was_taken_stays() -> None:
    """A minute that was taken does not change with the next sample: another thread may work with it."""
    pages = Pages(1)
    rates, metrics = Rates(pages), Metrics(pages, 0)
    rates.sample(10)
    before = rates.minute()
    counted(metrics, "a", 5)
    rates.sample(11)
    assert before.total() == Rate()
    assert before.route("a") == Rate()


def test_silence() -> None:
    """Without requests there is no rate and no plot; before the second sample neither."""
    pages = Pages(1)
    rates, metrics = Rates(pages), Metrics(pages, 0)
    assert rates.minute().total() == Rate()
    counted(metrics, "a", 5)
    rates.sample(10)
    assert rates.minute().route("a") == Rate()
    rates.sample(11)
    assert rates.minute().route("a") == Rate()

"""Counting: one scrape is all workers', counters never go back, labels are few, and an addition costs next to nothing."""

import math
import os
import time

import pytest

from authproxy.telemetry import metrics as module
from authproxy.telemetry.metrics import Metrics, Pages
from tests.telemetry.counted import Ended, Route, outcome, scraped

REQUESTS = "authproxy_requests_total"


def test_a_scrape_is_the_sum_of_all_workers() -> None:
    """Whoever is asked, what all have counted is told; a family is there before it is first counted."""
    pages = Pages(3)
    for number in range(3):
        worker = Metrics(pages, number)
        for _ in range(number + 1):
            worker.count(Ended(route=Route("a"), upstream_seconds=0.02), 0.03)
        worker.count(Ended(429, "rate_limited", route=Route("a")), 0.0001)
        worker.count(Ended(shadow="forbidden"), 0.2)
        worker.set_connections({"one": 2, "two": number})
    found = scraped(pages)
    assert found[REQUESTS, (("route", "a"), ("status", "200"))] == 6
    assert found["authproxy_refusals_total", (("code", "rate_limited"), ("route", "a"))] == 3
    assert found["authproxy_shadow_refusals_total", (("code", "forbidden"), ("route", ""))] == 3
    assert found["authproxy_connections", (("listener", "one"),)] == 6
    assert found["authproxy_upstream_seconds_count", (("upstream", "app"),)] == 6
    assert found["authproxy_upstream_seconds_sum", (("upstream", "app"),)] == pytest.approx(0.12)
    assert pages.connections() == 9


def test_who_takes_a_place_over_goes_on_counting() -> None:
    """A worker that was replaced took none of its counts along; what it held open is gone."""
    pages = Pages(2)
    pid = os.fork()
    if pid == 0:
        worker = Metrics(pages, 0)
        for _ in range(5):
            worker.count(Ended(route=Route("a")), 0.1)
        worker.set_connections({"one": 7})
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    before = scraped(pages)
    assert before["authproxy_connections", (("listener", "one"),)] == 7
    pages.bury(0)
    assert scraped(pages)["authproxy_connections", (("listener", "one"),)] == 0
    assert pages.connections() == 0
    again = Metrics(pages, 0)
    again.count(Ended(route=Route("a")), 0.1)
    again.count(Ended(route=Route("b")), 0.1)
    after = scraped(pages)
    assert after[REQUESTS, (("route", "a"), ("status", "200"))] == 6
    assert after["authproxy_request_seconds_count", (("route", "a"),)] == 6
    assert all(after[series] >= value for series, value in before.items() if "_total" in series[0])


def test_one_reload_that_failed_shows() -> None:
    """The metric is 1 where all processes have taken the last reload over, and 0 where one has not."""
    pages, name = Pages(3), "authproxy_config_reload_success"
    workers = [Metrics(pages, number) for number in range(3)]
    for worker in workers:
        worker.set(name, 1.0)
    assert scraped(pages)[name, ()] == 1
    workers[1].set(name, 0.0)
    assert scraped(pages)[name, ()] == 0
    pages.bury(1)
    workers[1].set(name, 1.0)
    assert scraped(pages)[name, ()] == 1


def test_what_finds_no_cell_is_lost_and_spoils_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound on series nothing fails, and those that are there go on."""
    monkeypatch.setattr(module, "CONNECTIONS", 40)
    pages = Pages(1)
    worker = Metrics(pages, 0)
    for number in range(50):
        worker.count(Ended(route=Route(f"route-{number}")), 0.1)
        worker.count(Ended(500 + number, "internal_error", route=Route("route-0")), 0.1)
    found = scraped(pages)
    assert found[REQUESTS, (("route", "route-0"), ("status", "200"))] == 1
    assert found["authproxy_request_seconds_count", (("route", "route-0"),)] == 51
    assert sum(map(len, outcome(pages.totals()).values())) <= 40


def test_thousands_of_routes_find_room() -> None:
    """10,000 routes with two statuses each are all counted."""
    pages = Pages(1)
    worker = Metrics(pages, 0)
    for number in range(10_000):
        for status in (200, 401):
            worker.count(Ended(status, route=Route(f"a-route-with-a-long-name-{number}")), 0.1)
    total = outcome(pages.totals())
    assert sum(total[REQUESTS].values()) == 20_000
    assert sum(total["authproxy_request_seconds_bucket"].values()) == 20_000


def test_others_learn_how_many_connections_there_are() -> None:
    """Asked for what the others hold, a worker tells what it holds itself: a bound over all is exact at every look."""
    pages = Pages(2)
    one, other = Metrics(pages, 0), Metrics(pages, 1)
    assert one.connections_elsewhere(3) == 0
    assert other.connections_elsewhere(2) == 3
    assert one.connections_elsewhere(4) == 2


def test_what_engines_count_is_brought_over_once() -> None:
    """Only what is news is added; an engine that a reload replaced has been counted, and the next begins from 0."""
    pages, name = Pages(1), "authproxy_log_lines_lost_total"
    worker, first, second = Metrics(pages, 0), object(), object()
    for engine, lost, total in ((first, 0, 0), (first, 3, 3), (first, 3, 3), (second, 2, 5), (second, 4, 7)):  # fmt: skip
        worker.bring(name, engine, lost)
        assert scraped(pages)[name, ()] == total


def test_a_total_may_be_taken_while_series_are_added() -> None:
    """Between two steps of a scrape workers go on counting, under new names too; what was there is told."""
    pages = Pages(1)
    worker = Metrics(pages, 0)
    for number in range(200):
        worker.count(Ended(route=Route(f"route-{number}")), 0.1)
    work = pages.totals()
    for number in range(5):
        next(work)
        worker.count(Ended(route=Route(f"later-{number}")), 0.1)
    total = outcome(work)
    assert sum(total[REQUESTS].values()) == 200


def test_counting_costs_next_to_nothing() -> None:
    """A count with two histograms costs no more than a few dictionary look-ups: 2 µs where one call of a function is 0.05."""
    worker, ended = Metrics(Pages(1), 0), Ended(route=Route("a"), upstream_seconds=0.01)
    table = {("a", number): [number] for number in range(100)}

    def reference() -> None:
        for number in (1, 7, 42, 99):
            table["a", number][0] += 1

    def cost(times: int = 5000) -> float:
        began = time.perf_counter()
        for _ in range(times):
            worker.count(ended, 0.02)
        middle = time.perf_counter()
        for _ in range(times):
            reference()
        return (middle - began) / (time.perf_counter() - middle)

    cost()
    assert min(cost() for _ in range(5)) < 4


def test_the_oldest_keys_show() -> None:
    """Of an age the greatest of all workers is shown; a worker that has none, or that ended, has no say."""
    pages, name = Pages(3), "authproxy_key_set_age_seconds"
    workers = [Metrics(pages, number) for number in range(3)]
    for worker, age in zip(workers, (5.0, 90.0, math.nan), strict=True):
        worker.set(name, age, authenticator="sso")
    assert scraped(pages)[name, (("authenticator", "sso"),)] == 90
    pages.bury(1)
    assert scraped(pages)[name, (("authenticator", "sso"),)] == 5
    workers[0].set(name, math.nan, authenticator="sso")
    assert (name, (("authenticator", "sso"),)) not in scraped(pages)

"""What is scraped: Prometheus reads all of it, whatever labels hold, and making it never takes long at a stretch."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.telemetry.exposition import HELP, exposition
from authproxy.telemetry.metrics import BUCKETS, Metrics, Pages
from tests.telemetry.counted import Ended, Route, outcome, scraped

REQUESTS = "authproxy_requests_total"


def test_histograms_are_what_prometheus_reads() -> None:
    """Buckets are cumulated, end with +Inf, and that is the count; a value on a bound is in its bucket."""
    pages = Pages(1)
    worker = Metrics(pages, 0)
    for seconds in (*BUCKETS, 100.0):
        worker.count(Ended(route=Route("a")), seconds)
    found = scraped(pages)
    label = ("route", "a")
    rising = [
        found["authproxy_request_seconds_bucket", tuple(sorted((label, ("le", str(bound)))))]
        for bound in (*BUCKETS, "+Inf")
    ]
    assert rising == list(range(1, len(BUCKETS) + 2))
    assert found["authproxy_request_seconds_count", (label,)] == rising[-1]
    assert found["authproxy_request_seconds_sum", (label,)] == pytest.approx(sum(BUCKETS) + 100)


@given(st.lists(st.text(max_size=8), max_size=5, unique=True))
def test_any_name_can_be_a_label(names: list[str]) -> None:
    """Quotes, backslashes, line breaks, braces: what was counted is read back."""
    pages = Pages(1)
    worker = Metrics(pages, 0)
    for name in names:
        worker.count(Ended(route=Route(name)), 0.1)
    found = scraped(pages)
    for name in names:
        assert found[REQUESTS, (("route", name), ("status", "200"))] == 1


def test_every_metric_is_there_before_it_is_counted() -> None:
    """The name, type and meaning of each are told from the first scrape on, and the reference explains each."""
    text = outcome(exposition(Pages(1)))
    for name, (kind, meaning) in HELP.items():
        assert f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n" in text
    reference = Path(__file__).parents[2].joinpath("docs", "operations.md").read_text()
    explained = set(re.findall(r"^\| `(authproxy_\w+)", reference, re.MULTILINE))
    assert explained == set(HELP)


def test_no_step_takes_long() -> None:
    """With 10,000 active routes a scrape is a few hundred steps, none of which keeps requests waiting for long: CPU time of each."""
    pages = Pages(1)
    worker = Metrics(pages, 0)
    for number in range(10_000):
        worker.count(Ended(route=Route(f"a-route-with-a-long-name-{number}")), 0.1)
    outcome(exposition(pages))  # names are read from the memory once
    work, steps, text = exposition(pages), [], ""
    while True:
        began = time.thread_time()
        try:
            next(work)
        except StopIteration as done:
            text = done.value
            break
        steps.append(time.thread_time() - began)
    assert text.count(f"\n{REQUESTS}{{") == 10_000
    assert len(steps) > 500
    assert sorted(steps)[len(steps) * 99 // 100] < 0.005

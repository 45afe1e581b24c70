"""Spans of several workers, with a real collector: every worker sends, a drain flushes, one that is away is said once."""

import time
from pathlib import Path

import pytest

from tests.end_to_end.fleet import fleet
from tests.end_to_end.load import Tally, hammer
from tests.end_to_end.served import free_port, wait_until
from tests.telemetry.collector import CLIENT, SERVER, collector


def test_every_worker_sends_its_spans(tmp_path: Path) -> None:
    """All requests of all workers arrive, the last ones with the drain; the metric says how many."""
    with collector() as sent:
        with fleet(tmp_path, workers=3, tracing={"otlp": sent.url}) as f:
            assert f.everywhere("/", times=40) == {200}
            assert wait_until(lambda: f.metric("authproxy_spans_total", result="sent") == 40, 5)
            assert len(sent.resources("process.pid")) > 1
            assert sent.resources("process.pid") <= set(f.workers())
            assert f.ask() == 200
        assert len(sent.spans(SERVER)) == len(sent.spans(CLIENT)) == 41
        assert len({span.trace_id for span in sent.spans(SERVER)}) == 41


def test_a_collector_that_is_away_is_said_once(tmp_path: Path) -> None:
    """Each worker says it in one line; requests are served, the lost are counted, and a drain is not held up."""
    tracing = {"otlp": f"http://127.0.0.1:{free_port()}"}
    with fleet(tmp_path, workers=2, tracing=tracing) as f:
        assert f.everywhere("/", times=40) == {200}
        assert wait_until(lambda: f.metric("authproxy_spans_total", result="lost") == 40, 8)
        assert 1 <= f.served.errors().count("spans are lost") <= 2
        began = time.monotonic()
        assert f.served.stop() == 0
        assert time.monotonic() - began < 4


@pytest.mark.slow
def test_thousands_of_spans_arrive_under_load(tmp_path: Path) -> None:
    """With all requests sampled and more than the queue holds in a moment, spans arrive or are counted, none twice."""
    with collector() as sent:
        with fleet(tmp_path, workers=2, tracing={"otlp": sent.url}) as f:
            tally = Tally()
            f.background.do(hammer(f.background, f.port, tally, 16, each=500))
            assert (tally.served, tally.failed) == (8000, [])
            wait_until(lambda: f.metric("authproxy_spans_total") == 8000, 10)
            lost = int(f.metric("authproxy_spans_total", result="lost"))
        assert len({s.span_id for s in sent.spans(SERVER)}) == 8000 - lost
        assert lost == 0

"""Sending: in batches, off the path of requests, within bounds; a collector that is away is said once and costs nothing."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from authproxy.telemetry import otlp
from authproxy.telemetry.otlp import BATCH, QUEUE_MOST, Collector, Ended, Exporter
from authproxy.telemetry.spans import encoded
from tests.telemetry.collector import SERVER, collector
from tests.telemetry.test_spans import USUAL

NOBODY = "http://127.0.0.1:1"


def encode(batch: Sequence[Ended]) -> bytes:
    """As it is done in earnest."""
    return encoded(batch, "edge")


def exporter(url: str, **secrets: str) -> Exporter:
    """One that has not begun."""
    return Exporter(Collector(url, secrets), encode)


def seen(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    """Does it come true?"""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(condition())


@pytest.fixture
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits seconds waits milliseconds."""
    monkeypatch.setattr(otlp, "DELAY", 0.01)
    monkeypatch.setattr(otlp, "AGAIN", (0.02, 0.05))


@pytest.mark.usefixtures("haste")
def test_spans_arrive_in_batches() -> None:
    """All are sent, some hundred in a message, on one connection, to the path and with the fields that are due."""
    with collector() as sent:
        sending = exporter(sent.url + "/tenant", **{"X-Key": "k"})
        for number in range(3 * BATCH):
            sending.put(USUAL._replace(path=f"/{number}"))
        sending.start()
        assert seen(lambda: sending.sent == 3 * BATCH)
        sending.close()
        assert len(sent.spans(SERVER)) == 3 * BATCH
        assert len(sent.messages) == 3
        assert len(sent.connections) == 1
        path, head = sent.heads[0]
        assert path == "/tenant/v1/traces"
        assert (head["content-type"], head["x-key"]) == ("application/x-protobuf", "k")
        assert sending.lost == 0


def test_the_end_sends_what_waits() -> None:
    """Closing is a flush; what comes later is counted as lost."""
    with collector() as sent:
        sending = exporter(sent.url)
        sending.start()
        sending.put(USUAL)
        sending.close()
        assert len(sent.spans(SERVER)) == 1
        sending.put(USUAL)
        assert (sending.sent, sending.lost) == (1, 1)


def test_the_queue_has_a_bound() -> None:
    """Where nothing is sent, records past the bound are counted and dropped, and putting one still costs nothing."""
    sending = exporter(NOBODY)
    for _ in range(QUEUE_MOST + 10):
        sending.put(USUAL)
    assert (len(sending._queue), sending.lost) == (QUEUE_MOST, 10)
    began = time.perf_counter()
    for _ in range(1000):
        sending.put(USUAL)
    assert time.perf_counter() - began < 0.05


@pytest.mark.usefixtures("haste")
def test_a_collector_that_is_away_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often it fails; when it is back that is said as well, and spans arrive again."""
    with collector() as sent:
        port = sent.port
    sending = exporter(f"http://127.0.0.1:{port}")
    sending.start()
    with caplog.at_level(logging.INFO, "authproxy.telemetry.otlp"):
        for _ in range(5):
            lost = sending.lost
            sending.put(USUAL)
            assert seen(lambda before=lost: sending.lost > before)  # type: ignore[misc]
        assert [r.message for r in caplog.records] == [
            f"spans are lost: the collector at http://127.0.0.1:{port} does not take them: connection refused"
        ]
        with collector(port) as back:
            sending.put(USUAL)
            assert seen(lambda: back.spans(SERVER))
            sending.close()
        assert len(caplog.records) == 2
        assert caplog.records[1].message.endswith("takes them again")


@pytest.mark.usefixtures("haste")
def test_a_collector_that_refuses_is_away_too(caplog: pytest.LogCaptureFixture) -> None:
    """Its status is told, nothing else of its answer."""
    with collector() as sent:
        sent.status = 503
        sending = exporter(sent.url)
        sending.put(USUAL)
        sending.start()
        assert seen(lambda: sending.lost == 1)
        sending.close()
    assert "it answered 503" in caplog.text
    assert len(sent.heads) == 1


@pytest.mark.usefixtures("haste")
def test_a_connection_that_was_closed_meanwhile_is_no_loss(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Collectors close what is idle: the next batch goes over a new connection, and nothing is said."""
    with collector() as sent:
        sent.hangs_up = True
        sending = exporter(sent.url)
        sending.start()
        for number in range(1, 4):
            sending.put(USUAL)
            assert seen(lambda due=number: sending.sent == due)  # type: ignore[misc]
        sending.close()
        assert len(sent.connections) == 3
    assert (sending.lost, caplog.records) == (0, [])


@pytest.mark.usefixtures("haste")
def test_a_batch_that_cannot_be_encoded_ends_no_process(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours is in the log once; from then on spans are lost and counted, requests go on."""

    def broken(_batch: Sequence[Ended]) -> bytes:
        raise ValueError("broken")

    sending = Exporter(Collector(NOBODY, {}), broken)
    sending.put(USUAL)
    sending.start()
    assert seen(lambda: "spans are no longer sent" in caplog.text)
    assert seen(lambda: not sending._thread or not sending._thread.is_alive())
    sending.put(USUAL)
    assert sending.lost == 1
    sending.close()

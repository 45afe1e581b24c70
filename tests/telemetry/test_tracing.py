"""Tracing: which requests are sampled, what backends are told of it, and that it is off unless it is asked for."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from authproxy.model.errors import ConfigError
from authproxy.model.exchange import Exchange
from authproxy.telemetry.otlp import Ended
from authproxy.telemetry.tracing import Tracer, compile_traces
from tests.playbook import GUARDED, OPEN, Proxy, configuration, playbook, token, write_files
from tests.telemetry.collector import CLIENT, SERVER, Sent, collector, said
from tests.wire import until

TRUSTED = {"networks": ["127.0.0.0/8"]}
TRACE, THEIRS = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"


class Kept:
    """Keeps what is put into it."""

    def __init__(self) -> None:
        self.records: list[Ended] = []

    def put(self, ended: Ended) -> None:
        """One more."""
        self.records.append(ended)


def exchange(trace_id: str = TRACE) -> Exchange:
    """A request with a trace of its own."""
    made = Exchange("id", 0.0, 0.0)
    made.traceparent = f"00-{trace_id}-b7ad6b7169203331-01"
    return made


@pytest.mark.parametrize(
    ("sample", "low", "high"), [(1.0, True, True), (0.5, True, False), (0.0, False, False)]
)
def test_the_share_is_chosen_by_the_trace(sample: float, low: bool, high: bool) -> None:
    """All who ask for the same share choose the same traces: those whose last 64 bits are low enough; 1 is all, 0 none."""
    for bits, chosen in (("0" * 16, low), ("7" + "f" * 15, low), ("8" + "0" * 15, high), ("f" * 16, high)):  # fmt: skip
        kept, x = Kept(), exchange("1" * 16 + bits)
        tracer = Tracer(sample, kept)
        tracer.begin(x)
        assert x.traceparent.endswith("-01" if chosen else "-00")
        tracer.end(x, 0.1)
        assert len(kept.records) == chosen


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("03", True), ("00", False), ("02", False)])  # fmt: skip
def test_a_trusted_proxys_choice_goes_before_ours(flags: str, sampled: bool) -> None:
    """Its sampled trace goes on with our span between; one that it does not sample is passed on as it came."""
    for share in (0.0, 1.0):
        kept, x = Kept(), exchange("f" * 32)
        tracer, told = Tracer(share, kept), f"00-{TRACE}-{THEIRS}-{flags}"
        tracer.begin(x)
        tracer.adopt(x, told)
        tracer.end(x, 0.1)
        ours = f"00-{TRACE}-b7ad6b7169203331-{flags}"
        assert x.traceparent == (ours if sampled else told)
        assert [record.parent for record in kept.records] == [THEIRS] * sampled


async def flushed(p: Proxy) -> None:
    """The proxy ends, and with it what waits has left."""
    p.worker.stop()
    await p.serving


def tracing(sent: Sent, **more: Any) -> dict[str, Any]:
    """The section."""
    return {"otlp": sent.url, **more}


async def test_the_backend_is_told_of_our_span() -> None:
    """The trace that arrives at the backend is the one that the collector gets, its parent our client span."""
    with collector() as sent:
        async with playbook(GUARDED, OPEN, tracing=tracing(sent, service_name="edge")) as p:
            answer = await p.request("GET", "/guarded/1?q=hidden", token=token(subject="alice"))
            (_, trace_id, parent, flags) = (answer.seen[0].field("traceparent") or "").split("-")
            refused = await p.request("GET", "/guarded/2")
            assert refused.status == 401
            await flushed(p)
        assert flags == "01"
        (client,) = sent.spans(CLIENT)
        assert (client.trace_id.hex(), client.span_id.hex()) == (trace_id, parent)
        assert [s.name for s in sent.spans(SERVER)] == ["GET guarded"] * 2
        assert sent.resources("service.name") == {"edge"}
        codes = [said(s.attributes).get("authproxy.code") for s in sent.spans(SERVER)]
        assert codes == [None, "unauthenticated"]
        server, child = sent.spans(SERVER)[0], client
        assert server.start_time_unix_nano <= child.start_time_unix_nano
        assert child.end_time_unix_nano <= server.end_time_unix_nano


async def test_nothing_of_the_caller_is_in_a_span() -> None:
    """No subject, group, token, query, header or client address: whatever a request holds, the collector has none of it."""
    with collector() as sent:
        async with playbook(GUARDED, tracing=tracing(sent)) as p:
            credential = token(subject="alice-of-test", groups=["secret-group"], claims={"email": "a@mail.test"})  # fmt: skip
            headers = {"X-Thing": "thing-value", "Cookie": "c=cookie-value", "User-Agent": "agent-x"}  # fmt: skip
            await p.request("GET", "/guarded/1?q=query-value", headers, token=credential)
            await p.request("POST", "/guarded/2", headers, b"body-value", token=credential[:-2] + "xx")  # fmt: skip
            await flushed(p)
        everything = b"".join(message.SerializeToString() for message in sent.messages)
        assert len(sent.spans(SERVER)) == 2
        for word in ("alice", "secret-group", "mail.test", "thing-value", "cookie-value", "agent-x", "query-value",
                     "body-value", credential[:20]):  # fmt: skip
            assert word.encode() not in everything
        names = {name for span in sent.spans() for name in said(span.attributes)}
        assert not {name for name in names if re.match(r"client\.|user\.|enduser|url\.(full|query)|http\.request\.header", name)}  # fmt: skip


async def test_a_trusted_proxys_trace_goes_on() -> None:
    """Its span is our parent, ours the backend's; where it does not sample, all passes as it came and nothing is sent."""
    with collector() as sent:
        async with playbook(OPEN, tracing=tracing(sent), trusted_proxies=TRUSTED) as p:
            told = {"traceparent": f"00-{TRACE}-{THEIRS}-01", "tracestate": "vendor=1"}
            seen = (await p.request("GET", "/a", told)).seen[0]
            assert re.fullmatch(rf"00-{TRACE}-(?!{THEIRS})[0-9a-f]{{16}}-01", seen.field("traceparent") or "")  # fmt: skip
            assert seen.field("tracestate") == "vendor=1"
            unsampled = {"traceparent": f"00-{TRACE}-{THEIRS}-00"}
            seen = (await p.request("GET", "/b", unsampled)).seen[0]
            assert seen.field("traceparent") == unsampled["traceparent"]
            await flushed(p)
        (span,) = sent.spans(SERVER)
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, THEIRS)


async def test_a_stranger_cannot_choose() -> None:
    """A client's own traceparent is neither sampled by its word nor told to the backend."""
    with collector() as sent:
        async with playbook(OPEN, tracing=tracing(sent, sample=0)) as p:
            told = {"traceparent": f"00-{TRACE}-{THEIRS}-01"}
            seen = (await p.request("GET", "/", told)).seen[0]
            assert TRACE not in (seen.field("traceparent") or "")
            assert (seen.field("traceparent") or "").endswith("-00")
            await flushed(p)
        assert sent.messages == []


async def test_without_a_collector_requests_go_on() -> None:
    """Nobody listens: every request is served, what is lost is counted, and the end is not held up."""
    async with playbook(OPEN, tracing={"otlp": "http://127.0.0.1:1"}) as p:
        for _ in range(5):
            assert (await p.request("GET", "/")).status == 200
        assert p.runtime.traces is not None
        exporter = p.runtime.traces.exporter
        await until(lambda: exporter.lost == 5)


async def test_a_reload_turns_it_on_and_off() -> None:
    """Spans begin and end with the configuration; an equal section is taken over with its queue and its connection."""
    with collector() as sent:
        async with playbook(OPEN) as p:
            config = json.loads(p.loaded.file.read_text())
            for section, spans in ((tracing(sent), 1), (tracing(sent), 1), (None, 0)):
                before = p.worker._runtime
                p.loaded.file.write_text(json.dumps(config | ({"tracing": section} if section else {})))  # fmt: skip
                p.worker.reload()
                await until(lambda old=before: p.worker._runtime is not old)  # type: ignore[misc]
                count = len(sent.spans(SERVER))
                assert (await p.request("GET", "/")).status == 200
                await until(lambda due=count + spans: len(sent.spans(SERVER)) == due)  # type: ignore[misc]
                now = p.worker._runtime.traces
                assert (now is not None) == (section is not None)
                if before.traces is not None and now is not None:
                    assert now is before.traces


def problem(folder: Path, section: dict[str, Any], **environ: str) -> str:
    """What is wrong with this section, once it is compiled."""
    loaded = write_files(folder, configuration("http://127.0.0.1:1", tracing=section), [OPEN])
    with pytest.raises(ConfigError) as found:
        compile_traces(loaded, environ)
    (one,) = found.value.problems
    return str(one)


def test_without_the_extra_it_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for and not installed: an error with its place, that says what to install."""
    monkeypatch.delitem(sys.modules, "authproxy.telemetry.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.collector.trace.v1", None)
    text = problem(tmp_path, {"otlp": "http://127.0.0.1:4318"})
    assert re.search(r"authproxy\.yaml:1:\d+: error: missing-extra: .*pip install 'authproxy\[otel\]'", text)  # fmt: skip


@pytest.mark.parametrize(
    ("section", "said_so"),
    [
        ({"otlp": "https://c.test", "ca": "none.pem"}, "bad-tls"),
        ({"otlp": "https://c.test", "ca": "jwks.json"}, "bad-tls"),
        ({"otlp": "https://c.test", "headers": {"X-Key": {"env": "NONE"}}}, "bad-secret"),
        ({"otlp": "https://c.test", "headers": {"X-Key": {"env": "TWO_LINES"}}}, "bad-secret"),
    ],
)
def test_what_cannot_be_used_is_said_at_load(
    tmp_path: Path, section: dict[str, Any], said_so: str
) -> None:
    """Files and secrets are read before anything is served; nothing of a secret is quoted."""
    text = problem(tmp_path, section, TWO_LINES="hush\r\nX: y")
    assert f"error: {said_so}: " in text
    assert "hush" not in text

"""Any bytes as requests, in any splitting: one of our codes, or a forwarded request that is beyond doubt; never a hang."""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authproxy.model.errors import REFUSALS
from authproxy.model.headers import HeaderRules
from authproxy.server import worker
from authproxy.web import relay
from tests.playbook import Proxy, playbook
from tests.wire import Link, Message

TOKEN = re.compile(r"[!#$%&'*+.^`|~0-9a-z-]+")
OURS = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"}
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")
RULES = HeaderRules()
SHORT = {"header_timeout": "150ms", "keepalive": "150ms"}
LINES = [
    b"Host: a", b"Host: b", b"Host:", b"Host: evil@a", b"X-Forwarded-User: evil", b"x_forwarded_user: evil",
    b"X-Forwarded-For: 6.6.6.6", b"Forwarded: for=6.6.6.6", b"Connection: close", b"Connection: X-Forwarded-For, Host",
    b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Upgrade: h2c", b"Content-Length: 5",
    b"Content-Length: 0", b"Content-Length: 18446744073709551615", b"Content-Length: 5, 5", b"Content_Length: 7",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding : chunked", b"TE: trailers",
    b"Expect: 100-continue", b"X-Pass: 1", b"X-Pass: \xff\xfe", b"X-Pass: a\x00b", b"X-Pass: a\rb", b" folded", b": empty",
    b"Cookie: __Host-authproxy=evil", b"Via: 1.0 a", b"Sec-WebSocket-Version: 13", b"X-Auth-Evil: evil",
]  # fmt: skip
TARGETS = [b"/", b"/a?b=c", b"/../a", b"/%2e%2e/", b"//a", b"http://evil/", b"*", b"/a#b", b"/\xff", b"/%zz", b"", b"/.authproxy/x"]  # fmt: skip
METHODS = [
    b"GET",
    b"POST",
    b"HEAD",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"get",
    b"G E T",
    b"\x00",
]
VERSIONS = [
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.2",
    b"",
    b"http/1.1",
    b"HTTP/1.1 ",
]
BODIES = [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloX", b"0\r\nX-Forwarded-User: evil\r\n\r\n", b"ffffffffffffffff\r\n"]  # fmt: skip

lines = st.one_of(st.sampled_from(LINES), st.binary(max_size=20))
heads = st.builds(
    lambda method, target, version, fields, end, body: (
        b" ".join((method, target, version)) + end + b"".join(f + end for f in fields) + end + body
    ),
    st.one_of(st.just(b"GET"), st.sampled_from(METHODS)),
    st.one_of(st.just(b"/"), st.sampled_from(TARGETS)),
    st.one_of(st.just(b"HTTP/1.1"), st.sampled_from(VERSIONS)),
    st.lists(lines, max_size=5).map(lambda found: [b"Host: a", *found]),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
    st.sampled_from(BODIES),
)
streams = st.one_of(
    st.lists(heads, min_size=1, max_size=3).map(b"".join),
    st.tuples(heads, st.integers(0, 200)).map(lambda cut: cut[0][: cut[1]]),
    st.binary(min_size=1, max_size=60),
)
cases = st.lists(
    st.tuples(streams, st.lists(st.integers(1, 300), max_size=4)), min_size=10, max_size=10
)


async def told(p: Proxy, data: bytes, cuts: list[int]) -> bytes:
    """Everything that is answered to these bytes in these pieces, until the proxy ends the connection."""
    link = await p.connect()
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    for start, end in itertools.pairwise(edges):
        with suppress(RuntimeError):  # uvloop's word for: the proxy has closed it already
            link.writer.write(data[start:end])
        await asyncio.sleep(0.002)
    answer = await link.rest()
    assert link.reader.at_eof() or link.reader.exception() is not None, "still open"
    return answer


def check_answers(data: bytes) -> None:
    """Every answer is the backend's or a code of ours; nothing is a 500, and nothing lies between them."""
    while data:
        found = ANSWER.match(data)
        assert found is not None, data
        status = int(found[1])
        head, _, data = data.partition(b"\r\n\r\n")
        if status == 100:
            continue
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        assert length is not None, head
        to_head = status != 200 and not data.startswith(b"{")
        body, data = (b"", data) if to_head else (data[: int(length[1])], data[int(length[1]) :])
        if status == 200:
            assert body in {b"hello", b""}
        elif body:
            code = json.loads(body)["code"]
            assert REFUSALS[code][0] == status
            assert status < 500 or code == "version_not_supported"


def check_hygiene(seen: Message) -> None:
    """One Host, one framing field at most, names that are names, and nothing that only we may say."""
    assert re.fullmatch(r"(GET|POST|HEAD|OPTIONS) /[!-~]* HTTP/1\.1", seen.start)
    assert len(seen.all("host")) == 1
    assert len(seen.all("content-length") + seen.all("transfer-encoding")) <= 1
    for name, value in seen.lines:
        assert TOKEN.fullmatch(name), name
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)
        if name not in OURS | {"transfer-encoding"}:
            assert not RULES.reserved(name), name
    assert not re.search(rb"evil|6\.6\.6\.6", seen.head)


async def hold(found: list[tuple[bytes, list[int]]]) -> None:
    """Ten streams at once against one proxy."""
    async with playbook(
        bounds=SHORT, timeouts={"idle": "150ms", "response": "150ms"}, play=answer
    ) as p:
        answers = await asyncio.gather(*(told(p, data, cuts) for data, cuts in found))
        for data in answers:
            check_answers(data)
        for seen in p.backend.seen:
            check_hygiene(seen)
        assert not [line for line in p.log() if line["status"] == 500]


async def answer(request: Message, link: Link) -> None:
    """A backend that answers HEAD and everything else as it must."""
    request.body = await link.body(request.head)
    body = b"" if request.start.startswith("HEAD") else b"hello"
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.fixture(autouse=True, scope="module")
def _haste() -> Iterator[None]:
    """Timers that a test can wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "TICK", 0.02)
        patch.setattr(relay._Pace, "GRACE", 0.1)
        yield


@given(cases)
@settings(max_examples=12, deadline=None)
async def test_any_bytes(found: list[tuple[bytes, list[int]]]) -> None:
    """Whatever comes, in whatever pieces, is answered by a code or forwarded beyond doubt, and the connection ends."""
    await hold(found)


@pytest.mark.slow
@given(cases)
@settings(max_examples=1000, deadline=None)
async def test_any_bytes_at_length(found: list[tuple[bytes, list[int]]]) -> None:
    """The same for as long as `make test-slow` has."""
    await hold(found)

"""Listeners that only send clients to https: where to, and what they never do."""

import pytest

from tests.playbook import GUARDED, OPEN, playbook
from tests.wire import Json, request

NAMED: Json = {
    **OPEN,
    "match": {"hosts": ["app.test", "*.wild.test", "[::1]"], "paths": ["/open/**"]},
}


def to(port: int = 443) -> list[Json]:
    """A plain listener that sends clients to this port."""
    return [{"address": "127.0.0.1:0", "redirect_to_https": port}]


@pytest.mark.parametrize(
    ("port", "host", "target", "location"),
    [
        (443, "app.test", "/open/x?a=1&b=%41", "https://app.test/open/x?a=1&b=%41"),
        (8443, "app.test", "/", "https://app.test:8443/"),
        (443, "APP.test.:8080", "/%2e%41?%", "https://app.test/%2e%41?%"),
        (443, "a.wild.test", "/nowhere?", "https://a.wild.test/nowhere?"),
        (443, "app.test", "//evil.test/x", "https://app.test//evil.test/x"),
        (443, "app.test", "/a%2fb%25?x=//evil.test", "https://app.test/a%2fb%25?x=//evil.test"),
        (443, "app.test", "/open/..%3b/", None),
        (443, "app.test", "/.authproxy/login?next=/", "https://app.test/.authproxy/login?next=/"),
    ],
)  # fmt: skip
async def test_where_to(port: int, host: str, target: str, location: str | None) -> None:
    """To the host as it was understood, with path and query byte for byte; what no listener would serve is 400 here too."""
    async with playbook(NAMED, listeners=to(port)) as p:
        link = await p.connect()
        await link.send(request("GET", target, {"Host": host}))
        answer = await link.answer()
        assert answer.field("location") == location
        assert (answer.status, answer.field("connection")) == (308 if location else 400, None)
        await link.send(request("GET", "/", {"Host": host}))
        assert (await link.answer()).status == 308  # the connection goes on
        assert p.backend.seen == []


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "DELETE", "PROPFIND"])
async def test_every_method_is_sent_there(method: str) -> None:
    """308 means: the same again. A body is not waited for, and is no request of the next one's."""
    async with playbook(NAMED, listeners=to()) as p:
        link = await p.connect()
        body = b"GET /open/smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n" if method == "POST" else b""
        await link.send(request(method, "/x", {"Host": "app.test", "Content-Length": str(len(body) + 9)} if body else {"Host": "app.test"}, body))  # fmt: skip
        answer = await link.answer(method)
        assert (answer.status, answer.field("content-length"), answer.body) == (308, "0", b"")
        if body:
            assert answer.field("connection") == "close"
            assert await link.rest() == b""
        assert p.backend.seen == []


@pytest.mark.parametrize("host", ["evil.test", "wild.test", "app.test.evil.test", "127.0.0.1"])
async def test_hosts_that_no_route_names_are_sent_nowhere(host: str) -> None:
    """404: whoever has such a name lead here does not get our word for it."""
    async with playbook(NAMED, listeners=to()) as p:
        answer = await p.request("GET", "/open/x", {"Host": host})
        assert (answer.status, answer.code, answer.field("location")) == (404, "no_route", None)
        assert (await p.logged())[0]["reason"] == "host"


@pytest.mark.parametrize(
    "head",
    [
        "Host: app.test\r\nHost: evil.test\r\n", "Host: app.test/evil\r\n", "Host: a@app.test\r\n", "",
        "Host: app.test evil\r\n", "Host: evil.test\r\nX-Forwarded-Host: app.test\r\n",
    ],
)  # fmt: skip
async def test_doubtful_hosts_are_sent_nowhere(head: str) -> None:
    """What is refused anywhere else is refused here; forwarding headers of a client say nothing."""
    async with playbook(NAMED, listeners=to()) as p:
        answer = await p.raw(f"GET / HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
        assert b"Location" not in answer


@pytest.mark.parametrize(
    "target", ["/a\rX-Evil: 1", "/a\x0bb", "/ä", "http://app.test/", "*", "/a#b"]
)
async def test_doubtful_targets_are_sent_nowhere(target: str) -> None:
    """Nothing of a target gets into a header that is not visible ASCII."""
    async with playbook(NAMED, listeners=to()) as p:
        raw = f"GET {target} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n".encode()
        answer = await p.raw(raw)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"Evil" not in answer


async def test_nothing_is_served_there() -> None:
    """Not with a good token, not by an upgrade, not for TRACE; and a listener beside it serves all the same."""
    listeners = [*to(), {"address": "127.0.0.2:0"}]
    async with playbook(OPEN, GUARDED, listeners=listeners) as p:
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x" * 22 + "==", "Sec-WebSocket-Version": "13"}  # fmt: skip
        assert (await p.request("GET", "/ws", upgrade)).status == 308
        assert (await p.request("GET", "/guarded/x")).status == 308
        assert (await p.request("TRACE", "/")).code == "method_not_allowed"
        assert p.backend.seen == []
        beside = await p.connect(1)
        assert (await p.request("GET", "/", link=beside)).status == 200


async def test_it_is_logged_and_limited_like_any_request() -> None:
    """A line each, without a query; limits of every request hold here too."""
    async with playbook(NAMED, listeners=to(), rate_limits=[{"limit": "1/hour", "per": "address"}]) as p:  # fmt: skip
        for status in (308, 429):
            assert (await p.request("GET", "/x?secret", {"Host": "app.test"})).status == status
        first, second = await p.logged(2)
        assert (first["status"], first["decision"], first["code"], first["reason"], first["path"]) == (308, "refuse", None, "redirect_to_https", "/x")  # fmt: skip
        assert second["code"] == "rate_limited"

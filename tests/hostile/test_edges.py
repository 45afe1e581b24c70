"""What an outside review found where two right parts meet; each is held against a running server."""

import logging

import pytest

from tests.playbook import GUARDED, OPEN, playbook
from tests.wire import Link, Message, until

FORWARDED = {"networks": ["127.0.0.1"], "header": "forwarded", "host": True}


async def test_the_host_comes_from_the_header_that_is_trusted() -> None:
    """With `header: forwarded` the proxy says `host=` there; X-Forwarded-Host is then whatever a client wrote."""
    async with playbook(trusted_proxies=FORWARDED) as p:
        fields = {"Forwarded": "for=5.5.5.5;host=shop.test", "X-Forwarded-Host": "evil.test"}
        assert (await p.request("GET", "/", fields)).seen[0].field("host") == "shop.test"
        fields = {"Forwarded": "for=5.5.5.5", "X-Forwarded-Host": "evil.test"}
        assert (await p.request("GET", "/", fields)).seen[0].field("host") == "proxy.test"
        fields = {"Forwarded": 'for=5.5.5.5;host="a@b"'}
        assert (await p.request("GET", "/", fields)).code == "bad_request"


async def test_an_open_quote_makes_nobody_the_proxy() -> None:
    """A client that sends `Forwarded: for="x` still counts as itself, not as the proxy that appended its address."""
    inside = OPEN | {"allow": [{"networks": ["127.0.0.0/8"]}]}
    async with playbook(inside, trusted_proxies=FORWARDED) as p:
        answer = await p.request("GET", "/", {"Forwarded": 'for="x, for=203.0.113.9'})
        assert (answer.code, answer.seen) == ("forbidden", [])
        assert (await p.logged())[0]["client"] == "203.0.113.9"


async def test_cve_2016_5385_httpoxy() -> None:
    """`Proxy` would be HTTP_PROXY to a CGI behind us."""
    async with playbook() as p:
        fields = [("Proxy", "http://evil.test"), ("PROXY", "x"), ("Proxies", "1")]
        seen = (await p.request("GET", "/", fields)).seen[0]
        assert [name for name, _ in seen.lines if name.startswith("prox")] == ["proxies"]


async def test_facts_34_a_method_that_nobody_judged_is_not_told() -> None:
    """Where a route is for some methods, no field tells the backend of another."""
    posting = OPEN | {"match": {"paths": ["/**"], "methods": ["POST"]}}
    fields = {"X-HTTP-Method-Override": "DELETE", "x-http-method": "PUT", "X-Note": "1"}
    for route, passed in ((posting, ["x-note"]), (OPEN, sorted(map(str.lower, fields)))):
        async with playbook(route) as p:
            seen = (await p.request("POST", "/", fields)).seen[0]
            found = [name for name, _ in seen.lines if name in {f.lower() for f in fields}]
            assert sorted(found) == passed


async def test_a_preflight_brings_no_body() -> None:
    """`cors_preflight: forward` opens a route to preflights, not to bytes of anybody's choice."""
    preflight = {"Origin": "https://app.test", "Access-Control-Request-Method": "PUT"}
    async with playbook(GUARDED | {"cors_preflight": "forward"}, OPEN) as p:
        answer = await p.request("OPTIONS", "/guarded/1", preflight | {"Content-Length": "0"})
        assert answer.status == 200
        answer = await p.request("OPTIONS", "/guarded/1", preflight, body=b"x")
        assert answer.code == "unauthenticated"


@pytest.mark.parametrize(
    "cookie",
    ["=__Host-authproxy=evil", " = __Host-authproxy=evil; Path=/", "__Host-authproxy", "__Host-authproxy ; Secure", "__Host-authproxy\t=x"],
)  # fmt: skip
async def test_cve_2022_2860_no_cookie_comes_back_as_our_session(cookie: str) -> None:
    """A cookie without a name is sent back as its value: that must not read as our session's."""
    play = (
        f"HTTP/1.1 200 OK\r\nSet-Cookie: {cookie}\r\nSet-Cookie: =mine\r\nContent-Length: 0\r\n\r\n"
    )
    async with playbook(play=play.encode()) as p:
        assert (await p.request("GET", "/")).all("set-cookie") == ["=mine"]


async def test_a_full_disk_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Lines of the access log that are lost make one warning, not one each; requests go on."""
    with caplog.at_level(logging.WARNING, "authproxy.telemetry.line_log"):
        async with playbook(logging={"access": {"path": "/dev/full"}}) as p:
            log = p.runtime.access_log
            for lost in (1, 2, 3):
                assert (await p.request("GET", "/")).status == 200
                await until(lambda lost=lost: log.lost == lost)  # type: ignore[misc]
    said = [r.getMessage() for r in caplog.records if r.name.endswith("line_log")]
    assert said == [
        "lines of the access log /dev/full are being lost (1 so far): no space left on device"
    ]


async def test_a_tunnel_begins_on_a_connection_of_its_own() -> None:
    """A handshake is sent once, so never on a connection that waited in the pool and may be ending."""
    links: list[int] = []

    async def play(_request: Message, link: Link) -> None:
        links.append(id(link.writer))
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    handshake = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    async with playbook(play=play) as p:
        for fields in ({}, {}, handshake):
            assert (await p.request("GET", "/", fields)).status == 200
    assert links[0] == links[1] != links[2]

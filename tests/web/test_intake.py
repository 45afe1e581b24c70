"""What is beyond doubt passes; everything else is refused before it is a request to anybody behind us.

Each trap that was found in aiohttp's parser, or in another proxy, is a test that bears its name.
"""

import pytest

from tests.playbook import playbook, token
from tests.wire import Answer, Link, request

REFUSED_LINES = {
    "http-0.9": (b"GET /ok\r\nHost: a\r\n\r\n", 400),
    "http-0.9-smuggles-a-header": (b"GET /ok\nX-Forwarded-User: evil HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "http-2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "http-9.9": (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
    "h2-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "absolute-form": (b"GET http://other/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "absolute-form-elsewhere": (b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "authority": (b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n", 405),
    "trace": (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "fragment": (b"GET /a#/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "dot-segment": (b"GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no-host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "no-host-in-1.0": (b"GET / HTTP/1.0\r\n\r\n", 400),
    "two-hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "method-made-up": (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space-before-colon": (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    "tab-before-colon": (b"GET / HTTP/1.1\r\nHost: a\r\nX\t: y\r\n\r\n", 400),
    "obs-fold": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
    "bare-lf": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "empty-name": (b"GET / HTTP/1.1\r\nHost: a\r\n: v\r\n\r\n", 400),
    "nul": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
    "control": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", 400),
    "delete": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 400),
    "bare-cr": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    "parentheses-in-name": (b"GET / HTTP/1.1\r\nHost: a\r\nX(Y): z\r\n\r\n", 400),
    "two-authorizations": (
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 400,
    ),
    "expect-look-alike": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: y 100-continue\r\n\r\n", 400,
    ),
    "tls-on-a-plain-port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_LINES)
async def test_trap_is_refused_and_closed(name: str) -> None:
    """A head that is not beyond doubt gets its code, in our words only, and never reaches the backend."""
    data, status = REFUSED_LINES[name]
    async with playbook() as p:
        answer = await refused(await p.connect(), data)
        assert answer.status == status
        assert answer.code == {400: "bad_request", 405: "method_not_allowed"}.get(
            status, "version_not_supported"
        )
        assert p.backend.seen == []
        line = (await p.logged())[0]
        assert (line["status"], line["code"], line["decision"]) == (status, answer.code, "refuse")
        await p.canary()


async def refused(link: Link, data: bytes) -> Answer:
    """The answer to these bytes."""
    await link.send(data)
    return await link.answer()


async def test_trap_error_page_echoes_nothing() -> None:
    """Aiohttp's own 400 quotes the request and names its version; ours is constant but for the id."""
    async with playbook() as p:
        told = await p.raw(b"GET / HTTP/1.1\r\nHost: a\r\nCookie : s3cr3t-cookie\r\n\r\n")
        assert b"s3cr3t" not in told
        assert b"aiohttp" not in told
        assert b"HTTP/1.1 400 Bad Request\r\n" in told
        assert b"Connection: close\r\n" in told


@pytest.mark.parametrize(
    "host",
    ["a@h", "h/evil", "h:99999", "h:99999x", "h evil", "h,evil", '"h"', "h?x", "h#x", "h\\x", "a..b", "[::1", "%61"],
)  # fmt: skip
async def test_trap_odd_hosts(host: str) -> None:
    """Aiohttp accepts nearly any Host; one that two readers could understand differently is refused."""
    async with playbook() as p:
        answer = await p.request("GET", "/", {"Host": host})
        assert (answer.code, answer.seen) == ("bad_request", [])


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chun\xe2\x84\xaaed",
        "Content-Length: +5",
        "Content-Length: 5,5",
        "Content-Length: 1_0",
        "Content-Length: 0x5",
        "Content-Length: -1",
        "Content-Length: \xef\xbc\x95",
        "Content-Length: ",
        "Content-Length: 18446744073709551615",
        "Content-Length: 18446744073709551616",
        "Content-Length: 18446744073709551621",
        "Content-Length: 10000000000000000",
    ],
)
async def test_trap_framing_in_doubt(framing: str) -> None:
    """A body whose end two readers could see at two places is refused, 2^64-1 (no body to aiohttp) included."""
    async with playbook() as p:
        head = f"POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode("latin-1")
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        told = await p.raw(head + b"5\r\nhello\r\n0\r\n\r\n" + smuggled)
        assert told.startswith(b"HTTP/1.1 400 ")
        assert told.count(b"HTTP/1.1") == 1
        assert p.backend.seen == []


async def test_chunked_in_http_1_0_is_refused() -> None:
    """RFC 9112 section 6.1: HTTP/1.0 knows no chunked, and an intermediary of that age would not end it there."""
    async with playbook() as p:
        told = await p.raw(
            b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        assert told.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "name", ["Content_Length", "Transfer.Encoding", "Transfer_Encoding", "Host_"]
)
async def test_framing_look_alikes_never_pass(name: str) -> None:
    """A WSGI or CGI backend folds `Content_Length`: it is dropped."""
    async with playbook() as p:
        answer = await p.request("GET", "/", {name: "5", "X-Kept": "1"})
        assert answer.seen[0].field(name) is None
        assert answer.seen[0].field("x-kept") == "1"


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-User", "x-forwarded-user", "X_Forwarded_User", "X-Forwarded_User", "X.Forwarded.User",
        "X-FORWARDED-GROUPS", "X-Forwarded-Prefix", "X-Forwarded-Anything", "Remote-User", "Remote_Groups",
        "X-Remote-User", "X-User", "X-User-Id", "X-Auth-Request-Email", "X-Authproxy-Assertion", "X-Real-IP",
        "X-Original-URL", "X-Rewrite-URL", "X-Goog-Authenticated-User-Email", "X-WebAuth-User", "Cf-Access-Jwt",
        "X-Pomerium-Claim", "X-Ms-Client-Principal", "X-Amzn-Oidc-Identity", "X-Tenant-Role", "x_tenant.role",
    ],
)  # fmt: skip
async def test_trap_identity_by_exact_name(name: str) -> None:
    """CVE-2025-64484: an identity that the client wrote never passes, in no spelling, with or without an identity."""
    async with playbook(identity={"strip": ["X-Tenant-Role"]}) as p:
        for target, credential in (("/", None), ("/guarded/1", token("alice"))):
            answer = await p.request(
                "GET", target, [(name, "evil"), (name, "evil")], token=credential
            )
            assert answer.status == 200
            assert b"evil" not in answer.seen[0].head


async def test_trap_deletion_only_when_a_claim_is_present() -> None:
    """Caddy GHSA-7r4p: a token without an email leaves no room for the client's own."""
    async with playbook() as p:
        answer = await p.request("GET", "/guarded/1", {"X-Forwarded-Email": "evil"}, token=token())
        assert answer.seen[0].field("x-forwarded-email") is None


@pytest.mark.parametrize(
    "named", ["X-Forwarded-User", "X-Forwarded-For, X-Forwarded-Host, Via", "x-request-id"]
)
async def test_trap_connection_names_our_headers(named: str) -> None:
    """CVE-2025-48865: `Connection: X-Forwarded-User` removes nothing that we set."""
    async with playbook() as p:
        answer = await p.request("GET", "/guarded/1", {"Connection": named}, token=token("alice"))
        seen = answer.seen[0]
        assert seen.field("x-forwarded-user") == "alice"
        for name in ("x-forwarded-for", "x-forwarded-host", "x-request-id", "via", "host"):
            assert seen.field(name) is not None
        assert seen.field("connection") is None


async def test_connection_options_end_here() -> None:
    """What `Connection` names, and every other hop-by-hop field, stays on this hop."""
    fields = {
        "Connection": "keep-alive, X-Hop, Cookie", "X-Hop": "1", "Keep-Alive": "timeout=5", "TE": "trailers",
        "Trailer": "X", "Proxy-Authorization": "Basic x", "Cookie": "a=b", "HTTP2-Settings": "AAMA", "X-End": "1",
    }  # fmt: skip
    async with playbook() as p:
        seen = (await p.request("GET", "/", fields)).seen[0]
        names = {name for name, _ in seen.lines}
        assert not names & {name.lower() for name in fields if name != "X-End"}
        assert "x-end" in names


@pytest.mark.parametrize("named", ["Content-Length", "Transfer-Encoding", "Host"])
async def test_connection_cannot_name_framing(named: str) -> None:
    """`Connection: Content-Length` takes neither the body's framing nor the Host away."""
    async with playbook() as p:
        answer = await p.request("POST", "/", {"Connection": named}, b"hello")
        seen = answer.seen[0]
        assert (seen.body, seen.field("content-length"), seen.field("host")) == (
            b"hello",
            "5",
            "proxy.test",
        )


async def test_connection_may_name_authorization() -> None:
    """RFC 9110 section 7.6.1: Authorization that `Connection` names is for us alone."""
    fields = {"Connection": "authorization", "Authorization": "Basic eDp5"}
    async with playbook() as p:
        assert (await p.request("GET", "/", fields)).seen[0].field("authorization") is None


async def test_trap_non_utf8_header_bytes_pass_unharmed() -> None:
    """Aiohttp loses bytes that are no UTF-8; through us they arrive as they were, both ways."""
    play = b"HTTP/1.1 200 OK\r\nX-Back: caf\xe9\xff\r\nContent-Length: 0\r\n\r\n"
    async with playbook(play=play) as p:
        answer = await p.request("GET", "/", {"X-There": "caf\xe9\xff"})
        assert b"X-There: caf\xe9\xff\r\n" in answer.seen[0].head
        assert b"X-Back: caf\xe9\xff\r\n" in answer.head


async def test_the_backend_gets_one_of_each() -> None:
    """Whatever came, the backend gets one Host, at most one framing field, and our view of the client."""
    async with playbook() as p:
        seen = (await p.request("PUT", "/a%20b?q=%2F", {"Forwarded": "for=1.2.3.4"}, b"x")).seen[0]
        assert seen.start == "PUT /a%20b?q=%2F HTTP/1.1"
        assert seen.field("host") == "proxy.test"
        assert (seen.field("x-forwarded-for"), seen.field("x-forwarded-proto")) == (
            "127.0.0.1",
            "http",
        )
        assert seen.field("forwarded") == 'for=127.0.0.1;host="proxy.test";proto=http'
        assert seen.field("via") == "1.1 authproxy"


async def test_the_host_of_each_request_counts() -> None:
    """First-request validation: on one connection the Host, the route and the identity are each request's own."""
    async with playbook() as p:
        link = await p.connect()
        first = await p.request("GET", "/guarded/1", token=token("alice"), link=link)
        second = await p.request("GET", "/guarded/1", {"Host": "other.test"}, link=link)
        third = await p.request("GET", "/", {"Host": "third.test"}, link=link)
        assert [first.status, second.code, third.status] == [200, "unauthenticated", 200]
        assert third.seen[0].field("x-forwarded-user") is None
        assert third.seen[0].field("host") == "third.test"


async def test_a_trusted_proxy_is_believed_and_nobody_else() -> None:
    """CVE-2026-40575: X-Forwarded-For, X-Request-Id and traceparent count from `trusted_proxies` only; the default is nobody."""
    fields = {
        "X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https", "X-Request-Id": "mine-1",
        "Traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "X-Forwarded-Host": "other.test",
    }  # fmt: skip
    async with playbook(trusted_proxies={"networks": ["127.0.0.0/8"]}) as p:
        seen = (await p.request("GET", "/", fields)).seen[0]
        assert seen.field("x-forwarded-for") == "203.0.113.9, 127.0.0.1"
        assert seen.field("x-forwarded-proto") == "https"
        assert seen.field("x-request-id") == "mine-1"
        assert seen.field("traceparent") == fields["Traceparent"]
        assert seen.field("x-forwarded-host") == "proxy.test"
        assert (await p.logged())[0]["client"] == "203.0.113.9"
    async with playbook() as p:
        seen = (await p.request("GET", "/", fields)).seen[0]
        assert (seen.field("x-forwarded-for"), seen.field("x-forwarded-proto")) == (
            "127.0.0.1",
            "http",
        )
        assert seen.field("x-request-id") != "mine-1"
        assert "a" * 32 not in (seen.field("traceparent") or "")


@pytest.mark.parametrize("bad", ["a b", "x" * 129, "é", "a\tb", "<script>"])
async def test_an_odd_request_id_is_replaced(bad: str) -> None:
    """A request id goes into logs and answers: from a trusted proxy too it is taken only where it is plain."""
    async with playbook(trusted_proxies={"networks": ["127.0.0.1"]}) as p:
        answer = await p.request("GET", "/", {"X-Request-Id": bad})
        assert answer.field("x-request-id") == answer.seen[0].field("x-request-id") != bad


async def test_a_trusted_proxy_may_say_the_host() -> None:
    """`host: true` takes the last X-Forwarded-Host, and holds it to the same rules."""
    async with playbook(trusted_proxies={"networks": ["127.0.0.1"], "host": True}) as p:
        seen = (await p.request("GET", "/", {"X-Forwarded-Host": "evil, shop.test"})).seen[0]
        assert (seen.field("host"), seen.field("x-forwarded-host")) == ("shop.test", "shop.test")
        assert (await p.request("GET", "/", {"X-Forwarded-Host": "a@b"})).code == "bad_request"


async def test_the_session_cookie_stays_here() -> None:
    """No backend sees the proxy's own session cookie; the cookies beside it pass as they were."""
    async with playbook() as p:
        fields = [("Cookie", "a=1; __Host-authproxy=s3cret; b=2"), ("Cookie", "__Host-authproxy=x")]
        seen = (await p.request("GET", "/", fields)).seen[0]
        assert seen.all("cookie") == ["a=1; b=2"]


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests that came together are each judged by themselves and answered in turn."""
    async with playbook() as p:
        link = await p.connect()
        await link.send(
            request("GET", "/1") + request("GET", "/guarded/1") + request("POST", "/2", (), b"x")
        )
        assert [(await link.answer()).status for _ in range(3)] == [200, 401, 200]
        assert [seen.start.split()[1] for seen in p.backend.seen] == ["/1", "/2"]

"""What a head may try to say about who, about the connection, and about what comes next (facts 1-20, 34, 51-53, 55, 104)."""

from tests.hostile.attack import Case

IDENTITY = [
    "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Auth-Request-User", "X-Auth-Request-Email",
    "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Access-Token", "Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name",
    "X-Authproxy-Assertion", "X-Authproxy-Anything", "X-Auth-User", "X-Auth-Token", "X-Remote-User", "X-Remote-Group", "X-Remote-Extra-Role", "X-User", "X-User-Id",
    "X-User-Email", "X-Authenticated-User", "X-Authenticated-Userid", "X-WebAuth-User", "X-WebAuth-Role", "X-Forwarded-Access-Token", "X-Pomerium-Jwt-Assertion",
    "X-Pomerium-Claim-Email", "X-Goog-Iap-Jwt-Assertion", "X-Goog-Authenticated-User-Email", "Cf-Access-Jwt-Assertion", "Cf-Access-Authenticated-User-Email",
    "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Identity", "X-Ms-Client-Principal", "X-Ms-Client-Principal-Name", "X-Ms-Token-Aad-Access-Token", "X-Tenant-Role",
    "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Server",
    "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "Forwarded", "X-Real-IP", "X-Original-URL", "X-Original-URI", "X-Original-Host",
    "X-Original-Method", "X-Rewrite-URL", "X-Rewrite-Path",
]  # fmt: skip
TOKEN = b"Authorization: Bearer $TOKEN\r\n"


def get(fields: bytes, path: bytes = b"/public/@@", method: bytes = b"GET") -> bytes:
    """A request with these fields."""
    return method + b" " + path + b" HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n"


def spellings(name: str) -> list[str]:
    """What a sloppy backend would take for the same name."""
    words = name.split("-")
    mixed = words[0] + "_" + "-".join(words[1:]) if len(words) > 1 else name.swapcase()
    return [name, name.lower(), name.upper(), name.swapcase(), "_".join(words), "_".join(words).upper(), ".".join(words), mixed, "-".join(words[:-1]) + "_" + words[-1], "~".join(words), "+".join(words)]  # fmt: skip


def _identity() -> list[Case]:
    """No client says who it is: names that are ours never pass, in any spelling, with or without a token."""
    cases = []
    for name in IDENTITY:
        for spelled in dict.fromkeys(spellings(name)):
            line = f"{spelled}: evil\r\n".encode()
            cases.append(Case(f"open {spelled}", get(line), "forwarded"))
            cases.append(Case(f"closed {spelled}", get(TOKEN + line, b"/ok/@@"), "forwarded"))
        twice = f"{name}: evil\r\n{name.lower()}: evil2\r\n{name}:\r\n".encode()
        cases.append(Case(f"twice {name}", get(twice + TOKEN + twice, b"/ok/@@"), "forwarded"))
    return cases


NOMINATED = [
    "X-Forwarded-User", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via", "X-Request-Id", "Traceparent", "Host", "Content-Length", "Transfer-Encoding",
    "Authorization", "Cookie", "X", "Accept", "Remote-User", "X-Authproxy-Assertion", "X_Forwarded_User", "*", "close, X-Forwarded-User", "keep-alive, X-Forwarded-Host", "X-Forwarded-User, X-Forwarded-User", ",,,", "x-forwarded-user,x",
    "Upgrade", "upgrade, http2-settings", "TE", "Expect", '"X"', "close;x",
]  # fmt: skip


def _nominated() -> list[Case]:
    """What `Connection` names is taken away before ours is set, never after (CVE-2025-48865, CVE-2022-31813)."""
    cases = []
    for value in NOMINATED:
        line = f"Connection: {value}\r\nX: y\r\n".encode()
        cases.append(Case(f"open {value}", get(line), "forwarded"))
        # naming the credential's own field may take the credential away; it never lends one
        cases.append(
            Case(
                f"closed {value}",
                get(TOKEN + line, b"/ok/@@"),
                "either" if value == "Authorization" else "forwarded",
            )
        )
        body = get(b"Content-Length: 5\r\n" + line, method=b"POST") + b"hello"
        cases.append(Case(f"body {value}", body, "forwarded", method="POST"))
    hop = [
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic evil",
        "Proxy-Authenticate: x",
        "TE: trailers",
        "TE: chunked",
        "Trailer: X",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Proxy: http://evil.test",
    ]
    for field in hop:
        cases.append(Case(f"{field}", get(field.encode() + b"\r\n"), "forwarded"))
        cases.append(
            Case(
                f"named {field}",
                get(f"{field}\r\nConnection: {field.partition(':')[0]}\r\n".encode()),
                "forwarded",
            )
        )
    return cases


KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
WS = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + KEY
INNER = b"GET /admin/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n"


def _upgrades() -> list[Case]:
    """Nothing but a WebSocket handshake opens a tunnel; what follows any other is never a request (CVE-2026-69243, h2c)."""
    heads = {
        "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "h2c alone": b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "h2": b"Connection: Upgrade\r\nUpgrade: h2\r\n",
        "TLS": b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        "two": b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n" + KEY,
        "two fields": b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n" + KEY,
        "no version": b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + KEY,
        "version 8": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"
        + KEY,
        "no key": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "two keys": WS + KEY,
        "bad key": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n",
        "no connection": b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + KEY,
        "close": b"Connection: close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + KEY,
        "obfuscated": b"Connection: Upgrade\r\nUpgrade: \x77ebsocket;x\r\n",
        "right, but the backend says 200": WS,
    }
    cases = []
    for name, fields in heads.items():
        cases.append(Case(name, get(fields), "either"))
        cases.append(Case(f"{name}, then a request", get(fields) + INNER, "either"))
        body = get(fields + b"Content-Length: 5\r\n", method=b"POST") + b"hello" + INNER
        cases.append(Case(f"{name}, with a body", body, "either", method="POST"))
        # bytes after a request that closes make the parser refuse both
        code = "" if name == "close" else "unauthenticated"
        cases.append(Case(f"{name}, closed", get(fields, b"/admin/@@") + INNER, code=code))
        cases.append(
            Case(f"{name}, HEAD", get(fields, method=b"HEAD") + INNER, "either", method="HEAD")
        )
    cases.append(Case("CONNECT", b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n" + INNER))
    cases.append(
        Case(
            "HTTP/1.0",
            b"GET /public/@@ HTTP/1.0\r\nHost: a.test\r\n" + WS + b"\r\n" + INNER,
            "either",
        )
    )
    return cases


def _expect() -> list[Case]:
    """`Expect` is 100-continue or refused, is answered only when the request is admitted, and never passes (facts 55)."""
    odd = [
        b"y 100-continue",
        b"100-continue, x",
        b"100-continue;q=1",
        b"100",
        b"200-ok",
        b"",
        b"x",
        b"100-continue 100-continue",
        b"100-continu",
        b"\xe2\x98\x83",
        b"100-continue\x0b",
    ]
    cases = []
    for value in odd:
        line = b"Expect: " + value + b"\r\n"
        cases.append(Case(f"get {value!r}", get(line), code="bad_request"))
        body = get(line + b"Content-Length: 5\r\n", method=b"POST") + b"hello"
        cases.append(Case(f"post {value!r}", body, code="bad_request", method="POST"))
    right = b"Expect: 100-Continue\r\nContent-Length: 5\r\n"
    cases.append(Case("right", get(right, method=b"POST") + b"hello", "forwarded", method="POST"))
    cases.append(Case("without a body", get(b"Expect: 100-continue\r\n"), "forwarded"))
    cases.append(
        Case(
            "refused",
            get(right, b"/admin/@@", b"POST") + b"hello" + INNER,
            code="unauthenticated",
            method="POST",
        )
    )
    old = b"POST /public/@@ HTTP/1.0\r\nHost: a.test\r\n" + right + b"\r\nhello"
    return [*cases, Case("HTTP/1.0", old, "forwarded", method="POST")]


def _credentials() -> list[Case]:
    """One credential, in its own place; anything else about it is refused."""
    twice = [
        TOKEN + TOKEN,
        TOKEN + b"Authorization: Bearer x\r\n",
        b"Authorization: Bearer x\r\n" + TOKEN,
        TOKEN + b"authorization:\r\n",
        b"AUTHORIZATION: Basic Og==\r\n" + TOKEN,
    ]
    cases = [
        Case(f"twice {at}", get(fields, b"/ok/@@"), code="bad_request")
        for at, fields in enumerate(twice)
    ]
    bad = [b"Bearer", b"Bearer ", b"Bearer $TOKENx", b"Bearer x$TOKEN", b"Bearer $TOKEN,$TOKEN", b"Bearer $TOKEN $TOKEN", b"Bearer token=$TOKEN", b"Bearer,$TOKEN", b"Bearer:$TOKEN", b'Bearer "$TOKEN"', b"Bearer $TOKEN;", b"$TOKEN", b"Token $TOKEN", b"Basic $TOKEN", b"Bearerx $TOKEN", b"Bearer $TOKEN\xa0", b"Bearer =$TOKEN", b"Bearer $TOKEN.", b"Bearer .$TOKEN", b"Bearer $TOKEN=", b"DPoP $TOKEN"]  # fmt: skip
    cases += [Case(f"{b!r}", get(b"Authorization: " + b + b"\r\n", b"/ok/@@")) for b in bad]
    elsewhere = [
        b"Authorization_: Bearer $TOKEN",
        b"X-Authorization: Bearer $TOKEN",
        b"Proxy-Authorization: Bearer $TOKEN",
        b"X-Original-Authorization: Bearer $TOKEN",
        b"Cookie: Authorization=$TOKEN; token=$TOKEN; access_token=$TOKEN",
        b"X-Auth-Token: $TOKEN",
        b"X-Forwarded-Access-Token: $TOKEN",
    ]
    cases += [
        Case(f"{e!r}", get(e + b"\r\n", b"/ok/@@"), code="unauthenticated") for e in elsewhere
    ]
    cases += [
        Case("query", get(b"", b"/ok/@@?access_token=$TOKEN&token=$TOKEN"), code="unauthenticated")
    ]
    good = [b"Bearer $TOKEN", b"bearer $TOKEN", b"BEARER $TOKEN", b"BeArEr $TOKEN"]
    return cases + [
        Case(f"{g!r}", get(b"Authorization: " + g + b"\r\n", b"/ok/@@"), "forwarded") for g in good
    ]


def _state() -> list[Case]:
    """Every request on a connection is judged by itself (facts 56): a token, a Host or an answer before it lends it nothing."""
    opened = get(TOKEN, b"/ok/x")
    closed = get(b"", b"/admin/@@")
    cases = []
    for first in (
        opened,
        get(b""),
        get(b"", method=b"HEAD"),
        get(b"Content-Length: 5\r\n", method=b"POST") + b"hello",
    ):
        method = first.split(b" ")[0].decode()
        cases.append(
            Case(f"{method} then closed {len(first)}", first + closed, "either", method=method)
        )
        cases.append(
            Case(
                f"{method} then vip {len(first)}",
                first + get(b"").replace(b"a.test", b"vip.test"),
                "either",
                method=method,
            )
        )
        cases.append(
            Case(
                f"{method} then rubbish {len(first)}",
                first + b"\x00\x01\x02\r\n\r\n",
                "either",
                method=method,
            )
        )
        if method != "HEAD":  # the client here expects a body from all but the first
            cases.append(
                Case(
                    f"{method} hundredfold {len(first)}",
                    first * 100 + closed,
                    "either",
                    method=method,
                )
            )
    return cases


GROUPS = {
    "identity headers": _identity(),
    "what connection names": _nominated(),
    "upgrades": _upgrades(),
    "expectations": _expect(),
    "credentials": _credentials(),
    "the state of a connection": _state(),
}

"""Which resource is meant? Every spelling of a way from an open path to a closed one (facts 21-35, 10-13)."""

from itertools import product

from tests.hostile.attack import Case

END = b" HTTP/1.1\r\nHost: a.test\r\n\r\n"
DOTS = [b"..", b"%2e%2e", b"%2E%2E", b".%2e", b"%2e.", b"%2e%2E", b"..;", b"..;x=y", b"%2e%2e;", b"..%3b", b"%252e%252e", b".", b"%2e", b".;a"]  # fmt: skip
SLASHES = [
    b"/",
    b"%2f",
    b"%2F",
    b"\\",
    b"%5c",
    b"%5C",
    b"//",
    b"/%2f",
    b"%2f/",
    b"%252f",
    b"/./",
    b"/;/",
]
ODD_DOTS = [b"%c0%ae%c0%ae", b"%e0%80%ae%e0%80%ae", b"%u002e%u002e", b"%00..", b"..%00", b"%0a..", b"..%0d%0a", b"%ff..", b"..%", b"..%2", b"..%zz", b"%%2e", b"%2e%2e%5c"]  # fmt: skip


def get(target: bytes, fields: bytes = b"", method: bytes = b"GET") -> bytes:
    """A request for this target."""
    return method + b" " + target + b" HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n"


def _dots() -> list[Case]:
    """A dot segment in any spelling is refused, never resolved."""
    cases = []
    for dots, before, after in product(DOTS, SLASHES, SLASHES):
        target = b"/public/x" + before + dots + after + b"admin/@@"
        cases.append(Case(f"{target!r}", get(target), code="bad_request"))
    for dots in ODD_DOTS:
        for target in (b"/public/" + dots + b"/admin/@@", b"/" + dots + b"/admin/@@"):
            cases.append(Case(f"{target!r}", get(target), code="bad_request"))
    for dots in DOTS:
        for target in (b"/public/@@/" + dots, b"/" + dots + b"/public/@@", b"/" + dots):
            cases.append(Case(f"{target!r}", get(target), code="bad_request"))
    return cases


def _escapes() -> list[Case]:
    """A segment that decodes to a slash, a backslash, a percent, a control byte or no UTF-8 is refused; so is a bad escape."""
    escapes = [b"%%%02x" % n for n in [*range(0x20), 0x7F]] + [b"%2f", b"%2F", b"%5c", b"%25", b"%252f", b"%2525", b"%c3%28", b"%80", b"%fe", b"%c0%af", b"%ed%a0%80", b"%f4%90%80%80", b"%", b"%4", b"%g0", b"%-1", b"%u0041", b"%%", b"%2", b"\\", b"%255c"]  # fmt: skip
    places = (b"/public/@@%b", b"/public/a%b/@@", b"/%b/admin/@@")
    return [
        Case(f"{e!r} in {p!r}", get(p.replace(b"%b", e)), code="bad_request")
        for e in escapes
        for p in places
    ]


FORMS = [
    b"http://a.test/admin/@@", b"http://a.test/public/@@", b"https://a.test/public/@@", b"http://evil.test/public/@@", b"HTTP://A.TEST/public/@@",
    b"//a.test/public/@@", b"//public/@@", b"///admin/@@", b"//admin/@@", b"*", b"a.test:443", b"a.test", b"public/@@", b"admin/@@", b"?x", b"", b"/public/@@#x",
    b"/admin/@@#/public", b"/public/@@#/admin", b"#", b"/public/@@?x#y", b"ftp://a.test/", b"file:///etc/passwd", b"javascript:x", b"http:///public/@@",
    b"http:/public/@@", b"http:public/@@", b"http://a.test@evil.test/@@", b"\\public\\@@", b"\\\\a.test\\public", b"./public/@@", b"../public/@@", b":80/public", b"@a.test/public",
    b"/public//@@", b"/public/a//b/@@", b"//", b"/public/@@//", b"/\xc3\xa9/@@", b"/public/\xff/@@", b"/public/@@\x80", b"/public/@@ x", b"/public/@@\tx", b"/public/@@ HTTP/1.1",
    b'/public/@@"', b"http://[::1]/public/@@", b"http://127.0.0.1:9901/healthz", b"http://169.254.169.254/latest/", b"unix:/run/x", b"urn:x",
]  # fmt: skip


def _forms() -> list[Case]:
    """Only origin form is served (RFC 9112 section 3.2.1); no target chooses a backend."""
    legal = {b'/public/@@"'}
    return [Case(f"{t!r}", get(t)) for t in FORMS if t not in legal] + [
        Case(f"{t!r}", get(t), "either") for t in legal
    ]


def _closed() -> list[Case]:
    """However /admin is spelled, and whatever else is said, nobody gets there without a token."""
    spelled = [b"/admin/@@", b"/admin/@@?/public", b"/admin/@@?x=/public/y", b"/%61dmin/@@", b"/%61%64%6d%69%6e/@@", b"/a%64min/@@?public", b"/admin/@@/public", b"/admin/@@?#"[:-1]]  # fmt: skip
    said = [b"X-Original-URL: /public", b"X-Rewrite-URL: /public", b"X-Forwarded-Uri: /public", b"X-Forwarded-Prefix: /public", b"X-Original-URI: /public/x", b"X-Forwarded-Path: /public",
            b"User-Agent: GoogleHC/1.0", b"User-Agent: kube-probe/1.2", b"X-Middleware-Subrequest: middleware", b"X-Authproxy-User: evil", b"X-Real-IP: 127.0.0.1", b"X-Forwarded-For: 127.0.0.1",
            b"X-Forwarded-User: evil", b"X-HTTP-Method-Override: OPTIONS", b"X-Method-Override: GET", b"X-Http-Method: HEAD", b"Forwarded: for=127.0.0.1;host=public", b"X-Envoy-Original-Path: /public",
            b"X-Forwarded-Proto: https", b"Authorization: Basic Og==", b"Authorization:", b"Cookie: __Host-authproxy=evil", b"Cookie: session=evil", b"Via: 1.1 authproxy", b"X-Forwarded-Host: public.test",
            b"Origin: https://a.test\r\nAccess-Control-Request-Method: GET", b"Upgrade: websocket\r\nConnection: Upgrade", b"Purpose: prefetch", b"X-Skip-Auth: 1"]  # fmt: skip
    cases = [Case(f"{t!r}", get(t), code="unauthenticated") for t in spelled]
    cases += [Case(f"{s!r}", get(b"/admin/@@", s + b"\r\n"), code="unauthenticated") for s in said]
    methods = [b"HEAD", b"POST", b"OPTIONS", b"PUT", b"DELETE", b"PATCH"]
    cases += [
        Case(f"{m!r}", get(b"/admin/@@", b"", m), code="unauthenticated", method=m.decode())
        for m in methods
    ]
    with_token = [
        Case(f"with a token {t!r}", get(t, b"Authorization: Bearer $TOKEN\r\n"), code="forbidden")
        for t in spelled
    ]
    with_token += [
        Case(
            f"with a token {s!r}",
            get(b"/admin/@@", b"Authorization: Bearer $TOKEN\r\n" + s + b"\r\n"),
            code="forbidden",
        )
        for s in said
        if not s.startswith(b"Authorization")
    ]
    cased = [
        Case(f"{t!r}", get(t), code="no_route")
        for t in (
            b"/ADMIN/@@",
            b"/Admin/@@",
            b"/admin;/@@",
            b"/admin;x=y/@@",
            b"/adm%C4%B1n/@@",
            b"/admin%20/@@",
            b"/nothing",
            b"/publicx",
            b"/",
        )
    ]
    return cases + with_token + cased


def _methods() -> list[Case]:
    """TRACE and CONNECT are never served, and what a route does not take stays untaken, however it is spelled."""
    cases = [
        Case(f"{m!r}", get(b"/public/@@", b"", m), code="method_not_allowed") for m in (b"TRACE",)
    ]
    cases += [
        Case("CONNECT", get(b"a.test:443", b"", b"CONNECT")),
        Case("CONNECT path", get(b"/public/@@", b"", b"CONNECT")),
    ]
    for method in (
        b"POST",
        b"PUT",
        b"DELETE",
        b"OPTIONS",
        b"PATCH",
        b"FOO",
        b"get",
        b"Get",
        b"GETX",
        b"PROPFIND",
        b"TRACE",
        b"PRI",
    ):
        cases.append(Case(f"read {method!r}", get(b"/read/@@", b"", method)))
    odd = [b"G@T", b"GET/", b"G\xc3\x89T", b'"GET"', b"GE\tT", b"GET:", b"(GET)", b"", b" ", b"GET\x00", b"GET,POST", b"G" * 2000, b"\xff\xff", b"1", b"-"]  # fmt: skip
    cases += [Case(f"odd {m!r}", get(b"/read/@@", b"", m)) for m in odd]
    for override in (
        b"X-HTTP-Method-Override",
        b"X-HTTP-Method",
        b"X-Method-Override",
        b"_method",
        b"X_HTTP_Method_Override",
    ):
        cases.append(
            Case(
                f"override {override!r}",
                get(b"/read/@@", override + b": GET\r\nContent-Length: 0\r\n", b"DELETE"),
                code="method_not_allowed",
            )
        )
    cases.append(Case("preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    return cases


def _versions() -> list[Case]:
    """HTTP/1.0 and HTTP/1.1 are served; a line without a version is not HTTP/0.9."""
    versions = [b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/2", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/1.10", b"HTTP/1.01", b"HTTP/01.1", b"HTTP/1", b"HTTP/", b"HTTP", b"http/1.1", b"Http/1.1",
                b"HTTP/1.1x", b"HTTP/1.1 x", b"HTTP/1,1", b"HTTP/-1.1", b"HTTP/+1.1", b"HTTP/1.1.1", b"HTTP /1.1", b"HTTP/ 1.1", b"HTTP/1 .1", b"HTP/1.1", b"ICE/1.0", b"HTTPS/1.1", b"HTTP/\xef\xbc\x91.1", b"XHTTP/1.1",
                b"HTTP/1.1\x0b", b"HTTP/A.B", b"HTTP/1.", b"HTTP/.1", b"HTTP/1.1,HTTP/1.0", b"HTTP/0.0", b"HTTP/0.8", b"HTTP/1.8"]  # fmt: skip
    cases = [Case(f"{v!r}", b"GET /public/@@ " + v + b"\r\nHost: a.test\r\n\r\n") for v in versions]
    cases += [
        Case(
            f"with a body {v!r}",
            b"POST /public/@@ " + v + b"\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        )
        for v in versions
    ]
    none = [b"GET /public/@@\r\n\r\n", b"GET /public/@@\r\nHost: a.test\r\n\r\n", b"GET /public/@@ \r\nHost: a.test\r\n\r\n", b"GET\r\nHost: a.test\r\n\r\n",
            b"GET\t/public/@@\tHTTP/1.1\r\nHost: a.test\r\n\r\n", b" GET /public/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", b"GET /public/@@  HTTP/1.1 \r\nHost: a.test\r\n\r\n", b"/public/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nHost: a.test\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /public/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", b"SSH-2.0-x\r\n\r\n",
            b"\r\n\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x0c" + b"\x01" * 12, b"GET /public/@@HTTP/1.1\r\nHost: a.test\r\n\r\n"]  # fmt: skip
    # The parser lets these through; they are one request to everybody, and the backend is sent our own line.
    lenient = [
        b"GET /public/@@ RTSP/1.0\r\nHost: a.test\r\n\r\n",
        b"GET  /public/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ]
    return (
        cases
        + [Case(f"{n[:60]!r}", n) for n in none]
        + [Case(f"{n!r}", n, "either") for n in lenient]
    )


GROUPS = {
    "dot segments": _dots(),
    "escapes": _escapes(),
    "target forms": _forms(),
    "ways into /admin": _closed(),
    "methods": _methods(),
    "versions": _versions(),
}

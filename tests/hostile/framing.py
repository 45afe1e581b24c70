"""Where does a request end? Every way to have two readers disagree on it (facts 42-48, 53-55, 57, 61, 109)."""

from tests.hostile.attack import Case

SMUGGLED = b"GET /admin/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n"
HEAD = b"POST /public/@@ HTTP/1.1\r\nHost: a.test\r\n"
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
TE = b"Transfer-Encoding: chunked\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    """A POST to the open route with these fields."""
    return HEAD + fields + b"\r\n" + body


def _conflicts() -> list[Case]:
    """Content-Length beside Transfer-Encoding (RFC 9112 section 6.1): never both."""
    cases = []
    for length in (0, 1, 4, 5, 15, 100):
        cl = b"Content-Length: %d\r\n" % length
        for name, fields in (("cl-te", cl + TE), ("te-cl", TE + cl), ("cl-te-cl", cl + TE + cl)):
            for tail in (CHUNKED, CHUNKED + SMUGGLED, b"0\r\n\r\n" + SMUGGLED):
                cases.append(
                    Case(f"{name} {length} {len(tail)}", post(fields, tail), code="bad_request")
                )
    for a, b in (
        (b"content-length", b"transfer-encoding"),
        (b"CONTENT-LENGTH", b"TRANSFER-ENCODING"),
        (b"cOnTeNt-LeNgTh", b"tRaNsFeR-eNcOdInG"),
    ):
        cases.append(
            Case(f"{a!r}", post(a + b": 5\r\n" + b + b": chunked\r\n", CHUNKED), code="bad_request")
        )
    return cases


ODD_CODINGS = [
    b"xchunked", b"chunked, identity", b"identity, chunked", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip",
    b"chunked, chunked", b"chunked,chunked", b"chunked;q=1", b"chunked; foo", b'"chunked"', b"'chunked'", b"chunk", b"chunkedx",
    b"chunked\x0b", b"\x0bchunked", b"\x0cchunked", b"chunked\x0c", b"chunked\x00", b"\x00chunked", b"chun\xe2\x84\xaaed",
    b"\xffchunked", b"chunked\xa0", b"\xc2\x85chunked", b"chunked\r", b"\rchunked", b"chunked,", b",chunked", b"chunked, ",
    b"", b" ", b"cow", b"chu nked", b"chu\tnked", b"\\chunked", b"chunked/1", b"(chunked)", b"CHUNKED, x", b"trailers", b"deflate",
    b"chunked\x1f", b"chunked\x7f",
]  # fmt: skip
ODD_NAMES = [
    b"Transfer-Encoding ", b"Transfer-Encoding\t", b" Transfer-Encoding", b"\tTransfer-Encoding", b"Transfer-Encoding\x00",
    b"Transfer-Encoding\x0b", b"\x0bTransfer-Encoding", b"Transfer\x00-Encoding", b"Transfer Encoding", b"\xefTransfer-Encoding",
    b"Transfer-Encoding\xa0", b"Transfer-Encoding\r", b"\rTransfer-Encoding", b"Transfer-Encoding:", b"Transfer-\r\n Encoding",
    b"Transfer-Encoding\x7f", b"\x00Transfer-Encoding", b"Transfer-Encoding;", b"Transfer-Encoding,x", b'"Transfer-Encoding"',
]  # fmt: skip


def _obfuscated() -> list[Case]:
    """Transfer-Encoding that only some would understand, alone and with a Content-Length for the others."""
    cases = []
    for extra in (b"", b"Content-Length: 5\r\n", TE):
        for coding in ODD_CODINGS:
            fields = extra + b"Transfer-Encoding: " + coding + b"\r\n"
            cases.append(
                Case(
                    f"coding {coding!r} after {extra!r}",
                    post(fields, CHUNKED + SMUGGLED),
                    code="bad_request",
                )
            )
        for name in ODD_NAMES:
            fields = extra + name + b": chunked\r\n"
            cases.append(
                Case(
                    f"name {name!r} after {extra!r}",
                    post(fields, CHUNKED + SMUGGLED),
                    code="bad_request",
                )
            )
    for twice in (
        TE + TE,
        b"Transfer-Encoding: identity\r\n" + TE,
        TE + b"Transfer-Encoding: x\r\n",
    ):
        cases.append(Case(f"twice {twice!r}", post(twice, CHUNKED), code="bad_request"))
    version = b"POST /public/@@ HTTP/1.0\r\nHost: a.test\r\n"
    cases.append(Case("chunked in HTTP/1.0", version + TE + b"\r\n" + CHUNKED, code="bad_request"))
    return cases


ODD_LENGTHS = [
    b"+5", b"-5", b"-0", b"+0", b"0x5", b"5_0", b"1_0", b"5.0", b"5e0", b" ", b"", b"5 5", b"5,5", b"5, 5", b"5, 6", b"5;", b"5;x",
    b"\xef\xbc\x95", b"\xd9\xa5", b"5\x00", b"\x005", b"5\x0b", b"\x0b5", b"5\x0c", b"five", b"0b101", b"0o5", b"'5'", b'"5"', b"(5)",
    b"5\t5", b"5\r", b"NaN", b"inf", b"18446744073709551615", b"18446744073709551621", b"99999999999999999999999999", b"1" * 400,
    b"9223372036854775808", b"4294967301000000000000", b"5\xa0", b"\xa05", b"5a", b"a5", b"#5", b"*", b"5\x7f", b"\x1f5",
]  # fmt: skip


def _lengths() -> list[Case]:
    """A Content-Length that is no plain number (RFC 9110 section 8.6), or is there more than once."""
    cases = []
    for value in ODD_LENGTHS:
        for method in (b"POST", b"GET", b"PUT"):
            head = (
                method
                + b" /public/@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: "
                + value
                + b"\r\n\r\n"
            )
            cases.append(
                Case(f"{method!r} {value!r}", head + b"hello" + SMUGGLED, code="bad_request")
            )
    for a, b in ((5, 5), (5, 6), (0, 5), (5, 0), (5, 500)):
        fields = b"Content-Length: %d\r\nContent-Length: %d\r\n" % (a, b)
        cases.append(Case(f"twice {a} {b}", post(fields, b"hello" + SMUGGLED), code="bad_request"))
    for name in (
        b"Content-Length ",
        b"Content-Length\t",
        b" Content-Length",
        b"Content-Length\x00",
        b"Content\x00-Length",
        b"Content Length",
        b"\xefContent-Length",
    ):
        fields = b"Content-Length: 5\r\n" + name + b": 50\r\n"
        cases.append(Case(f"name {name!r}", post(fields, b"hello"), code="bad_request"))
    return cases


ODD_CHUNKS = [
    b"5 \r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"\t5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"0_5\r\nhello\r\n0\r\n\r\n", b"5_\r\nhello\r\n0\r\n\r\n",
    b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n", b"g\r\nhello\r\n0\r\n\r\n", b"5h\r\nhello\r\n0\r\n\r\n", b"\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n",
    b"5\rhello\r\n0\r\n\r\n", b"5\n\nhello\r\n0\r\n\r\n", b"5;a\nhello\r\n0\r\n\r\n", b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    b"5;a\r hello\r\n0\r\n\r\n", b"5\x00\r\nhello\r\n0\r\n\r\n", b"5\x0b\r\nhello\r\n0\r\n\r\n", b"5,\r\nhello\r\n0\r\n\r\n",
    b"5.0\r\nhello\r\n0\r\n\r\n", b"'5'\r\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"100000000000000000000005\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", b"5:\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloo\r\n0\r\n\r\n", b"6\r\nhello\r\n0\r\n\r\n\r\n", b"5\r\r\nhello\r\n0\r\n\r\n", b"5\n\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n: x\r\n\r\n", b"5\r\nhello\r\n0\r\nX Y: z\r\n\r\n", b"5\r\nhello\r\n0\r\nX\x00: z\r\n\r\n",
    b"5\r\nhello\r\n0\r\n folded\r\n\r\n", b"5\r\nhello\r\n0\r\nnofield\r\n\r\n", b"5\r\nhello\r\n0\n\n", b"5\r\nhello\r\n0\r\rX\r\n\r\n",
]  # fmt: skip
ENDLESS_CHUNKS = [b"7fffffffffffffff\r\nhello", b"8000000000000000\r\nhello", b"ffffffffffffffff\r\nhello", b"fffffff\r\nhello", b"5\r\nhel", b"5", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n"]  # fmt: skip


def _chunks() -> list[Case]:
    """Chunks that two readers would cut differently: the body never ends, so the backend never sees a whole request."""
    cases = [
        Case(f"{body!r}", post(TE, body + SMUGGLED), code="bad_request") for body in ODD_CHUNKS
    ]
    cases += [
        Case(f"endless {body!r}", post(TE, body), "either", incomplete=True)
        for body in ENDLESS_CHUNKS
    ]
    return cases


def _extensions() -> list[Case]:
    """Extensions are legal (RFC 9112 section 7.1.1) and never passed on; whatever comes of them, framing holds."""
    bodies = [b"5;a=b\r\nhello\r\n0\r\n\r\n", b'5;a="x"\r\nhello\r\n0\r\n\r\n', b"5;a;b;c\r\nhello\r\n0\r\n\r\n", b"5 ;a\r\nhello\r\n0\r\n\r\n",
              b"5;\r\nhello\r\n0\r\n\r\n", b"5;" + b"x" * 60_000 + b"\r\nhello\r\n0\r\n\r\n", b"005\r\nhello\r\n000\r\n\r\n", b"5\r\nhello\r\n0;x\r\n\r\n"]  # fmt: skip
    cases = [Case(f"{body[:40]!r}", post(TE, body), "either") for body in bodies]
    sizes = [b"5", b"05", b"00000005", b"5" + b"", b"0000000000000000000000000000005"]
    return cases + [
        Case(f"size {s!r}", post(TE, s + b"\r\nhello\r\n0\r\n\r\n"), "either") for s in sizes
    ]


TRAILERS = [b"X-Forwarded-User: evil", b"x-forwarded-user: evil", b"Remote-User: evil", b"X-Authproxy-Assertion: evil", b"Host: evil.test", b"Content-Length: 50", b"Transfer-Encoding: chunked", b"Authorization: Bearer evil", b"X: y", b"Cookie: a=evil", b"Connection: close", b"X-Forwarded-For: 6.6.6.6"]  # fmt: skip


def _trailers() -> list[Case]:
    """Trailers are read and dropped: no identity gets in through them (CVE-2026-22815)."""
    body = b"5\r\nhello\r\n0\r\n%b\r\n\r\n"
    cases = [
        Case(f"{t!r}", post(TE + b"Trailer: " + t.partition(b":")[0] + b"\r\n", body % t), "either")
        for t in TRAILERS
    ]
    cases += [Case(f"unannounced {t!r}", post(TE, body % t), "either") for t in TRAILERS]
    many = b"\r\n".join(b"X-%d: y" % n for n in range(2000))
    big = b"X: " + b"y" * (1 << 20)
    return [
        *cases,
        Case("2000", post(TE, body % many), "refused"),
        Case("1 MiB", post(TE, body % big), "refused"),
    ]


def _pauses() -> list[Case]:
    """What follows a whole request is the next request, judged on its own; what follows a refused one is nothing."""
    cases = []
    for first in (b"GET /public/x", b"HEAD /public/x", b"OPTIONS /public/x", b"DELETE /public/x"):
        head = first + b" HTTP/1.1\r\nHost: a.test\r\n\r\n"
        cases.append(
            Case(
                f"pipelined {first!r}", head + SMUGGLED, "either", method=first.split()[0].decode()
            )
        )
    unread = [
        b"POST /admin/@@",
        b"POST /nowhere/@@",
        b"POST /ok/@@",
        b"TRACE /public/@@",
        b"POST /read/@@",
        b"POST /public/%2e%2e/@@",
    ]
    for line in unread:
        for fields in (b"Content-Length: %d\r\n" % len(SMUGGLED), b"Content-Length: 10000\r\n"):
            head = line + b" HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n"
            cases.append(Case(f"body of a refused {line!r}", head + SMUGGLED))
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
        cases.append(
            Case(
                f"chunks of a refused {line!r}",
                line + b" HTTP/1.1\r\nHost: a.test\r\n" + TE + b"\r\n" + chunk,
            )
        )
    return cases


GROUPS = {
    "content-length beside transfer-encoding": _conflicts(),
    "obfuscated transfer-encoding": _obfuscated(),
    "odd content-lengths": _lengths(),
    "odd chunks": _chunks(),
    "chunk extensions": _extensions(),
    "trailers": _trailers(),
    "what follows a request": _pauses(),
}

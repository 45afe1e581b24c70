"""Lines and bytes of a head that no honest client sends (facts 43, 46, 49, 50, 53, 62, 124), and odd Hosts."""

from tests.hostile.attack import Case

CONTROLS = [bytes([n]) for n in range(0x20) if n != 0x09] + [b"\x7f"]
SEPARATORS = [bytes([c]) for c in b'"(),/;<=>?@[\\]{}'] + [
    b" ",
    b"\t",
    b"\x80",
    b"\xa0",
    b"\xff",
    b"\xc3\xa9",
]
END = b"Host: a.test\r\n\r\n"


def get(fields: bytes, line: bytes = b"GET /public/@@ HTTP/1.1") -> bytes:
    """A GET of the open route with these fields after Host."""
    return line + b"\r\nHost: a.test\r\n" + fields + b"\r\n"


def _controls() -> list[Case]:
    """Control bytes anywhere in a head are refused, or end the line as CRLF does."""
    cases = []
    for byte in CONTROLS:
        places = {
            "value": get(b"X: va" + byte + b"lue\r\n"),
            "value's start": get(b"X: " + byte + b"value\r\n"),
            "name": get(b"X" + byte + b"Y: value\r\n"),
            "name's start": get(byte + b"X: value\r\n"),
            "name's end": get(b"X" + byte + b": value\r\n"),
            "target": get(b"", b"GET /public/@@" + byte + b" HTTP/1.1"),
            "method": get(b"", b"GE" + byte + b"T /public/@@ HTTP/1.1"),
            "version": get(b"", b"GET /public/@@ HTTP/1." + byte + b"1"),
            "host": b"GET /public/@@ HTTP/1.1\r\nHost: a" + byte + b".test\r\n\r\n",
        }
        for place, data in places.items():
            cases.append(Case(f"{byte!r} in {place}", data, code="bad_request"))
        cases.append(
            Case(f"{byte!r} at a value's end", get(b"X: value" + byte + b"\r\n"), "refused")
        )
    return cases


def _line_ends() -> list[Case]:
    """Bare LF and bare CR end no line (RFC 9112 section 2.2 lets a server be strict, and we are)."""
    inject = b"X-Forwarded-User: evil"
    heads = [
        b"GET /public/@@ HTTP/1.1\nHost: a.test\n\n",
        b"GET /public/@@ HTTP/1.1\rHost: a.test\r\r",
        b"GET /public/@@ HTTP/1.1\nHost: a.test\r\n\r\n",
        b"GET /public/@@\nX-Forwarded-User: evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET /public/@@\rX-Forwarded-User: evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET /public/@@\n HTTP/1.1\r\nHost: a.test\r\n\r\n",
        get(b"X: y\n" + inject + b"\r\n"),
        get(b"X: y\r" + inject + b"\r\n"),
        get(b"X: y\n\r\n"),
        get(b"X: y\r\r\n"),
        get(b"X: y\n\n"),
        get(b"X: y\n\nGET /admin/@@ HTTP/1.1\r\nHost: a.test\r\n"),
        get(b"X: y\r\n\nGET /admin/@@ HTTP/1.1\r\nHost: a.test\r\n"),
        get(b"X: y\n\rGET /admin/@@ HTTP/1.1\r\nHost: a.test\r\n"),
        b"GET /public/@@ HTTP/1.1\r\nHost: a.test\n\r\n",
        b"GET /public/@@ HTTP/1.1\r\nHost: a.test\r\r\n\r\n",
        b"\x00GET /public/@@ HTTP/1.1\r\n" + END,
    ]
    cases = [Case(f"{head[:60]!r} {len(head)}", head, code="bad_request") for head in heads]
    # Line ends before a request are nobody's (RFC 9112 section 2.2).
    before = [b"\r\n", b"\n", b"\r", b"\r\n\r\n\n\r"]
    whole = b"GET /public/@@ HTTP/1.1\r\n" + END
    return cases + [Case(f"before {b!r}", b + whole, "forwarded") for b in before]


def _folding() -> list[Case]:
    """obs-fold and its relatives (RFC 9112 section 5.2) are refused."""
    folds = [b" ", b"\t", b"  ", b" \t", b"\x0b", b"\xa0"]
    cases = []
    for fold in folds:
        lines = [
            b"X: y\r\n" + fold + b"folded\r\n",
            b"X:\r\n" + fold + b"folded\r\n",
            b"X: y\r\n" + fold + b"X-Forwarded-User: evil\r\n",
            b"X: y\r\n" + fold + b"\r\n",
            b"Authorization: Bearer\r\n" + fold + b"evil\r\n",
            b"X: y\r\n" + fold + b": z\r\n",
        ]
        cases += [Case(f"{line!r}", get(line), code="bad_request") for line in lines]
        first = b"GET /public/@@ HTTP/1.1\r\n" + fold + b"X-Forwarded-User: evil\r\n" + END
        cases.append(Case(f"first line {fold!r}", first, code="bad_request"))
        host = b"GET /public/@@ HTTP/1.1\r\nHost:\r\n" + fold + b"a.test\r\n\r\n"
        cases.append(Case(f"host {fold!r}", host, code="bad_request"))
    return cases


def _names() -> list[Case]:
    """A field name is a token (RFC 9110 section 5.1), directly before its colon; an empty one hides nothing (CVE-2023-25725)."""
    cases = []
    for byte in SEPARATORS:
        for name in (b"X%bY", b"%bX", b"X%b", b"X-Forwarded%bUser"):
            line = name.replace(b"%b", byte) + b": evil\r\n"
            cases.append(Case(f"name {line!r}", get(line), code="bad_request"))
    odd = [b": value", b":", b"novalue", b"X", b" ", b":path: /admin/@@", b":authority: b.test", b"GET /admin/@@ HTTP/1.1", b"=: x", b"\r", b"X : Y: Z", b"HTTP/1.1 200 OK", b"\xef\xbb\xbfX: y"]  # fmt: skip
    cases += [Case(f"line {line!r}", get(line + b"\r\n"), code="bad_request") for line in odd]
    spaces = [
        b"X:y",
        b"X:   y",
        b"X: y   ",
        b"X:\ty\t",
        b"X:",
        b"X: ",
        b"x.y-z~1!#$&'*+^`|: v",
        b"X: \xe2\x98\x83",
        b"X: \xff\xfe",
        b"X: a\tb",
        b'X: "quoted \\" string"',
        b"X: a,b,,c",
    ]
    return cases + [Case(f"legal {line!r}", get(line + b"\r\n"), "forwarded") for line in spaces]


ODD_HOSTS = [
    b"", b" ", b"a@h", b"user:pw@a.test", b"h/evil", b"a.test/", b"a.test/admin", b"a.test:99999", b"a.test:99999x", b"a.test:x", b"a.test:-1",
    b"a.test:80:80", b"a test", b"a.test b.test", b"a.test,b.test", b"a.test, a.test", b'"a.test"', b"a.test?x", b"a.test#x", b"a\\b", b"a.test\\admin",
    b"http://a.test", b"http:a.test", b"//a.test", b"a..test", b".a.test", b"a.test..", b"*.test", b"*", b"[::1", b"::1", b"[::1]x", b"[::1]:x", b"[zz]",
    b"%61.test", b"a%00.test", b"a%2etest", b"\xc3\xa9.test", b"\xef\xbd\x81.test", b"a.test\xa0", b"a;b", b"a=b", b"a&b", b"a|b", b"a`b", b"a$b", b"{a}", b"<a>",
    b"a'b", b"(a)", b"a^b", b"a+b", b"a~b", b"a!b", b"a.test\t.b", b"-.test\x7f", b"a" * 300, b"a.test:", b"1.2.3.4:65536", b"[::1]:99999",
]  # fmt: skip
GOOD_HOSTS = [
    b"a.test",
    b"A.TEST",
    b"a.test:80",
    b"a.test.",
    b"127.0.0.1",
    b"127.0.0.1:8080",
    b"[::1]",
    b"[::1]:443",
    b"localhost",
    b"under_score.test",
    b"xn--e1afmkfd.test",
    b"  a.test  ",
]


def _hosts() -> list[Case]:
    """One Host, and one that can be read in one way (RFC 9112 section 3.2)."""
    line = b"GET /public/@@ HTTP/1.1\r\n"
    cases = [
        Case(f"odd {h!r}", line + b"Host: " + h + b"\r\n\r\n", code="bad_request")
        for h in ODD_HOSTS
    ]
    cases += [
        Case(f"good {h!r}", line + b"Host: " + h + b"\r\n\r\n", "forwarded") for h in GOOD_HOSTS
    ]
    twice = [b"Host: a.test\r\nHost: a.test\r\n", b"Host: a.test\r\nHost: vip.test\r\n", b"Host: vip.test\r\nhost: a.test\r\n", b"HOST: a.test\r\nhOsT: a.test\r\n",
             b"Host: a.test\r\nHost:\r\n", b"Host:\r\nHost: a.test\r\n", b"Host: a.test\r\nHost : vip.test\r\n", b"Host : a.test\r\n", b"Host\t: a.test\r\n",
             b" Host: a.test\r\n", b"X: y\r\n Host: a.test\r\n", b"Ho st: a.test\r\n", b"Host\x00: a.test\r\n", b"X: y\r\n", b""]  # fmt: skip
    cases += [Case(f"{fields!r}", line + fields + b"\r\n", code="bad_request") for fields in twice]
    cases += [
        Case(f"1.0 {f!r}", b"GET /public/@@ HTTP/1.0\r\n" + f + b"\r\n", code="bad_request")
        for f in (b"", b"X: y\r\n")
    ]
    folded = [
        b"Host: a.test\r\nHo_st: vip.test\r\n",
        b"Host: a.test\r\nX-Host: vip.test\r\n",
        b"Host: a.test\r\nX-Forwarded-Host: evil.test\r\n",
        b"Host: a.test\r\nForwarded: host=evil.test\r\n",
        b"Host: a.test\r\nX-Original-Host: evil.test\r\n",
    ]
    return cases + [Case(f"look-alike {f!r}", line + f + b"\r\n", "forwarded") for f in folded]


def _vip() -> list[Case]:
    """However the Host is spelled, what its route refuses is refused."""
    hosts = [
        b"vip.test",
        b"VIP.TEST",
        b"Vip.Test",
        b"vip.test.",
        b"vip.test:80",
        b"VIP.test.:443",
        b"vip.test:0",
    ]
    return [
        Case(
            f"{h!r}", b"GET /public/@@ HTTP/1.1\r\nHost: " + h + b"\r\n\r\n", code="unauthenticated"
        )
        for h in hosts
    ]


def _sizes() -> list[Case]:
    """Heads that are too large are refused before they are held (facts 112, 113)."""
    big = b"y" * (1 << 20)
    return [
        Case(
            "10,000 fields",
            get(b"".join(b"X-%d: y\r\n" % n for n in range(10_000))),
            code="headers_too_large",
        ),
        Case(
            "129 fields",
            get(b"".join(b"X-%d: y\r\n" % n for n in range(129))),
            code="headers_too_large",
        ),
        Case("500 equal fields", get(b"X: y\r\n" * 500), code="headers_too_large"),
        Case("1 MiB value", get(b"X: " + big + b"\r\n"), code="headers_too_large"),
        Case("1 MiB name", get(big + b": x\r\n")),
        Case("1 MiB without a line's end", b"GET /public/@@ HTTP/1.1\r\nX: " + big),
        Case("1 MiB of nothing", big),
        Case("1 MiB of line ends", b"\r\n" * (1 << 19), "either"),
        Case(
            "64 KiB target",
            b"GET /public/" + b"a" * 65536 + b" HTTP/1.1\r\n" + END,
            code="uri_too_long",
        ),
        Case(
            "9 KiB query",
            b"GET /public/?" + b"a" * 9216 + b" HTTP/1.1\r\n" + END,
            code="uri_too_long",
        ),
        Case("64 KiB method", b"A" * 65536 + b" /public/ HTTP/1.1\r\n" + END),
        Case("64 KiB version", b"GET /public/ HTTP/1." + b"1" * 65536 + b"\r\n" + END),
        Case(
            "40 KiB in 100 fields",
            get(b"".join(b"X-%d: %b\r\n" % (n, b"y" * 400) for n in range(100))),
            code="headers_too_large",
        ),
        Case(
            "1 MiB of cookies",
            get(b"Cookie: " + b"a=b; " * 200_000 + b"\r\n"),
            code="headers_too_large",
        ),
        Case(
            "64 KiB token",
            get(b"Authorization: Bearer " + b"a" * 65536 + b"\r\n"),
            code="headers_too_large",
        ),
    ]


GROUPS = {
    "control bytes": _controls(),
    "line ends": _line_ends(),
    "folded lines": _folding(),
    "field names": _names(),
    "hosts": _hosts(),
    "spellings of a host": _vip(),
    "sizes": _sizes(),
}

"""Requests that were right until chance got at them: the same ones each time, from a fixed seed."""

import random

from tests.hostile.attack import Case

SEED = 20261123
COUNT = 400
BODY = b"hello"
TEMPLATES = [
    b"GET /public/@@ HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n",
    b"GET /ok/@@?q=1 HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer $TOKEN\r\nCookie: a=b\r\n\r\n",
    b"GET /admin/@@ HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-User: evil\r\nConnection: keep-alive\r\n\r\n",
    b"POST /public/@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /public/@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /public/a/../admin/@@ HTTP/1.1\r\nHost: vip.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
]
PIECES = [
    b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b"/", b"//", b"..", b"%2e", b"%2f", b"%", b"\\", b";", b"?", b"#", b",", b"@", b"\xff", b"\xc2\x85", b"_", b"-", b"0", b"9" * 20,
    b"GET /admin/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Host: vip.test\r\n", b"X-Forwarded-User: evil\r\n",
    b"Connection: X-Forwarded-User\r\n", b"\r\n\r\n", b" HTTP/1.1\r\n", b"chunked", b"Expect: 100-continue\r\n", b"0\r\n\r\n",
]  # fmt: skip
PRINTABLE = [b"a", b"Z", b"0", b".", b"-", b"~", b"%41", b"%C3%A9", b"=", b"&", b"$", b"!", b"'", b"(", b"*", b"+", b",", b";", b":", b"@", b"?", b"x=/admin/", b"%2", b"%2F", b"/", b"_"]  # fmt: skip


def _mutated(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(TEMPLATES))
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        kind = chance.randrange(5)
        if kind == 0:
            data[at:at] = chance.choice(PIECES)
        elif kind == 1:
            del data[at : at + chance.randint(1, 4)]
        elif kind == 2:
            data[at] = chance.randrange(256)
        elif kind == 3:
            lines = bytes(data).split(b"\r\n")
            lines.insert(chance.randrange(len(lines)), chance.choice(lines))
            data = bytearray(b"\r\n".join(lines))
        else:
            data[at : at + len(BODY)] = chance.choice(PIECES)
    return bytes(data)


def _gently_mutated(chance: random.Random) -> bytes:
    """One printable piece more or less, past the first bytes: most of these are requests still."""
    data = bytearray(chance.choice(TEMPLATES))
    at = chance.randrange(5, len(data))
    if chance.randrange(3):
        data[at:at] = chance.choice(PRINTABLE)
    else:
        del data[at]
    return bytes(data)


def _mutations() -> list[Case]:
    """Whatever came of them is a refusal, or a request that is beyond doubt."""
    chance = random.Random(SEED)
    made = dict.fromkeys(_mutated(chance) for _ in range(COUNT))
    made |= dict.fromkeys(_gently_mutated(chance) for _ in range(COUNT))
    return [Case(f"mutation {at}", data, "either", incomplete=True) for at, data in enumerate(made)]


GROUPS = {"mutations": _mutations()}

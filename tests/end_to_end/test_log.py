"""The access log from outside: a line for everything, and nothing secret in it."""

import json
import re
import socket
from pathlib import Path

from tests.end_to_end.conftest import Stage

FIELDS = [
    "time", "request_id", "client", "method", "host", "path", "status", "bytes_in", "bytes_out", "seconds",
    "route", "upstream", "subject", "authenticator", "decision", "code", "reason", "shadow",
]  # fmt: skip
SECRET = "s3cr3t-that-nobody-may-see"  # that is the point


def raw(stage: Stage, data: bytes) -> bytes:
    """Send bytes, and read to the end."""
    with socket.create_connection(("127.0.0.1", stage.served.ports[0]), 5) as sock:
        sock.sendall(data)
        sock.settimeout(5)
        seen = b""
        while data := sock.recv(65536):
            seen += data
        return seen


def request_id(answer: bytes) -> str:
    """The id that an answer carries."""
    found = re.search(rb"(?i)x-request-id: (\S+)", answer)
    assert found is not None
    return found[1].decode()


def test_a_request_is_one_line(stage: Stage) -> None:
    """The line of a request that passed has every field of the contract, and says who, where to and how much."""
    got = stage.curl("/http/whoami?token=x")
    line = stage.served.log_of(got.field("x-request-id"))
    assert list(line) == FIELDS
    said = {name: line[name] for name in ("client", "method", "path", "status", "route", "upstream", "subject", "authenticator", "decision", "code")}  # fmt: skip
    assert said == {
        "client": "127.0.0.1", "method": "GET", "path": "/http/whoami", "status": 200, "route": "http", "upstream": "http",
        "subject": "alice", "authenticator": "tokens", "decision": "allow", "code": None,
    }  # fmt: skip
    assert line["bytes_out"] == len(got.body)
    assert 0 < line["seconds"] < 5
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_every_refusal_is_a_line_with_its_code(stage: Stage) -> None:
    """The code of an answer is the code of its line, whichever step refused."""
    wrong = stage.issuer.token(groups=["ops"])
    asked = [
        ("/http/x", "", "unauthenticated"),
        ("/http/x", "x", "token_invalid"),
        ("/http/x", stage.issuer.token(exp=1, iat=0), "token_expired"),
        ("/http/x", wrong, "forbidden"),
        ("/nothing", "", "no_route"),
        ("/http/%2e%2e/x", "", "bad_request"),
        ("/dead/x", None, "upstream_unreachable"),
    ]
    for path, token, code in asked:
        got = stage.curl(path, "--path-as-is", token=token)
        line = stage.served.log_of(got.field("x-request-id"))
        assert (got.code, line["code"], line["status"]) == (code, code, got.status)
        assert line["decision"] == ("allow" if code.startswith("upstream") else "refuse")


def test_what_the_parser_refused_is_a_line(stage: Stage) -> None:
    """Also a request that could not be read is in the log."""
    for data in (
        b"\x16\x03\x01\x00\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ):
        line = stage.served.log_of(request_id(raw(stage, data)))
        assert (line["status"], line["code"], line["decision"]) == (400, "bad_request", "refuse")


def test_no_line_can_be_forged(stage: Stage) -> None:
    """Whatever a path or a claim holds, it stays inside its JSON string (CVE-2024-45808)."""
    before = len(stage.served.log())
    path = "/http/%E2%80%A8%22%7D%7Bx%C2%85%E2%80%AE"
    head = (
        f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: \x1b[31m\xff\r\n\r\n"
    )
    line = stage.served.log_of(request_id(raw(stage, head.replace("\x1b", "").encode("latin-1"))))
    assert line["path"] == '/http/\u2028"}{x\x85\u202e'
    text = stage.served.output()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", text)
    assert len(stage.served.log()) == before + 1


def test_nothing_secret_is_written(stage: Stage) -> None:
    """Tokens, cookies, query strings and keys are neither in the log nor on stderr, of requests that passed or did not."""
    token = stage.issuer.token(groups=["eng"])
    cookie, query = f"Cookie: session={SECRET}", f"?access_token={token}&q={SECRET}"
    for path, used in (
        ("/http/whoami", token),
        ("/http/whoami", token[:-9] + "AAAAAAAAA"),
        ("/dead/x", token),
        ("/nothing", token),
        ("/%2e%2e/", token),
    ):
        got = stage.curl(
            path + query,
            "--path-as-is",
            "--header",
            cookie,
            "--header",
            f"X-Secret: {SECRET}",
            token=used,
        )
        assert got.status
    raw(
        stage,
        f"GET /http/whoami{query} HTTP/1.1\r\nHost: a\r\nHost: b\r\n{cookie}\r\nAuthorization: Bearer {token}\r\n\r\n".encode(),
    )
    stage.served.log_of(stage.curl("/http/whoami").field("x-request-id"))
    key = stage.issuer.private_pem().decode().splitlines()[3]
    written = stage.served.output() + stage.served.errors()
    for secret in (SECRET, token, token.rpartition(".")[2], key, "access_token", "Bearer"):
        assert secret not in written


def test_an_answer_tells_no_more_than_it_may(stage: Stage) -> None:
    """A refusal is a problem document with five members; it quotes nothing, and caches nowhere."""
    got = stage.curl("/http/x?evil", token="evil.evil.evil")
    assert got.field("cache-control") == "no-store"
    assert b"evil" not in got.body
    assert set(json.loads(got.body)) == {"type", "title", "status", "code", "request_id"}


def test_a_log_goes_where_it_is_told(stage: Stage) -> None:
    """By default the access log is on stdout, alone, and all else on stderr."""
    assert all(line.startswith('{"time":') for line in stage.served.output().splitlines())
    assert "authproxy ready pid=" in stage.served.errors()
    assert Path(f"/proc/{stage.served.pid}").exists()

"""The access log: one line a request, whatever is in it."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields
from authproxy.model.identity import Identity
from authproxy.model.target import parse_target
from authproxy.policy.table import Route
from authproxy.telemetry.access_log import access_log, combined_line, json_line

FIELDS = [
    "time", "request_id", "client", "method", "host", "path", "status", "bytes_in", "bytes_out", "seconds", "route",
    "upstream", "subject", "authenticator", "decision", "code", "reason", "shadow",
]  # fmt: skip


def exchange(**changes: Any) -> Exchange:
    """A request that was served, but for these changes."""
    found = Exchange("id-1", 1_800_000_000.25, 0.0)
    found.method, found.host, found.status = "GET", "a.test", 200
    found.target = parse_target("/a%20b?secret=1")
    found.route = Route("orders", "backend")
    found.identity = Identity("tokens", "alice")
    found.admitted = True
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def read(found: Exchange) -> dict[str, Any]:
    """Its line, read again."""
    line = json_line(found, 0.0123456789)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return dict(json.loads(line))


def test_the_line_of_a_request() -> None:
    """Every field of the contract under its name, in its order; no query, times in UTC with milliseconds."""
    line = read(exchange(bytes_in=3, bytes_out=5))
    assert list(line) == FIELDS
    assert line == {
        "time": "2027-01-15T08:00:00.250Z", "request_id": "id-1", "client": "127.0.0.1", "method": "GET",
        "host": "a.test", "path": "/a b", "status": 200, "bytes_in": 3, "bytes_out": 5, "seconds": 0.012345,
        "route": "orders", "upstream": "backend", "subject": "alice", "authenticator": "tokens",
        "decision": "allow", "code": None, "reason": None, "shadow": None,
    }  # fmt: skip


def test_the_line_of_what_was_refused_early() -> None:
    """What was not found out by then is null or empty, and the decision is `refuse`."""
    line = read(
        exchange(
            target=None, route=None, identity=None, admitted=False, status=400, code="bad_request"
        )
    )
    assert (line["path"], line["route"], line["subject"]) == ("", None, None)
    assert (line["decision"], line["code"]) == ("refuse", "bad_request")


@given(st.text(), st.text())
def test_no_text_breaks_a_line(subject: str, reason: str) -> None:
    """CVE-2024-45808: line ends, escapes, quotes, U+2028 and lone surrogates stay inside their field, escaped."""
    found = exchange(identity=Identity("tokens", subject), reason=reason)
    for line in (json_line(found, 0.0), combined_line(found, 0.0)):
        text = line.decode()
        assert text[-1] == "\n"
        assert not any(
            ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in "\u2028\u2029" for c in text[:-1]
        )
    again = json.loads(json_line(found, 0.0))
    assert (again["subject"], again["reason"] or "") == (subject, reason)


def test_surrogates_lose_no_line() -> None:
    """A claim with a lone surrogate is no UTF-8; its line is written all the same."""
    assert read(exchange(identity=Identity("tokens", "a\ud800b")))["subject"] == "a\ud800b"


def test_the_combined_format() -> None:
    """Apache's combined: the decoded path without its query, the referer without its own, quotes escaped."""
    fields = Fields()
    fields.lines = [(b"Referer", b"https://x.test/?token=s3cret"), (b"User-Agent", b'a"b\\')]
    found = exchange(fields=fields, bytes_out=7, identity=Identity("tokens", "al ice"))
    assert combined_line(found, 0.0).decode() == (
        '127.0.0.1 - al_ice [15/Jan/2027:08:00:00 +0000] "GET /a b HTTP/1.1" 200 7 "https://x.test/" "a\\"b\\\\"\n'
    )


def test_none_writes_nothing(tmp_path: Path) -> None:
    """`format: none` opens no file at all."""
    log = access_log(str(tmp_path / "log"), "none")
    log.write(exchange(), 0.0)
    log.flush()
    log.close()
    assert not (tmp_path / "log").exists()

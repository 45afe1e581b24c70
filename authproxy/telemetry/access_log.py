"""The access log: one line a request, made in one go.

A line never holds a token, a cookie, a query or an unescaped control byte. How lines get onto the disk is `line_log.py`.
"""

import json
import re
import time
from functools import lru_cache
from typing import Any

import orjson

from authproxy.model.exchange import Exchange
from authproxy.telemetry.line_log import LineLog, LineOf

# What JSON leaves as it is and terminals, log shippers or line splitters do not: DEL, C1, U+2028, U+2029.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]|[\ud800-\udfff]")
_DEL = 0x7F
_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(maxsize=4)
def _common_second(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


def json_line(x: Exchange, seconds: float) -> bytes:
    """The line of contract section 7, with its newline; `seconds` is how long the request took."""
    route, identity = x.route, x.identity
    record = {
        "time": _second(int(x.now)) + _MILLISECONDS[int(x.now * 1000) % 1000],
        "request_id": x.request_id,
        "client": x.client_text,
        "method": x.method,
        "host": x.host,
        "path": x.path,
        "status": x.status,
        "bytes_in": x.bytes_in,
        "bytes_out": x.bytes_out,
        "seconds": int(seconds * 1e6) / 1e6,
        "route": route and route.name,
        "upstream": route and route.upstream,
        "subject": identity and identity.subject,
        "authenticator": identity and identity.authenticator,
        "decision": "allow" if x.admitted else "refuse",
        "code": x.code or None,
        "reason": x.reason or None,
        "shadow": x.shadow or None,
    }
    try:
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return escaped_line(record)
    return line if line.isascii() and _DEL not in line else escaped_line(record)


def escaped_line(record: dict[str, Any]) -> bytes:
    """The record as one line in ASCII where that is needed to hold no control character."""
    try:
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate: no UTF-8, but a line that somebody will look for
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"
    return _UNSAFE.sub(lambda m: f"\\u{ord(m[0]):04x}", line.decode()).encode()


def combined_line(x: Exchange, _seconds: float) -> bytes:
    """The Apache combined format; the path is decoded and without its query, referer and agent are what came."""
    when = _common_second(int(x.now))
    user = _quoted(x.identity.subject) if x.identity is not None else "-"
    request = _quoted(f"{x.method or '-'} {x.path or '-'} HTTP/{x.http_version}")
    agent = _quoted(x.headers.get("user-agent", "-"))
    # The referer is another site's URL, query and all: only where it came from is kept.
    referer = _quoted(x.headers.get("referer", "-").partition("?")[0])
    return (
        f'{x.client_text} - {user.replace(" ", "_")} [{when}] "{request}" {x.status} {x.bytes_out} "{referer}" "{agent}"\n'
    ).encode()


def _quoted(text: str) -> str:
    return re.sub(
        '[\x00-\x1f"\\\\\x7f-\x9f\u2028\u2029\ud800-\udfff]',
        lambda m: "\\" + m[0] if m[0] in '"\\' else f"\\u{ord(m[0]):04x}",
        text,
    )


FORMATS: dict[str, LineOf] = {
    "json": json_line,
    "combined": combined_line,
}


def access_log(path: str, line_format: str) -> LineLog:
    """The access log in this format, at this path; `none` is nowhere.

    Raises:
        OSError: it cannot be opened for appending.
    """
    line = FORMATS.get(line_format)
    return LineLog(path if line else None, line or json_line, "access")

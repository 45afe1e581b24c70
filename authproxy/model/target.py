"""The request target: the only path logic in the house. Policy, limits, log and forwarder all read this one value.

A path is split at `/` and each segment is percent-decoded once. What two readers could understand differently is
refused, never cleaned (six CVEs in 2025 and 2026 came from policy and forwarder reading different paths); the backend gets
the client's own bytes.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from authproxy.model.errors import Refusal

# What a route may allow for backends that need it; the word in the policy file is the word here.
ENCODED_SLASH = "encoded_slash"
ENCODED_PERCENT = "encoded_percent"
DOUBLE_SLASH = "double_slash"
KEPT_LENGTH_MOST = 512

# RFC 3986 section 2: visible ASCII only; `#` never travels in a request (RFC 9112 section 3.2.1).
_RAW = re.compile(r"/[!\"$-~]*", re.ASCII)
# A segment of these characters decodes to itself and can hold no doubt.
_PLAIN = re.compile(r"[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*", re.ASCII)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class Target:
    """A request target that can be understood in one way only.

    `raw` is what the client sent, `raw_path` its part before `?`; `segments` are the decoded pieces between slashes
    (`/` is one empty segment; a path that ends in `/` ends in an empty one); `path` is `/` and these joined.
    `doubts` are what a route must allow by name before it may be forwarded. `memo` is where `policy.table` notes
    the route of this path, whatever the query.
    """

    raw: str
    raw_path: str
    segments: tuple[str, ...]
    path: str
    doubts: frozenset[str]
    memo: list[Any] = field(default_factory=list, compare=False, repr=False)


def parse_target(raw: str) -> Target:
    r"""The target in origin form (RFC 9112 section 3.2.1).

    Raises:
        Refusal: `bad_request` for anything but origin form, dot segments (also before `;`), escapes that are broken or
            decode to control bytes, `\` or invalid UTF-8, a fragment, and bytes outside visible ASCII.
    """
    raw_path, question_mark, _ = raw.partition("?")
    # Queries are many and may hold secrets: only paths are kept, and only short ones (clients choose them).
    path = _kept(raw_path) if len(raw_path) <= KEPT_LENGTH_MOST else _read(raw_path)
    if not question_mark:
        return path
    if _RAW.fullmatch(raw) is None:
        raise Refusal("bad_request", "target")
    return Target(raw, raw_path, path.segments, path.path, path.doubts, path.memo)


def _read(raw_path: str) -> Target:
    if _RAW.fullmatch(raw_path) is None:
        raise Refusal("bad_request", "target")
    doubts: set[str] = set()
    segments = tuple(
        piece if _PLAIN.fullmatch(piece) else _decode(piece, doubts)
        for piece in raw_path[1:].split("/")
    )
    path = "/" + "/".join(segments)
    if path == raw_path:
        path = raw_path  # one object is less to find for who asks for it again
    # Looked for in the decoded path: a slash that was an escape makes empty pieces as well.
    if "//" in path:
        doubts.add(DOUBLE_SLASH)
    return Target(raw_path, raw_path, segments, path, frozenset(doubts))


_kept = lru_cache(maxsize=4096)(_read)


def forget_paths() -> None:
    """Let go of the paths that are kept, and with them of the routes that are noted there: a reload has made others."""
    _kept.cache_clear()


def _decode(piece: str, doubts: set[str]) -> str:
    text = _unescape(piece) if "%" in piece else piece
    if _CONTROL.search(text):
        raise Refusal("bad_request", "control")
    if "%" in text:
        doubts.add(ENCODED_PERCENT)
        # A backend that decodes twice must not find a dot segment either (`%252e%252e`).
        _refuse_dots(_unescape_leniently(text))
    if "/" in text:
        doubts.add(ENCODED_SLASH)
    _refuse_dots(text)
    return text


def _unescape(piece: str) -> str:
    def byte(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            raise Refusal("bad_request", "escape")
        return bytes.fromhex(found[1].decode())

    try:
        return _ESCAPE.sub(byte, piece.encode()).decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("bad_request", "utf-8") from None


def _unescape_leniently(text: str) -> str:
    decoded = _ESCAPE.sub(lambda m: bytes.fromhex(m[1].decode()) if m[1] else m[0], text.encode())
    return decoded.decode("utf-8", "replace")


def _refuse_dots(text: str) -> None:
    # `..;v=1` is `..` to servers that cut path parameters (the Tomcat and Jetty class).
    if any(part.split(";", 1)[0] in {".", ".."} for part in text.replace("\\", "/").split("/")):
        raise Refusal("bad_request", "dot-segment")


def strip_prefix(target: Target, prefix: tuple[str, ...]) -> str:
    """The raw target without the raw segments that decode to `prefix`, the query kept; `/` where nothing is left.

    The target must begin with that prefix (the route's patterns say so). The rest is still the client's own bytes.
    """
    pieces = target.raw_path[1:].split("/")[len(prefix) :]
    return "/" + "/".join(pieces) + target.raw[len(target.raw_path) :]

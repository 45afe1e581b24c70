"""Path patterns: segments to be matched decoded, `*` for one of them, `**` for the rest.

A pattern that no request could ever match is an error where it stands, not a route that silently never serves.
"""

import re
from collections.abc import Collection

from authproxy.model.target import DOUBLE_SLASH, ENCODED_PERCENT

RESERVED_PREFIX = ".authproxy"
SEGMENTS_MOST = 64
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


def path_pattern_problem(pattern: str, allowed: Collection[str]) -> tuple[str, str, str] | None:
    """Why this is no path pattern, or must not be one: code, text, remedy; `allowed` are the doubts the route allows."""
    if not pattern.startswith("/"):
        return "bad-path", f"`{pattern[:80]}` is no path pattern", "begin it with `/`"
    if pattern[1:].split("/", 1)[0] == RESERVED_PREFIX:
        return "reserved-path", "`/.authproxy` belongs to the proxy itself", "choose another path"
    found = _misused_star(pattern) or _never_matched(pattern, allowed)
    return None if found is None else ("bad-path", f"`{pattern[:80]}` {found[0]}", found[1])


def _misused_star(pattern: str) -> tuple[str, str] | None:
    *inner, last = pattern[1:].split("/")
    stars = [segment for segment in (*inner, last) if "*" in segment]
    if "**" in inner or any(segment not in {"*", "**"} for segment in stars):
        return (
            "uses `*` in a way that means nothing",
            "`*` is one whole segment, `**` the rest and last",
        )
    return None


def _never_matched(pattern: str, allowed: Collection[str]) -> tuple[str, str] | None:
    segments = pattern[1:].split("/")
    if len(segments) > SEGMENTS_MOST:
        return f"has over {SEGMENTS_MOST} segments", "end it earlier, with `**`"
    if "" in segments[:-1] and DOUBLE_SLASH not in allowed:
        return "has an empty segment, which is refused", "write single slashes"
    if _CONTROL.search(pattern) or any(s.split(";", 1)[0] in {".", ".."} for s in segments):
        return "could never match: such paths are refused", "write the path as it decodes"
    if "?" in pattern or "#" in pattern:
        return "holds `?` or `#`; paths are matched without the query", "use `when` to look further"
    if "%" in pattern and ENCODED_PERCENT not in allowed:
        return "is matched decoded, so `%` never occurs", "write the decoded characters"
    return None

"""Comments that speak to `check`: `# authproxy: ignore CODE — reason`, for the warnings of their line.

YAML knows no comments once it is read, so they are looked for in the text; what only looks like one inside a quoted or
block text is none.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from authproxy.model.source import Ignore

# A scalar that may hold what looks like a comment: where it begins and ends (line and column, from 0), and its style.
Span = tuple[tuple[int, int], tuple[int, int], str]
MARK = b"authproxy:"
_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#[ \t]*authproxy:[ \t]*ignore\b(?P<rest>.*)$")
_REST = re.compile(r"[ \t]+(?P<codes>[\w-]+(?:[ \t]*,[ \t]*[\w-]+)*)[ \t]*(?:(?:—|-+|:)[ \t]*(?P<reason>\S.*))?$")  # fmt: skip
_ONLY_COMMENT = re.compile(r"^[ \t]*(?:#.*)?$")


def span_of(event: Any) -> Span:
    """The span of one of YAML's scalar events."""
    start, end = event.start_mark, event.end_mark
    return (start.line, start.column), (end.line, end.column), event.style or ""


def read_ignores(text: bytes, spans: Sequence[Span]) -> tuple[Ignore, ...]:
    """The comments of a file whose scalars have these spans. One that stands alone speaks of the next line that is not."""
    if MARK not in text:
        return ()
    lines = text.decode("utf-8", "replace").splitlines()
    return tuple(_found(lines, [span for span in spans if span[0] < span[1]]))


def _found(lines: Sequence[str], spans: Sequence[Span]) -> Iterator[Ignore]:
    for number, line in enumerate(lines):
        comment = _COMMENT.search(line)
        if comment is None or _is_text((number, comment.start()), spans):
            continue
        place = (number + 1, comment.start() + 1)
        said = _REST.match(comment["rest"].rstrip())
        codes = tuple(re.split(r"[ \t]*,[ \t]*", said["codes"])) if said else ()
        reason = (said["reason"] or "").strip() if said else ""
        yield Ignore(_spoken_of(lines, number) + 1, place, codes, reason)


def _is_text(place: tuple[int, int], spans: Sequence[Span]) -> bool:
    """Does one of the spans, in their order, hold this place?"""
    before = bisect_right(spans, place, key=lambda span: span[0]) - 1
    if before < 0:
        return False
    start, end, style = spans[before]
    heading = style in {"|", ">"} and place[0] == start[0]  # a comment may follow the `|` itself
    return place < end and not heading


def _spoken_of(lines: Sequence[str], number: int) -> int:
    if not _ONLY_COMMENT.match(lines[number]):
        return number
    after = range(number + 1, len(lines))
    return next((n for n in after if not _ONLY_COMMENT.match(lines[n])), number)

"""The text of a users file with hashes replaced where they stand: comments, order and style are the operator's and stay.

Pure text by the places that the reader noted. Whoever writes the result reads it first: what came of it must be what was
meant, whatever YAML can look like.
"""

from collections.abc import Mapping
from typing import Any

from authproxy.model.source import Path, Source

Edit = tuple[int, int, str]  # from, to, what stands there then


def renewed_text(
    text: str, source: Source, users: Mapping[str, Mapping[str, Any]], renewed: Mapping[str, tuple[str, str]]
) -> str:  # fmt: skip
    """The text with a new `password` and `rehashed` for some of its users.

    Raises:
        ValueError: one stands there in a way that it cannot be replaced alone.
    """
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    edits: list[Edit] = []
    for name, (hashed, rehashed) in renewed.items():
        path: Path = ("users", name)
        edits.append(_value(text, starts, source, (*path, "password"), users[name]["password"], hashed))  # fmt: skip
        if "rehashed" in users[name]:
            edits.append(_value(text, starts, source, (*path, "rehashed"), users[name]["rehashed"], rehashed))  # fmt: skip
        else:
            edits.append(_beside(text, starts, source, path, edits[-1], f"rehashed: {rehashed}"))
    for begin, end, new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[end:]
    return text


def _value(text: str, starts: list[int], source: Source, path: Path, old: str, new: str) -> Edit:
    """A value in the place of another, within whatever quotes it has."""
    inside = source.inside.get(path, 0)
    begin = _offset(starts, source.place(path)) + (inside or 0)
    if inside is None or not text.startswith(old, begin):
        raise ValueError("a hash in it is not written in one piece")
    return begin, begin + len(old), new


def _beside(
    text: str, starts: list[int], source: Source, user: Path, password: Edit, entry: str
) -> Edit:
    """One more entry behind the password's: in braces where the user is, else on a line of its own."""
    if text[_offset(starts, source.place(user))] == "{":
        end = password[1] + (source.inside.get((*user, "password"), 0) or 0)
        return end, end, f", {entry}"
    line, column = source.place((*user, "password"), key=True)
    indent = text[starts[line - 1] : starts[line - 1] + column - 1]
    if indent.strip(" "):
        raise ValueError("a user in it does not begin on a line of its own")
    end = text.find("\n", password[1])
    end = len(text) if end < 0 else end
    return end, end, f"\n{indent}{entry}"


def _offset(starts: list[int], place: tuple[int, int]) -> int:
    return starts[place[0] - 1] + place[1] - 1

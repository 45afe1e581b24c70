"""Which tests are wanted: by words in what they are called (`-k`), by their files and lines."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import typer

from authproxy.policy.cases import Case

Wanted = Callable[[str], bool]
_TOKEN = re.compile(r"\s*(\(|\)|[^\s()]+)")
DEPTH_MOST = 64


class ExpressionError(ValueError):
    """The text is no expression of words, `and`, `or`, `not` and parentheses."""


def by_words(expression: str) -> Wanted:
    """As pytest's `-k`: a word is found anywhere in the text, in any case; `not` binds before `and` before `or`.

    Raises:
        ExpressionError: it cannot be read.
    """
    tokens = _TOKEN.findall(expression)
    reader = _Reader(tokens)
    wanted = reader.either(0)
    if reader.left:
        raise ExpressionError(f"`{reader.left[0]}` is not expected there")
    return lambda text: wanted(text.lower())


class _Reader:
    def __init__(self, tokens: Sequence[str]) -> None:
        self.left = list(tokens)

    def either(self, depth: int) -> Wanted:
        found = self._both(depth)
        while self._take("or"):
            found = _either(found, self._both(depth))
        return found

    def _both(self, depth: int) -> Wanted:
        found = self._one(depth)
        while self._take("and"):
            found = _both(found, self._one(depth))
        return found

    def _one(self, depth: int) -> Wanted:
        if depth > DEPTH_MOST:
            raise ExpressionError("it is nested too deep")
        if self._take("not"):
            inverted = self._one(depth + 1)
            return lambda text: not inverted(text)
        if self._take("("):
            inner = self.either(depth + 1)
            if not self._take(")"):
                raise ExpressionError("a parenthesis is not closed")
            return inner
        if not self.left or self.left[0] in {"and", "or", ")"}:
            raise ExpressionError("a word is missing")
        word = self.left.pop(0).lower()
        return lambda text: word in text

    def _take(self, token: str) -> bool:
        if self.left[:1] == [token]:
            del self.left[0]
            return True
        return False


def _either(one: Wanted, other: Wanted) -> Wanted:
    return lambda text: one(text) or other(text)


def _both(one: Wanted, other: Wanted) -> Wanted:
    return lambda text: one(text) and other(text)


def split_place(named: str) -> tuple[Path, int | None]:
    """`FILE` or `FILE:LINE`, as failures are printed (a column behind it is taken and not looked at)."""
    found = re.fullmatch(r"(.+?):([0-9]{1,9})(?::[0-9]+)?", named)
    if found is None or Path(named).exists():
        return Path(named), None
    return Path(found[1]), int(found[2])


def select(cases: Sequence[Case], named: Sequence[str], words: str | None) -> Iterator[Case]:
    """The tests that are wanted, in their order; nothing named: all.

    Raises:
        typer.BadParameter: the words are no expression.
    """
    try:
        wanted = by_words(words) if words is not None else lambda _text: True
    except ExpressionError as error:
        raise typer.BadParameter(f"{words!r}: {error}", param_hint="-k") from None
    places = [split_place(one) for one in named]
    for case in cases:
        here = not places or any(_stands(case, path, line) for path, line in places)
        if here and wanted(f"{case.source.file} {case.title} {case.wanted.route or ''}"):
            yield case


def _stands(case: Case, path: Path, line: int | None) -> bool:
    file, wanted = Path(case.source.file).absolute(), path.absolute()
    # A table's line names all of its cases.
    lines = {case.place[0], case.source.place(case.path[:2])[0]}
    return file.is_relative_to(wanted) and (line is None or line in lines)

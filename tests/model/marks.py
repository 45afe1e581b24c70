"""Marks as the parser makes them, at places as people count them."""

from typing import NamedTuple


class Marked(NamedTuple):
    """A mark."""

    line: int
    column: int


def at(line: int, column: int) -> Marked:
    """The mark of this place, which counts from 1."""
    return Marked(line - 1, column - 1)

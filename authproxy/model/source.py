"""Where things stand in a file of the operator, so that whoever finds a problem can point at it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from authproxy.model.errors import Problem, Severity

Path = tuple[str | int, ...]


class Mark(Protocol):
    """Where something begins, as the parser counts: from 0."""

    @property
    def line(self) -> int:
        """Lines before it."""

    @property
    def column(self) -> int:
        """Characters before it in its line."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """A comment that says which warnings of a line are meant as they are, and why; `place` is its own."""

    line: int
    place: tuple[int, int]
    codes: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read: its name, and where what stands at each path of keys and indices begins.

    `keys` holds the marks of the keys themselves, `values` those of what they stand for. `inside` says how many
    characters after its place the text of a value begins, where that is not 0: 1 behind a quote, None in a block.
    `ignores` are its comments about warnings.
    """

    file: str
    values: Mapping[Path, Mark] = field(default_factory=dict)
    keys: Mapping[Path, Mark] = field(default_factory=dict)
    inside: Mapping[Path, int | None] = field(default_factory=dict)
    ignores: tuple[Ignore, ...] = ()

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """The place (line, column; from 1) of what stands at this path; of the nearest thing around it where nothing does."""
        mark = self.keys.get(path) if key else None
        if mark is None:
            while path and path not in self.values:
                path = path[:-1]
            mark = self.values.get(path)
        return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)

    def problem(
        self,
        path: Path,
        code: str,
        text: str,
        remedy: str,
        *,
        severity: Severity = "error",
        key: bool = False,
        offset: int = 0,
    ) -> Problem:
        """A problem at this path; `offset` characters into its value."""
        line, column = self.place(path, key=key)
        if offset:
            before = self.inside.get(path, 0)
            column += 0 if before is None else before + offset
        return Problem(self.file, line, column, code, text, remedy, severity)

    def warning(self, path: Path, code: str, text: str, remedy: str, **where: Any) -> Problem:
        """A warning at this path; its code is one of `LINTS`."""
        return self.problem(path, code, text, remedy, severity="warning", **where)

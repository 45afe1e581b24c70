"""Where things stand in a file of the operator, so that whoever finds a problem can point at it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from authproxy.model.errors import Problem, Severity

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Ignore:
    """A comment that says which warnings of a line are meant as they are, and why; `place` is its own."""

    line: int
    place: tuple[int, int]
    codes: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read: its name, and for each path of keys and indices its place (line, column; from 1).

    `keys` holds the places of the keys themselves, `values` those of what they stand for. `inside` says how many
    characters after its place the text of a value begins, where that is not 0: 1 behind a quote, None in a block.
    `ignores` are its comments about warnings.
    """

    file: str
    values: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    keys: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    inside: Mapping[Path, int | None] = field(default_factory=dict)
    ignores: tuple[Ignore, ...] = ()

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """The place of what stands at this path; of the nearest thing around it where nothing does."""
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

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

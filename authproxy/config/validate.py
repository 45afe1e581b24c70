"""Data against a model: every problem at once, each with its place, its code and a remedy, never with a secret.

What is wrong is cut out and the rest validated again, so that later checks still see what is right. What only follows
from a cut is no problem of its own.
"""

import copy
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from authproxy.model.errors import Problem
from authproxy.model.source import Path, Source

_Model = TypeVar("_Model", bound=BaseModel)
Fill = Callable[[Path], Any]
# At each path, what its value was tried as and why it is none of it.
Errors = Mapping[Path, Sequence[ErrorDetails]]
ROUNDS_MOST = 32

_A_MAPPING = (
    "wrong-type",
    "must be a mapping",
    "write {{key: value}}, or one `key: value` a line",
)
# error type of pydantic: (code, text, remedy); the input itself is never shown, it might be a secret.
_WORDS: Mapping[str, tuple[str, str, str]] = {
    "bool_type": ("wrong-type", "must be a boolean", "write true or false"),
    "int_type": ("wrong-type", "must be a whole number", "write digits without quotes"),
    "float_type": ("wrong-type", "must be a number", "write digits without quotes"),
    "string_type": ("wrong-type", "must be text", "write text; quote what reads as something else"),
    "list_type": ("wrong-type", "must be a list", "write [one, two], or one `- item` a line"),
    "dict_type": _A_MAPPING,
    "model_type": _A_MAPPING,
    "model_attributes_type": _A_MAPPING,
    "too_short": ("empty-list", "must not be empty", "write at least one, or remove the key"),
    "too_long": ("too-long", "has too many items", "write at most {max_length}"),
    "string_too_short": ("empty-text", "must not be empty", "write something, or remove the key"),
    "none_required": ("wrong-type", "cannot be set", "remove it"),
    "literal_error": ("unknown-value", "has no such value", "write {expected}"),
    "union_tag_invalid": ("unknown-value", "has no such value", "write {expected_tags}"),
    "greater_than_equal": ("too-small", "is too small", "write at least {ge}"),
    "string_pattern_mismatch": (
        "bad-text",
        "is not written as it must be",
        "it must match {pattern}",
    ),
}


def validate(
    model: type[_Model], data: Any, source: Source, fill: Fill | None = None
) -> tuple[_Model | None, set[Path], list[Problem]]:
    """The model (None where nothing of it can be saved), the paths that were cut out of it, and the problems.

    `fill` says what to put where a required value is missing or was cut out; None: do without it.
    """
    problems: dict[Problem, None] = {}
    rest = _Rest({} if data is None else data, fill)
    for _ in range(ROUNDS_MOST):
        try:
            return model.model_validate(rest.data), rest.cut, list(problems)
        except ValidationError as error:
            errors = _sharpest(error.errors(include_url=False), source)
            meant = {p: _meant(p, found[0], source, model) for p, found in errors.items()}
            for path, found in errors.items():
                if not rest.explains(path) and path not in meant.values():
                    problem = _problem(found, path, source, meant[path] or path, model)
                    problems.update({problem: None})
            if not rest.without(errors, meant):
                break
    return None, rest.cut, list(problems)


def _sharpest(details: Iterable[ErrorDetails], source: Source) -> Errors:
    """The errors of each path that has none below it: a union complains once for each of its branches."""
    errors: dict[Path, list[ErrorDetails]] = {}
    for detail in details:
        errors.setdefault(_path(detail, source), []).append(detail)
    around = {path[:length] for path in errors for length in range(len(path))}
    return {path: _telling(found) for path, found in errors.items() if path not in around}


def _telling(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Those that say what is wrong with the value, where others only say that it is of another kind."""
    telling = [
        d for d in details if "remedy" in d.get("ctx", {}) or d["type"].endswith("too_short")
    ]
    return telling[:1] or [d for d in details if d["type"] != "none_required"] or list(details)


def _path(detail: ErrorDetails, source: Source) -> Path:
    """The path in the file: what pydantic adds for union branches and functions is no part of it."""
    path: Path = ()
    for part in detail["loc"]:
        if (*path, part) in source.values:
            path = (*path, part)
    if detail["type"] == "missing":
        return (*path, detail["loc"][-1])
    if detail["type"].startswith("union_tag_"):
        return (*path, "type")
    return path


class _Rest:
    """The data as far as it is good."""

    def __init__(self, data: Any, fill: Fill | None) -> None:
        self.data = (
            data  # until something is cut out of it: most files are good, and some are large
        )
        self._copied = False
        self.cut: set[Path] = set()
        self._fill = fill or (lambda _path: None)

    def explains(self, path: Path) -> bool:
        """Does an error here only follow from a cut, in it or around it?"""
        return any(path[: len(c)] == c or c[: len(path)] == path for c in self.cut)

    def without(self, errors: Errors, meant: Mapping[Path, Path | None]) -> bool:
        """Take out what is wrong and fill in what is missing; False where that is impossible."""
        for path in errors:
            # What an unknown key was meant to be is missing for no other reason.
            self.cut.add(meant[path] or path)
        return all(self._take(path, errors) for path in errors)

    def _take(self, path: Path, errors: Errors) -> bool:
        """Replace what stands here, else remove it, else what is around it."""
        if not path:
            return False
        if not self._copied:
            self.data, self._copied = copy.deepcopy(self.data), True
        holder, key = self._at(path[:-1]), path[-1]
        if not isinstance(holder, dict | list):
            return True  # what is around it was taken already
        instead = self._fill(path)
        there = holder.get(key) if isinstance(holder, dict) else holder[int(key)]
        if isinstance(holder, list) and instead is None:
            # A good neighbour stands in: what comes behind keeps its index, and so its place.
            good = (i for i in range(len(holder)) if not _any_below((*path[:-1], i), errors))
            instead = copy.deepcopy(next((holder[i] for i in good), None))
        if instead is not None and instead != there:
            holder[key] = instead
        elif isinstance(holder, dict) and key in holder:
            del holder[key]
        else:
            self.cut.add(path[:-1])
            return self._take(path[:-1], errors)
        return True

    def _at(self, path: Path) -> Any:
        found = self.data
        for part in path:
            if isinstance(found, dict):
                found = found.get(part)
            elif isinstance(found, list) and isinstance(part, int) and part < len(found):
                found = found[part]
            else:
                return None
        return found


def _any_below(path: Path, errors: Errors) -> bool:
    return any(error[: len(path)] == path for error in errors)


def _problem(
    details: Sequence[ErrorDetails], path: Path, source: Source, meant: Path, model: type[BaseModel]
) -> Problem:
    kind, context = details[0]["type"], details[0].get("ctx", {})
    name = next((str(p)[:80] for p in reversed(path) if isinstance(p, str)), "the file")
    if "remedy" in context:
        text, offset = f"`{name}`: {context['text']}", context.get("offset", 0)
        return source.problem(path, kind, text, context["remedy"], offset=offset)
    if kind in {"missing", "union_tag_not_found"}:
        return source.problem(path[:-1], "missing-key", f"`{name}` is missing", f"add `{name}`")
    if kind == "extra_forbidden":
        fields = ", ".join(_fields(path[:-1], model, source))
        remedy = f"did you mean `{meant[-1]}`?" if meant != path else f"known keys: {fields}"
        text = f"there is no key `{name}` here"
        return source.problem(path, "unknown-key", text, remedy, key=True)
    words = [(_WORDS.get(d["type"], _UNFORESEEN), d.get("ctx", {})) for d in details]
    remedies = dict.fromkeys(word[2].format_map(ctx) for word, ctx in words)
    code, text, _ = words[0][0]
    return source.problem(path, code, f"`{name}` {text}", "; or ".join(remedies))


_UNFORESEEN = ("bad-value", "cannot be used", "see the reference")


def _meant(path: Path, detail: ErrorDetails, source: Source, model: type[BaseModel]) -> Path | None:
    """The path that was probably meant by an unknown key, where nothing stands there yet."""
    if detail["type"] != "extra_forbidden":
        return None
    free = [f for f in _fields(path[:-1], model, source) if (*path[:-1], f) not in source.values]
    close = difflib.get_close_matches(str(path[-1]), free, 1)
    return (*path[:-1], close[0]) if close else None


def _fields(path: Path, model: type[BaseModel], source: Source) -> list[str]:
    known: Any = model
    for at, part in enumerate(path):
        known = _inner(known, part, source.values.get((*path[: at + 1], "type")))
    return list(getattr(known, "model_fields", {}))


def _inner(model: Any, part: str | int, kind: Any) -> Any:
    """The model behind a field (through lists, mappings and unions): of several the one whose `type` is `kind`."""
    field = getattr(model, "model_fields", {}).get(part)
    todo, found = [field.annotation] if field is not None else [model], []
    while todo:
        one = todo.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            found.append(one)
        todo += getattr(one, "__args__", ())
    return next((m for m in found if _is_of(m, kind)), found[0] if len(found) == 1 else None)


def _is_of(model: type[BaseModel], kind: Any) -> bool:
    field = model.model_fields.get("type")
    return field is not None and kind in getattr(field.annotation, "__args__", ())

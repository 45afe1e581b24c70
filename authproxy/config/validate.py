"""Data against a model: every problem at once, each with its place, its code and a remedy, never with a secret.

What is wrong is cut out and the rest validated again, so that later checks still see what is right.
"""

import copy
import difflib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from authproxy.model.errors import Problem
from authproxy.model.source import Path, Source

_Model = TypeVar("_Model", bound=BaseModel)
ROUNDS_MOST = 16

# error type of pydantic: (code, text, remedy); the input itself is never shown, it might be a secret.
_WORDS: Mapping[str, tuple[str, str, str]] = {
    "bool_type": ("wrong-type", "must be a boolean", "write true or false"),
    "int_type": ("wrong-type", "must be a whole number", "write digits without quotes"),
    "float_type": ("wrong-type", "must be a number", "write digits without quotes"),
    "string_type": ("wrong-type", "must be text", "write text; quote what reads as something else"),
    "list_type": ("wrong-type", "must be a list", "write [one, two], or one `- item` a line"),
    "dict_type": (
        "wrong-type",
        "must be a mapping",
        "write {key: value}, or one `key: value` a line",
    ),
    "model_type": (
        "wrong-type",
        "must be a mapping",
        "write {key: value}, or one `key: value` a line",
    ),
    "model_attributes_type": ("wrong-type", "must be a mapping", "write {key: value}"),
    "too_short": ("empty-list", "must not be empty", "write at least one, or remove the key"),
    "string_too_short": ("empty-text", "must not be empty", "write something, or remove the key"),
    "none_required": ("wrong-type", "cannot be set", "remove it"),
}


def validate(
    model: type[_Model], data: Any, source: Source, fill: Callable[[Path], Any] | None = None
) -> tuple[_Model | None, set[Path], list[Problem]]:
    """The model (None where nothing of it can be saved), the paths that were cut out of it, and the problems.

    `fill` says what to put where a required value is missing or was cut out; None: give up there.
    """
    problems: dict[Problem, None] = {}
    cut: set[Path] = set()
    data = copy.deepcopy(data) if data is not None else {}
    for _ in range(ROUNDS_MOST):
        try:
            return model.model_validate(data), cut, list(problems)
        except ValidationError as error:
            errors = _sharpest(error.errors(include_url=False), source)
            for path, detail in errors.items():
                if not any(path[: len(c)] == c for c in cut):
                    problems.update(dict.fromkeys([_problem(detail, path, source, model)]))
            if not _cut(data, [(d["type"], path) for path, d in errors.items()], cut, fill):
                break
    return None, cut, list(problems)


def _sharpest(details: list[ErrorDetails], source: Source) -> dict[Path, ErrorDetails]:
    """One error a path, and none around another: a union complains once for each of its branches."""
    errors: dict[Path, ErrorDetails] = {}
    for detail in details:
        errors.setdefault(_path(detail, source), detail)
    around = {path[:length] for path in errors for length in range(len(path))}
    return {path: detail for path, detail in errors.items() if path not in around}


def _cut(
    data: Any, errors: list[tuple[str, Path]], cut: set[Path], fill: Callable[[Path], Any] | None
) -> bool:
    """Cut out what is wrong, or fill in what is missing; False where that is impossible."""
    # The last items of a list first: what stands before them keeps its index.
    for kind, path in sorted(errors, key=lambda e: [str(p).zfill(9) for p in e[1]], reverse=True):
        holder = data
        for part in path[:-1]:
            holder = holder[part] if isinstance(holder, dict | list) else None
        if not path or not isinstance(holder, dict | list):
            return False
        key: Any = path[-1]
        if isinstance(holder, list) and len(holder) <= key:
            continue
        cut.add(path)
        placeholder = fill(path) if fill is not None else None
        if (
            placeholder is not None and holder.get(key) != placeholder
            if isinstance(holder, dict)
            else False
        ):
            holder[key] = placeholder
        elif isinstance(holder, list):
            holder[key] = holder[key - 1] if key else None
            if key == 0:
                del holder[key]
        elif kind == "missing" or key not in holder:
            return False
        else:
            del holder[key]
    return True


def _path(detail: ErrorDetails, source: Source) -> Path:
    """The path in the file: what pydantic adds for union branches and functions is no part of it."""
    path: Path = ()
    for part in detail["loc"]:
        if (*path, part) in source.values:
            path = (*path, part)
    if detail["type"] == "missing":
        return (*path, detail["loc"][-1])
    return path


def _problem(detail: ErrorDetails, path: Path, source: Source, model: type[BaseModel]) -> Problem:
    kind, context = detail["type"], detail.get("ctx", {})
    name = next((str(p) for p in reversed(path) if isinstance(p, str)), "the file")
    if "remedy" in context:
        offset = context.get("offset", 0)
        return source.problem(
            path, kind, f"`{name}`: {context['text']}", context["remedy"], offset=offset
        )
    if kind == "missing":
        return source.problem(path[:-1], "missing-key", f"`{name}` is missing", f"add `{name}`")
    if kind == "extra_forbidden":
        return source.problem(
            path,
            "unknown-key",
            f"there is no key `{name[:80]}` here",
            _similar(name, path, model),
            key=True,
        )
    if kind in {"literal_error", "enum"}:
        return source.problem(
            path,
            "unknown-value",
            f"`{name}` has no such value",
            f"write {context.get('expected', 'another')}",
        )
    if kind == "string_pattern_mismatch":
        return source.problem(
            path,
            "bad-text",
            f"`{name}` is not written as it must be",
            f"it must match {context.get('pattern')}",
        )
    if kind == "greater_than_equal":
        return source.problem(
            path, "too-small", f"`{name}` is too small", f"write at least {context.get('ge')}"
        )
    if kind == "too_long":
        return source.problem(
            path,
            "too-long",
            f"`{name}` has too many items",
            f"write at most {context.get('max_length')}",
        )
    code, text, remedy = _WORDS.get(kind, ("bad-value", detail["msg"].lower(), "see the reference"))
    return source.problem(path, code, f"`{name}` {text}", remedy)


def _similar(name: str, path: Path, model: type[BaseModel]) -> str:
    known: Any = model
    for part in path[:-1]:
        known = _inner(known, part)
    fields = list(getattr(known, "model_fields", {}))
    close = difflib.get_close_matches(name, fields, 1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"remove it; known keys: {', '.join(fields)}" if fields else "remove it"


def _inner(model: Any, part: str | int) -> Any:
    """The model behind a field (through lists, mappings and unions), as far as there is exactly one."""
    field = getattr(model, "model_fields", {}).get(part)
    todo = [field.annotation] if field is not None else [model]
    while todo:
        found = todo.pop()
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
        todo += getattr(found, "__args__", ())
    return None

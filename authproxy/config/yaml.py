"""YAML to plain data with the place of every key and value: PyYAML's C parser composes, a few lines of ours walk.

Only what a configuration needs: mappings with text keys, sequences, and scalars of the YAML 1.2 core schema, of which
only `true` and `false` are booleans. Depth, size and what aliases expand to are bounded.
"""

import math
import re
from typing import Any

import yaml

from authproxy.config.comments import MARK, Span, read_ignores, span_of
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.source import Path, Source

SIZE_MOST = 32 << 20
DEPTH_MOST = 64
ALIASED_MOST = 100_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]{1,64}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,64}|[0-9]{1,64}(?:\.[0-9]{0,64})?)(?:[eE][-+]?[0-9]{1,5})?")
TOO_DEEP = f"nested more than {DEPTH_MOST} deep"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def read_yaml(text: bytes, file: str) -> tuple[Any, Source, list[Problem]]:
    """The document as data, the places in it, and what is wrong but did not keep it from being read (duplicate keys).

    Raises:
        ConfigError: it is not YAML, holds more than one document, or is over the bounds.
    """
    if len(text) > SIZE_MOST:
        raise ConfigError([Problem(file, 1, 1, "too-large", "the file is over 32 MiB", "split it")])
    try:
        spans: list[Span] | None = [] if MARK in text else None
        tags = _check_events(text, file, spans)
        node = _Loader(text).get_single_node()
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([_syntax(error, file)]) from None
    walk = _Walk(file)
    data = walk.visit(node, (), 0) if node is not None else None
    ignores = read_ignores(text, spans or ())
    source = Source(file, walk.values, walk.keys, walk.inside, ignores)
    # What stands behind an alias is looked at wherever it is used.
    return data, source, list(dict.fromkeys([*tags, *walk.problems]))


def _check_events(text: bytes, file: str, spans: list[Span] | None) -> list[Problem]:
    """Refuse what is nested deeper than any configuration, before it is composed; note tags, and texts where asked to.

    The C composer recurses on the C stack (100,000 brackets end the process); the C parser's events do not.
    """
    depth = 0
    problems = []
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MOST:
                raise ConfigError([_at(event, file, "too-deep", TOO_DEEP, "flatten it")])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif spans is not None and isinstance(event, yaml.ScalarEvent):
            spans.append(span_of(event))
        if getattr(event, "tag", None) is not None:
            problems.append(_at(event, file, "bad-tag", "YAML tags are not used here", "remove it"))
    return problems


def _at(thing: Any, file: str, code: str, text: str, remedy: str) -> Problem:
    """A problem where an event or a node begins."""
    mark = thing.start_mark
    return Problem(file, mark.line + 1, mark.column + 1, code, text, remedy)


def _syntax(error: Exception, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    context, problem = (
        str(getattr(error, "context", "") or ""),
        str(getattr(error, "problem", "") or error),
    )
    if (
        "nesting depth" in problem
    ):  # newer scanners have a bound of their own, and meet it before ours
        return Problem(file, line, column, "too-deep", TOO_DEEP, "flatten it")
    if "alias" in context + problem:
        text, remedy = "an unquoted `*` begins a YAML alias", 'quote it: `"*.example"`'
    else:
        text, remedy = (
            f"not valid YAML: {(context + ': ' if context else '') + problem}"[:200],
            "mend the syntax here",
        )
    return Problem(file, line, column, "yaml-syntax", text.replace("\n", " "), remedy)


class _Walk:
    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[Path, tuple[int, int]] = {}
        self.keys: dict[Path, tuple[int, int]] = {}
        self.inside: dict[Path, int | None] = {}
        self.problems: list[Problem] = []
        self.seen: set[int] = set()
        self.aliased = 0

    def visit(self, node: Any, path: Path, depth: int) -> Any:
        """The data of this node; an alias is visited again at each place where it stands."""
        if id(node) in self.seen:
            self.aliased += 1
        self.seen.add(id(node))
        if self.aliased > ALIASED_MOST or depth > DEPTH_MOST:
            said = "its aliases expand without bound"
            raise ConfigError([_at(node, self.file, "too-many-aliases", said, "write it out")])
        self.values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.visit(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
        if node.style:
            self.inside[path] = 1 if node.style in {"'", '"'} else None
        return _scalar(node)

    def _mapping(self, node: Any, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(key, "bad-key", "a key must be text", "write a plain word")
                continue
            name = key.value
            if name in found:
                text = f"the key `{name[:80]}` stands here twice"
                self._wrong(key, "duplicate-key", text, "keep one of them")
                continue
            self.keys[*path, name] = (key.start_mark.line + 1, key.start_mark.column + 1)
            found[name] = self.visit(value, (*path, name), depth + 1)
        return found

    def _wrong(self, node: Any, code: str, text: str, remedy: str) -> None:
        self.problems.append(_at(node, self.file, code, text, remedy))


def _scalar(node: Any) -> Any:
    text: str = node.value
    if node.style:  # quoted or block: always text
        return text
    if text in _NULLS:
        return None
    if text in {"true", "false"}:
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text) if _FLOAT.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text  # JSON has no infinity either

"""YAML to plain data with the place of every key and value: PyYAML's C parser reads events, a few lines of ours walk them.

Only what a configuration needs: mappings with text keys, sequences, and scalars of the YAML 1.2 core schema, of which
only `true` and `false` are booleans. Depth, size and what aliases expand to are bounded.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import yaml

from authproxy.config.comments import MARK, Span, read_ignores, span_of
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.source import Mark, Path, Source

SIZE_MOST = 32 << 20
DEPTH_MOST = 64
ALIASED_MOST = 100_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]{1,64}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,64}|[0-9]{1,64}(?:\.[0-9]{0,64})?)(?:[eE][-+]?[0-9]{1,5})?")
TOO_DEEP = f"nested more than {DEPTH_MOST} deep"
ENDLESS = "its aliases expand without bound"
UNQUOTED_STAR = "an unquoted `*` begins a YAML alias"
# Gives the next event.
Take = Callable[[], Any]
_NUMERIC = frozenset("+-.0123456789")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def read_yaml(text: bytes, file: str) -> tuple[Any, Source, list[Problem]]:
    """The document as data, the places in it, and what is wrong but did not keep it from being read (duplicate keys).

    Raises:
        ConfigError: it is not YAML, holds more than one document, or is over the bounds.
    """
    if len(text) > SIZE_MOST:
        raise ConfigError([Problem(file, 1, 1, "too-large", "the file is over 32 MiB", "split it")])
    walk = _Walk(file)
    try:
        spans: list[Span] | None = [] if MARK in text else None
        take = _Loader(text).get_event
        data = walk.document(take if spans is None else _noting(take, spans))
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([_syntax(error, file)]) from None
    ignores = read_ignores(text, spans or ())
    source = Source(file, walk.values, walk.keys, walk.inside, ignores)
    # What stands behind an alias is looked at wherever it is used.
    return data, source, list(dict.fromkeys(walk.problems))


def _noting(take: Take, spans: list[Span]) -> Take:
    """The same events; where texts stand is noted, as what is in one is no comment."""

    def noting() -> Any:
        event = take()
        if isinstance(event, yaml.ScalarEvent):
            spans.append(span_of(event))
        return event

    return noting


def _at(thing: Any, file: str, code: str, text: str, remedy: str) -> Problem:
    """A problem where an event begins."""
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
        text, remedy = UNQUOTED_STAR, 'quote it: `"*.example"`'
    else:
        text, remedy = (
            f"not valid YAML: {(context + ': ' if context else '') + problem}"[:200],
            "mend the syntax here",
        )
    return Problem(file, line, column, "yaml-syntax", text.replace("\n", " "), remedy)


class _Walk:
    """Makes data and places of a document's events, as they come.

    No node is ever made of them: the C composer recurses on the C stack (100,000 brackets end the process), and what it
    makes is most of the time that reading takes.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[Path, Mark] = {}
        self.keys: dict[Path, Mark] = {}
        self.inside: dict[Path, int | None] = {}
        self.problems: list[Problem] = []
        self.anchors: dict[str, list[yaml.Event]] = {}
        self.aliased = 0
        self.again = False  # what is visited now stands behind an alias

    def document(self, take: Take) -> Any:
        """The data of the one document; None where there is none."""
        take()  # the stream's start
        if isinstance(take(), yaml.StreamEndEvent):
            return None
        data = self.visit(take(), take, (), 0)
        take()  # the document's end
        other = take()
        if not isinstance(other, yaml.StreamEndEvent):
            text = "not valid YAML: expected a single document, but found another"
            raise ConfigError([_at(other, self.file, "yaml-syntax", text, "mend the syntax here")])
        return data

    def visit(self, event: Any, take: Take, path: Path, depth: int) -> Any:
        """The data of the node that this event begins; an alias is visited again at each place where it stands."""
        if self.again:
            self.aliased += 1
            if self.aliased > ALIASED_MOST:
                raise self._refused(event, "too-many-aliases", ENDLESS, "write it out")
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self._alias(event, path, depth)
        if event.anchor is not None:
            take = self._anchored(event, take, depth)
        if event.tag is not None:
            self._wrong(event, "bad-tag", "YAML tags are not used here", "remove it")
        self.values[path] = event.start_mark
        if kind is yaml.ScalarEvent:
            if event.style:
                self.inside[path] = 1 if event.style in {"'", '"'} else None
            return _scalar(event)
        if depth >= DEPTH_MOST:
            code, said, remedy = ("too-many-aliases", ENDLESS, "write it out") if self.again else ("too-deep", TOO_DEEP, "flatten it")  # fmt: skip
            raise self._refused(event, code, said, remedy)
        if kind is yaml.MappingStartEvent:
            return self._mapping(take, path, depth + 1)
        return self._sequence(take, path, depth + 1)

    def _sequence(self, take: Take, path: Path, depth: int) -> list[Any]:
        found: list[Any] = []
        while type(event := take()) is not yaml.SequenceEndEvent:
            inner = path + (len(found),)  # noqa: RUF005  # half the time, once for each item
            found.append(self.visit(event, take, inner, depth))
        return found

    def _mapping(self, take: Take, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while type(event := take()) is not yaml.MappingEndEvent:
            key = self._key(event, take, depth)
            value = take()
            if key is None:
                self._wrong(event, "bad-key", "a key must be text", "write a plain word")
                self._skip(value, take, depth)
                continue
            name = key.value
            if name in found:
                text = f"the key `{name[:80]}` stands here twice"
                self._wrong(key, "duplicate-key", text, "keep one of them")
                self._skip(value, take, depth)
                continue
            inner = path + (name,)  # noqa: RUF005  # half the time, once for each key
            self.keys[inner] = key.start_mark
            found[name] = self.visit(value, take, inner, depth)
        return found

    def _key(self, event: Any, take: Take, depth: int) -> Any:
        """The scalar that is a key; None, with its events passed over, for anything else."""
        if type(event) is yaml.ScalarEvent and event.anchor is None and event.tag is None:
            return event
        meant = event
        if type(event) is yaml.AliasEvent:
            meant = self.anchors.get(event.anchor or "", [event])[0]
        self._skip(event, take, depth)
        return meant if type(meant) is yaml.ScalarEvent else None

    def _alias(self, event: Any, path: Path, depth: int) -> Any:
        """What its anchor stands for, here."""
        known = self.anchors.get(event.anchor)
        if known is None:
            raise self._refused(event, "yaml-syntax", UNQUOTED_STAR, 'quote it: `"*.example"`')
        before, self.again = self.again, True
        take = iter(known).__next__
        data = self.visit(take(), take, path, depth)
        self.again = before
        return data

    def _anchored(self, event: Any, take: Take, depth: int) -> Take:
        """The events after this one, with those of its node kept for its aliases."""
        known = self.anchors.get(event.anchor)
        if known is not None and known[0] is event:
            return take  # it stands behind an alias, and so does what follows
        if known is not None:
            said = "not valid YAML: found duplicate anchor"
            raise self._refused(event, "yaml-syntax", said, "mend the syntax here")
        kept, begun = [event], int(isinstance(event, yaml.CollectionStartEvent))
        while begun:
            if depth + begun > DEPTH_MOST:
                raise self._refused(kept[-1], "too-deep", TOO_DEEP, "flatten it")
            kept.append(take())
            begun += isinstance(kept[-1], yaml.CollectionStartEvent)
            begun -= isinstance(kept[-1], yaml.CollectionEndEvent)
        self.anchors[event.anchor] = kept
        return iter(kept[1:]).__next__

    def _skip(self, event: Any, take: Take, depth: int) -> None:
        """Pass over a node that is no part of the data; its anchors count, and so do its tags."""
        aside = _Walk(self.file)
        aside.anchors, aside.aliased, aside.again = self.anchors, self.aliased, self.again
        aside.visit(event, take, (), depth)
        self.aliased = aside.aliased
        self.problems += [problem for problem in aside.problems if problem.code == "bad-tag"]

    def _wrong(self, event: Any, code: str, text: str, remedy: str) -> None:
        self.problems.append(_at(event, self.file, code, text, remedy))

    def _refused(self, event: Any, code: str, text: str, remedy: str) -> ConfigError:
        return ConfigError([_at(event, self.file, code, text, remedy)])


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.style:  # quoted or block: always text
        return text
    if text in _NULLS:
        return None
    if text in {"true", "false"}:
        return text == "true"
    if text[0] not in _NUMERIC:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text) if _FLOAT.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text  # JSON has no infinity either

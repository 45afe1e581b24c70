"""`authproxy check`: every problem of the configuration at once, in the words that people, editors and CI read."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from authproxy.cli.annotations import annotation
from authproxy.cli.options import ConfigOption
from authproxy.cli.sarif import sarif
from authproxy.model.errors import ConfigError, Problem


class Format(StrEnum):
    """How problems are written."""

    text = "text"
    json = "json"
    github = "github"
    sarif = "sarif"


def check(
    config: ConfigOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for warnings as well.")] = False,
    format: Annotated[
        Format, typer.Option("--format", help="How problems are written.")
    ] = Format.text,
) -> None:
    """Find everything that is wrong with the configuration and the policies, without serving.

    Example: authproxy check --strict --format github
    """
    from authproxy.config.load import without_collections

    with without_collections():
        problems = examine(config)
    print(_WRITERS[format](problems), end="")
    errors = [p for p in problems if p.severity == "error"]
    if format is Format.text:
        summary = (
            f"{_counted(len(errors), 'error')}, {_counted(len(problems) - len(errors), 'warning')}"
            if problems
            else "no problems found"
        )
        print(summary, file=sys.stderr)
    if errors or (strict and problems):
        raise typer.Exit(1)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def examine(config: str | None) -> list[Problem]:
    """All problems, those of the files that the configuration names among them."""
    from authproxy.assertions import assertions
    from authproxy.config.case_files import read_case_files
    from authproxy.config.lint import lint_all
    from authproxy.config.load import find_config, load
    from authproxy.runtime import upstream_settings, verification
    from authproxy.server.tls import read_certificates
    from authproxy.telemetry.tracing import compile_traces

    try:
        loaded = load(find_config(config, os.environ))
    except ConfigError as error:
        return list(error.problems)
    problems = list(loaded.problems)
    if loaded.config is not None and not any(p.severity == "error" for p in problems):
        attempts: list[Callable[[], object]] = [
            partial(verification, loaded, os.environ),
            partial(upstream_settings, loaded),
            partial(assertions, loaded),
            partial(compile_traces, loaded, os.environ),
        ]
        for index, listener in enumerate(loaded.config.listeners):
            if listener.tls is not None:
                attempts.append(partial(read_certificates, loaded, index, listener.tls))
        problems += _refused(attempts)
    problems += read_case_files(loaded).problems
    if not any(p.severity == "error" for p in loaded.problems):
        # What a broken route would have used is not unused: warnings wait until the errors are mended.
        problems = lint_all(loaded, problems)
    problems.sort(key=lambda p: (p.file != loaded.source.file, p.file, p.line, p.column))
    return problems


def _refused(attempts: Sequence[Callable[[], object]]) -> list[Problem]:
    """What stands in the way of each, tried one by one."""
    problems: list[Problem] = []
    for attempt in attempts:
        try:
            attempt()
        except ConfigError as error:
            problems += error.problems
    return problems


def _text(problems: Sequence[Problem]) -> str:
    return "".join(f"{problem}\n" for problem in problems)


def _json(problems: Sequence[Problem]) -> str:
    keys = ("file", "line", "column", "severity", "code", "text", "remedy")
    return json.dumps([{key: getattr(p, key) for key in keys} for p in problems], indent=2) + "\n"


def _github(problems: Sequence[Problem]) -> str:
    return "".join(
        annotation(p.severity, p.file, p.line, p.column, p.code, f"{p.text} — {p.remedy}")
        for p in problems
    )


_WRITERS = {Format.text: _text, Format.json: _json, Format.github: _github, Format.sarif: sarif}

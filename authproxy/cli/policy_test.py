"""`authproxy policy test`: the policies' own tests, in the manner of pytest. No server, no key, no secret is needed."""

import sys
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from authproxy.cli.options import ConfigOption, load_config

if TYPE_CHECKING:
    from authproxy.cli.policy_report import Report
    from authproxy.config.load import Loaded
    from authproxy.policy.cases import Case, Result
    from authproxy.policy.offline import PolicySet


class Format(StrEnum):
    """How the outcome is written."""

    text = "text"
    junit = "junit"
    github = "github"
    json = "json"


PathsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE[:LINE]", help="Only the tests of these; also files of tests that the configuration does not name."),
]  # fmt: skip
WordsOption = Annotated[
    str | None,
    typer.Option("-k", metavar="EXPRESSION", help="Only tests with these words in name, request, identity, route or file; and, or, not, parentheses."),
]  # fmt: skip
FirstOption = Annotated[bool, typer.Option("-x", "--exitfirst", help="Stop at the first failure.")]
MostOption = Annotated[
    int, typer.Option("--maxfail", metavar="N", min=0, help="Stop after N failures; 0: never.")
]
CollectOption = Annotated[
    bool, typer.Option("--collect-only", "--co", help="Name the tests, run none.")
]
VerboseOption = Annotated[
    int, typer.Option("-v", "--verbose", count=True, show_default=False, help="A line a test.")
]
QuietOption = Annotated[
    int, typer.Option("-q", "--quiet", count=True, show_default=False, help="Failures only.")
]
CoverageOption = Annotated[
    bool, typer.Option("--coverage", help="Name what no test exercised: routes, entries, sides of `when`.")
]  # fmt: skip
MinimumOption = Annotated[
    float | None,
    typer.Option("--min-coverage", metavar="PERCENT", min=0, max=100, help="Exit 1 below this; 100: all of it."),
]  # fmt: skip
FormatOption = Annotated[Format, typer.Option("--format", help="How the outcome is written.")]


def test(
    paths: PathsArgument = None,
    words: WordsOption = None,
    exitfirst: FirstOption = False,
    maxfail: MostOption = 0,
    collect_only: CollectOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = 0,
    coverage: CoverageOption = False,
    min_coverage: MinimumOption = None,
    format: FormatOption = Format.text,
    config: ConfigOption = None,
) -> None:
    """Run the `tests:` of all policy files, and those of the files in `policy_tests`.

    Example: authproxy policy test -k orders --min-coverage 100
    """
    from authproxy.cli.policy_report import Report
    from authproxy.cli.selection import select
    from authproxy.policies import policy_set
    from authproxy.policy.coverage import measure_coverage

    loaded = load_config(config)
    policies = policy_set(loaded)
    known = _cases(loaded, paths or ())
    cases = list(select(known, paths or (), words))
    if collect_only:
        for case in cases:
            print(f"{case.source.file}:{case.place[0]}:{case.place[1]}: {case.title}")
        return
    begun = time.monotonic()
    results = list(_run(policies, cases, 1 if exitfirst else maxfail))
    measured = None
    if coverage or min_coverage is not None:
        decisions = [one.decision for one in results]
        measured = measure_coverage(policies.table.routes, policies.places, decisions)
    left_out = len(known) - len(cases)
    report = Report(results, left_out, time.monotonic() - begun, measured)
    _write(report, format, verbose - quiet)
    _exit(report, min_coverage)


test.__test__ = False  # type: ignore[attr-defined]  # a command, and none of pytest's tests


def _cases(loaded: "Loaded", paths: Sequence[str]) -> "list[Case]":
    """All tests there are: of the policies, of the files that the configuration names, and of these.

    Raises:
        ConfigError: one of the files cannot be used.
    """
    from authproxy.cli.selection import split_place
    from authproxy.config.case_files import read_case_files
    from authproxy.model.errors import ConfigError
    from authproxy.policy.cases import Files, collect_cases, named_identities

    beside = read_case_files(loaded, [split_place(one)[0] for one in paths])
    if beside.problems:
        raise ConfigError(beside.problems)
    files: Files = [*loaded.policy_files, *beside.files]
    return collect_cases(files, named_identities(files))


def _run(policies: "PolicySet", cases: "Sequence[Case]", most: int) -> "Iterator[Result]":
    from authproxy.policy.cases import run_case

    now, failed = time.time(), 0
    for case in cases:
        result = run_case(policies, case, now)
        yield result
        failed += not result.passed
        if most and failed >= most:
            return


def _write(report: "Report", format: Format, verbosity: int) -> None:
    from authproxy.cli import policy_report

    if format is Format.text:
        print(*policy_report.text(report, verbosity=verbosity), sep="\n")
        return
    writers = {
        Format.junit: policy_report.as_junit,
        Format.github: policy_report.as_github,
        Format.json: policy_report.as_json,
    }
    print(writers[format](report), end="")
    print(report.summary, file=sys.stderr)


def _exit(report: "Report", least: float | None) -> None:
    """1 where a test failed, where nothing was selected, or where too little is covered."""
    from authproxy.cli.policy_report import shown_percent

    covered = report.coverage
    short = covered is not None and least is not None and covered.percent < least
    if covered is not None and short:
        print(f"coverage {shown_percent(covered)} is below {least:g}%", file=sys.stderr)
    if report.failed or short or (report.left_out and not report.results):
        raise typer.Exit(1)

"""`authproxy policy replay` and `policy shadow-report`: what recorded requests would come to, and what was withheld.

A log is somebody's words: what is shown of it is shown escaped, and can be no command of a terminal.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authproxy.cli.options import ConfigOption, Format, FormatOption

if TYPE_CHECKING:
    from authproxy.config.load import Loaded
    from authproxy.policy.changes import Tally


class FailOn(StrEnum):
    """Which findings end with exit status 1."""

    any = "any"
    allow_to_refuse = "allow-to-refuse"
    refuse_to_allow = "refuse-to-allow"
    other_refusal = "other-refusal"
    other_route = "other-route"
    undecidable = "undecidable"
    none = "none"
    never = "never"  # another word for it


LogsArgument = Annotated[
    list[str],
    typer.Argument(metavar="LOG", help="Decision logs or access logs, plain or gzip; - is stdin."),
]
AgainstOption = Annotated[
    Path,
    typer.Option("--against", metavar="DIR", help="The policies to decide by: their directory, one file, or the folder of a whole configuration."),
]  # fmt: skip
FailOption = Annotated[
    list[FailOn] | None,
    typer.Option("--fail-on", metavar="WHAT", help="What ends with exit status 1: allow-to-refuse, refuse-to-allow, other-refusal, other-route, undecidable, none, or any change; repeatable."),
]  # fmt: skip


def replay(
    logs: LogsArgument,
    against: AgainstOption,
    fail_on: FailOption = None,
    format: FormatOption = Format.text,
    config: ConfigOption = None,
) -> None:
    """Say which recorded decisions would be others under other policies.

    Example: authproxy policy replay decisions.log --against policies-next --fail-on refuse-to-allow
    """
    from authproxy.cli.log_lines import Reader
    from authproxy.cli.replay_report import JsonReport, TextReport
    from authproxy.policies import slots_of
    from authproxy.policy.changes import Tally
    from authproxy.policy.replay import Replay

    loaded = _policies(config, against)
    decides = Replay(loaded.policies.table, slots_of(loaded.usable()))
    reader, tally = Reader(logs), Tally()
    report = (JsonReport if format is Format.json else TextReport)(loaded.policy_digest)
    report.begin()
    for record in reader.records():
        before = decides.before(record)
        changed = tally.note(record, before, decides.decide(record))
        if changed is not None:
            report.change(changed)
    report.end(tally, reader)
    if _fails(fail_on or [FailOn.any], tally):
        raise typer.Exit(1)
    # Nothing that was looked at could be decided: that proves nothing, and must not pass for a proof.
    nothing_fails = bool({FailOn.none, FailOn.never} & set(fail_on or ()))
    if reader.lines and not tally.decided and not nothing_fails:
        raise typer.Exit(1)


def _policies(config: str | None, against: Path) -> "Loaded":
    """The policies in that place, under the configuration there or, where none is, the one in use.

    Raises:
        ConfigError: it cannot be used.
    """
    from authproxy.config.load import DEFAULT_PLACES, find_config, load

    if not against.exists():
        raise typer.BadParameter(f"there is no `{against}`", param_hint="--against")
    inside = against / DEFAULT_PLACES[0]
    loaded = load(inside) if inside.is_file() else load(find_config(config, os.environ), against)
    loaded.usable()
    return loaded


def _fails(fail_on: list[FailOn], tally: "Tally") -> bool:
    found = {change.value for change, count in tally.changes.items() if count}
    wanted = {one.value for one in fail_on}
    if FailOn.undecidable in fail_on and tally.undecidable:
        return True
    return bool(found) if FailOn.any in fail_on else bool(found & wanted)


def shadow_report(logs: LogsArgument, format: FormatOption = Format.text) -> None:
    """Say what shadow mode withheld: who would have been refused, by route, reason and subject, since when.

    Example: authproxy policy shadow-report access.log
    """
    from authproxy.cli.log_lines import Reader
    from authproxy.cli.replay_report import shadow_json, shadow_text
    from authproxy.policy.withheld import Withheld

    reader, withheld = Reader(logs), Withheld()
    for record in reader.records():
        withheld.note(record)
    shown = shadow_json if format is Format.json else shadow_text
    for line in shown(withheld, reader):
        print(line)
    if reader.lines and not withheld.requests:
        raise typer.Exit(1)

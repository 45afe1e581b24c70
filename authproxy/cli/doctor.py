"""`authproxy doctor`: looks at what a configuration cannot say of itself, and tells in plain words what to change.

It asks nobody but those whom the configuration names, and changes nothing.
"""

import asyncio
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from authproxy.cli.options import ConfigOption, Format, FormatOption, load_config

if TYPE_CHECKING:
    from authproxy.cli.doctor_findings import Finding
    from authproxy.config.load import Loaded


def doctor(
    config: ConfigOption = None,
    format: FormatOption = Format.text,
) -> None:
    """Look at certificates, keys, cookies, clocks, providers, the state's Redis, backends and the running proxy, and say what to change.

    Asks only those whom the configuration names. Exit 1 where something is to be changed.

    Example: authproxy doctor --config authproxy.yaml
    """
    from authproxy.cli.doctor_findings import as_json, as_text

    findings = asyncio.run(examine(load_config(config)))
    print(as_json(findings) if format is Format.json else as_text(findings))
    if any(one.kind == "problem" for one in findings):
        raise typer.Exit(1)


async def examine(loaded: "Loaded") -> list["Finding"]:
    """Everything that there is to say.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    from authproxy.cli.doctor_files import cookies, files, hosts
    from authproxy.cli.doctor_paths import backends, through
    from authproxy.cli.doctor_remote import remote
    from authproxy.cli.doctor_state import state
    from authproxy.runtime import verification

    decides = verification(loaded, os.environ)
    try:
        found = [
            *files(loaded, datetime.now(UTC)),
            *cookies(loaded, decides),
            *hosts(loaded, decides),
        ]
        for asked in (state(decides), remote(loaded, decides), backends(loaded), through(loaded)):
            found += [one async for one in asked]
        return found
    finally:
        decides.checks.close()

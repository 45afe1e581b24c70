"""`authproxy health`: asks the running proxy how it is, as its configuration says where: what a container's health check calls.

It reads the configuration for the admin address alone, and asks nobody else.
"""

import asyncio
from http import HTTPStatus
from typing import Annotated, NoReturn

import typer

from authproxy.cli.options import ConfigOption, load_config


def health(
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether requests should come, not only whether it lives.")
    ] = False,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """Ask the running proxy's /healthz, or /readyz with --ready: exit 0 and what it said, or 1 and why not.

    Example: authproxy health --ready --config /etc/authproxy/authproxy.yaml
    """
    from authproxy.cli.doctor_probe import NoAnswerError, listening, probe

    admin = load_config(config).usable().admin
    if admin is False:
        _fail("`admin` is false in the configuration: there is nobody to ask")
    place = listening(admin.address, tls=False)
    try:
        reply = asyncio.run(
            probe(place, "/readyz" if ready else "/healthz", [("Host", "localhost")])
        )
    except NoAnswerError as error:
        _fail(f"nobody answers at {admin.address}: {error}")
    said = reply.body.decode(errors="replace").strip()
    if reply.status != HTTPStatus.OK:
        _fail(said or f"it answers {reply.status}")
    print(said)


def _fail(text: str) -> NoReturn:
    typer.echo(f"authproxy: {text}", err=True)
    raise typer.Exit(1)

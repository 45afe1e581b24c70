"""What several commands share: the options `--config` and `--format`, and loading a configuration or saying why it cannot be used."""

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from authproxy.config.load import Loaded

ConfigOption = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE", help="The configuration; else $AUTHPROXY_CONFIG, ./authproxy.yaml, /etc/authproxy/authproxy.yaml."),
]  # fmt: skip


class Format(StrEnum):
    """How a command tells what it found."""

    text = "text"
    json = "json"


FormatOption = Annotated[
    Format, typer.Option("--format", help="text for people, json for programs.")
]


def require_authenticator(loaded: "Loaded", name: str | None) -> None:
    """See that the configuration has the authenticator that an option names; None is none named.

    Raises:
        BadParameter: it has not.
        ConfigError: it cannot be used.
    """
    known = loaded.usable().authenticators
    if name is not None and name not in known:
        text = f"there is no `{name}`; there is: {', '.join(known) or 'none'}"
        raise typer.BadParameter(text, param_hint="--authenticator")


def load_config(named: str | None) -> "Loaded":
    """The configuration that a command works with, as read (problems and all).

    Raises:
        ConfigError: a named one does not exist, or there is none.
    """
    from authproxy.config.load import find_config, load

    return load(find_config(named, os.environ))

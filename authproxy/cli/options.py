"""What several commands share: the `--config` option, and loading a configuration or saying why it cannot be used."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from authproxy.config.load import Loaded

ConfigOption = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE", help="The configuration; else $AUTHPROXY_CONFIG, ./authproxy.yaml, /etc/authproxy/authproxy.yaml."),
]  # fmt: skip


def load_config(named: str | None) -> "Loaded":
    """The configuration that a command works with, as read (problems and all).

    Raises:
        ConfigError: a named one does not exist, or there is none.
    """
    from authproxy.config.load import find_config, load

    return load(find_config(named, os.environ))

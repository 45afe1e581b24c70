"""Which trail the configuration wants, and where it is asked for."""

from pathlib import Path

import pytest

from authproxy.config.schema import Config
from authproxy.policy.record import Recorder
from authproxy.trails import compile_trail, trail_folder


def config(**changes: object) -> Config:
    """A configuration with these sections."""
    return Config.model_validate({"listeners": [{"address": "127.0.0.1:0"}], **changes})


@pytest.mark.parametrize(
    ("state", "environ", "folder"),
    [
        ({}, {}, "/c/state"),
        ({}, {"STATE_DIRECTORY": "/var/lib/authproxy:/x"}, "/var/lib/authproxy"),
        ({"url": "lmdb:here"}, {"STATE_DIRECTORY": "/var/lib/authproxy"}, "/c/here"),
        ({"url": "lmdb:/there"}, {}, "/there"),
        ({"url": "memory:"}, {}, "/c/state"),
        ({"url": "memory:"}, {"STATE_DIRECTORY": "/var/lib/authproxy"}, "/var/lib/authproxy"),
    ],
)
def test_the_sockets_are_in_the_state_directory(
    state: dict[str, str], environ: dict[str, str], folder: str
) -> None:
    """Where the state is in one; else where it would be."""
    assert trail_folder(config(state=state), Path("/c"), environ) == Path(folder)


def test_nothing_is_kept_where_nothing_is_wanted() -> None:
    """`trail: 0`; by default each worker keeps a thousand."""
    assert compile_trail(config(logging={"trail": 0}), Recorder(), None) is None
    kept = compile_trail(config(), Recorder(), None)
    assert kept is not None
    assert kept.most == 1000

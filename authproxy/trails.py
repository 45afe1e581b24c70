"""The trail that the configuration wants, and where the workers' trails can be asked: sockets in the state directory.

The directory is the proxy's own and for its user only; the admin listener is for whoever may read figures, and shows
nobody's name.
"""

from collections.abc import Mapping
from pathlib import Path

from authproxy.config.schema import Config
from authproxy.policy.record import Recorder
from authproxy.telemetry.trail import Trail


def compile_trail(config: Config, recorder: Recorder, previous: Trail | None) -> Trail | None:
    """The trail, with what the previous one kept; None where nothing is to be kept."""
    return Trail(config.logging.trail, recorder, previous) if config.logging.trail else None


def trail_folder(config: Config, folder: Path, environ: Mapping[str, str]) -> Path:
    """Where the sockets are: beside the state in LMDB; else in `$STATE_DIRECTORY`, or `state/` beside the configuration."""
    kind, _, named = (config.state.url or "").partition(":")
    if kind != "lmdb":
        named = (environ.get("STATE_DIRECTORY") or "state").split(":")[0]
    return folder / named

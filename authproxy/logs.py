"""Opens the logs that the configuration names; one that cannot be opened is a problem at its place."""

from authproxy.config.load import Loaded
from authproxy.model.errors import ConfigError
from authproxy.policy.record import Recorder
from authproxy.telemetry.access_log import access_log
from authproxy.telemetry.decision_log import DecisionLog
from authproxy.telemetry.line_log import LineLog


def open_access_log(loaded: Loaded) -> LineLog:
    """The access log.

    Raises:
        ConfigError: it cannot be opened for appending.
    """
    settings = loaded.usable().logging.access
    path = settings.path if settings.path == "-" else str(loaded.folder / settings.path)
    try:
        return access_log(path, settings.format)
    except OSError as error:
        raise _unwritable(loaded, "access", path, error) from None


def open_decision_log(
    loaded: Loaded, recorder: Recorder, previous: DecisionLog | None
) -> DecisionLog | None:
    """The decision log, in the file of the previous one where that is the same; None where there is to be none.

    Raises:
        ConfigError: it cannot be opened for appending.
    """
    settings = loaded.usable().logging.decisions
    if settings is None:
        return None
    path = str(loaded.folder / settings.path)
    try:
        return DecisionLog(path, recorder, previous)
    except OSError as error:
        raise _unwritable(loaded, "decisions", path, error) from None


def _unwritable(loaded: Loaded, which: str, path: str, error: OSError) -> ConfigError:
    name = "access" if which == "access" else "decision"
    text = f"the {name} log {path} cannot be opened: {(error.strerror or str(error)).lower()}"
    remedy = "check its path and mode"
    problem = loaded.source.problem(("logging", which, "path"), "unwritable", text, remedy)
    return ConfigError([problem])

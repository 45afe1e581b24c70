"""The decision log: one line a decision, with what the loaded policies read, for `authproxy policy replay`.

What is in a line is `policy/record.py`'s business, how lines get onto the disk `line_log.py`'s. The file is for its owner
alone: it says who asked for what, and which of their claims decide.
"""

import orjson

from authproxy.model.exchange import Exchange
from authproxy.policy.record import Recorder
from authproxy.telemetry.access_log import escaped_line
from authproxy.telemetry.line_log import LineLog, LineOf

LINE_MOST = 32 << 10  # bytes; what callers choose must not fill the disk
LONG = ("claims", "headers", "groups", "scopes")  # what is left out of a longer one, by its paths


class DecisionLog:
    """What one set of policies writes into a log; the next set takes over the file, which stays open.

    A log of which nothing is taken over opens its own, for appending.

    Raises:
        OSError: it cannot be opened.
    """

    __slots__ = ("_line_of", "lines", "path")

    def __init__(
        self, path: str, recorder: Recorder, previous: "DecisionLog | None" = None
    ) -> None:
        self.path = path
        self._line_of = decision_line(recorder)
        if previous is not None and previous.path == path:
            self.lines: LineLog = previous.lines
        else:
            self.lines = LineLog(path, self._line_of, "decision", private=True)

    def write(self, exchange: Exchange) -> None:
        """Note what was decided about this request, if anything was."""
        self.lines.write(exchange, 0.0, self._line_of)


def decision_line(recorder: Recorder) -> LineOf:
    """What makes the line of a decision; None where nothing was decided."""

    def line_of(exchange: Exchange, _seconds: float) -> bytes | None:
        record = recorder.recorded(exchange)
        if record is None:
            return None
        try:
            line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:
            line = escaped_line(record)
        if len(line) > LINE_MOST:
            kept = {name: part for name, part in record.items() if name not in LONG}
            return escaped_line({**kept, "withheld": LONG})
        return line if line.isascii() and b"\x7f" not in line else escaped_line(record)

    return line_of

"""What can go wrong, by who must act: a Refusal answers a caller, a Problem asks the operator to mend a file.

`REFUSALS` is the one table of codes; a code is the same word in the response, the log and the metrics.
Nothing here renders a response: the envelope does.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

E = TypeVar("E", bound=Exception)

# code: (status, title). The title is all that a caller is told besides the code.
REFUSALS: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The request is not well-formed"),
    "unauthenticated": (401, "Credentials are needed"),
    "token_invalid": (401, "The credentials are not valid"),
    "token_expired": (401, "The credentials have expired"),
    "token_revoked": (401, "The credentials have been revoked"),
    "session_expired": (401, "The session has expired"),
    "forbidden": (403, "Access is not allowed"),
    "cross_site": (403, "Requests from another site are not allowed"),
    "no_route": (404, "There is nothing here"),
    "method_not_allowed": (405, "The method is not allowed here"),
    "request_timeout": (408, "The request took too long to arrive"),
    "body_too_large": (413, "The request body is too large"),
    "uri_too_long": (414, "The request target is too long"),
    "misdirected": (421, "The request reached the wrong server"),
    "rate_limited": (429, "Too many requests"),
    "headers_too_large": (431, "The request headers are too large"),
    "client_gone": (499, "The client went away"),
    "internal_error": (500, "Something went wrong here"),
    "upstream_unreachable": (502, "The service behind could not be reached"),
    "upstream_invalid": (502, "The service behind gave no valid answer"),
    "overloaded": (503, "Too many connections"),
    "state_unavailable": (503, "The service is temporarily unavailable"),
    "draining": (503, "The service is shutting down"),
    "upstream_timeout": (504, "The service behind took too long"),
    "version_not_supported": (505, "The HTTP version is not supported"),
}


class Refusal(Exception):  # noqa: N818  # a refusal is an answer of the proxy, not an error of it
    """A request that is not passed on, and why.

    Args:
        code: a key of `REFUSALS`.
        reason: a short word for the log only (`signature`, `alias-host`); never sent to the caller.
        headers: more headers of the answer, such as `Allow` or `WWW-Authenticate`.
        close: the connection cannot be used again, its framing is in doubt.
    """

    __slots__ = ("close", "code", "headers", "reason", "status", "title")

    def __init__(
        self,
        code: str,
        reason: str = "",
        *,
        headers: tuple[tuple[str, str], ...] = (),
        close: bool = False,
    ) -> None:
        super().__init__(code, reason)
        self.code = code
        self.status, self.title = REFUSALS[code]
        self.reason = reason
        self.headers = headers
        self.close = close


def valued(error: E) -> E:
    """An error that is handed on as a value: without the frames that it came through, and without the errors before it. One
    of them may hold it, and so all of them, requests too, until the collector comes.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


Severity = Literal["error", "warning"]
# Control characters, line and paragraph separators, direction overrides, lone surrogates.
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """The text as one line that a terminal shows as it is: what would move, colour or turn it is escaped."""
    if text.isprintable():  # as nearly every text is
        return text
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file of the operator: where (1-based), how bad, a stable code, what is wrong, what to do."""

    file: str
    line: int
    column: int
    code: str
    text: str
    remedy: str
    severity: Severity = "error"

    def __str__(self) -> str:
        """One line, whatever the names in it hold: a key may be quoted and have line ends or escape codes in it."""
        line = (
            f"{self.file}:{self.line}:{self.column}: {self.severity}: "
            f"{self.code}: {self.text} — {self.remedy}"
        )
        return printable(line)

    def relative_to(self, folder: Path) -> "Problem":
        """The same problem with its file named from this folder where it lies below it."""
        path = Path(self.file)
        return (
            replace(self, file=str(path.relative_to(folder)))
            if path.is_relative_to(folder)
            else self
        )


class ConfigError(Exception):
    """The configuration cannot be used; `problems` are all of them, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

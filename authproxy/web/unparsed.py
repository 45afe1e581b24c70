"""What the parser would not take, as a refusal: aiohttp's errors into our codes, and ours where it expects one of its own.

Three of aiohttp's habits are relied upon here and held by contract tests: the arguments of LineTooLong, and the words of
the errors for too many fields and for a version that it does not know.
"""

from aiohttp.http_exceptions import BadHttpMessage, BadStatusLine, LineTooLong
from aiohttp.web_protocol import _ErrInfo

from authproxy.model.errors import Refusal


class _Refused(BadHttpMessage):
    """Carries a refusal of ours where aiohttp expects a parser's error."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def error_info(refusal: Refusal) -> _ErrInfo:
    """What aiohttp queues in place of a request that it could not parse, for a refusal of ours."""
    return _ErrInfo(status=refusal.status, exc=_Refused(refusal), message=refusal.code)


def refusal_of(error: BaseException, line_most: int) -> Refusal:
    """The refusal that a parser's error stands for; `line_most` is the bound on the request line."""
    if isinstance(error, _Refused):
        return error.refusal
    if isinstance(error, LineTooLong):
        # aiohttp tells a long target from a long field by the bound that was hit, and by nothing else.
        return Refusal(
            "uri_too_long" if error.args[1] == line_most else "headers_too_large",
            "parser",
            close=True,
        )
    if isinstance(error, BadHttpMessage) and "Too many headers" in str(error):
        return Refusal("headers_too_large", "parser", close=True)
    if isinstance(error, BadStatusLine) and "Invalid HTTP version:" in str(error):
        return Refusal("version_not_supported", "parser", close=True)
    return Refusal("bad_request", "parser", close=True)

"""Another body in the place of a request's own: one hook of aiohttp beside those of `compat.py`, with its contract test.

Only what was read to its end is replaced, so the connection's own reading is over; the fields must say the same.
"""

from aiohttp.streams import StreamReader

from authproxy.web.compat import Request


def replace_body(request: Request, body: bytes) -> None:
    """Let everybody who reads the request from now on find this body, whole."""
    loop = request._loop  # noqa: SLF001  # there is no public word for the loop that it belongs to
    reader = StreamReader(request.protocol, max(len(body), 1), loop=loop)
    reader.feed_data(body)
    reader.feed_eof()
    request._payload = reader  # noqa: SLF001  # what `content` gives
    request._cache["content"] = reader  # noqa: SLF001  # and what it gave before, which is remembered

"""The header fields of a request: each is passed on, kept back or read by us, by its name alone, in one pass.

Nothing here depends on anything but the fields and the rules, so a connection whose client repeats its fields (nearly
all do) has them read once.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from authproxy.model.errors import Refusal
from authproxy.model.headers import HeaderRules, Kind, connection_options, lower_names

Line = tuple[bytes, bytes]
PASS, TRUSTED, CONNECTION = Kind.PASS, Kind.TRUSTED, Kind.CONNECTION
# Far over any body, far under where parsers' counters wrap (aiohttp's C parser takes 2**64-1 for no body).
CONTENT_LENGTH_DIGITS = 15


class Fields:
    """What the fields say. `lines` may pass to the backend, in order; `authorization` and `cookies` wait until the route
    is known; `told` is what only a trusted proxy may say. `size` is that of all in bytes, as they were sent.

    `memo` is for whoever works something out from these fields: one entry for each class that does, with what else it
    depends on in it, so that a connection's memory is bounded. It lives as long as the fields do.
    """

    __slots__ = (
        "_seen", "authorization", "chunked", "content_length", "cookies", "expects_continue", "host", "lines", "memo",
        "overrides_method", "size", "told", "upgrade",
    )  # fmt: skip

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self.lines: list[Line] = list(lines)
        self.told: list[Line] = []
        self.host = ""
        self.authorization: bytes | None = None
        self.cookies: list[bytes] = []
        self.content_length: int | None = None
        self.chunked = False
        self.expects_continue = False
        self.upgrade: bytes | None = None
        self.overrides_method = False  # one of `lines` asks frameworks for another method
        self.size = 0
        self.memo: dict[type, Any] = {}
        self._seen: Mapping[str, str] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The fields that may pass, as policies see them: names in lower case, values joined with `, `."""
        if self._seen is None:
            self._seen = lower_names(self.lines)
        return self._seen

    @property
    def has_body(self) -> bool:
        """Does a request body follow the head (RFC 9112 section 6)?"""
        return self.chunked or bool(self.content_length)

    @property
    def repeatable(self) -> bool:
        """Can another request mean the same by these? Not with a body, nor where they ask for more than an answer."""
        return not (self.told or self.upgrade or self.expects_continue or self.has_body)

    def replace_body(self, content_type: bytes, length: int) -> None:
        """Another body takes the place of the one that these fields came with."""
        kept = [line for line in self.lines if line[0].lower() != b"content-type"]
        self.lines = [*kept, (b"Content-Type", content_type)]
        self.content_length, self.chunked, self._seen = length, False, None

    def apply_connection(self, options: set[bytes]) -> None:
        """Drop what `Connection` names, before anything of ours is set (RFC 9110 section 7.6.1)."""
        named = options - {b"close", b"keep-alive", b"upgrade"}
        if named:
            self.lines = [line for line in self.lines if line[0].lower() not in named]
            if b"cookie" in named:
                self.cookies = []
            if b"authorization" in named:
                self.authorization = None
        if b"upgrade" not in options:
            self.upgrade = (
                None  # RFC 9110 section 7.8: without the option the field asks for nothing
            )


def read_fields(raw: Iterable[Line], rules: HeaderRules) -> Fields:
    """Sort the fields of a request.

    Raises:
        Refusal: `bad_request` for what readers could understand differently.
    """
    found = Fields()
    kinds, lines = rules.kind, found.lines
    options: list[bytes] = []
    size = 0
    for line in raw:
        name, value = line
        size += len(name) + len(value) + 4
        kind = kinds(name)
        if kind is PASS:
            lines.append(line)
        elif kind in _READERS:
            _READERS[kind](found, value)
        elif kind is TRUSTED:
            found.told.append(line)
        elif kind is CONNECTION:
            options.append(value)
        elif kind is Kind.METHOD_OVERRIDE:
            found.overrides_method = True
            lines.append(line)
    found.size = size
    if options or found.upgrade is not None:
        found.apply_connection(connection_options(options))
    return found


def _host(found: Fields, value: bytes) -> None:
    if found.host:
        raise Refusal("bad_request", "host-twice", close=True)
    found.host = value.decode("latin-1")
    if not found.host:
        raise Refusal("bad_request", "no-host", close=True)


def _content_length(found: Fields, value: bytes) -> None:
    seen = found.content_length is not None
    if seen or not value.isdigit() or len(value) > CONTENT_LENGTH_DIGITS:
        raise Refusal("bad_request", "content-length", close=True)
    found.content_length = int(value)


def _transfer_encoding(found: Fields, value: bytes) -> None:
    # RFC 9112 section 6.1: chunked is the only coding we read; others are for whoever can decode them.
    if found.chunked or value.lower() != b"chunked":
        raise Refusal("bad_request", "transfer-encoding", close=True)
    found.chunked = True


def _authorization(found: Fields, value: bytes) -> None:
    if found.authorization is not None:
        raise Refusal("bad_request", "authorization-twice")
    found.authorization = value


def _cookie(found: Fields, value: bytes) -> None:
    found.cookies.append(value)


def _upgrade(found: Fields, value: bytes) -> None:
    found.upgrade = value.lower() if found.upgrade is None else b"several"


def _expect(found: Fields, value: bytes) -> None:
    # RFC 9110 section 10.1.1; look-alikes are how Expect was used to desynchronise proxies.
    if value.lower() != b"100-continue":
        raise Refusal("bad_request", "expect", close=True)
    found.expects_continue = True


_READERS: dict[Kind, Callable[[Fields, bytes], None]] = {
    Kind.HOST: _host,
    Kind.CONTENT_LENGTH: _content_length,
    Kind.TRANSFER_ENCODING: _transfer_encoding,
    Kind.AUTHORIZATION: _authorization,
    Kind.COOKIE: _cookie,
    Kind.UPGRADE: _upgrade,
    Kind.EXPECT: _expect,
}

"""The kinds of value that a configuration is written in: durations, sizes, addresses, networks, secrets by reference.

Each parses text into a value or raises a `wrong(...)` that carries a stable code, what is wrong and what to do;
`load.py` adds the place. No file is opened here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, StrictInt, WithJsonSchema, model_validator

from authproxy.model.address import Network, parse_network
from authproxy.model.shape import Section, wrong

DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
DURATION = r"^\d{1,9}(ms|s|m|h|d)$"
SIZE = r"^\d{1,12}(B|KiB|MiB|GiB)?$"


def _text(value: Any, example: str) -> str:
    if not isinstance(value, str):
        raise wrong("wrong-type", "this must be text", f"write it like `{example}`")
    return value


def parse_duration(value: Any) -> float:
    """`500ms 30s 5m 12h 7d` in seconds."""
    found = re.fullmatch(r"(\d{1,9})(ms|s|m|h|d)", value) if isinstance(value, str) else None
    if found is None:
        raise wrong(
            "bad-duration",
            "this is no duration",
            "write a number and a unit: `500ms`, `30s`, `5m`, `12h` or `7d`",
        )
    return int(found[1]) * DURATION_UNITS[found[2]]


def parse_size(value: Any) -> int:
    """`64KiB 10MiB` or a plain number, in bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = re.fullmatch(r"(\d{1,12})(B|KiB|MiB|GiB)?", value) if isinstance(value, str) else None
    if found is None:
        raise wrong("bad-size", "this is no size", "write a number and a unit: `64KiB` or `10MiB`")
    return int(found[1]) * SIZE_UNITS[found[2] or "B"]


def read_network(value: Any) -> Network:
    """`10.0.0.0/8`, `2001:db8::/32`, or one address."""
    text = _text(value, "10.0.0.0/8")
    try:
        return parse_network(text)
    except ValueError as error:
        hint = (
            "its host bits must be 0"
            if "host bits" in str(error)
            else "write an address and a prefix length"
        )
        raise wrong(
            "bad-network", f"`{text[:60]}` is no network", f"{hint}, such as `10.0.0.0/8`"
        ) from None


Duration = Annotated[
    float, BeforeValidator(parse_duration), WithJsonSchema({"type": "string", "pattern": DURATION})
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": SIZE}]}
    ),
]
NetworkText = Annotated[Any, BeforeValidator(read_network), WithJsonSchema({"type": "string"})]
Count = Annotated[StrictInt, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """Where to listen: a host and a port (0: any free one), or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_socket_address(value: Any) -> SocketAddress:
    """`127.0.0.1:8443`, `[::]:8443`, `localhost:8443` or `unix:/run/authproxy.sock`."""
    text = _text(value, "127.0.0.1:8443")
    if text.startswith("unix:"):
        if not text.removeprefix("unix:").startswith("/"):
            raise wrong(
                "bad-address",
                "a Unix socket needs an absolute path",
                "write `unix:/run/authproxy.sock`",
            )
        return SocketAddress(path=text.removeprefix("unix:"))
    if text.startswith("fd:"):
        raise wrong(
            "not-available",
            "listening on inherited sockets is not part of this version",
            "write `host:port`",
        )
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if (
        not host
        or not port.isascii()
        or not port.isdigit()
        or int(port) > 65535
        or (":" in host and not bracketed)
    ):
        raise wrong(
            "bad-address",
            "this is no address to listen on",
            'write `host:port`, `"[::]:8443"` or `unix:/path`',
        )
    return SocketAddress(host.strip("[]"), int(port))


ListenAddress = Annotated[
    SocketAddress, BeforeValidator(parse_socket_address), WithJsonSchema({"type": "string"})
]


def check_url(text: str, schemes: tuple[str, ...]) -> str:
    """The URL itself if it names a host, is of one of these schemes and holds no credentials."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong(
            "bad-url", "this is no URL", f"write it like `{schemes[0]}://host:port`"
        ) from None
    if "@" in parts.netloc:
        raise wrong(
            "literal-secret",
            "credentials in a URL are refused",
            "leave them out; secrets go in as {file: PATH} or {env: NAME}",
        )
    if parts.scheme not in schemes or not host or port == 0:
        wanted = " or ".join(f"`{s}://`" for s in schemes)
        raise wrong("bad-url", "this is no URL that can be used here", f"write {wanted} and a host")
    return text


class Secret(Section):
    """A secret by reference: `{file: PATH}` or `{env: NAME}`; one trailing newline is dropped, empty is an error."""

    file: str | None = None
    env: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_literal(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise wrong(
                "literal-secret",
                "a secret must not stand in the configuration",
                "write {file: PATH} or {env: NAME}",
            )
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> "Secret":
        if (self.file is None) == (self.env is None):
            raise wrong(
                "bad-secret",
                "a secret comes from one place",
                "write either {file: PATH} or {env: NAME}",
            )
        return self


def _refuse(what: str) -> Callable[[Any], Any]:
    def refuse(_value: Any) -> Any:
        raise wrong("not-available", f"{what} is not part of this version", "remove it")

    return refuse


def later(what: str) -> Any:
    """The type of a key that the contract names and this version does not have: asking for it is an error that says so."""
    return Annotated[None, BeforeValidator(_refuse(what)), WithJsonSchema({"not": {}})]


Access = Literal["json", "combined", "none"]

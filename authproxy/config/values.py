"""The kinds of value that a configuration is written in: durations, sizes, addresses, networks, secrets by reference.

Each parses text into a value or raises a `wrong(...)` that carries a stable code, what is wrong and what to do;
`load.py` adds the place. No file is opened here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)

from authproxy.model.address import Network, parse_address, parse_network
from authproxy.model.shape import Section, wrong
from authproxy.model.url import is_allowed

DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
DURATION = r"^([0-9]{1,9})(ms|s|m|h|d)$"
SIZE = r"^([0-9]{1,12})(B|KiB|MiB|GiB)?$"


def _text(value: Any, example: str) -> str:
    if not isinstance(value, str):
        raise wrong("wrong-type", "this must be text", f"write it like `{example}`")
    return value


def parse_duration(value: Any) -> float:
    """`500ms 30s 5m 12h 7d` in seconds; 0 needs no unit."""
    if value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0.0
    found = re.fullmatch(DURATION, value) if isinstance(value, str) else None
    if found is None:
        raise wrong(
            "bad-duration",
            "this is no duration",
            "write a number and a unit: `500ms`, `30s`, `5m`, `12h` or `7d`",
        )
    return int(found[1]) * DURATION_UNITS[found[2]]


def parse_size(value: Any) -> int:
    """`64KiB 10MiB` or a plain number, in bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62:
        return value
    found = re.fullmatch(SIZE, value) if isinstance(value, str) else None
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
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"anyOf": [{"const": 0}, {"type": "string", "pattern": DURATION}]}),
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
    """Where to listen: a host and a port (0: any free one), the path of a Unix socket, or the name of an inherited one."""

    host: str = ""
    port: int = 0
    path: str = ""
    fd: str = ""

    def __str__(self) -> str:
        if self.fd:
            return f"fd:{self.fd}"
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_socket_address(value: Any) -> SocketAddress:
    """`127.0.0.1:8443`, `[::]:8443`, `localhost:8443`, `unix:/run/authproxy.sock` or `fd:NAME`."""
    text = _text(value, "127.0.0.1:8443")
    if text.startswith("unix:"):
        return SocketAddress(path=check_socket(text, "bad-address"))
    if text.startswith("fd:"):
        # What systemd takes as a name (sd_listen_fds_with_names(3)).
        if not re.fullmatch(r"[!-9;-~]{1,255}", text[3:]):
            said = "an inherited socket is named by printable ASCII without colons and spaces"
            raise wrong("bad-address", said, "write `fd:` and its FileDescriptorName")
        return SocketAddress(fd=text[3:])
    found = _LISTEN.fullmatch(text)
    if found is None or int(found["port"]) > 65535 or not _is_six(found["six"]):
        remedy = 'write `host:port`, `"[::]:8443"`, `unix:/path` or `fd:NAME`'
        raise wrong("bad-address", "this is no address to listen on", remedy)
    return SocketAddress(found["six"] or found["name"], int(found["port"]))


_LISTEN = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_.-]{1,253})):(?P<port>[0-9]{1,5})"
)


def _is_six(text: str | None) -> bool:
    return text is None or (":" in text and parse_address(text) is not None)


def check_socket(text: str, code: str) -> str:
    """The path of `unix:/path`."""
    path = text.removeprefix("unix:")
    # sun_path holds 108 bytes, the last of them 0 (unix(7)).
    if (
        not path.startswith("/")
        or path.startswith("//")
        or "\0" in path
        or len(path.encode("utf-8", "replace")) > 107
    ):
        said = "a Unix socket needs an absolute path of at most 107 bytes"
        raise wrong(code, said, "write it like `unix:/run/name.sock`")
    return path


ListenAddress = Annotated[
    SocketAddress, BeforeValidator(parse_socket_address), WithJsonSchema({"type": "string"})
]


_LABEL = r"[A-Za-z0-9_-]{1,63}"
_SERVER = re.compile(
    rf"https?://(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|{_LABEL}(?:\.{_LABEL})*\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


def has_userinfo(url: str) -> bool:
    """Does the URL hold credentials (RFC 3986 section 3.2.1)?"""
    _, marks, rest = url.partition("//")
    return bool(marks) and "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]


def _without_credentials(value: str) -> str:
    if has_userinfo(value):
        text = "credentials in a URL are refused"
        raise wrong("literal-secret", text, "write the issuer without them")
    return value


# Whatever an `iss` claim may be; most are URLs.
IssuerText = Annotated[StrictStr, Field(min_length=1), AfterValidator(_without_credentials)]


def parse_server(value: Any) -> str:
    """`http://127.0.0.1:9000`, `https://orders.internal` or `unix:/run/backend.sock`, without a last `/`."""
    text = _text(value, "http://127.0.0.1:9000")
    if text.startswith("unix:"):
        return "unix:" + check_socket(text, "bad-url")
    if has_userinfo(text):
        remedy = "leave them out; secrets go in as {file: PATH} or {env: NAME}"
        raise wrong("literal-secret", "credentials in a URL are refused", remedy)
    found = _SERVER.match(text)
    if (
        found is not None
        and found.end() < len(text)
        and text[found.end() - 1 :][:1] in {"/", "?", "#"}
    ):
        remedy = "write scheme, host and port only; `rewrite` changes paths"
        raise wrong("bad-url", "a server has no path", remedy)
    if (
        found is None
        or found.end() != len(text)
        or not _is_six(found["six"])
        or not 0 < int(found["port"] or 80) < 65536
    ):
        raise wrong(
            "bad-url", "this is no server", "write it like `http://host:port`, in lower case"
        )
    return text.removesuffix("/")


ServerURL = Annotated[str, BeforeValidator(parse_server), WithJsonSchema({"type": "string"})]


def parse_remote(value: Any) -> str:
    """`https://id.example.com/jwks`: what we ask ourselves. http only to this machine (RFC 8725 section 3.10)."""
    text = _text(value, "https://id.example.com/jwks")
    if has_userinfo(text):
        raise wrong("literal-secret", "credentials in a URL are refused", "leave them out")
    if not is_allowed(text):
        remedy = "write an https URL; http is only for this machine (127.0.0.1, [::1], localhost)"
        raise wrong("bad-url", "this URL may not be asked", remedy)
    return text


RemoteURL = Annotated[
    str, BeforeValidator(parse_remote), WithJsonSchema({"type": "string", "format": "uri"})
]


class Secret(Section):
    """A secret by reference: `{file: PATH}` or `{env: NAME}`; one trailing newline is dropped, empty is an error."""

    file: Annotated[str, Field(min_length=1)] | None = None
    env: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_literal(cls, value: Any) -> Any:
        # Also `{hunter2}`, which YAML reads as a key: an unknown key would be quoted.
        if not isinstance(value, dict) or not set(value) <= {"file", "env"}:
            said = "a secret must not stand in the configuration"
            raise wrong("literal-secret", said, "write {file: PATH} or {env: NAME}")
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> "Secret":
        if (self.file is None) == (self.env is None):
            remedy = "write either {file: PATH} or {env: NAME}"
            raise wrong("bad-secret", "a secret comes from one place", remedy)
        return self


def _refuse(what: str) -> Callable[[Any], Any]:
    def refuse(_value: Any) -> Any:
        raise wrong("not-available", f"{what} is not part of this version", "remove it")

    return refuse


def later(what: str) -> Any:
    """The type of a key that the contract names and this version does not have: asking for it is an error that says so."""
    return Annotated[None, BeforeValidator(_refuse(what)), WithJsonSchema({"not": {}})]

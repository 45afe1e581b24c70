"""Where a request holds credentials: headers and cookies, read exactly; the query never, as it is logged everywhere.

A slot gives the text that is presented there, or None where there is nothing for it. It does not judge the text.
"""

import binascii
from dataclasses import dataclass
from typing import Protocol

from authproxy.config.authenticators import ASYMMETRIC, TokenSlot
from authproxy.model.errors import Refusal

_NONE: list[str] = []


class HeaderView(Protocol):
    """The headers of a request, names in any case; values may hold surrogates."""

    def getall(self, key: str, default: list[str], /) -> list[str]:
        """All values of a name."""
        ...

    def get(self, key: str, /) -> str | None:
        """The first value of a name."""
        ...


class Presented(Protocol):
    """What of a request can say who makes it: the request itself, as far as authenticators look at it."""

    @property
    def headers(self) -> HeaderView:
        """The header fields as they came."""
        ...

    @property
    def certificate(self) -> bytes | None:
        """The client's certificate (DER), where the handshake asked for one and verified it."""
        ...

    @property
    def method(self) -> str:
        """The method."""
        ...

    @property
    def target_uri(self) -> str:
        """Scheme, authority and path as sent, without the query (RFC 9110 section 7.1; what a DPoP proof names)."""
        ...


@dataclass(frozen=True, slots=True)
class Presentation:
    """What is presented outside of a server: by `policy explain`, by `token verify`, by tests."""

    headers: HeaderView
    certificate: bytes | None = None
    method: str = "GET"
    target_uri: str = ""


class Slot(Protocol):
    """A place of the request. `name` tells it from all others; `challenge` is its scheme in WWW-Authenticate, if any."""

    @property
    def name(self) -> str:
        """Its name, for cache keys."""
        ...

    @property
    def challenge(self) -> str | None:
        """The authentication scheme as configured; None where HTTP knows no scheme for it."""
        ...

    def read(self, presented: Presented) -> str | None:
        """What is presented here; "" where something is that cannot be a credential.

        Raises:
            Refusal: `bad_request`: it is there twice, and readers would differ in which one counts.
        """
        ...


def _single(values: list[str]) -> str:
    if len(values) > 1:
        raise Refusal("bad_request", "repeated-credential")
    return values[0]


class SchemeSlot:
    """`Authorization: SCHEME credential`; the scheme in any case (RFC 9110 section 11.1)."""

    __slots__ = ("_scheme", "challenge", "name")

    def __init__(self, scheme: str) -> None:
        self.challenge: str | None = scheme
        self.name = f"scheme:{scheme.lower()}"
        self._scheme = scheme.lower()

    def read(self, presented: Presented) -> str | None:
        values = presented.headers.getall("Authorization", _NONE)
        if not values:
            return None
        scheme, _, credential = _single(values).partition(" ")
        return credential.strip(" ") if scheme.lower() == self._scheme else None


class BasicSlot(SchemeSlot):
    """The password of `Authorization: Basic` (RFC 7617 section 2); the user-id says nothing here."""

    __slots__ = ()

    def read(self, presented: Presented) -> str | None:
        encoded = super().read(presented)
        if encoded is None:
            return None
        try:
            pair = binascii.a2b_base64(encoded.encode(), strict_mode=True).decode()
        except ValueError:
            return ""
        return pair.partition(":")[2]


class HeaderSlot:
    """A header of its own; empty is the same as absent."""

    __slots__ = ("_header", "challenge", "name")

    def __init__(self, header: str) -> None:
        self.challenge: str | None = None
        self.name = f"header:{header.lower()}"
        self._header = header

    def read(self, presented: Presented) -> str | None:
        values = presented.headers.getall(self._header, _NONE)
        return _single(values).strip(" \t") or None if values else None


def cookies_of(headers: HeaderView) -> list[tuple[str, str]]:
    """Every cookie by its name: what stands between two semicolons is one, whatever is in it (RFC 6265 section 4.2.1).

    Readers that also split at white space would take `a=b __Host-c=d`, which is one cookie that any sibling host may set,
    for two.
    """
    pairs = (
        pair.partition("=") for line in headers.getall("Cookie", _NONE) for pair in line.split(";")
    )
    return [(name.strip(" \t"), value.strip(" \t")) for name, _, value in pairs]


class CookieSlot:
    """A cookie; its name is case-sensitive (RFC 6265 section 4.1), its value is taken as it is, empty is the same as absent."""

    __slots__ = ("_cookie", "challenge", "name")

    def __init__(self, cookie: str) -> None:
        self.challenge: str | None = None
        self.name = f"cookie:{cookie}"
        self._cookie = cookie

    def read(self, presented: Presented) -> str | None:
        values = [value for name, value in cookies_of(presented.headers) if name == self._cookie]
        return _single(values) or None if values else None


def compile_slot(settings: TokenSlot) -> Slot:
    """The slot that the configuration describes."""
    if settings.cookie is not None:
        return CookieSlot(settings.cookie)
    if settings.scheme is None:
        return HeaderSlot(settings.header or "")
    return (
        BasicSlot(settings.scheme)
        if settings.scheme.lower() == "basic"
        else SchemeSlot(settings.scheme)
    )


DPOP = SchemeSlot(
    "DPoP"
)  # read where an authenticator asks for proofs; no place of the configuration's own


def challenge(scheme: str, *, error: str = "") -> tuple[str, str]:
    """One WWW-Authenticate field: RFC 6750 section 3 (no error where nothing was presented), RFC 7617 section 2.1,
    RFC 9449 section 7.1.
    """
    parameters = 'realm="authproxy"'
    if scheme.lower() == "basic":
        return "WWW-Authenticate", f'Basic {parameters}, charset="UTF-8"'
    if error and scheme.lower() in {"bearer", "dpop"}:
        parameters += f', error="{error}"'
    if scheme == DPOP.challenge:
        parameters += f', algs="{" ".join(ASYMMETRIC)}"'
    return "WWW-Authenticate", f"{scheme} {parameters}"

"""What the claims of a token say: for whom it is, when it is good, who is calling.

The signature is somebody else's question and comes first. A claim that is there but not of its kind makes the token
`token_invalid`: leaving such a claim out could take away just the group that a `deny` looks for.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from authproxy.config.authenticators import ClaimNames
from authproxy.model.claims import MISSING, find_claim
from authproxy.model.errors import Refusal

# C0 and DEL can split a header or a log line; C1 steers terminals that show a log, and some readers take NEL for a newline.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_YEAR_10000 = 253402300800.0  # no calendar that logs and policies use goes further


def invalid(reason: str) -> Refusal:
    """The refusal of a token that is ours and bad; the reason, a constant word, is for the log only."""
    return Refusal("token_invalid", reason)


def find(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this name or dotted path, as policies find it; None where there is nothing."""
    found = find_claim(claims, path)
    return None if found is MISSING else found


def _clean(value: Any, reason: str) -> str:
    # What is printable, as nearly every text is, holds no control character.
    if not isinstance(value, str) or not (value.isprintable() or not _CONTROL.search(value)):
        raise invalid(reason)
    return value


def text(claims: Mapping[str, Any], path: str) -> str | None:
    """A claim that is one text; None where it is absent, null or empty."""
    value = claims.get(path)
    if value is None:
        value = find(claims, path) if "." in path else None
        if value is None:
            return None
    return _clean(value, "claim") or None


def texts(claims: Mapping[str, Any], path: str, *, spaced: bool = False) -> tuple[str, ...]:
    """A claim that is a list of texts, each once, empty ones left out.

    A single text is a list of one: a group may hold spaces. With `spaced` it is separated by spaces (RFC 8693 section 4.2).
    """
    value = claims.get(path)
    if value is None:
        value = find(claims, path) if "." in path else None
        if value is None:
            return ()
    if isinstance(value, str):
        value = value.split(" ") if spaced else [value]
    if not isinstance(value, list):
        raise invalid("claim")
    for item in value:
        _clean(item, "claim")
    return tuple(dict.fromkeys(filter(None, value)))


def email(claims: Mapping[str, Any], path: str) -> str | None:
    """The e-mail address; None where the issuer itself says that it did not verify it (OpenID Connect Core 5.1)."""
    # Facts 88, and oauth2-proxy's default: an address that anyone can type in is nobody's identity.
    address = text(claims, path)
    if address is None:
        return None
    verified = claims.get("email_verified", True)
    return address if verified is True or verified == "true" else None


# Without one of these in its JSON no claim can hold a control character, so nearly no token is searched further; and few
# are searched for these, as plain ASCII without a backslash has none.
_MAY_HOLD_CONTROL = re.compile(rb"\\[bfnrtu]|\x7f|\xc2[\x80-\x9f]")


def check_controls(claims: Mapping[str, Any], payload: bytes) -> None:
    """No claim at all, however deep, may hold a control character: policies and `headers.set` read any of them.

    Raises:
        Refusal: `token_invalid`.
    """
    plain = b"\\" not in payload and b"\x7f" not in payload and payload.isascii()
    if not plain and _MAY_HOLD_CONTROL.search(payload) and holds_control(claims):
        raise invalid("claim")


def holds_control(value: Any) -> bool:
    """Is there a control character in it, however deep, in a name of it or in a value?"""
    if isinstance(value, str):
        return _CONTROL.search(value) is not None
    if isinstance(value, Mapping):
        return any(map(holds_control, (*value, *value.values())))
    return isinstance(value, list) and any(map(holds_control, value))


def moment(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 section 2) between 1970 and 9999; None where the claim is absent."""
    if name not in claims:
        return None
    value = claims[name]
    # facts 80: bool is an int to Python, and the library would take "123" and 1e300.
    if type(value) not in {int, float} or not 0 <= value < _YEAR_10000:
        raise invalid(name)
    return float(value)


def check_audience(claims: Mapping[str, Any], audiences: frozenset[str]) -> None:
    """RFC 7519 section 4.1.3: one of ours, exactly, is the `aud` or in it; a list of anything but texts is refused."""
    aud = claims.get("aud")
    if type(aud) is str and aud in audiences:
        return
    members = [aud] if isinstance(aud, str) else aud
    if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
        raise invalid("audience")
    if audiences.isdisjoint(members):
        raise invalid("audience")


class Times(NamedTuple):
    """When a token was made, from when and until when it is good; seconds since the epoch."""

    issued_at: float | None
    not_before: float | None
    expires_at: float

    @classmethod
    def of(cls, claims: Mapping[str, Any], now: float, leeway: float) -> "Times":
        """Read them; whether it is past its end is asked last of all, and elsewhere.

        Raises:
            Refusal: `token_invalid`: no `exp`, no times, or from the future by more than the leeway.
        """
        issued_at, not_before = moment(claims, "iat"), moment(claims, "nbf")
        expires_at = moment(claims, "exp")
        if expires_at is None:
            raise invalid("exp")
        if not_before is not None and not_before > now + leeway:
            raise invalid("nbf")
        if issued_at is not None and issued_at > now + leeway:
            raise invalid("iat")
        return cls(issued_at, not_before, expires_at)


class Person(NamedTuple):
    """Who a token speaks of."""

    subject: str
    groups: tuple[str, ...]
    scopes: frozenset[str]
    email: str | None
    username: str | None
    name: str | None

    @classmethod
    def of(cls, claims: Mapping[str, Any], names: ClaimNames) -> "Person":
        """Read who it is by the configured names.

        Raises:
            Refusal: `token_invalid`: no subject, or a claim of the wrong kind or with a control character.
        """
        subject = text(claims, names.subject)
        if subject is None or not isinstance(claims.get("sub", ""), str):
            raise invalid("subject")
        return cls(
            subject,
            texts(claims, names.groups),
            frozenset(texts(claims, names.scopes, spaced=True)),
            email(claims, names.email),
            text(claims, names.username),
            text(claims, names.name),
        )

"""Judges assertions: signed by the proxy's key, of its type, by its issuer, for this upstream, and in time; else refused.

The one place of the kit where an assertion becomes an identity. What comes out is frozen; what is refused says why to the
log, and to the caller no more than that.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from authproxy.backend.key_source import KeySource

log = logging.getLogger("authproxy.backend")

HEADER = "X-Authproxy-Assertion"
# Where each framework's request keeps the identity.
IDENTITY = "authproxy.identity"
TYP = "authproxy-assertion+jwt"
BYTES_MOST = 16 << 10
KID_MOST = 256
# code: (status, title), as the proxy's own refusals are.
REFUSALS = {
    "assertion_missing": (401, "The request does not say who is calling"),
    "assertion_invalid": (401, "The identity of the request cannot be verified"),
    "assertion_expired": (401, "The identity of the request has expired"),
    "keys_unavailable": (503, "Identities cannot be verified at the moment"),
}


class AssertionRefused(Exception):  # noqa: N818  # a refusal is an answer, not an error
    """Nobody is known to be calling. `code`, `status` and `title` are for the caller, `reason` is for the log."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.status, self.title = REFUSALS[code]
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller; (authenticator, subject) is who it is. Times are seconds since the epoch."""

    subject: str
    authenticator: str
    email: str | None
    groups: tuple[str, ...]
    issued_at: float
    expires_at: float
    assertion_id: str


class Verifier:
    """Verifies the assertions of the proxy `issuer` for the upstream `audience`, as its configuration calls both.

    `keys` is where its public keys are: `https://HOST/.authproxy/jwks.json` (plain `http://` for loopback only), or the
    path of a file; `ca` a file with the authority of that HTTPS server where it is none of the system's. `leeway` is how
    far clocks may differ, in seconds. Keys are asked for again every `refresh` seconds, and for a key that is not known,
    at most once in `cooldown` seconds; the last good set serves for `keep` seconds. Safe for threads and for asyncio.

    Raises:
        ValueError: an argument that could only be a mistake.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        keys: str,
        ca: str | None = None,
        leeway: float = 30.0,
        refresh: float = 300.0,
        cooldown: float = 10.0,
        keep: float = 86400.0,
    ) -> None:
        if not issuer or not audience:
            raise ValueError("issuer and audience are needed: without them any assertion would do")
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._keys = KeySource(keys, ca=ca, refresh=refresh, cooldown=cooldown, keep=keep)

    def verify(self, values: Sequence[str]) -> Identity:
        """Who is calling, by all values of the request's field `X-Authproxy-Assertion`. May wait for the keys.

        Raises:
            AssertionRefused: there is not exactly one, or it is not good.
        """
        token, kid = self._opened(values)
        flight = self._keys.due(kid)
        if flight is not None:
            flight.wait()
        return self._judge(token, kid)

    async def verify_async(self, values: Sequence[str]) -> Identity:
        """As `verify`, without keeping the event loop waiting.

        Raises:
            AssertionRefused: as there.
        """
        token, kid = self._opened(values)
        flight = self._keys.due(kid)
        if flight is not None:
            await flight.wait_async()
        return self._judge(token, kid)

    def _opened(self, values: Sequence[str]) -> tuple[str, str]:
        if not values:
            raise AssertionRefused("assertion_missing", "missing")
        token = values[0]
        if len(values) > 1 or len(token) > BYTES_MOST:
            raise _invalid("repeated" if len(values) > 1 else "too-long")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError):
            raise _invalid("malformed") from None
        kid = header.get("kid")
        # RFC 8725 section 3.11: any other token of any other kind is none; and the algorithm is never the token's choice.
        if header.get("typ") != TYP:
            raise _invalid("typ")
        if header.get("alg") != "ES256":
            raise _invalid("algorithm")
        if not isinstance(kid, str) or not 0 < len(kid) <= KID_MOST:
            raise _invalid("kid")
        return token, kid

    def _judge(self, token: str, kid: str) -> Identity:
        if not self._keys.any:
            raise AssertionRefused("keys_unavailable", "no-keys")
        key = self._keys.find(kid)
        if key is None:
            raise _invalid("unknown-key")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["ES256"],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["iss", "aud", "sub", "iat", "exp"], "strict_aud": True},
            )
        except jwt.ExpiredSignatureError:
            raise AssertionRefused("assertion_expired", "exp") from None
        except (jwt.InvalidTokenError, ValueError) as error:
            raise _invalid(type(error).__name__) from None
        return _identity(claims)


def _identity(claims: dict[str, Any]) -> Identity:
    groups, email = claims.get("groups", []), claims.get("email")
    texts = [claims["sub"], claims.get("authenticator"), *([] if email is None else [email])]
    if not isinstance(groups, list) or not all(isinstance(x, str) for x in (*texts, *groups)):
        raise _invalid("claims")
    if not claims["sub"]:
        raise _invalid("subject")
    return Identity(
        subject=claims["sub"],
        authenticator=claims["authenticator"],
        email=email,
        groups=tuple(groups),
        issued_at=float(claims["iat"]),
        expires_at=float(claims["exp"]),
        assertion_id=str(claims.get("jti", "")),
    )


def _invalid(reason: str) -> AssertionRefused:
    return AssertionRefused("assertion_invalid", reason)


def problem(refused: AssertionRefused) -> bytes:
    """The body of the answer (RFC 9457), as the proxy's own refusals are; what was wrong is logged."""
    log.warning("refused: %s (%s)", refused.code, refused.reason)
    return json.dumps({
        "type": f"urn:problem-type:authproxy:{refused.code}", "title": refused.title,
        "status": refused.status, "code": refused.code,
    }, separators=(",", ":")).encode()  # fmt: skip


# RFC 9110 section 15.5.2: a 401 has a challenge; what meets it is the proxy's to add, never the caller's.
ANSWER_HEADERS = (
    ("Content-Type", "application/problem+json"),
    ("Cache-Control", "no-store"),
    ("WWW-Authenticate", "Authproxy-Assertion"),
)

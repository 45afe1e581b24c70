"""The signed identity for backends: a short-lived JWT that says who is calling, for one upstream and nobody else.

Its `typ` is its own, so that it is no token at any door that looks (RFC 8725 section 3.11), ours among them. A signature
costs some 30 µs, so one assertion serves an identity for half its ttl; what is kept is bounded.
"""

import base64
import json
import secrets
from collections.abc import Callable
from typing import Any

from authproxy.authn.jwk import algorithm_named
from authproxy.authn.keyring import ALGORITHM, Keyring
from authproxy.model.headers import ASSERTION_HEADER, IDENTITY_BLOCK_MOST
from authproxy.model.identity import Identity

TYP = "authproxy-assertion+jwt"
KEPT_MOST = 10_000

# The field for an identity at a moment; None where it would be over the bound of identity headers.
Assert = Callable[[Identity, float], bytes | None]
_Kept = tuple[float, Identity, bytes | None]


class Assertions:
    """Makes the assertions of one issuer, each good for `ttl` seconds and never past its identity's end."""

    __slots__ = (
        "_header", "_issuer", "_key", "_old", "_sign", "_ttl", "_young", "fingerprint", "jwks",
    )  # fmt: skip

    def __init__(self, issuer: str, keyring: Keyring, ttl: float) -> None:
        self._issuer = issuer
        self._ttl = ttl
        self._key = keyring.current.key
        self._sign = algorithm_named(ALGORITHM).sign
        self._header = _encoded(_json({"alg": ALGORITHM, "typ": TYP, "kid": keyring.current.kid}))
        self._young: dict[tuple[str, ...], _Kept] = {}
        self._old: dict[tuple[str, ...], _Kept] = {}
        self.jwks = keyring.jwks
        self.fingerprint = (issuer, keyring.version, ttl)

    def towards(self, upstream: str) -> Assert:
        """What makes the field for this upstream."""
        half = self._ttl / 2

        def field(identity: Identity, now: float) -> bytes | None:
            key = (upstream, identity.authenticator, identity.subject, identity.credential_id)
            kept = self._young.get(key) or self._old.get(key)
            # A clock that was set back must not lengthen a life: more than half the ttl left means that it was.
            if (
                kept is not None
                and 0 < kept[0] - now <= half
                and (kept[1] is identity or kept[1] == identity)
            ):
                return kept[2]
            made = self._field(upstream, identity, now)
            self._keep(key, (now + half, identity, made))
            return made

        return field

    def _keep(self, key: tuple[str, ...], kept: _Kept) -> None:
        if len(self._young) >= KEPT_MOST // 2:
            self._old, self._young = self._young, {}
        self._young[key] = kept

    def _field(self, upstream: str, identity: Identity, now: float) -> bytes | None:
        # What backends take in one field is about what they take in all identity headers.
        token = self._signed(self._claims(upstream, identity, now))
        line = b"%b: %b\r\n" % (ASSERTION_HEADER, token)
        return line if len(line) <= IDENTITY_BLOCK_MOST else None

    def _claims(self, upstream: str, identity: Identity, now: float) -> dict[str, Any]:
        end = now + self._ttl
        if identity.expires_at is not None:
            end = min(end, identity.expires_at)
        claims = {
            "iss": self._issuer,
            "aud": upstream,
            "sub": identity.subject,
            "authenticator": identity.authenticator,
            "groups": identity.groups,
            "iat": int(now),
            "exp": int(end),
            "jti": secrets.token_urlsafe(16),
        }
        return claims if identity.email is None else {**claims, "email": identity.email}

    def _signed(self, claims: dict[str, Any]) -> bytes:
        signed = b"%b.%b" % (self._header, _encoded(_json(claims)))
        return b"%b.%b" % (signed, _encoded(self._sign(signed, self._key)))


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")

"""What an OpenID provider's signed tokens say: who logged in (ID token), and who is out (logout token).

Both are verified by the very check that every token meets (`bearer.check_signature`) with settings of their own; neither
is ever a credential of a request. A token is for one door: each door says what must be in it and what must not.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authproxy.authn.bearer import UNKNOWN_KEY, check_signature
from authproxy.authn.claims import Times, check_audience, check_controls, invalid, text
from authproxy.authn.compact import CompactToken, MalformedToken, parse
from authproxy.authn.provider import TOKEN_MOST, Provider
from authproxy.model.errors import Refusal

ID_TOKEN = frozenset({"jwt", "application/jwt"})
# OpenID Connect Back-Channel Logout 1.0 section 2.4; providers of before it write `JWT`, or nothing.
LOGOUT_TOKEN = frozenset({"logout+jwt", "application/logout+jwt", "jwt"})
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_SECONDS = 300.0  # a logout token is news, or it is none
_HASHES = {"256": "sha256", "384": "sha384", "512": "sha512"}


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """Who is out: a session of the provider's (`sid`), or somebody (`sub`); `jti` is good once, until `expiry`."""

    jti: str
    sid: str | None
    sub: str | None
    expiry: float


async def read_id_token(
    provider: Provider, token: str, now: float, nonce: str | None, access_token: str
) -> dict[str, Any]:
    """The claims of an ID token that this provider made for us (OpenID Connect Core section 3.1.3.7).

    `nonce` is that of the login; None: the token came with a refresh, where none need be in it (section 12.2).

    Raises:
        Refusal: `token_invalid`, or `token_expired`.
        FetchError: the provider's keys cannot be had.
    """
    algorithm, claims = await _verified(provider, token, ID_TOKEN)
    settings = provider.settings
    times = Times.of(claims, now, settings.leeway)
    if times.issued_at is None:
        raise invalid("iat")
    # A logout token is no login (Back-Channel Logout section 4: cross-JWT confusion).
    if "events" in claims:
        raise invalid("events")
    if nonce is not None and not _equal(text(claims, "nonce"), nonce):
        raise invalid("nonce")
    if "at_hash" in claims and not _equal(text(claims, "at_hash"), _half(algorithm, access_token)):
        raise invalid("at-hash")
    if now >= times.expires_at + settings.leeway:
        raise Refusal("token_expired", "exp")
    return claims


async def read_logout_token(provider: Provider, token: str, now: float) -> LogoutToken:
    """Who is out, by a logout token for us (OpenID Connect Back-Channel Logout 1.0 section 2.6); its use is the caller's to count.

    Raises:
        Refusal: `token_invalid`, or `token_expired`.
        FetchError: the provider's keys cannot be had.
    """
    _, claims = await _verified(provider, token, LOGOUT_TOKEN)
    leeway = provider.settings.leeway
    # `exp` came into the specification late; without one the token is as good as `iat` is fresh.
    times = Times.of({"exp": now + LOGOUT_SECONDS, **claims}, now, leeway)
    if times.issued_at is None or now - times.issued_at > LOGOUT_SECONDS + leeway:
        raise invalid("iat")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise invalid("events")
    if "nonce" in claims:
        raise invalid("nonce")
    jti, sid, sub = (text(claims, name) for name in ("jti", "sid", "sub"))
    if jti is None or (sid is None and sub is None):
        raise invalid("claim")
    if now >= times.expires_at + leeway:
        raise Refusal("token_expired", "exp")
    return LogoutToken(jti, sid, sub, times.issued_at + LOGOUT_SECONDS + 2 * leeway)


async def _verified(
    provider: Provider, token: str, types: frozenset[str]
) -> tuple[str, dict[str, Any]]:
    """The algorithm and the claims of a token that the provider signed for this client."""
    settings = provider.settings
    if len(token) > TOKEN_MOST:
        raise invalid("too-long")
    try:
        parsed = parse(token)
        # Before anybody is asked for a key: another issuer's tokens are nobody's here (facts 89, mix-up).
        if parsed.issuer != settings.issuer:
            raise invalid("issuer")
        algorithm = await _signed(provider, parsed, types)
        claims = parsed.read_claims()
    except MalformedToken as malformed:
        raise invalid(str(malformed)) from None
    if claims.get("iss") != settings.issuer:
        raise invalid("issuer")
    check_controls(claims, parsed.payload)
    check_audience(claims, frozenset({settings.client_id}))
    _check_party(claims, settings.client_id)
    return algorithm, claims


async def _signed(provider: Provider, token: CompactToken, types: frozenset[str]) -> str:
    algorithms = frozenset(provider.settings.algorithms)
    try:
        return check_signature(token, await provider.keys(), algorithms, types)
    except Refusal as refusal:
        # The provider may have changed its keys since it was last asked. An ID token is from itself, so there another key
        # of the same name is thinkable; a logout token is from anybody, who must not use up the cool-down so.
        changed = refusal.reason == "signature" and types is ID_TOKEN
        if not (changed or refusal.reason == UNKNOWN_KEY) or not await provider.seek():
            raise
    return check_signature(token, await provider.keys(), algorithms, types)


def _check_party(claims: Mapping[str, Any], client_id: str) -> None:
    """OpenID Connect Core section 3.1.3.7: one for several parties says which of them asked for it, and that is us."""
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if ("azp" in claims or several) and claims.get("azp") != client_id:
        raise invalid("azp")


def _half(algorithm: str, token: str) -> str:
    """The left half of a token's hash (OpenID Connect Core section 3.1.3.6); EdDSA hashes by SHA-512 on its usual curve."""
    digest = hashlib.new(_HASHES.get(algorithm[-3:], "sha512"), token.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def _equal(one: str | None, other: str) -> bool:
    return one is not None and hmac.compare_digest(one.encode(), other.encode())

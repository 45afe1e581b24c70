"""Judges signed tokens (JWT, RFC 7519) as RFC 8725 asks: the one place where a token becomes an identity.

PyJWT verifies the signature, through its algorithm objects and keys that were vetted at load; `jwt.decode` is not called.
It would take the token apart a second time, with a laxer reader (duplicate names, `exp` as text, any `typ`: house.md
section 4) and by the wall clock, for 46 µs where the signature itself is 15, and for 220 µs on 8 KB of junk. What it would
check is checked here, and the tests hold every verdict against `jwt.decode` with everything that it can require.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

from authproxy.authn.claims import Person, Times, check_audience, check_controls, invalid, text
from authproxy.authn.compact import CompactToken, MalformedToken, parse
from authproxy.authn.jwk import KID_MOST
from authproxy.authn.keys import KeySet
from authproxy.authn.slots import compile_slot
from authproxy.config.schema import JwtAuthenticator
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity

# RFC 8725 section 3.11: other kinds of token (logout tokens, assertions, our own) are not for this door. RFC 9068: at+jwt.
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# `crit` names extensions and none is understood (CVE-2026-32597); `b64` changes what is signed (RFC 7797); `zip` and `enc`
# are JWE's (facts 69). Keys that a token brings or points at (jku, jwk, x5u, x5c) are never looked at (CVE-2018-0114).
_NEVER = frozenset({"crit", "b64", "zip", "enc"})

# What a profile makes of this shows which profile it is: cached identities hold their headers ready.
_SPECIMEN = Identity(
    "authenticator", "subject", ("group",), email="email", username="username", name="name"
)


def length_prefixed(*parts: bytes) -> bytes:
    """Parts joined so that different parts never make the same bytes."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


class JwtVerifier:
    """The authenticator `name`: takes the tokens of one issuer.

    `fingerprint` changes with everything that a verdict depends on. `render` makes an identity's header bytes.
    """

    __slots__ = (
        "_algorithms", "_audiences", "_claims", "_keys", "_render", "fingerprint", "issuer", "leeway", "name", "slots",
        "token_bytes",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        settings: JwtAuthenticator,
        keys: KeySet,
        token_bytes: int,
        render: Callable[[Identity], bytes | None],
    ) -> None:
        self.name = name
        self.issuer = settings.issuer
        self.leeway = settings.leeway
        self.token_bytes = token_bytes
        self.slots = tuple(compile_slot(slot) for slot in settings.token_from)
        self._algorithms = frozenset(settings.algorithms)
        self._audiences = frozenset(settings.audiences)
        self._claims = settings.claims
        self._keys = keys
        self._render = render
        parts = ("jwt", name, settings.model_dump_json(), keys.version, str(token_bytes))
        encoded = length_prefixed(*(part.encode() for part in parts), render(_SPECIMEN) or b"")
        self.fingerprint = hashlib.sha256(encoded).digest()

    @property
    def algorithms(self) -> frozenset[str]:
        """The algorithms that a token may be signed with."""
        return self._algorithms

    @property
    def keys(self) -> KeySet:
        """The keys in force."""
        return self._keys

    def verify(self, token: str, now: float) -> Identity | None:
        """Who a token speaks of; None where it is not this issuer's, or no JWT at all.

        Raises:
            Refusal: `token_invalid`, or `token_expired` where nothing but its time is wrong.
        """
        self.check_length(token)
        try:
            return self.judge(parse(token), now)
        except MalformedToken:
            return None

    def check_length(self, token: str) -> None:
        """Refuse what is over the bound, before a byte of it is decoded (facts 67, 68; 0 is no bound)."""
        if len(token) > self.token_bytes > 0:
            raise invalid("too-long")

    def judge(self, token: CompactToken, now: float) -> Identity | None:
        """The verdict of `verify` on a token that was taken apart already."""
        # GHSA-75c5-xw7c-p5pm: the issuer is one string and equal, never a prefix and never one of a list.
        if token.issuer != self.issuer:
            return None
        try:
            self._check_signature(token)
            return self._identity(token, now)
        except MalformedToken as malformed:
            raise invalid(str(malformed)) from None

    def in_time(self, identity: Identity, now: float) -> bool:
        """Is a cached identity good at this moment? Asked on every hit."""
        if identity.expires_at is not None and now >= identity.expires_at + self.leeway:
            return False
        return identity.not_before is None or identity.not_before <= now + self.leeway

    def _check_signature(self, token: CompactToken) -> None:
        header = token.read_header()
        if not _NEVER.isdisjoint(header):
            raise invalid("header")
        typ = header.get("typ", "JWT")
        if not isinstance(typ, str) or typ.lower() not in _TYPES:
            raise invalid("typ")
        algorithm, kid = header.get("alg"), header.get("kid")
        if (
            not isinstance(algorithm, str) or algorithm not in self._algorithms
        ):  # facts 63: `none` is in no list
            raise invalid("algorithm")
        # facts 70: a kid is a key of a dictionary and nothing else.
        if "kid" in header and (not isinstance(kid, str) or len(kid) > KID_MOST):
            raise invalid("kid")
        candidates = self._keys.candidates(algorithm, kid)
        if not candidates:
            raise invalid("unknown-key")
        if not any(key.verify(token.signed, token.signature) for key in candidates):
            raise invalid("signature")

    def _identity(self, token: CompactToken, now: float) -> Identity:
        claims = token.read_claims()
        if claims.get("iss") != self.issuer:
            raise invalid("issuer")
        check_controls(claims, token.payload)
        check_audience(claims, self._audiences)
        times = Times.of(claims, now, self.leeway)
        person = Person.of(claims, self._claims)
        jti = text(claims, "jti")
        if (
            now >= times.expires_at + self.leeway
        ):  # last: only what is good in every other respect is merely late
            raise Refusal("token_expired", "exp")
        identity = Identity(
            authenticator=self.name,
            subject=person.subject,
            groups=person.groups,
            scopes=person.scopes,
            email=person.email,
            username=person.username,
            name=person.name,
            claims=claims,
            issued_at=times.issued_at,
            not_before=times.not_before,
            expires_at=times.expires_at,
            credential_id=jti or hashlib.sha256(token.signed).hexdigest(),
        )
        return replace(identity, header_block=self._render(identity))

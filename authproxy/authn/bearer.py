"""Judges signed tokens (JWT, RFC 7519) as RFC 8725 asks: the one place where a token becomes an identity.

PyJWT verifies the signature, through its algorithm objects and keys that were vetted at load; `jwt.decode` is not called.
It would take the token apart a second time, with a laxer reader (duplicate names, `exp` as text, any `typ`: house.md
section 4) and by the wall clock, for 46 µs where the signature itself is 15, and for 220 µs on 8 KB of junk. What it would
check is checked here, and the tests hold every verdict against `jwt.decode` with everything that it can require.
"""

import hashlib
from collections.abc import Collection

from authproxy.authn.authenticator import (
    Authenticator,
    Credential,
    Render,
    Verdict,
    fingerprint_of,
)
from authproxy.authn.binding import Bindings
from authproxy.authn.claims import Person, Times, check_audience, check_controls, invalid, text
from authproxy.authn.compact import CompactToken, MalformedToken
from authproxy.authn.jwk import KID_MOST
from authproxy.authn.keys import UNKNOWN, KeySet
from authproxy.authn.remote_keys import RemoteKeys
from authproxy.authn.slots import Presented, Slot, compile_slot
from authproxy.config.authenticators import JwtAuthenticator
from authproxy.model.errors import Refusal, valued
from authproxy.model.identity import Identity
from authproxy.state.store import Store

# RFC 8725 section 3.11: other kinds of token (logout tokens, assertions, our own) are not for this door. RFC 9068: at+jwt.
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# `crit` names extensions and none is understood (CVE-2026-32597); `b64` changes what is signed (RFC 7797); `zip` and `enc`
# are JWE's (facts 69). Keys that a token brings or points at (jku, jwk, x5u, x5c) are never looked at (CVE-2018-0114).
_NEVER = frozenset({"crit", "b64", "zip", "enc"})
NO_KEYS = "no-keys"
ROUNDS_MOST = 2
UNKNOWN_KEY = "unknown-key"  # the reason that a newer key set may mend


def check_signature(
    token: CompactToken, keys: KeySet, algorithms: Collection[str], types: Collection[str]
) -> str:
    """The algorithm of a token that is of one of these types (in lower case) and signed with one of these keys.

    Raises:
        Refusal: `token_invalid`, or `state_unavailable` where nobody knows the keys.
        MalformedToken: its header cannot be read.
    """
    header = token.read_header()
    if not _NEVER.isdisjoint(header):
        raise invalid("header")
    typ = header.get("typ", "JWT")
    if not isinstance(typ, str) or typ.lower() not in types:
        raise invalid("typ")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise invalid("algorithm")  # facts 63: `none` is in no list
    # facts 70: a kid is a key of a dictionary and nothing else.
    if "kid" in header and (not isinstance(kid, str) or len(kid) > KID_MOST):
        raise invalid("kid")
    candidates = keys.candidates(algorithm, kid)
    if keys is UNKNOWN:
        raise Refusal("state_unavailable", NO_KEYS)
    if not candidates:
        raise invalid(UNKNOWN_KEY)
    for key in candidates:
        if key.verify(token.signed, token.signature):
            return algorithm
    raise invalid("signature")


class JwtVerifier(Authenticator):
    """The authenticator `name`: takes the tokens of one issuer. `render` makes an identity's header bytes."""

    def __init__(
        self,
        name: str,
        settings: JwtAuthenticator,
        keys: KeySet,
        token_bytes: int,
        render: Render,
        store: Store,
    ) -> None:
        self.name = name
        self.settings = settings
        self.issuer = self.takes = settings.issuer
        self.leeway = settings.leeway
        self.token_bytes = token_bytes
        self._bindings = bindings = Bindings(settings, settings.leeway, store)
        self.slots = (*map(compile_slot, settings.token_from), *bindings.slots)
        self.proves, self.proof_headers = bindings.checks, bindings.headers
        self._algorithms = frozenset(settings.algorithms)
        self._audiences = frozenset(settings.audiences)
        self._claims = settings.claims
        self._render = render
        self._use(keys)

    def _use(self, keys: KeySet) -> None:
        """Judge by these keys from now on; what was verified by others is verified anew."""
        self._keys = keys
        said = self.settings.model_dump_json()
        self._fingerprint = fingerprint_of(
            self._render, "jwt", self.name, said, keys.version, str(self.token_bytes)
        )

    @property
    def fingerprint(self) -> bytes:
        return self._fingerprint

    @property
    def algorithms(self) -> frozenset[str]:
        """The algorithms that a token may be signed with."""
        return self._algorithms

    @property
    def keys(self) -> KeySet:
        """The keys in force."""
        return self._keys

    def judge(self, credential: Credential, _presented: Presented, now: float) -> Verdict:
        return self.verify(credential, now)

    async def check_proof(
        self, identity: Identity, credential: str, slot: Slot, presented: Presented, now: float
    ) -> None:
        await self._bindings.check_request(identity.claims, credential, slot, presented, now)

    def verify(self, credential: Credential, now: float) -> Identity | None:
        """Who a token speaks of; None where it is not this issuer's, or no JWT at all.

        Raises:
            Refusal: `token_invalid`, or `token_expired` where nothing but its time is wrong.
        """
        # Before a byte of it is decoded (facts 67, 68; 0 is no bound).
        if len(credential.text) > self.token_bytes > 0:
            raise invalid("too-long")
        token = credential.token
        # GHSA-75c5-xw7c-p5pm: the issuer is one string and equal, never a prefix and never one of a list.
        if token is None or token.issuer != self.issuer:
            return None
        try:
            check_signature(token, self._keys, self._algorithms, _TYPES)
            return self._identity(token, now)
        except MalformedToken as malformed:
            raise invalid(str(malformed)) from None

    def _identity(self, token: CompactToken, now: float) -> Identity:
        claims = token.read_claims()
        if claims.get("iss") != self.issuer:
            raise invalid("issuer")
        check_controls(claims, token.payload)
        check_audience(claims, self._audiences)
        self._bindings.check_claims(claims)
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
        return identity.with_headers(self._render)


class FollowingVerifier(JwtVerifier):
    """A JWT authenticator whose keys are its issuer's, as they are now.

    A token of a key that is not at hand has the issuer asked again, and waits for it: a rotation loses no request.
    """

    def __init__(
        self,
        name: str,
        settings: JwtAuthenticator,
        remote: RemoteKeys,
        token_bytes: int,
        render: Render,
        store: Store,
    ) -> None:
        super().__init__(name, settings, remote.keys, token_bytes, render, store)
        self.remote = remote

    @property
    def fingerprint(self) -> bytes:
        if self.remote.keys is not self._keys:
            self._use(self.remote.keys)
        return self._fingerprint

    @property
    def keys(self) -> KeySet:
        """The keys in force."""
        return self.remote.keys

    def verify(self, credential: Credential, now: float) -> Identity | None:
        self.remote.expire(now)
        if self.remote.keys is not self._keys:
            self._use(self.remote.keys)
        return super().verify(credential, now)

    def judge(self, credential: Credential, _presented: Presented, now: float) -> Verdict:
        try:
            return self.verify(credential, now)
        except Refusal as refusal:
            if not self._may_know_better(refusal, credential):
                raise
            return self._judge_anew(credential, now, valued(refusal), self._keys)

    async def _judge_anew(
        self, credential: Credential, now: float, refused: Refusal, keys: KeySet
    ) -> Identity | None:
        """What comes of it by other keys than these; what was refused stays so where the issuer has none."""
        try:
            for _ in range(ROUNDS_MOST):
                # A moment has passed: what somebody else was told meanwhile is as good.
                if self.remote.keys is keys and not await self.remote.seek():
                    break
                try:
                    return self.verify(credential, now)
                except Refusal as again:
                    refused, keys = again, self._keys
                    if not self._may_know_better(again, credential):
                        break
            raise refused
        finally:
            del refused  # its traceback holds this frame

    def _may_know_better(self, refusal: Refusal, credential: Credential) -> bool:
        """Could other keys make another verdict? Not where the token names a key that is at hand."""
        if refusal.reason != "signature":
            return refusal.reason in {"unknown-key", NO_KEYS}
        header = credential.token.read_header() if credential.token else {}
        return not self._keys.names(header.get("alg", ""), header.get("kid"))

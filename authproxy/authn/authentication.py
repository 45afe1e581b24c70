"""A route's list of authenticators: who is calling, by the first that says `mine`, good or bad.

A bad credential never falls through to the next authenticator nor to anonymous. Nothing is judged here, only asked in
order; nothing is answered here, what comes out is an Identity or a Refusal with its WWW-Authenticate.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from authproxy.authn.bearer import JwtVerifier, length_prefixed
from authproxy.authn.cache import IdentityCache
from authproxy.authn.compact import CompactToken, MalformedToken, parse
from authproxy.authn.slots import HeaderView, Slot, challenge
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity


class Reading:
    """An authenticator at one of its slots, with the beginning of its cache keys already hashed."""

    __slots__ = ("_begun", "slot", "verifier")

    def __init__(self, verifier: JwtVerifier, slot: Slot) -> None:
        self.verifier = verifier
        self.slot = slot
        self._begun = hashlib.sha256(length_prefixed(verifier.fingerprint, slot.name.encode()))

    def cache_key(self, credential: str) -> bytes:
        """SHA-256 over all that a verdict depends on; the credential comes last, so its length needs no prefix."""
        hashing = self._begun.copy()
        hashing.update(credential.encode("utf-8", "surrogatepass"))
        return hashing.digest()


class Authentication:
    """The authenticators of a route, compiled. `credential_headers` (lower case) and `credential_cookies` are what they
    read and the backend therefore does not get.
    """

    __slots__ = (
        "_cache",
        "_error",
        "_missing",
        "_only",
        "_readings",
        "credential_cookies",
        "credential_headers",
    )

    def __init__(self, verifiers: Sequence[JwtVerifier], cache: IdentityCache) -> None:
        self._cache = cache
        doors = [(verifier.issuer, slot.name) for verifier in verifiers for slot in verifier.slots]
        if len(set(doors)) < len(doors):
            raise ValueError(
                "two authenticators of a route take the same issuer from the same place"
            )
        self._readings = tuple(
            Reading(verifier, slot) for verifier in verifiers for slot in verifier.slots
        )
        # The commonest route by far has one; whether it is known can be asked without the lists below.
        self._only = self._readings[0] if len(self._readings) == 1 else None
        slots = {reading.slot.name: reading.slot for reading in self._readings}.values()
        # RFC 9110 section 15.5.2: a 401 has at least one challenge, also where only cookies are read.
        schemes = tuple(dict.fromkeys(slot.challenge for slot in slots if slot.challenge)) or (
            "Bearer",
        )
        self._missing = tuple(challenge(scheme, error=False) for scheme in schemes)
        self._error = tuple(challenge(scheme, error=True) for scheme in schemes)
        self.credential_headers = frozenset(
            b"authorization" if slot.challenge else slot.name.removeprefix("header:").encode()
            for slot in slots
            if not slot.name.startswith("cookie:")
        )
        self.credential_cookies = frozenset(
            slot.name.removeprefix("cookie:") for slot in slots if slot.name.startswith("cookie:")
        )

    def recall(self, headers: HeaderView, now: float, memo: dict[type, Any]) -> Identity | None:
        """Who is calling, where that was verified a moment ago; None says nothing, `authenticate` does.

        `memo` belongs to these very headers (`model.fields.Fields`): the credential's digest is kept there.

        Raises:
            Refusal: `bad_request` for a credential that is there twice.
        """
        reading = self._only
        if reading is None:
            return None
        kept = memo.get(Authentication)
        if kept is not None and kept[0] is reading:
            key = kept[1]
        else:
            credential = reading.slot.read(headers)
            if not credential:
                return None
            key = reading.cache_key(credential)
            memo[Authentication] = reading, key
        identity = self._cache.get(key, now)
        if identity is not None and reading.verifier.in_time(identity, now):
            return identity
        return None

    async def authenticate(
        self, headers: HeaderView, now: float, admit_unverified: Callable[[], None]
    ) -> Identity:
        """Who is calling. `admit_unverified` is asked once before a credential that the cache does not know is judged.

        Raises:
            Refusal: `unauthenticated`, `token_invalid` or `token_expired`, with its WWW-Authenticate; `bad_request`
                for a credential that is there twice; whatever `admit_unverified` raises.
        """
        presented = self._presented(headers)
        if not presented:
            raise Refusal("unauthenticated", "no-credentials", headers=self._missing)
        if len({reading.slot.name for reading, _ in presented}) == 1:
            # One credential, the usual case: whoever is known to own it, the others would say `not mine`.
            for reading, credential in presented:
                identity = self._recall(reading, credential, now)
                if identity is not None:
                    return identity
        try:
            return self._decide(presented, now, admit_unverified)
        except Refusal as refusal:
            if refusal.status == 401:
                refusal.headers = self._error
            raise

    def _presented(self, headers: HeaderView) -> list[tuple[Reading, str]]:
        return [
            (reading, credential)
            for reading in self._readings
            if (credential := reading.slot.read(headers)) is not None
        ]

    def _recall(self, reading: Reading, credential: str, now: float) -> Identity | None:
        identity = self._cache.get(reading.cache_key(credential), now)
        if identity is not None and reading.verifier.in_time(identity, now):
            return identity
        return None

    def _decide(
        self, presented: list[tuple[Reading, str]], now: float, admit_unverified: Callable[[], None]
    ) -> Identity:
        opened: dict[str, CompactToken | None] = {}
        for reading, credential in presented:
            identity = self._recall(reading, credential, now) if len(presented) > 1 else None
            if identity is not None:
                return identity
            if not opened:
                admit_unverified()
                self._cache.misses += 1
            identity = self._judge(reading, credential, now, opened)
            if identity is not None:
                self._cache.put(reading.cache_key(credential), identity, now)
                return identity
        # The route reads this place and nobody took what is there: never anonymous.
        raise Refusal("token_invalid", "issuer" if any(opened.values()) else "malformed")

    def _judge(
        self, reading: Reading, credential: str, now: float, opened: dict[str, CompactToken | None]
    ) -> Identity | None:
        reading.verifier.check_length(credential)
        if credential not in opened:
            try:
                opened[credential] = parse(credential)
            except MalformedToken:
                opened[credential] = None
        token = opened[credential]
        return None if token is None else reading.verifier.judge(token, now)

"""A route's list of authenticators: who is calling, by the first that says `mine`, good or bad.

A bad credential never falls through to the next authenticator nor to anonymous. Nothing is judged here, only asked in
order; nothing is answered here, what comes out is an Identity or a Refusal with its WWW-Authenticate.
"""

import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from authproxy.authn.authenticator import (
    Authenticator,
    Credential,
    Verdict,
    awaited,
    length_prefixed,
)
from authproxy.authn.cache import IdentityCache
from authproxy.authn.revocation import Revocations
from authproxy.authn.slots import Presented, Slot, challenge
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity

# The reason where nothing was presented but the ids of sessions that nobody knows: nobody guesses one, so it is no failed try.
NO_SESSION = "no-session"
# Asked before what nobody has verified is judged: it raises, or hands back what has to be waited for, which may raise.
Admit = Callable[[], Awaitable[None] | None]
_UNKNOWN = None, None, b""  # in place of what `recall` keeps


class Reading:
    """An authenticator at one of its slots, with the beginning of its cache keys already hashed."""

    __slots__ = ("_begun", "authenticator", "fingerprint", "slot")

    def __init__(self, authenticator: Authenticator, slot: Slot) -> None:
        self.authenticator = authenticator
        self.slot = slot
        self.fingerprint = b""
        self._begun = hashlib.sha256()

    def cache_key(self, credential: str) -> bytes:
        """SHA-256 over all that a verdict depends on; the credential comes last, so its length needs no prefix."""
        fingerprint = self.authenticator.fingerprint
        if fingerprint is not self.fingerprint:  # its keys have changed, or this is the first time
            self.fingerprint = fingerprint
            self._begun = hashlib.sha256(length_prefixed(fingerprint, self.slot.name.encode()))
        hashing = self._begun.copy()
        hashing.update(credential.encode("utf-8", "surrogatepass"))
        return hashing.digest()

    def key(self, credential: str) -> Any:
        """What a verdict is remembered under; where it may not be remembered, the credential, which is recognized anew."""
        return self.cache_key(credential) if self.authenticator.memory else credential


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
        "_revocations",
        "credential_cookies",
        "credential_headers",
    )

    def __init__(
        self,
        authenticators: Sequence[Authenticator],
        cache: IdentityCache,
        revocations: Revocations,
    ) -> None:
        self._cache = cache
        self._revocations = revocations
        doors = [(one.takes, slot.name) for one in authenticators for slot in one.slots]
        if len(set(doors)) < len(doors):
            raise ValueError("two authenticators of a route take the same from the same place")
        self._readings = tuple(Reading(one, slot) for one in authenticators for slot in one.slots)
        # The commonest route by far has one; whether it is known can be asked without the lists below.
        first = self._readings[0].authenticator if len(self._readings) == 1 else None
        quick = first is not None and not first.proves
        self._only = self._readings[0] if quick else None
        slots = {reading.slot.name: reading.slot for reading in self._readings}.values()
        # RFC 9110 section 15.5.2: a 401 has at least one challenge, also where only cookies are read.
        schemes = tuple(dict.fromkeys(slot.challenge for slot in slots if slot.challenge)) or (
            "Bearer",
        )
        self._missing = tuple(challenge(scheme) for scheme in schemes)
        self._error = tuple(challenge(scheme, error="invalid_token") for scheme in schemes)
        self.credential_headers = frozenset(
            b"authorization" if slot.challenge else slot.name.removeprefix("header:").encode()
            for slot in slots
            if slot.challenge or slot.name.startswith("header:")
        ).union(name.encode() for one in authenticators for name in one.proof_headers)
        self.credential_cookies = frozenset(
            slot.name.removeprefix("cookie:") for slot in slots if slot.name.startswith("cookie:")
        )

    def recall(self, presented: Presented, now: float, memo: dict[type, Any]) -> Identity | None:
        """Who is calling, where that was verified a moment ago or can be told without waiting; None says nothing,
        `authenticate` does.

        `memo` belongs to these very headers (`model.fields.Fields`): the credential's digest is kept there.

        Raises:
            Refusal: `bad_request` for a credential that is there twice, `unauthenticated` where there is none.
        """
        reading = self._only
        if reading is None:
            return self._recall_of_several(presented, now)
        kept, authenticator = memo.get(Authentication), reading.authenticator
        if kept is not None and kept[0] is reading and kept[1] is authenticator.fingerprint:
            key = kept[2]
        else:
            credential = self._read(reading, presented)
            key = reading.key(credential)
            memo[Authentication] = reading, reading.fingerprint, key
        if authenticator.memory:
            # It is never handed out past its end: what is left to look at is its beginning.
            identity = self._cache.get(key, now)
            asked = identity is not None and identity.not_before is not None
        else:
            identity, asked = authenticator.recognize(key, now), True
        if identity is None or (asked and not authenticator.in_time(identity, now)):
            return None
        revocations = self._revocations
        if revocations.watchful and (not revocations.known or revocations.why(identity)):
            return None
        return identity

    def _recall_of_several(self, presented: Presented, now: float) -> Identity | None:
        known = self._known(self._found(presented), now)
        if known is None or known[0].authenticator.proves:
            return None
        identity, revocations = known[2], self._revocations
        if revocations.watchful and (not revocations.known or revocations.why(identity)):
            return None
        return identity

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """The WWW-Authenticate of a 401 to whoever presented something (RFC 6750 section 3)."""
        return self._error

    def verify(
        self, presented: Presented, now: float, memo: dict[type, Any], admit_unverified: Admit
    ) -> Identity | Coroutine[Any, Any, Identity]:
        """`authenticate` for whom `recall` does not know: without waiting where that can be, as with nearly every token;
        else what has to be awaited is handed back. `memo` is what `recall` was given.
        """
        reading = self._only
        if reading is None:
            return self.authenticate(presented, now, admit_unverified)
        credential = Credential(self._read(reading, presented))
        read, fingerprint, key = memo.get(Authentication, _UNKNOWN)
        if read is not reading or fingerprint is not reading.authenticator.fingerprint:
            key = reading.key(credential.text)
        try:
            if self._revocations.watchful:  # who is known and revoked is not verified anew
                identity = self._recall(reading, key, now)
                if identity is not None:
                    self._revocations.check(identity)
                    return identity
            waiting = admit_unverified() if reading.authenticator.guessable else None
            if waiting is not None:
                verdict: Verdict = self._judge_after(waiting, reading, credential, presented, now)
            else:
                self._cache.misses += reading.authenticator.guessable
                verdict = self._judge(reading, key, credential, presented, now)
            if verdict is None or isinstance(verdict, Identity):
                return self._checked(verdict, reading, credential)
        except Refusal as refusal:
            self._challenge(refusal)
            raise
        return self._verify(verdict, reading, credential)

    async def _verify(self, verdict: Verdict, reading: Reading, credential: Credential) -> Identity:
        try:
            return self._checked(await awaited(verdict), reading, credential)
        except Refusal as refusal:
            self._challenge(refusal)
            raise

    def _checked(
        self, identity: Identity | None, reading: Reading, credential: Credential
    ) -> Identity:
        if identity is None:
            raise _nobodys(reading.authenticator.guessable, [credential])
        if self._revocations.watchful:
            self._revocations.check(identity)
        return identity

    async def authenticate(
        self, presented: Presented, now: float, admit_unverified: Admit
    ) -> Identity:
        """Who is calling. `admit_unverified` is asked once before a credential that the cache does not know is judged.

        Raises:
            Refusal: `unauthenticated`, `token_invalid`, `token_expired` or `token_revoked`, with its WWW-Authenticate;
                `bad_request` for a credential that is there twice; `state_unavailable` while nobody knows what is
                revoked; whatever `admit_unverified` raises.
        """
        found = self._found(presented)
        if not found:
            raise Refusal("unauthenticated", "no-credentials", headers=self._missing)
        try:
            reading, text, identity = self._known(found, now) or await self._decide(
                found, presented, now, admit_unverified
            )
            if self._revocations.watchful:
                self._revocations.check(identity)
            if reading.authenticator.proves:
                await reading.authenticator.check_proof(
                    identity, text, reading.slot, presented, now
                )
        except Refusal as refusal:
            self._challenge(refusal)
            raise
        return identity

    def _challenge(self, refusal: Refusal) -> None:
        if refusal.status == 401:  # a bad proof has a challenge of its own
            refusal.headers = refusal.headers or self._error

    def _read(self, reading: Reading, presented: Presented) -> str:
        credential = reading.slot.read(presented)
        if credential is None:
            raise Refusal("unauthenticated", "no-credentials", headers=self._missing)
        return credential

    def _found(self, presented: Presented) -> list[tuple[Reading, str]]:
        return [
            (reading, credential)
            for reading in self._readings
            if (credential := reading.slot.read(presented)) is not None
        ]

    def _known(
        self, found: list[tuple[Reading, str]], now: float
    ) -> tuple[Reading, str, Identity] | None:
        """Of one credential, the usual case: whoever is known to own it, the others would say `not mine`."""
        if len({reading.slot.name for reading, _ in found}) > 1:
            return None
        for reading, credential in found:
            identity = self._recall(reading, reading.key(credential), now)
            if identity is not None:
                return reading, credential, identity
        return None

    def _recall(self, reading: Reading, key: Any, now: float) -> Identity | None:
        authenticator = reading.authenticator
        if authenticator.memory:
            identity = self._cache.get(key, now)
        else:
            identity = authenticator.recognize(key, now)
        if identity is not None and authenticator.in_time(identity, now):
            return identity
        return None

    async def _decide(
        self,
        found: list[tuple[Reading, str]],
        presented: Presented,
        now: float,
        admit_unverified: Admit,
    ) -> tuple[Reading, str, Identity]:
        credentials: dict[str, Credential] = {}
        admitted = False
        for reading, text in found:
            # Taken before: what is withdrawn while it is judged must not be found under what is in force then.
            key = reading.key(text)
            identity = self._recall(reading, key, now) if len(found) > 1 else None
            if identity is not None:
                return reading, text, identity
            if not admitted and reading.authenticator.guessable:
                waiting = admit_unverified()
                if waiting is not None:
                    await waiting
                self._cache.misses += 1
                admitted = True
            credential = credentials.setdefault(text, Credential(text))
            identity = await awaited(self._judge(reading, key, credential, presented, now))
            if identity is not None:
                return reading, text, identity
        raise _nobodys(admitted, credentials.values())

    async def _judge_after(
        self,
        waiting: Awaitable[None],
        reading: Reading,
        credential: Credential,
        presented: Presented,
        now: float,
    ) -> Identity | None:
        await waiting
        self._cache.misses += 1
        key = reading.key(credential.text)
        return await awaited(self._judge(reading, key, credential, presented, now))

    def _judge(
        self, reading: Reading, key: Any, credential: Credential, presented: Presented, now: float
    ) -> Verdict:
        """What the authenticator comes to; remembered under `key`, which was made before, where that is an identity."""
        verdict = reading.authenticator.judge(credential, presented, now)
        if verdict is None:
            return None
        if not isinstance(verdict, Identity):
            return self._remember(key, verdict, reading, now)
        self._cache.put(key, verdict, now, reading.authenticator.memory)
        return verdict

    async def _remember(
        self, key: Any, verdict: Verdict, reading: Reading, now: float
    ) -> Identity | None:
        identity = await awaited(verdict)
        if identity is not None:
            self._cache.put(key, identity, now, reading.authenticator.memory)
        return identity


def _nobodys(admitted: bool, credentials: Iterable[Credential]) -> Refusal:
    """The refusal where a route reads this place and nobody took what is there: never anonymous."""
    if not admitted:
        return Refusal("token_invalid", NO_SESSION)
    tokens = any(credential.token for credential in credentials)
    return Refusal("token_invalid", "issuer" if tokens else "malformed")

"""What every kind of authenticator promises: it looks at what a request presents and answers *identity*, *not mine* or
*mine and bad*.

Bad is a Refusal and final. Whoever answers here only judges: the order of a route's list, the cache and the bound on
failures are `authentication.py`'s business, what an identity may do is the policy's.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from authproxy.authn.cache import LONGEST
from authproxy.authn.compact import CompactToken, MalformedToken, parse
from authproxy.authn.slots import Presented, Slot
from authproxy.model.identity import Identity


def length_prefixed(*parts: bytes) -> bytes:
    """Parts joined so that different parts never make the same bytes."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


# What a profile makes of this shows which profile it is: cached identities hold their headers ready.
_SPECIMEN = Identity(
    "authenticator", "subject", ("group",), email="email", username="username", name="name"
)
Render = Callable[[Identity], bytes | None]
# What an authenticator comes to, or what has to be awaited for it.
Verdict = Identity | None | Coroutine[Any, Any, Identity | None]


async def awaited(verdict: Verdict) -> Identity | None:
    """The verdict, once it is there."""
    return await verdict if isinstance(verdict, Coroutine) else verdict


def fingerprint_of(render: Render, *parts: str) -> bytes:
    """32 bytes for what a verdict depends on, and for what `render` makes of an identity."""
    encoded = length_prefixed(*(part.encode() for part in parts), render(_SPECIMEN) or b"")
    return hashlib.sha256(encoded).digest()


class Credential:
    """The text that a slot held; taken apart as a token at most once, whoever asks and however often."""

    __slots__ = ("_parsed", "_token", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._parsed = False
        self._token: CompactToken | None = None

    @property
    def token(self) -> CompactToken | None:
        """The text as a signed token (RFC 7515 section 7.1), None where it is none. Check its length first."""
        if not self._parsed:
            self._parsed = True
            try:
                self._token = parse(self.text)
            except MalformedToken:
                self._token = None
        return self._token


class Authenticator(ABC):
    """One of the configuration's authenticators, by its `name` there; `slots` is where it reads credentials.

    `takes` tells apart who reads the same slot: an issuer's tokens, opaque ones; two that take the same are an error.
    `leeway` (seconds) is how far clocks may differ; `memory` (seconds) is how long a verdict may be remembered, 0: each
    request asks again. `proves` says that a credential alone is not enough: `check_proof` is asked on every request, also
    when the identity is known; `proof_headers` (lower case) are what it reads, and what the backend does not get either.
    `guessable` False: failures need no bound.
    """

    name: str
    slots: Sequence[Slot]
    takes: str
    leeway: float = 0.0
    memory: float = LONGEST
    proves: bool = False
    proof_headers: Sequence[str] = ()
    guessable: bool = True

    @property
    @abstractmethod
    def fingerprint(self) -> bytes:
        """32 bytes that change with everything a verdict depends on, keys in force included; the same object until then.

        Cached identities are bound to it: what was verified by a key that is gone is verified anew.
        """

    @abstractmethod
    def judge(self, credential: Credential, presented: Presented, now: float) -> Verdict:
        """Whose credential this is; None where it is not this authenticator's to judge. Where something has to be waited for,
        that is handed back to be awaited.

        Raises:
            Refusal: it is, and it is bad: `token_invalid`, `token_expired`; `state_unavailable` where nobody can tell.
        """

    def recognize(self, credential: str, now: float) -> Identity | None:  # noqa: ARG002  # the interface
        """Whose credential this is, where that can be told anew without waiting: asked of those whose verdicts may not be
        remembered (`memory` 0). None says nothing, `judge` does. Never raises.
        """
        return None

    async def check_proof(
        self, identity: Identity, credential: str, slot: Slot, presented: Presented, now: float
    ) -> None:
        """Refuse where this very request does not prove that whoever sent it may use the credential, found in `slot`.

        Raises:
            Refusal: `token_invalid`; `state_unavailable` where nobody can tell.
        """
        raise NotImplementedError(f"{self.name} says that it `proves`, and checks nothing")

    async def tend(self, now: float) -> None:  # noqa: B027  # most have nothing to do
        """What is to be done beside requests; a worker calls this five times a second. It may wait for a disk."""

    async def close(self) -> None:  # noqa: B027  # most hold nothing
        """Let go of what it holds, once what is under way has ended. Who is asked afterwards opens it again."""

    def goes_on_in(self, following: "Authenticator | None") -> bool:
        """Has the one of the next configuration taken over what this one holds? Then it is not closed."""
        return following is self

    def in_time(self, identity: Identity, now: float) -> bool:
        """Is a cached identity good at this moment? Asked on every hit."""
        if identity.expires_at is not None and now >= identity.expires_at + self.leeway:
            return False
        return identity.not_before is None or identity.not_before <= now + self.leeway

"""Where an issuer publishes its keys, and how they are asked for: by URL, or by discovery.

One question at a time, whole or not at all, within one bound of time. What came is vetted in a thread, so that a large
document keeps no request waiting. When to ask is `remote_keys.py`'s business.
"""

import asyncio
import hashlib
import re
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from authproxy.authn.authenticator import length_prefixed
from authproxy.authn.compact import MalformedToken, json_object
from authproxy.authn.keys import KeyProblem, PublishedKeys, load_published
from authproxy.config.authenticators import JwtAuthenticator
from authproxy.fetch import Fetched, Fetcher, FetchError
from authproxy.model.url import is_allowed, is_secure, without_query

SECONDS_MOST = 10.0
WELL_KNOWN = "/.well-known/openid-configuration"
_MAX_AGE = re.compile(r'(?:^|,)\s*max-age\s*=\s*"?([0-9]{1,10})"?\s*(?:,|$)', re.IGNORECASE)
_NEVER = re.compile(r"(?:^|,)\s*no-(?:store|cache)\s*(?:[=,]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Publication:
    """A key set as it was published; `seconds` is how long it is fresh, None where the issuer does not say."""

    found: PublishedKeys
    seconds: float | None


class Source(Protocol):
    """Whom the keys of the authenticator `name` are asked of; `identity` tells it apart from all others, in 32 bytes."""

    @property
    def name(self) -> str:
        """The authenticator's name."""

    @property
    def identity(self) -> bytes:
        """Whom is asked, what for, and by whose word it is believed."""

    @property
    def algorithms(self) -> Sequence[str]:
        """What the keys are for."""

    @property
    def asked(self) -> str:
        """The URL that is asked first, as it may be shown."""

    async def ask(self) -> Publication:
        """The keys as they are now, within `SECONDS_MOST`; FetchError where they cannot be had."""

    async def close(self) -> None:
        """Let go of what it holds."""


class KeySource:
    """The issuer of one authenticator, as far as its keys go. `ca` is a file of authorities, `ca_content` what is in it.

    `identity` is 32 bytes for whom is asked, what for, and by whose word it is believed.

    Raises:
        OSError, ssl.SSLError: `ca` cannot be used.
    """

    def __init__(
        self,
        name: str,
        settings: JwtAuthenticator,
        ca: Path | None = None,
        ca_content: bytes = b"",
    ) -> None:
        self.name = name
        self.issuer = settings.issuer
        self.algorithms = tuple(settings.algorithms)
        self._url = settings.keys.url
        self._fetcher = Fetcher(ca)
        self.identity = identity_of(name, settings, ca_content)

    @property
    def asked(self) -> str:
        """The URL that is asked first, as it may be shown."""
        return without_query(self._url or self._discovery)

    @property
    def _discovery(self) -> str:
        # OpenID Connect Discovery 1.0 section 4.1: a last `/` of the issuer is dropped.
        return self.issuer.removesuffix("/") + WELL_KNOWN

    async def ask(self, seconds: float | None = None) -> Publication:
        """The issuer's keys as they are now, within `SECONDS_MOST` unless another bound is given.

        Raises:
            FetchError: there is no answer, or none that may be used; nothing of it is told.
        """
        seconds = SECONDS_MOST if seconds is None else seconds
        return await published(self._answer(), self.algorithms, seconds)

    async def _answer(self) -> Fetched:
        return await self._fetcher.get(self._url or await self._discover())

    async def _discover(self) -> str:
        answer = await self._fetcher.get(self._discovery)
        try:
            document = await asyncio.to_thread(json_object, answer.body)
        except MalformedToken:
            raise FetchError("the discovery document is not well-formed JSON") from None
        # RFC 8414 section 3.3: identical, or whoever answers there could speak for somebody else.
        if document.get("issuer") != self.issuer:
            raise FetchError("the discovery document is of another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or not is_allowed(url):
            raise FetchError("the `jwks_uri` of the discovery document is no https URL")
        if is_secure(self.issuer) and not is_secure(url):
            # This machine's own ports are for issuers on this machine, not for one elsewhere to point at.
            raise FetchError("the `jwks_uri` of the discovery document points at this machine")
        return url

    async def close(self) -> None:
        """Close its connections; the next question opens new ones."""
        await self._fetcher.close()


async def published(
    asking: Coroutine[Any, Any, Fetched], algorithms: Sequence[str], seconds: float
) -> Publication:
    """What an answer publishes, once it is there, within so many seconds.

    Raises:
        FetchError: as `ask`.
    """
    try:
        async with asyncio.timeout(seconds):
            answer = await asking
            found = await asyncio.to_thread(load_published, answer.body, algorithms)
    except TimeoutError:
        raise FetchError(f"no answer within {seconds:g} s") from None
    except KeyProblem as problem:
        raise FetchError(problem.text) from None
    return Publication(found, freshness(answer))


def identity_of(name: str, settings: JwtAuthenticator, ca_content: bytes) -> bytes:
    """What tells the sources of keys apart: who asks, whom, and who vouches for the answer."""
    parts = (name, settings.issuer, settings.keys.url or "")
    return hashlib.sha256(length_prefixed(*(part.encode() for part in parts), ca_content)).digest()


def freshness(answer: Fetched) -> float | None:
    """How long an answer is fresh, in seconds (RFC 9111 section 4.2); None where it does not say."""
    directives = answer.headers.get("cache-control", "")
    if _NEVER.search(directives):
        return 0.0
    found = _MAX_AGE.search(directives)
    if found is None:
        return None
    age = answer.headers.get("age", "0")
    return max(0.0, float(found[1]) - (float(age) if age.isdigit() and len(age) < 11 else 0.0))

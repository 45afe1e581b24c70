"""An OpenID provider as far as we talk to it: what it says of itself, its keys, its token and userinfo endpoints.

Asked when somebody logs in, or a session needs it, never on a client's word; what it said of itself is kept for an hour,
its keys are followed as every issuer's are (`remote_keys.py`) once somebody has needed them.
Whatever it answers is bounded, strict JSON, and believed only where its issuer is the configured one. Who somebody is
follows in `id_token.py`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from authproxy.authn.client_authentication import ClientAuthentication
from authproxy.authn.compact import MalformedToken, json_object
from authproxy.authn.key_source import Publication, published
from authproxy.authn.keys import UNKNOWN, KeySet
from authproxy.authn.remote_keys import RemoteKeys
from authproxy.config.authenticators import Keys, OidcLogin
from authproxy.fetch import Fetched, Fetcher, FetchError
from authproxy.model.url import is_allowed, is_secure

T = TypeVar("T")

WELL_KNOWN = "/.well-known/openid-configuration"
FRESH = 3600.0  # seconds that metadata serve before they are asked for again
KEEP = 86400.0  # and that they go on serving while the provider is away
PAUSE = 3.0  # after a question that failed
SECONDS_MOST = 10.0
NOTHING: Mapping[str, str] = MappingProxyType({})
TOKEN_MOST = 64 << 10  # characters of one token in an answer
# RFC 6749 section 5.2: what a token endpoint may say. The words alone are logged, never another text of the answer.
ERRORS = frozenset({
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
})  # fmt: skip


class ProviderRefused(Exception):  # noqa: N818  # an answer of the provider's, not a failure to get one
    """The provider answered, and said no; the argument is the word of RFC 6749 section 5.2 for why, or `error`."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself (OpenID Connect Discovery 1.0 section 3), as far as it matters here.

    `says_issuer`: its answers to the browser hold `iss` (RFC 9207 section 3).
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    says_issuer: bool

    @classmethod
    def read(cls, document: Mapping[str, Any], issuer: str) -> "Metadata":
        """The metadata of this issuer.

        Raises:
            FetchError: the document is another's, or lacks something, or points where nobody may be sent.
        """
        # OpenID Connect Discovery section 4.3: identical, or whoever answers there could speak for somebody else.
        if document.get("issuer") != issuer:
            raise FetchError("the discovery document is of another issuer")
        said = document.get("authorization_response_iss_parameter_supported", False)
        return cls(
            _url(document, "authorization_endpoint", issuer),
            _url(document, "token_endpoint", issuer),
            _url(document, "jwks_uri", issuer),
            _optional(document, "userinfo_endpoint", issuer),
            _optional(document, "end_session_endpoint", issuer),
            said is True,
        )


def _optional(document: Mapping[str, Any], name: str, issuer: str) -> str | None:
    return _url(document, name, issuer) if document.get(name) is not None else None


def _url(document: Mapping[str, Any], name: str, issuer: str) -> str:
    url = document.get(name)
    if not isinstance(url, str) or not is_allowed(url):
        raise FetchError(f"the `{name}` of the discovery document is no https URL")
    if is_secure(issuer) and not is_secure(url):
        # This machine's own ports are for providers on this machine, not for one elsewhere to point at.
        raise FetchError(f"the `{name}` of the discovery document points at this machine")
    return url


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a token endpoint gave. `lifetime` is that of the access token in seconds; None where it is not said."""

    access_token: str
    id_token: str | None
    refresh_token: str | None
    lifetime: float | None
    scope: str | None


class Kept(Generic[T]):
    """What `ask` last gave, asked for again when it is old; all that need it at once share one question."""

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._value: T | None = None
        self._at = -KEEP
        self._failure: tuple[float, str] = (-KEEP, "")
        self._asking: asyncio.Task[T] | None = None

    @property
    def age(self) -> float:
        """Seconds since it was asked for."""
        return self._clock() - self._at

    async def get(self, most: float = FRESH) -> T:
        """It, at most so many seconds old; older where there is no answer now, while it is `KEEP`.

        Raises:
            FetchError: there is none.
        """
        if self._value is not None and self.age < most:
            return self._value
        try:
            return await self._share()
        except FetchError:
            if self._value is None or self.age >= KEEP:
                raise
            return self._value

    async def _share(self) -> T:
        since, text = self._failure
        if self._clock() - since < PAUSE:
            raise FetchError(text)
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._anew())
            self._asking.add_done_callback(_seen)
        # A browser that leaves takes nobody else's answer away.
        return await asyncio.shield(self._asking)

    async def _anew(self) -> T:
        try:
            self._value = await self._ask()
            self._at = self._clock()
            return self._value
        except FetchError as error:
            self._failure = self._clock(), str(error)
            raise
        finally:
            self._asking = None

    async def close(self) -> None:
        """End the question that is under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)


def _seen(asked: "asyncio.Task[Any]") -> None:
    """Whoever waits is told what went wrong; that nobody does any more is no error."""
    if not asked.cancelled():
        asked.exception()


class ProviderKeys:
    """Where a provider publishes its keys: at the `jwks_uri` of its metadata, which the logins use as well."""

    def __init__(self, name: str, provider: "Provider", identity: bytes) -> None:
        self.name = name
        self.identity = identity
        self.algorithms = tuple(provider.settings.algorithms)
        self._provider = provider

    @property
    def asked(self) -> str:
        """The URL that is asked first."""
        return self._provider.discovery

    async def ask(self) -> Publication:
        """The keys as they are now.

        Raises:
            FetchError: they cannot be had.
        """
        return await published(self._provider.jwks(), self.algorithms, SECONDS_MOST)

    async def close(self) -> None:
        """The connections are the provider's."""


class Provider:
    """The provider of one authenticator, `name`; `section` tells whether another configuration means the same one, and
    `identity` (32 bytes) whether the same is asked, and believed by the same word.

    `secret_keys` are the keys of HS* tokens; None: they are published, and `remote` follows them. Belongs to the loop that
    first asks.
    """  # fmt: skip

    def __init__(
        self,
        settings: OidcLogin,
        client: ClientAuthentication,
        fetcher: Fetcher,
        secret_keys: KeySet | None = None,
        section: bytes = b"",
        clock: Callable[[], float] = time.monotonic,
        *,
        name: str = "provider",
        identity: bytes = bytes(32),
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.client = client
        self.section = section
        self._fetcher = fetcher
        self._secret_keys = secret_keys
        self._metadata = Kept(self._discover, clock)
        self._wall = wall
        self.remote: RemoteKeys | None = None
        if secret_keys is None:
            source = ProviderKeys(name, self, identity)
            self.remote = RemoteKeys(source, Keys(discovery=True), section, wall, on_demand=True)

    @property
    def discovery(self) -> str:
        """Where it says what it is; a last `/` of the issuer is dropped (OpenID Connect Discovery section 4.1)."""
        return self.settings.issuer.removesuffix("/") + WELL_KNOWN

    async def metadata(self) -> Metadata:
        """What it says of itself.

        Raises:
            FetchError: it says nothing that could be used.
        """
        return await self._metadata.get()

    async def keys(self) -> KeySet:
        """The keys that it signs with.

        Raises:
            FetchError: they cannot be had.
        """
        if self._secret_keys is not None:
            return self._secret_keys
        assert self.remote is not None
        self.remote.expire(self._wall())
        if self.remote.keys is UNKNOWN:
            await self.remote.seek()
        if self.remote.keys is UNKNOWN:
            raise FetchError(self.remote.report(self._wall()).error or "its keys are not known")
        return self.remote.keys

    async def seek(self) -> bool:
        """A token of an unknown key came: ask for the keys, unless that was done lately; did they change?"""
        return self.remote is not None and await self.remote.seek()

    async def jwks(self) -> Fetched:
        """Its keys as it publishes them.

        Raises:
            FetchError: there is no answer.
        """
        return await self._get((await self.metadata()).jwks_uri)

    async def redeem(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """The tokens of a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5). They are sought once.

        Raises:
            ProviderRefused: it gives none for this code.
            FetchError: there is no answer, or none that could be used.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return await self._tokens({**form, "code_verifier": verifier})

    async def refresh(self, refresh_token: str) -> Tokens:
        """New tokens (RFC 6749 section 6).

        Raises:
            ProviderRefused: it gives none for this token.
            FetchError: there is no answer, or none that could be used.
        """
        return await self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        """What it says of whom an access token is for (OpenID Connect Core section 5.3).

        Raises:
            FetchError: there is no answer, or none that could be used.
        """
        endpoint = (await self.metadata()).userinfo_endpoint
        if endpoint is None:
            raise FetchError("the provider has no userinfo endpoint")
        headers = {"Authorization": f"Bearer {access_token}"}
        return await _document(await self._get(endpoint, headers), "userinfo")

    async def _get(self, url: str, headers: Mapping[str, str] = NOTHING) -> Fetched:
        return await self._fetcher.get(url, headers, seconds=SECONDS_MOST)

    async def _tokens(self, form: Mapping[str, str]) -> Tokens:
        endpoint = (await self.metadata()).token_endpoint
        proof, headers = self.client.prove(self.settings.issuer, time.time())
        answer = await self._fetcher.post(
            endpoint, {**form, **proof}, headers, seconds=SECONDS_MOST, also={400, 401}
        )
        if answer.status != 200:
            raise ProviderRefused(await _error(answer))
        return _read_tokens(await _document(answer, "token endpoint"))

    async def _discover(self) -> Metadata:
        answer = await self._get(self.discovery)
        return Metadata.read(await _document(answer, "discovery"), self.settings.issuer)

    async def close(self) -> None:
        """End what is under way, and close the connections; the next question opens new ones."""
        await self._metadata.close()
        if self.remote is not None:
            await self.remote.close()
        await self._fetcher.close()


async def _document(answer: Fetched, what: str) -> dict[str, Any]:
    try:
        return await asyncio.to_thread(json_object, answer.body)
    except MalformedToken:
        raise FetchError(f"the answer of the {what} is not well-formed JSON") from None


async def _error(answer: Fetched) -> str:
    try:
        word = (await _document(answer, "token endpoint")).get("error")
    except FetchError:
        return "error"
    return word if isinstance(word, str) and word in ERRORS else "error"


def _read_tokens(document: Mapping[str, Any]) -> Tokens:
    """RFC 6749 section 5.1."""
    access_token, kind = _token(document, "access_token"), document.get("token_type")
    if access_token is None or not isinstance(kind, str) or kind.lower() != "bearer":
        raise FetchError("the token endpoint gave no bearer token")
    lifetime, scope = document.get("expires_in"), document.get("scope")
    if isinstance(lifetime, str) and lifetime.isdigit() and len(lifetime) < 11:
        lifetime = int(lifetime)  # some providers write the number as text
    known = type(lifetime) in {int, float} and 0 <= lifetime < 1e10  # type: ignore[operator]
    return Tokens(
        access_token,
        _token(document, "id_token"),
        _token(document, "refresh_token"),
        float(lifetime) if known else None,  # type: ignore[arg-type]
        scope if isinstance(scope, str) else None,
    )


def _token(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None or value == "":
        return None
    # RFC 6749 appendix A.12: printable ASCII. Whatever else would end in a header.
    if not isinstance(value, str) or len(value) > TOKEN_MOST or not _is_plain(value):
        raise FetchError(f"the `{name}` of the token endpoint is none")
    return value


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable()

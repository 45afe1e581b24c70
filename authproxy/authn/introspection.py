"""Asks the issuer of a token what it is worth (RFC 7662): for tokens that say nothing by themselves.

Each question is asked once at a time, few at once, and waited for a bounded while. No answer, or one that cannot be read, is
never an answer: nobody gets in, nothing is remembered, and the caller hears that it is not to blame (503). What the issuer
says is held to the same rules as the claims of a signed token. The token travels in the body of the question and nowhere else.
"""

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from authproxy.authn.api_keys import PREFIX
from authproxy.authn.authenticator import Authenticator, Credential, Render, fingerprint_of
from authproxy.authn.binding import Bindings
from authproxy.authn.claims import Person, check_audience, check_controls, invalid, moment, text
from authproxy.authn.compact import MalformedToken, json_object
from authproxy.authn.slots import Presented, Slot, compile_slot
from authproxy.config.authenticators import IntrospectionAuthenticator
from authproxy.fetch import Fetcher, FetchError
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.state.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 16  # questions on their way
WAITING_MOST = 256  # tokens that wait for an answer; one more is told to come later
PATIENCE = 5.0  # seconds for an answer, waiting for a turn included
ANSWER_MOST = 64 << 10
REFUSED_FOR = 5.0  # seconds that a refused token is not asked about again
REFUSED_MOST = 10_000
_TOKEN = re.compile(r"[!-~]+")
COMPLAIN = 60.0  # seconds between two lines of the log about the same trouble


@dataclass(frozen=True, slots=True)
class Answer:
    """What the issuer says; `claims` None: the token is not active."""

    claims: Mapping[str, Any] | None
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Asks:
    """What the issuer is asked with; `version` changes with the files that it was made from."""

    secret: bytes
    fetcher: Fetcher
    version: str


class Introspector(Authenticator):
    """The authenticator `name`: takes tokens that are no JWTs, or all, as its settings say."""

    def __init__(
        self,
        name: str,
        settings: IntrospectionAuthenticator,
        asks: Asks,
        token_bytes: int,
        render: Render,
        store: Store,
    ) -> None:
        self.name = name
        self.leeway = settings.leeway
        self.memory = settings.cache
        self.takes = f"{settings.tokens} tokens"
        self.token_bytes = token_bytes
        self._bindings = bindings = Bindings(settings, settings.leeway, store)
        self.slots = (*map(compile_slot, settings.token_from), *bindings.slots)
        self.proves, self.proof_headers = bindings.checks, bindings.headers
        self._settings = settings
        self._audiences = frozenset(settings.audiences or ())
        self._render = render
        self._fingerprint = fingerprint_of(
            render,
            "introspection",
            name,
            settings.model_dump_json(),
            asks.version,
            str(token_bytes),
        )
        self._questions = Questions(name, settings, asks)
        self._refused: dict[bytes, tuple[float, str, str]] = {}

    @property
    def fingerprint(self) -> bytes:
        return self._fingerprint

    async def judge(
        self, credential: Credential, _presented: Presented, now: float
    ) -> Identity | None:
        if len(credential.text) > self.token_bytes > 0:
            raise invalid("too-long")
        if not self._is_mine(credential):
            return None
        digest = hashlib.sha256(credential.text.encode()).digest()
        refused = self._refused.get(digest)
        if refused is not None and 0 < refused[0] - now <= REFUSED_FOR:
            raise Refusal(refused[1], refused[2])
        answer = await self._questions.ask(credential.text, digest, now)
        try:
            return self._identity(answer, digest, now)
        except Refusal as refusal:
            self._keep(digest, refusal, now)
            raise

    async def check_proof(
        self, identity: Identity, credential: str, slot: Slot, presented: Presented, now: float
    ) -> None:
        await self._bindings.check_request(identity.claims, credential, slot, presented, now)

    async def close(self) -> None:
        await self._questions.close()

    def _is_mine(self, credential: Credential) -> bool:
        # RFC 6749 appendix A.12. Our own API keys, mistyped ones too, are secrets that no issuer needs to see.
        if not _TOKEN.fullmatch(credential.text) or credential.text.startswith(PREFIX):
            return False
        return self._settings.tokens == "all" or credential.token is None

    def _keep(self, digest: bytes, refusal: Refusal, now: float) -> None:
        """A flood of one bad token asks once. All are kept equally long, so the first is the oldest."""
        while len(self._refused) >= REFUSED_MOST:
            del self._refused[next(iter(self._refused))]
        self._refused.pop(digest, None)
        self._refused[digest] = now + REFUSED_FOR, refusal.code, refusal.reason

    def _identity(self, answer: Answer, digest: bytes, now: float) -> Identity:
        claims, settings = answer.claims, self._settings
        if claims is None:
            raise invalid("inactive")
        if settings.issuer is not None and claims.get("iss") != settings.issuer:
            raise invalid("issuer")
        check_controls(claims, answer.payload)
        if self._audiences:
            check_audience(claims, self._audiences)
        self._bindings.check_claims(claims)
        issued_at, not_before, expires_at = (moment(claims, n) for n in ("iat", "nbf", "exp"))
        for name, at in (("nbf", not_before), ("iat", issued_at)):
            if at is not None and at > now + self.leeway:
                raise invalid(name)
        person = Person.of(claims, settings.claims)
        jti = text(claims, "jti")
        if expires_at is not None and now >= expires_at + self.leeway:
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
            issued_at=issued_at,
            not_before=not_before,
            expires_at=expires_at,
            credential_id=jti or digest.hex(),
        )
        return identity.with_headers(self._render)


class Questions:
    """The questions to one issuer that are on their way."""

    def __init__(self, name: str, settings: IntrospectionAuthenticator, asks: Asks) -> None:
        self._name = name
        self._url = settings.url
        # RFC 6749 section 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote_plus(settings.client_id)}:{quote_plus(asks.secret)}".encode()
        self._headers = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        self._fetcher = asks.fetcher
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._flights: dict[bytes, asyncio.Task[Answer | None]] = {}
        self._closed = False
        self._complain_at: float | None = None  # None: all is well
        self._unanswered = 0

    async def ask(self, token: str, digest: bytes, now: float) -> Answer:
        """What the issuer says of a token; whoever asks the same meanwhile gets the same answer.

        Raises:
            Refusal: `state_unavailable`: there is no answer.
        """
        flight = self._flights.get(digest)
        if flight is None:
            if len(self._flights) >= WAITING_MOST:
                raise Refusal("state_unavailable", "introspection")
            flight = asyncio.get_running_loop().create_task(self._fetch(token, now))
            self._flights[digest] = flight
            flight.add_done_callback(lambda _: self._flights.pop(digest, None))
        # One caller's leaving ends nobody else's question.
        answer = await asyncio.shield(flight)
        if answer is None:
            raise Refusal("state_unavailable", "introspection")
        return answer

    async def _fetch(self, token: str, now: float) -> Answer | None:
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            async with asyncio.timeout(PATIENCE), self._turns:
                answer = await self._fetcher.post(self._url, form, self._headers, seconds=PATIENCE)
            found = read_answer(answer.body)
        except TimeoutError:
            self._complain(f"no answer within {PATIENCE:g} s", now)
        except (FetchError, MalformedToken) as error:
            self._complain(str(error), now)
        else:
            self._well()
            return found
        finally:
            if self._closed and len(self._flights) == 1:  # this one, begun before the end
                await self._fetcher.close()
        return None

    def _complain(self, why: str, now: float) -> None:
        self._unanswered += 1
        if self._complain_at is None or not 0 <= self._complain_at - now <= COMPLAIN:
            self._complain_at = now + COMPLAIN
            log.warning("introspection by `%s`: %s (unanswered so far: %d)", self._name, why, self._unanswered)  # fmt: skip

    def _well(self) -> None:
        if self._complain_at is not None:
            log.warning("introspection by `%s` is answered again", self._name)
            self._complain_at, self._unanswered = None, 0

    async def close(self) -> None:
        """Wait for what was asked, then let go of the connections."""
        self._closed = True
        if self._flights:
            await asyncio.wait(tuple(self._flights.values()), timeout=PATIENCE)
        await self._fetcher.close()


def read_answer(body: bytes) -> Answer:
    """The answer, read as strictly as a token.

    Raises:
        MalformedToken: it is none (RFC 7662 section 2.2); `active` is a boolean and never missing.
    """
    if len(body) > ANSWER_MOST:
        raise MalformedToken("the answer is too long")
    claims = json_object(body)
    active = claims.get("active")
    if active is True:
        return Answer(claims, body)
    if active is False:
        return Answer(None)
    raise MalformedToken("the answer has no `active`")

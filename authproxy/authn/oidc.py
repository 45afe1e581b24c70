"""People who log in at an OpenID provider: from its answer to a session, from a session to an identity, and on to its end.

What the provider said of somebody is kept in the session, and so are its tokens: no browser and no backend ever gets one.
The identity is as the provider last said it; when its time is over the provider is asked again (`refreshing.py`).
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from authproxy.authn.authenticator import Authenticator, Render
from authproxy.authn.claims import Person, check_controls, find, invalid
from authproxy.authn.id_token import read_id_token
from authproxy.authn.login_records import PendingLogin
from authproxy.authn.logins import LoginAuthenticator
from authproxy.authn.provider import Provider, Tokens
from authproxy.authn.refreshing import Refreshing, until
from authproxy.authn.sessions import Session, Sessions
from authproxy.fetch import FetchError
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity

CLAIMS_MOST = 32 << 10  # bytes of one person's claims
HINT_MOST = 4 << 10  # a longer ID token would make the URL of the logout too long for some
REFRESH_MOST = 16 << 10
LEAST = 1.0  # seconds between two refreshes, whatever the provider says
UNSAID = 300.0  # where it says nothing
# They belong to one answer of the provider's and mean nothing later.
_PASSING = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who came back from the provider: the subject, the session's data, and the marks that a logout finds it by."""

    subject: str
    data: Mapping[str, Any]
    marks: tuple[str, ...]


def sid_mark(sid: str) -> str:
    """The mark of a session of the provider's."""
    return f"sid {sid}"


def sub_mark(sub: str) -> str:
    """The mark of whom the provider calls so, whatever claim names the subject here."""
    return f"sub {sub}"


class OidcAuthenticator(LoginAuthenticator):
    """The authenticator `name` over a provider, which sends browsers back to `portal` (an origin)."""

    def __init__(
        self,
        name: str,
        cookie: str,
        sessions: Sessions,
        render: Render,
        provider: Provider,
        portal: str,
    ) -> None:
        super().__init__(name, cookie, sessions, render)
        self.provider = provider
        self.portal = portal
        self.title = provider.settings.title or name
        self._claims = provider.settings.claims
        self._refreshing = Refreshing(name, sessions, self._spend)

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends browsers back to; registered there, to the letter."""
        return f"{self.portal}/.authproxy/callback/{self.name}"

    async def authorization(self, state: str, login: PendingLogin) -> str:
        """The URL that a login begins with.

        Raises:
            FetchError: the provider does not answer.
        """
        settings = self.provider.settings
        parameters = {
            **settings.authorization,
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(settings.scopes),
            "state": state,
            "nonce": login.nonce,
            "code_challenge": login.challenge,
            "code_challenge_method": "S256",
        }
        return _with(await self._endpoint(), parameters)

    async def _endpoint(self) -> str:
        return (await self.provider.metadata()).authorization_endpoint

    async def check_issuer(self, issuer: str | None) -> None:
        """Is an answer to the browser from this provider, as far as it says so (RFC 9207 section 2.4)?

        Raises:
            Refusal: `token_invalid`.
            FetchError: the provider does not answer.
        """
        metadata = await self.provider.metadata()
        if issuer is None and metadata.says_issuer:
            raise invalid("answer-without-issuer")
        if issuer is not None and issuer != self.provider.settings.issuer:
            raise invalid("answer-of-another-issuer")

    async def log_in(self, code: str, login: PendingLogin, now: float) -> LoggedIn:
        """Who comes back with this code.

        Raises:
            Refusal: `token_invalid`, `token_expired`: what the provider says cannot be believed.
            ProviderRefused: it does not take the code.
            FetchError: it does not answer, or nothing that could be used.
        """
        tokens = await self.provider.redeem(code, login.verifier, self.redirect_uri)
        if tokens.id_token is None:
            raise FetchError("the token endpoint gave no ID token")
        claims = await self._id_claims(tokens, now, login.nonce)
        claims, asked = await self._completed(claims, tokens)
        subject = Person.of(claims, self._claims).subject
        sid, sub = claims.get("sid"), claims.get("sub")
        marks = [sid_mark(sid)] if isinstance(sid, str) else []
        marks += [sub_mark(sub)] if isinstance(sub, str) else []
        data = self._data(claims, tokens, {"userinfo": asked}, now)
        return LoggedIn(subject, data, tuple(marks))

    async def current(self, session: Session, now: float) -> Identity:
        if not self.settled(session, now):
            session = await self._refreshing.confirmed(session)
        return self.identity(session)

    def settled(self, session: Session, now: float) -> bool:
        return now < until(session)

    def _made(self, session: Session) -> Identity:
        claims = session.data.get("claims", {})
        if claims.get("iss") != self.provider.settings.issuer:
            # The name of this authenticator once meant another way in.
            raise Refusal("session_expired", "issuer")
        try:
            person = Person.of(claims, self._claims)
        except Refusal:
            raise Refusal("session_expired", "claims") from None
        if person.subject != session.subject:
            raise Refusal("session_expired", "subject")
        granted = frozenset((session.data.get("scope") or "").split())
        return Identity(
            authenticator=self.name,
            subject=person.subject,
            groups=person.groups,
            scopes=person.scopes or granted,
            email=person.email,
            username=person.username,
            name=person.name,
            claims=claims,
            issued_at=session.created,
            expires_at=session.created + self.sessions.absolute,
            credential_id=session.key.hex(),
        )

    async def end_session(self, session: Session, state: str) -> str | None:
        """Where a browser goes to be logged out at the provider too; None where that is not to be had.

        OpenID Connect RP-Initiated Logout 1.0 section 2.
        """
        try:
            endpoint = (await self.provider.metadata()).end_session_endpoint
        except FetchError:
            return None
        if endpoint is None:
            return None
        hint = session.data.get("id_token")
        parameters = {
            **({"id_token_hint": hint} if hint else {}),
            "client_id": self.provider.settings.client_id,
            "post_logout_redirect_uri": f"{self.portal}/.authproxy/logout",
            "state": state,
        }
        return _with(endpoint, parameters)

    def goes_on_in(self, following: Authenticator | None) -> bool:
        return isinstance(following, OidcAuthenticator) and following.provider is self.provider

    async def close(self) -> None:
        """Wait for the refreshes that are under way, and let go of the provider."""
        await self._refreshing.close()
        await self.provider.close()

    async def _spend(self, session: Session) -> Mapping[str, Any]:
        """The data of a session after its refresh."""
        tokens = await self.provider.refresh(session.data["refresh"])
        now = time.time()
        try:
            claims, asked = await self._refreshed(session.data, tokens, now)
        except FetchError:
            # The old refresh token is spent: the new one is kept whatever else fails, and tried again soon.
            kept = {**session.data, "refresh": tokens.refresh_token or session.data["refresh"]}
            return {**kept, "retry": 0.0}
        if claims.get("sub") != session.data["claims"].get("sub"):
            raise invalid("subject")
        return self._data(claims, tokens, {**session.data, "userinfo": asked}, now)

    async def _refreshed(
        self, data: Mapping[str, Any], tokens: Tokens, now: float
    ) -> tuple[dict[str, Any], bool]:
        if tokens.id_token is not None:
            return await self._completed(await self._id_claims(tokens, now, None), tokens)
        if not data.get("userinfo"):
            return dict(data["claims"]), False
        return {**data["claims"], **await self._userinfo(data["claims"], tokens)}, True

    async def _id_claims(self, tokens: Tokens, now: float, nonce: str | None) -> dict[str, Any]:
        claims = await read_id_token(
            self.provider, tokens.id_token or "", now, nonce, tokens.access_token
        )
        return {name: value for name, value in claims.items() if name not in _PASSING}

    async def _completed(
        self, claims: dict[str, Any], tokens: Tokens
    ) -> tuple[dict[str, Any], bool]:
        """The claims, with what the ID token lacks and userinfo has; was it asked?"""
        names = self._claims
        wanted = (names.subject, names.groups, names.email, names.username, names.name)
        asked = any(find(claims, name) is None for name in wanted)
        if asked and (await self.provider.metadata()).userinfo_endpoint is not None:
            return {**await self._userinfo(claims, tokens), **claims}, True
        return claims, False

    async def _userinfo(self, claims: Mapping[str, Any], tokens: Tokens) -> dict[str, Any]:
        found = await self.provider.userinfo(tokens.access_token)
        # OpenID Connect Core section 5.3.2: or it is about somebody else.
        if found.get("sub") != claims.get("sub"):
            raise invalid("userinfo-subject")
        return found

    def _data(
        self, claims: dict[str, Any], tokens: Tokens, before: Mapping[str, Any], now: float
    ) -> dict[str, Any]:
        """What a session keeps. A session without a refresh token lives by its own timeouts."""
        written = json.dumps(claims).encode()
        check_controls(claims, written)
        if len(written) > CLAIMS_MOST:
            raise invalid("too-many-claims")
        Person.of(claims, self._claims)
        data = {**before, "claims": claims, "scope": tokens.scope or before.get("scope")}
        if tokens.id_token is not None:
            data["id_token"] = tokens.id_token if len(tokens.id_token) <= HINT_MOST else None
        refresh = tokens.refresh_token or before.get("refresh")
        if refresh is not None and len(refresh) <= REFRESH_MOST:
            data |= {"refresh": refresh, "until": _ends(claims, tokens, now)}
        return data


def _ends(claims: Mapping[str, Any], tokens: Tokens, now: float) -> float:
    """When what the provider said must be confirmed: at the end of the ID token or of the access token."""
    ends = [float(claims["exp"])] if tokens.id_token is not None else []
    ends += [now + tokens.lifetime] if tokens.lifetime is not None else []
    return max(min(ends, default=now + UNSAID), now + LEAST)


def _with(endpoint: str, parameters: Mapping[str, str]) -> str:
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"

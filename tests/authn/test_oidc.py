"""People who log in at a provider: what a session keeps of them, and how long it is believed."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest

from authproxy.authn.authenticator import Credential
from authproxy.authn.client_authentication import client_of
from authproxy.authn.login_records import PendingLogins
from authproxy.authn.oidc import CLAIMS_MOST, HINT_MOST, LoggedIn, OidcAuthenticator
from authproxy.authn.provider import Provider, ProviderRefused
from authproxy.authn.sessions import Sessions
from authproxy.authn.slots import Presentation
from authproxy.config.authenticators import OidcLogin
from authproxy.fetch import Fetcher, FetchError
from authproxy.model.errors import Refusal
from authproxy.model.headers import IdentityProfile
from authproxy.model.identity import Identity
from authproxy.state.memory_records import MemoryRecords
from tests.openid import SECRET, EvilProvider, evil_provider, says

PORTAL = "https://login.test"


@pytest.fixture
async def evil() -> AsyncIterator[EvilProvider]:
    async with evil_provider() as provider:
        yield provider


class House:
    """An authenticator over a provider, with records of its own; `another` is that of another worker."""

    def __init__(self, evil: EvilProvider, **settings: Any) -> None:
        self.evil = evil
        self.settings = OidcLogin.model_validate(evil.settings(**settings))
        self.records = MemoryRecords()
        self.made: list[OidcAuthenticator] = []
        self.one = self.another()

    def another(self) -> OidcAuthenticator:
        provider = Provider(self.settings, client_of(self.settings, SECRET, b""), Fetcher())
        sessions = Sessions(self.records, 1800.0, 43_200.0)
        render = IdentityProfile("forwarded").render
        one = OidcAuthenticator("sso", "__Host-authproxy", sessions, render, provider, PORTAL)
        self.made.append(one)
        return one

    async def log_in(self) -> LoggedIn:
        """Somebody comes back from the provider."""
        now = time.time()
        begun = await PendingLogins(self.records).begin("sso", "b", PORTAL, "/", now)
        target = self.evil.grant(await self.one.authorization(*begun))
        code = parse_qs(urlsplit(target).query)["code"][0]
        return await self.one.log_in(code, begun[1], now)

    async def session(self) -> str:
        """The id of a new session."""
        found = await self.log_in()
        sessions = self.one.sessions
        return (await sessions.create("sso", found.subject, found.data, time.time(), found.marks))[
            0
        ]

    async def who(self, session_id: str, one: OidcAuthenticator | None = None) -> Identity:
        """Whose session this is."""
        credential, presented = Credential(session_id), Presentation({})  # type: ignore[arg-type]  # it looks at none
        identity = await (one or self.one).judge(credential, presented, time.time())
        assert identity is not None
        return identity

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self.made:
            await one.close()


async def test_an_identity_is_what_the_provider_said(evil: EvilProvider) -> None:
    """Subject, groups, scopes and the rest by the configured claims; headers ready, the same object each time."""
    evil.tokens = {"scope": "openid groups"}
    async with House(evil, claims={"subject": "preferred_username"}) as house:
        session_id = await house.session()
        identity = await house.who(session_id)
        assert (identity.subject, identity.groups, identity.email) == ("ann.a", ("eng", "ops"), "ann@x.test")  # fmt: skip
        assert identity.scopes == {"openid", "groups"}
        assert identity.claims["sub"] == "ann"
        assert not {"nonce", "at_hash"} & set(identity.claims)
        assert b"X-Forwarded-User: ann.a\r\n" in (identity.header_block or b"")
        assert await house.who(session_id) is identity


async def test_userinfo_is_asked_for_what_the_id_token_lacks(evil: EvilProvider) -> None:
    """And only then; what the ID token says goes before it; it must be about the same person."""
    async with House(evil) as house:
        await house.log_in()
        assert evil.asked["/userinfo"] == 0
        evil.claims = {"groups": None, "email": "mine@x.test"}
        found = await house.log_in()
        claims = found.data["claims"]
        assert (claims["groups"], claims["email"]) == (["eng", "ops"], "mine@x.test")
        evil.answers["/userinfo"] = says({"sub": "eve", "groups": ["root"]})
        with pytest.raises(Refusal, match="userinfo-subject"):
            await house.log_in()
        evil.metadata = {"userinfo_endpoint": None}
    async with House(evil) as house:
        assert "groups" not in (await house.log_in()).data["claims"]


async def test_what_a_session_keeps_is_bounded(evil: EvilProvider) -> None:
    """Too many claims are no login; a large ID token is no hint of a later logout."""
    async with House(evil) as house:
        evil.claims = {"groups": ["g" * 100] * 40 + ["h" * HINT_MOST]}
        assert (await house.log_in()).data["id_token"] is None
        evil.claims = {"groups": ["g" * 1000] * (CLAIMS_MOST // 1000 + 1)}
        with pytest.raises(Refusal, match="too-many-claims"):
            await house.log_in()


async def test_a_code_is_redeemed_once(evil: EvilProvider) -> None:
    """A second time the provider refuses, and so do we."""
    async with House(evil) as house:
        begun = await PendingLogins(house.records).begin("sso", "b", PORTAL, "/", time.time())
        target = evil.grant(await house.one.authorization(*begun))
        code = parse_qs(urlsplit(target).query)["code"][0]
        await house.one.log_in(code, begun[1], time.time())
        with pytest.raises(ProviderRefused, match="invalid_grant"):
            await house.one.log_in(code, begun[1], time.time())


@pytest.mark.parametrize("tokens", [
    {"id_token": None}, {"access_token": None}, {"token_type": "mac"}, {"access_token": "a\nb"}, {"refresh_token": 7},
])  # fmt: skip
async def test_an_answer_without_its_tokens_is_no_login(
    evil: EvilProvider, tokens: dict[str, Any]
) -> None:
    """Whatever is missing, or no token at all."""
    evil.tokens = tokens
    async with House(evil) as house:
        with pytest.raises(FetchError):
            await house.log_in()


async def test_a_session_is_refreshed_when_its_time_has_come(evil: EvilProvider) -> None:
    """Once over all workers and requests; the identity follows what the provider says then."""
    evil.lifetime = 1.0
    async with House(evil) as house:
        session_id = await house.session()
        evil.person["groups"] = ["ops"]
        evil.lifetime = 600.0
        assert (await house.who(session_id)).groups == ("eng", "ops")
        assert house.one.recognize(session_id, time.time()) is await house.who(session_id)
        await asyncio.sleep(1.1)
        assert house.one.recognize(session_id, time.time()) is None  # somebody must be asked
        workers = [house.another() for _ in range(4)]
        found = await asyncio.gather(
            *(house.who(session_id, w) for w in workers for _ in range(10))
        )
        assert {one.groups for one in found} == {("ops",)}
        assert len(evil.spent) == 1


async def test_claims_of_userinfo_are_asked_for_again(evil: EvilProvider) -> None:
    """A refresh that brings no ID token brings the groups all the same."""
    evil.lifetime, evil.claims = 1.0, {"groups": None}
    async with House(evil) as house:
        session_id = await house.session()
        evil.tokens, evil.person["groups"] = {"id_token": None}, ["ops"]
        await asyncio.sleep(1.1)
        assert (await house.who(session_id)).groups == ("ops",)


@pytest.mark.parametrize("how", ["refused", "somebody-else", "forged"])
async def test_a_refresh_that_is_wrong_ends_the_session(evil: EvilProvider, how: str) -> None:
    """Refused by the provider, about somebody else, or not to be believed."""
    evil.lifetime = 1.0
    async with House(evil) as house:
        session_id = await house.session()
        await asyncio.sleep(1.1)
        if how == "refused":
            evil.refresh_tokens.clear()
        evil.claims = {"somebody-else": {"sub": "eve"}, "forged": {"aud": "other"}}.get(how, {})
        with pytest.raises(Refusal) as refused:
            await house.who(session_id)
        assert (refused.value.code, refused.value.reason) == ("session_expired", "refresh")
        assert await house.one.sessions.find(session_id, time.time()) is None


async def test_a_refresh_token_that_was_spent_is_never_lost(evil: EvilProvider) -> None:
    """Where the rest of a refresh fails, the new one is kept for the next try."""
    evil.lifetime, evil.claims = 1.0, {"groups": None}
    async with House(evil) as house:
        session_id = await house.session()
        evil.answers["/userinfo"] = says(b"", 503)
        await asyncio.sleep(1.1)
        assert (await house.who(session_id)).groups == ("eng", "ops")
        (new,) = evil.refresh_tokens
        session = await house.one.sessions.find(session_id, time.time())
        assert session is not None
        assert (session.data["refresh"], len(evil.spent)) == (new, 1)


async def test_a_session_without_refresh_token_lives_by_the_timeouts(evil: EvilProvider) -> None:
    """Its provider is never asked again."""
    evil.lifetime, evil.tokens = 1.0, {"refresh_token": None}
    async with House(evil) as house:
        session_id = await house.session()
        await asyncio.sleep(1.1)
        assert (await house.who(session_id)).subject == "ann"
        assert evil.spent == []


async def test_the_logout_at_the_provider(evil: EvilProvider) -> None:
    """With the ID token as a hint, and back to the portal; nowhere, where the provider has no such place."""
    async with House(evil) as house:
        session = await house.one.sessions.find(await house.session(), time.time())
        assert session is not None
        url = str(await house.one.end_session(session, "s"))
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{evil.url}/end?")
        assert asked["id_token_hint"] == session.data["id_token"]
        assert asked["post_logout_redirect_uri"] == f"{PORTAL}/.authproxy/logout"
        evil.metadata = {"end_session_endpoint": None}
        assert await house.another().end_session(session, "s") is None


async def test_a_session_of_another_way_in_is_over(evil: EvilProvider) -> None:
    """Where the name of the authenticator has come to mean another provider, or once was of another kind."""
    async with House(evil) as house:
        found = await house.log_in()
        other = {**found.data, "claims": {**found.data["claims"], "iss": "https://old.test"}}
        for data in (other, {"password": "mark"}, {}):
            session_id, _ = await house.one.sessions.create("sso", "ann", data, time.time())
            with pytest.raises(Refusal) as refused:
                await house.who(session_id)
            assert (refused.value.code, refused.value.reason) == ("session_expired", "issuer")

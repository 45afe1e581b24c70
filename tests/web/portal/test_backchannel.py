"""Back-channel logout: a logout token that is right ends whom it names, everywhere; nothing else ends anybody."""

import time
from typing import Any

import pytest

from authproxy.authn.issue import generate_key
from tests.openid import CLIENT, LOGOUT_EVENT, SECRET, EvilProvider, says
from tests.playbook import Proxy
from tests.web.portal.sso import PEOPLE, Person, company, reasons, sign_in_at
from tests.wire import Answer


async def told(p: Proxy, token: str, name: str = "sso", field: str = "logout_token") -> Answer:
    """What the provider gets for a logout token; it is no browser."""
    headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Forwarded-Proto", "https"),
    ]
    body = f"{field}={token}".encode()
    return await p.request("POST", f"/.authproxy/backchannel-logout/{name}", headers, body)


async def session_of(p: Proxy, provider: EvilProvider, sub: str, sid: str | None) -> Person:
    """Somebody who is logged in, in a session of the provider's."""
    provider.person["sub"], provider.claims = sub, {"sid": sid}
    person = Person(p, provider)
    assert (await person.sign_in()).status == 303
    return person


async def test_a_session_of_the_provider_ends() -> None:
    """The one that the token names, and no other of the same person."""
    async with company() as (p, provider):
        one = await session_of(p, provider, "ann", "s1")
        other = await session_of(p, provider, "ann", "s2")
        answer = await told(p, provider.logout_token(sid="s1"))
        assert (answer.status, answer.field("cache-control"), answer.body) == (200, "no-store", b"")
        assert [await one.may(), await other.may()] == [401, 200]
        assert "ended 1 sessions" in [line["reason"] for line in p.log()]


@pytest.mark.parametrize("typ", ["logout+jwt", "JWT", ""])
async def test_somebody_is_out_everywhere(typ: str) -> None:
    """All sessions of a `sub`, and nobody else's."""
    async with company() as (p, provider):
        people = [await session_of(p, provider, "ann", sid) for sid in ("s1", "s2", None)]
        bob = await session_of(p, provider, "bob", "s3")
        token = provider.logout_token(sid=None, sub="ann", typ=typ)
        assert (await told(p, token)).status == 200
        assert [await one.may() for one in (*people, bob)] == [401, 401, 401, 200]


async def test_the_subject_is_the_provider_s_own() -> None:
    """Also where another claim names the subject here."""
    async with company(sso={"claims": {"subject": "email"}}) as (p, provider):
        ann = await session_of(p, provider, "ann", None)
        assert (await told(p, provider.logout_token(sid=None, sub="ann@x.test"))).status == 200
        assert await ann.may() == 200
        assert (await told(p, provider.logout_token(sid=None, sub="ann"))).status == 200
        assert await ann.may() == 401


async def test_a_session_of_somebody_else_does_not_end() -> None:
    """With both names the session must be theirs; with one that nobody has there is nothing to do, and that is fine."""
    async with company() as (p, provider):
        ann = await session_of(p, provider, "ann", "s1")
        assert (await told(p, provider.logout_token(sid="s1", sub="bob"))).status == 200
        assert (await told(p, provider.logout_token(sid="none"))).status == 200
        assert await ann.may() == 200


async def test_it_ends_on_every_host() -> None:
    """One login of the provider's may be a session on several of our hosts."""
    routes = [{**PEOPLE, "match": {"hosts": ["a.test", "b.test"], "paths": ["/staff/**"]}}]
    async with company(routes=routes) as (p, provider):
        portal = Person(p, provider)
        found = [await sign_in_at(f"https://{host}.test", portal) for host in "ab"]
        assert [await one.may() for one in found] == [200, 200]
        headers = [("Host", "proxy.test"), ("Content-Type", "application/x-www-form-urlencoded")]
        body = f"logout_token={provider.logout_token()}".encode()
        path = "/.authproxy/backchannel-logout/sso"
        assert (await p.request("POST", path, headers, body)).status == 200
        assert [await one.may() for one in found] == [401, 401]


# Moments are in seconds from when the test runs, which may be long after these are read.
MOMENTS = {"exp", "iat"}
FORGED: list[tuple[str, dict[str, Any], str]] = [
    ("another issuer", {"iss": "https://evil.test"}, "issuer"),
    ("another client", {"aud": "other"}, "audience"),
    ("another party", {"azp": "other"}, "azp"),
    ("old", {"iat": -3600, "exp": 60}, "iat"),
    ("without beginning", {"iat": None}, "iat"),
    ("over", {"exp": -60, "iat": -100}, "exp"),
    ("of no event", {"events": None}, "events"),
    ("of another event", {"events": {"http://other": {}}}, "events"),
    ("of a wrong event", {"events": {LOGOUT_EVENT: True}}, "events"),
    ("of a list of events", {"events": [LOGOUT_EVENT]}, "events"),
    ("with a nonce", {"nonce": "x"}, "nonce"),
    ("without id", {"jti": None}, "claim"),
    ("of nobody", {"sid": None}, "claim"),
    ("an access token", {"typ": "at+jwt"}, "typ"),
    ("an assertion", {"typ": "authproxy-assertion+jwt"}, "typ"),
    ("unsigned", {"header": {"alg": "none", "key": ""}}, "algorithm"),
    ("signed with the client's secret", {"header": {"alg": "HS256", "key": SECRET}}, "algorithm"),
    ("signed by somebody", {"header": {"key": generate_key("ES256").decode()}}, "signature"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "changes", "reason"), FORGED, ids=[f[0] for f in FORGED])
async def test_a_logout_token_that_is_wrong_in_one_thing_ends_nobody(
    what: str, changes: dict[str, Any], reason: str
) -> None:
    """400, never kept by a cache, and a line in the log that says why."""
    async with company() as (p, provider):
        ann = await session_of(p, provider, "ann", "s1")
        now = time.time()
        made = {k: v + now if k in MOMENTS and v is not None else v for k, v in changes.items()}
        answer = await told(p, provider.logout_token(**made))
        assert (answer.status, answer.field("cache-control")) == (400, "no-store")
        assert answer.body == b'{"error":"invalid_request"}'
        assert reasons(p) == [reason]
        assert await ann.may() == 200


async def test_what_is_no_logout_token_ends_nobody() -> None:
    """An ID token of the same person, rubbish, nothing; and no other method does."""
    async with company() as (p, provider):
        ann = await session_of(p, provider, "ann", "s1")
        for token in (
            provider.id_token(None),
            provider.id_token("n"),
            "x",
            "a.b.c",
            "",
            "x" * 9000,
        ):
            assert (await told(p, token)).status == 400
        assert (await told(p, provider.logout_token(), field="token")).status == 400
        assert (await told(p, provider.logout_token(), name="other")).status == 404
        assert (await ann.go("/.authproxy/backchannel-logout/sso")).status == 405
        assert await ann.may() == 200


async def test_a_logout_token_is_good_once() -> None:
    """Its second use is refused: it cannot end a later session."""
    async with company() as (p, provider):
        await session_of(p, provider, "ann", "s1")
        token = provider.logout_token()
        assert [(await told(p, token)).status for _ in range(2)] == [200, 400]
        again = await session_of(p, provider, "ann", "s1")
        assert (await told(p, token)).status == 400
        assert (await again.may(), reasons(p)) == (200, ["replayed", "replayed"])


async def test_forged_logout_tokens_are_bounded() -> None:
    """Whoever sends many that are none is not looked at any more."""
    async with company(failed_authentications="3/hour") as (p, provider):
        ann = await session_of(p, provider, "ann", "s1")
        statuses = [(await told(p, "a.b.c")).status for _ in range(5)]
        assert statuses == [400, 400, 400, 429, 429]
        assert await ann.may() == 200


async def test_a_provider_that_is_away_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its keys nobody can say whose token it is."""
    monkeypatch.setattr("authproxy.authn.remote_keys.PEOPLE_MOST", 0.0)
    async with company() as (p, provider):
        provider.answers["/jwks"] = says(b"", 503)
        assert (await told(p, provider.logout_token(aud=CLIENT))).status == 400
        del provider.answers["/jwks"]
        assert (await told(p, provider.logout_token())).status == 200

"""Asking the issuer: what it says is believed as far as it goes, and no answer is never an answer."""

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict

from authproxy.authn import introspection as module
from authproxy.authn.api_keys import new_key
from authproxy.authn.authentication import Authentication
from authproxy.authn.authenticator import Authenticator
from authproxy.authn.cache import IdentityCache
from authproxy.authn.compact import MalformedToken
from authproxy.authn.introspection import ANSWER_MOST, REFUSED_FOR, Asks, Introspector, read_answer
from authproxy.authn.jwk import thumbprint_of
from authproxy.authn.revocation import Revocations
from authproxy.authn.slots import Presentation
from authproxy.config.authenticators import IntrospectionAuthenticator
from authproxy.fetch import Fetcher
from authproxy.model.errors import Refusal
from authproxy.model.headers import IdentityProfile
from authproxy.model.identity import Identity
from authproxy.state.memory import MemoryStore
from tests.authn.proofs import jwk_of, proof
from tests.authn.tokens import NOW, token, verifier

ACTIVE: dict[str, Any] = {
    "active": True, "sub": "ann", "scope": "read write", "groups": ["eng"], "exp": NOW + 3600, "iss": "https://id.test",
    "aud": ["api"], "email": "ann@id.test",
}  # fmt: skip


class Issuer:
    """An authorization server that answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Any = ACTIVE
        self.status = 200
        self.asked: list[tuple[dict[str, str], dict[str, Any], str]] = []
        self.more = asyncio.Condition()
        self.gate = asyncio.Event()
        self.gate.set()
        self.most = self.now = 0
        self.url = ""

    async def was_asked(self, often: int) -> None:
        async with self.more:
            await self.more.wait_for(lambda: len(self.asked) >= often)

    async def introspect(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        async with self.more:
            self.asked.append((dict(request.headers), form, request.path_qs))
            self.more.notify_all()
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
        finally:
            self.now -= 1
        if isinstance(self.answer, bytes):
            return web.Response(body=self.answer, status=self.status)
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    app = web.Application()
    app.router.add_route("POST", "/introspect", made.introspect)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}/introspect"
    yield made
    made.gate.set()
    await runner.cleanup()


def introspector(url: str, **changes: Any) -> Introspector:
    values = {"client_id": "me:1", "client_secret": {"file": "s"}, "url": url, **changes}
    settings = IntrospectionAuthenticator.model_validate({"type": "introspection", **values})
    render = IdentityProfile("forwarded").render
    return Introspector(
        "opaque", settings, Asks(b"s:e cret", Fetcher(), "1"), 8192, render, MemoryStore()
    )


class Door:
    """A route with these authenticators."""

    def __init__(self, *judges: Authenticator) -> None:
        self.judges = judges
        self.cache = IdentityCache()
        self.authentication = Authentication(judges, self.cache, Revocations())

    async def identity(
        self, text: str, now: float = NOW, fields: Any = (), scheme: str = "Bearer"
    ) -> Identity:
        headers = CIMultiDict([("Authorization", f"{scheme} {text}"), *fields])
        shown = Presentation(headers, None, "GET", "https://api.test/orders/1")
        return await self.authentication.authenticate(shown, now, lambda: None)

    async def refusal(self, text: str, now: float = NOW, **more: Any) -> tuple[str, str]:
        with pytest.raises(Refusal) as refused:
            await self.identity(text, now, **more)
        return refused.value.code, refused.value.reason

    async def close(self) -> None:
        for judge in self.judges:
            await judge.close()


@pytest.fixture
async def door(issuer: Issuer) -> AsyncIterator[Door]:
    made = Door(introspector(issuer.url))
    yield made
    await made.close()


async def test_an_active_token(door: Door, issuer: Issuer) -> None:
    """Who it is, from the claims of the answer; the token goes in the body, our credentials in the head, nothing in the URL."""
    found = await door.identity("opaque~1")
    assert (found.subject, found.groups, found.scopes) == (
        "ann",
        ("eng",),
        frozenset({"read", "write"}),
    )
    assert (found.authenticator, found.email, found.expires_at) == (
        "opaque",
        "ann@id.test",
        NOW + 3600,
    )
    assert found.credential_id == hashlib.sha256(b"opaque~1").hexdigest()
    headers, form, path = issuer.asked[0]
    assert form == {"token": "opaque~1", "token_type_hint": "access_token"}
    # RFC 6749 section 2.3.1: a colon in a name does not end it
    assert base64.b64decode(headers["Authorization"].split()[1]) == b"me%3A1:s%3Ae+cret"
    assert path == "/introspect"
    assert "opaque~1" not in str(headers)


async def test_an_answer_is_remembered_for_a_while(door: Door, issuer: Issuer) -> None:
    """For `cache` seconds, and never past the token's own end."""
    await door.identity("a")
    await door.identity("a", NOW + 59)
    assert len(issuer.asked) == 1
    await door.identity("a", NOW + 61)
    assert len(issuer.asked) == 2
    issuer.answer = {**ACTIVE, "exp": NOW + 10}
    await door.identity("b")
    issuer.answer = {"active": False}
    assert await door.refusal("b", NOW + 40) == ("token_invalid", "inactive")


async def test_a_cache_of_nothing_asks_every_time(issuer: Issuer) -> None:
    """What the issuer revokes is dead at once."""
    door = Door(introspector(issuer.url, cache="0s"))
    await door.identity("a")
    issuer.answer = {"active": False}
    assert await door.refusal("a") == ("token_invalid", "inactive")
    await door.close()


@pytest.mark.parametrize(
    ("settings", "answer", "refused"),
    [
        ({}, {"active": False, "sub": "ann"}, ("token_invalid", "inactive")),
        ({}, {"exp": NOW - 31}, ("token_expired", "exp")), ({}, {"exp": NOW - 29}, None), ({}, {"exp": "soon"}, ("token_invalid", "exp")),
        ({}, {"nbf": NOW + 31}, ("token_invalid", "nbf")), ({}, {"iat": NOW + 31}, ("token_invalid", "iat")),
        ({}, {"sub": None}, ("token_invalid", "subject")), ({}, {"sub": 7}, ("token_invalid", "claim")),
        ({}, {"groups": [1]}, ("token_invalid", "claim")), ({}, {"x": {"y": "a\nb"}}, ("token_invalid", "claim")),
        ({}, {"cnf": {"jkt": "a" * 43}}, ("token_invalid", "bound-to-key")), ({}, {"iss": "anybody", "aud": "any"}, None),
        ({"issuer": "https://id.test"}, {}, None), ({"issuer": "https://id.test"}, {"iss": "https://id.test/"}, ("token_invalid", "issuer")),
        ({"issuer": "https://id.test"}, {"iss": None}, ("token_invalid", "issuer")),
        ({"audiences": ["api"]}, {"aud": "api"}, None), ({"audiences": ["api"]}, {"aud": ["other"]}, ("token_invalid", "audience")),
        ({"audiences": ["api"]}, {"aud": None}, ("token_invalid", "audience")),
        ({"claims": {"subject": "username"}}, {"username": "ann"}, None), ({"claims": {"subject": "username"}}, {}, ("token_invalid", "subject")),
    ],
)  # fmt: skip
async def test_what_an_answer_must_say(
    issuer: Issuer, settings: Any, answer: Any, refused: tuple[str, str] | None
) -> None:
    """Active, in time, for us where that is asked for, of somebody, and bound to nothing that is not checked."""
    door = Door(introspector(issuer.url, **settings))
    issuer.answer = {**ACTIVE, **answer}
    if refused is None:
        assert (await door.identity("t")).subject == "ann"
    else:
        assert await door.refusal("t") == refused
    await door.close()


async def test_a_flood_of_one_bad_token_asks_once(door: Door, issuer: Issuer) -> None:
    """A refused token is not asked about again for some seconds, and then it is."""
    issuer.answer = {"active": False}
    for _ in range(5):
        assert await door.refusal("bad") == ("token_invalid", "inactive")
    assert len(issuer.asked) == 1
    await door.refusal("bad", NOW + REFUSED_FOR + 0.1)
    await door.refusal("bad", NOW - 3600)  # a clock that was set back lengthens nothing
    assert len(issuer.asked) == 3


async def test_what_was_refused_is_kept_within_bounds(
    door: Door, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go first."""
    monkeypatch.setattr(module, "REFUSED_MOST", 3)
    issuer.answer = {"active": False}
    for text in "abcde":
        await door.refusal(text)
    await door.refusal("e")
    assert len(issuer.asked) == 5
    await door.refusal("a")
    assert len(issuer.asked) == 6


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", 200), (b"junk", 200), (b"[]", 200), (b"null", 200), ({}, 200), ({"active": "true"}, 200), ({"active": 1}, 200),
        (b'{"active": false, "active": true, "sub": "eve"}', 200), (b'{"active": true, "sub": "eve", "exp": NaN}', 200),
        (b'{"active":true,"sub":"' + b"a" * ANSWER_MOST + b'"}', 200), (ACTIVE, 201), (ACTIVE, 401), (ACTIVE, 500), (ACTIVE, 302),
    ],
)  # fmt: skip
async def test_junk_lets_nobody_in(
    door: Door, issuer: Issuer, answer: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """503 and not 401: the caller is not to blame; nothing is remembered, and the log has one line and no token."""
    issuer.answer, issuer.status = answer, status
    for _ in range(3):
        assert await door.refusal("secret-token") == ("state_unavailable", "introspection")
    assert len(issuer.asked) == 3
    assert len(caplog.records) == 1
    assert "secret-token" not in caplog.text
    issuer.answer, issuer.status = ACTIVE, 200
    assert (await door.identity("secret-token")).subject == "ann"
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


async def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    """A server that is away refuses; the log repeats itself once a minute."""
    door = Door(introspector("http://127.0.0.1:1/introspect"))
    for seconds in (0, 1, 59, 61, 62):
        assert (await door.refusal("t", NOW + seconds))[0] == "state_unavailable"
    assert len(caplog.records) == 2
    await door.close()


async def test_the_same_question_is_asked_once_at_a_time(door: Door, issuer: Issuer) -> None:
    """However many ask; and one who leaves takes nobody's answer away."""
    issuer.gate.clear()
    asking = [asyncio.create_task(door.identity("t")) for _ in range(10)]
    await issuer.was_asked(1)
    asking[0].cancel()
    issuer.gate.set()
    found = await asyncio.gather(*asking[1:])
    assert {identity.subject for identity in found} == {"ann"}
    assert len(issuer.asked) == 1
    with pytest.raises(asyncio.CancelledError):
        await asking[0]


async def test_when_all_who_asked_have_left(door: Door, issuer: Issuer) -> None:
    """The question ends by itself, whatever comes of it, and nobody complains."""
    issuer.gate.clear()
    issuer.answer = b"junk"
    asking = asyncio.create_task(door.identity("t"))
    await issuer.was_asked(1)
    asking.cancel()
    await asyncio.wait([asking])
    issuer.gate.set()
    await door.close()


async def test_few_questions_at_once(
    door: Door, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest waits for its turn, and past a number that is told to come later."""
    monkeypatch.setattr(module, "WAITING_MOST", 30)
    issuer.gate.clear()
    asking = [asyncio.create_task(door.identity(f"t{n}")) for n in range(30)]
    await issuer.was_asked(module.AT_ONCE)
    assert await door.refusal("one-more") == ("state_unavailable", "introspection")
    issuer.gate.set()
    await asyncio.gather(*asking)
    assert issuer.most == module.AT_ONCE


async def test_an_answer_is_waited_for_so_long(
    door: Door, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a turn counts as well."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    issuer.gate.clear()
    asked = [door.refusal(f"t{n}") for n in range(module.AT_ONCE + 3)]
    assert {code for code, _ in await asyncio.gather(*asked)} == {"state_unavailable"}


@pytest.mark.parametrize(
    "text",
    [token(), new_key(), new_key()[:-1], "apk_", "\u00e9", "a b", "", "x" * 8193],
    ids=["jwt", "api key", "cut api key", "prefix", "not ASCII", "blank", "empty", "too long"],
)
async def test_what_is_none_of_its_tokens_is_never_sent(
    door: Door, issuer: Issuer, text: str
) -> None:
    """JWTs are for others; our own API keys, mistyped ones too, are no issuer's business."""
    code, _ = await door.refusal(text)
    assert (code, issuer.asked) == ("token_invalid", [])


async def test_beside_jwt_authenticators(issuer: Issuer) -> None:
    """Each takes its own, in either order; a JWT of an unknown issuer is nobody's unless all tokens are asked about."""
    opaque, every = introspector(issuer.url), introspector(issuer.url, tokens="all")
    for judges in ([verifier(), opaque], [opaque, verifier()]):
        door = Door(*judges)
        assert (await door.identity(token())).authenticator == "tokens"
        assert (await door.identity("opaque")).authenticator == "opaque"
        assert await door.refusal(token({"iss": "x"})) == ("token_invalid", "issuer")
        assert await door.refusal(token({"aud": "x"})) == ("token_invalid", "audience")
    door = Door(verifier(), every)
    assert (await door.identity(token({"iss": "x"}))).authenticator == "opaque"
    assert await door.refusal(token({"aud": "x"})) == ("token_invalid", "audience")
    for judge in (opaque, every):
        await judge.close()


async def test_bound_opaque_tokens(issuer: Issuer) -> None:
    """RFC 9449 section 6.2: the answer says what the token is bound to, and each request is held to it."""
    door = Door(introspector(issuer.url, dpop="required"))
    issuer.answer = {**ACTIVE, "cnf": {"jkt": thumbprint_of(jwk_of())}}
    good = [("DPoP", proof("opaque"))]
    assert (await door.identity("opaque", fields=good, scheme="DPoP")).subject == "ann"
    again = await door.refusal("opaque", fields=good, scheme="DPoP")
    assert again == ("token_invalid", "dpop-replayed")
    assert await door.refusal("opaque") == ("token_invalid", "dpop-scheme")
    assert len(issuer.asked) == 2  # once for each place that it came from
    await door.close()


def test_fingerprints_follow_settings_and_files() -> None:
    """Another secret, another authority, another setting: nothing verified before counts."""
    url = "https://id.test/introspect"
    prints = {
        introspector(url, **changes).fingerprint
        for changes in ({}, {"cache": "5s"}, {"tokens": "all"})
    }
    settings = introspector(url)._settings
    render = IdentityProfile("forwarded").render
    asks = Asks(b"s", Fetcher(), "2")
    prints.add(Introspector("opaque", settings, asks, 8192, render, MemoryStore()).fingerprint)
    assert len(prints) == 4


async def test_closing_waits_for_answers(door: Door, issuer: Issuer) -> None:
    """A reload takes nobody's answer away; whoever asks afterwards is served, and leaves nothing open."""
    issuer.gate.clear()
    asking = asyncio.create_task(door.identity("t"))
    await issuer.was_asked(1)
    closing = asyncio.create_task(door.close())
    await asyncio.sleep(0)
    issuer.gate.set()
    assert (await asking).subject == "ann"
    await closing
    assert (await door.identity("late")).subject == "ann"
    judge = door.judges[0]
    assert isinstance(judge, Introspector)
    assert not judge._questions._fetcher._sessions


def test_answers_are_read_strictly() -> None:
    """What could be understood in two ways is not understood."""
    assert read_answer(b'{"active": false}').claims is None
    for body in (b'{"active": null}', b'{"Active": true}', b'{"active": true} x', b"\xff"):
        with pytest.raises(MalformedToken):
            read_answer(body)

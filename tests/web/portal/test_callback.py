"""The end of a login at a provider: only what this browser began, and only what can be believed, becomes a session."""

import base64
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from authproxy.authn import provider as asking
from authproxy.authn.issue import generate_key
from authproxy.web.portal import callback as ending
from tests.openid import CLIENT, DISCOVERY, LOGOUT_EVENT, SECRET, EvilProvider, endless, hangs, says
from tests.playbook import Proxy
from tests.web.portal.browser import COOKIE
from tests.web.portal.sso import Person, company, reasons
from tests.wire import Answer


def page(answer: Answer) -> str:
    return answer.body.decode()


def check_nobody(p: Proxy, person: Person, answer: Answer, reason: str) -> None:
    """No session, a page that says what to do, and a line in the log that says why."""
    assert COOKIE not in person.cookies
    assert answer.status in {403, 502}
    assert 'role="alert"' in page(answer)
    assert reason in reasons(p)


async def test_a_login_leads_back_to_the_page() -> None:
    """With an identity by the provider's word; no token of it reaches the browser, the backend or the log."""
    async with company() as (p, provider):
        ann = Person(p, provider)
        answer = await ann.sign_in("/staff/x?a=1")
        assert (answer.status, answer.field("location")) == (303, "/staff/x?a=1")
        assert (await ann.go("/.authproxy/userinfo")).status == 200
        seen = (await ann.go("/staff/x")).seen[0]
        said = {n: seen.field(f"x-forwarded-{n}") for n in ("user", "groups", "email")}
        assert said == {"user": "ann", "groups": "eng,ops", "email": "ann@x.test"}
        assert seen.field("cookie") is None
        secrets = [*provider.refresh_tokens, ann.cookies[COOKIE], provider.seen[0][0]["code"]]
        told = (
            str(p.log())
            + seen.head.decode()
            + answer.head.decode().replace(ann.cookies[COOKIE], "")
        )
        assert not [one for one in secrets if one in told]


async def test_what_the_provider_is_asked_binds_the_answer() -> None:
    """Code flow, PKCE S256, state, nonce, redirect_uri at the portal; the code is redeemed with all of them."""
    sso = {"authorization": {"prompt": "select_account"}}
    async with company(sso=sso) as (p, provider):
        ann = Person(p, provider)
        asked = {n: v[0] for n, v in parse_qs(urlsplit(await ann.begin()).query).items()}
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert asked["redirect_uri"] == "https://proxy.test/.authproxy/callback/sso"
        assert (asked["client_id"], asked["scope"]) == (CLIENT, "openid profile email groups")
        assert asked["prompt"] == "select_account"
        assert {len(asked[name]) for name in ("state", "nonce", "code_challenge")} == {43}
        other = {n: v[0] for n, v in parse_qs(urlsplit(await ann.begin()).query).items()}
        assert all(asked[n] != other[n] for n in ("state", "nonce", "code_challenge"))
        await ann.sign_in()
        form, headers = provider.seen[0]
        assert form["redirect_uri"] == asked["redirect_uri"]
        pair = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
        assert pair == "proxy+client:s3cret%3A+with%2Fcolon+and+some+length"
        assert "client_secret" not in form


NOW = time.time()
FORGED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("another issuer", {"iss": "https://evil.test"}, {}, "issuer"),
    ("another client", {"aud": "other"}, {}, "audience"),
    ("no client", {"aud": None}, {}, "audience"),
    ("several without azp", {"aud": [CLIENT, "other"]}, {}, "azp"),
    ("another party", {"azp": "other"}, {}, "azp"),
    ("another nonce", {"nonce": "other"}, {}, "nonce"),
    ("no nonce", {"nonce": None}, {}, "nonce"),
    ("long over", {"exp": NOW - 3600, "iat": NOW - 7200}, {}, "exp"),
    ("without end", {"exp": None}, {}, "exp"),
    ("without beginning", {"iat": None}, {}, "iat"),
    ("from the future", {"iat": NOW + 3600, "exp": NOW + 7200}, {}, "iat"),
    ("for another access token", {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, {}, "at-hash"),
    ("of nobody", {"sub": None}, {}, "userinfo-subject"),
    ("a logout token", {"events": {LOGOUT_EVENT: {}}}, {}, "events"),
    ("a name that steers terminals", {"name": "\x1b[2J"}, {}, "claim"),
    ("an access token", {}, {"typ": "at+jwt"}, "typ"),
    ("a logout token by its type", {}, {"typ": "logout+jwt"}, "typ"),
    ("unsigned", {}, {"alg": "none", "key": ""}, "algorithm"),
    ("signed with the client's secret", {}, {"alg": "HS256", "key": SECRET}, "algorithm"),
    ("signed by somebody", {}, {"key": generate_key("ES256").decode()}, "signature"),
    ("of a key nobody published", {}, {"kid": "other"}, "unknown-key"),
    ("with a critical extension", {}, {"crit": ["x"], "x": 1}, "header"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "claims", "header", "reason"), FORGED, ids=[f[0] for f in FORGED])
async def test_an_id_token_that_is_wrong_in_one_thing_logs_nobody_in(
    what: str, claims: dict[str, Any], header: dict[str, Any], reason: str
) -> None:
    """Whatever it is, and whatever else is right."""
    async with company() as (p, provider):
        provider.claims, provider.header = claims, header
        ann = Person(p, provider)
        answer = await ann.sign_in()
        check_nobody(p, ann, answer, reason)
        provider.claims, provider.header = {}, {}
        assert (await ann.sign_in()).status == 303  # the same browser may try again at once


async def test_the_provider_s_secret_verifies_where_that_is_configured() -> None:
    """HS256 with the client's secret is for those who say so, and then nothing else is taken."""
    async with company(sso={"algorithms": ["HS256"]}) as (p, provider):
        ann = Person(p, provider)
        check_nobody(p, ann, await ann.sign_in(), "algorithm")
        provider.header = {"alg": "HS256", "key": SECRET * 2, "kid": None}
        check_nobody(p, ann, await ann.sign_in(), "signature")
        provider.header = {"alg": "HS256", "key": SECRET, "kid": None}
        assert (await ann.sign_in()).status == 303


async def test_an_answer_is_good_once() -> None:
    """A second time, also in the same browser, nobody asks the provider anything."""
    async with company() as (p, provider):
        ann = Person(p, provider)
        target = provider.grant(await ann.begin())
        assert (await ann.go(target)).status == 303
        del ann.cookies[COOKIE]
        asked = provider.asked["/token"]
        check_nobody(p, ann, await ann.go(target), "login-unknown")
        assert provider.asked["/token"] == asked


async def test_an_answer_is_for_the_browser_that_asked() -> None:
    """Nobody is logged in by a link that somebody else made (login CSRF); the login stays good for who began it."""
    async with company() as (p, provider):
        eve, ann = Person(p, provider), Person(p, provider)
        target = provider.grant(await eve.begin())
        check_nobody(p, ann, await ann.go(target), "login-of-another-browser")
        await ann.begin()  # now it holds a cookie of its own
        check_nobody(p, ann, await ann.go(target), "login-of-another-browser")
        assert provider.asked["/token"] == 0
        assert (await eve.go(target)).status == 303


@pytest.mark.parametrize(
    "query",
    ["", "state=", "state=x&code=y", "code=y", "state={state}&state={state}&code=y", "state=%ff&code=%00",
     "state=" + "x" * 3000 + "&code=y", "&".join(f"a{i}=b" for i in range(40)) + "&state={state}"],
)  # fmt: skip
async def test_what_belongs_to_no_login_is_not_looked_at(query: str) -> None:
    """No state, an unknown one, two of them, too much of everything."""
    async with company() as (p, provider):
        ann = Person(p, provider)
        state = parse_qs(urlsplit(await ann.begin()).query)["state"][0]
        answer = await ann.go(f"/.authproxy/callback/sso?{query.format(state=state)}")
        check_nobody(p, ann, answer, "login-unknown")
        assert provider.asked["/token"] == 0


@pytest.mark.parametrize(("changes", "reason"), [
    ({"code": None}, "code"), ({"code": ""}, "code"), ({"code": "x" * 4097}, "code"),
    ({"code": "of somebody else"}, "provider invalid_grant"),
    ({"iss": "https://evil.test"}, "answer-of-another-issuer"), ({"iss": None}, "answer-without-issuer"),
    ({"error": "access_denied"}, "provider access_denied"), ({"error": "<script>x"}, "provider error"),
])  # fmt: skip
async def test_an_answer_that_is_wrong_in_one_thing_logs_nobody_in(
    changes: dict[str, str | None], reason: str
) -> None:
    """And nothing of it is shown or logged."""
    async with company() as (p, provider):
        ann = Person(p, provider)
        answer = await ann.sign_in(**changes, error_description="<b>said so</b>")
        check_nobody(p, ann, answer, reason)
        for said in ("<script>x", "said so"):
            assert said not in page(answer)
            assert said not in str(p.log())


async def test_a_provider_that_does_not_name_itself_need_not() -> None:
    """`iss` is required of those who say that they send it."""
    async with company() as (p, provider):
        provider.metadata = {"authorization_response_iss_parameter_supported": None}
        assert (await Person(p, provider).sign_in(iss=None)).status == 303


async def test_the_answer_of_one_provider_is_none_of_another_s() -> None:
    """Mix-up (RFC 9207): a login that was begun at one ends there or nowhere, and is not used up elsewhere."""
    async with company(also=["other"]) as (p, provider):
        ann = Person(p, provider)
        target = provider.grant(await ann.begin(provider="sso"))
        assert (await ann.go(target.replace("/sso?", "/unknown?"))).status == 404
        check_nobody(p, ann, await ann.go(target.replace("/sso?", "/other?")), "login-unknown")
        assert provider.asked["/token"] == 0
        assert (await ann.go(target)).status == 303


@pytest.mark.parametrize("path", [DISCOVERY, "/jwks", "/token", "/userinfo"])
@pytest.mark.parametrize("how", [hangs, endless, says(b"x" * (2 << 20)), says(b"{}"), says(b"[" * 900), says(b"", 500), says(b"", 302), says(b"\xff\x00")],
                         ids=["hangs", "endless", "huge", "empty", "deep", "fails", "redirects", "noise"])  # fmt: skip
async def test_a_provider_that_answers_badly_keeps_nobody_waiting(
    path: str, how: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No login and no hang, wherever it does, and a page that says who does not answer; then all is well again."""
    monkeypatch.setattr(asking, "SECONDS_MOST", 0.5)
    monkeypatch.setattr(asking, "PAUSE", 0.0)
    monkeypatch.setattr("authproxy.authn.remote_keys.PEOPLE_MOST", 0.0)
    async with company() as (p, provider):
        provider.answers[path] = how
        provider.person["groups"] = None  # so that userinfo is asked
        ann, began = Person(p, provider), time.monotonic()
        answer = await ann.go("/.authproxy/login?next=/staff/x")
        if path != DISCOVERY:
            answer = await ann.go(provider.grant(str(answer.field("location"))))
        assert time.monotonic() - began < 5
        assert COOKIE not in ann.cookies
        assert answer.status in {502, 403}
        assert "sso" in page(answer)
        del provider.answers[path]
        assert (await ann.sign_in()).status == 303
        await p.canary()


async def test_a_login_takes_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many questions there are to be asked, and however slowly each is answered."""
    monkeypatch.setattr(ending, "SECONDS_MOST", 0.3)
    async with company() as (p, provider):
        provider.answers["/token"] = hangs
        ann, began = Person(p, provider), time.monotonic()
        check_nobody(p, ann, await ann.sign_in(), "provider")
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("metadata", [
    {"issuer": "https://evil.test"}, {"issuer": None}, {"token_endpoint": None}, {"jwks_uri": "file:///etc/passwd"},
    {"authorization_endpoint": "http://evil.test/"}, {"userinfo_endpoint": 7}, {"end_session_endpoint": "javascript:x"},
])  # fmt: skip
async def test_metadata_that_lead_astray_are_not_followed(metadata: dict[str, Any]) -> None:
    """Nobody is sent anywhere by the discovery document of another issuer, or to what is no https URL."""
    async with company() as (p, provider):
        provider.metadata = metadata
        ann = Person(p, provider)
        answer = await ann.go("/.authproxy/login?next=/staff/x")
        check_nobody(p, ann, answer, "provider")


async def test_new_keys_of_the_provider_are_found() -> None:
    """A rotation between two logins costs nobody theirs."""
    async with company() as (p, provider):
        assert (await Person(p, provider).sign_in()).status == 303
        provider.rotate()
        assert (await Person(p, provider).sign_in()).status == 303


async def test_a_login_never_takes_a_session_that_was_there() -> None:
    """A cookie that somebody put into the browser is no session afterwards (fixation), and the old session ends."""
    async with company() as (p, provider):
        ann = Person(p, provider)
        ann.cookies[COOKIE] = "x" * 43
        await ann.sign_in()
        first = ann.cookies[COOKIE]
        assert first != "x" * 43
        await ann.go(provider.grant(await Person(p, provider).begin()))
        target = await begun_beside(ann, provider)
        await ann.go(target)
        assert ann.cookies[COOKIE] != first
        ann.cookies[COOKIE] = first
        assert await ann.may() == 401


async def begun_beside(ann: Person, provider: EvilProvider) -> str:
    """A login in a second tab, begun before the first was finished."""
    session = ann.cookies.pop(COOKIE)
    target = provider.grant(await ann.begin())
    ann.cookies[COOKIE] = session
    return target

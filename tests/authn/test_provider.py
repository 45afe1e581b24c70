"""A provider as we ask it: seldom, once for all who need it, and never for what it must not point at."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from authproxy.authn import provider as module
from authproxy.authn.client_authentication import PublicClient
from authproxy.authn.keys import UNKNOWN
from authproxy.authn.provider import (
    FRESH,
    KEEP,
    PAUSE,
    Metadata,
    Provider,
    ProviderRefused,
)
from authproxy.authn.remote_keys import PEOPLE_MOST
from authproxy.config.authenticators import OidcLogin
from authproxy.fetch import Fetcher, FetchError
from authproxy.state.memory_records import MemoryRecords
from tests.openid import DISCOVERY, EvilProvider, evil_provider, hangs, says

ISSUER = "https://id.test"
SAID = {
    "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/a", "token_endpoint": f"{ISSUER}/t", "jwks_uri": f"{ISSUER}/j",
}  # fmt: skip


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def evil() -> AsyncIterator[EvilProvider]:
    async with evil_provider() as found:
        yield found


@pytest.fixture
async def provider(evil: EvilProvider, clock: Clock) -> AsyncIterator[Provider]:
    settings = OidcLogin.model_validate(evil.settings())
    found = Provider(settings, PublicClient("c"), Fetcher(), clock=clock, wall=clock)
    yield found
    await found.close()


async def test_all_who_need_it_share_one_question(evil: EvilProvider, provider: Provider) -> None:
    """And for an hour nobody asks again."""
    found = await asyncio.gather(*(provider.metadata() for _ in range(50)))
    assert (len(set(map(id, found))), evil.asked[DISCOVERY]) == (1, 1)


async def test_who_leaves_takes_nobody_s_answer_away(
    evil: EvilProvider, provider: Provider
) -> None:
    """The browser that asked first closes its tab."""
    first = asyncio.ensure_future(provider.metadata())
    await asyncio.sleep(0)
    others = asyncio.gather(*(provider.metadata() for _ in range(3)))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await others) == 3
    assert evil.asked[DISCOVERY] == 1


async def test_what_it_said_serves_on_while_it_is_away(
    evil: EvilProvider, provider: Provider, clock: Clock
) -> None:
    """For a day; then nothing is believed any more, until it is back."""
    known = await provider.metadata()
    evil.answers[DISCOVERY] = says(b"", 503)
    clock.now += FRESH
    assert await provider.metadata() is known
    assert evil.asked[DISCOVERY] == 2
    clock.now += KEEP
    with pytest.raises(FetchError, match="503"):
        await provider.metadata()
    del evil.answers[DISCOVERY]
    clock.now += PAUSE
    assert await provider.metadata() == known


async def test_a_failure_is_not_asked_for_again_at_once(
    evil: EvilProvider, provider: Provider, clock: Clock
) -> None:
    """A crowd before a provider that is down does not keep it there."""
    evil.answers[DISCOVERY] = says(b"", 503)
    for _ in range(5):
        with pytest.raises(FetchError, match="503"):
            await provider.metadata()
    assert evil.asked[DISCOVERY] == 1
    clock.now += PAUSE
    with pytest.raises(FetchError):
        await provider.metadata()
    assert evil.asked[DISCOVERY] == 2


async def test_unknown_keys_are_sought_now_and_then(
    evil: EvilProvider, provider: Provider, clock: Clock
) -> None:
    """Forged tokens do not have the provider asked without end."""
    first = await provider.keys()
    evil.rotate()
    assert [await provider.seek() for _ in range(3)] == [True, False, False]
    assert (await provider.keys()).version != first.version
    clock.now += 30.0
    evil.rotate()
    assert await provider.seek()
    assert evil.asked["/jwks"] == 3


async def test_nobody_is_asked_for_keys_before_somebody_needs_them(
    evil: EvilProvider, provider: Provider, clock: Clock
) -> None:
    """Then they are followed as every issuer's are: asked for when they are old, gone when withdrawn, or unconfirmed for a day."""
    remote = provider.remote
    assert remote is not None
    for _ in range(3):
        remote.look()
        await asyncio.sleep(0)
    assert (evil.asked["/jwks"], remote.keys is UNKNOWN) == (0, True)
    first = await provider.keys()
    evil.rotate()
    clock.now += 300.0
    remote.look()
    assert remote._asking is not None
    await remote._asking
    second = await provider.keys()
    assert (evil.asked["/jwks"], second.version == first.version) == (2, False)
    evil.answers["/jwks"] = says(b"", 503)
    clock.now += KEEP - 1
    assert await provider.keys() is second
    clock.now += 2
    with pytest.raises(FetchError, match="503"):
        await provider.keys()


async def test_a_crowd_that_needs_keys_asks_once(
    evil: EvilProvider, provider: Provider, clock: Clock
) -> None:
    """Also where there is no answer: the next question comes after a pause, which never grows to more than seconds."""
    evil.answers["/jwks"] = says(b"", 503)
    for _ in range(2):
        found = await asyncio.gather(*(provider.keys() for _ in range(20)), return_exceptions=True)
        assert {type(one) for one in found} == {FetchError}
    assert evil.asked["/jwks"] == 1
    for n in range(2, 9):
        clock.now += PEOPLE_MOST
        with pytest.raises(FetchError):
            await provider.keys()
        assert evil.asked["/jwks"] == n
    del evil.answers["/jwks"]
    clock.now += PEOPLE_MOST
    await asyncio.gather(*(provider.keys() for _ in range(20)))
    assert evil.asked["/jwks"] == 9


async def test_workers_share_the_keys_of_a_provider(evil: EvilProvider, clock: Clock) -> None:
    """One asks, the others learn it; another provider's keys, or those by another authority's word, are none of theirs."""
    records, settings = MemoryRecords(), OidcLogin.model_validate(evil.settings())
    made = [
        Provider(settings, PublicClient("c"), Fetcher(), clock=clock, wall=clock, identity=identity)
        for identity in (b"a" * 32, b"a" * 32, b"b" * 32)
    ]
    for one in made:
        assert one.remote is not None
        one.remote.records = records
    versions = {(await one.keys()).version for one in made[:2]}
    assert (len(versions), evil.asked["/jwks"]) == (1, 1)
    await made[2].keys()
    assert evil.asked["/jwks"] == 2
    for one in made:
        await one.close()


async def test_a_refusal_is_told_by_its_word_alone(evil: EvilProvider, provider: Provider) -> None:
    """What the provider says beside it, or instead, is not ours to repeat."""
    for answer, word in (({"error": "invalid_client"}, "invalid_client"), ({"error": "<b>"}, "error"), (b"x", "error")):  # fmt: skip
        evil.answers["/token"] = says(answer, 400)
        with pytest.raises(ProviderRefused) as refused:
            await provider.refresh("x")
        assert str(refused.value) == word


async def test_nobody_waits_for_long(
    evil: EvilProvider, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it does not answer."""
    monkeypatch.setattr(module, "SECONDS_MOST", 0.2)
    evil.answers["/token"] = hangs
    with pytest.raises(FetchError, match=r"no answer within 0\.2 s"):
        await provider.refresh("x")


@pytest.mark.parametrize("changes", [
    {"issuer": ISSUER + "/"}, {"issuer": None}, {"token_endpoint": "http://127.0.0.1:1/t"}, {"jwks_uri": "http://id.test/j"},
    {"jwks_uri": "https://u:p@id.test/j"}, {"authorization_endpoint": "javascript:alert(1)"}, {"userinfo_endpoint": ["x"]},
    {"authorization_endpoint": "https://id.test/a#x"}, {"end_session_endpoint": "//id.test"},
])  # fmt: skip
def test_what_it_may_not_point_at(changes: dict[str, Any]) -> None:
    """Another's document, this machine's own ports, what is no https URL."""
    with pytest.raises(FetchError):
        Metadata.read({**SAID, **changes}, ISSUER)


def test_what_it_need_not_say() -> None:
    """Userinfo, the logout, and whether its answers name it."""
    found = Metadata.read(SAID, ISSUER)
    assert (found.userinfo_endpoint, found.end_session_endpoint, found.says_issuer) == (
        None,
        None,
        False,
    )
    said = {"authorization_response_iss_parameter_supported": True}
    assert Metadata.read({**SAID, **said}, ISSUER).says_issuer


@pytest.mark.parametrize(("said", "seconds"), [
    (5, 5.0), (5.5, 5.5), ("300", 300.0), (True, None), (-1, None), ("x", None), (None, None), (1e300, None), ([5], None),
])  # fmt: skip
async def test_how_long_a_token_lives(
    evil: EvilProvider, provider: Provider, said: object, seconds: float | None
) -> None:
    """A number, or one as text; all else is not said."""
    evil.answers["/token"] = says({"access_token": "a", "token_type": "bearer", "expires_in": said})
    assert (await provider.refresh("x")).lifetime == seconds

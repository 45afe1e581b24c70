"""ID tokens and logout tokens by themselves; what makes one refused is also seen in the login (tests/web/portal)."""

import base64
import hashlib
import time
from collections.abc import AsyncIterator

import pytest

from authproxy.authn.client_authentication import PublicClient
from authproxy.authn.id_token import LOGOUT_SECONDS, read_id_token, read_logout_token
from authproxy.authn.provider import TOKEN_MOST, Provider
from authproxy.config.authenticators import OidcLogin
from authproxy.fetch import Fetcher
from authproxy.model.errors import Refusal
from tests.openid import CLIENT, EvilProvider, evil_provider
from tests.wire import Json


@pytest.fixture
async def evil() -> AsyncIterator[EvilProvider]:
    async with evil_provider() as found:
        yield found


@pytest.fixture
async def provider(evil: EvilProvider) -> AsyncIterator[Provider]:
    found = Provider(OidcLogin.model_validate(evil.settings()), PublicClient("c"), Fetcher())
    yield found
    await found.close()


async def refused(provider: Provider, token: str) -> str:
    with pytest.raises(Refusal) as refusal:
        await read_id_token(provider, token, time.time(), "n", "access")
    return refusal.value.reason


async def test_an_id_token_is_read(evil: EvilProvider, provider: Provider) -> None:
    """With its nonce; with the hash of the access token beside it, or without one; for us among others that it is for."""
    now = time.time()
    for token in (
        evil.id_token("n", "access"),
        evil.id_token("n", at_hash=None),
        evil.id_token("n", "access", aud=[CLIENT, "other"], azp=CLIENT),
        evil.id_token("n", "access", aud=[CLIENT]),
    ):
        assert (await read_id_token(provider, token, now, "n", "access"))["sub"] == "ann"
    without = evil.id_token(None, "access")
    assert (await read_id_token(provider, without, now, None, "access"))["sub"] == "ann"
    assert await refused(provider, without) == "nonce"


@pytest.mark.parametrize(("algorithm", "name"), [("RS256", "sha256"), ("ES384", "sha384"), ("PS512", "sha512"), ("EdDSA", "sha512")])  # fmt: skip
def test_the_half_of_a_hash(algorithm: str, name: str) -> None:
    """OpenID Connect Core section 3.1.3.6: the algorithm's own hash, its left half, in base64url."""
    from authproxy.authn.id_token import _half  # its only private one

    digest = hashlib.new(name, b"token").digest()
    expected = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
    assert _half(algorithm, "token") == expected


async def test_nobody_is_asked_about_what_is_no_token_of_the_provider(
    evil: EvilProvider, provider: Provider
) -> None:
    """Rubbish, another issuer's, too much: refused before a key is fetched."""
    foreign = evil.id_token("n", iss="https://evil.test")
    for token, reason in (("x", "segments"), ("", "segments"), ("a.b.c", "base64url"), (foreign, "issuer"), ("x" * (TOKEN_MOST + 1), "too-long")):  # fmt: skip
        assert await refused(provider, token) == reason
    assert evil.asked.total() == 0


async def test_each_token_is_for_its_own_door(evil: EvilProvider, provider: Provider) -> None:
    """A logout token logs nobody in, and an ID token nobody out."""
    assert await refused(provider, evil.logout_token(typ="JWT")) == "events"
    with pytest.raises(Refusal, match="events"):
        await read_logout_token(provider, evil.id_token("n"), time.time())


async def test_another_key_of_the_same_name_is_found(
    evil: EvilProvider, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a token that the provider itself gave; a logout token, which anybody may send, has nobody asked so."""
    jwks = evil.jwks

    def same_name() -> Json:
        return {"keys": [{**jwks()["keys"][0], "kid": "one"}]}

    monkeypatch.setattr(evil, "jwks", same_name)
    await read_id_token(provider, evil.id_token("n"), time.time(), "n", "")
    evil.rotate()
    with pytest.raises(Refusal, match="signature"):
        await read_logout_token(provider, evil.logout_token(), time.time())
    assert evil.asked["/jwks"] == 1
    await read_id_token(provider, evil.id_token("n"), time.time(), "n", "")
    assert evil.asked["/jwks"] == 2


async def test_a_logout_token_says_who_is_out(evil: EvilProvider, provider: Provider) -> None:
    """And until when it must be known as used; one of before the specification had `exp` is as good while it is fresh."""
    now = time.time()
    found = await read_logout_token(provider, evil.logout_token(sub="ann", jti="j"), now)
    assert (found.jti, found.sid, found.sub) == ("j", "s1", "ann")
    assert found.expiry > now + LOGOUT_SECONDS
    old = await read_logout_token(provider, evil.logout_token(exp=None, sid=None, sub="ann"), now)
    assert (old.sid, old.sub) == (None, "ann")

"""Asking an issuer for its keys: what is taken, what is refused whole, and that nothing takes long or leads elsewhere."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from authproxy.authn.issue import generate_key, public_jwks
from authproxy.authn.key_source import KeySource, freshness, identity_of
from authproxy.fetch import Fetched, FetchError
from tests.end_to_end.credentials import Authority
from tests.issuer import DISCOVERY, JWKS, CountingIssuer, endless, hangs, issuing, says
from tests.wire import Json


@pytest.fixture
async def issuer() -> AsyncIterator[CountingIssuer]:
    async with issuing() as made:
        yield made


async def asked(issuer: CountingIssuer, seconds: float = 5, **keys: Any) -> int:
    """How many keys the issuer is found to have."""
    source = KeySource("tokens", issuer.settings(**keys))
    try:
        return (await source.ask(seconds)).found.keys.size
    finally:
        await source.close()


async def test_keys_by_url_and_by_discovery(issuer: CountingIssuer) -> None:
    """One question by URL, two by discovery, and the same keys."""
    assert await asked(issuer) == 1
    assert await asked(issuer, discovery=True) == 1
    assert issuer.asked == {JWKS: 2, DISCOVERY: 1}


async def test_the_issuer_of_the_document_is_ours_to_the_letter(issuer: CountingIssuer) -> None:
    """RFC 8414 section 3.3: not another issuer, not one that merely begins or ends like ours, not a list with it."""
    for other in ("https://evil.test", issuer.url + "/", issuer.url.upper(), [issuer.url], None, 1):
        document = {"issuer": other, "jwks_uri": issuer.url + JWKS}
        issuer.answers[DISCOVERY] = says(document)
        with pytest.raises(FetchError, match="another issuer"):
            await asked(issuer, discovery=True)
    assert issuer.fetches == 0


@pytest.mark.parametrize(
    "uri",
    [
        "http://issuer.test/jwks", "file:///etc/passwd", "ftp://127.0.0.1/", "//127.0.0.1/jwks", "/jwks", "", 7, None,
        "https://u:p@127.0.0.1/", "http://127.0.0.1.issuer.test/", "http://169.254.169.254/latest", ["https://a.test"],
    ],
)  # fmt: skip
async def test_keys_are_nowhere_else(issuer: CountingIssuer, uri: object) -> None:
    """What a document points at must be https (or this machine, of an issuer on it): no file, no metadata service."""
    issuer.answers[DISCOVERY] = says({"issuer": issuer.url, "jwks_uri": uri})
    with pytest.raises(FetchError, match="jwks_uri"):
        await asked(issuer, discovery=True)


async def test_an_issuer_elsewhere_does_not_point_at_this_machine(tmp_path: Path) -> None:
    """Over https an issuer may name no plain port of ours, which only we could reach."""
    authority = Authority(tmp_path)
    pair = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.private_key)
    async with issuing() as local, issuing(tls=context) as issuer:
        source = KeySource("tokens", issuer.settings(discovery=True), authority.file)
        assert (await source.ask()).found.keys.size == 1
        issuer.answers[DISCOVERY] = says({"issuer": issuer.url, "jwks_uri": local.url + JWKS})
        with pytest.raises(FetchError, match="points at this machine"):
            await source.ask()
        assert local.fetches == 0
        await source.close()
        stranger = KeySource("tokens", issuer.settings())
        with pytest.raises(FetchError, match="Certificate"):
            await stranger.ask()
        await stranger.close()


EC = public_jwks([generate_key("ES256")], ["ES256"])["keys"][0]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "JSON"), (b"<html>", "JSON"), (b"[]", "JSON"), (b'{"keys":1}', "list"), (b'{"keys":[],"keys":[]}', "JSON"),
        (b"\xff\xfe", "JSON"), (b'{"keys":' + b"[" * 9000, "JSON"), ({"keys": []}, "no key"), ({"keys": [{}, 1, None]}, "no key"),
        ({"keys": [EC] * 101}, "at most 100"), ({"keys": [{}] * 10_000}, "at most 100"),
        ({"keys": [{k: v for k, v in EC.items() if k != "kid"}] * 11}, "more than 10"),
        ({"keys": [EC | {"use": "enc"}]}, "no key"), (b" " * (1 << 20) + b"{}", "1 MiB"),
    ],
)  # fmt: skip
async def test_what_is_no_key_set(issuer: CountingIssuer, document: Json | bytes, why: str) -> None:
    """Junk, a set without keys and one with too many are refused whole, in a line of ours."""
    issuer.answers[JWKS] = says(document)
    with pytest.raises(FetchError, match=why) as refused:
        await asked(issuer)
    assert "html" not in str(refused.value)


async def test_redirects_and_errors(issuer: CountingIssuer) -> None:
    """A redirect leads nowhere, also to ourselves; another status is no answer."""
    issuer.answers[JWKS] = says(b"", 302, Location=issuer.url + "/other")
    issuer.answers["/other"] = says(issuer.jwks())
    with pytest.raises(FetchError, match="302"):
        await asked(issuer)
    issuer.answers[JWKS] = says(issuer.jwks(), 500)
    with pytest.raises(FetchError, match="500"):
        await asked(issuer)
    assert issuer.asked["/other"] == 0


async def test_nothing_takes_long(issuer: CountingIssuer) -> None:
    """Both questions of a discovery share one bound of time; an endless body ends at its bound of size."""
    issuer.answers[JWKS] = hangs
    with pytest.raises(FetchError, match=r"0\.3 s"):
        await asked(issuer, 0.3, discovery=True)
    issuer.answers[JWKS] = endless
    with pytest.raises(FetchError, match="1 MiB"):
        await asked(issuer)


def answer(**headers: str) -> Fetched:
    """An answer with these headers."""
    return Fetched(b"", {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None), ({"cache_control": "public"}, None), ({"cache_control": "max-age=60"}, 60.0),
        ({"cache_control": "public, Max-Age = 60, must-revalidate"}, 60.0), ({"cache_control": 'max-age="60"'}, 60.0),
        ({"cache_control": "max-age=60", "age": "50"}, 10.0), ({"cache_control": "max-age=60", "age": "90"}, 0.0),
        ({"cache_control": "max-age=60", "age": "x"}, 60.0), ({"cache_control": "no-store, max-age=60"}, 0.0),
        ({"cache_control": "no-cache"}, 0.0), ({"cache_control": "s-maxage=60"}, None), ({"cache_control": "max-age=-1"}, None),
        ({"cache_control": "max-age=99999999999999"}, None), ({"cache_control": "max-age=x"}, None),
    ],
)  # fmt: skip
def test_how_long_it_is_fresh(headers: dict[str, str], seconds: float | None) -> None:
    """RFC 9111: max-age less Age; what may not be stored is stale at once; what is not understood says nothing."""
    assert freshness(answer(**headers)) == seconds


async def test_who_vouches_is_part_of_the_source(issuer: CountingIssuer) -> None:
    """Another name, issuer, URL or authority is another source, so that nobody's keys pass for another's."""
    settings = issuer.settings()
    other = settings.model_copy(update={"issuer": "https://other.test"})
    found = {
        identity_of("a", settings, b""), identity_of("b", settings, b""), identity_of("a", settings, b"ca"),
        identity_of("a", other, b""), identity_of("a", issuer.settings(url=issuer.url), b""),
        identity_of("a", issuer.settings(discovery=True), b""),
    }  # fmt: skip
    assert len(found) == 6
    assert identity_of("a", issuer.settings(keep="30h"), b"") in found


async def test_what_is_shown_has_no_query(issuer: CountingIssuer) -> None:
    """A key in a query is not told; discovery begins at the issuer, with one slash."""
    source = KeySource("tokens", issuer.settings(url=issuer.url + "/jwks?key=1"))
    assert source.asked == issuer.url + "/jwks"
    settings = issuer.settings(discovery=True).model_copy(update={"issuer": "https://a.test/t/"})
    assert KeySource("tokens", settings).asked == "https://a.test/t" + DISCOVERY

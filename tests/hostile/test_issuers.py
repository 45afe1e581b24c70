"""An issuer that turns against us (facts 72 to 74): never a hang, never an allow, a line in the log that quotes nothing.

Each attack is tried by an issuer that was evil from the start, and by one whose keys were good before.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from authproxy.authn.issue import generate_key, public_jwks
from tests.issuer import (  # fmt: skip
    DISCOVERY,
    JWKS,
    Answer,
    CountingIssuer,
    drips,
    endless,
    hangs,
    issuing,
    says,
)
from tests.playbook import GUARDED, OPEN, Proxy, playbook
from tests.wire import until

EVIL = generate_key("ES256")
MARK = "quoted-from-the-evil-one"
EVIL_SET = public_jwks([EVIL], ["ES256"])


@dataclass(frozen=True)
class Attack:
    """Which path answers how; `{url}` in the answer is the issuer's own."""

    name: str
    path: str
    answer: Answer


def elsewhere(**document: Any) -> Answer:
    """A discovery document with these members; the rest is right, but for the keys."""

    async def answer(request: web.Request) -> web.StreamResponse:
        url = f"http://{request.host}"
        return await says({"issuer": url, "jwks_uri": url + "/evil", **document})(request)

    return answer


async def torn(request: web.Request) -> web.StreamResponse:
    """Bytes that are no HTTP."""
    assert request.transport is not None
    request.transport.write(f"HTTP/9.9 {MARK}\n\nnonsense\r\n\r\n".encode())
    request.transport.close()
    return web.Response()


async def cut(request: web.Request) -> web.StreamResponse:
    """A body that ends before its length."""
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{" + MARK.encode())
    request.transport.close()
    return web.Response()


OCT = {
    "kty": "oct",
    "k": "c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2gtZm9yLWFsbC1hbGdvcml0aG1z",
    "alg": "ES256",
}
ATTACKS = [
    Attack("redirect", JWKS, says(b"", 302, Location="/evil")),
    Attack("redirect-for-good", JWKS, says(b"", 308, Location="/evil")),
    Attack("another-issuer", DISCOVERY, elsewhere(issuer="https://evil.test")),
    Attack("no-issuer", DISCOVERY, elsewhere(issuer=None)),
    Attack("plain-http-elsewhere", DISCOVERY, elsewhere(jwks_uri=f"http://{MARK}.test/evil")),
    Attack("a-file", DISCOVERY, elsewhere(jwks_uri="file:///etc/passwd")),
    Attack("no-document", DISCOVERY, says(f"<html>{MARK}".encode())),
    Attack("endless-document", DISCOVERY, endless),
    Attack("endless", JWKS, endless),
    Attack("huge", JWKS, says(b"[" * (4 << 20))),
    Attack("drips", JWKS, drips),
    Attack("hangs", JWKS, hangs),
    Attack("junk", JWKS, says(f"{MARK}\x00\x1b[31m\n".encode())),
    Attack("deep", JWKS, says(b'{"keys":' + b"[" * 500_000)),
    Attack("ten-thousand-keys", JWKS, says({"keys": [{"kty": "EC", "kid": MARK}] * 10_000})),
    Attack("eleven-nameless", JWKS, says({"keys": [{k: v for k, v in EVIL_SET["keys"][0].items() if k != "kid"}] * 11})),
    Attack("no-keys", JWKS, says({"keys": []})),
    Attack("error", JWKS, says(EVIL_SET, 500)),
    Attack("empty", JWKS, says(b"", 204)),
    Attack("torn", JWKS, torn),
    Attack("cut", JWKS, cut),
    Attack("not-gzip", JWKS, says(MARK.encode(), 200, **{"Content-Encoding": "gzip"})),
]  # fmt: skip


@asynccontextmanager
async def trusting(issuer: CountingIssuer) -> AsyncIterator[Proxy]:
    """A proxy that asks this issuer every second."""
    keys = {"discovery": True, "refresh": "1s", "cool_down": "1s", "keep": "1h"}
    tokens = {"tokens": issuer.authenticator(**keys)}
    async with playbook(
        GUARDED, OPEN, failed_authentications="100000/minute", authenticators=tokens
    ) as p:
        yield p


async def ask(p: Proxy, credential: str) -> int:
    """The status of a guarded request, which is there within seconds whatever the issuer does."""
    async with asyncio.timeout(4):
        return (await p.request("GET", "/guarded/1", token=credential)).status


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of the keys."""
    return [r.getMessage() for r in caplog.records if "keys" in r.name]


@pytest.fixture
async def issuer() -> AsyncIterator[CountingIssuer]:
    async with issuing() as made:
        made.answers["/evil"] = says(EVIL_SET)
        yield made


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_an_issuer_that_is_evil(
    attack: Attack, issuer: CountingIssuer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """From the start: its tokens are 503 and nobody's 200. Later: the last good keys serve, and no others."""
    monkeypatch.setattr("authproxy.authn.key_source.SECONDS_MOST", 1.0)
    monkeypatch.setattr("authproxy.authn.remote_keys.PATIENCE", 0.3)
    caplog.set_level(logging.INFO)
    issuer.answers[attack.path] = attack.answer
    async with trusting(issuer) as p:
        for credential in (issuer.token(), issuer.token(EVIL)):
            assert await ask(p, credential) == 503
        assert (await p.request("GET", "/open")).status == 200
        await until(lambda: told(caplog), 4)
        assert p.worker._why_unready() == "no keys of tokens"

    del issuer.answers[attack.path]
    caplog.clear()
    async with trusting(issuer) as p:
        assert await ask(p, issuer.token()) == 200
        issuer.answers[attack.path] = attack.answer
        await until(lambda: any("could not" in line for line in told(caplog)), 4)
        assert await ask(p, issuer.token()) == 200
        assert await ask(p, issuer.token(EVIL)) == 401
        assert p.worker._why_unready() is None
        lines = told(caplog)
    assert len(lines) <= 3, lines
    assert all(line.isprintable() and len(line) < 600 for line in lines)
    assert MARK not in "".join(lines)


async def test_secrets_among_its_keys(
    issuer: CountingIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    """CVE-2026-48526: a symmetric key verifies nothing, as little as a private one; their good neighbour does."""
    good, private = issuer.jwks()["keys"][0], EVIL_SET["keys"][0] | {"d": "AAAA"}
    issuer.answers[JWKS] = says({"keys": [OCT, {**OCT, "alg": "HS256"}, private, good]})
    async with trusting(issuer) as p:
        assert await ask(p, issuer.token()) == 200
        assert await ask(p, issuer.token(EVIL)) == 401
    assert "a symmetric key" in caplog.text
    assert "a private key" in caplog.text
    assert OCT["k"] not in caplog.text

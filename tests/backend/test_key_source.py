"""Keys that are kept, refreshed and bounded: one fetch at a time, the last good set while there is no other."""

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from authproxy.backend import AssertionRefused, Verifier
from authproxy.backend import key_source as room
from authproxy.backend.key_source import KEYS_MOST, read_keys
from tests.backend.proxy import (  # fmt: skip
    AUDIENCE,
    ISSUER,
    KeyServer,
    assertion,
    key_file,
    key_server,
    keyring,
    verifier,
)
from tests.end_to_end.credentials import Authority
from tests.end_to_end.served import wait_until

PUBLIC = dict(keyring(1).current.jwk)


def behind(server: KeyServer, **changes: Any) -> Verifier:
    """A backend that asks this server."""
    return Verifier(**{"issuer": ISSUER, "audience": AUDIENCE, "keys": server.url, **changes})


def code(judge: Verifier, text: str) -> str:
    """`accepted`, or the code of the refusal."""
    try:
        judge.verify([text])
    except AssertionRefused as refused:
        return refused.code
    return "accepted"


def test_keys_are_fetched_once(tmp_path: Path) -> None:
    """Not for each request, and not before the first."""
    with key_server() as server:
        judge = behind(server)
        assert server.asked == 0
        assert [code(judge, assertion()) for _ in range(20)] == ["accepted"] * 20
        assert server.asked == 1


def test_many_at_once_are_one_fetch() -> None:
    """Threads that all need the first keys wait for the same ones."""
    with key_server() as server, ThreadPoolExecutor(16) as threads:
        server.delay = 0.2
        judge, text = behind(server), assertion()
        assert set(threads.map(lambda _: code(judge, text), range(32))) == {"accepted"}
        assert server.asked == 1


async def test_the_loop_does_not_wait() -> None:
    """While the keys are fetched everything else goes on; requests at once are one fetch; one that leaves stops none."""
    with key_server() as server:
        server.delay = 0.3
        judge, ticks = behind(server), 0
        waiting = [asyncio.ensure_future(judge.verify_async([assertion()])) for _ in range(40)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        while not all(one.done() for one in waiting):
            await asyncio.sleep(0.01)
            ticks += 1
        assert ticks > 10
        assert waiting[0].cancelled()
        assert {one.result().subject for one in waiting[1:]} == {"alice"}
        assert server.asked == 1


def test_an_unknown_key_is_asked_for_at_most_once_in_a_while() -> None:
    """A key that was published since is found; forged names cost no request each."""
    with key_server() as server:
        judge = behind(server, cooldown=0.3)
        assert code(judge, assertion()) == "accepted"
        assert [code(judge, assertion(number=2)) for _ in range(10)] == ["assertion_invalid"] * 10
        assert server.asked == 1
        server.body = keyring(2, 1).jwks
        time.sleep(0.35)
        assert code(judge, assertion(number=2)) == "accepted"
        assert (code(judge, assertion()), server.asked) == ("accepted", 2)


def test_a_withdrawn_key_is_dead_within_the_refresh() -> None:
    """Known keys are asked for again as well, and nobody waits for it."""
    with key_server(1, 2) as server:
        judge = behind(server, refresh=0.2, cooldown=0.05)
        assert code(judge, assertion()) == "accepted"
        server.body = keyring(2).jwks
        assert wait_until(lambda: code(judge, assertion()) == "assertion_invalid")
        assert code(judge, assertion(number=2)) == "accepted"


BAD_ANSWERS: dict[str, Callable[[KeyServer], None]] = {
    "an error": lambda s: setattr(s, "body", None),
    "no JSON": lambda s: setattr(s, "body", b"<html>"),
    "no keys": lambda s: setattr(s, "body", b'{"keys": []}'),
    "a page of 1 MB": lambda s: setattr(s, "body", b" " * (1 << 20)),
    "a redirect": lambda s: s.redirect(),
    "a private key": lambda s: setattr(
        s, "body", json.dumps({"keys": [{**PUBLIC, "d": "x"}]}).encode()
    ),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_the_last_good_keys_serve_on(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the server answers instead; it is asked again after a while, and the log says why."""
    with key_server() as server:
        judge = behind(server, refresh=0.05, cooldown=0.05)
        assert code(judge, assertion()) == "accepted"
        BAD_ANSWERS[name](server)
        time.sleep(0.1)
        assert code(judge, assertion()) == "accepted"
        assert wait_until(lambda: "no new keys" in caplog.text)
        assert code(judge, assertion()) == "accepted"
        asked = server.asked
        time.sleep(0.1)
        assert code(judge, assertion()) == "accepted"
        assert wait_until(lambda: server.asked > asked)


def test_not_forever(tmp_path: Path) -> None:
    """Keys that could not be confirmed for too long are believed no more: a withdrawn one might be among them."""
    with key_server() as server:
        judge = behind(server, refresh=0.05, cooldown=0.05, keep=0.4)
        assert code(judge, assertion()) == "accepted"
        server.body = None
        assert wait_until(lambda: code(judge, assertion()) == "keys_unavailable", 3)
        server.body = keyring(1).jwks
        assert wait_until(lambda: code(judge, assertion()) == "accepted", 3)


def test_without_keys_nobody_is_known() -> None:
    """503, as it is not the caller's fault; and it comes back by itself."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        judge = Verifier(issuer=ISSUER, audience=AUDIENCE, keys=url, cooldown=0.05)
        assert code(judge, assertion()) == "keys_unavailable"


def test_a_server_that_says_nothing_keeps_nobody_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that speaks too slowly."""
    monkeypatch.setattr(room, "FETCH_MOST", 0.2)
    with key_server() as server:
        server.delay = 1.0
        begun = time.monotonic()
        assert code(behind(server), assertion()) == "keys_unavailable"
        assert time.monotonic() - begun < 0.9


def test_keys_from_a_file(tmp_path: Path) -> None:
    """Read again as those of a URL are; one that is gone leaves the last good keys."""
    judge = verifier(tmp_path, refresh=0.05, cooldown=0.05)
    assert code(judge, assertion()) == "accepted"
    key_file(tmp_path, 2, 1)
    assert wait_until(lambda: code(judge, assertion(number=2)) == "accepted")
    Path(tmp_path / "assertion-jwks.json").unlink()
    time.sleep(0.1)
    assert code(judge, assertion(number=2)) == "accepted"


def test_keys_come_from_a_server_that_is_verified(tmp_path: Path) -> None:
    """By the authority that was named; from one that another signed, or for another name, they do not come."""
    authority, other = Authority(tmp_path / "one"), Authority(tmp_path / "other")
    for issued, expected in [
        (authority.issue("127.0.0.1"), "accepted"),
        (authority.issue("elsewhere.test"), "keys_unavailable"),
        (other.issue("127.0.0.1"), "keys_unavailable"),
    ]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(issued.certificate, issued.private_key)
        with key_server(tls=context) as server:
            assert code(behind(server, ca=str(authority.file)), assertion()) == expected


def test_the_environments_proxy_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could give keys of its own."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with key_server() as server:
        assert code(behind(server), assertion()) == "accepted"


def test_no_thread_is_left_over() -> None:
    """A thread lives as long as its fetch."""
    with key_server() as server:
        judge = behind(server)
        assert code(judge, assertion()) == "accepted"
        assert wait_until(lambda: all(t.name != "authproxy-keys" for t in threading.enumerate()))


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"}, {"alg": "ES384"}, {"kty": "RSA"}, {"crv": "P-384"}, {"kid": None}, {"kid": 1},
    ],
)  # fmt: skip
def test_other_keys_are_passed_over(change: dict[str, Any]) -> None:
    """A set may hold keys for others; a set with nothing for us is none."""
    other = {k: v for k, v in {**PUBLIC, "kid": "other", **change}.items() if v is not None}
    assert set(read_keys(json.dumps({"keys": [other, PUBLIC]}).encode())) == {PUBLIC["kid"]}
    with pytest.raises(ValueError, match="no key for ES256"):
        read_keys(json.dumps({"keys": [other]}).encode())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"[]", "no JWKS"),
        (b"{}", "no JWKS"),
        (b'{"keys": {}}', "no JWKS"),
        (json.dumps({"keys": [PUBLIC] * (KEYS_MOST + 1)}).encode(), "no JWKS"),
        (json.dumps({"keys": [PUBLIC, PUBLIC]}).encode(), "same `kid`"),
        (json.dumps({"keys": [{**PUBLIC, "x": "AAAA"}]}).encode(), "no key"),
        (json.dumps({"keys": [{**PUBLIC, "x": None}]}).encode(), "no key"),
        (json.dumps({"keys": [PUBLIC, {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}]}).encode(), "private"),
        (json.dumps({"keys": [{**PUBLIC, "d": "x"}]}).encode(), "private"),
    ],
)  # fmt: skip
def test_a_set_that_is_wrong_is_none(data: bytes, text: str) -> None:
    """As a whole: nobody picks the good out of it."""
    with pytest.raises(ValueError, match=text):
        read_keys(data)

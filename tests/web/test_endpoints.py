"""What we answer ourselves below `/.authproxy/`: the public keys of the assertion, for hosts that routes name."""

import json
from pathlib import Path
from typing import Any

import pytest

from authproxy.authn.issue import generate_key
from authproxy.authn.keyring import JWKS_MAX_AGE, read_keyring
from tests.playbook import GUARDED, OPEN, Proxy, playbook, token
from tests.wire import Answer, Json

JWKS = "/.authproxy/jwks.json"
NAMED: Json = {**OPEN, "match": {"hosts": ["a.test", "*.sub.test"], "paths": ["/**"]}}


def asserting(folder: Path, **more: Any) -> Json:
    """The assertion on, with a key in this folder."""
    key = folder / "assertion.pem"
    key.write_bytes(generate_key("ES256"))
    key.chmod(0o600)
    settings = {"enabled": True, "issuer": "https://proxy.test", "key": {"file": str(key)}}
    return {"identity": {"assertion": {**settings, **more}}}


async def ask(proxy: Proxy, host: str, target: str = JWKS, method: str = "GET") -> Answer:
    link = await proxy.connect()
    await link.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return await link.answer(method)


async def test_holds_the_public_keys_of_the_assertion_only(tmp_path: Path) -> None:
    """Those of the key file, without anything private, and not the keys that tokens are verified with."""
    async with playbook(**asserting(tmp_path)) as p:
        answer = await p.request("GET", JWKS)
        assert (answer.status, answer.seen) == (200, [])
        keyring = read_keyring((tmp_path / "assertion.pem").read_bytes())
        assert json.loads(answer.body) == {"keys": [dict(keyring.current.jwk)]}
        assert "d" not in json.loads(answer.body)["keys"][0]
        assert answer.field("content-type") == "application/jwk-set+json"
        assert answer.field("cache-control") == f"public, max-age={JWKS_MAX_AGE}"
        assert p.backend.seen == []


async def test_is_logged_as_everything_else_is(tmp_path: Path) -> None:
    """With its request id, under no route."""
    async with playbook(**asserting(tmp_path)) as p:
        answer = await p.request("GET", JWKS)
        (line,) = await p.logged()
        assert line["request_id"] == answer.field("x-request-id")
        assert (line["path"], line["status"], line["decision"], line["route"]) == (JWKS, 200, "allow", None)  # fmt: skip
        assert line["bytes_out"] == len(answer.body)


async def test_head_is_the_same_without_a_body(tmp_path: Path) -> None:
    """Its length is told; the connection goes on."""
    async with playbook(**asserting(tmp_path)) as p:
        link = await p.connect()
        whole = await p.request("GET", JWKS, link=link)
        head = await p.request("HEAD", JWKS, link=link)
        assert (head.status, head.body) == (200, b"")
        assert head.field("content-length") == str(len(whole.body))
        assert head.field("etag") == whole.field("etag")
        assert (await p.request("GET", JWKS, link=link)).body == whole.body


async def test_what_is_known_is_not_sent_again(tmp_path: Path) -> None:
    """304 for the same set; another tag gets the whole."""
    async with playbook(**asserting(tmp_path)) as p:
        tag = (await p.request("GET", JWKS)).field("etag") or "none"
        link = await p.connect()
        for known, status in [(tag, 304), (f'"x", W/{tag}', 304), ("*", 304), ('"x"', 200)]:
            answer = await p.request("GET", JWKS, [("If-None-Match", known)], link=link)
            assert (answer.status, bool(answer.body)) == (status, status == 200)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_405(tmp_path: Path, method: str) -> None:
    """With what is allowed, and never forwarded."""
    async with playbook(**asserting(tmp_path)) as p:
        answer = await p.request(method, JWKS)
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert answer.field("allow") == "GET, HEAD"
        assert p.backend.seen == []


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("a.test", 200), ("A.test:8443", 200), ("x.sub.test", 200),
        ("b.test", 404), ("sub.test", 404), ("a.test.evil", 404), ("127.0.0.1", 404),
    ],
)  # fmt: skip
async def test_only_for_hosts_that_a_route_names(tmp_path: Path, host: str, status: int) -> None:
    """Any other host gets what it gets everywhere: `no_route`."""
    async with playbook(NAMED, **asserting(tmp_path)) as p:
        answer = await ask(p, host)
        assert answer.status == status
        assert status == 200 or answer.code == "no_route"


@pytest.mark.parametrize(
    "target",
    ["/.authproxy", "/.authproxy/", "/.authproxy/jwks", "/.authproxy/jwks.json/", "/.authproxy/jwks.json/x",
     "/.authproxy/JWKS.json", "/.AUTHPROXY/jwks.json", "/.authproxy/login", "/.authproxy/assertion.pem"],
)  # fmt: skip
async def test_nothing_else_is_there(tmp_path: Path, target: str) -> None:
    """404 `no_route` for whatever else is below the prefix; only `/.AUTHPROXY` is another path, and no route's here."""
    route = {**OPEN, "match": {"paths": ["/.authproxy-not/**"]}}
    async with playbook(route, **asserting(tmp_path)) as p:
        answer = await p.request("GET", target)
        assert (answer.status, answer.code) == (404, "no_route")


async def test_the_prefix_is_never_forwarded(tmp_path: Path) -> None:
    """Whatever a `/**` says, in any spelling that decodes to it; what could be two paths is refused."""
    spellings = {
        "/%2eauthproxy/jwks.json": 200, "/.authproxy/jwks%2ejson": 200, "/.authproxy/jwks.json?x=1": 200,
        "/%2eauthproxy/x": 404, "/.authproxy//jwks.json": 400, "/.authproxy/x%2fy": 400, "/.authproxy/../x": 400,
    }  # fmt: skip
    async with playbook(**asserting(tmp_path)) as p:
        for target, status in spellings.items():
            assert (await p.request("GET", target)).status == status, target
        assert p.backend.seen == []


async def test_there_is_none_without_the_assertion() -> None:
    """404: an empty set would say that nobody can be believed."""
    async with playbook() as p:
        answer = await p.request("GET", JWKS)
        assert (answer.status, answer.code) == (404, "no_route")


async def test_global_limits_count_it(tmp_path: Path) -> None:
    """As every request."""
    limits = [{"limit": "2/minute", "per": "address"}]
    async with playbook(rate_limits=limits, **asserting(tmp_path)) as p:
        found = [(await p.request("GET", JWKS)).status for _ in range(3)]
        assert found == [200, 200, 429]


async def test_the_backend_gets_the_assertion_and_nobody_elses(tmp_path: Path) -> None:
    """One field of ours where there is an identity, none on an open route, whatever a client sends in any spelling."""
    evil = [
        ("X-Authproxy-Assertion", "evil"), ("x-authproxy-assertion", "evil"),
        ("X_Authproxy_Assertion", "evil"), ("X.Authproxy.Assertion", "evil"),
        ("Connection", "X-Authproxy-Assertion"),
    ]  # fmt: skip
    async with playbook(OPEN, GUARDED, **asserting(tmp_path)) as p:
        link = await p.connect()
        for target in ["/guarded/x", "/open", "/guarded/x"]:
            answer = await p.request("GET", target, evil, token=token(), link=link)
            (seen,) = answer.seen
            got = [v for n, v in seen.lines if "assertion" in n.lower()]
            assert len(got) == (1 if "guarded" in target else 0)
            assert "evil" not in str(seen.lines)


async def test_an_identity_too_large_for_it_is_forbidden(tmp_path: Path) -> None:
    """Also with a profile that would set no header."""
    groups = [f"group-{n:04d}" for n in range(600)]
    config = asserting(tmp_path)
    config["identity"]["profile"] = "none"
    async with playbook(bounds={"token_bytes": "64KiB"}, **config) as p:
        answer = await p.request("GET", "/guarded/x", token=token(groups=groups))
        assert (answer.status, answer.code) == (403, "forbidden")
        assert (await p.logged())[0]["reason"] == "identity_too_large"

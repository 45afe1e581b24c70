"""What `doctor` asks of others: are they there, do the clocks agree, do they know us; and is the portal ours."""

import json
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from authproxy.authn.issue import public_jwks
from authproxy.cli.doctor_findings import Finding
from authproxy.cli.doctor_remote import remote
from authproxy.runtime import verification
from tests.cli.answers import Answers, answering
from tests.playbook import configuration, signing_key, write_files
from tests.web.portal.browser import STAFF, users_text

OK, JSON = "HTTP/1.1 200 OK", "Content-Type: application/json"


def provider(there: list[Answers], **changes: Any) -> Any:
    """A provider that says of itself what it should, but for the changes."""

    def play(head: str) -> tuple[list[str], bytes]:
        base = f"http://127.0.0.1:{there[0].port}"
        target = head.split(" ")[1]
        date = [f"Date: {changes['date']}"] if "date" in changes else []
        if target.startswith("/auth?"):
            answer = changes.get("auth", "")
            to = "http://127.0.0.1:1/.authproxy/callback/sso?error=login_required"
            return ([answer], b"") if answer else (["HTTP/1.1 302 Found", f"Location: {to}"], b"")
        if target == "/keys":
            return [OK, JSON], json.dumps(public_jwks([signing_key()], ["ES256"])).encode()
        document = {
            "issuer": changes.get("issuer", base), "authorization_endpoint": f"{base}/auth", "token_endpoint": f"{base}/token",
            "jwks_uri": f"{base}/keys", "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }  # fmt: skip
        return [OK, JSON, *date], json.dumps(document).encode()

    return play


async def said(folder: Path, port: int, portal: str = "http://127.0.0.1:1") -> list[Finding]:
    """What is said of a configuration whose provider is at this port."""
    sso = {
        "type": "oidc", "issuer": f"http://127.0.0.1:{port}", "client_id": "us", "client_authentication": "none", "algorithms": ["ES256"],
    }  # fmt: skip
    config = configuration(
        "http://127.0.0.1:9", authenticators={"sso": sso}, portal={"url": portal}
    )
    loaded = write_files(folder, config, [STAFF | {"authenticate": ["sso"]}])
    return [one async for one in remote(loaded, verification(loaded, {}))]


@pytest.mark.parametrize(
    ("changes", "code", "kind", "words"),
    [
        ({}, "redirect-uri", "ok", "knows http://127.0.0.1:1/.authproxy/callback/sso"),
        ({"auth": "HTTP/1.1 400 Bad Request"}, "redirect-uri", "problem", "answers 400"),
        ({"auth": OK}, "redirect-uri", "note", "does not say"),
        ({"date": formatdate(1_000_000_000, usegmt=True)}, "clock", "problem", "ahead of its own"),
        ({"date": formatdate(4_000_000_000, usegmt=True)}, "clock", "problem", "behind its own"),
        ({"date": "yesterday"}, "clock", "note", "what time"),
        ({}, "clock", "ok", "agree"),
        ({"issuer": "http://127.0.0.1:2"}, "provider", "problem", "the provider of `sso`"),
        ({}, "provider", "ok", "can be used"),
        ({}, "portal", "problem", "could not be asked"),
    ],
)  # fmt: skip
async def test_a_provider_is_asked_as_a_login_would(
    tmp_path: Path, changes: dict[str, Any], code: str, kind: str, words: str
) -> None:
    """Its description, its keys, its clock, and our redirect URI; nothing else is asked of it."""
    there: list[Answers] = []
    async with answering(provider(there, **changes)) as answers:
        there.append(answers)
        found = {one.code: one for one in await said(tmp_path, answers.port)}
    assert found[code].kind == kind
    assert words in found[code].text
    targets = {head.split(" ")[1].partition("?")[0] for head in answers.asked}
    assert targets <= {"/.well-known/openid-configuration", "/keys", "/auth"}
    assert not any(
        "code=" in head.split(" ")[1].partition("response_type")[0] for head in answers.asked
    )


async def test_a_provider_that_is_away_is_a_problem(tmp_path: Path) -> None:
    """In plain words, and nothing more is asked of it."""
    found = await said(tmp_path, 1)
    assert [(one.kind, one.code) for one in found[:2]] == [
        ("problem", "unreachable"),
        ("problem", "provider"),
    ]


@pytest.mark.parametrize(
    ("cookie", "status", "kind", "code"),
    [
        ("__Host-authproxy-form=x; Path=/; Secure; HttpOnly; SameSite=Lax", 200, "ok", "portal"),
        ("__Host-authproxy-form=x; Path=/; HttpOnly; SameSite=Lax", 200, "problem", "cookie"),
        ("__Host-authproxy-form=x; Path=/; Secure; HttpOnly; SameSite=Lax; Domain=x.test", 200, "problem", "cookie"),
        ("other=x", 200, "problem", "portal"),
        ("__Host-authproxy-form=x; Path=/; Secure; HttpOnly; SameSite=Lax", 404, "problem", "portal"),
    ],
)  # fmt: skip
async def test_the_portal_is_asked_for_its_login(
    tmp_path: Path, cookie: str, status: int, kind: str, code: str
) -> None:
    """As a browser would: is it ours, and does its cookie arrive with all its flags?"""
    async with answering(lambda _: ([f"HTTP/1.1 {status} X", "Set-Cookie: a=b", f"Set-Cookie: {cookie}"], b"")) as there:  # fmt: skip
        (tmp_path / "users.yaml").write_text(users_text())
        staff = {"type": "password", "users": {"file": "users.yaml"}}
        url = f"http://127.0.0.1:{there.port}"
        config = configuration(
            "http://127.0.0.1:9", authenticators={"staff": staff}, portal={"url": url}
        )
        loaded = write_files(tmp_path, config, [STAFF | {"authenticate": ["staff"]}])
        found = [one async for one in remote(loaded, verification(loaded, {}))]
    assert [(one.kind, one.code) for one in found] == [(kind, code)]


@pytest.mark.parametrize("keys", [{"url": "{}/keys"}, {"discovery": True}])
async def test_remote_key_sets_are_asked_for(tmp_path: Path, keys: dict[str, Any]) -> None:
    """By URL or by discovery: are they there, and does their clock agree with ours?"""
    there: list[Answers] = []
    async with answering(provider(there)) as answers:
        there.append(answers)
        base = f"http://127.0.0.1:{answers.port}"
        wanted = {k: v.format(base) if isinstance(v, str) else v for k, v in keys.items()}
        tokens = {"type": "jwt", "issuer": base, "audiences": ["api"], "algorithms": ["ES256"], "keys": wanted}  # fmt: skip
        config = configuration("http://127.0.0.1:9", authenticators={"tokens": tokens})
        loaded = write_files(tmp_path, config, [STAFF | {"authenticate": ["tokens"]}])
        found = [one async for one in remote(loaded, verification(loaded, {}))]
    assert [(one.kind, one.code) for one in found] == [("ok", "reachable"), ("ok", "clock")]

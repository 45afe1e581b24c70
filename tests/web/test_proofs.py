"""Bound and opaque tokens through a whole proxy: what each request must bring, what the backend sees, what the log says."""

import tempfile
import time
from pathlib import Path
from typing import Any

from authproxy.authn.jwk import thumbprint_of
from tests.authn.proofs import jwk_of, proof
from tests.playbook import GUARDED, authenticator, playbook, token
from tests.wire import Json

Pairs = list[tuple[str, str]]


def bound(option: str = "required") -> dict[str, Json]:
    """The playbook's authenticator, for tokens that are bound to a key."""
    return {"tokens": authenticator() | {"dpop": option}}


def bound_token() -> str:
    """One that is bound to the key of `proofs`."""
    return token("alice", claims={"cnf": {"jkt": thumbprint_of(jwk_of())}})


def proving(
    text: str, path: str = "/guarded/1", origin: str = "http://proxy.test", **more: Any
) -> Pairs:
    """The fields of a request with a good proof for GET."""
    made = proof(text, {"htu": f"{origin}{path}"}, now=time.time(), **more)
    return [("Authorization", f"DPoP {text}"), ("DPoP", made)]


async def test_a_bound_token_and_its_proofs() -> None:
    """Each request brings its own, on one connection too; the backend sees neither the token nor the proof."""
    async with playbook(authenticators=bound()) as p:
        link, text = await p.connect(), bound_token()
        for query in ("", "?a=b"):
            answer = await p.request("GET", f"/guarded/1{query}", proving(text), link=link)
            assert (answer.status, len(answer.seen)) == (200, 1)
            seen = answer.seen[0]
            assert (seen.field("authorization"), seen.field("dpop")) == (None, None)
            assert seen.field("x-forwarded-user") == "alice"
        used = proving(text)
        assert (await p.request("GET", "/guarded/1", used, link=link)).status == 200
        again = await p.request("GET", "/guarded/1", used, link=link)
        assert (again.status, again.code, again.seen) == (401, "token_invalid", [])
        assert 'error="invalid_dpop_proof"' in (again.field("www-authenticate") or "")
        for fields, reason in (
            (proving(text, "/guarded/2"), "dpop-htu"),
            (proving(text, origin="https://proxy.test"), "dpop-htu"),
            (proving(text)[:1], "dpop-missing"),
            ([*proving(text), proving(text)[1]], "dpop-repeated"),
            ([("Authorization", f"Bearer {text}"), proving(text)[1]], "dpop-scheme"),
        ):
            before = len(p.log())
            refused = await p.request("GET", "/guarded/1", fields, link=link)
            assert (refused.code, refused.seen) == ("token_invalid", [])
            assert (await p.logged(before + 1))[-1]["reason"] == reason
        assert text not in (p.loaded.folder / "access.log").read_text()


async def test_a_proof_names_what_the_client_asked_for() -> None:
    """Behind a trusted proxy that is the scheme and the host that the proxy was asked by."""
    trusted = {"networks": ["127.0.0.0/8"], "host": True}
    async with playbook(authenticators=bound(), trusted_proxies=trusted) as p:
        text = bound_token()
        outside = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "api.test")]
        for origin, status in (("https://api.test", 200), ("http://proxy.test", 401)):
            fields = [*outside, *proving(text, origin=origin)]
            assert (await p.request("GET", "/guarded/1", fields)).status == status


async def test_a_proof_is_forwarded_with_its_token() -> None:
    """`forward_authorization` lets a backend see both."""
    route = GUARDED | {"forward_authorization": True}
    async with playbook(route, authenticators=bound("optional")) as p:
        text = bound_token()
        fields = proving(text)
        answer = await p.request("GET", "/guarded/1", fields)
        assert answer.seen[0].field("authorization") == f"DPoP {text}"
        assert answer.seen[0].field("dpop") == fields[1][1]
        plain = await p.request("GET", "/guarded/1", token=token())
        assert plain.status == 200


async def test_no_introspection_without_an_issuer() -> None:
    """A server that is away is a 503, is no failed authentication, and lets other credentials pass."""
    asks = {
        "type": "introspection", "url": "http://127.0.0.1:1/x", "client_id": "c", "client_secret": {"file": "secret"},
    }  # fmt: skip
    route = GUARDED | {"authenticate": ["tokens", "opaque"]}
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "secret"
        secret.write_text("s")
        asks["client_secret"] = {"file": str(secret)}
        both = {"tokens": authenticator(), "opaque": asks}
        async with playbook(route, authenticators=both, failed_authentications="1/minute") as p:
            for _ in range(3):
                answer = await p.request("GET", "/guarded/1", token="opaque")
                assert (answer.status, answer.code) == (503, "state_unavailable")
            assert (await p.logged(3))[-1]["reason"] == "introspection"
            assert (await p.request("GET", "/guarded/1", token=token())).status == 200

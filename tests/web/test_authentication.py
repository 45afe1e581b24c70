"""Who is it: a bad credential never falls through, and guessing has a bound."""

import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from authproxy.authn.issue import generate_key
from authproxy.authn.revocation import revoke_subject
from authproxy.telemetry.metrics import Totals
from authproxy.web.compat import ClientConnection
from tests.playbook import GUARDED, OPEN, Proxy, playbook, token
from tests.telemetry.counted import outcome
from tests.wire import until


async def test_the_codes_of_credentials() -> None:
    """Nothing presented, another scheme, garbage, a wrong key, another audience and a past expiry each get their code and a challenge."""
    async with playbook() as p:
        cases = {
            None: "unauthenticated",
            token("a", ttl=-120): "token_expired",
            token("a", key=generate_key("ES256")): "token_invalid",
            token("a", audience="others"): "token_invalid",
            "garbage": "token_invalid",
            "": "token_invalid",
        }
        for credential, code in cases.items():
            answer = await p.request("GET", "/guarded/1", token=credential)
            assert (answer.status, answer.code, answer.seen) == (401, code, [])
            assert (answer.field("www-authenticate") or "").startswith('Bearer realm="authproxy"')
        basic = await p.request("GET", "/guarded/1", {"Authorization": "Basic eDp5"})
        assert basic.code == "unauthenticated"


async def test_a_bad_credential_is_never_anonymous() -> None:
    """On a route that asks nobody a credential is not looked at, and passes; where one is asked for, a bad one refuses."""
    async with playbook() as p:
        answer = await p.request("GET", "/", token="garbage")
        assert (answer.status, answer.seen[0].field("authorization")) == (200, "Bearer garbage")
        assert (await p.request("GET", "/guarded/1", token="garbage")).status == 401


async def test_expiry_counts_on_every_request() -> None:
    """A cached identity is refused once its token is past its time, on the same connection."""
    async with playbook() as p:
        link, late = await p.connect(), token("a", ttl=-29)  # `leeway` is 30 s
        assert (await p.request("GET", "/guarded/1", token=late, link=link)).status == 200
        while time.time() % 1 < 0.02:
            pass
        verifier = p.runtime.engines[p.runtime.table.routes[1]].authentication
        assert verifier is not None
        verifier._readings[0].authenticator.leeway = 0.0
        assert (await p.request("GET", "/guarded/1", token=late, link=link)).code == "token_expired"


async def test_a_token_is_judged_without_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to be asked about it: a fresh one, a forged one and a late one stay in their round, each with its own outcome."""
    begun, work = [], ClientConnection.work

    def counting(connection: ClientConnection, waiting: Coroutine[Any, Any, None]) -> None:
        begun.append(waiting)
        work(connection, waiting)

    monkeypatch.setattr(ClientConnection, "work", counting)
    async with playbook() as p:
        link = await p.connect()
        assert (await p.request("GET", "/guarded/1", token=token("a"), link=link)).status == 200
        begun.clear()  # the connection to the backend was made
        for credential, code in (
            (token("b"), ""),
            (token("b", key=generate_key("ES256")), "token_invalid"),
            (token("b", ttl=-120), "token_expired"),
        ):
            answer = await p.request("GET", "/guarded/1", token=credential, link=link)
            assert (answer.code or "") == code
    assert not begun


async def test_guessing_is_bounded() -> None:
    """Past `failed_authentications` an unknown credential is 429 unverified; who is known passes, who brings none is told so."""
    async with playbook(failed_authentications="3/minute") as p:
        good = token("alice")
        assert (await p.request("GET", "/guarded/1", token=good)).status == 200
        for _ in range(3):
            assert (await p.request("GET", "/guarded/1", token="guess")).code == "token_invalid"
        limited = await p.request("GET", "/guarded/1", token="guess")
        assert (limited.status, limited.code) == (429, "rate_limited")
        assert int(limited.field("retry-after") or 0) >= 1
        assert (await p.request("GET", "/guarded/1", token=token("bob"))).code == "rate_limited"
        assert (await p.request("GET", "/guarded/1", token=good)).status == 200
        assert (await p.request("GET", "/guarded/1")).code == "unauthenticated"


async def test_late_and_missing_credentials_are_no_guesses() -> None:
    """What is merely expired or missing is not counted as a failed authentication."""
    async with playbook(failed_authentications="1/minute") as p:
        for _ in range(3):
            assert (
                await p.request("GET", "/guarded/1", token=token(ttl=-120))
            ).code == "token_expired"
            assert (await p.request("GET", "/guarded/1")).code == "unauthenticated"
        assert (await p.request("GET", "/guarded/1", token=token())).status == 200


async def test_credentials_stay_here_unless_the_route_says_otherwise() -> None:
    """`forward_authorization` passes what the route's authenticator read, and only there."""
    async with playbook(GUARDED | {"forward_authorization": True}) as p:
        good = token()
        seen = (await p.request("GET", "/guarded/1", token=good)).seen[0]
        assert seen.field("authorization") == f"Bearer {good}"


async def test_a_preflight_may_pass_without_identity() -> None:
    """`cors_preflight: forward` lets an OPTIONS that is a preflight pass, and nothing else."""
    preflight = {"Origin": "https://app.test", "Access-Control-Request-Method": "PUT"}
    async with playbook(GUARDED | {"cors_preflight": "forward"}, OPEN) as p:
        assert (await p.request("OPTIONS", "/guarded/1", preflight)).status == 200
        assert (
            await p.request("OPTIONS", "/guarded/1", {"Origin": "https://app.test"})
        ).status == 401
        assert (await p.request("GET", "/guarded/1", preflight)).status == 401


async def test_the_revoked_are_refused_and_told_so() -> None:
    """On a connection that knew them, with a challenge; the log and the metrics say it, and it counts as no guess."""
    async with playbook(failed_authentications="1/minute") as p:
        link, good = await p.connect(), token("alice")
        assert (await p.request("GET", "/guarded/1", token=good, link=link)).status == 200
        now = time.time()
        await revoke_subject(p.runtime.records, "tokens", "alice", now + 60, now)
        await until(lambda: len(p.runtime.revocations) == 1)
        for _ in range(3):
            answer = await p.request("GET", "/guarded/1", token=good, link=link)
            assert (answer.status, answer.code, answer.seen) == (401, "token_revoked", [])
            assert 'error="invalid_token"' in (answer.field("www-authenticate") or "")
        assert (await p.request("GET", "/guarded/1", token=token("bob"))).status == 200
        line = (await p.logged(5))[1]
        assert (line["code"], line["reason"], line["decision"]) == (
            "token_revoked",
            "subject",
            "refuse",
        )
        refused = (("code", "token_revoked"), ("route", "guarded"))
        assert counted(p)["authproxy_refusals_total"][refused] == 3
        await until(lambda: counted(p)["authproxy_revocations"][()] == 1)


def counted(p: Proxy) -> Totals:
    """The metrics as they are."""
    return outcome(p.worker._pages.totals())


async def test_who_cannot_know_lets_nobody_in() -> None:
    """A worker that never could read the list: 503 where somebody must be known, all else is served; ready when it can."""
    async with playbook(state={"url": "lmdb:taken"}, spoil=spoil_the_state) as p:
        guarded = await p.request("GET", "/guarded/1", token=token())
        assert (guarded.status, guarded.code, guarded.seen) == (503, "state_unavailable", [])
        assert (await p.request("GET", "/")).status == 200
        assert p.worker._why_unready() == "the revocation list cannot be read"
        (p.loaded.folder / "taken" / "records").unlink()
        await until(lambda: p.worker._why_unready() is None)
        assert (await p.request("GET", "/guarded/1", token=token())).status == 200


def spoil_the_state(folder: Path) -> None:
    """A file where the directory of the records should be."""
    (folder / "taken").mkdir()
    (folder / "taken" / "records").write_text("")

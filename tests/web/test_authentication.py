"""Who is it: a bad credential never falls through, and guessing has a bound."""

import time

from authproxy.authn.issue import generate_key
from tests.playbook import GUARDED, OPEN, playbook, token


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

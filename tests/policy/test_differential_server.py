"""The running server and the naive interpreter come to the same: requests on a socket in, the access log compared."""

import time

import pytest

from authproxy.authn.issue import sign_test_token
from authproxy.config.authenticators import JwtAuthenticator
from tests.playbook import authenticator, playbook, signing_key
from tests.policy.generated import AUTHENTICATORS, Maker
from tests.policy.naive import Asked, Decision, Json, decide
from tests.wire import Json as Settings

ISSUERS: dict[str, Settings] = {
    name: {**authenticator(), "issuer": f"https://{name}.test"} for name in AUTHENTICATORS
}
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def credential(who: Json) -> str:
    """A good token of this identity."""
    settings = JwtAuthenticator.model_validate(ISSUERS[who["authenticator"]])
    return sign_test_token(
        settings, signing_key(), subject=who["subject"], groups=who["groups"], scopes=who["scopes"],
        claims=who["claims"], now=time.time(),
    )  # fmt: skip


async def served(routes: list[Json], requests: list[Asked]) -> list[Decision]:
    """What a running server makes of the requests, by its access log."""
    limited = [
        {k: v for k, v in route.items() if k != "rate_limits"} | {"upstream": "backend"}
        for route in routes
    ]
    async with playbook(
        *limited, play=NO_CONTENT, authenticators=ISSUERS, trusted_proxies={"networks": ["127.0.0.0/8"]},
        failed_authentications="1000000/second",
    ) as proxy:  # fmt: skip
        for asked in requests:
            headers = {"Host": asked.host, "X-Forwarded-For": asked.client, **asked.headers}
            token = None if asked.who is None else credential(asked.who)
            await proxy.request(asked.method, asked.path, headers, token=token)
        lines = await proxy.logged(len(requests))
    return [
        Decision(line["code"] or "allow", line["route"], line["shadow"] == "forbidden")
        for line in lines
    ]


async def check(seeds: range, number: int) -> None:
    """Policies of these seeds, so many requests for each."""
    for seed in seeds:
        maker = Maker(seed)
        routes = maker.policies(6)
        requests = [maker.request() for _ in range(number)]
        for asked, found in zip(requests, await served(routes, requests), strict=True):
            wanted = decide(routes, asked)
            assert found == wanted, (seed, asked)


async def test_the_server_agrees() -> None:
    """150 generated requests over five generated policies."""
    await check(range(5), 30)


@pytest.mark.slow
async def test_the_server_agrees_at_length() -> None:
    """100,000 requests over 500 policies."""
    await check(range(20_000, 20_500), 200)

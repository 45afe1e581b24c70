"""The three layers that count, in their order, and what the client is told of them."""

from authproxy.state.store import StateUnavailable
from tests.playbook import GUARDED, OPEN, playbook, token

PER_ADDRESS = {"name": "door", "limit": "2/minute", "per": "address", "strategy": "fixed-window"}
PER_SUBJECT = {"name": "fair", "limit": "2/minute", "per": "subject", "strategy": "fixed-window"}


async def test_a_limited_route_says_what_is_left() -> None:
    """RateLimit-Policy and RateLimit on each answer, Retry-After on the one that is refused; the backend sees the granted ones."""
    async with playbook(OPEN | {"rate_limits": [PER_ADDRESS]}) as p:
        left = []
        for _ in range(2):
            answer = await p.request("GET", "/")
            assert answer.field("ratelimit-policy") == '"door";q=2;w=60'
            left.append((answer.field("ratelimit") or "").split(";t=")[0])
        assert left == ['"door";r=1', '"door";r=0']
        refused = await p.request("GET", "/")
        assert (refused.status, refused.code, refused.seen) == (429, "rate_limited", [])
        assert 1 <= int(refused.field("retry-after") or 0) <= 60
        assert (refused.field("ratelimit") or "").startswith('"door";r=0;t=')
        assert p.log()[-1]["reason"] == "limit door"


async def test_address_limits_come_before_credentials() -> None:
    """A forged token costs us a count, not a verification: past the route's limit it is 429."""
    async with playbook(GUARDED | {"rate_limits": [PER_ADDRESS]}) as p:
        codes = [(await p.request("GET", "/guarded/1", token="forged")).code for _ in range(3)]
        assert codes == ["token_invalid", "token_invalid", "rate_limited"]


async def test_identity_limits_are_each_ones_own() -> None:
    """A subject's limit is that subject's, and is charged before the policy is asked."""
    route = GUARDED | {"rate_limits": [PER_SUBJECT], "allow": [{"subjects": ["bob"]}]}
    async with playbook(route) as p:
        codes = [
            (await p.request("GET", "/guarded/1", token=token("alice"))).code for _ in range(3)
        ]
        assert codes == ["forbidden", "forbidden", "rate_limited"]
        assert (await p.request("GET", "/guarded/1", token=token("bob"))).status == 200


async def test_global_limits_hold_for_what_finds_no_route() -> None:
    """A limit of every request is charged before the target is read, and does not show while it grants."""
    async with playbook(rate_limits=[PER_ADDRESS]) as p:
        first = await p.request("GET", "/a/../b")
        assert (first.code, first.field("ratelimit")) == ("bad_request", None)
        assert (await p.request("GET", "/")).status == 200
        assert (await p.request("GET", "/")).code == "rate_limited"


async def test_rotating_addresses_share_nothing_they_should_not() -> None:
    """X-Forwarded-For from nobody we trust does not make a client another one."""
    async with playbook(OPEN | {"rate_limits": [PER_ADDRESS]}) as p:
        codes = [
            (await p.request("GET", "/", {"X-Forwarded-For": f"10.0.0.{n}", "X-Real-IP": f"10.0.1.{n}"})).status
            for n in range(3)
        ]  # fmt: skip
        assert codes == [200, 200, 429]


async def test_a_shadow_limit_only_watches() -> None:
    """`mode: shadow` refuses nobody and says in the log whom it would have."""
    async with playbook(OPEN | {"rate_limits": [PER_ADDRESS | {"mode": "shadow"}]}) as p:
        for _ in range(3):
            assert (await p.request("GET", "/")).status == 200
        assert [line["shadow"] for line in p.log()] == [None, None, "rate_limited"]


async def test_without_the_state_limited_routes_refuse() -> None:
    """The state away: 503 on routes with limits of their own, service as usual elsewhere; `allow_limits` lets pass."""

    def away(*_: object) -> None:
        raise StateUnavailable("away")

    limited = OPEN | {
        "name": "limited",
        "match": {"paths": ["/limited"]},
        "rate_limits": [PER_ADDRESS],
    }
    for on_failure, status in (("refuse", 503), ("allow_limits", 200)):
        state = {"url": "memory:", "on_failure": on_failure}
        async with playbook(OPEN, limited, state=state, rate_limits=[PER_ADDRESS]) as p:
            p.runtime.store.transact = away  # type: ignore[attr-defined]
            answer = await p.request("GET", "/limited")
            assert answer.status == status
            assert answer.code == ("state_unavailable" if status == 503 else "")
            assert (await p.request("GET", "/")).status == 200
            assert (
                await p.request("GET", "/")
            ).code == "rate_limited"  # the global one goes on by itself

"""The order of work is the contract's."""

import json

from authproxy.web import chain
from tests.playbook import GUARDED, playbook, token


def test_the_order_is_the_contracts() -> None:
    """Head, client, global limits, target and route, address limits, authentication, identity limits, authorization, forward."""
    assert [step.__name__ for step in chain.CHAIN] == [
        "intake", "global_limits", "routing", "address_limits", "authentication",
        "identity_limits", "authorization", "relay",
    ]  # fmt: skip


async def test_each_refusal_is_the_earliest() -> None:
    """A request that everything is wrong with is refused by the first who may; mended there, by the next."""
    limits = [
        {"limit": "1/day", "per": "address", "strategy": "fixed-window"},
        {"limit": "1/day", "per": "subject", "strategy": "fixed-window"},
    ]
    route = GUARDED | {"rate_limits": limits, "allow": [{"groups": ["none"]}]}
    async with playbook(route) as p:
        link, good = await p.connect(), token()
        steps = [
            ("/a/../b", None, "bad_request"),
            ("/other", None, "no_route"),
            ("/guarded/1", good, "forbidden"),
            ("/guarded/1", None, "rate_limited"),
        ]
        for target, credential, code in steps:
            answer = await p.request("GET", target, token=credential, link=link)
            assert answer.code == code
        assert p.backend.seen == []


async def test_every_request_has_its_line() -> None:
    """Whatever became of it, each request has one line of the log, with what was known of it by then."""
    async with playbook() as p:
        await p.request("GET", "/x?secret=1", {"Cookie": "c=s3cret"})
        await p.request("GET", "/guarded/1", token=token())
        await p.raw(b"nonsense\r\n\r\n")
        lines = p.log()
        assert [line["status"] for line in lines] == [200, 200, 400]
        assert [line["path"] for line in lines] == ["/x", "/guarded/1", ""]
        assert [line["decision"] for line in lines] == ["allow", "allow", "refuse"]
        assert "s3cret" not in json.dumps(lines)
        assert "secret=1" not in json.dumps(lines)

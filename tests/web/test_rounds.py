"""Requests of one round go through the chain together: each as if it were alone, in the order in which they came."""

import pytest

from authproxy.model.exchange import Exchange
from authproxy.rate_limits.step import Meter
from authproxy.web.compat import Request
from authproxy.web.relay import relay
from tests.playbook import GUARDED, playbook, token
from tests.wire import HELLO, answering, in_turn, request


async def test_those_that_come_together_are_each_their_own() -> None:
    """One is refused early, one late, one is answered: none sees anything of another's."""
    route = GUARDED | {"allow": [{"groups": ["eng"]}]}
    async with playbook(route) as p:
        links = [await p.connect() for _ in range(4)]
        sent = [
            request("GET", "/nowhere/1"),
            request("GET", "/guarded/1"),
            request("GET", "/guarded/2", token=token(groups=["ops"])),
            request("GET", "/guarded/3", token=token(groups=["eng"])),
        ]
        for _ in range(3):
            for link, data in zip(links, sent, strict=True):
                link.writer.write(data)
            assert [(await link.answer()).status for link in links] == [404, 401, 403, 200]
        paths = [line["path"] for line in await p.logged(12)]
        assert sorted(paths) == sorted(["/nowhere/1", "/guarded/1", "/guarded/2", "/guarded/3"] * 3)


async def test_the_first_to_come_is_the_first_to_be_counted() -> None:
    """A limit's last place in a round goes to who came first, and to nobody else."""
    limits = [{"limit": "2/day", "per": "address", "strategy": "fixed-window"}]
    async with playbook(GUARDED | {"rate_limits": limits}) as p:
        links, good = [await p.connect() for _ in range(5)], token()
        for link in links:
            link.writer.write(request("GET", "/guarded/1", token=good))
        statuses = [(await link.answer()).status for link in links]
        assert sorted(statuses) == [200, 200, 429, 429, 429]


async def test_a_fault_in_one_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw in one request is that one's 500; the round goes on."""
    async with playbook() as p:

        def broken(one: Request) -> object:
            if one.exchange.path == "/bad":
                raise ZeroDivisionError
            return relay(one)

        server = p.worker._servers[0]
        monkeypatch.setattr(server.handler, "_chain", (*server.handler._chain[:-1], broken))  # type: ignore[attr-defined]
        links = [await p.connect() for _ in range(3)]
        for link, path in zip(links, ("/good", "/bad", "/good"), strict=True):
            link.writer.write(request("GET", path))
        assert [(await link.answer()).status for link in links] == [200, 500, 200]
        assert p.errors.pop().endswith("failed")


async def test_a_fault_in_what_is_done_together_is_one_requests_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A limit that cannot be looked up for one of a round is that one's 500: the others are counted, and let through."""
    limits = [{"limit": "3/day", "per": "subject"}]
    async with playbook(GUARDED | {"rate_limits": limits}) as p:
        key, good = Meter.key, token()
        await p.request("GET", "/guarded/zero", token=good)  # who is known waits for nothing

        def broken(meter: Meter, exchange: Exchange) -> bytes:
            if exchange.path.endswith("/bad"):
                raise ZeroDivisionError
            return key(meter, exchange)

        monkeypatch.setattr(Meter, "key", broken)
        links = [await p.connect() for _ in range(3)]
        for link, name in zip(links, ("one", "bad", "two"), strict=True):
            link.writer.write(request("GET", f"/guarded/{name}", token=good))
        assert [(await link.answer()).status for link in links] == [200, 500, 200]
        assert p.errors.pop().endswith("failed")
        assert p.errors.pop().startswith("identity_limits failed")
        assert (await p.request("GET", "/guarded/three", token=good)).status == 429


async def test_a_client_that_leaves_in_its_round_asks_no_backend() -> None:
    """A request whose client is gone before its turn is noted, and not forwarded."""
    async with playbook() as p:
        link = await p.connect()
        await p.request("GET", "/", link=link)
        (connection,) = p.worker._servers[0].connections
        connection.data_received(request("GET", "/late"))
        connection.connection_lost(None)
        link.close()
        assert (await p.logged(2))[1]["code"] == "client_gone"
        assert len(p.backend.seen) == 1


async def test_each_waits_for_itself() -> None:
    """A request that has to wait keeps no other of its round."""
    async with playbook(play=in_turn(answering(HELLO))) as p:
        first, second = await p.connect(), await p.connect()
        first.writer.write(request("POST", "/", {"Content-Length": "2"}))
        second.writer.write(request("GET", "/"))
        assert (await second.answer()).status == 200
        first.writer.write(b"ab")
        assert (await first.answer()).status == 200

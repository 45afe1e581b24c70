"""`policy explain --live`: what a running server says is left, which is what the next request finds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import run, succeed
from tests.cli.test_happened import World
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import configuration, write_configuration
from tests.redis_server import emptied

ROUTES: list[dict[str, Any]] = [
    {"name": "few", "match": {"paths": ["/few"]}, "upstream": "app", "authenticate": ["tokens"], "allow": [{"groups": ["eng"]}],
     "rate_limits": [{"name": "mine", "limit": "2/day", "per": "subject"}, {"limit": "100/day", "per": "address"}, {"name": "tenant", "limit": "3/day", "per": "claim:tenant", "mode": "shadow"}]},
]  # fmt: skip


@pytest.fixture(scope="module", params=["memory:", "lmdb:state", "redis"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:  # fmt: skip
    """A server with its counters in each of the kinds of state; also in its own memory."""
    url = emptied().url if request.param == "redis" else request.param
    limits = [{"limit": "50/day", "per": "address"}]
    folder = tmp_path_factory.mktemp("live")
    found = World(folder, routes=ROUTES, state={"url": url}, rate_limits=limits)
    yield found
    found.served.stop()
    found.recorder.close()


def explain(world: World, *words: str, path: str = "/few") -> dict[str, Any]:
    """As a program reads it."""
    told = succeed("policy", "explain", "GET", f"https://app.test{path}", *words, "--live", "--format", "json", "--config", world.file)  # fmt: skip
    found: dict[str, Any] = json.loads(told)
    return found


def test_what_is_left_is_what_the_server_counts(world: World) -> None:
    """Asking charges nothing; where nothing is left the verdict is that of the next request."""
    claim = ("--claim", 'tenant="acme"')
    who = ("--subject", "ann", "--group", "eng", *claim)
    token = world.issuer.token("ann", groups=["eng"], tenant="acme")
    left, verdicts = [], ("", "")
    for _ in range(3):
        found = explain(world, *who)
        assert explain(world, *who)["limits"][0]["remaining"] == found["limits"][0]["remaining"]
        left.append([(x["name"], x["remaining"]) for x in found["limits"]])
        world.ask("/few", Authorization=f"Bearer {token}")
        verdicts = found["verdict"], found["reason"]
    everyone = ("address", 50 - len(left) + 1)
    assert left[0] == [("address", 50), ("address", 100), ("mine", 2), ("tenant", 3)]
    assert left[-1] == [everyone, ("address", 98), ("mine", 0), ("tenant", 1)]
    assert verdicts == ("rate_limited", "limit mine")
    assert world.explain(world.ask("/few", Authorization=f"Bearer {token}"))["verdict"] == "rate_limited"  # fmt: skip
    other = explain(world, "--subject", "bob", *claim)
    assert (other["verdict"], other["limits"][2]["remaining"]) == ("forbidden", 2)
    assert other["limits"][2]["key"] == "tokens:bob"


def test_of_nobody_only_the_address_is_counted(world: World) -> None:
    """What counts by subject has nobody to count; without a route only the limits of every request apply."""
    found = explain(world)
    assert [x.get("remaining") is not None for x in found["limits"]] == [True, True, False, False]
    assert (found["verdict"], len(explain(world, path="/none")["limits"])) == ("unauthenticated", 1)


def test_it_needs_a_server(tmp_path: Path) -> None:
    """Exit 1, and why."""
    config = {**configuration({"app": {"servers": ["http://127.0.0.1:1"]}}), "state": {"url": "lmdb:state"}}  # fmt: skip
    file = write_configuration(tmp_path, Issuer(), config, ROUTES)
    result = run("policy", "explain", "GET", "https://app.test/few", "--live", "--config", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no server is running" in result.stderr
    assert not (tmp_path / "state").exists()

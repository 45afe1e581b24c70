"""`policy explain --request-id`: what happened at a running server with several workers, and why."""

import http.client
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import run, succeed
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import Served, configuration, write_configuration
from tests.hostile.recorder import Recorder

ROUTES: list[dict[str, Any]] = [
    {"name": "eng", "match": {"paths": ["/g/**"]}, "upstream": "app", "authenticate": ["tokens"],
     "allow": [{"groups": ["eng"]}, {"when": 'request.headers["x-team"] == claims.team'}]},
    {"name": "few", "match": {"paths": ["/few"]}, "upstream": "app", "authenticate": "none", "rate_limits": [{"limit": "1/day", "per": "address"}]},
    {"name": "cors", "match": {"paths": ["/cors"]}, "upstream": "app", "authenticate": ["tokens"], "allow": "authenticated", "cors_preflight": "forward"},
    {"name": "watched", "match": {"paths": ["/w"]}, "upstream": "app", "authenticate": ["tokens"], "allow": [{"groups": ["none"]}], "mode": "shadow"},
]  # fmt: skip


class World:
    """The server, and how to ask it."""

    def __init__(
        self, folder: Path, *arguments: str, routes: Sequence[Any] = ROUTES, **changes: Any
    ) -> None:
        self.recorder, self.issuer = Recorder(), Issuer()
        upstreams = {"app": {"servers": [f"http://127.0.0.1:{self.recorder.port}"]}}
        self.file = write_configuration(folder, self.issuer, {**configuration(upstreams), **changes}, routes)  # fmt: skip
        self.served = Served(self.file, *arguments)

    def ask(self, path: str, method: str = "GET", **headers: str) -> str:
        """The id of a request that was answered; each on a connection of its own, so any worker may have it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.served.ports[0], timeout=5)
        connection.request(method, path, headers={"Host": "app.test", **{k.replace("_", "-"): v for k, v in headers.items()}})  # fmt: skip
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return str(answer.getheader("X-Request-Id"))

    def explain(self, request_id: str) -> dict[str, Any]:
        """What the command says, as a program reads it."""
        words = ("policy", "explain", "--request-id", request_id, "--format", "json")
        found: dict[str, Any] = json.loads(succeed(*words, "--config", self.file))
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with three workers."""
    found = World(
        tmp_path_factory.mktemp("happened"), "--workers", "3", state={"url": "lmdb:state"}
    )
    yield found
    found.served.stop()
    found.recorder.close()


def test_every_worker_is_asked(world: World) -> None:
    """Whichever of them answered, the request is found, with its verdict and the tree behind it."""
    token = world.issuer.token(groups=["ops"])
    for _ in range(12):
        found = world.explain(world.ask("/g/1?secret=query", Authorization=f"Bearer {token}"))
        assert (found["verdict"], found["now"], found["route"]) == ("forbidden", "forbidden", "eng")
        assert found["reason"] == "no entry of allow holds"
        assert found["happened"]["status"] == 403
        assert next(c["seen"] for c in found["conditions"]) == {"groups": ["ops"]}
        assert "secret" not in json.dumps(found)
        assert token.rpartition(".")[2] not in json.dumps(found)


def test_what_policies_read_is_there(world: World) -> None:
    """A header that a condition asks for, and the head for the backend."""
    token = world.issuer.token(team="blue")
    found = world.explain(world.ask("/g/1", Authorization=f"Bearer {token}", X_Team="blue"))
    assert found["verdict"] == "allow"
    assert found["conditions"][-1]["seen"] == {'request.headers["x-team"]': "blue", "claims.team": "blue"}  # fmt: skip
    assert any(line.startswith("X-Forwarded-User: ") for line in found["backend_head"])
    assert "only what policies read is remembered" in " ".join(found["notes"])


def test_no_answer_is_a_command_of_a_terminal(world: World) -> None:
    """What a caller wrote into a header that policies read is shown escaped, as text and as JSON."""
    token = world.issuer.token(groups=["ops"], team="blue")
    team = "\x9b31m\u202e".encode().decode("latin-1")
    request_id = world.ask("/g/1", Authorization=f"Bearer {token}", X_Team=team)
    for form in ("json", "text"):
        words = ("--request-id", request_id, "--config", str(world.file), "--format", form)
        shown = run("policy", "explain", *words).stdout
        assert "31m" in shown
        assert not {"\x9b", "\u202e"} & set(shown)


def test_each_verdict_is_what_was_answered(world: World) -> None:
    """Also those that no policy makes: credentials, limits, shadow, preflights, no route, our own pages."""
    token = world.issuer.token(groups=["ops"])
    bearer = f"Bearer {token}"
    world.ask("/few")
    cases = [
        (world.ask("/g/1", Authorization="Bearer rubbish"), "token_invalid", "eng"),
        (world.ask("/g/1"), "unauthenticated", "eng"),
        (world.ask("/few"), "rate_limited", "few"),
        (world.ask("/none"), "no_route", None),
        (world.ask("/g/../x"), "bad_request", None),
        (world.ask("/.authproxy/none"), "no_route", None),
        (world.ask("/w", Authorization=bearer), "allow", "watched"),
        (world.ask("/cors", "OPTIONS", Origin="https://a.test", Access_Control_Request_Method="PUT"), "allow", "cors"),
    ]  # fmt: skip
    found = [world.explain(one) for one, _, _ in cases]
    assert [(x["verdict"], x["route"]) for x in found] == [(code, name) for _, code, name in cases]
    assert "came before or after" in found[2]["notes"][0]
    assert found[6]["shadow"] == "forbidden"
    text = succeed("policy", "explain", "--request-id", cases[2][0], "--config", world.file)
    assert text.splitlines()[-1] == "verdict: rate_limited"
    assert "(left then)" in text


def test_an_id_that_nobody_knows(world: World) -> None:
    """It says how many are remembered; exit 1, nothing on stdout."""
    result = run("policy", "explain", "--request-id", "unknown", "--config", world.file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "3 running, each remembers its last 1000" in result.stderr


def test_the_verdict_can_be_expected(world: World) -> None:
    """As of a described request."""
    words = ("policy", "explain", "--request-id", world.ask("/none"), "--config", world.file)
    assert run(*words, "--expect", "no_route").exit_code == 0
    assert run(*words, "--expect", "allow").exit_code == 1


def test_policies_that_changed_since_are_named(tmp_path: Path) -> None:
    """A reload forgets nothing; what happened stays the verdict. And when the server is gone, so is what it knew."""
    world = World(tmp_path)
    try:
        token = world.issuer.token(groups=["ops"])
        request_id = world.ask("/g/1", Authorization=f"Bearer {token}")
        (policy,) = list(tmp_path.rglob("routes.yaml"))
        policy.write_text(policy.read_text().replace("eng", "ops"))
        found = world.explain(request_id)
        assert (found["verdict"], found["now"]) == ("forbidden", "allow")
        assert "the policies have changed since then, and would say allow now" in found["notes"]
    finally:
        world.served.stop()
        world.recorder.close()
    result = run("policy", "explain", "--request-id", request_id, "--config", world.file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no server is running" in result.stderr


def test_nothing_is_kept_where_nothing_is_wanted(tmp_path: Path) -> None:
    """`trail: 0` is said to be the reason."""
    world = World(tmp_path, logging={"trail": 0})
    try:
        result = run("policy", "explain", "--request-id", world.ask("/none"), "--config", world.file)  # fmt: skip
    finally:
        world.served.stop()
        world.recorder.close()
    assert result.exit_code == 1
    assert "trail: 0" in result.stderr

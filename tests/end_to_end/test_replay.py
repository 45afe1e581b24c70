"""Replay against running servers: one records, another with other policies answers the same requests; replay says which."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authproxy.config.load import load
from authproxy.policies import slots_of
from authproxy.policy.recorded import Recorded, replayed
from authproxy.policy.replay import Replay
from tests.playbook import Proxy, playbook, token
from tests.wire import Answer, until

CONDITIONS: list[dict[str, Any]] = [
    {"groups": ["eng"]}, {"groups": ["ops", "eng"]}, {"subjects": ["ann"]}, {"claims": {"tenant": "acme"}},
    {"claims": {"realm.roles": "admin"}}, {"networks": ["10.0.0.0/8"]}, {"networks": ["127.0.0.0/8"]},
    {"when": "has(claims.level) && claims.level >= 3"}, {"when": 'request.headers["x-team"] == "blue"'},
    {"when": 'request.path.startsWith("/a/1")'}, {"when": "claims.size() > 8"},
]  # fmt: skip
LOGGING = {"access": {"path": "access.log"}, "decisions": {"path": "decisions.log"}}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and who makes it."""

    target: str
    method: str
    headers: tuple[tuple[str, str], ...]
    credential: str | None


def routes(draw: random.Random) -> list[dict[str, Any]]:
    """Policies by chance: a path may be open, protected, in shadow, or not there."""
    found: list[dict[str, Any]] = []
    for path in ("/a/**", "/b", "/c/*", "/d"):
        route: dict[str, Any] = {
            "name": f"r{len(found)}",
            "match": {"paths": [path]},
            "upstream": "backend",
        }
        kind = draw.random()
        if kind < 0.15:
            continue
        if kind < 0.3:
            found.append(route | {"authenticate": "none"})
            continue
        route |= {"authenticate": ["tokens"], "allow": draw.sample(CONDITIONS, 2)}
        if draw.random() < 0.4:
            route["deny"] = [draw.choice(CONDITIONS) | {"mode": draw.choice(["shadow", "enforce"])}]
        if draw.random() < 0.2:
            route["mode"] = "shadow"
        if draw.random() < 0.3:
            route["match"]["methods"] = ["GET"]
        found.append(route)
    return found


def requests(draw: random.Random) -> list[Asked]:
    """Requests by chance, of a few callers, some without a token or with one that nobody takes."""
    credentials = [
        None, "garbage", token("ann", groups=["eng"]), token("bob", groups=["ops", "x"], claims={"tenant": "acme", "level": 3}),
        token("cat", claims={"realm": {"roles": ["admin", "b"]}, "level": 2, "one": 1, "two": 2}), token("dan", claims={"level": "3"}),
    ]  # fmt: skip
    return [
        Asked(
            draw.choice(
                ["/a/1", "/a/2?q=1", "/a/b%20c", "/b", "/c/x", "/c/%C3%A4", "/d", "/e", "/a/x%2Fy"]
            ),
            draw.choice(["GET", "GET", "POST", "OPTIONS"]),
            draw.choice([(), (("X-Team", "blue"),), (("X-Team", "red"), ("X-Other", "1"))]),
            draw.choice(credentials),
        )
        for _ in range(60)
    ]


async def answers(p: Proxy, asked: Sequence[Asked]) -> list[Answer]:
    """What the server answers, one after the other."""
    return [
        await p.request(one.method, one.target, one.headers, token=one.credential) for one in asked
    ]


async def recorded_by(asked: Sequence[Asked], old: Sequence[dict[str, Any]]) -> list[Recorded]:
    """The decision log of a server with these policies."""
    async with playbook(*old, logging=LOGGING) as p:
        await answers(p, asked)
        assert p.runtime.decisions is not None
        file, lines = p.loaded.folder / "decisions.log", p.runtime.decisions.lines

        def all_there() -> bool:
            lines.flush()
            return len(file.read_text().splitlines()) == len(asked)

        await until(all_there)
        found = [replayed(json.loads(line)) for line in file.read_text().splitlines()]
    return [one for one in found if one is not None]


async def codes_by(
    asked: Sequence[Asked], new: Sequence[dict[str, Any]], folder: Path
) -> list[tuple[str, str]]:
    """Verdict and route of each request on a server with these policies, whose configuration stays in the folder."""
    async with playbook(*new) as p:
        await answers(p, asked)
        log = await p.logged(len(asked))
        folder.joinpath("routes.yaml").write_text(
            (p.loaded.folder / "policies" / "routes.yaml").read_text()
        )
        folder.joinpath("jwks.json").write_text((p.loaded.folder / "jwks.json").read_text())
        folder.joinpath("authproxy.yaml").write_text(
            (p.loaded.folder / "authproxy.yaml").read_text()
        )
    return [(line["code"] or "allow", line["route"] or "") for line in log]


async def test_replay_says_what_another_server_answers(tmp_path: Path) -> None:
    """For policies and requests by chance: a verdict is the other server's, and under the same policies nothing changes."""
    decided = undecidable = 0
    for seed in range(6):
        draw = random.Random(seed)
        old, new, asked = routes(draw), routes(draw), requests(draw)
        folder = tmp_path / str(seed)
        folder.mkdir()
        records, codes = await recorded_by(asked, old), await codes_by(asked, new, folder)
        loaded = load(folder / "authproxy.yaml", folder / "routes.yaml")
        replay = Replay(loaded.policies.table, slots_of(loaded.usable()))
        for one, record, wanted in zip(asked, records, codes, strict=True):
            found = replay.decide(record)
            if found.unknown:
                undecidable += 1
            else:
                decided += 1
                assert (found.code, found.route) == wanted, (seed, one, record.code)
    assert decided > undecidable > 0
    assert decided > 150

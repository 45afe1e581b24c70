"""One server and one strict recorder behind it, for all attacks."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest

from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import Served, configuration, write_configuration
from tests.hostile.attack import Case, Outcome, attack_all, connect, refusal_faults
from tests.hostile.recorder import Recorder, Seen

NUMBERS = count(1)
BOUNDS = {"header_timeout": "1s", "keepalive": "2s", "drain": "1s"}
IDENTITY = {"profile": "forwarded", "strip": ["X-Tenant-Role"]}
ROUTES: list[dict[str, Any]] = [
    {"name": "public", "match": {"paths": ["/public/**", "/public"]}, "upstream": "recorder", "authenticate": "none"},
    {"name": "ok", "match": {"paths": ["/ok/**", "/ok"]}, "upstream": "recorder", "authenticate": ["tokens"], "allow": "authenticated"},
    {"name": "read", "match": {"paths": ["/read/**"], "methods": ["GET", "HEAD"]}, "upstream": "recorder", "authenticate": "none"},
    {"name": "admin", "match": {"paths": ["/admin/**", "/admin"]}, "upstream": "recorder", "authenticate": ["tokens"], "allow": [{"groups": ["nobody"]}]},
    {"name": "vip", "match": {"hosts": ["vip.test"], "paths": ["/**"]}, "upstream": "recorder", "authenticate": ["tokens"], "allow": [{"groups": ["nobody"]}]},
]  # fmt: skip


@dataclass
class Target:
    """What is attacked, and what its backend saw."""

    served: Served
    recorder: Recorder
    issuer: Issuer

    @property
    def port(self) -> int:
        """The plain listener's port."""
        return self.served.ports[0]

    def hold(self, cases: Sequence[Case]) -> list[Outcome]:
        """Send the cases, and hold each to its verdict, the backend to strictness, and the server to a canary."""
        assert cases
        first = next(NUMBERS)
        for _ in cases[1:]:
            next(NUMBERS)
        self.recorder.clear()
        token = self.issuer.token().encode()
        filled = [replace(case, data=case.data.replace(b"$TOKEN", token)) for case in cases]
        outcomes = asyncio.run(attack_all(self.port, filled, first))
        wrong = [
            f"{o.case.name}: {w} ({o.case.data[:160]!r})" for o in outcomes for w in self.faults(o)
        ]
        wrong += [f"the backend got: {fault}" for fault in self.recorder.faults]
        wrong += [
            f"reached /admin: {s.head!r}"
            for s in self.recorder.seen
            if s.target.startswith(b"/admin")
        ]
        wrong += [
            f"not who it is: {s.head!r}" for s in self.recorder.seen if not self._identified(s)
        ]
        wrong += self._canary(first)
        assert not wrong, "\n".join(wrong)
        return outcomes

    def faults(self, outcome: Outcome) -> list[str]:
        """What is wrong with one outcome."""
        case, wrong = outcome.case, list(outcome.wrong)
        if outcome.hangs and not case.incomplete:
            wrong.append("left hanging")
        first = outcome.answers[0] if outcome.answers else None
        for answer in outcome.answers:
            if not answer.value("x-echo"):
                wrong += refusal_faults(
                    answer, case.code if answer is first and case.verdict == "refused" else ""
                )
        if case.verdict == "refused":
            if first is not None and (first.value("x-echo") or first.status < 400):
                wrong.append(f"not refused: {first.status}")
            complete = [seen for seen in self.recorder.of_case(outcome.number) if seen.complete]
            if complete:
                wrong.append(f"reached the backend: {[seen.head for seen in complete]}")
        if case.verdict == "forwarded" and (first is None or not first.value("x-echo")):
            wrong.append(f"not forwarded: {first and (first.status, first.body[:200])}")
        return wrong

    @staticmethod
    def _identified(seen: Seen) -> bool:
        """Behind the closed route the backend hears of alice, and not of her token; behind the open ones of nobody."""
        users, closed = seen.values("x-forwarded-user"), seen.target.startswith(b"/ok")
        return users == ([b"alice"] if closed else []) and not (
            closed and seen.values("authorization")
        )

    def _canary(self, number: int) -> list[str]:
        """After everything a plain request gets its own answer."""

        async def ask() -> list[str]:
            client = await connect(self.port)
            target = b"/public/canary-after-%d" % number
            client.writer.write(
                b"GET %b HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n" % target
            )
            answer = await asyncio.wait_for(client.answer(), 5)
            client.writer.close()
            return (
                [] if answer and answer.body == target else [f"the canary after all got {answer}"]
            )

        return asyncio.run(ask())


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The server under attack; that it never failed, and ends as it should, is part of every attack."""
    recorder, issuer = Recorder(), Issuer()
    folder = tmp_path_factory.mktemp("hostile")
    upstreams = {
        "recorder": {
            "servers": [f"http://127.0.0.1:{recorder.port}"],
            "timeouts": {"response": "5s"},
        }
    }
    config = configuration(upstreams, bounds=BOUNDS, identity=IDENTITY)
    served = Served(write_configuration(folder, issuer, config, ROUTES))
    try:
        yield Target(served, recorder, issuer)
    finally:
        status = served.stop()
        recorder.close()
    assert status == 0
    assert "Traceback" not in served.errors()
    assert [line for line in served.log() if line["code"] == "internal_error"] == []


@pytest.fixture
def token(target: Target) -> bytes:
    """A token that opens /ok."""
    return target.issuer.token().encode()

"""One meaning, on the wire too: the running server, what it wrote down, and whatever tells its decisions without it
say the same of each request as the naive interpreter.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from authproxy.authn.issue import sign_test_token
from authproxy.config.authenticators import JwtAuthenticator
from authproxy.model.errors import REFUSALS
from authproxy.runtime import verification
from tests.playbook import Proxy, authenticator, playbook, signing_key
from tests.policy.generated import AUTHENTICATORS
from tests.policy.naive import Decision, Json, decide
from tests.policy.readings import (
    Readings,
    by_id,
    by_who,
    explained,
    holds,
    reached,
    readings,
    replayed_as,
)
from tests.policy.worlds import Question, Worlds, worlds
from tests.wire import Json as Settings
from tests.wire import Link, request

ISSUERS: dict[str, Settings] = {
    name: {**authenticator(), "issuer": f"https://{name}.test"} for name in AUTHENTICATORS
}
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
CONNECTIONS = 8
SPARSE = 20  # of so many requests one is asked about where asking takes long


@dataclass(frozen=True, slots=True)
class Served:
    """An answer: its status, and the id by which both logs know the request; `token` is what it came with."""

    status: int
    request_id: str
    token: str | None


def credential(caller: Json) -> str:
    """A good token of this identity."""
    settings = JwtAuthenticator.model_validate(ISSUERS[caller["authenticator"]])
    return sign_test_token(
        settings, signing_key(), subject=caller["subject"], groups=caller["groups"], scopes=caller["scopes"],
        claims=caller["claims"], now=time.time(),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """What became of all requests: the answers in their order, both logs by request id, and whom to ask without a server."""

    answers: list[Served]
    access: dict[str, Settings]
    decisions: dict[str, Settings]
    readings: Readings


def logged(line: Settings) -> Decision:
    """The decision, by a line of the access log."""
    return Decision(line["code"] or "allow", line["route"], line["shadow"] == "forbidden")


class Client:
    """Asks over a few kept connections, each request with the token of its caller."""

    def __init__(self, proxy: Proxy, made: Worlds) -> None:
        self.proxy = proxy
        self.pending = iter(enumerate(made.questions))
        self.answers: dict[int, Served] = {}
        self._tokens: dict[str, str] = {}

    async def all(self) -> list[Served]:
        """Every answer, in the order of the questions."""
        await asyncio.gather(*(self._ask_on() for _ in range(CONNECTIONS)))
        return [self.answers[number] for number in sorted(self.answers)]

    async def _ask_on(self) -> None:
        link: Link | None = None
        for number, question in self.pending:
            asked = question.asked
            link = link or await self.proxy.connect()
            token = None if asked.who is None else self._token(asked.who)
            headers = {"Host": asked.host, "X-Forwarded-For": asked.client, **asked.headers}
            await link.send(request(asked.method, asked.path, headers, token=token))
            answer = await link.answer(asked.method)
            self.answers[number] = Served(answer.status, answer.field("x-request-id") or "", token)
            if answer.field("connection") == "close":
                link.close()
                link = None

    def _token(self, caller: Json) -> str:
        key = json.dumps(caller, sort_keys=True)
        if key not in self._tokens:
            self._tokens[key] = credential(caller)
        return self._tokens[key]


async def serve(made: Worlds) -> Written:
    """Ask a running server all of it."""
    async with playbook(
        *made.routes, play=NO_CONTENT, authenticators=ISSUERS, trusted_proxies={"networks": ["127.0.0.0/8"]},
        failed_authentications="1000000/second",
        logging={"access": {"path": "access.log"}, "decisions": {"path": "decisions.log"}},
    ) as proxy:  # fmt: skip
        answers = await Client(proxy, made).all()
        for log in proxy.runtime.logs:
            log.flush()
        access, decisions = (
            by_id((proxy.loaded.folder / name).read_text())
            for name in ("access.log", "decisions.log")
        )
        decides = verification(proxy.loaded, {})
    return Written(answers, access, decisions, readings(proxy.loaded, decides))


def check(seeds: range, number: int) -> int:
    """Everybody is asked about every request of these worlds; how many decisions were recorded and decided again."""
    made = worlds(seeds, number)
    written, again = asyncio.run(serve(made)), 0
    assert len(written.answers) == len(made.questions) == len(seeds) * number
    for at, (question, served) in enumerate(zip(made.questions, written.answers, strict=True)):
        wanted = decide(list(question.routes), question.asked)
        found = dict(without_a_server(written, question, wanted, served, rare=at % SPARSE == 0))
        again += "replay" in found
        others = {who: said for who, said in found.items() if said != wanted}
        assert others == {}, (wanted, question.asked)
    return again


def without_a_server(
    written: Written, question: Question, wanted: Decision, served: Served, *, rare: bool
) -> Iterator[tuple[str, Decision]]:
    """Who says what of this request."""
    one = written.readings
    status = 204 if wanted.verdict == "allow" else REFUSALS[wanted.verdict][0]
    assert served.status == status, (question, wanted, served)
    yield "server", logged(written.access[served.request_id])
    yield "explain", explained(one, question)
    yield "test", wanted if holds(one, question, wanted) else Decision("another")
    verdict, route = by_who(one, question)
    yield "who", replace(wanted, verdict=verdict, route=route)
    if served.request_id in written.decisions:
        yield "replay", replayed_as(one, written.decisions[served.request_id])
    if rare and served.token:
        yield "explain, of the token", explained(one, question, served.token)
    preflight = "Origin" in question.asked.headers and question.asked.method == "OPTIONS"
    if rare and wanted.route is not None and not preflight:
        possible = reached(one.routes[wanted.route], question.asked)
        settled = (wanted.verdict, wanted.shadow) in possible
        yield "what", wanted if settled else Decision("another")


def test_all_say_what_the_server_does() -> None:
    """2,000 generated requests over 20 generated policies come to the same, whoever is asked."""
    assert check(range(20), 100) > 1500


@pytest.mark.slow
def test_all_say_what_the_server_does_at_length() -> None:
    """The same for 100,000 requests over 500 policies."""
    again = sum(check(range(seed, seed + 10), 200) for seed in range(20_000, 20_500, 10))
    assert again > 75_000

"""Sends raw bytes, many connections at once, and says what came of each: answers, canary, or nothing."""

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from authproxy.model.errors import REFUSALS

STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]*")
AT_ONCE = 24
PATIENCE = 2.5  # more than the server's header timeout in these tests
HANGS = "hangs"


@dataclass(frozen=True, slots=True)
class Case:
    """Some bytes and what may come of them.

    `verdict`: `refused` (a code of the contract or a closed connection, and no complete request at the backend),
    `forwarded` (the backend's own answer), or `either`. `code`: which refusal. `data` may hold `@@`, which becomes the
    case's own number. `incomplete`: the proxy may go on waiting for more.
    """

    name: str
    data: bytes
    verdict: str = "refused"
    code: str = ""
    method: str = "GET"
    incomplete: bool = False


@dataclass(slots=True)
class Answer:
    """One answer as it came."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def value(self, name: str) -> str:
        """The value of a field, "" where there is none."""
        return next((v for n, v in self.fields if n.lower() == name.lower()), "")

    @property
    def closes(self) -> bool:
        """Does it say that the connection ends here?"""
        return self.value("connection").lower() == "close"

    @property
    def code(self) -> str:
        """The refusal's code; "" for what is no problem document of ours."""
        if self.value("content-type") != "application/problem+json" or self.value("x-echo"):
            return ""
        return str(json.loads(self.body or b"{}").get("code", ""))


@dataclass(slots=True)
class Outcome:
    """What came of a case."""

    case: Case
    number: int
    answers: list[Answer] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    hangs: bool = False


class Client:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, method: str = "GET") -> Answer | None:
        """The next final answer; None where the connection ended first.

        Raises:
            ValueError: what came is no answer.
        """
        while True:
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                if isinstance(error, asyncio.IncompleteReadError) and error.partial:
                    raise ValueError(f"cut: {error.partial[:200]!r}") from None
                return None
            answer = read_head(head)
            if answer.status >= 200 or answer.status == 101:
                break
        if answer.status not in {101, 204, 304} and (method != "HEAD" or self._of_another(answer)):
            answer.body = await self._body(answer)
        return answer

    def _of_another(self, answer: Answer) -> bool:
        """Was this meant for what followed a HEAD in the same segment? Then it has a body, and closes."""
        return answer.status == 400 and answer.closes and bool(self.reader._buffer)  # type: ignore[attr-defined]

    async def _body(self, answer: Answer) -> bytes:
        if answer.value("transfer-encoding") == "chunked":
            body = b""
            while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
            return body
        if length := answer.value("content-length"):
            return await self.reader.readexactly(int(length))
        return await self.reader.read()


def read_head(head: bytes) -> Answer:
    """A head, strictly.

    Raises:
        ValueError: it is none.
    """
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found = STATUS_LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"no answer: {line[:200]!r}")
    fields = []
    for text in lines:
        name, separator, value = text.decode("latin-1").partition(": ")
        if not separator:
            raise ValueError(f"no field: {text[:200]!r}")
        fields.append((name, value))
    return Answer(int(found[1]), fields, b"")


async def connect(port: int) -> Client:
    """A connection to the server."""
    return Client(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 22))


async def attack(port: int, case: Case, number: int) -> Outcome:
    """Send a case; where the connection is kept, a canary on it must get its own echo."""
    outcome = Outcome(case, number)
    client = await connect(port)
    try:
        async with asyncio.timeout(PATIENCE):
            await _exchange(client, outcome)
    except TimeoutError:
        outcome.hangs = True
    except (ValueError, asyncio.IncompleteReadError) as error:
        outcome.wrong.append(f"answered with {error}")
    except ConnectionError:
        pass  # closed on us while we wrote: that is a refusal
    finally:
        client.writer.transport.abort()
    return outcome


async def _exchange(client: Client, outcome: Outcome) -> None:
    case = outcome.case
    client.writer.write(case.data.replace(b"@@", b"case-%d-" % outcome.number))
    first = await client.answer(case.method)
    while first is not None:
        outcome.answers.append(first)
        if first.closes or first.status == 101:
            if await client.reader.read(1) and first.status != 101:
                outcome.wrong.append("bytes after an answer that closes")
            return
        canary = b"/public/canary-on-%d" % outcome.number
        client.writer.write(
            b"GET %b HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n" % canary
        )
        while (later := await client.answer()) is not None:
            outcome.answers.append(later)
        last = outcome.answers[-1]
        if last.status == 200 and last.body != canary and len(outcome.answers) > 1 and last.closes:
            outcome.wrong.append(f"the canary got {last.body[:200]!r}")
        return


async def attack_all(port: int, cases: Sequence[Case], first: int) -> list[Outcome]:
    """Send all cases, `AT_ONCE` at a time; numbers count from `first`."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, case: Case) -> Outcome:
        async with gate:
            return await attack(port, case, number)

    return await asyncio.gather(*(one(first + at, case) for at, case in enumerate(cases)))


def refusal_faults(answer: Answer, code: str = "") -> Iterable[str]:
    """What is wrong with a refusal: it must be a problem document with a code of the contract, and never a 500."""
    found = answer.code or ("" if answer.body else code)  # an answer to HEAD has no body
    if found not in REFUSALS:
        yield f"{answer.status} without a code: {answer.body[:200]!r}"
    elif REFUSALS[found][0] != answer.status:
        yield f"{found} with status {answer.status}"
    elif code and found != code:
        yield f"{found} instead of {code}"
    if answer.status == 500:
        yield "an internal error"
    if b"evil" in answer.body or b"case-" in answer.body:
        yield "the client's bytes are quoted"

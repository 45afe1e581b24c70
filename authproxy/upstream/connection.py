"""One connection to a backend: one exchange at a time, streaming both ways.

The owner calls `begin`, `write`…, `request_sent`, `head`, `read`… and always ends with `release` or `abort`.
Nothing here starts a timer or a task: a connection has a `deadline`, and the pool's ticker looks at those that are busy.
No exception leaves a protocol callback: what goes wrong there drops the connection and waits for whoever asks next.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from authproxy.model.errors import Refusal
from authproxy.upstream.head import AnswerHead
from authproxy.upstream.message import Message

HIGH_WATER = 256 * 1024  # bytes of a body that wait to be taken before reading pauses
LINGER = 5.0  # seconds for what is written to leave, once the owner is done
NOTHING_EXPECTED = Message.none()


class StaleConnection(Exception):  # noqa: N818  # nobody's error: the backend was tired of waiting
    """A reused connection ended before any byte of an answer: the caller may try again where that is safe."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: `connect` for each server tried, TLS included; `response` from the last byte of the request to the
    whole final head (each 1xx starts it again); `idle` of silence in a body, an upload or a tunnel.
    """

    connect: float = 5.0
    response: float = 60.0
    idle: float = 300.0


class Keeper(Protocol):
    """Whom a connection belongs to: its pool."""

    def keep(self, connection: "Connection", hint: float | None) -> bool:
        """Take back a connection that can carry another exchange, for which the backend waits `hint` seconds; False: no."""

    def forget(self, connection: "Connection") -> None:
        """The connection is of no more use."""


class Connection(asyncio.Protocol):
    """A connection to a backend; `reused` says that it was in the pool before this exchange.

    `authority` is what `host: upstream` sends as Host. `on_interim` is called with the head of each 1xx other than 101,
    and forgotten at `release`. `deadline`, `expires` (on the loop's clock) and `server` (its place) are the pool's.
    """

    __slots__ = (
        "_before",
        "_clock",
        "_drainer",
        "_failure",
        "_keeper",
        "_loop",
        "_message",
        "_most_bytes",
        "_most_fields",
        "_open",
        "_paused",
        "_reader",
        "_sent",
        "_then",
        "_timeouts",
        "_transport",
        "_unwritten",
        "_write_deadline",
        "_write_paused",
        "authority",
        "deadline",
        "expires",
        "on_interim",
        "reused",
        "server",
    )

    def __init__(
        self,
        keeper: Keeper,
        timeouts: Timeouts,
        *,
        header_bytes: int = 65536,
        header_fields: int = 256,
        server: int = 0,
        authority: bytes = b"",
    ) -> None:
        self._keeper = keeper
        self._timeouts = timeouts
        self._most_bytes = header_bytes
        self._most_fields = header_fields
        self.server = server
        self.authority = authority
        self.reused = False
        self.deadline = math.inf
        self.expires = math.inf
        self.on_interim: Callable[[AnswerHead], None] | None = None
        self._message = NOTHING_EXPECTED
        self._before: AnswerHead | None = None  # the last answer's, where it can be known again
        self._failure: tuple[str, str] | None = None
        self._open = True
        self._sent = False
        self._paused = False
        self._write_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._drainer: asyncio.Future[None] | None = None
        self._then: Callable[[], None] | None = None

    # The owner's side.

    @property
    def complete(self) -> bool:
        """The whole message has arrived, though its body may still have to be taken."""
        return self._message.complete

    def begin(self, method: bytes) -> None:
        """Start an exchange: what arrives from now on is the answer to this method."""
        self._sent = False
        to_head = method == b"HEAD"
        self._message = Message(
            to_head=to_head,
            most_bytes=self._most_bytes,
            most_fields=self._most_fields,
            interim=self._interim,
            before=None if to_head else self._before,
        )
        self._failure = None if self._open else self._unanswered()

    def write(self, data: bytes) -> None:
        """Send bytes; never blocks, and does nothing once the connection is lost."""
        if self._open:
            self._transport.write(data)
            if self._sent and self._message.is_raw:
                self._note_progress()

    async def drain(self) -> None:
        """Wait while too much is written that the backend has not read; no longer once the connection is lost.

        Raises:
            Refusal: `upstream_timeout`, reason `write`, after `idle` seconds in which nothing left.
        """
        while self._write_paused and self._open:
            self._unwritten = self._transport.get_write_buffer_size()
            self._write_deadline = self._clock() + self._timeouts.idle
            self._drainer = self._loop.create_future()
            try:
                await self._drainer
            finally:
                self._drainer = None
        if self._failure == ("upstream_timeout", "write"):
            raise self._refusal(self._failure)

    def request_sent(self) -> None:
        """The last byte of the request is written: the time for the answer starts."""
        self._sent = True
        if self._open and self._message.head is None:
            self.deadline = self._clock() + self._timeouts.response

    async def head(self) -> AnswerHead:
        """The final head (or that of a 101, after which the caller decides about `tunnel`).

        Raises:
            Refusal: `upstream_timeout`; `upstream_invalid`, with reason `closed` where nothing was answered.
            StaleConnection: a reused connection ended before any byte of an answer.
        """
        while self._message.head is None and self._failure is None:
            await self._wait()
        return self.answer()

    def call_when_answered(self, then: Callable[[], None]) -> None:
        """Call `then`, once, when there is an `answer`; in place of `head`, without a task that waits."""
        if self._message.head is None and self._failure is None:
            self._then = then
        else:
            then()

    def answer(self) -> AnswerHead:
        """What `head` returns or raises, of an exchange that has come so far."""
        head = self._message.head
        if head is None:
            raise self._refusal(self._failure or self._unanswered())
        return head

    def take(self) -> bytes:
        """What of the body is here already; b"" says nothing about its end."""
        data = self._message.take()
        if self._paused:
            self._resume()
        return data

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end.

        Raises:
            Refusal: `upstream_invalid`, reason `truncated` when the backend goes away in the middle; `upstream_timeout`.
        """
        message = self._message
        while not message.pieces and not message.complete:
            if self._failure is not None:
                raise self._refusal(self._failure)
            await self._wait()
        return self.take()

    def tunnel(self) -> None:
        """After a 101: `read`, `write` and `drain` carry raw bytes from now on, those right after its head first."""
        head = self._message.head
        if head is None or head.status != 101:
            raise RuntimeError("only a 101 opens a tunnel")
        if self._open:
            self._note_progress()

    def release(self) -> None:
        """Done: back to the pool where that is beyond doubt, else closed once what is written has left."""
        self.on_interim = None
        message = self._message
        head = message.head
        if (
            self._sent
            and message.may_be_followed
            and self.usable()
            and self._keeper.keep(self, head.keep_alive_timeout if head is not None else None)
        ):
            self._message = NOTHING_EXPECTED
            self._before = head if head is not None and head.raw else None
        else:
            self.close()

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self.on_interim = None
        self._fail("upstream_invalid", "aborted")

    async def _wait(self) -> None:
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _refusal(self, failure: tuple[str, str]) -> Exception:
        # Made anew each time: a kept exception would keep its traceback, and that this connection.
        code, reason = failure
        return Refusal(code, reason) if code else StaleConnection()

    def _unanswered(self) -> tuple[str, str]:
        return ("", "") if self.reused else ("upstream_invalid", "closed")

    # The pool's side.

    def usable(self) -> bool:
        """Still open, as far as can be known."""
        return self._open and not self._transport.is_closing()

    def close(self) -> None:
        """Close once what is written has left, which the backend has `LINGER` seconds to take."""
        if self._open:
            self._open = False
            self._failure = self._failure or (
                "upstream_invalid",
                "aborted",
            )  # for a reader in another task
            self.deadline = self._clock() + LINGER
            self._transport.close()
            self._wake()
        else:
            self._keeper.forget(self)  # it may have been lost before the pool counted it as busy

    def look(self, now: float) -> None:
        """What the ticker asks of each busy connection: has it waited too long?"""
        if now >= self.deadline:
            self._fail("upstream_timeout", "response" if self._message.head is None else "idle")
        elif self._drainer is not None and self._open:
            unwritten = self._transport.get_write_buffer_size()
            if unwritten < self._unwritten:
                self._unwritten = unwritten
                self._write_deadline = now + self._timeouts.idle
            elif now >= self._write_deadline:
                self._fail("upstream_timeout", "write")

    # The backend's side: asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time

    def data_received(self, data: bytes) -> None:
        if not self._open:
            return
        try:
            surplus = self._message.feed(data)
        except Refusal as refusal:
            self._fail(refusal.code, refusal.reason)
        except Exception as error:  # ours or `on_interim`'s: the exchange ends, the server does not
            self._fail("internal_error", type(error).__name__)
        else:
            if (
                surplus
            ):  # nobody asked for it, and it is never the next answer: RFC 9112 section 9.2
                self._drop()
            else:
                self._note_progress()
                self._wake_reader()

    def eof_received(self) -> None:
        self._end(clean=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(clean=exc is None)
        self._message.let_go()
        self._keeper.forget(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_drainer()

    def _interim(self, head: AnswerHead) -> None:
        if self._sent:
            self.deadline = self._clock() + self._timeouts.response
        if self.on_interim is not None:
            self.on_interim(head)

    def _note_progress(self) -> None:
        message = self._message
        if message.complete:
            self.deadline = math.inf
        elif message.held > HIGH_WATER:
            self.deadline = math.inf  # it is we who are silent
            if not self._paused:
                self._paused = True
                self._transport.pause_reading()
        elif message.head is not None:
            self.deadline = self._clock() + self._timeouts.idle

    def _resume(self) -> None:
        self._paused = False
        if self._open:
            self._transport.resume_reading()
            self._note_progress()

    def _end(self, *, clean: bool) -> None:
        """The backend is gone."""
        if not self._open:
            return
        if not self._message.heard and not self._message.complete:
            self._failure = self._unanswered()
        else:
            try:
                self._message.end(clean=clean)
            except Refusal as refusal:
                self._failure = (refusal.code, refusal.reason)
        self._drop()

    def _fail(self, code: str, reason: str) -> None:
        """End the exchange, unless it is over; whoever asks next is told."""
        if self._open and not self._message.complete:
            self._failure = (code, reason)
        self._drop()

    def _drop(self) -> None:
        self._open = False
        self.deadline = math.inf
        self._keeper.forget(self)
        self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        self._wake_reader()
        self._wake_drainer()

    def _wake_reader(self) -> None:
        if self._reader is not None:
            if not self._reader.done():
                self._reader.set_result(None)
        elif self._then is not None and not (self._message.head is None and self._failure is None):
            then, self._then = self._then, None
            then()

    def _wake_drainer(self) -> None:
        if self._drainer is not None and not self._drainer.done():
            self._drainer.set_result(None)

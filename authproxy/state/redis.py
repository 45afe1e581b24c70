"""The connection to Redis, the only one that a store or the records of a worker have: all calls of a round of the loop go
out together, and their answers come back in order. Only this module imports redis.

Nobody waits for Redis longer than `timeout`. Once a call was not answered in time, or the connection is lost, all fail at
once until it is there again; it is looked for at moments that chance chooses, so that many workers do not come together.
"""

import asyncio
import hashlib
import logging
import random
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio.connection import Connection
from redis.exceptions import (
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from authproxy.state.redis_access import RedisAccess
from authproxy.state.store import StateUnavailable

log = logging.getLogger(__name__)

Word = bytes | str | int | float

# Seconds between two tries to reach it, at least and at most: half of it to all of it, as chance has it.
PAUSE_FIRST, PAUSE_MOST = 0.1, 1.5
# How many timeouts it may take until a connection has said who it is and heard who answers.
STEPS_TO_CONNECT = 4
WAITING_MOST = 10_000
CANCEL_AGAIN = 0.05  # seconds
REASON_MOST = 300  # characters of what Redis says, in logs
# Answers that say that this server is no longer the one to ask.
ELSEWHERE = (ReadOnlyError, ClusterDownError)


class Script:
    """A step that Redis takes as one: Lua, named by its hash."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        # The name that Redis gives a script (EVALSHA); nothing depends on its strength.
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


class _Dialled(Connection):
    """redis-py's connection with a TLS context of ours, made when the configuration was read."""

    def __init__(self, tls: ssl.SSLContext | None, server_name: str | None, **options: Any) -> None:
        self._tls = tls
        self._server_name = server_name
        super().__init__(**options)

    def _connection_arguments(self) -> Mapping[str, Any]:
        found = dict(super()._connection_arguments())
        if self._tls is not None:
            found |= {"ssl": self._tls, "server_hostname": self._server_name or self.host}
        return found


class Redis:
    """A connection to Redis by `access`, made at the first call and kept from then on; it belongs to the running loop. `holds`
    says for what, in figures and messages.

    `epoch` changes when another server answers, which may not know all that the one before was told. `trouble` says why
    calls fail, None where they do not; `failures` counts calls that failed.
    """

    def __init__(self, access: RedisAccess, holds: str) -> None:
        self.access = access
        self.holds = holds
        self.epoch = 0
        self.trouble: str | None = None
        self.failures = 0
        self.warning: str | None = None
        self._server = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()  # the first try has come to something
        self._unsent: list[bytes] = []
        self._wanted = asyncio.Event()
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._late: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        return str(self.access.place)

    async def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[Word]) -> Any:
        """Take a step in Redis; what the script returns.

        Raises:
            StateUnavailable: it may have been taken or not; nothing may pass as though it had.
        """
        words = (len(keys), *keys, *arguments)
        try:
            return await self._ask("EVALSHA", script.digest, *words)
        except NoScriptError:  # it was started anew, or is another
            return await self.call("EVAL", script.text, *words)

    async def call(self, *command: Word) -> Any:
        """The answer to one command.

        Raises:
            StateUnavailable: there is none; the command may have been carried out or not.
        """
        try:
            return await self._ask(*command)
        except NoScriptError as error:
            raise self._unavailable(str(error)) from None

    def begin(self) -> None:
        """Connect, beside whatever else is done; nothing where that has begun."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        self.close()
        self._loop, self._settled, self._wanted = loop, asyncio.Event(), asyncio.Event()
        self._life = loop.create_task(self._live())

    def close(self) -> None:
        """Let go of the connection; the next call makes another one."""
        life, self._life, loop, self._loop = self._life, None, self._loop, None
        if life is not None and loop is not None and not loop.is_closed():
            life.cancel()
            self._leaving = life
        self._fail("it was closed")
        self.trouble = None

    async def ended(self) -> None:
        """Wait until nothing is left of what was closed."""
        if self._leaving is not None:
            await asyncio.wait([self._leaving])
            self._leaving = None

    async def _ask(self, *command: Word) -> Any:
        if self._loop is not asyncio.get_running_loop():
            self.begin()
        if not self._settled.is_set():
            await self._first_try()
        if self.trouble is not None:
            raise self._unavailable(self.trouble)
        if len(self._waiting) >= WAITING_MOST:
            raise self._unavailable(f"{WAITING_MOST} calls are waiting already")
        assert self._loop is not None
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._unsent.append(packed(command))
        self._wanted.set()
        end = self._loop.time() + self.access.timeout
        self._waiting.append((answer, end))
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._look_at_time)
        try:
            return await answer
        except NoScriptError:
            raise
        except ResponseError as error:
            raise self._unavailable(str(error)) from None

    async def _first_try(self) -> None:
        try:
            async with asyncio.timeout(self.access.timeout * STEPS_TO_CONNECT):
                await self._settled.wait()
        except TimeoutError:
            raise self._unavailable("it does not answer") from None

    def _unavailable(self, why: str) -> StateUnavailable:
        self.failures += 1
        return StateUnavailable(f"{self.name}: {why[:REASON_MOST]}")

    def _look_at_time(self) -> None:
        """The oldest call must have been answered by now: later ones come behind it, so there is one timer for all."""
        self._timer = None
        if not self._waiting or self._loop is None:
            return
        end = self._waiting[0][1]
        if end > self._loop.time():
            self._timer = self._loop.call_at(end, self._look_at_time)
        elif self._late is not None and not self._late.done():
            self._late.set_result(None)

    def _fail(self, why: str) -> None:
        """Nobody waits for what will not come."""
        waiting, self._waiting = self._waiting, deque()
        self._unsent = []
        for answer, _ in waiting:
            if not answer.done() and not answer.get_loop().is_closed():
                answer.set_exception(self._unavailable(why))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _live(self) -> None:
        """Connect, serve while that lasts, and again."""
        pause = PAUSE_FIRST
        while True:
            connection = None
            try:
                connection = await self._connect()
                if self._life is not asyncio.current_task():
                    return  # it was closed meanwhile, and redis-py lost that (see `_end`)
                pause = PAUSE_FIRST
                self._up()
                await self._serve(connection)
            except (RedisError, OSError, TimeoutError, StateUnavailable) as error:
                self._down(str(error) or "it does not answer in time")
            except Exception as error:
                log.exception("the connection to %s failed", self.name)
                self._down(type(error).__name__)
            finally:
                if connection is not None:
                    with suppress(Exception):
                        await connection.disconnect(nowait=True)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # nothing secret
            pause = min(pause * 2, PAUSE_MOST)

    def _up(self) -> None:
        if self.trouble is not None:
            log.warning("%s answers again", self.name)
        self.trouble = None
        self._settled.set()

    def _down(self, why: str) -> None:
        if self.trouble is None:
            log.warning("%s cannot be used: %s", self.name, why)
        self.trouble = why
        self._settled.set()
        self._fail(why)

    async def _serve(self, connection: Connection) -> None:
        """Send and receive until the connection is lost or a call is late; raises what ended it."""
        loop = asyncio.get_running_loop()
        self._late = late = loop.create_future()
        tasks = [loop.create_task(self._send(connection)), loop.create_task(self._receive(connection))]  # fmt: skip
        try:
            await asyncio.wait([*tasks, late], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            raise TimeoutError(f"no answer within {self.access.timeout:g} s")
        finally:
            await _end(tasks)

    async def _send(self, connection: Connection) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            batch, self._unsent = self._unsent, []
            if batch:
                await connection.send_packed_command(batch, check_health=False)

    async def _receive(self, connection: Connection) -> None:
        while True:
            answer: Any
            try:
                answer = await connection.read_response(timeout=float("inf"))
            except ResponseError as error:
                answer = error
            if not self._waiting:
                raise RedisError("an answer that nobody asked for")
            future, _ = self._waiting.popleft()
            if future.done():  # whoever asked has gone
                continue
            if isinstance(answer, ResponseError):
                future.set_exception(answer)
                if isinstance(answer, ELSEWHERE):
                    self._down(str(answer))  # before anybody else is sent there
                    raise answer
            else:
                future.set_result(answer)

    async def _connect(self) -> Connection:
        """A connection to a server that takes writes."""
        async with asyncio.timeout(self.access.timeout * STEPS_TO_CONNECT):
            access, place = self.access, self.access.place
            host, port = place.servers[0] if place.service is None else await self._discover()
            connection = self._dialled(host, port, access.username, access.password, place.database)
            try:
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own
                await self._meet(connection)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            return connection

    def _dialled(
        self, host: str, port: int, username: str | None, password: str | None, database: int = 0
    ) -> Connection:
        access = self.access
        return _Dialled(
            access.tls, access.server_name,
            host=host, port=port, db=database, username=username, password=password,
            socket_timeout=access.timeout, socket_connect_timeout=access.timeout, protocol=2,
            client_name="authproxy", driver_info=None,
        )  # fmt: skip

    async def _discover(self) -> tuple[str, int]:
        """Where the sentinels say that the service's primary is; they are asked in an order that chance has."""
        access, place = self.access, self.access.place
        errors = []
        for host, port in random.sample(place.servers, len(place.servers)):
            sentinel = self._dialled(host, port, access.sentinel_username, access.sentinel_password)
            try:
                await sentinel.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", place.service)
                found = await sentinel.read_response()
                if found:
                    return found[0].decode(), int(found[1])
                errors.append(f"{host}:{port} knows no `{place.service}`")
            except (RedisError, OSError) as error:
                errors.append(f"{host}:{port}: {error}")
            finally:
                await sentinel.disconnect(nowait=True)
        raise RedisError(f"no sentinel names a primary ({'; '.join(errors)})")

    async def _meet(self, connection: Connection) -> None:
        """Learn who answers: whether it takes writes, whether it is the one of before, and whether it keeps what it has."""
        try:
            await connection.send_command("INFO")
            told = _facts(await connection.read_response())
        except NoPermissionError:  # by its ACL; a write will show whether it is a primary
            told = {}
        if told.get("role", "master") != "master":
            raise RedisError(f"{connection.host}:{connection.port} is a replica")
        server = told.get("run_id", "")
        if not server or server != self._server:
            self.epoch += 1
        self._server = server
        policy = told.get("maxmemory_policy", "noeviction")
        evicts = told.get("maxmemory", "0") != "0" and policy != "noeviction"
        self.warning = f"maxmemory-policy is {policy}: when its memory is full it forgets revocations and sessions; set noeviction" if evicts else None  # fmt: skip
        if self.warning:
            log.warning("%s: %s", self.name, self.warning)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel the tasks until they have ended.

    Once may not be enough: redis-py sends with `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes
    at the moment when it is done (python/cpython#81839), and whoever then waits for the task waits for ever.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)  # what they raised has been said


def _facts(info: bytes) -> dict[str, str]:
    """INFO's lines, `name:value`."""
    lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def packed(command: Sequence[Word]) -> bytes:
    """A command in Redis's protocol (RESP: an array of bulk strings)."""
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        octets = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(octets), octets))
    return b"".join(parts)

"""Where a worker is asked what it remembers of a request, and what is left of limits: a Unix socket of its own in the state
directory, for the proxy's user and root only.

Who asks is told by the kernel, whatever the mode of the file. An answer is a line of JSON; there is nothing that a question
could change. A worker whose socket cannot be made serves all the same.
"""

import asyncio
import contextlib
import logging
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import orjson

from authproxy.model.rate import MOVING_WINDOW_MOST, STRATEGIES, Balance, Charge, Rate
from authproxy.state.store import StateUnavailable
from authproxy.telemetry.access_log import escaped_line
from authproxy.telemetry.decision_log import LONG
from authproxy.telemetry.trail import Trail

log = logging.getLogger(__name__)

Peek = Callable[[Sequence[Charge], float], Awaitable[list[Balance]]]
ASKED_MOST = 16 << 10  # bytes of a question: an id, or some limits
CHARGES_MOST = 64
AMOUNT_MOST, WINDOW_MOST = 10**9, 10**4 * 86_400  # more than any limit can say
KEY_BYTES = 16
ANSWER_MOST = 64 << 10
PATIENCE = 2.0  # seconds for a question to arrive, and for its answer to be taken
AT_ONCE_MOST = 8
PATTERN = "trail-*.sock"
_ROOT = 0


class TrailSocket:
    """Answers questions about the trail that `trail` gives, which is another one after a reload, or None; and about limits,
    as `peek` says what is left of them.
    """

    def __init__(self, folder: Path, trail: Callable[[], Trail | None], peek: Peek) -> None:
        self._folder = folder
        self._trail = trail
        self._peek = peek
        self._name = f"trail-{os.getpid()}-{os.urandom(4).hex()}.sock"
        self._server: asyncio.Server | None = None
        self._answering = 0

    async def start(self) -> None:
        """Take questions, if a socket can be made."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _inside(self._folder) as folder:
                _sweep(folder)
                sock = _bound(folder / self._name)
            self._server = await asyncio.start_unix_server(
                self._answer, sock=sock, limit=ASKED_MOST
            )
        except OSError as error:
            log.warning("`policy explain --request-id` cannot ask this worker: %s: %s", self._folder, (error.strerror or str(error)).lower())  # fmt: skip

    async def close(self) -> None:
        """Take no more, and leave no file behind."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                (self._folder / self._name).unlink()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._answering += 1
        writer.transport.set_write_buffer_limits(0)  # `drain` waits until nothing is left here
        try:
            if self._answering <= AT_ONCE_MOST and _is_ours(writer.get_extra_info("socket")):
                async with asyncio.timeout(PATIENCE):
                    question = orjson.loads(await reader.readline())
                    asks_limits = isinstance(question, dict)
                    writer.write(
                        await self._left(question) if asks_limits else self._told(question)
                    )
                    await writer.drain()
        except TimeoutError:
            writer.transport.abort()  # `close` would wait for whoever does not read
        except (OSError, ValueError, struct.error):
            pass  # whoever asks so is told nothing; the last is a key that is counted by another strategy
        finally:
            self._answering -= 1
            writer.close()

    async def _left(self, question: dict[str, object]) -> bytes:
        """What is left of the limits: for each [granted, remaining, reset].

        Raises:
            ValueError: it is no question about limits.
        """
        try:
            return escaped_line({"balances": await self._peek(_charges(question), time.time())})
        except StateUnavailable as error:
            return escaped_line({"balances": None, "why": str(error)[:500]})

    def _told(self, request_id: object) -> bytes:
        """What is remembered of the request with this id."""
        trail = self._trail()
        found = None if trail is None else trail.find(request_id)
        told = {"keeps": 0 if trail is None else trail.most, "held": 0 if trail is None else len(trail), "found": found}  # fmt: skip
        line = escaped_line(told)
        if len(line) > ANSWER_MOST and found is not None:
            # As in the decision log: a record with its longest parts left out, and that said.
            cut = {k: v for k, v in (found["record"] or {}).items() if k not in LONG}
            line = escaped_line({**told, "found": {**found, "record": {**cut, "withheld": LONG}}})
        return line


def _charges(question: dict[str, object]) -> list[Charge]:
    asked = question.get("charges")
    if not isinstance(asked, list) or len(asked) > CHARGES_MOST:
        raise ValueError("no charges")
    return [_charge(one) for one in asked]


def _charge(one: object) -> Charge:
    match one:
        case [str(key), int(amount), int(window), str(strategy), int(cost)] if (
            strategy in STRATEGIES and 1 <= window <= WINDOW_MOST
            # As in policies: a moving window remembers each unit, and to weigh more than it lets pass takes the memory.
            and 1 <= cost <= amount <= (MOVING_WINDOW_MOST if strategy == "moving-window" else AMOUNT_MOST)
        ):  # fmt: skip
            of_limit = bytes.fromhex(key)
            if len(of_limit) == KEY_BYTES:
                return Charge(of_limit, Rate(amount, window), strategy, cost)
    raise ValueError("no charge")


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[Path]:
    """The folder by a short name: the path of a socket may have 107 bytes (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _bound(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            found.bind(str(path))
        finally:
            os.umask(before)
        found.listen(AT_ONCE_MOST)
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found


def _sweep(folder: Path) -> None:
    """Remove what workers that died left behind: sockets where nobody answers."""
    for path in folder.glob(PATTERN):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()


def _is_ours(sock: socket.socket) -> bool:
    """Does our own user ask, or root (unix(7), SO_PEERCRED)?"""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return user in {_ROOT, os.geteuid()}

"""One listening socket for all workers, or one for each (SO_REUSEPORT): which spreads better, waits less and loses less?

    python -m bench.accept [--rounds 5]

The workers are the least that a worker can be: uvloop, `create_server(sock=…)` as ours has it, and some 100 µs of work a
request. Rounds take turns between the two ways, so that what else the machine does falls on both; the medians are shown.
"""

import argparse
import asyncio
import multiprocessing
import os
import signal
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import uvloop

WAYS = ("shared", "reuseport")
WORKERS = (2, 4)
BACKLOG = 1024
WORK = 100e-6  # seconds of a core that a request costs
REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
HELD = 64  # connections that are opened and kept
CLIENTS = 32  # that connect anew for each request
SECONDS = 3.0


class Worker(asyncio.Protocol):
    """Answers each request with the number of its process, after some work."""

    answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody came."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, _data: bytes) -> None:
        """A request is one piece here."""
        end = time.perf_counter() + WORK
        while time.perf_counter() < end:
            pass
        self.transport.write(self.answer)


def bound(*, reuse: bool, port: int = 0) -> socket.socket:
    """A listening socket."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def serve(sock: socket.socket, others: Sequence[socket.socket]) -> None:
    """Be a worker, for ever; a socket of another one would outlive that one here, with nobody who accepts."""
    for other in others:
        other.close()
    body = str(os.getpid()).encode()
    Worker.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def main() -> None:
        await asyncio.get_running_loop().create_server(Worker, sock=sock, backlog=BACKLOG)
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@contextmanager
def workers(way: str, count: int) -> Iterator[tuple[int, list[int]]]:
    """So many of them; the port, and their processes."""
    socks = [bound(reuse=way == "reuseport")]
    port = socks[0].getsockname()[1]
    if way == "reuseport":
        socks += [bound(reuse=True, port=port) for _ in range(count - 1)]
    fork = multiprocessing.get_context("fork")
    started = []
    for number in range(count):
        own = socks[number % len(socks)]
        others = [sock for sock in socks if sock is not own]
        started.append(fork.Process(target=serve, args=(own, others)))
    for process in started:
        process.start()
    for sock in socks:
        sock.close()
    time.sleep(0.3)
    try:
        yield port, [process.pid or 0 for process in started]
    finally:
        for process in started:
            process.kill()
            process.join()


@dataclass
class Seen:
    """What clients saw: who answered, how long it took from connecting on, and how often nobody did."""

    by: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def milliseconds(self, share: float) -> float:
        """What this share of the requests did not exceed."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))] * 1000


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """One request: who answered it."""
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    return int(await reader.readexactly(int(head.partition(b"Length: ")[2])))


async def kept(port: int, seen: Seen) -> None:
    """Connections that are opened one after the other as clients come, and ask some forty times a second each."""

    async def client(number: int) -> None:
        await asyncio.sleep(number * 0.005)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        end = time.monotonic() + SECONDS
        seen.by[await ask(reader, writer)] += 1
        while time.monotonic() < end:
            began = time.perf_counter()
            await ask(reader, writer)
            seen.seconds.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)
        writer.close()

    await asyncio.gather(*(client(number) for number in range(HELD)))


async def short(port: int, seen: Seen, victim: int = 0) -> None:
    """A connection for each request, from clients that never stop; `victim` is killed in the middle."""
    end = time.monotonic() + SECONDS

    async def client() -> None:
        while time.monotonic() < end:
            began = time.perf_counter()
            try:
                async with asyncio.timeout(5):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    seen.by[await ask(reader, writer)] += 1
                    writer.close()
            except (OSError, asyncio.IncompleteReadError) as error:
                seen.failed[type(error).__name__] += 1
            else:
                seen.seconds.append(time.perf_counter() - began)

    async def kill() -> None:
        await asyncio.sleep(SECONDS / 2)
        if victim:
            os.kill(victim, signal.SIGKILL)

    await asyncio.gather(kill(), *(client() for _ in range(CLIENTS)))


def measured(way: str, count: int, kind: str) -> Seen:
    """One round."""
    seen = Seen()
    with workers(way, count) as (port, pids), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # fmt: skip
        if kind == "kept":
            runner.run(kept(port, seen))
        else:
            runner.run(short(port, seen, pids[0] if kind == "killed" else 0))
    return seen


def spread(seen: Seen, count: int) -> float:
    """The share of the busiest worker, where 1 is its fair one."""
    return max(seen.by.values()) * count / seen.by.total()


def median(numbers: Sequence[float]) -> float:
    """Of the rounds."""
    return statistics.median(numbers)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print("| workers | what | sockets | busiest worker (1 is fair) | p50 ms | p99 ms | requests | failed |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for count in WORKERS:
        for kind in ("kept", "short", "killed"):
            found: dict[str, list[Seen]] = {way: [] for way in WAYS}
            for _ in range(rounds):
                for way in WAYS:
                    found[way].append(measured(way, count, kind))
            for way, seen in found.items():
                print(
                    f"| {count} | {kind} | {way} | {median([spread(s, count) for s in seen]):.2f}"
                    f" | {median([s.milliseconds(0.5) for s in seen]):.2f}"
                    f" | {median([s.milliseconds(0.99) for s in seen]):.2f}"
                    f" | {median([len(s.seconds) for s in seen]):.0f}"
                    f" | {median([s.failed.total() for s in seen]):.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()

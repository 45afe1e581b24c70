"""A worker: opens what it serves with, serves until it is told to stop, drains, and ends.

Everything periodic is one timer: connection clocks, log flushes, the store's sweep. Only what may wait for the disk has
another (upkeep.py).
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from aiohttp import web

from authproxy.model.errors import ConfigError
from authproxy.model.rate import Balance, Charge
from authproxy.model.target import forget_paths
from authproxy.runtime import Runtime
from authproxy.server import descriptors
from authproxy.server.figures import bring_figures, reached, state_troubles
from authproxy.server.key_refresh import KeyRefresh
from authproxy.server.leaving import end_sessions_of_who_left
from authproxy.server.listeners import Listeners, Listening
from authproxy.server.loop import run
from authproxy.server.memory import give_back_memory
from authproxy.server.notify import Lifecycle
from authproxy.server.reload import Prepared, Watch
from authproxy.server.supervisor import AT_ONCE, DRAIN, ROTATE
from authproxy.server.tending import Tending
from authproxy.server.trail_socket import TrailSocket
from authproxy.server.upkeep import Upkeep
from authproxy.state.store import StateUnavailable
from authproxy.telemetry.exposition import exposition
from authproxy.telemetry.line_log import LineLog
from authproxy.telemetry.metrics import Metrics, Pages
from authproxy.telemetry.rates import Rates
from authproxy.telemetry.reload_record import last_reload
from authproxy.web.admin import admin_app
from authproxy.web.listener import Server
from authproxy.web.status import Facts, Place
from authproxy.web.tunnel import GOING_AWAY

log = logging.getLogger(__name__)

TICK = 0.2
LOOK_AT_FILES = 0.5
SWEEP_KEYS = 200
RETIRED_MOST = 8
GIVE_BACK = 60.0  # seconds between two times
CLOSE_PATIENCE = 0.5  # seconds for what is written to leave


class Worker:
    """Serves the listeners with a runtime, until another one replaces it.

    `reloads` makes the next runtime from the current one, `pages` holds what all workers count, `number` is our slot
    there; `lifecycle` is told how we are, and `trails` is the folder where the last requests are asked for. A worker that is not `main` has a supervisor, whose signals it takes.
    """

    def __init__(
        self,
        runtime: Runtime,
        listening: Sequence[Listening],
        admin: socket.socket | None,
        *,
        reloads: Callable[[Runtime], Prepared],
        pages: Pages,
        number: int = 0,
        watch: Watch | None = None,
        lifecycle: Lifecycle | None = None,
        main: bool = True,
        trails: Path | None = None,
    ) -> None:
        self._runtime = runtime
        self._reloads = reloads
        self._pages = pages
        self._metrics = Metrics(pages, number)
        self._rates = Rates(pages)
        self._last_reload = pages.reloads[number]
        self._last_reload.clear()
        self._place = Place(number, os.getpid(), time.time(), pages.workers)
        self._upkeep = Upkeep(runtime.records, runtime.revocations, self._look_at_streams)
        self._watch = watch
        self._descriptors = descriptors.Watch()
        self._lifecycle = lifecycle
        self._main = main
        self._reloading = asyncio.Lock()
        self._reader = ThreadPoolExecutor(1, "reload")
        self._asked = False  # for a reload that has not begun
        self._retired: list[LineLog] = []  # what requests under way still write to
        self._tasks: set[asyncio.Task[None]] = set()
        self._keys = KeyRefresh(self._metrics)
        self._tending = Tending()
        self._trail = (
            TrailSocket(trails, lambda: self._runtime.trail, self._peek) if trails else None
        )
        self._next_look = 0.0
        self._next_give_back = 0.0
        self._listeners = Listeners(listening)
        self._admin = admin
        self._servers = self._listeners.servers
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._unready: str | None = "starting"

    async def run(self, announce: Callable[[], None]) -> None:
        """Serve; `announce` is called once requests are taken. Ends after a signal and the drain that follows."""
        loop = asyncio.get_running_loop()
        self._open_store()
        await self._upkeep.turn()
        self._runtime.open_pools()
        await self._keys.follow(self._runtime)
        if self._runtime.traces is not None:
            self._runtime.traces.exporter.start()
        self._tending.follow(self._runtime.authenticators)
        admin = await self._start_admin()
        if self._trail is not None:
            await self._trail.start()
        await self._listeners.start(self._runtime, self._metrics)
        self._measure()
        self._metrics.set("authproxy_config_reload_success", 1.0)
        self._take_signals(loop)
        periodic = [loop.create_task(self._tick()), loop.create_task(self._upkeep.run())]
        self._unready = None
        announce()
        try:
            await self._stopping.wait()
            await self._drain()
        finally:
            for task in periodic:
                task.cancel()
            await self._close(admin)

    async def _peek(self, charges: Sequence[Charge], now: float) -> list[Balance]:
        return await self._runtime.limiter.peek(charges, now)

    def _open_store(self) -> None:
        try:
            self._runtime.store.open()
        except StateUnavailable as error:
            # Routes without limits of their own go on; the others answer 503 until the store is back.
            log.warning("the state store cannot be opened: %s", error)

    def _take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._main:
            loop.add_signal_handler(signal.SIGTERM, self.stop)
            loop.add_signal_handler(signal.SIGINT, self.stop)
        else:
            loop.add_signal_handler(DRAIN, self._stopping.set)
            loop.add_signal_handler(AT_ONCE, self._end_at_once)
            loop.add_signal_handler(ROTATE, self._rotate)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        # Whoever started us may hold them back until now, so that none is lost. A worker's SIGINT stays so: from a
        # terminal it goes to all of us, and the supervisor's word is what counts.
        last = signal.SIGINT if self._main else ROTATE
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGHUP, last})

    def _rotate(self) -> None:
        for lines in self._runtime.logs:
            lines.rotate()  # its file may have been moved away

    def _end_at_once(self) -> None:
        self._at_once.set()
        self._stopping.set()

    def stop(self) -> None:
        """Drain and end; asked again, end at once. What SIGTERM and SIGINT do."""
        if self._stopping.is_set():
            self._at_once.set()
        self._stopping.set()

    def reload(self) -> None:
        """Read everything again and serve with it, or say why not and go on as before. What SIGHUP does."""
        if self._asked:
            return  # one that has not begun will read what is there now
        self._asked = True
        task = asyncio.get_running_loop().create_task(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        async with self._reloading:
            self._asked = False
            if self._lifecycle is not None:
                self._lifecycle.reloading()
            success = await self._load_anew()
            if not success:
                self._rotate()
            self._metrics.set("authproxy_config_reload_success", float(success))
            if self._lifecycle is not None:
                self._lifecycle.reloaded()

    async def _load_anew(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            # In a thread: reading thousands of routes must not keep requests waiting. In one of its own: what it needs
            # for a moment, malloc would else keep for each of the threads that it happened to be in.
            prepared = await loop.run_in_executor(self._reader, self._reloads, self._runtime)
            await self._take_over(prepared)
        except ConfigError as error:
            for problem in error.problems:
                log.error("not reloaded: %s", problem)  # noqa: TRY400  # the problem says it all
            self._last_reload.note(time.time(), error.problems, success=False)
            return False
        except Exception:
            log.exception("not reloaded")
            self._last_reload.note(time.time(), success=False)
            return False
        self._last_reload.note(time.time(), success=True)
        log.info("reloaded %s", prepared.file)
        return True

    async def _take_over(self, prepared: Prepared) -> None:
        previous, runtime = self._runtime, prepared.runtime
        bring_figures(previous, self._metrics)  # what is not taken over counts no further
        unneeded = runtime.open_pools(previous)
        for lines in previous.logs:
            if lines in runtime.logs:
                lines.rotate()
            else:
                self._retire(lines)
        self._runtime = runtime
        forget_paths()
        await self._listeners.take_over(runtime, prepared.certificates)
        self._tending.follow(runtime.authenticators)
        for pool in unneeded:
            await pool.close()
        await self._keys.follow(runtime)
        await end_sessions_of_who_left(previous, runtime)
        await self._swap_traces(previous)

    async def _swap_traces(self, previous: Runtime) -> None:
        before, now = previous.traces, self._runtime.traces
        if before is now:
            return
        if now is not None:
            now.exporter.start()
        if before is not None:
            await asyncio.to_thread(before.exporter.close)  # it sends what waits

    def _retire(self, lines: LineLog) -> None:
        """Requests under way still write to it; only so many are kept open."""
        self._retired.append(lines)
        if len(self._retired) > RETIRED_MOST:
            self._retired.pop(0).close()

    async def _start_admin(self) -> web.AppRunner | None:
        if self._admin is None:
            return None
        scrape = partial(exposition, self._pages)
        runner = web.AppRunner(
            admin_app(self._why_unready, scrape, self._facts, self._troubles),
            access_log=None,
            handle_signals=False,
        )
        await runner.setup()
        await web.SockSite(runner, self._admin).start()
        return runner

    def _troubles(self) -> Iterator[str]:
        yield from self._keys.troubles()
        yield from state_troubles(self._runtime)

    def _why_unready(self) -> str | None:
        return self._unready or self._keys.unready() or self._upkeep.unready

    def _facts(self) -> Generator[None, None, Facts]:
        """What `/status` is made of, in many steps."""
        totals = yield from self._pages.totals()
        return Facts(
            now=time.time(),
            started=self._pages.started,
            place=self._place,
            unready=self._why_unready(),
            listeners=[(server.name, server.tls) for server in self._servers],
            totals=totals,
            minute=self._rates.minute(),
            reload=last_reload(self._pages.reloads),
            runtime=self._runtime,
        )

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK)
            if self._lifecycle is not None:
                self._lifecycle.alive()
            try:
                for lines in (*self._runtime.logs, *self._retired):
                    lines.flush()
                for server in self._servers:
                    server.sweep(loop.time())
                self._look_at_streams()
                self._descriptors.look()
                self._measure()
                self._look_at_files(loop.time())
                self._look_after_memory(loop.time())
                self._runtime.store.sweep(time.time(), SWEEP_KEYS)
            except StateUnavailable:
                continue
            except Exception:
                log.exception("a periodic task failed")

    def _look_at_streams(self) -> None:
        now, revocations = time.time(), self._runtime.revocations
        for server in self._servers:
            for stream in tuple(server.streams):
                stream.look(now, revocations)

    def _measure(self) -> None:
        """Bring what is not counted by the request up to date."""
        self._metrics.set_connections(self._listeners.counts())
        self._metrics.set("authproxy_revocations", len(self._runtime.revocations))
        bring_figures(self._runtime, self._metrics)
        self._rates.sample(time.monotonic())

    def _look_at_files(self, now: float) -> None:
        if self._watch is None or now < self._next_look or self._asked or self._reloading.locked():
            return
        self._next_look = now + LOOK_AT_FILES
        if self._watch.changed():
            self.reload()

    def _look_after_memory(self, now: float) -> None:
        if now >= self._next_give_back:
            self._next_give_back = now + GIVE_BACK
            give_back_memory()

    async def _drain(self) -> None:
        """Stop taking connections, let what is under way finish for `bounds.drain`, then end it."""
        bounds = self._runtime.config.bounds
        self._unready = "draining"
        if self._lifecycle is not None:
            self._lifecycle.stopping()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bounds.drain_delay):
                await self._at_once.wait()
        self._listeners.stop()
        for server in self._servers:
            server.draining = True
            for tunnel in list(server.tunnels):
                tunnel.end(GOING_AWAY)
        loop = asyncio.get_running_loop()
        end = loop.time() + bounds.drain
        while loop.time() < end and not self._at_once.is_set():
            if not sum(server.close_idle(loop.time()) for server in self._servers):
                break
            await asyncio.sleep(0.05)

    async def _close(self, admin: web.AppRunner | None) -> None:
        self._listeners.stop()
        await self._listeners.end()
        await self._end_connections()
        await self._keys.close()
        await self._tending.close()
        for pool in self._runtime.pools.values():
            await pool.close()
        if self._runtime.traces is not None:
            await asyncio.to_thread(self._runtime.traces.exporter.close)
        if admin is not None:
            await admin.cleanup()
        if self._trail is not None:
            await self._trail.close()
        for lines in (*self._runtime.logs, *self._retired):
            lines.close()
        await self._runtime.sessions.close()
        self._runtime.checks.close()
        self._reader.shutdown(wait=False)
        self._runtime.store.close()
        self._runtime.records.close()
        for redis in reached(self._runtime):
            await redis.ended()

    async def _end_connections(self) -> None:
        """Cut what is left, and wait until it has ended: each request under way still writes its line of the log."""
        for cut in (Server.force_close, Server.abort):
            for server in self._servers:
                cut(server)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_PATIENCE):
                    while any(server.count for server in self._servers):  # noqa: ASYNC110  # aiohttp has no event for it
                        await asyncio.sleep(0.01)


def run_worker(make: Callable[[], Worker], announce: Callable[[], None]) -> None:
    """Run a worker on a loop of its own until it has drained."""
    run(lambda: make().run(announce))

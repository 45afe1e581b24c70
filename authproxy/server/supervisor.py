"""The parent of several workers: starts them, starts again what ends, passes signals on, and asks before a reload.

It serves nothing and has no event loop; it waits for signals. Sockets are bound and counters' pages made before the
first fork, so that a worker that dies takes none of them along.
"""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
LOOK = 1.0  # seconds between two looks at the files
STEADY = 10.0  # a worker that lived so long did not die of its start
DELAYS = (
    0.0,
    0.1,
    0.5,
    1.0,
    2.0,
    4.0,
)  # before a worker is started again, by how often it died young
READY = b"r"


@dataclass(slots=True)
class Child:
    """A worker's place: its number, the process in it, and how its starts went."""

    number: int
    pid: int = 0
    started: float = 0.0
    young_deaths: int = 0
    start_at: float = 0.0


class Supervisor:
    """Runs `count` workers.

    Args:
        count: how many.
        work: what a child does, given its number and what to call once it is ready; the process ends with it.
        announce: called once, when all workers are ready for the first time.
        admit: asked before a reload is passed on to the workers; False keeps them as they are.
        changed: have the files changed since they were loaded?
    """

    def __init__(
        self,
        count: int,
        work: Callable[[int, Callable[[], None]], None],
        *,
        announce: Callable[[], None],
        admit: Callable[[], bool],
        changed: Callable[[], bool],
    ) -> None:
        self._children = [Child(number) for number in range(count)]
        self._work = work
        self._announce = announce
        self._admit = admit
        self._changed = changed
        self._stopping = False
        self._ready = 0
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> int:
        """Until told to stop and all workers have ended; the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for child in self._children:
            self._start(child)
        while not self._stopping or any(child.pid for child in self._children):
            found = signal.sigtimedwait(SIGNALS, self._patience())
            if found is not None:
                self._handle(signal.Signals(found.si_signo))
            self._reap()
            self._note_ready()
            if not self._stopping:
                self._look_after()
        return 0

    def _patience(self) -> float:
        due = [c.start_at - time.monotonic() for c in self._children if not c.pid]
        waiting = LOOK if self._ready >= len(self._children) else 0.02
        return max(0.0, min([waiting, *due])) if not self._stopping else 0.1

    def _handle(self, number: signal.Signals) -> None:
        if number in {signal.SIGTERM, signal.SIGINT}:
            self._stopping = True
            self._tell(signal.SIGTERM)
        elif number is signal.SIGHUP and not self._stopping:
            self._reload()

    def _tell(self, number: signal.Signals) -> None:
        for child in self._children:
            if child.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, number)

    def _reload(self) -> None:
        if self._admit():
            self._tell(signal.SIGHUP)

    def _look_after(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid and now >= child.start_at:
                self._start(child)
        if self._changed():
            self._reload()

    def _start(self, child: Child) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._become(child.number)
        child.pid, child.started = pid, time.monotonic()

    def _become(self, number: int) -> None:
        """The child's life; it never returns."""
        status = 1
        try:
            for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self._work(number, self._tell_ready)
            status = 0
        except Exception:
            log.exception("worker %d failed", number)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _tell_ready(self) -> None:
        """What a child calls once it serves."""
        os.write(self._writer, READY)

    def _note_ready(self) -> None:
        if self._ready >= len(self._children):
            return
        with contextlib.suppress(BlockingIOError):
            self._ready += len(os.read(self._reader, 1024))
        if self._ready >= len(self._children):
            self._announce()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = next((c for c in self._children if c.pid == pid), None)
            if child is not None:
                self._buried(child, status)

    def _buried(self, child: Child, status: int) -> None:
        pid, child.pid = child.pid, 0
        if self._stopping:
            return
        now = time.monotonic()
        child.young_deaths = 0 if now - child.started > STEADY else child.young_deaths + 1
        delay = DELAYS[min(child.young_deaths, len(DELAYS) - 1)]
        child.start_at = now + delay
        log.error(
            "worker %d (pid %d) %s; starting it again in %.1f s",
            child.number,
            pid,
            _why(status),
            delay,
        )


def _why(status: int) -> str:
    """How a process ended, in plain words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hint = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"was killed by {signal.Signals(number).name}{hint}"
    return f"ended with exit status {os.waitstatus_to_exitcode(status)}"

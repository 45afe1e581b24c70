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

from authproxy.server.notify import Lifecycle

log = logging.getLogger(__name__)

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
# What a worker is told with. Not a second SIGTERM: systemd and terminals send theirs to the whole group, and a drain
# that was asked for twice by accident would be none.
DRAIN, AT_ONCE = signal.SIGTERM, signal.SIGUSR1
ROTATE = signal.SIGUSR2  # what is left of a reload that was refused: logs may have been moved away
LOOK = 0.5  # seconds between two looks at the files
STEADY = 10.0  # a worker that lived so long did not die of its start
DELAYS = (0.0, 0.1, 0.5, 1.0, 2.0, 4.0)  # before the next start, by how often it died young
TRIES = 3  # a worker that never served and died so often will not serve
RELOAD_MOST = 30.0  # seconds for the workers to have taken a reload over
AT_ONCE_MOST = 3.0  # seconds for a worker that was told to end at once
READY, RELOADED = b"r", b"l"


@dataclass(slots=True)
class Child:
    """A worker's place: its number, the process in it, and how its starts went."""

    number: int
    pid: int = 0
    started: float = 0.0
    young_deaths: int = 0
    start_at: float = 0.0
    served: bool = False  # was it ever ready?
    reloads: bool = False  # is it taking a reload over?


class Report:
    """What a worker tells its supervisor, which is the process `supervisor`: two bytes in a pipe for each turn of its life."""

    def __init__(self, writer: int, number: int, supervisor: int) -> None:
        self._writer = writer
        self._number = bytes([number])
        self._supervisor = supervisor

    def ready(self) -> None:
        """It serves."""
        os.write(self._writer, READY + self._number)

    def reloading(self) -> None:
        """Nothing: the supervisor told it to."""

    def reloaded(self) -> None:
        """It serves with what it was told to load, or goes on as before."""
        with contextlib.suppress(OSError):  # the supervisor may be gone, or too busy to care
            os.write(self._writer, RELOADED + self._number)

    def stopping(self) -> None:
        """Nothing: the supervisor told it to, or sees it end."""

    def alive(self) -> None:
        """The supervisor sees it end; where that has ended itself, nobody is left who could start, reload or stop us."""
        # Asked here, as a thread that waits for it costs every request: malloc and the kernel's calls then lock.
        if self._supervisor and os.getppid() != self._supervisor:
            self._supervisor = 0
            log.error("the supervisor is gone; worker (pid %d) drains and ends", os.getpid())
            os.kill(os.getpid(), DRAIN)


class Supervisor:
    """Runs `count` workers.

    Args:
        count: how many, at most 256.
        work: what a child does, given its number and where to report; the process ends with it.
        announce: called once, when all workers are ready for the first time.
        admit: asked before a reload is passed on to the workers; False keeps them as they are.
        changed: have the files changed since they were loaded?
        buried: called with the number of a worker that has ended.
        lifecycle: who is told how we are.
        patience: seconds for a drain; a worker that takes longer is killed.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[int, Report], None],
        *,
        announce: Callable[[], None],
        admit: Callable[[], bool],
        changed: Callable[[], bool],
        buried: Callable[[int], None],
        lifecycle: Lifecycle,
        patience: float,
    ) -> None:
        self._children = [Child(number) for number in range(count)]
        self._work = work
        self._announce = announce
        self._admit = admit
        self._changed = changed
        self._tell_burial = buried
        self._lifecycle = lifecycle
        self._patience = patience
        self._stopping = self._announced = self._failed = False
        self._kill_at = 0.0  # when what has not ended is killed
        self._reload_most = 0.0  # when a reload under way counts as ended; 0: none is
        self._next_look = 0.0
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> int:
        """Until told to stop and all workers have ended; the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {*SIGNALS, ROTATE})
        for child in self._children:
            self._start(child)
        while not self._stopping or any(child.pid for child in self._children):
            found = signal.sigtimedwait(SIGNALS, self._pause())
            if found is not None:
                self._handle(signal.Signals(found.si_signo))
            self._lifecycle.alive()
            self._hear()
            self._reap()
            if self._stopping:
                self._press()
            else:
                self._look_after()
        return int(self._failed)

    def _pause(self) -> float:
        """How long to wait for a signal, at most; systemd's watchdog must be able to see us alive meanwhile."""
        if self._stopping:
            return 0.1
        due = [c.start_at - time.monotonic() for c in self._children if not c.pid]
        quick = not self._announced or self._reload_most
        return max(0.0, min([0.02 if quick else 0.2, *due]))

    def _handle(self, number: signal.Signals) -> None:
        if number in {signal.SIGTERM, signal.SIGINT}:
            self._stop()
        elif number is signal.SIGHUP and not self._stopping:
            self._reload()

    def _stop(self) -> None:
        """Drain; asked again, end at once."""
        again, self._stopping = self._stopping, True
        if not again:
            self._lifecycle.stopping()
        self._kill_at = time.monotonic() + (AT_ONCE_MOST if again else self._patience)
        self._tell(AT_ONCE if again else DRAIN)

    def _press(self) -> None:
        """Kill what does not end."""
        if time.monotonic() >= self._kill_at:
            for child in self._children:
                if child.pid:
                    log.error("worker %d (pid %d) does not end; killed", child.number, child.pid)
            self._tell(signal.SIGKILL)
            self._kill_at = time.monotonic() + AT_ONCE_MOST

    def _tell(self, number: signal.Signals) -> None:
        for child in self._children:
            if child.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, number)

    def _reload(self) -> None:
        self._lifecycle.reloading()
        self._reload_most = time.monotonic()
        if self._admit():
            self._reload_most += RELOAD_MOST
            for child in self._children:
                child.reloads = bool(child.pid)
            self._tell(signal.SIGHUP)
        else:
            self._tell(ROTATE)

    def _look_after(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid and now >= child.start_at:
                self._start(child)
        if self._reload_most and (
            now >= self._reload_most or not any(child.reloads for child in self._children)
        ):
            self._reload_most = 0.0
            self._lifecycle.reloaded()
        if now >= self._next_look:
            self._next_look = now + LOOK
            if self._changed():
                self._reload()

    def _start(self, child: Child) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        own = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(child.number, own)
        child.pid, child.started = pid, time.monotonic()

    def _become(self, number: int, supervisor: int) -> None:
        """The child's life; it never returns. Signals wait until the worker has its handlers, so none is lost."""
        status = 1
        try:
            signal.signal(AT_ONCE, signal.SIG_DFL)
            self._work(number, Report(self._writer, number, supervisor))
            status = 0
        except Exception:
            log.exception("worker %d failed", number)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _hear(self) -> None:
        """What the workers report."""
        said = b""
        with contextlib.suppress(BlockingIOError):
            said = os.read(self._reader, 4096)
        for at in range(0, len(said), 2):
            child = self._children[said[at + 1]]
            if said[at : at + 1] == READY:
                child.served = True
            else:
                child.reloads = False
        if not self._announced and all(child.served for child in self._children):
            self._announced = True
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
        pid, child.pid, child.reloads = child.pid, 0, False
        self._tell_burial(child.number)
        name, why = f"worker {child.number} (pid {pid})", _why(status)
        if self._stopping:
            if status:
                log.error("%s %s", name, why)
            return
        now = time.monotonic()
        child.young_deaths = 0 if now - child.started > STEADY else child.young_deaths + 1
        if not child.served and child.young_deaths >= TRIES:
            log.error("%s %s; it cannot be started, so all end", name, why)
            self._failed = True
            self._stop()
            return
        delay = DELAYS[min(child.young_deaths, len(DELAYS) - 1)]
        child.start_at = now + delay
        log.error("%s %s; starting it again in %.1f s", name, why, delay)


def _why(status: int) -> str:
    """How a process ended, in plain words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hint = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"was killed by {signal.Signals(number).name}{hint}"
    return f"ended with exit status {os.waitstatus_to_exitcode(status)}"

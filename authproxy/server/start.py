"""From a configuration to a serving program: bind, compile, then one worker in this process, or several under a supervisor."""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from authproxy.config.load import Loaded
from authproxy.model.errors import ConfigError, Problem
from authproxy.runtime import Runtime, compile_runtime
from authproxy.server.descriptors import take_all
from authproxy.server.listeners import Listening
from authproxy.server.memory import give_back_memory
from authproxy.server.notify import Systemd
from authproxy.server.reload import Prepared, Watch, prepare
from authproxy.server.sockets import bound_address, listen
from authproxy.server.supervisor import Report, Supervisor
from authproxy.server.tls import read_certificates
from authproxy.server.worker import Worker, run_worker
from authproxy.telemetry.metrics import Metrics, Pages
from authproxy.trails import trail_folder

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds that a worker has after its drain to end


def say(line: str) -> None:
    """A line of the program itself, for whoever started it: no log record, so it is greppable to the letter."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def start(loaded: Loaded, workers: int | None) -> int:
    """Serve until told to stop; the exit status. `workers` goes before the configuration's number.

    Raises:
        ConfigError: something that the configuration names cannot be used.
        ListenError: an address cannot be listened on.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # until it can be answered
    count, service = _service(loaded, workers)
    listeners = service.runtime.config.listeners
    del loaded  # the files as they are written take ten times the memory of what is made of them
    try:
        return service.alone() if count == 1 else service.supervised(count)
    finally:
        for listener in listeners:
            if listener.address.path:
                Path(listener.address.path).unlink(missing_ok=True)


def _service(loaded: Loaded, workers: int | None) -> tuple[int, "_Service"]:
    """How many workers there are to be, and what they serve."""
    config, watch = loaded.usable(), Watch(loaded)
    wanted = workers or config.workers
    count = (os.cpu_count() or 1) if wanted == "auto" else int(wanted)
    if count > 1 and config.state.url == "memory:":
        text = "`memory:` is one worker's own: with several, each would count for itself"
        remedy = "write `lmdb:DIR`, or use --workers 1"
        where = loaded.source.problem(("state", "url"), "memory-of-one-worker", text, remedy)
        raise ConfigError([where])
    take_all(config.bounds.connections)
    # Whatever is wrong with what the configuration names shows before anything is bound.
    runtime = compile_runtime(loaded, os.environ)
    try:
        listening, admin = _bind(loaded)
    except Exception:
        for lines in runtime.logs:
            lines.close()
        raise
    for problem in loaded.problems:
        say(str(problem))  # warnings: errors would have ended it
    return count, _Service(loaded.file, runtime, listening, admin, Pages(count + 1), watch)


def _bind(loaded: Loaded) -> tuple[list[Listening], socket.socket | None]:
    config = loaded.usable()
    certificates = [
        read_certificates(loaded, index, listener.tls) if listener.tls else None
        for index, listener in enumerate(config.listeners)
    ]
    listening = []
    for listener, found in zip(config.listeners, certificates, strict=True):
        sock = listen(listener.address)
        listening.append(Listening(sock, bound_address(sock), listener, found))
    return listening, listen(config.admin.address) if config.admin else None


@dataclass(slots=True)
class _Service:
    """All that workers are started with: bound, compiled, and nothing of it open that a fork would share in harm.

    A worker that is started again begins with what was last taken over, whatever is wrong in the files by then.
    """

    file: Path
    runtime: Runtime
    listening: list[Listening]
    admin: socket.socket | None
    pages: Pages
    watch: Watch

    def alone(self) -> int:
        """Serve in this process; the exit status."""
        self._serve(0, Systemd(os.environ), self.watch)
        return 0

    def supervised(self, count: int) -> int:
        """Serve with several workers; the exit status."""
        systemd, bounds = Systemd(os.environ), self.runtime.config.bounds
        metrics, record = Metrics(self.pages, count), self.pages.reloads[count]
        metrics.set("authproxy_config_reload_success", 1.0)

        def admit() -> bool:
            problems = self._problems()
            give_back_memory()
            record.note(time.time(), problems or (), success=problems is None)
            metrics.set("authproxy_config_reload_success", float(problems is None))
            return problems is None

        return Supervisor(
            count,
            self._serve,
            announce=lambda: self._announce(systemd),
            admit=admit,
            changed=self.watch.changed,
            buried=self.pages.bury,
            lifecycle=systemd,
            patience=bounds.drain_delay + bounds.drain + PATIENCE,
        ).run()

    def _announce(self, systemd: Systemd) -> None:
        addresses = ",".join(bound_address(one.sock) for one in self.listening)
        say(f"authproxy ready pid={os.getpid()} listen={addresses}")
        systemd.ready()

    def _problems(self) -> Sequence[Problem] | None:
        """Why the workers would not take over what is in the files now; if they would, later ones begin with it."""
        for lines in self.runtime.logs:
            lines.rotate()  # its file may have been moved away, whatever becomes of the reload
        try:
            prepared = prepare(self.file, os.environ, self.runtime, self.watch)
        except ConfigError as error:
            for problem in error.problems:
                log.error("not reloaded: %s", problem)  # noqa: TRY400  # the problem says it all
            return error.problems
        except Exception:
            log.exception("not reloaded")
            return ()
        self._take_over(prepared)
        return None

    def _take_over(self, prepared: Prepared) -> None:
        for lines in self.runtime.logs:
            if lines not in prepared.runtime.logs:
                lines.close()
        for index, certificates in prepared.certificates.items():
            self.listening[index] = replace(self.listening[index], certificates=certificates)
        self.runtime = prepared.runtime

    def _serve(self, number: int, told: Systemd | Report, watch: Watch | None = None) -> None:
        """Be a worker."""

        def reloads(current: Runtime) -> Prepared:
            return prepare(self.file, os.environ, current, watch)

        def make() -> Worker:
            return Worker(
                self.runtime,
                self.listening,
                self.admin,
                reloads=reloads,
                pages=self.pages,
                number=number,
                watch=watch,
                lifecycle=told,
                main=isinstance(told, Systemd),
                trails=trail_folder(self.runtime.config, self.file.parent, os.environ),
            )

        run_worker(make, told.ready if isinstance(told, Report) else lambda: self._announce(told))

"""From a configuration to a serving program: bind, compile, then one worker in this process, or several under a supervisor."""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from authproxy.config.load import Loaded
from authproxy.model.errors import ConfigError
from authproxy.runtime import compile_runtime
from authproxy.server.notify import notify
from authproxy.server.reload import Watch, examine, prepare
from authproxy.server.sockets import bound_address, listen
from authproxy.server.supervisor import Supervisor
from authproxy.server.tls import listener_context
from authproxy.server.worker import Listening, Worker, run_worker
from authproxy.telemetry.metrics import Metrics, Pages

log = logging.getLogger(__name__)


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
    config = loaded.usable()
    wanted = workers or config.workers
    count = (os.cpu_count() or 1) if wanted == "auto" else int(wanted)
    if count > 1 and config.state.url == "memory:":
        text = "`memory:` is one worker's own: with several, each would count for itself"
        remedy = "write `lmdb:DIR`, or use --workers 1"
        where = loaded.source.problem(("state", "url"), "memory-of-one-worker", text, remedy)
        raise ConfigError([where])
    # Whatever is wrong with what the configuration names shows before anything is bound.
    compile_runtime(loaded, os.environ).access_log.close()
    listening, admin = _bind(loaded)
    for problem in loaded.problems:
        say(str(problem))  # warnings: errors would have ended it
    pages = Pages(count + 1)

    def announce() -> None:
        addresses = ",".join(bound_address(one.sock) for one in listening)
        say(f"authproxy ready pid={os.getpid()} listen={addresses}")
        notify("READY=1")

    serve = partial(_serve, loaded, listening, admin, pages)
    try:
        if count == 1:
            serve(0, announce, watched=True)
            return 0
        return _supervise(loaded, count, serve, announce, pages)
    finally:
        for listener in config.listeners:
            if listener.address.path:
                Path(listener.address.path).unlink(missing_ok=True)


def _bind(loaded: Loaded) -> tuple[list[Listening], socket.socket | None]:
    config = loaded.usable()
    contexts = [
        listener_context(loaded, index, listener.tls) if listener.tls else None
        for index, listener in enumerate(config.listeners)
    ]
    listening = []
    for listener, context in zip(config.listeners, contexts, strict=True):
        sock = listen(listener.address)
        listening.append(Listening(sock, bound_address(sock), context))
    return listening, listen(config.admin.address) if config.admin else None


def _serve(
    loaded: Loaded,
    listening: list[Listening],
    admin: socket.socket | None,
    pages: Pages,
    number: int,
    announce: Callable[[], None],
    *,
    watched: bool = False,
) -> None:
    """Be a worker. What it serves with is compiled here: nothing of it is shared with a parent."""
    runtime = compile_runtime(loaded, os.environ)
    reloads = partial(prepare, loaded.file, os.environ)
    watch = Watch(loaded) if watched else None
    make = partial(
        Worker, runtime, listening, admin, reloads=reloads, pages=pages, number=number, watch=watch
    )
    run_worker(make, announce)


def _supervise(
    loaded: Loaded,
    count: int,
    serve: Callable[..., None],
    announce: Callable[[], None],
    pages: Pages,
) -> int:
    metrics, watch, record = Metrics(pages, count), Watch(loaded), pages.reloads[count]
    metrics.set("authproxy_config_reload_success", 1.0)
    config = loaded.usable()

    def admit() -> bool:
        try:
            watch.follow(examine(loaded.file, os.environ, config))
        except ConfigError as error:
            for problem in error.problems:
                log.error("not reloaded: %s", problem)  # noqa: TRY400  # the problem says it all
            record.note(time.time(), error.problems, success=False)
            metrics.set("authproxy_config_reload_success", 0.0)
            return False
        record.note(time.time(), success=True)
        metrics.set("authproxy_config_reload_success", 1.0)
        return True

    return Supervisor(count, serve, announce=announce, admit=admit, changed=watch.changed).run()

"""`authproxy serve`: everything that can fail is done before anything is served; then a worker takes over."""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authproxy.cli.options import ConfigOption, load_config

if TYPE_CHECKING:
    from authproxy.config.load import Loaded
    from authproxy.config.schema import Config
    from authproxy.server.worker import Listening


def serve(
    config: ConfigOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, help="Instead of `workers` in the configuration."
        ),
    ] = None,
) -> None:
    """Serve in the foreground until SIGTERM or SIGINT, then drain; a second signal stops at once.

    Example: authproxy serve --config /etc/authproxy/authproxy.yaml
    """
    import logging

    from authproxy.runtime import compile_runtime
    from authproxy.server.sockets import ListenError, bound_address
    from authproxy.server.worker import run_worker
    from authproxy.web.compat import require_c_parser

    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    loaded = load_config(config)
    settings = loaded.usable()
    if workers is not None and workers > 1:
        print(
            "authproxy: several workers are not part of this version: use --workers 1",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    try:
        require_c_parser()
        runtime = compile_runtime(loaded, os.environ)
        listening, admin = _open_sockets(loaded)
    except (ListenError, RuntimeError) as error:
        print(f"authproxy: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    for problem in loaded.problems:
        print(problem, file=sys.stderr)  # warnings: errors would have ended it

    def announce() -> None:
        addresses = ",".join(bound_address(one.sock) for one in listening)
        print(f"authproxy ready pid={os.getpid()} listen={addresses}", file=sys.stderr, flush=True)
        _notify("READY=1")

    try:
        run_worker(runtime, listening, admin, announce)
    finally:
        _remove_sockets(settings)


def _open_sockets(loaded: "Loaded") -> "tuple[list[Listening], socket.socket | None]":
    from authproxy.server.sockets import bound_address, listen
    from authproxy.server.tls import listener_context
    from authproxy.server.worker import Listening

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


def _remove_sockets(settings: "Config") -> None:
    for listener in settings.listeners:
        if listener.address.path:
            Path(listener.address.path).unlink(missing_ok=True)


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), where it asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.sendall(state.encode())
        except OSError as error:
            print(f"authproxy: systemd cannot be told: {error}", file=sys.stderr)

"""`authproxy serve`: everything that can fail is done before anything is served; then a worker takes over."""

import sys
from typing import Annotated

import typer

from authproxy.cli.options import ConfigOption, load_config


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

    from authproxy.server.sockets import ListenError
    from authproxy.server.start import start
    from authproxy.server.tls import pass_over_bad_names
    from authproxy.web.compat import require_c_parser

    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    pass_over_bad_names()
    try:
        require_c_parser()
        status = start(load_config(config), workers)
    except (ListenError, RuntimeError) as error:
        print(f"authproxy: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    raise typer.Exit(status)

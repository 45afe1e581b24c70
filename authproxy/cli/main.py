"""The program: puts the commands together, and turns what goes wrong into a line and an exit code, never a traceback.

0 done · 1 findings, refusal or failure · 2 wrong usage · 78 the configuration cannot be used.
"""

import os
import sys
from typing import Annotated

import typer

from authproxy.cli import (
    certs,
    check,
    demo,
    doctor,
    health,
    init,
    key,
    keys,
    pages,
    policy,
    serve,
    session,
    token,
    totp,
    user,
)

EX_CONFIG = 78

app = typer.Typer(
    name="authproxy",
    help="An authenticating security proxy: JWT, per-route policies in files, rate limits, streaming.",
    epilog="Start with: authproxy init, then authproxy serve. Or look around first: authproxy demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(init.init)
app.command()(serve.serve)
app.command()(demo.demo)
app.command()(check.check)
app.command()(doctor.doctor)
app.command()(health.health)
app.add_typer(token.app, name="token")
app.add_typer(policy.app, name="policy")
app.add_typer(session.app, name="session")
app.add_typer(user.app, name="user")
app.add_typer(key.app, name="key")
user.app.command()(totp.totp)
app.add_typer(keys.app, name="keys")
app.add_typer(certs.app, name="certs")
pages.dress(app)


def _version(wanted: bool) -> None:
    if wanted:
        from authproxy import __version__

        print(f"authproxy {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version_wanted: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Say the version and leave."
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    import logging

    from authproxy.model.errors import ConfigError

    # A command says itself what it could not do; what the state logs on the way there is for a server's log.
    logging.getLogger("authproxy.state").addHandler(logging.NullHandler())
    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        sys.exit(EX_CONFIG)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has enough; nothing is left to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        print(f"authproxy: {error.filename}: {what}" if error.filename else f"authproxy: {what}", file=sys.stderr)  # fmt: skip
        sys.exit(1)


if __name__ == "__main__":
    main()

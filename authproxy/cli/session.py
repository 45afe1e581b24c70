"""`authproxy session`: who is signed in, and the end of that. It works on the state that the server has, beside it."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from authproxy.cli.options import (
    ConfigOption,
    Format,
    FormatOption,
    load_config,
    require_authenticator,
)

if TYPE_CHECKING:
    from authproxy.authn.sessions import Session, Sessions

T = TypeVar("T")
app = typer.Typer(name="session", help="See and end sessions of people.", no_args_is_help=True)


@app.command(name="list")
def list_sessions(format: FormatOption = Format.text, config: ConfigOption = None) -> None:
    """Print the living sessions, one a line: an id to revoke it by, subject, authenticator, since when, last use.

    Example: authproxy session list --format json
    """

    async def every(sessions: "Sessions") -> "list[Session]":
        return await sessions.every(time.time())

    found = [_members(one) for one in _with_sessions(config, every)]
    if format is Format.json:
        print(json.dumps(found, indent=2))
        return
    for members in found:
        print("\t".join(members.values()))


@app.command()
def revoke(
    session_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="One session, as `list` names it.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", metavar="S", help="All sessions of somebody.")] = None,
    authenticator: Annotated[str | None, typer.Option("--authenticator", metavar="A", help="Who signed them in.")] = None,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """End sessions: one by its id, or all of a subject. Requests notice at once, open streams within two seconds.

    Example: authproxy session revoke --subject ann --authenticator staff
    """
    if (session_id is None) == (subject is None) or (subject is None) != (authenticator is None):
        raise typer.BadParameter("give either --id, or --subject with --authenticator")

    def meant(one: "Session") -> bool:
        if session_id is not None:
            return _shown(one.key) == session_id
        return (one.subject, one.authenticator) == (subject, authenticator)

    async def end(sessions: "Sessions") -> int:
        found = [one for one in await sessions.every(time.time()) if meant(one)]
        for one in found:
            await sessions.end(one, time.time())
        return len(found)

    ended = _with_sessions(config, end, of=authenticator)
    if not ended and session_id is not None:
        _fail("there is no such session; `authproxy session list` names them")
    print(f"ended {ended} session{'' if ended == 1 else 's'}")


def _with_sessions(
    config: str | None, work: "Callable[..., Awaitable[T]]", *, of: str | None = None
) -> T:
    from authproxy.authn.sessions import Sessions
    from authproxy.runtime import state_records, state_url
    from authproxy.state.store import StateUnavailable

    loaded = load_config(config)
    settings = loaded.usable()
    require_authenticator(loaded, of)
    url = state_url(settings, os.environ)
    if url == "memory:":
        _fail("`state: {url: memory:}` is the server's own; no command reaches it")
    records = state_records(loaded, os.environ)
    times = settings.session

    async def run() -> T:
        return await work(Sessions(records, times.idle_timeout, times.absolute_timeout))

    try:
        return asyncio.run(run())
    except StateUnavailable as error:
        _fail(f"the state cannot be used: {error}")
    finally:
        records.close()


def _members(one: "Session") -> dict[str, str]:
    return {
        "id": _shown(one.key),
        "subject": one.subject,
        "authenticator": one.authenticator,
        "created": _moment(one.created),
        "used": _moment(one.seen),
    }


def _shown(key: bytes) -> str:
    """Enough of a session's key to name it; nobody gets in by it."""
    return key.hex()[:16]


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _fail(text: str) -> NoReturn:
    typer.echo(f"authproxy: {text}", err=True)
    raise typer.Exit(1)

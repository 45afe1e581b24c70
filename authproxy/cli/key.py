"""`authproxy key`: make API keys, list them, revoke them. A key is shown once, when it is made, and never again.

They live in the durable records of the state, so a running server knows of each change at once.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from authproxy.cli.options import ConfigOption, Format, FormatOption, load_config

if TYPE_CHECKING:
    from authproxy.authn.api_keys import KnownKey
    from authproxy.config.load import Loaded
    from authproxy.state.records import Records

T = TypeVar("T")
NEVER = "never"

app = typer.Typer(name="key", help="Make, list and revoke API keys.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="What it is called; else the subject.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="S", help="Who comes with it; else NAME.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="G", help="A group; repeatable.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="S", help="A scope; repeatable.")
    ] = None,
    email: Annotated[str | None, typer.Option("--email", metavar="E", help="An address.")] = None,
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="DURATION", help="How long it is good: 12h, 90d, never.")
    ] = "90d",
    authenticator: Annotated[
        str | None,
        typer.Option("--authenticator", metavar="NAME", help="Who takes it; else the first."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print a new API key, and nothing else. It is shown this once: only its hash is kept.

    Example: authproxy key create nightly-backup --group ops --scope orders.read --ttl 90d
    """
    from authproxy.authn.api_keys import ApiKey
    from authproxy.authn.api_keys import create as make

    called, who = name or subject, subject or name
    if called is None or who is None:
        raise typer.BadParameter("give the key a NAME, or say --subject", param_hint="NAME")
    _check("NAME", called)
    _check("--subject", who)
    _check("--group", *(group or ()))
    _check("--scope", *(scope or ()))
    _check("--email", *([] if email is None else [email]))
    seconds, now = _seconds(ttl), time.time()
    loaded = load_config(config)
    key = ApiKey(
        name=called,
        authenticator=_taker(loaded, authenticator),
        subject=who,
        groups=tuple(dict.fromkeys(group or ())),
        scopes=tuple(dict.fromkeys(word for text in scope or () for word in text.split(" "))),
        email=email,
        created_at=now,
        expires_at=None if seconds is None else now + seconds,
    )
    print(_do(loaded, lambda records: make(records, key)))


@app.command(name="list")
def show(
    format: FormatOption = Format.text,
    config: ConfigOption = None,
) -> None:
    """List the API keys; never the keys themselves. Those that ended stay in it for 30 days.

    Example: authproxy key list --format json
    """
    from authproxy.authn.api_keys import known_keys

    now = time.time()
    loaded = load_config(config)
    _taker(loaded, None)
    found = _do(loaded, lambda records: known_keys(records, now))
    if format is Format.json:
        print(json.dumps([_members(one, now) for one in found], indent=2))
        return
    columns = ("id", "state", "name", "subject", "groups", "scopes", "created", "expires", "used")
    rows = [columns, *(tuple(_cells(_members(one, now), columns)) for one in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    for row in rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `key list` shows it.")],
    config: ConfigOption = None,
) -> None:
    """Revoke an API key: every worker refuses it within a second.

    Example: authproxy key revoke 4f1c9a2be07d3356
    """
    from authproxy.authn.api_keys import revoke as end

    now = time.time()
    loaded = load_config(config)
    _taker(loaded, None)
    gone = _do(loaded, lambda records: end(records, key_id.strip().lower(), now))
    if gone is None:
        _fail("there is no such key: `authproxy key list` shows their ids")
    print(f"revoked {_plain(gone.name)} of {_plain(gone.subject)}")


def _do(loaded: "Loaded", work: "Callable[[Records], Awaitable[T]]") -> T:
    """Open the records of the configuration, do the work, and let go of them."""
    from authproxy.runtime import state_records, state_url
    from authproxy.state.store import StateUnavailable

    url = state_url(loaded.usable(), os.environ)
    if url == "memory:":
        _fail("`state: {url: \"memory:\"}` is the server's own and cannot be reached: write `lmdb:DIR`")  # fmt: skip
    place = loaded.folder / url.partition(":")[2]
    if not loaded.usable().state.url and not place.exists():
        # As with systemd: there the service has a directory of its own, and would never see what is written here.
        print(f"authproxy: no server has kept its state in {place} yet: set `state.url`, or STATE_DIRECTORY as the service has it", file=sys.stderr)  # fmt: skip
    records = state_records(loaded, os.environ)

    async def run() -> T:
        return await work(records)

    try:
        return asyncio.run(run())
    except StateUnavailable as error:
        _fail(f"the state cannot be used: {error}")
    finally:
        records.close()


def _taker(loaded: "Loaded", wanted: str | None) -> str:
    """The authenticator that takes keys: the wanted one, else the first."""
    from authproxy.config.authenticators import ApiKeyAuthenticator

    known = loaded.usable().authenticators
    able = [name for name, one in known.items() if isinstance(one, ApiKeyAuthenticator)]
    if wanted is not None and wanted not in able:
        what = "is not of `type: api-key`" if wanted in known else "is not in the configuration"
        text = f"`{wanted[:64]}` {what}; keys can be made for: {', '.join(able) or 'none'}"
        raise typer.BadParameter(text, param_hint="--authenticator")
    if not able:
        _fail("no authenticator takes API keys: add `NAME: {type: api-key}` to `authenticators`")
    return wanted or able[0]


def _members(known: "KnownKey", now: float) -> dict[str, object]:
    key = known.key
    expired = key.expires_at is not None and now >= key.expires_at
    return {
        "id": known.id,
        "state": "revoked" if key.revoked_at is not None else "expired" if expired else "good",
        "name": key.name,
        "authenticator": key.authenticator,
        "subject": key.subject,
        "groups": list(key.groups),
        "scopes": list(key.scopes),
        "email": key.email,
        "created": _moment(key.created_at),
        "expires": _moment(key.expires_at),
        "revoked": _moment(key.revoked_at),
        "used": _moment(known.used_at),
    }


def _cells(members: dict[str, object], columns: tuple[str, ...]) -> list[str]:
    empty = {"expires": NEVER, "used": NEVER}
    found = []
    for name in columns:
        value = members[name]
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value or "")
        found.append(_plain(text) or empty.get(name, "-"))
    return found


def _moment(at: float | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(int(at), UTC):%Y-%m-%dT%H:%M:%SZ}"


def _seconds(text: str) -> float | None:
    from pydantic_core import PydanticCustomError

    from authproxy.config.values import parse_duration

    if text == NEVER:
        return None
    try:
        seconds = parse_duration(text)
    except PydanticCustomError as error:
        raise typer.BadParameter(f"{error.message()}, or `never`", param_hint="--ttl") from None
    if not 0 < seconds <= 100 * 366 * 86400:
        raise typer.BadParameter("a key is good for at most 100 years", param_hint="--ttl")
    return seconds


def _check(option: str, *texts: str) -> None:
    """What goes into headers and logs is one line of text."""
    for text in texts:
        if not text.strip() or not text.isprintable() or len(text) > 256:
            problem = f"{text[:60]!r} is empty, over 256 characters, or holds what is no text"
            raise typer.BadParameter(problem, param_hint=option)


def _plain(text: str) -> str:
    """Records are written by us; a terminal is not steered by them all the same."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _fail(text: str) -> NoReturn:
    print(f"authproxy: {text}", file=sys.stderr)
    raise typer.Exit(1)

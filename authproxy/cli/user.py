"""`authproxy user`: who may log in with a password. A password is typed or piped in, never an argument that others can see."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from authproxy.cli.options import ConfigOption, Format, FormatOption, load_config

if TYPE_CHECKING:
    from authproxy.config.users import User

app = typer.Typer(
    name="user", help="Keep the users who log in with a password.", no_args_is_help=True
)

SHORTEST = 8
STDIN_MOST = 4096
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
AuthenticatorOption = Annotated[
    str | None,
    typer.Option("--authenticator", metavar="NAME", help="Whose users; else the only one of the type password."),
]  # fmt: skip


@app.command()
def add(
    name: NameArgument,
    group: Annotated[list[str] | None, typer.Option("--group", metavar="G", help="A group; may be repeated.")] = None,
    email: Annotated[str | None, typer.Option("--email", metavar="E", help="An e-mail address.")] = None,
    authenticator: AuthenticatorOption = None,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """Add a user. The password is asked for twice on a terminal, else one line is read from stdin.

    Example: authproxy user add ann --group admins --email ann@example.com
    """
    file = users_file(config, authenticator)
    hashed = _hash(_password())

    def change(users: dict[str, dict[str, Any]]) -> None:
        if _known(users, name) is not None:
            fail(f"{name} is there already; for a new password: authproxy user passwd {name}")
        users[name] = {
            "password": hashed,
            "groups": list(group or ()),
            "changed": _now().isoformat(),
        }
        if email:
            users[name]["email"] = email

    change_file(file, change, create=True)
    print(f"added {name}")


@app.command()
def passwd(
    name: NameArgument, authenticator: AuthenticatorOption = None, config: ConfigOption = None
) -> None:
    """Give a user a new password; sessions that began with the old one end.

    Example: authproxy user passwd ann
    """
    file = users_file(config, authenticator)
    hashed = _hash(_password())

    def change(users: dict[str, dict[str, Any]]) -> None:
        user = users[required(users, name)]
        user["password"], user["changed"] = hashed, _now().isoformat()
        user.pop("rehashed", None)

    change_file(file, change)
    print(f"changed the password of {name}")


@app.command()
def remove(
    name: NameArgument, authenticator: AuthenticatorOption = None, config: ConfigOption = None
) -> None:
    """Remove a user; their sessions end.

    Example: authproxy user remove ann
    """

    def change(users: dict[str, dict[str, Any]]) -> None:
        del users[required(users, name)]

    change_file(users_file(config, authenticator), change)
    print(f"removed {name}")


@app.command(name="list")
def list_users(
    format: FormatOption = Format.text,
    authenticator: AuthenticatorOption = None,
    config: ConfigOption = None,
) -> None:
    """Print the users, one a line: name, groups, e-mail address, `totp` with a second factor, `disabled`; never a hash.

    Example: authproxy user list --format json
    """
    from authproxy.config.users import read_users_file

    file = users_file(config, authenticator)
    try:
        users = read_users_file(file).by_name
    except OSError as error:
        fail(f"{file} cannot be read: {(error.strerror or str(error)).lower()}")
    if format is Format.json:
        print(json.dumps([_members(*one) for one in users.items()], indent=2))
        return
    for name, user in users.items():
        more = [",".join(user.groups) or "-", user.email or "-"]
        more += ["totp"] if user.totp is not None else []
        more += ["disabled"] if user.disabled else []
        print("\t".join([name, *more]))


def _members(name: str, user: "User") -> dict[str, object]:
    return {
        "name": name,
        "groups": user.groups,
        "email": user.email,
        "full_name": user.name,
        "totp": user.totp is not None,
        "disabled": user.disabled,
        "changed": None if user.changed is None else f"{user.changed.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }  # fmt: skip


def users_file(config: str | None, wanted: str | None) -> Path:
    """The users file that a command works with; ends it where there is no such file to be told."""
    from authproxy.config.authenticators import PasswordLogin

    loaded = load_config(config)
    found = {
        name: settings.users.file
        for name, settings in loaded.usable().authenticators.items()
        if isinstance(settings, PasswordLogin)
    }
    if wanted is None and len(found) != 1:
        which = "there is none" if not found else f"name one of {', '.join(found)}"
        fail(f"an authenticator of the type password is needed: {which}")
    name = next(iter(found)) if wanted is None else wanted
    if name not in found:
        fail(f"`{name[:64]}` is no authenticator of the type password")
    return loaded.folder / found[name]


def change_file(
    file: Path, change: Callable[[dict[str, dict[str, Any]]], None], *, create: bool = False
) -> None:
    """Let `change` change the users of a file."""
    from authproxy.config.users import change_users

    try:
        change_users(file, change, create=create)
    except OSError as error:
        fail(f"{file} cannot be written: {(error.strerror or str(error)).lower()}")


def _known(users: dict[str, dict[str, Any]], name: str) -> str | None:
    from authproxy.config.users import spelling

    return next((one for one in users if spelling(one) == spelling(name)), None)


def required(users: dict[str, dict[str, Any]], name: str) -> str:
    """The name of a user as the file has it; ends the command where there is none."""
    found = _known(users, name)
    if found is None:
        fail(f"there is no user {name}; `authproxy user list` names them")
    return found


def _password() -> str:
    if not sys.stdin.isatty():
        line = sys.stdin.buffer.readline(STDIN_MOST).decode("utf-8", "replace")
        password = line.rstrip("\r\n")
    else:
        import getpass

        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            fail("the two are not the same; nothing was changed")
    if len(password) < SHORTEST:
        fail(f"a password has at least {SHORTEST} characters; nothing was changed")
    return password


def _hash(password: str) -> str:
    from authproxy.authn.passwords import hash_password

    try:
        return hash_password(password)
    except ValueError as error:
        fail(f"{error}; nothing was changed")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def fail(text: str) -> NoReturn:
    """Say why, and end with 1."""
    typer.echo(f"authproxy: {text}", err=True)
    raise typer.Exit(1)

"""`authproxy user totp`: a second factor for a user, enrolled with a code that proves that the device has the secret."""

import sys
import time
from typing import Annotated, Any

import typer

from authproxy.cli.options import ConfigOption, load_config
from authproxy.cli.user import (
    AuthenticatorOption,
    NameArgument,
    change_file,
    fail,
    required,
    users_file,
)

LINE_MOST = 64


def totp(
    name: NameArgument,
    remove: Annotated[bool, typer.Option("--remove", help="Take the second factor away again.")] = False,
    authenticator: AuthenticatorOption = None,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """Enrol a user's device for one-time codes (TOTP), which the login then asks for; sessions from before end.

    Shows a QR code and the same as a URI, and asks for the code that the device shows; nothing is written before it is right.

    Example: authproxy user totp ann
    """
    import pyotp

    file = users_file(config, authenticator)
    if remove:
        change_file(file, lambda users: _remove(users, name))
        print(f"{name} logs in with the password alone")
        return
    known = _known(file, name)
    secret = pyotp.random_base32()
    uri = pyotp.TOTP(secret).provisioning_uri(name=known, issuer_name=_issuer(config))
    _show(uri)
    _confirm(secret)

    def change(users: dict[str, dict[str, Any]]) -> None:
        users[required(users, name)]["totp"] = secret

    change_file(file, change)
    print(f"{known} is asked for a code from now on")


def _remove(users: dict[str, dict[str, Any]], name: str) -> None:
    if users[required(users, name)].pop("totp", None) is None:
        fail(f"{name} has no second factor; nothing was changed")


def _known(file: Any, name: str) -> str:
    """The name as the file has it, of a user who has no second factor yet."""
    from authproxy.config.users import read_users_file

    try:
        found = read_users_file(file).find(name)
    except OSError as error:
        fail(f"{file} cannot be read: {(error.strerror or str(error)).lower()}")
    if found is None:
        fail(f"there is no user {name}; `authproxy user list` names them")
    if found[1].totp is not None:
        fail(
            f"{name} has one already; to replace it: authproxy user totp {name} --remove, then again without"
        )
    return found[0]


def _issuer(config: str | None) -> str:
    """What the device shows beside the name."""
    portal = load_config(config).usable().portal
    return portal.host if portal is not None else "authproxy"


def _show(uri: str) -> None:
    import segno

    segno.make(uri, error="l").terminal(out=sys.stdout, compact=True)
    print(f"\nScan this with an authenticator app, or enter it there:\n\n  {uri}\n", flush=True)


def _confirm(secret: str) -> None:
    from authproxy.authn.second_factor import counter_of

    if sys.stdin.isatty():
        print("The code that it shows now: ", end="", flush=True)
    code = sys.stdin.readline(LINE_MOST)
    if counter_of(secret, code, time.time()) is None:
        fail("that is not the code; nothing was changed (is the clock right here, and there?)")

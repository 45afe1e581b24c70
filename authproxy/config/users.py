"""The users file of a `type: password` authenticator: read with places, changed by one writer at a time, never half written.

It holds hashes and no passwords. What is a user's name, and which spellings are the same one, is decided here.
"""

import fcntl
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, AwareDatetime, Field, StrictBool, StrictStr

from authproxy.config.validate import validate
from authproxy.config.yaml import SIZE_MOST, read_yaml
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.shape import Section, wrong

HEADER = "# Users of authproxy; `authproxy user` changes this file. Passwords are argon2id hashes (RFC 9106).\n"
NAME_MOST = 128


def _check_name(name: str) -> str:
    plain = name.isprintable() and name == name.strip() and 0 < len(name) <= NAME_MOST
    if not plain:
        text = "this is no name: it is empty, too long, or holds what cannot be seen"
        raise wrong("bad-user", text, f"write at most {NAME_MOST} letters, digits or marks")
    return name


def _check_totp(secret: str) -> str:
    # RFC 4226 section 4 wants 128 bits; some apps were given 80.
    if not re.fullmatch(r"[A-Z2-7]{16,128}", secret) or len(secret) % 8 in {1, 3, 6}:
        text = "this is no secret for one-time codes: 16 to 128 letters and digits of Base32"
        raise wrong("bad-totp", text, "make one with `authproxy user totp NAME`")
    return secret


UserName = Annotated[StrictStr, AfterValidator(_check_name)]
Hash = Annotated[StrictStr, Field(pattern=r"^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$")]  # fmt: skip
Moment = Annotated[AwareDatetime, Field(strict=False)]
Group = Annotated[StrictStr, Field(min_length=1)]


class User(Section):
    """One user. `changed` is when the password last changed: sessions from before it are over."""

    password: Hash
    groups: list[Group] = []
    email: StrictStr | None = None
    name: StrictStr | None = None
    totp: Annotated[StrictStr, AfterValidator(_check_totp)] | None = None
    changed: Moment | None = None
    disabled: StrictBool = False


class UsersDocument(Section):
    """The file."""

    users: dict[UserName, User] = {}


def spelling(name: str) -> str:
    """One text for all spellings of a name (Unicode NFKC, no case): what is tried under one counts for all."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


class Users:
    """The users by their names; a name is found in any spelling."""

    def __init__(self, users: Mapping[str, User]) -> None:
        self.by_name = dict(users)
        self._by_spelling = {spelling(name): name for name in users}

    def find(self, name: str) -> tuple[str, User] | None:
        """The name as the file has it, and the user."""
        known = self._by_spelling.get(spelling(name))
        return None if known is None else (known, self.by_name[known])


def read_users(text: bytes, file: str) -> Users:
    """The users in a file's text; `file` is its name in problems.

    Raises:
        ConfigError: with every problem of it.
    """
    data, source, problems = read_yaml(text, file)
    document, _, more = validate(UsersDocument, data, source)
    found: dict[str, str] = {}
    for name in document.users if document is not None else ():
        other = found.setdefault(spelling(name), name)
        if other != name:
            said = f"`{name}` and `{other}` are spellings of one name"
            path = ("users", name)
            more.append(source.problem(path, "duplicate-user", said, "rename one", key=True))
    if document is None or problems or more:
        raise ConfigError([*problems, *more])
    return Users(document.users)


def read_users_file(path: FilePath) -> Users:
    """The users in a file.

    Raises:
        ConfigError: with every problem of it.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return read_users(file.read(SIZE_MOST + 1), str(path))


def change_users(
    path: FilePath, change: Callable[[dict[str, dict[str, Any]]], None], *, create: bool = False
) -> None:
    """Let `change` change the users as the file has them, and put the new file in the old one's place, whole, mode 0600.

    One writer at a time. Nothing is written where `change` raises, or where the result could not be read again.

    Raises:
        ConfigError: the file, or what became of it, is wrong.
        OSError: it cannot be read or written.
    """
    with _alone(path.parent):
        text = b"" if create and not path.exists() else path.read_bytes()
        read_users(text or b"users: {}", str(path))
        data, _, _ = read_yaml(text, str(path))
        users: dict[str, dict[str, Any]] = (data or {}).get("users", {})
        change(users)
        content = HEADER + yaml.safe_dump({"users": users}, sort_keys=False, allow_unicode=True)
        read_users(content.encode(), str(path))
        _replace(path, content.encode())


@contextmanager
def _alone(folder: FilePath) -> Iterator[None]:
    # The folder is what is locked: the file itself is replaced.
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: FilePath, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        FilePath(name).replace(path)
    except OSError:
        FilePath(name).unlink(missing_ok=True)
        raise


def problem_of(path: FilePath, error: OSError) -> Problem:
    """Why a users file cannot be used, as a problem."""
    words = (error.strerror or str(error)).lower()
    remedy = "add a user with `authproxy user add NAME`" if isinstance(error, FileNotFoundError) else "check its path and mode"  # fmt: skip
    return Problem(str(path), 1, 1, "unreadable", f"cannot be read: {words}", remedy)

"""The users file of a `type: password` authenticator: read with places, changed by one writer at a time, never half written.

It holds hashes and no passwords. What is a user's name, and which spellings are the same one, is decided here.
"""

import fcntl
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, AwareDatetime, Field, StrictBool, StrictStr

from authproxy.config.named_files import read_named
from authproxy.config.renewed_hashes import renewed_text
from authproxy.config.validate import validate
from authproxy.config.yaml import SIZE_MOST, read_yaml
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.shape import Section, wrong
from authproxy.model.source import Source

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
    """One user. `changed` is when the password last changed: sessions from before it are over. `rehashed` goes with a hash
    that was renewed since: sessions from before that are not.
    """  # fmt: skip

    password: Hash
    groups: list[Group] = []
    email: StrictStr | None = None
    name: StrictStr | None = None
    totp: Annotated[StrictStr, AfterValidator(_check_totp)] | None = None
    rehashed: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{16} [0-9a-f]{16}$")] | None = None
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
    return _read(text, file)[0]


def _read(text: bytes, file: str) -> tuple[Users, Any, Source]:
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
    return Users(document.users), data, source


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
    """Let `change` change the users as the file has them, and put the new file in the old one's place, whole.

    It stays its owner's, for whom alone it is (and for its group, where that was so: 0640). One writer at a time, the one
    of `replace_hashes` among them. Nothing is written where `change` raises, or where the result could not be read again.

    Raises:
        ConfigError: the file, or what became of it, is wrong.
        OSError: it cannot be read or written.
    """
    path = path.resolve()  # what a link leads to is replaced, not the link
    with _alone(path.parent):
        before = path.stat() if path.exists() or not create else None
        text = b"" if before is None else read_named(path, SIZE_MOST)
        read_users(text or b"users: {}", str(path))
        data, _, _ = read_yaml(text, str(path))
        users: dict[str, dict[str, Any]] = (data or {}).get("users", {})
        change(users)
        content = HEADER + yaml.safe_dump({"users": users}, sort_keys=False, allow_unicode=True)
        read_users(content.encode(), str(path))
        by_group = before is not None and stat.S_IMODE(before.st_mode) & 0o077 == 0o040
        _replace(path, content.encode(), before, 0o640 if by_group else 0o600)


def replace_hashes(
    path: FilePath, names: Iterable[str], renew: Callable[[str, User], tuple[str, str] | None]
) -> int:
    """Put new hashes in the places of old ones; how many. Nothing else of the file changes, nor do its mode and owner.

    `renew` is asked for each of these users whom the file has: the new hash and what stands as `rehashed` beside it, or
    None to leave them.

    Raises:
        BlockingIOError: somebody is changing the file.
        ConfigError: the file is wrong.
        ValueError: a hash stands there in a way that it cannot be replaced alone.
        OSError: it cannot be read, or not written as it is.
    """
    path = path.resolve()  # what a link leads to is replaced, not the link
    with _alone(path.parent, wait=False):
        before, content = path.stat(), read_named(path, SIZE_MOST)
        users, data, source = _read(content, str(path))
        found = {name: renew(name, users.by_name[name]) for name in names if name in users.by_name}
        renewed = {name: pair for name, pair in found.items() if pair is not None}
        if not renewed:
            return 0
        after = renewed_text(content.decode(), source, data["users"], renewed).encode()
        for name, (hashed, rehashed) in renewed.items():
            data["users"][name] |= {"password": hashed, "rehashed": rehashed}
        if _read(after, str(path))[1] != data:
            raise ValueError("a hash in it cannot be replaced without its surroundings")
        if _state(path.stat()) != _state(before):
            raise BlockingIOError("it was changed at the same time")
        _replace(path, after, before, stat.S_IMODE(before.st_mode))
        return len(renewed)


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_ctime_ns, found.st_size


@contextmanager
def _alone(folder: FilePath, *, wait: bool = True) -> Iterator[None]:
    # The folder is what is locked: the file itself is replaced.
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _replace(path: FilePath, content: bytes, before: os.stat_result | None, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            own = os.fstat(file.fileno())
            if before and (before.st_uid, before.st_gid) != (own.st_uid, own.st_gid):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        FilePath(name).replace(path)
    except OSError:
        FilePath(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # nobody who was removed comes back with a power cut
    finally:
        os.close(folder)


def problem_of(path: FilePath, error: OSError) -> Problem:
    """Why a users file cannot be used, as a problem."""
    words = (error.strerror or str(error)).lower()
    remedy = "add a user with `authproxy user add NAME`" if isinstance(error, FileNotFoundError) else "check its path and mode"  # fmt: skip
    return Problem(str(path), 1, 1, "unreadable", f"cannot be read: {words}", remedy)

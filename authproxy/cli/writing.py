"""New files only: what exists is left and named. Private files are 0600 from their first byte.

Keys and certificates that are overwritten are lost, so nothing of `init`, `certs` or `keys` writes in another way, but for
`keys rotate`, whose new file holds what must not be lost and takes the old one's place in one step.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from authproxy.config.named_files import read_named


class Unwritable(Exception):  # noqa: N818  # it says what stands in the way, for a line on stderr
    """It cannot be done; the text says why and what to do."""


def write_new(path: Path, content: bytes, *, private: bool = False) -> bool:
    """Write a file that is not there; False where something is, a dangling link as well.

    Raises:
        Unwritable: the directory cannot be made or written to, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # O_EXCL decides and creates in one step, and follows no link that somebody laid there.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
    except FileExistsError:
        if not path.parent.is_dir():
            raise Unwritable(f"{path.parent} is no directory") from None
        return False
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key is worse than none
        raise _unwritable(path, error) from None
    return True


def read_old(path: Path) -> bytes:
    """A file that is there.

    Raises:
        Unwritable: it cannot be read.
    """
    try:
        return read_named(path)
    except OSError as error:
        raise Unwritable(f"{path} cannot be read: {_words(error)}") from None


@contextmanager
def replacing(path: Path) -> Iterator["Replacement"]:
    """A private file that is there, to be replaced as a whole or not at all, by one process at a time.

    It ends with a `commit` or with an exception, which leaves the file as it was.

    Raises:
        Unwritable: it cannot be read, or the new one not be written.
    """
    path = path.resolve()  # what a link leads to: the link stays one
    new = path.with_name(f"{path.name}.new")
    if not write_new(new, b"", private=True):
        raise Unwritable(
            f"{new} exists: somebody else is at it, or was interrupted; then remove it"
        )
    try:
        yield Replacement(path, new, read_old(path))
    except BaseException as error:
        new.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from None
        raise


@dataclass(frozen=True, slots=True)
class Replacement:
    """The file as it was, and what can take its place."""

    path: Path
    new: Path
    content: bytes

    def commit(self, content: bytes) -> None:
        """Put this content in its place: for the same owner and group, readable by them as before and by nobody else.

        Raises:
            OSError: it cannot be done, and has not been.
        """
        before = self.path.stat()
        with self.new.open("r+b") as file:
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), before.st_mode & 0o040 | 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.new.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # a key that has signed must not vanish with a power cut
        finally:
            os.close(folder)


def _unwritable(path: Path, error: OSError) -> Unwritable:
    return Unwritable(f"{path} cannot be written: {_words(error)}")


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


@dataclass(slots=True)
class Report:
    """What a command did below a folder, one line a file, in the order it was done."""

    folder: Path
    lines: list[str] = field(default_factory=list)

    def write(self, name: str, content: bytes, *, private: bool = False) -> None:
        """Write a file that is not there, and say so; say that it was kept where it is."""
        if write_new(self.folder / name, content, private=private):
            self.lines.append(f"wrote {name}")
        else:
            self.kept(name)

    def kept(self, name: str) -> None:
        """Say that a file is left as it is."""
        self.lines.append(f"kept {name} (it exists)")

    def there(self, name: str) -> bool:
        """Is something there, be it a dangling link?"""
        return os.path.lexists(self.folder / name)

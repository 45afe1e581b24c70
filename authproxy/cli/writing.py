"""New files only: what exists is left and named. Private files are 0600 from their first byte.

Keys and certificates that are overwritten are lost, so nothing of `init`, `certs` or `keys` writes in another way.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path


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
        return path.read_bytes()
    except OSError as error:
        raise Unwritable(f"{path} cannot be read: {_words(error)}") from None


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

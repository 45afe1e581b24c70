"""Secrets by reference, read when they are needed and never shown: `{file: PATH}` or `{env: NAME}`.

What the reference itself says is not shown either: a secret pasted there by mistake must not end in a log.
"""

from collections.abc import Mapping
from pathlib import Path

from authproxy.config.values import Secret

SECRET_MOST = 64 << 10


class SecretError(ValueError):
    """The secret cannot be had; the text says why and holds nothing of it."""


def read_secret(secret: Secret, folder: Path, environ: Mapping[str, str]) -> bytes:
    r"""The secret's bytes, one trailing newline (`\n` or `\r\n`) dropped.

    Raises:
        SecretError: it is missing, empty or over 64 KiB.
    """
    value = _from_file(folder / secret.file) if secret.file else _from_environment(secret, environ)
    if value.endswith(b"\n"):
        value = value[:-1].removesuffix(b"\r")
    if not value:
        raise SecretError("the secret is empty")
    if len(value) > SECRET_MOST:
        raise SecretError("the secret is over 64 KiB")
    return value


def _from_environment(secret: Secret, environ: Mapping[str, str]) -> bytes:
    value = environ.get(secret.env or "")
    if value is None:
        raise SecretError("the environment variable it names is not set")
    return value.encode("utf-8", "surrogateescape")


def _from_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(
                SECRET_MOST + 3
            )  # a newline may follow; no more is wanted of /dev/zero
    except OSError as error:
        words = (error.strerror or "no file").lower()
        raise SecretError(f"the file it names cannot be read: {words}") from None
    except ValueError:  # a NUL in the path
        raise SecretError("the file it names cannot be read: no path") from None

"""Secrets by reference, read when they are needed and never shown: `{file: PATH}` or `{env: NAME}`."""

from collections.abc import Mapping
from pathlib import Path

from authproxy.config.values import Secret

SECRET_MOST = 64 << 10


class SecretError(ValueError):
    """The secret cannot be had; the text says why and holds nothing of it."""


def read_secret(secret: Secret, folder: Path, environ: Mapping[str, str]) -> bytes:
    """The secret's bytes, one trailing newline dropped.

    Raises:
        SecretError: it is missing, empty or over 64 KiB.
    """
    if secret.env is not None:
        if secret.env not in environ:
            raise SecretError(f"the environment has no {secret.env}")
        value = environ[secret.env].encode("utf-8", "surrogateescape")
    else:
        path = folder / (secret.file or "")
        try:
            value = path.read_bytes()
        except OSError as error:
            raise SecretError(
                f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
            ) from None
    value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise SecretError("it is empty")
    if len(value) > SECRET_MOST:
        raise SecretError("it is over 64 KiB")
    return value

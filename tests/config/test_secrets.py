"""Secrets: read where they are referred to, and never shown."""

from pathlib import Path

import pytest

from authproxy.config.secrets import SECRET_MOST, SecretError, read_secret
from authproxy.config.values import Secret


def from_file(folder: Path, content: bytes) -> bytes:
    (folder / "s").write_bytes(content)
    return read_secret(Secret(file="s"), folder, {})


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"x", b"x"),
        (b"x\n", b"x"),
        (b"x\r\n", b"x"),
        (b"x\n\n", b"x\n"),
        (b"x\r", b"x\r"),
        (b" x ", b" x "),
        (b"\xff\x00", b"\xff\x00"),
    ],
)
def test_one_trailing_newline_is_dropped(tmp_path: Path, content: bytes, secret: bytes) -> None:
    """Editors add it; everything else is the secret."""
    assert from_file(tmp_path, content) == secret
    if b"\0" not in content:
        environ = {"S": content.decode("utf-8", "surrogateescape")}
        assert read_secret(Secret(env="S"), tmp_path, environ) == secret


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n"])
def test_an_empty_secret_is_an_error(tmp_path: Path, content: bytes) -> None:
    """An empty key would be everybody's."""
    with pytest.raises(SecretError, match="empty"):
        from_file(tmp_path, content)


def test_a_secret_is_bounded(tmp_path: Path) -> None:
    """Up to 64 KiB, also where the file never ends."""
    assert len(from_file(tmp_path, b"x" * SECRET_MOST + b"\r\n")) == SECRET_MOST
    for file in ("s", "/dev/zero"):
        (tmp_path / "s").write_bytes(b"x" * (SECRET_MOST + 1))
        with pytest.raises(SecretError, match="64 KiB"):
            read_secret(Secret(file=file), tmp_path, {})


@pytest.mark.parametrize(
    "secret",
    [
        Secret(file="hunter2"),
        Secret(file="."),
        Secret(file="hunter2\0"),
        Secret(env="hunter2"),
        Secret(file="h" * 5000),
    ],
)
def test_what_cannot_be_had_is_an_error_without_the_reference(
    tmp_path: Path, secret: Secret
) -> None:
    """A secret pasted where its reference belongs must not end in a log."""
    with pytest.raises(SecretError) as caught:
        read_secret(secret, tmp_path, {"OTHER": "x"})
    assert "hunter2" not in str(caught.value)


def test_a_relative_path_begins_at_the_configuration(tmp_path: Path) -> None:
    """And an absolute one anywhere."""
    (tmp_path / "s").write_bytes(b"x")
    assert read_secret(Secret(file=str(tmp_path / "s")), Path("/nowhere"), {}) == b"x"

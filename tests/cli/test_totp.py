"""`authproxy user totp`."""

import re
import subprocess
import sys
from pathlib import Path

import pyotp
import pytest

from authproxy.config.users import read_users_file
from tests.cli.program import run, succeed

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    succeed("init", tmp_path)
    return tmp_path / "authproxy.yaml"


def test_a_device_is_enrolled_by_its_code(config: Path) -> None:
    """The URI and a QR code are shown before the code is asked for; then the file has the secret, and `list` says so."""
    command = [
        sys.executable,
        "-m",
        "authproxy.cli.main",
        "user",
        "totp",
        "ADMIN",
        "--config",
        str(config),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        lines: list[str] = []
        while not (found := re.search(r"secret=([A-Z2-7]+)", "".join(lines))):
            lines.append(it.stdout.readline())
        assert "otpauth://totp/authproxy:admin?" in lines[-1]
        assert "▀" in "".join(lines)
        said, _ = it.communicate(pyotp.TOTP(found[1]).now() + "\n", timeout=20)
    assert (it.returncode, said.strip()) == (0, "admin is asked for a code from now on")
    assert read_users_file(config.parent / "users.yaml").by_name["admin"].totp == found[1]
    assert "\ttotp" in succeed("user", "list", "--config", config)


def test_without_the_code_nothing_is_written(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that has not got the secret would lock its owner out."""
    monkeypatch.setattr(pyotp, "random_base32", lambda: SECRET)
    file = config.parent / "users.yaml"
    before = file.read_text()
    for given in ("", "\n", "000000\n", "x" * 5000):
        result = run("user", "totp", "admin", "--config", config, given=given)
        assert (result.exit_code, "nothing was changed" in result.output) == (1, True)
    assert file.read_text() == before


def test_a_second_factor_is_taken_away(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `--remove` and not by enrolling anew; who has none is told so."""
    monkeypatch.setattr(pyotp, "random_base32", lambda: SECRET)
    at = ("--config", config)
    succeed("user", "totp", "admin", *at, given=pyotp.TOTP(SECRET).now())
    again = run("user", "totp", "admin", *at, given=pyotp.TOTP(SECRET).now())
    assert (again.exit_code, "has one already" in again.output) == (1, True)
    assert "password alone" in succeed("user", "totp", "admin", "--remove", *at)
    assert read_users_file(config.parent / "users.yaml").by_name["admin"].totp is None
    for arguments in (["admin", "--remove"], ["nobody"], ["nobody", "--remove"]):
        assert run("user", "totp", *arguments, *at).exit_code == 1

"""The real parts that these tests stand on: a missing one is named loudly, and fails where it must be there."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.nginx import need

SCRIPT = Path(__file__).resolve().parent.parent / "real_parts.sh"


def without_programs(folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """The script on a machine without curl and without a way to install it."""
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run(
        [bash, str(SCRIPT)], env={"PATH": str(folder), **env}, capture_output=True, text=True, check=False, timeout=30
    )  # fmt: skip


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    """The script names what is missing, and fails for it only where AUTHPROXY_REQUIRE_REAL=1."""
    told = without_programs(tmp_path)
    assert (told.returncode, "curl IS MISSING" in told.stderr) == (0, True)
    required = without_programs(tmp_path, AUTHPROXY_REQUIRE_REAL="1")
    assert (required.returncode, "curl IS MISSING" in required.stderr) == (1, True)


def test_a_test_without_its_part_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test whose part is missing is skipped with a loud reason, or fails where the part must be there."""
    monkeypatch.delenv("AUTHPROXY_REQUIRE_REAL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program IS MISSING"):
        need("no-such-program")
    monkeypatch.setenv("AUTHPROXY_REQUIRE_REAL", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program IS MISSING"):
        need("no-such-program")

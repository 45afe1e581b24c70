"""`authproxy demo`, as people and CI run it: a process of its own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "authproxy.cli.main", "demo"]


def environ(folder: Path) -> dict[str, str]:
    """Everything temporary goes into this folder; what would change another proxy must not change the demo's."""
    strange = {"AUTHPROXY_CONFIG": "/nowhere", "STATE_DIRECTORY": "/nowhere"}
    return {**os.environ, "TMPDIR": str(folder), **strange}


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


@contextmanager
def shown(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A demo that runs, and the lines that it printed into a pipe."""
    with subprocess.Popen(
        COMMAND,
        env=environ(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            while (line := process.stdout.readline()) and "Ctrl-C" not in line:
                lines.append(line.rstrip("\n"))
            yield process, lines
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.skipif(
    shutil.which("curl") is None and os.environ.get("AUTHPROXY_REQUIRE_REAL") != "1",
    reason="the lines are curl's, and curl is not installed",
)
def test_every_line_works_as_printed(tmp_path: Path) -> None:
    """`demo --check` runs the very lines that are printed, and each comes to what is said of it."""
    result = subprocess.run(
        [*COMMAND, "--check"],
        env=environ(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    outcomes = [line.partition(":")[0] for line in result.stdout.splitlines()]
    assert outcomes == ["ok"] * 9
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    """Ctrl-C, and what service managers and closing terminals send, end it with 0; directory and children are gone."""
    with shown(tmp_path) as (process, lines):
        proxies = children(process.pid)
        assert len(proxies) == 1
        assert len(list(tmp_path.glob("authproxy-demo-*"))) == 1
        assert sum(line.startswith("curl ") for line in lines) == 9
        assert all(line.startswith(("curl ", "#")) or not line for line in lines)
        process.send_signal(number)
        assert process.wait(20) == 0
    assert not list(tmp_path.iterdir())
    assert not any(Path(f"/proc/{pid}").exists() for pid in proxies)


def test_it_ends_when_its_proxy_does(tmp_path: Path) -> None:
    """A proxy that is ended by somebody else ends the demo: exit 1, and nothing is left."""
    with shown(tmp_path) as (process, _):
        os.kill(children(process.pid)[0], signal.SIGKILL)
        assert process.wait(20) == 1
    assert not list(tmp_path.iterdir())

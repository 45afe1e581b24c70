"""The soak, for AUTHPROXY_SOAK_SECONDS (80 minutes unless it says otherwise), with each kind of state at once."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run
from sys import executable

import pytest

from tests.endurance.soak import findings

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_nothing_grows(tmp_path: Path) -> None:
    """Two workers under light mixed load: less than 1 MiB an hour, no descriptors; nothing is answered that should not be.

    Below ten minutes a line has little to stand on: then the bounds are so much wider, and it is the tool that is tested.
    """
    seconds = float(os.environ.get("AUTHPROXY_SOAK_SECONDS", "4800"))
    slack = 1.0 if seconds >= 1800 else 10_000.0

    def soak(state: str) -> list[str]:
        file = tmp_path / f"{state.partition(':')[0]}.json"
        command = [executable, "-m", "tests.endurance.soak", "--seconds", str(seconds), "--slack", str(slack)]  # fmt: skip
        done = run(
            [*command, "--state", state, "--json", str(file)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds + 120,
        )  # fmt: skip
        assert file.exists(), done.stderr
        return findings(json.loads(file.read_text()))

    with ThreadPoolExecutor() as both:
        assert list(both.map(soak, ("lmdb:state", "redis"))) == [[], []]

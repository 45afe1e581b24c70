"""The chaos run, for AUTHPROXY_CHAOS_SECONDS (ten minutes unless it says otherwise), and how it reads a log."""

import os
from pathlib import Path

import pytest

from tests.end_to_end.nginx import need
from tests.endurance.chaos import chaos, read_lines


@pytest.mark.slow
def test_nothing_that_breaks_lets_anyone_in(tmp_path: Path) -> None:
    """Backends, Redis, workers, disks and files fail under mixed load: nobody is let in wrongly, nobody hangs, and each
    error has its code in the log and its fault.
    """
    for program in ("redis-server", "haproxy"):
        need(program)
    seconds = float(os.environ.get("AUTHPROXY_CHAOS_SECONDS", "600"))
    record = chaos(seconds, seed=int(os.environ.get("AUTHPROXY_CHAOS_SEED", "6")))
    assert record["findings"] == []
    assert record["trials"]


def test_half_a_line_is_no_spoilt_one(tmp_path: Path) -> None:
    """What a full disk took of a line is let pass; two lines in one are not, and neither is anything else."""
    file = tmp_path / "log"
    whole = '{"time":"2026","request_id":"a"}'
    file.write_text(f'{whole}\n{{"time":"2026","reque\n\n{{"ti\n')
    assert (list(read_lines([file])[0]), read_lines([file])[1]) == (["a"], [])
    for wrong in (f'{{"time":"2026","request_id":"b{whole}', "rubbish"):
        file.write_text(wrong)
        assert read_lines([file])[1] == [wrong]

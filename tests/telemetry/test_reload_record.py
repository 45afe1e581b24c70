"""The record of reloads: what one process writes, all others read, whole or not at all."""

import os

import pytest

from authproxy.model.errors import Problem
from authproxy.telemetry.reload_record import (
    PROBLEMS_MOST,
    TEXT_MOST,
    Reload,
    ReloadRecord,
    last_reload,
)

PROBLEM = Problem("policies/a.yaml", 3, 7, "bad-rate", "`1/minit` is no rate", "write N/minute")


def test_what_was_noted_is_read() -> None:
    """A failed reload is kept with each problem's place; the next one takes its place; cleared, there is none."""
    record = ReloadRecord()
    assert record.last() is None
    record.note(5.0, [PROBLEM], success=False)
    assert record.last() == Reload(False, 5.0, (PROBLEM,))
    record.note(6.0, success=True)
    assert record.last() == Reload(True, 6.0)
    record.clear()
    assert record.last() is None


def test_another_process_reads_it() -> None:
    """What a child writes after the fork, the parent sees."""
    record = ReloadRecord()
    child = os.fork()
    if child == 0:
        try:
            record.note(5.0, [PROBLEM], success=False)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert record.last() == Reload(False, 5.0, (PROBLEM,))


@pytest.mark.parametrize("file", ["a.yaml", "x" * 4000])
def test_it_is_bounded(file: str) -> None:
    """However many and long the problems are, the record holds, and says how many it left out."""
    record = ReloadRecord()
    problem = Problem(file, 1, 1, "code", "ü\n" * 5000, "€" * 5000)
    record.note(5.0, [problem] * 300, success=False)
    found = record.last()
    assert found is not None
    assert len(found.problems) + found.more == 300
    assert len(found.problems) in {0, PROBLEMS_MOST}
    assert all(len(p.text) == len(p.remedy) == TEXT_MOST for p in found.problems)


def test_a_record_that_is_being_written_is_none() -> None:
    """Between the beginning and the end of a write nothing is read, rather than half of it."""
    record = ReloadRecord()
    record.note(5.0, success=True)
    record._memory[0] += 1
    assert record.last() is None


def test_a_failure_anywhere_is_seen() -> None:
    """Of several processes' reloads a failed one is told before those that went well; else the newest is."""
    records = [ReloadRecord() for _ in range(4)]
    assert last_reload(records) is None
    records[0].note(7.0, success=True)
    records[1].note(8.0, success=True)
    assert last_reload(records) == Reload(True, 8.0)
    records[2].note(6.0, [PROBLEM], success=False)
    assert last_reload(records) == Reload(False, 6.0, (PROBLEM,))

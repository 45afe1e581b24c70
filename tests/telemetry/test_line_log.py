"""A log of lines: batches, rotation, full disks, slow readers; a log that fails never fails a request."""

import asyncio
import json
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from authproxy.telemetry import line_log
from authproxy.telemetry.access_log import access_log, json_line
from authproxy.telemetry.line_log import BATCH_BYTES, WAITING_MOST, LineLog
from tests.telemetry.test_access_log import exchange


def test_lines_are_written_in_batches(tmp_path: Path) -> None:
    """Lines wait for `flush()`, or until they are many; closing writes the rest; a file is appended to."""
    file = tmp_path / "log"
    file.write_text("before\n")
    log = access_log(str(file), "json")
    log.write(exchange(), 0.0)
    assert file.read_text() == "before\n"
    log.flush()
    assert len(file.read_text().splitlines()) == 2
    for _ in range(400):
        log.write(exchange(), 0.0)
    assert len(file.read_text().splitlines()) > 100
    log.close()
    assert len(file.read_text().splitlines()) == 402


def test_a_rotated_file_is_opened_again(tmp_path: Path) -> None:
    """After a rotation `reopen()` writes to the new file, and nothing is lost."""
    log = access_log(str(tmp_path / "log"), "json")
    log.write(exchange(), 0.0)
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.reopen()
    log.write(exchange(), 0.0)
    log.close()
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("log.1", "log")] == [1, 1]


def test_a_full_disk_loses_lines_and_counts_them() -> None:
    """A disk that is full fails no request; what was lost is counted."""
    log = access_log("/dev/full", "json")
    for _ in range(3):
        log.write(exchange(), 0.0)
    log.flush()
    assert log.lost == 3
    log.close()


def test_a_part_that_was_written_is_completed() -> None:
    """A file that takes a part at a time (a pipe, a nearly full disk) gets whole lines."""

    class Stingy:
        """Takes seven bytes at a time."""

        written = b""

        def write(self, data: bytes) -> int:
            self.written += bytes(data[:7])
            return min(7, len(data))

        def flush(self) -> None:
            """Nothing waits."""

    log, file = access_log("-", "json"), Stingy()
    log._file = file  # type: ignore[assignment]
    log.write(exchange(), 0.0)
    log.flush()
    assert json.loads(file.written)["request_id"] == "id-1"


def test_what_a_line_trips_over_fails_no_request(tmp_path: Path) -> None:
    """An exchange that cannot be written is counted as lost, not raised."""
    log = access_log(str(tmp_path / "log"), "json")
    log.write(exchange(route=object()), 0.0)
    assert log.lost == 1
    log.close()


async def test_a_reader_that_stops_reading_stops_nobody(tmp_path: Path) -> None:
    """What finds no room waits, within a bound; what is more is lost and counted; nothing ever blocks."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = access_log(str(pipe), "json")
    began = time.monotonic()
    for _ in range(WAITING_MOST // 300):
        log.write(exchange(), 0.0)
    log.flush()
    assert time.monotonic() - began < 5
    assert 0 < log.lost < WAITING_MOST // 300
    os.close(reader)
    log.close()


async def test_what_waited_is_written_once_somebody_reads(tmp_path: Path) -> None:
    """A slow reader gets every line, whole and in order, also those longer than the kernel keeps together."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log, read = access_log(str(pipe), "json"), b""
    for number in range(300):
        log.write(
            exchange(request_id=f"{number:04d}", host="h" * (6000 if number % 3 == 0 else 9)), 0.0
        )
    log.flush()
    async with asyncio.timeout(5):
        while read.count(b"\n") < 300:
            with suppress(BlockingIOError):
                read += os.read(reader, 1 << 16)
            await asyncio.sleep(0.005)
    assert [json.loads(line)["request_id"] for line in read.splitlines()] == [
        f"{number:04d}" for number in range(300)
    ]
    os.close(reader)
    log.close()


def test_a_reader_that_goes_away_takes_what_waited_with_it(tmp_path: Path) -> None:
    """Each line that nobody can read any more is counted, once; the next reader gets the next lines, whole."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = access_log(str(pipe), "json")
    for _ in range(1000):  # more than a pipe takes
        log.write(exchange(), 0.0)
    log.flush()
    unread = os.read(reader, 1 << 20).count(b"\n")
    assert 0 < unread < 1000
    os.close(reader)
    log.write(exchange(), 0.0)
    log.flush()
    assert log.lost == 1001 - unread
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log.write(exchange(), 0.0)
    log.flush()
    assert json.loads(os.read(reader, 1 << 16))["status"] == 200
    assert log.lost == 1001 - unread
    os.close(reader)
    log.close()


def test_a_line_longer_than_all_that_is_collected_is_written_whole(tmp_path: Path) -> None:
    """Between the others, in its place."""
    lines = [b"a" * 9 + b"\n", b"b" * (3 * BATCH_BYTES) + b"\n", b"c" * 9 + b"\n"]
    waiting = iter(lines)
    log = LineLog(str(tmp_path / "log"), lambda _x, _s: next(waiting), "access")
    for _ in lines:
        log.write(exchange(), 0.0)
    log.close()
    assert (tmp_path / "log").read_bytes() == b"".join(lines)


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    """A file that is made is of mode 0600 whatever the umask, one that others could read no longer is."""
    before, mask = tmp_path / "before", os.umask(0)
    before.touch(0o644)
    try:
        for file in (before, tmp_path / "new"):
            log = LineLog(str(file), json_line, "decision", private=True)
            log.write(exchange(), 0.0)
            log.close()
            assert (file.stat().st_mode & 0o777, len(file.read_text().splitlines())) == (0o600, 1)
    finally:
        os.umask(mask)


def test_a_request_without_a_line_is_not_noted(tmp_path: Path) -> None:
    """Where the maker has no line, none is written and none is lost."""
    log = LineLog(str(tmp_path / "log"), lambda _x, _s: None, "decision")
    log.write(exchange(), 0.0)
    log.close()
    assert ((tmp_path / "log").read_bytes(), log.lost) == (b"", 0)


def test_a_line_can_be_made_in_another_way(tmp_path: Path) -> None:
    """One file takes the lines of the next policies while requests under the old ones still end."""
    log = LineLog(str(tmp_path / "log"), lambda _x, _s: b"old\n", "decision")
    log.write(exchange(), 0.0)
    log.write(exchange(), 0.0, lambda _x, _s: b"new\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"old\nnew\n"


def test_half_a_line_spoils_no_other(tmp_path: Path) -> None:
    """A disk that is full in the middle of a line: once there is room the next line begins anew, and is whole."""

    class Full:
        """Takes a hundred bytes, and no more until it is emptied."""

        def __init__(self) -> None:
            self.written, self.room = b"", 100

        def write(self, data: bytes) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            taken = bytes(data[: self.room])
            self.written += taken
            self.room -= len(taken)
            return len(taken)

        def flush(self) -> None:
            """Nothing waits."""

    log, file = access_log(str(tmp_path / "log"), "json"), Full()
    log.close()
    log._file = file  # type: ignore[assignment]
    log.write(exchange(), 0.0)
    log.flush()
    assert (log.lost, len(file.written)) == (1, 100)
    file.room = 10_000
    for _ in range(2):
        log.write(exchange(), 0.0)
        log.flush()
    torn, *whole = file.written.splitlines()
    assert len(torn) == 100
    assert [json.loads(line)["status"] for line in whole] == [200, 200]


def test_half_a_line_of_another_worker_spoils_no_line(tmp_path: Path) -> None:
    """Whoever left it, also a process that is gone: the next line begins anew. A file that cannot be read is written all the same."""
    file = tmp_path / "log"
    file.write_text('{"time":"20')
    first, second = (access_log(str(file), "json") for _ in range(2))
    for log in (first, second, first):
        log.write(exchange(), 0.0)
        log.flush()
    torn, *whole = file.read_text().splitlines()
    assert (torn, [json.loads(line)["status"] for line in whole]) == ('{"time":"20', [200] * 3)
    for log in (first, second):
        log.close()


def test_lines_after_the_end_are_written_at_once(tmp_path: Path) -> None:
    """A request that outlives several reloads still has its line, and its log holds neither lines nor the file."""
    file = tmp_path / "log"
    log = access_log(str(file), "json")
    log.write(exchange(), 0.0)
    log.close()
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(300):
        log.write(exchange(request_id=str(number)), 0.0)
        assert len(file.read_text().splitlines()) == number + 2
    assert (log.lost, log._filled, len(log._buffer)) == (0, 0, BATCH_BYTES)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_lines_after_the_end_that_find_no_place_are_counted(tmp_path: Path) -> None:
    """Where the file can be written no more, or nobody reads the pipe in time, no request fails and nothing is collected."""
    folder = tmp_path / "logs"
    folder.mkdir()
    log = access_log(str(folder / "log"), "json")
    log.close()
    (folder / "log").unlink()
    folder.rmdir()
    for _ in range(3):
        log.write(exchange(), 0.0)
    assert (log.lost, log._filled) == (3, 0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = access_log(str(pipe), "json")
    log.close()
    began = time.monotonic()
    for _ in range(1000):  # more than a pipe takes
        log.write(exchange(), 0.0)
    assert time.monotonic() - began < 5
    read = os.read(reader, 1 << 20).count(b"\n")
    assert (log.lost + read, log._waiting) == (1000, [])
    assert 0 < read < 1000
    os.close(reader)


def test_a_pipe_without_a_reader_stops_no_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and the old one is written on; a log that begins waits a little for its reader, not for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = access_log(str(pipe), "json")
    pipe.rename(tmp_path / "old")
    os.mkfifo(pipe)
    log.rotate()
    log.write(exchange(), 0.0)
    log.flush()
    assert os.read(reader, 1 << 16).count(b"\n") == 1
    monkeypatch.setattr(line_log, "READER_PATIENCE", 0.05)
    with pytest.raises(OSError, match="nobody reads it"):
        access_log(str(pipe), "json")
    os.close(reader)
    log.close()

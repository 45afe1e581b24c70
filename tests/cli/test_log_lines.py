"""Reading logs: plain, gzip, several, damaged; what is too long or broken is named and stops nothing."""

import gzip
import io
import json
import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from authproxy.cli import log_lines
from authproxy.cli.log_lines import Bar, Reader

LINE: dict[str, Any] = {
    "time": "2027-01-15T08:00:00.250Z", "client": "192.0.2.1", "method": "GET", "host": "h", "path": "/", "decision": "allow",
}  # fmt: skip


def lines(*ids: str) -> bytes:
    """Lines with these request ids."""
    return b"".join(json.dumps(LINE | {"request_id": one}).encode() + b"\n" for one in ids)


def read(*files: Path) -> tuple[Reader, list[str]]:
    """What is in these files."""
    reader = Reader([str(file) for file in files])
    return reader, [record.exchange.request_id for record in reader.records()]


def test_several_logs_plain_and_compressed(tmp_path: Path) -> None:
    """One after the other; what is compressed is known by its first bytes, members of gzip follow each other."""
    plain, packed = tmp_path / "a.gz", tmp_path / "b.log"
    plain.write_bytes(lines("1", "2"))
    packed.write_bytes(gzip.compress(lines("3")) + gzip.compress(lines("4")))
    reader, ids = read(plain, packed)
    assert (ids, reader.lines, reader.damaged.count) == (["1", "2", "3", "4"], 4, 0)


def test_damaged_lines_are_named(tmp_path: Path) -> None:
    """By file and number, with what is wrong; the others are read."""
    file = tmp_path / "log"
    file.write_bytes(
        lines("1") + b"{cut\n" + b"192.0.2.1 - - [x]\n" + b"[]\n" + lines("2") + b'{"path": 1}\n'
    )
    reader, ids = read(file)
    assert (ids, reader.lines, reader.damaged.count) == (["1", "2"], 6, 4)
    assert reader.damaged.places == [
        (str(file), 2, "no JSON"), (str(file), 3, "no JSON (only `format: json` can be read)"),
        (str(file), 4, "no JSON object"), (str(file), 6, "`path` is no text"),
    ]  # fmt: skip


def test_compressed_data_that_ends_early_is_named(tmp_path: Path) -> None:
    """What came before is read."""
    file, whole = tmp_path / "log.gz", gzip.compress(b"".join(lines(str(n)) for n in range(2000)))
    for bad in (whole[:-20], whole[:-8] + b"????????", gzip.compress(lines("1")) + b"junk"):
        file.write_bytes(bad)
        reader, ids = read(file)
        assert ids[0] in {"0", "1"}
        assert [what for *_, what in reader.damaged.places] == [
            "the compressed data ends or is damaged here"
        ]


def test_a_line_that_is_too_long_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bounded memory; the next line is read as what it is."""
    monkeypatch.setattr(log_lines, "LINE_MOST", 200)
    file = tmp_path / "log"
    file.write_bytes(b'{"x": "' + b"y" * 5000 + b'"}\n' + lines("1"))
    reader, ids = read(file)
    assert ids == ["1"]
    assert reader.damaged.places == [(str(file), 1, "longer than any line of ours")]


def test_a_line_without_end_needs_no_memory(tmp_path: Path) -> None:
    """Nor when 64 MiB of it come out of 64 KiB that were compressed: it is passed over as it is read."""
    file = tmp_path / "log.gz"
    with gzip.open(file, "wb", compresslevel=1) as packed:
        packed.write(lines("1"))
        for _ in range(64):
            packed.write(bytes(1 << 20))
        packed.write(b"\n" + lines("2"))
    tracemalloc.start()
    try:
        reader, ids = read(file)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (ids, reader.damaged.count) == (["1", "2"], 1)
    assert most < 4 << 20


def test_a_pipe_is_read_as_it_is_written(tmp_path: Path) -> None:
    """Each line is told when it comes, and nobody waits for an end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)  # opens without a reader, and so the end never comes
    found = Reader([str(pipe)]).records()
    for one in ("1", "2"):
        os.write(writer, lines(one))
        assert next(found).exchange.request_id == one
    os.write(writer, b'{"half')
    os.close(writer)
    assert list(found) == []


def test_only_the_first_damaged_lines_are_kept(tmp_path: Path) -> None:
    """All are counted; nested without end is damaged as well."""
    file = tmp_path / "log"
    file.write_bytes(b"[" * 100_000 + b"\n" + b"x\n" * 50)
    reader, _ = read(file)
    assert (reader.damaged.count, len(reader.damaged.places)) == (51, log_lines.NAMED_MOST)


def test_a_line_about_no_target_is_no_damage(tmp_path: Path) -> None:
    """The access log holds heads that were refused."""
    file = tmp_path / "log"
    file.write_text(json.dumps(LINE | {"request_id": "1", "path": "", "decision": "refuse"}) + "\n")
    reader, ids = read(file)
    assert (ids, reader.about_nothing, reader.damaged.count) == ([], 1, 0)


class Terminal(io.StringIO):
    """One, as far as it is asked."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how far it is, or how many lines where nobody knows; it is taken away in the end."""
    monkeypatch.setattr(log_lines, "DRAW_EVERY", 0.0)
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    bar = Bar()
    bar.draw(50, 100, 1234)
    bar.draw(0, 0, 2345)
    bar.done()
    assert shown.getvalue() == f"\r[{'#' * 15}{'.' * 15}]  50% 1,234 lines\r2,345 lines\r\x1b[K"


def test_no_bar_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe or a file gets nothing of it."""
    monkeypatch.setattr(log_lines, "DRAW_EVERY", 0.0)
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    bar = Bar()
    bar.draw(50, 100, 1)
    bar.done()
    assert shown.getvalue() == ""

"""New files only, and private ones private."""

import os
import stat
from pathlib import Path

import pytest

from authproxy.cli.writing import Report, Unwritable, read_old, write_new


def test_private_whatever_the_umask(tmp_path: Path) -> None:
    """A private file is 0600 although the umask would let everybody read it."""
    before = os.umask(0)
    try:
        assert write_new(tmp_path / "deep" / "key", b"secret", private=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "deep" / "key").stat().st_mode) == 0o600


def test_never_overwrites(tmp_path: Path) -> None:
    """What exists keeps its content."""
    (tmp_path / "a").write_bytes(b"old")
    assert not write_new(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_follows_no_link(tmp_path: Path) -> None:
    """A dangling link is kept, and nothing is written where it points."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert not write_new(tmp_path / "link", b"key", private=True)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """Where a directory should be and a file is, the error names it."""
    (tmp_path / "certs").write_text("")
    with pytest.raises(Unwritable, match="certs"):
        write_new(tmp_path / "certs" / "ca.crt", b"x")


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    """A file that cannot be read is an Unwritable that names it."""
    with pytest.raises(Unwritable, match="gone cannot be read: no such file"):
        read_old(tmp_path / "gone")


def test_report_says_wrote_and_kept(tmp_path: Path) -> None:
    """The report has a line for each file, in order, that says what became of it."""
    report = Report(tmp_path)
    report.write("a", b"1")
    report.write("a", b"2")
    assert report.lines == ["wrote a", "kept a (it exists)"]

"""New files only, and private ones private."""

import os
import stat
from pathlib import Path

import pytest

from authproxy.cli.writing import Report, Unwritable, read_old, replacing, write_new


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


def test_a_replacement_takes_its_place_in_one_step(tmp_path: Path) -> None:
    """Before it is whole the old file is there; it is private; nothing is left beside it."""
    key = tmp_path / "key"
    key.write_bytes(b"old")
    key.chmod(0o600)
    with replacing(key) as file:
        assert (file.content, file.new.stat().st_mode & 0o777) == (b"old", 0o600)
        assert key.read_bytes() == b"old"
        file.commit(b"new")
    assert (key.read_bytes(), stat.S_IMODE(key.stat().st_mode)) == (b"new", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize(("mode", "kept"), [(0o600, 0o600), (0o640, 0o640), (0o664, 0o640), (0o400, 0o600)])  # fmt: skip
def test_a_replacement_is_read_by_whom_it_was_for(tmp_path: Path, mode: int, kept: int) -> None:
    """The server's group goes on reading it; others never do. The owner stays who it was."""
    key = tmp_path / "key"
    key.write_bytes(b"old")
    key.chmod(mode)
    if os.getuid() == 0:
        os.chown(key, 12345, 23456)
    before = key.stat()
    with replacing(key) as file:
        file.commit(b"new")
    after = key.stat()
    assert stat.S_IMODE(after.st_mode) == kept
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_a_replacement_goes_through_a_link(tmp_path: Path) -> None:
    """The link stays a link."""
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as file:
        file.commit(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_replacement_that_fails_leaves_the_file(tmp_path: Path) -> None:
    """Whatever went wrong, and nothing half-written beside it."""
    key = tmp_path / "key"
    key.write_bytes(b"old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), replacing(key):
            raise error
    with pytest.raises(Unwritable, match="no space"), replacing(key):
        raise OSError(28, "No space left on device")
    assert key.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_two_do_not_replace_at_once(tmp_path: Path) -> None:
    """The second is told; what an interrupted one left is not taken for nothing."""
    key = tmp_path / "key"
    key.write_bytes(b"old")
    with replacing(key) as file:
        with pytest.raises(Unwritable, match=r"key\.new exists"), replacing(key):
            pass
        file.commit(b"new")
    assert key.read_bytes() == b"new"


def test_what_is_not_there_is_not_replaced(tmp_path: Path) -> None:
    """It says so, and leaves nothing."""
    with pytest.raises(Unwritable, match="no such file"), replacing(tmp_path / "gone"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_report_says_wrote_and_kept(tmp_path: Path) -> None:
    """The report has a line for each file, in order, that says what became of it."""
    report = Report(tmp_path)
    report.write("a", b"1")
    report.write("a", b"2")
    assert report.lines == ["wrote a", "kept a (it exists)"]

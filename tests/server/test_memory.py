"""Memory: what was loaded is settled, what is free goes back to the system, large pages are asked for where they may be had."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from authproxy.server import memory
from authproxy.server.memory import LARGE, give_back_memory, settle_memory


@pytest.fixture
def advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[int, int, int]]:
    """What the kernel is told, which offers large pages on request; nothing of this process is touched."""
    told: list[tuple[int, int, int]] = []

    def madvise(begin: int, end: int, wanted: int) -> None:
        told.append((begin, end - begin, wanted))

    monkeypatch.setattr(memory, "madvise", madvise)
    offered = tmp_path / "enabled"
    offered.write_text("always [madvise] never\n")
    monkeypatch.setattr(memory, "OFFERED", offered)
    return told


@pytest.mark.usefixtures("collector", "advice")
def test_what_is_loaded_is_out_of_the_collectors_sight() -> None:
    """It is not looked at again, and the rest not after every few requests."""
    settle_memory()
    assert (gc.get_freeze_count() > 1000, gc.get_threshold()[0]) == (True, 20_000)


@pytest.mark.usefixtures("collector")
def test_large_pages_are_asked_for_where_objects_are(
    advice: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whole ones of private memory without a name: no file's, not malloc's heap, nothing that is shared or too small."""
    maps = tmp_path / "maps"
    maps.write_text(
        "10000000-10800000 rw-p 00000000 00:00 0                          [heap]\n"
        "7f0000100000-7f0000700000 rw-p 00000000 00:00 0 \n"
        "7f0001000000-7f0001400000 rw-s 00000000 00:01 7                  /dev/zero (deleted)\n"
        "7f0002000000-7f0002400000 rw-p 00000000 fe:01 99                 /lib/x.so\n"
        "7f0003000000-7f0003400000 r--p 00000000 00:00 0 \n"
        "7f0004100000-7f0004380000 rw-p 00000000 00:00 0 \n"
    )
    monkeypatch.setattr(memory, "MAPS", maps)
    settle_memory()
    assert advice == [(0x7F0000200000, 2 * LARGE, 14), (0x7F0000200000, 2 * LARGE, 25)]


@pytest.mark.usefixtures("collector")
def test_an_operators_never_holds(advice: list[tuple[int, int, int]]) -> None:
    """Neither where large pages are forbidden nor where nobody knows of them is one asked for."""
    memory.OFFERED.write_text("always madvise [never]\n")
    settle_memory()
    memory.OFFERED.unlink()
    settle_memory()
    assert advice == []


@pytest.mark.usefixtures("collector")
def test_without_glibc_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another libc has no word for it, and that is no error."""
    monkeypatch.setattr(memory, "_malloc_trim", None)
    give_back_memory()


class Circle:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("collector")
def test_what_only_a_circle_holds_is_let_go_of() -> None:
    """Long before there are so many objects that the collector would come by itself."""
    gc.set_threshold(1_000_000)
    held = Circle()
    seen = weakref.ref(held)
    give_back_memory()
    assert seen() is held
    held = Circle()
    gone = weakref.ref(held)
    del held
    give_back_memory()
    assert gone() is None


FREED = """
from pathlib import Path
from authproxy.server.memory import give_back_memory, settle_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) << 12

held = [b"%d" % n * 4000 for n in range(8000)]
settle_memory()
kept, full = [held[n] for n in range(0, 8000, 40)], resident()
del held
before = resident()
give_back_memory()
assert all(kept[n] == b"%d" % (n * 40) * 4000 for n in range(len(kept)))
print(full, before, resident())
"""


def test_what_is_free_goes_back_and_nothing_else_does() -> None:
    """Also from between what is still held, which stays as it is."""
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    full, before, after = map(int, done.stdout.split())
    assert before > full * 0.8, "nothing was left for it to give back"
    assert after < full / 3

"""The memory of a process that serves for months: what it was loaded with has settled, what it needs no more goes back.

All of it is advice to the collector, to malloc and to the kernel; where one of them knows nothing of it (another libc, an
older kernel), the process does without. Nothing else depends on it, and no object is ever touched.
"""

import ctypes
import gc
import mmap
from collections.abc import Iterator
from pathlib import Path

from authproxy.madvise import madvise

LARGE = 2 << 20  # bytes of a large page
COLLAPSE = 25  # MADV_COLLAPSE (Linux 6.1), for which Python has no name
OFFERED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MAPS = Path("/proc/self/maps")

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone


def settle_memory() -> None:
    """What is loaded by now stays for good: the collector need not look at it, nor after every few requests. It is moved
    to large pages where these are offered, and what loading needed beside it is given back.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    give_back_memory()
    _take_large_pages()


def give_back_memory() -> None:
    """Let go of what only circles of objects hold, and give whole free pages back to the system, wherever they lie.

    The collector comes by count: on a quiet day that is after hours, and an error that was caught may hold a request with
    all the policies that it was judged by. malloc keeps what a load needed for a moment. Both together take about a
    millisecond.
    """
    gc.collect(1)  # what is young; all that lives long is not looked at
    if _malloc_trim is not None:
        _malloc_trim(0)


def _take_large_pages() -> None:
    """Have what Python's objects lie in moved to pages of 2 MiB, where the operator lets the kernel offer them.

    With thousands of routes a request waits for memory that it alone needs, and to find a small page takes about as long
    as to read what is in it: among 10,000 routes it costs 2 µs less with them (measured).
    """
    try:
        if "[never]" in OFFERED.read_text():
            return
        regions = list(_objects())
    except OSError:
        return
    for begin, end in regions:
        madvise(begin, end, mmap.MADV_HUGEPAGE)
        madvise(begin, end, COLLAPSE)


def _objects() -> Iterator[tuple[int, int]]:
    """Where Python's objects are, as far as whole large pages fit in (proc_pid_maps(5)).

    Not malloc's heap: in it lie buffers of TLS connections, 256 KiB each, of which only the first pages are ever touched.
    """
    for line in MAPS.read_text().splitlines():
        place, mode, _, _, inode, *name = line.split()
        if mode != "rw-p" or inode != "0" or name:
            continue
        first, last = (int(address, 16) for address in place.split("-"))
        begin, end = -(-first // LARGE) * LARGE, last // LARGE * LARGE
        if begin < end:
            yield begin, end

"""Advice to the kernel about memory."""

import ctypes
import mmap

from authproxy.madvise import madvise

PAGE = mmap.PAGESIZE


def test_the_kernel_takes_it_for_what_it_names_alone() -> None:
    """Pages that are given back are empty, the ones beside them as they were."""
    with mmap.mmap(-1, 3 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(b"x" * (3 * PAGE))
        begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        madvise(begin + PAGE, begin + 2 * PAGE, mmap.MADV_DONTNEED)
        parts = [memory[at : at + PAGE] for at in range(0, 3 * PAGE, PAGE)]
        assert parts == [b"x" * PAGE, bytes(PAGE), b"x" * PAGE]


def test_what_the_kernel_does_not_know_does_nothing() -> None:
    """An older one has no word for some of it."""
    madvise(0, 0, 9999)

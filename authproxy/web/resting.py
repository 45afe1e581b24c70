"""What a client's connection need not hold while nothing is read from it.

uvloop has 256 KiB for each TLS connection to read into, which only the callback of a read needs: their pages go back to
the system, the memory stays where it is. No timer and no task: whoever calls knows when. A hook that is not public, with a
contract test (tests/web/test_resting.py).
"""

import asyncio
import ctypes
import mmap
import os

PAGE = mmap.PAGESIZE
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
# Where malloc is told to take huge pages of its own, some kernels give more back than was asked (madvise(2), 5.18 to 6.0).
_GIVES = "glibc.malloc.hugetlb=2" not in os.environ.get("GLIBC_TUNABLES", "")


def give_back(transport: asyncio.BaseTransport) -> None:
    """Let go of the pages that a TLS connection reads into; a plain one, and one of another loop, has none.

    malloc lays them over what the handshakes before needed for a moment: 12 KiB a connection would stay resident that
    nobody touches again (measured), and all 256 after a body that came fast. What is read is taken from there before
    the read's callback ends, so nothing is lost; the next read has fresh pages, as many as it fills.
    """
    end = transport.get_extra_info("uvloop.sslproto")
    if end is None or not _GIVES:
        return
    memory = end.get_buffer(0)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    # Whole pages only: what lies before and behind is not ours.
    first, last = -(-begin // PAGE) * PAGE, (begin + len(memory)) // PAGE * PAGE
    if first < last:
        _madvise(first, last - first, mmap.MADV_DONTNEED)

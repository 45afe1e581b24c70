"""Advice to the kernel about memory of this process, for which Python has no call of its own.

It is advice: a kernel that does not know it does nothing, and nobody asks whether it did. What is advised, and about whose
memory, is the business of whoever calls; with a wrong address the advice to drop pages destroys what is in them.
"""

import ctypes

_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def madvise(begin: int, end: int, advice: int) -> None:
    """Advise the kernel about the memory from the address `begin` to `end`, both multiples of a page (madvise(2))."""
    _madvise(begin, end - begin, advice)

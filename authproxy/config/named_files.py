"""Files that the configuration names beside itself: keys, certificates, authorities, users; read whole, within a bound.

Whoever reads one says what is wrong with it at its place in the configuration. A file that has no end, such as a device,
must not take the memory of a running proxy, or of a pipeline that checks what somebody proposes.
"""

import errno
import os
from pathlib import Path

NAMED_MOST = 8 << 20  # bytes; a bundle of all public authorities has a quarter of a megabyte


def read_named(path: Path, most: int = NAMED_MOST) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: it cannot be read, or has more than `most` bytes (EFBIG).
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content

"""Asking the running workers: what they remember of a request, and what is left of limits.

They are asked through their sockets in the state directory, which belong to the user that the server runs as; whoever
else listens there is not believed.
"""

import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from authproxy.model.rate import Balance, Charge

PATIENCE = 3.0  # seconds for a worker to answer
ANSWER_MOST = 1 << 20
PATTERN = "trail-*.sock"


class NothingKnownError(Exception):
    """No worker can say; the text says why, and what to do."""


def find_request(folder: Path, request_id: str) -> dict[str, Any]:
    """What the last request of this id was, and what came of it.

    Raises:
        NothingKnownError: no server runs, it keeps no trail, or none of its workers remembers the request.
    """
    answers = [
        one for one in _answers(folder, request_id) if {"keeps", "held", "found"} <= set(one)
    ]
    found: list[dict[str, Any]] = [one["found"] for one in answers if one["found"]]
    if found:
        return found[0]
    if not answers:
        raise NothingKnownError(
            f"no server is running with its state in {folder}; requests are remembered in its memory only"
        )
    keeps, held = int(answers[0]["keeps"]), sum(int(one["held"]) for one in answers)
    if not keeps:
        raise NothingKnownError("the server remembers no requests: `logging: {trail: 0}` says so")
    raise NothingKnownError(
        f"no worker remembers the request {request_id}: {len(answers)} running, each remembers its last {keeps} "
        f"({held} in all now); WebSockets and streams are known once they have ended"
    )


def ask_limits(folder: Path, charges: Sequence[Charge]) -> list[Balance]:
    """What is left of these limits, which is the same whichever worker says it.

    Raises:
        NothingKnownError: no server runs, or its state is away.
    """
    asked = [(c.key.hex(), c.rate.amount, c.rate.window, c.strategy, c.cost) for c in charges]
    for one in _answers(folder, {"charges": asked}):
        if isinstance(one.get("balances"), list) and len(one["balances"]) == len(charges):
            return [Balance(*balance) for balance in one["balances"]]
        if "why" in one:
            raise NothingKnownError(f"what is left of the limits is not known: {one['why']}")
    raise NothingKnownError(
        f"no server is running with its state in {folder}: --live asks a running one"
    )


def _answers(folder: Path, question: Any) -> Iterator[dict[str, Any]]:
    """What each worker says.

    Raises:
        NothingKnownError: they may not be asked.
    """
    theirs = f"the state in {folder} is another user's: run this as the user that the server runs as, or as root"
    try:
        paths = sorted(path for path in folder.iterdir() if fnmatch(path.name, PATTERN))
    except PermissionError:
        raise NothingKnownError(theirs) from None
    except OSError:
        return
    for path in paths:
        try:
            yield _asked(path, question)
        except PermissionError:
            raise NothingKnownError(theirs) from None
        except (OSError, ValueError, RecursionError):
            continue  # a worker that ended, or is not one of ours


def _asked(path: Path, question: Any) -> dict[str, Any]:
    """One worker's answer.

    Raises:
        OSError: it does not answer, or is not of the user whose directory it is.
        ValueError: it does not answer so.
    """
    # By a short name, as the path of a socket may have 107 bytes (unix(7)).
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(f"/proc/self/fd/{folder}/{path.name}")
            size = struct.calcsize("3i")
            _, user, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))  # fmt: skip
            if user != os.fstat(folder).st_uid:
                raise ConnectionRefusedError("a stranger's socket")
            sock.sendall(json.dumps(question).encode() + b"\n")
            answer = json.loads(_whole(sock))
    finally:
        os.close(folder)
    if not isinstance(answer, dict):
        raise ValueError("no answer of ours")  # noqa: TRY004  # junk of any kind is one error
    return answer


def _whole(sock: socket.socket) -> bytes:
    said, end = b"", time.monotonic() + PATIENCE
    while not said.endswith(b"\n"):
        sock.settimeout(
            max(0.001, end - time.monotonic())
        )  # for all of it, however slowly it comes
        part = sock.recv(65536)
        if not part:
            break
        said += part
        if len(said) > ANSWER_MOST:
            raise ValueError("too long an answer")
    return said

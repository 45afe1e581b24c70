"""What happened to a request: found in the trails of the running workers, and explained by the policies as they are now.

The record is what the server decided by; the tree is the decision function's, asked again. Where the two differ, that is said.
"""

import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from authproxy.cli.explanation import told
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields
from authproxy.model.identity import Identity
from authproxy.policy.decide import Identify, Trace, Verdict, judge, presenting
from authproxy.policy.recorded import DamagedRecordError, Recorded, replayed
from authproxy.policy.table import Route
from authproxy.runtime import Verification

PATIENCE = 3.0  # seconds for a worker to answer
ANSWER_MOST = 1 << 20
PREFLIGHT = [(b"Origin", b"null"), (b"Access-Control-Request-Method", b"GET")]


class NothingKnownError(Exception):
    """No worker can say what happened; the text says why, and what to do."""


@dataclass(slots=True)
class Answers:
    """What the workers said: how many there are, how many requests they remember, and the request if one of them did."""

    workers: int = 0
    keeps: int = 0
    held: int = 0
    found: dict[str, Any] | None = None
    refused: list[str] = field(default_factory=list)


def ask_workers(folder: Path, request_id: str) -> dict[str, Any]:
    """What the last request of this id was, and what came of it.

    Raises:
        NothingKnownError: no server runs, it keeps no trail, or none of its workers remembers the request.
    """
    answers = Answers()
    for path in sorted(folder.glob("trail-*.sock")):
        try:
            one = _asked(path, request_id)
        except PermissionError:
            answers.refused.append(path.name)
            continue
        except (OSError, ValueError):
            continue  # a worker that ended, or is not one of ours
        answers.workers += 1
        answers.keeps, answers.held = int(one["keeps"]), answers.held + int(one["held"])
        answers.found = answers.found or one["found"]
    if answers.found is None:
        raise NothingKnownError(_why(folder, request_id, answers))
    return answers.found


def _why(folder: Path, request_id: str, answers: Answers) -> str:
    if answers.refused:
        return f"the running server is another user's: run this as the user that it runs as, or as root ({folder})"
    if not answers.workers:
        return f"no server is running with its state in {folder}; requests are remembered in its memory only"
    if not answers.keeps:
        return "the server remembers no requests: `logging: {trail: 0}` says so"
    return (
        f"no worker remembers the request {request_id}: {answers.workers} running, each remembers its last {answers.keeps} "
        f"({answers.held} in all now); WebSockets and streams are known once they have ended"
    )


def _asked(path: Path, request_id: str) -> dict[str, Any]:
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
            sock.sendall(json.dumps(request_id).encode() + b"\n")
            answer = json.loads(_whole(sock))
    finally:
        os.close(folder)
    if not isinstance(answer, dict) or not {"keeps", "held", "found"} <= set(answer):
        raise ValueError("no answer of ours")
    return answer


def _whole(sock: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        part = sock.recv(65536)
        if not part:
            break
        said += part
        if len(said) > ANSWER_MOST:
            raise ValueError("too long an answer")
    return said


def explain_happened(
    decides: Verification, found: Mapping[str, Any], digest: str
) -> dict[str, Any]:
    """The explanation of what a worker remembers; `digest` is that of the policies as they are now.

    The verdict is what happened. `now` is what the policies would say today, without limits, servers and credentials.
    """
    happened = found["happened"]
    recorded = _read(found["record"])
    exchange, trace = _exchange(recorded, happened), Trace()
    verdict = Verdict(happened["verdict"], None, happened["reason"])
    if recorded is not None:
        verdict = judge(decides.table, exchange, _identified(decides, recorded), trace)
    notes = list(_notes(recorded, happened, verdict, digest))
    explained = told(decides, exchange, verdict, trace)
    last = {"reason": happened["reason"] or None, "verdict": happened["verdict"]}
    shadow = {"shadow": (recorded.shadow or None) if recorded is not None else None}
    asked = {name: happened[name] for name in ("method", "host", "path", "client")}
    return {**explained, "request": asked, "happened": happened, "now": verdict.code, "notes": notes, **shadow, **last}  # fmt: skip


def _read(record: Any) -> Recorded | None:
    try:
        return None if record is None else replayed(record)
    except DamagedRecordError:
        return None


def _exchange(recorded: Recorded | None, happened: Mapping[str, Any]) -> Exchange:
    if recorded is None:
        exchange = Exchange(happened["request_id"], 0.0, 0.0)
        exchange.method, exchange.host = happened["method"], happened["host"]
        exchange.client_text = happened["client"]
        return exchange
    exchange = recorded.exchange
    exchange.host_field, exchange.scheme = exchange.host, happened["scheme"]
    exchange.chain, exchange.traceparent = tuple(happened["chain"]), "…"
    if recorded.preflight:
        exchange.fields = Fields([*exchange.fields.lines, *PREFLIGHT])
    return exchange


def _identified(decides: Verification, recorded: Recorded) -> Identify:
    """Who it was found to be; where that was not found out, what was said of it."""
    known = recorded.exchange.identity

    def identify(route: Route, exchange: Exchange) -> Identity | None:
        if known is None:
            code = "unauthenticated" if recorded.code == "allow" else recorded.code
            raise Refusal(code, recorded.reason)
        return presenting(decides.rendered(known))(route, exchange)

    return identify


def _notes(
    recorded: Recorded | None, happened: Mapping[str, Any], verdict: Verdict, digest: str
) -> Iterator[str]:
    if recorded is None:
        yield "it was refused before its path was looked at, or is one of the proxy's own pages"
        return
    if recorded.policies != digest:
        now = "say the same" if verdict.code == happened["verdict"] else f"would say {verdict.code}"
        yield f"the policies have changed since then, and {now} now"
    elif verdict.code == "allow" != happened["verdict"]:
        yield "the policies allow it; what refused it came before or after them"
    if recorded.withheld:
        yield f"not remembered, as it looks like a secret: {', '.join(recorded.withheld)}"
    if verdict.code == "allow":
        yield "of what the client sent only what policies read is remembered, so the rest is not in the head"

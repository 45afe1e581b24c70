"""A backend that believes nothing: it keeps every byte that it is sent, and holds each request to strict HTTP/1.1.

It answers with the target that it was asked for, so that a mixed-up answer is seen.
"""

import re
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from typing import Any

REQUEST_LINE = re.compile(rb"[A-Z]+ /[!-~]* HTTP/1\.1")
FIELD = re.compile(
    rb"([!#$%&'*+.^`|~0-9A-Za-z-]+): ((?:[\x21-\xff](?:[\x20\t\x21-\x7e\x80-\xff]*[\x21-\xff])?)?)"
)
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
CHUNK = re.compile(rb"[0-9a-f]{1,8}")
HOP_BY_HOP = {
    b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"upgrade", b"http2-settings", b"proxy-authentication-info",
}  # fmt: skip
# Every name that a backend might take for an identity (contract, section 4), folded.
IDENTITY = re.compile(
    rb"x-forwarded-.*|forwarded|x-real-ip|x-original-.*|x-rewrite-.*|x-authproxy-.*|x-auth-.*|x-remote-.*|x-user(-.*)?"
    rb"|x-authenticated-.*|x-webauth-.*|x-pomerium-.*|x-goog-.*|cf-access-.*|x-amzn-oidc-.*|x-ms-.*|remote-.*|x-tenant-role"
)
MARK = b"evil"  # in whatever a client puts under a name that is ours
CASE = re.compile(rb"case-(\d+)-")
Fields = list[tuple[bytes, bytes]]


class BrokenError(Exception):
    """The peer went away, or sent what is no request."""


@dataclass
class Seen:
    """A request as it came; `complete` once its body had ended as it should."""

    head: bytes
    method: bytes = b""
    target: bytes = b""
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    def values(self, name: str) -> list[bytes]:
        """The values of the fields of this name."""
        return [v for n, v in self.fields if n.lower() == name.lower().encode()]

    @property
    def cases(self) -> set[int]:
        """The cases whose marks are anywhere in it."""
        return {int(number) for number in CASE.findall(self.head + self.body)}


def fold(name: bytes) -> bytes:
    """The name as CGI, WSGI and their like read it."""
    return re.sub(rb"[^a-z0-9]", b"-", name.lower())


def head_faults(seen: Seen) -> list[str]:
    """What is wrong with a head; it fills in the rest of `seen`."""
    line, *lines = seen.head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    faults = [] if REQUEST_LINE.fullmatch(line) else [f"request line {line!r}"]
    seen.method, _, rest = line.partition(b" ")
    seen.target = rest.partition(b" ")[0]
    for text in lines:
        found = FIELD.fullmatch(text)
        if found is None or CONTROL.search(text):
            faults.append(f"field {text[:200]!r}")
        else:
            seen.fields.append((found[1], found[2]))
    names = [name.lower() for name, _ in seen.fields]
    handshake = seen.values("upgrade") == [b"websocket"] and seen.values("connection") == [
        b"Upgrade"
    ]
    for name in set(names):
        if name in HOP_BY_HOP and not (name == b"upgrade" and handshake):
            faults.append(f"hop-by-hop {name!r}")
    if names.count(b"host") != 1:
        faults.append("Host is not there once")
    if names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
        faults.append("framed twice")
    for name, value in seen.fields:
        folded = fold(name)
        if IDENTITY.fullmatch(folded) and MARK in value.lower():
            faults.append(f"a client's identity {name!r}: {value!r}")
        elif folded != name.lower() and (
            IDENTITY.fullmatch(folded)
            or folded in {b"content-length", b"transfer-encoding", b"host"}
        ):
            faults.append(f"a look-alike {name!r}")
        if b"_" in name:
            faults.append(f"an underscore {name!r}")
        if name.lower() == b"connection" and value.lower() not in {
            b"keep-alive",
            b"close",
            b"upgrade",
        }:
            faults.append(f"connection {value!r}")
    for name in (
        b"x-forwarded-user",
        b"x-forwarded-email",
        b"x-forwarded-groups",
        b"x-forwarded-for",
        b"x-forwarded-host",
    ):
        if names.count(name) > 1:
            faults.append(f"{name!r} is there more than once")
    return faults


class Recorder:
    """Listens on loopback; `seen` is all that came, `faults` all that a strict backend would have refused."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.faults: list[str] = []
        recorder = self

        class Handler(socketserver.BaseRequestHandler):
            request: socket.socket

            def handle(self) -> None:
                _Peer(self.request, recorder).serve()

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def clear(self) -> None:
        """Forget what came."""
        self.seen, self.faults = [], []

    def of_case(self, number: int) -> list[Seen]:
        """What of a case was seen."""
        return [seen for seen in list(self.seen) if number in seen.cases]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is nothing to report here."""


class _Peer:
    """One connection from the proxy."""

    def __init__(self, sock: socket.socket, recorder: Recorder) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._recorder = recorder
        self._held = b""

    def serve(self) -> None:
        """Take requests until the connection ends."""
        while True:
            try:
                self._take()
            except (BrokenError, OSError):
                return

    def _take(self) -> None:
        head = self._until(b"\r\n\r\n")
        seen = Seen(head)
        faults = head_faults(seen)
        self._recorder.seen.append(seen)
        try:
            self._body(seen)
            seen.complete = True
            if self._held:
                faults.append(f"more than one request was meant: {self._held[:200]!r}")
        finally:
            self._recorder.faults += [f"{fault} in {head[:300]!r}" for fault in faults]
        body = b"" if seen.method == b"HEAD" else seen.target
        fields = b"Content-Length: %d\r\nX-Echo: %b\r\n" % (len(seen.target), seen.target)
        self._sock.sendall(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body)

    def _body(self, seen: Seen) -> None:
        lengths, codings = seen.values("content-length"), seen.values("transfer-encoding")
        if codings:
            if codings != [b"chunked"]:
                raise BrokenError
            self._chunks(seen)
        elif lengths:
            seen.body = self._exactly(int(lengths[0]))

    def _chunks(self, seen: Seen) -> None:
        while True:
            size = self._until(b"\r\n").removesuffix(b"\r\n")
            if not CHUNK.fullmatch(size):
                self._recorder.faults.append(f"chunk size {size[:100]!r}")
                raise BrokenError
            if not int(size, 16):
                if (trailer := self._until(b"\r\n")) != b"\r\n":
                    self._recorder.faults.append(f"trailer {trailer[:100]!r}")
                return
            seen.body += self._exactly(int(size, 16))
            if self._exactly(2) != b"\r\n":
                self._recorder.faults.append("a chunk that does not end")
                raise BrokenError

    def _until(self, end: bytes) -> bytes:
        while end not in self._held:
            self._more()
        found, _, self._held = self._held.partition(end)
        return found + end

    def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        found, self._held = self._held[:size], self._held[size:]
        return found

    def _more(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            raise BrokenError
        self._held += data

"""Backends that stream: the `websockets` package's server, and the standard library's HTTP server sending events."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

EVENT_EVERY = 0.3


def _converse(connection: ServerConnection) -> None:
    """Echo; `close CODE` closes with that code, `who` tells the identity that the proxy gave."""
    try:
        for message in connection:
            if isinstance(message, str) and message.startswith("close "):
                connection.close(int(message[6:]), "as asked")
                return
            if message == "who" and connection.request is not None:
                connection.send(connection.request.headers.get("X-Forwarded-User", ""))
            else:
                connection.send(message)
    except ConnectionClosed:
        return


class WebSocketBackend:
    """An echo server that speaks permessage-deflate and the subprotocol `chat`."""

    def __init__(self) -> None:
        self._server: Server = serve(
            _converse, "127.0.0.1", 0, compression="deflate", max_size=1 << 23, subprotocols=["chat"]  # type: ignore[list-item]
        )  # fmt: skip
        self.port = int(self._server.socket.getsockname()[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join(5)


class _Events(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """`/events/N`: N events, one at a time; `/slow/N`: an answer after N tenths of a second."""
        count = int(self.path.rpartition("/")[2])
        if self.path.startswith("/slow"):
            time.sleep(count / 10)
            self._send([b"slow but sure"])
        else:
            self._send([b"data: %d\n\n" % number for number in range(count)], EVENT_EVERY)

    def do_POST(self) -> None:
        """Answers with the length of what it was sent."""
        held = self._body()
        self._send([b"%d" % held])

    def _body(self) -> int:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        held = 0
        while size := int(self.rfile.readline(), 16):
            held += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return held

    def _send(self, pieces: list[bytes], pause: float = 0) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(pause)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test says what matters."""


class EventBackend:
    """The standard library's server in a thread."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Events)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

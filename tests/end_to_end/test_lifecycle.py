"""Starting, draining and ending: what an init system, a load balancer and an operator see."""

import http.client
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import Served, configuration, free_port, write_configuration
from tests.end_to_end.streams import EventBackend, WebSocketBackend

Answer = tuple[int, bytes]


class Ground:
    """Two backends, and a configuration with an admin listener and a drain of five seconds."""

    def __init__(self, folder: Path) -> None:
        self.events, self.sockets, self.admin = EventBackend(), WebSocketBackend(), free_port()
        upstreams = {
            "events": {"servers": [f"http://127.0.0.1:{self.events.port}"]},
            "ws": {"servers": [f"http://127.0.0.1:{self.sockets.port}"]},
        }
        opened = {"authenticate": "none"}
        routes = [
            {"name": "all", "match": {"paths": ["/**"]}, "upstream": "events", **opened},
            {"name": "ws", "match": {"paths": ["/ws"]}, "upstream": "ws", **opened},
        ]
        config = configuration(
            upstreams,
            admin={"address": f"127.0.0.1:{self.admin}"},
            bounds={"drain": "5s", "keepalive": "60s"},
        )
        self.file = write_configuration(folder, Issuer(), config, routes)

    def close(self) -> None:
        """End the backends."""
        self.events.stop()
        self.sockets.stop()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """What the servers of these tests stand on."""
    made = Ground(tmp_path_factory.mktemp("lifecycle"))
    yield made
    made.close()


@pytest.fixture
def served(ground: Ground) -> Iterator[Served]:
    """A server of the test's own, which the test ends."""
    running = Served(ground.file)
    yield running
    running.stop()


def ask(port: int, path: str) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def in_the_background(port: int, path: str) -> tuple[threading.Thread, list[Answer | Exception]]:
    """A request that goes on while the test does something else."""
    results: list[Answer | Exception] = []

    def work() -> None:
        try:
            results.append(ask(port, path))
        except (OSError, http.client.HTTPException) as error:
            results.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)  # it is under way
    return thread, results


def test_a_drain_finishes_what_is_under_way(ground: Ground, served: Served) -> None:
    """After SIGTERM requests under way end well, WebSockets are told 1001, nothing new is taken, and the exit is 0."""
    port = served.ports[0]
    assert ask(ground.admin, "/readyz") == (200, b"ready\n")
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    idle.request("GET", "/slow/0")
    assert idle.getresponse().read() == b"slow but sure"
    slow, slow_results = in_the_background(port, "/slow/12")
    stream, stream_results = in_the_background(port, "/events/4")
    chat: dict[str, Any] = {"subprotocols": ["chat"], "proxy": None, "close_timeout": 2}
    with connect(f"ws://127.0.0.1:{port}/ws", **chat) as web_socket:
        web_socket.send("hello")
        assert web_socket.recv(5) == "hello"
        served.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            web_socket.recv(5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    assert idle.sock is not None
    assert idle.sock.recv(1) == b""
    idle.close()
    with pytest.raises(OSError):  # refused or reset, as the system likes
        socket.create_connection(("127.0.0.1", port), 1).close()
    assert ask(ground.admin, "/readyz") == (503, b"draining\n")
    slow.join(10)
    stream.join(10)
    assert slow_results == [(200, b"slow but sure")]
    assert stream_results == [(200, b"".join(b"data: %d\n\n" % n for n in range(4)))]
    assert served.ended() == 0
    assert [line["status"] for line in served.log()].count(200) == 3
    assert "Traceback" not in served.errors()


def test_a_second_signal_ends_it_at_once(served: Served) -> None:
    """Who asks twice is not made to wait for the drain."""
    thread, results = in_the_background(served.ports[0], "/slow/40")
    served.signal(signal.SIGINT)
    time.sleep(0.3)
    assert served.process.poll() is None
    began = time.monotonic()
    served.signal(signal.SIGINT)
    assert served.ended(5) == 0
    assert time.monotonic() - began < 2
    thread.join(10)
    assert isinstance(results[0], Exception)
    assert "Traceback" not in served.errors()


def test_sighup_neither_ends_it_nor_fails_a_request(ground: Ground, served: Served) -> None:
    """Many SIGHUPs under load: every request is answered, and the server goes on."""
    thread, results = in_the_background(served.ports[0], "/slow/8")
    for _ in range(10):
        served.signal(signal.SIGHUP)
        assert ask(served.ports[0], "/slow/0") == (200, b"slow but sure")
    thread.join(10)
    assert results == [(200, b"slow but sure")]
    assert ask(ground.admin, "/healthz")[0] == 200


def test_admin_is_not_on_the_proxied_listener(ground: Ground, served: Served) -> None:
    """The proxied listener knows no admin endpoints, and the admin listener proxies nothing."""
    for path in ("/healthz", "/readyz", "/metrics", "/status"):
        status, body = ask(served.ports[0], path + "/0")
        assert (status, body) == (200, b"")  # the backend's own: an empty stream of events
    assert ask(ground.admin, "/slow/0")[0] == 404

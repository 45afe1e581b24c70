"""WebSockets by other people's client and server, and events that are not held back."""

import http.client
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.end_to_end.conftest import Stage
from tests.end_to_end.streams import EVENT_EVERY


def dial(
    stage: Stage, *, compression: str | None = "deflate", token: str | None = None
) -> ClientConnection:
    """A WebSocket through the proxy."""
    token = stage.issuer.token(groups=["eng"]) if token is None else token
    return connect(
        f"ws://127.0.0.1:{stage.served.ports[0]}/ws/chat",
        additional_headers={"Authorization": f"Bearer {token}", "X-Forwarded-User": "root"},
        subprotocols=["chat"],  # type: ignore[list-item]
        compression=compression, max_size=1 << 23, proxy=None, close_timeout=3, open_timeout=5,
    )  # fmt: skip


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_pass_both_ways(stage: Stage, compression: str | None) -> None:
    """Text, binary, fragments and 1 MiB messages come back as they went, compressed and not."""
    with dial(stage, compression=compression) as socket:
        for message in (
            "hello",
            b"\x00\xff" * 10,
            "é" * 1000,
            b"x" * (1 << 20),
            "y" * (1 << 20),
            "",
        ):
            socket.send(message)
            assert socket.recv(5) == message
        socket.send(["in ", "three ", "pieces"])
        assert socket.recv(5) == "in three pieces"


def test_the_ends_agree_between_themselves(stage: Stage) -> None:
    """Extensions and subprotocols are negotiated by the two ends; the backend hears who it is from us alone."""
    with dial(stage) as socket:
        assert socket.subprotocol == "chat"
        assert [e.name for e in socket.protocol.extensions] == ["permessage-deflate"]
        socket.send("who")
        assert socket.recv(5) == "alice"


def test_pings_are_answered_by_the_backend(stage: Stage) -> None:
    """A ping gets its pong."""
    with dial(stage) as socket:
        assert socket.ping("are you there").wait(5)


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 3000, 4999])
def test_close_codes_pass(stage: Stage, code: int) -> None:
    """The code and the reason that the backend closes with are what the client sees."""
    with dial(stage) as socket:
        socket.send(f"close {code}")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(5)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, "as asked")


def test_a_handshake_without_identity_is_refused(stage: Stage) -> None:
    """A WebSocket needs what every request needs."""
    with pytest.raises(InvalidStatus) as refused:
        dial(stage, token="x")
    assert refused.value.response.status_code == 401


def test_events_are_not_held_back(stage: Stage) -> None:
    """Each event of a stream arrives when it was sent, not when the next one or the end is."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.served.ports[0], timeout=5)
    token = stage.issuer.token(groups=["eng"])
    began = time.monotonic()
    connection.request("GET", "/events/events/4", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    arrived = []
    for _ in range(4):
        assert answer.readline().startswith(b"data: ")
        assert answer.readline() == b"\n"
        arrived.append(time.monotonic() - began)
    connection.close()
    for number, after in enumerate(arrived):
        assert number * EVENT_EVERY <= after < number * EVENT_EVERY + 0.25


def test_a_chunked_upload_is_passed_on_as_it_comes(stage: Stage) -> None:
    """A body of unknown length reaches the backend whole."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.served.ports[0], timeout=5)
    token = stage.issuer.token(groups=["eng"])
    pieces = (b"x" * size for size in (1, 1000, 70_000, 0, 3))
    headers = {"Authorization": f"Bearer {token}", "Transfer-Encoding": "chunked"}
    connection.request(
        "POST", "/events/", body=(p for p in pieces if p), headers=headers, encode_chunked=True
    )
    assert connection.getresponse().read() == b"71004"
    connection.close()

"""The server of a listener: what its connections are made with, and how they are counted."""

import pytest

from authproxy.config.listeners import Listener
from authproxy.config.schema import Bounds
from authproxy.web.listener import NEVER, READ_BUFFER, Server
from authproxy.web.rounds import Rounds
from tests.playbook import playbook
from tests.wire import until

PLAIN = Listener.model_validate({"address": "127.0.0.1:0"})


@pytest.fixture
async def server() -> Server:
    """A server that nobody connects to."""

    def never(*_: object) -> None:
        raise AssertionError

    return Server(Rounds(()), never, Bounds(), name="test", settings=PLAIN, runtime=None)


async def test_options_are_really_applied(server: Server) -> None:
    """Aiohttp drops all options when it does not know one; ours reach the connection or raise."""
    connection = server()
    assert connection.max_line_size == Bounds().uri_bytes
    assert connection.max_field_size == Bounds().header_bytes
    assert connection.max_headers == Bounds().header_fields
    assert not connection._logging_enabled
    assert connection._read_bufsize == READ_BUFFER
    assert connection._keepalive_timeout == NEVER
    assert server.handler_cancellation is False  # we see to that ourselves
    server._options["no_such_option"] = 1
    with pytest.raises(TypeError, match="no_such_option"):
        server()


async def test_connections_are_counted_over_all_listeners() -> None:
    """Past `connections`, whichever listener they came to, a new one is told `overloaded` and closed."""
    listeners = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.2:0"}]
    async with playbook(listeners=listeners, bounds={"connections": 2}) as p:
        kept = [await p.connect(0), await p.connect(1)]
        for link in kept:
            assert (await p.request("GET", "/", link=link)).status == 200
        for listener in (0, 1):
            refused = await p.connect(listener)
            answer = await refused.answer()
            assert (answer.status, answer.code) == (503, "overloaded")
            assert await refused.rest() == b""
        kept.pop().close()
        await until(lambda: sum(server.count for server in p.worker._servers) == 1)
        assert (await p.request("GET", "/")).status == 200

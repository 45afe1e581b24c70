"""A backend that costs as little as Python can: answers every request with the same 1 KiB; prints its port."""

import asyncio
from typing import cast

BODY = b"x" * 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + BODY


class Backend(asyncio.Protocol):
    """Counts blank lines, answers each."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        """One answer a head; requests have no bodies here."""
        data = self.rest + data
        heads = data.count(b"\r\n\r\n")
        self.rest = data[data.rfind(b"\r\n\r\n") + 4 :] if heads else data
        self.transport.write(ANSWER * heads)


async def main() -> None:
    """Serve until ended."""
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())

"""A relay of TCP that can be slow, silent or cut off: what stands between two machines on a bad day."""

import asyncio
import contextlib

from tests.end_to_end.load import Background


class Relay:
    """Passes bytes on to a port of loopback, `delay` seconds late."""

    def __init__(self, background: Background, port: int) -> None:
        self.delay = 0.0
        self.accepted = 0
        self._to = port
        self._background = background
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = background.do(self._start())
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._background.writers.append(writer)
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        self._background.writers.append(ours)
        for source, sink in ((reader, ours), (theirs, writer)):
            task = asyncio.get_running_loop().create_task(self._pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while octets := await source.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                sink.write(octets)
                await sink.drain()
        sink.close()

    def stop(self) -> None:
        """Listen no more."""
        self._background.loop.call_soon_threadsafe(self._server.close)

"""A server on loopback that answers each path as it is told to, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate


@dataclass(slots=True)
class Answers:
    """`play` makes an answer's head lines and body of the head that was asked; `port` is where."""

    play: Callable[[str], tuple[list[str], bytes]]
    port: int = 0
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question, one answer."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close() if reader.at_eof() else None
        self.asked.append(head)
        lines, body = self.play(head)
        if not any(line.lower().startswith("date:") for line in lines):
            lines = [*lines, f"Date: {formatdate(usegmt=True)}"]
        text = "\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close", "", ""])
        writer.write(text.encode() + body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def answering(play: Callable[[str], tuple[list[str], bytes]]) -> AsyncIterator[Answers]:
    """That server, while it is needed."""
    answers = Answers(play)
    server = await asyncio.start_server(answers.serve, "127.0.0.1", 0)
    answers.port = server.sockets[0].getsockname()[1]
    try:
        yield answers
    finally:
        server.close()

"""What a connection need not hold while nothing is read from it is given back, and nobody notices."""

import asyncio
import mmap
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from authproxy.web import resting
from authproxy.web.listener import NEVER
from authproxy.web.resting import give_back
from tests import certificates
from tests.playbook import Proxy, playbook
from tests.wire import Link

BUFFER = 256 << 10  # uvloop's SSL_READ_MAX_SIZE
PAGES_MOST = 3 * mmap.PAGESIZE  # what lies in the two at its ends, and what a small read fills


class Buffered:
    """A transport whose buffer is this memory, as uvloop's are."""

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory

    def get_extra_info(self, _name: str) -> "Buffered":
        """Itself: it is the protocol too."""
        return self

    def get_buffer(self, _size: int) -> memoryview:
        """Always the same."""
        return self.memory


@asynccontextmanager
async def secure(tmp_path: Path) -> AsyncIterator[tuple[Proxy, ssl.SSLContext]]:
    """A proxy whose listener speaks TLS, and a client's context for it."""
    trusted = certificates.authority("servers")
    certificate, key = certificates.server(trusted, "localhost").write(tmp_path, "server")
    tls = {"certificates": [{"certificate": str(certificate), "private_key": str(key)}]}
    async with playbook(listeners=[{"address": "127.0.0.1:0", "tls": tls}]) as p:
        yield p, certificates.client_context(trusted)
        p.worker._servers[0].accepted = -NEVER  # so that the drain waits for no handshake


def transport(p: Proxy) -> Any:
    """That of the one connection that there is, on the proxy's side."""
    (found,) = p.worker._servers[0]._connections.values()
    return found


def used(memory: memoryview) -> int:
    """How many bytes of it are not 0, as fresh pages are."""
    return len(memory) - bytes(memory).count(0)


async def ask(p: Proxy, link: Link, size: int = 0) -> None:
    """A request with a body of so many bytes is answered as ever, whole."""
    answer = await p.request("POST", "/", (), b"x" * size, link=link)
    assert (answer.status, len(answer.seen[0].body)) == (200, size)


async def test_uvloop_has_a_buffer_for_each_tls_connection(tmp_path: Path) -> None:
    """The hook: it is asked for by this name, is always the same memory, and holds what was read last."""
    async with secure(tmp_path) as (p, client):
        link = await p.connect(tls=client)
        await ask(p, link)
        end = transport(p).get_extra_info("uvloop.sslproto")
        memory = end.get_buffer(0)
        assert (len(memory), memory.readonly, memory.format) == (BUFFER, False, "B")
        memory[BUFFER - 1] = 7
        assert end.get_buffer(BUFFER)[BUFFER - 1] == 7
        assert used(memory) > 100  # what came last is still in it
        other = await p.connect(tls=client)
        await ask(p, other)
        ends = [
            t.get_extra_info("uvloop.sslproto") for t in p.worker._servers[0]._connections.values()
        ]
        assert [one.get_buffer(0)[BUFFER - 1] for one in ends].count(7) == 1


async def test_a_tls_connection_begins_with_fresh_pages(tmp_path: Path) -> None:
    """Malloc lays the buffer over what was needed before it; after the handshake only what is read since is in use."""
    async with secure(tmp_path) as (p, client):
        for _ in range(8):
            needed = [
                b"x" * BUFFER for _ in range(3)
            ]  # as handshakes do, by the time when there were many
            del needed
            await ask(p, await p.connect(tls=client))
        for one in p.worker._servers[0]._connections.values():
            memory = one.get_extra_info("uvloop.sslproto").get_buffer(0)
            assert used(memory) <= PAGES_MOST


async def test_what_is_given_back_is_nothing_that_is_needed(tmp_path: Path) -> None:
    """After a body that filled the buffer its pages go, and the connection goes on: also in the middle of a body."""
    async with secure(tmp_path) as (p, client):
        link = await p.connect(tls=client)
        await ask(p, link, 1 << 20)
        memory = transport(p).get_extra_info("uvloop.sslproto").get_buffer(0)
        memory[:] = b"x" * BUFFER
        give_back(transport(p))
        assert used(memory) <= 2 * mmap.PAGESIZE
        asking = asyncio.get_running_loop().create_task(ask(p, link, 4 << 20))
        while not asking.done():
            give_back(transport(p))
            await asyncio.sleep(0)
        await asking


@pytest.mark.parametrize("length", [1, mmap.PAGESIZE - 1, mmap.PAGESIZE, 3 * mmap.PAGESIZE])
@pytest.mark.parametrize("begin", [0, 1, mmap.PAGESIZE - 1, mmap.PAGESIZE])
def test_only_whole_pages_of_its_own_are_given_back(begin: int, length: int) -> None:
    """Not a byte before or behind a buffer changes, wherever it lies."""
    with mmap.mmap(-1, 6 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as place:
        everything = memoryview(place)
        everything[:] = b"x" * len(everything)
        part = everything[begin : begin + length]
        give_back(Buffered(part))  # type: ignore[arg-type]
        before, behind = everything[:begin], everything[begin + length :]
        assert (used(before), used(behind)) == (len(before), len(behind))
        whole = (begin + length) // mmap.PAGESIZE - -(-begin // mmap.PAGESIZE)
        assert length - used(part) == max(whole, 0) * mmap.PAGESIZE
        for view in (before, behind, part, everything):
            view.release()


async def test_a_plain_connection_has_nothing_to_give() -> None:
    """It reads into memory that all connections share."""
    async with playbook() as p:
        link = await p.connect()
        await ask(p, link)
        give_back(transport(p))
        await ask(p, link)


def test_huge_pages_of_malloc_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some kernels would give back the memory around as well (madvise(2))."""
    monkeypatch.setattr(resting, "_GIVES", False)
    memory = memoryview(bytearray(b"x" * BUFFER))
    give_back(Buffered(memory))  # type: ignore[arg-type]
    assert used(memory) == BUFFER

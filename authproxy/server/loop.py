"""The event loop that a worker runs on: the best there is, in a process whose memory has settled."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

from authproxy.server.memory import settle_memory

log = logging.getLogger(__name__)


def run(main: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run it to its end, on uvloop where that is installed."""

    async def settled() -> None:
        settle_memory()
        await main()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(settled())


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop; None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        log.warning("uvloop is not installed; the slower asyncio loop is used")
        return None
    return uvloop.new_event_loop

"""What authenticators do beside requests: one task of a worker tends those that serve, and lets go of those that no longer do.

It may wait for disks and for others, so no request and no other duty of the worker waits for it. Judges nothing.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from authproxy.authn.authenticator import Authenticator

log = logging.getLogger(__name__)

TEND = 0.2  # seconds


class Tending:
    """Looks after the authenticators of the runtime in force."""

    def __init__(self) -> None:
        self._authenticators: Mapping[str, Authenticator] = {}
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def follow(self, authenticators: Mapping[str, Authenticator]) -> None:
        """Tend these from now on; what nobody needs any more is closed once its questions are answered."""
        loop = asyncio.get_running_loop()
        before, self._authenticators = self._authenticators, authenticators
        for name, one in before.items():
            if not one.goes_on_in(authenticators.get(name)):
                task = loop.create_task(one.close())
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)
        if self._task is None:
            self._task = loop.create_task(self._run())

    async def close(self) -> None:
        """End, and close all."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self.follow({})
        if self._leaving:
            await asyncio.wait(tuple(self._leaving))

    async def _run(self) -> None:
        while True:
            for one in tuple(self._authenticators.values()):
                try:
                    await one.tend(time.time())
                except Exception:
                    log.exception("tending `%s` failed", one.name)
            await asyncio.sleep(TEND)

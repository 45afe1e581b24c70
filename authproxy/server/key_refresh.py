"""A worker's duty towards its remote key sets: looks at their times, learns what other workers fetched, tells how they are.

One task while there are sets to follow, none otherwise; it begins in the worker and ends with it. Judges nothing.
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Mapping

from authproxy.authenticators import followed_keys
from authproxy.authn.keys import UNKNOWN
from authproxy.authn.remote_keys import KIND, RemoteKeys
from authproxy.runtime import Runtime
from authproxy.server.figures import KEY_SET_AGE
from authproxy.state.store import StateUnavailable
from authproxy.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

LOOK = 0.2  # seconds; another worker's fetch is known that soon


class KeyRefresh:
    """Follows the key sets of the runtime that serves; in `metrics` those that are gone have no age."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._sets: dict[str, RemoteKeys] = {}
        self._runtime: Runtime | None = None
        self._sequence = 0
        self._task: asyncio.Task[None] | None = None

    async def follow(self, runtime: Runtime) -> None:
        """Take these sets over, and let go of those that no longer belong to it."""
        sets = followed_keys(runtime.authenticators)
        unneeded = [one for name, one in self._sets.items() if sets.get(name) is not one]
        for name in self._sets.keys() - sets.keys():
            self._metrics.set(KEY_SET_AGE, math.nan, authenticator=name)
        self._sets, self._runtime, self._sequence = sets, runtime, 0
        for one in sets.values():
            one.records = runtime.records
        if sets and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        for one in unneeded:
            await one.close()

    def unready(self) -> str | None:
        """Why no requests should come: an issuer's keys are not known. None: they are, but for those that only a login needs."""
        sets = self._sets.items()
        missing = [name for name, one in sets if one.keys is UNKNOWN and not one.on_demand]
        return f"no keys of {', '.join(missing)}" if missing else None

    def troubles(self) -> Iterator[str]:
        """A line for each set whose last question failed, whether it serves or not."""
        for name, one in self._sets.items():
            report = one.report(time.time())
            if report.error is not None:
                age = "there are none" if report.age is None else f"{report.age:.0f} s old"
                yield f"keys of {name}, {age}: {report.error}"

    async def close(self) -> None:
        """End the duty, and what it has under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for one in self._sets.values():
            await one.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._learn()
                for one in self._sets.values():
                    one.look()
            except Exception:
                log.exception("looking after the key sets failed")
            await asyncio.sleep(LOOK)

    async def _learn(self) -> None:
        """What other workers, or this one, have written since the last look."""
        if self._runtime is None:
            return
        records = self._runtime.records
        try:
            if await records.latest(KIND) == self._sequence:
                return
            written = await records.since(KIND, self._sequence, time.time())
        except StateUnavailable:
            return
        sets: Mapping[bytes, RemoteKeys] = {one.source.identity: one for one in self._sets.values()}
        for record in written:
            self._sequence = max(self._sequence, record.sequence)
            if record.key in sets:
                await sets[record.key].learn(record.value)

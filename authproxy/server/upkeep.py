"""A worker's upkeep of the durable records: it learns what was revoked, and removes what has expired.

A task of its own, since it may wait for the disk, and the worker's timer must not. What it cannot do is said once in the
log, and tried again at every turn.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from authproxy.authn.revocation import Revocations
from authproxy.state.records import Records
from authproxy.state.store import StateUnavailable

log = logging.getLogger(__name__)

TURN = 0.2  # seconds; every worker knows of a revocation within 1
SWEEP_RECORDS = 200


class Upkeep:
    """`grown` is called when the revocation list has grown."""

    def __init__(
        self, records: Records, revocations: Revocations, grown: Callable[[], None]
    ) -> None:
        self._records = records
        self._revocations = revocations
        self._grown = grown
        self._failing = False

    @property
    def unready(self) -> str | None:
        """Why no requests should come: a worker that does not know what is revoked lets no identity in."""
        return None if self._revocations.known else "the revocation list cannot be read"

    async def run(self) -> None:
        """One turn after the other, until cancelled."""
        while True:
            await asyncio.sleep(TURN)
            await self.turn()

    async def turn(self) -> None:
        """Learn what is new, remove some of what has expired. Raises nothing."""
        try:
            if await self._revocations.refresh(time.time()):
                self._grown()
            await self._records.sweep(time.time(), SWEEP_RECORDS)
        except StateUnavailable as error:
            if not self._failing:
                what = "goes on as it was" if self._revocations.known else "lets no identity in"
                log.warning("the durable records cannot be used; this worker %s: %s", what, error)
            self._failing = True
        except Exception:
            log.exception("a periodic task failed")
        else:
            if self._failing:
                log.warning("the durable records can be used again")
            self._failing = False

"""One refresh a session, over all requests and all workers: no two of them ever spend the same refresh token.

Whoever refreshes says so in the session's own record first, with a lease and a number; only who still holds that number
may write what came of it. A lease that ran out without a word is a token that may have been spent: it is not spent again,
the session ends. While the provider is away the session goes on for `GRACE`.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any

from authproxy.authn.provider import ProviderRefused
from authproxy.authn.sessions import Session, Sessions
from authproxy.fetch import FetchError
from authproxy.model.errors import Refusal

log = logging.getLogger(__name__)

LEASE = 60.0  # seconds: well over what the questions of a refresh may take together
GRACE = 300.0  # that a session goes on past its time while the provider is away
PAUSE = 10.0  # between two tries while it is
POLL = 0.05  # between two looks at what another worker does
PATIENCE = 12.0  # that a request waits for a refresh
# What a session's data hold for this: `until` the identity is good (absent: as long as the session), `refresh` the token,
# `lease` until when somebody refreshes and `turn` who that is, `retry` before when nobody tries again.
Spend = Callable[[Session], Awaitable[Mapping[str, Any]]]


class Step(Enum):
    """What is to be done about a session whose time has come."""

    ours = 1  # refresh it
    wait = 2  # somebody does
    done = 3  # it was refreshed, or cannot be now
    over = 4  # nobody can say what became of its token


def until(session: Session) -> float:
    """When the identity of a session must be confirmed, in seconds since the epoch."""
    moment = session.data.get("until")
    return math.inf if moment is None else float(moment)


class Refreshing:
    """Refreshes sessions by `spend`, which gives the new data of one whose refresh token it spends.

    What `spend` raises decides: `ProviderRefused` and `Refusal` end the session, `FetchError` lets it go on for now.
    """

    def __init__(
        self, name: str, sessions: Sessions, spend: Spend, clock: Callable[[], float] = time.time
    ) -> None:
        self._name = name
        self._sessions = sessions
        self._spend = spend
        self._clock = clock
        self._flights: dict[bytes, asyncio.Task[Session | None]] = {}
        self._said = -math.inf

    async def confirmed(self, session: Session) -> Session:
        """The session, refreshed where its time had come.

        Raises:
            Refusal: `session_expired`: it is over, or nobody can confirm it any more.
            StateUnavailable: nobody can tell.
        """
        if self._clock() < min(session.data.get("retry", 0.0), until(session) + GRACE):
            return session
        flight = self._flights.get(session.key)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(self._fly(session))
            self._flights[session.key] = flight
            flight.add_done_callback(partial(self._landed, session.key))
        # A client that leaves ends nobody's refresh, least of all one that has spent its token.
        found = await asyncio.shield(flight)
        if found is None:
            raise Refusal("session_expired", "refresh")
        if self._clock() >= until(found) + GRACE:
            raise Refusal("session_expired", "provider")
        return found

    async def close(self) -> None:
        """Wait for what is under way, `PATIENCE` at most: a token that was spent must not be lost."""
        flights = list(self._flights.values())
        if flights:
            _, late = await asyncio.wait(flights, timeout=PATIENCE)
            for flight in late:
                flight.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _landed(self, key: bytes, flight: asyncio.Task[Session | None]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # whoever waits gets it; that nobody does any more is no error

    async def _fly(self, session: Session) -> Session | None:
        end = self._clock() + PATIENCE
        while True:
            step, known = await self._settle(session)
            if step is Step.ours and known is not None:
                return await self._refresh(known)
            if step is Step.over and known is not None:
                log.warning("a session of `%s` ends: its refresh was never finished", self._name)
                await self._sessions.end(known, self._clock())
                return None
            if step is Step.done or known is None or self._clock() >= end:
                return known
            await asyncio.sleep(POLL)

    async def _settle(self, session: Session) -> tuple[Step, Session | None]:
        """Agree with all workers on what is to be done, and by whom."""
        now = self._clock()

        def decide(known: Session | None) -> tuple[Mapping[str, Any] | None, Step]:
            if known is None or now < until(known) or now < known.data.get("retry", 0.0):
                return None, Step.done
            lease = known.data.get("lease")
            if lease is not None:
                return None, Step.wait if now < lease else Step.over
            turn = int(known.data.get("turn", 0)) + 1
            return {**known.data, "lease": now + LEASE, "turn": turn}, Step.ours

        step, known = await self._sessions.change(session.key, now, decide)
        return step, known

    async def _refresh(self, session: Session) -> Session | None:
        try:
            data = await self._spend(session)
        except (ProviderRefused, Refusal) as refused:
            reason = refused.reason if isinstance(refused, Refusal) else str(refused)
            log.info("a session of `%s` ends: its refresh was refused: %s", self._name, reason)
            await self._sessions.end(session, self._clock())
            return None
        except FetchError as error:
            self._say(error)
            return await self._write(session, session.data, retry=True)
        return await self._write(session, data, retry="retry" in data)

    async def _write(
        self, session: Session, data: Mapping[str, Any], *, retry: bool
    ) -> Session | None:
        """Let go of the lease with these data, unless it is no longer ours."""
        now, turn = self._clock(), session.data["turn"]
        after = {name: value for name, value in data.items() if name not in {"lease", "retry"}}
        after["turn"] = turn
        if retry:
            after["retry"] = now + PAUSE

        def write(known: Session | None) -> tuple[Mapping[str, Any] | None, None]:
            ours = known is not None and known.data.get("turn") == turn and "lease" in known.data
            return after if ours else None, None

        _, known = await self._sessions.change(session.key, now, write)
        return known

    def _say(self, error: FetchError) -> None:
        now = self._clock()
        if now - self._said >= PAUSE:
            self._said = now
            text = "a session of `%s` could not be refreshed, it goes on for %g s at most: %s"
            log.warning(text, self._name, GRACE, error)

"""The keys of an issuer elsewhere: fetched before they are needed, kept while the issuer is away, gone when withdrawn.

All workers share what one of them fetched, through the durable records; a record says also who is asking right now and
when tokens of unknown keys last had the issuer asked, so that N workers ask no more than one would. No request ever makes
a question of its own: it waits, shortly, for one that all share. Keys past `keep` are no keys (nothing can be told then).
"""

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import TypeVar

from authproxy.authn.key_source import SECONDS_MOST, Source
from authproxy.authn.keys import UNKNOWN, KeyProblem, KeySet, PublishedKeys, load_published
from authproxy.config.authenticators import Keys
from authproxy.fetch import FetchError
from authproxy.state.records import Records
from authproxy.state.store import StateUnavailable

log = logging.getLogger(__name__)

KIND = "key-set"
UNSAID = 300.0  # seconds between two fetches where the issuer says nothing of it
LEAST = 60.0  # and at least so many, whatever it says
LEASE = SECONDS_MOST + 5.0  # a worker that died while it asked blocks the others no longer
SLACK = 5.0  # seconds that another worker's moment may lie ahead; further, its clock was wrong
PATIENCE = 2.0  # seconds that a request waits for keys
POLL = 0.05  # between two looks at what another worker may have fetched
RETRY_MOST = 60.0
PEOPLE_MOST = 3.0
SAY_AGAIN = 600.0  # seconds between two log lines that say the same
FORGOTTEN = 3600.0  # seconds that a record outlives its keys, for its error and its times
ERROR_MOST = 300

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeySetState:
    """What all workers know of a key set. Times are seconds since the epoch; 0: never.

    `jwks` is as of `fetched`, `due` is when to ask next, `lease` until when somebody asks, `sought` when a token of an
    unknown key last had the issuer asked; `error` is why the last question failed, and `failures` how many did in a row.
    """

    jwks: str = ""
    fetched: float = 0.0
    due: float = 0.0
    lease: float = 0.0
    sought: float = 0.0
    error: str = ""
    failures: int = 0

    @classmethod
    def read(cls, record: bytes | None) -> "KeySetState | None":
        """The state of a record, or of none; None: what is written there is no state (another version's, damaged)."""
        try:
            state = cls() if record is None else cls(**json.loads(record))
        except (ValueError, TypeError):
            return None
        texts = (state.jwks, state.error)
        numbers = (state.fetched, state.due, state.lease, state.sought, state.failures)
        sound = all(isinstance(x, str) for x in texts) and all(isinstance(x, int | float) for x in numbers)  # fmt: skip
        return state if sound else None

    def write(self) -> bytes:
        """As a record."""
        return json.dumps(asdict(self)).encode()

    def is_due(self, now: float) -> bool:
        """Is it time to ask? Also where the clock was set back: times to come say nothing."""
        return now >= self.due or self.fetched > now + SLACK

    def is_leased(self, now: float) -> bool:
        """Is somebody asking?"""
        return now < self.lease <= now + LEASE + SLACK

    def is_cool(self, now: float, cool_down: float) -> bool:
        """Was the issuer asked for an unknown key so lately that it is not asked again?"""
        return -SLACK <= now - self.sought < cool_down


class Claim(Enum):
    """Who asks the issuer: we do, somebody does already, or nobody may or must."""

    ours = 1
    others = 2
    nobodys = 3


@dataclass(frozen=True, slots=True)
class KeySetReport:
    """How a key set is: where it comes from, its age (None: there is none), the last error, seconds to the next question."""

    source: str
    age: float | None
    error: str | None
    refresh: float


class RemoteKeys:
    """The key set of one authenticator, as one worker has it; `keys` is the set in force, `UNKNOWN` where there is none.

    `records` is where workers share it; None: nothing is shared or survives. `successes` and `failures` count questions.
    `on_demand`: nobody is asked before somebody needs the keys, and whoever does waits for as long as a question may take.
    Belongs to the loop that first asks; made before that, it may be forked.
    """

    def __init__(
        self,
        source: Source,
        times: Keys,
        section: bytes,
        clock: Callable[[], float] = time.time,
        *,
        on_demand: bool = False,
    ) -> None:
        self.source = source
        self.section = section
        self.on_demand = on_demand
        self.records: Records | None = None
        self.keys: KeySet = UNKNOWN
        self.successes = 0
        self.failures = 0
        self._times = times
        self._clock = clock
        self._state = KeySetState()
        self._asking: asyncio.Task[None] | None = None
        self._seeking: asyncio.Task[None] | None = None
        self._seek_until = self._waited_for = 0.0
        self._leased = self._closed = False
        self._stepping = asyncio.Lock()
        self._said = ("", 0.0)
        self._damaged_said = float("-inf")

    @property
    def name(self) -> str:
        """The authenticator's name."""
        return self.source.name

    def report(self, now: float) -> KeySetReport:
        """How it is at this moment."""
        state = self._state
        age = None if self.keys is UNKNOWN else max(0.0, now - state.fetched)
        return KeySetReport(self.source.asked, age, state.error or None, max(0.0, state.due - now))

    def expire(self, now: float) -> None:
        """Forget keys that nobody confirmed for `keep`."""
        if not self._is_kept(self._state, now):
            self._forget()

    def _forget(self) -> None:
        if self.keys is not UNKNOWN:
            self.keys = UNKNOWN
            log.error(
                "the keys of `%s` are forgotten: none could be fetched for %g s; its tokens are refused",
                self.name, self._times.keep,
            )  # fmt: skip

    def look(self) -> None:
        """Asked a few times a second: drop what is too old, ask when it is due."""
        now = self._clock()
        self.expire(now)
        busy = self._asking is not None and not self._asking.done()
        if self.on_demand and self.keys is UNKNOWN:
            return
        if not busy and self._state.is_due(now) and not self._state.is_leased(now):
            work = self._guarded(self._refresh())
            self._asking = asyncio.get_running_loop().create_task(work)

    async def seek(self) -> bool:
        """A token came whose key is not at hand: ask the issuer, unless that was done lately; did the keys change?

        All that come meanwhile wait for the same answer, `PATIENCE` after the first of them at most (`on_demand`: longer).
        """
        loop, before = asyncio.get_running_loop(), self.keys
        if self._closed:
            return False  # a request of before a reload
        if self._seeking is None or self._seeking.done():
            if not self._is_worth_seeking():
                return False
            self._waited_for = self._state.lease
            self._seek_until = loop.time() + (SECONDS_MOST if self.on_demand else PATIENCE)
            self._seeking = loop.create_task(self._guarded(self._seek()))
        left = self._seek_until - loop.time()
        if left > 0:
            await asyncio.wait({self._seeking}, timeout=left)
        return self.keys is not before

    def _is_worth_seeking(self) -> bool:
        """Somebody asks already, and was not waited for in vain; or it is time to ask."""
        state, now = self._state, self._clock()
        if state.is_leased(now):
            return state.lease != self._waited_for
        if self.keys is UNKNOWN:
            return state.is_due(now)  # as at the start; it costs no cool-down
        return not state.is_cool(now, self._times.cool_down)

    async def learn(self, record: bytes) -> None:
        """Another worker has written this."""
        async with self._stepping:
            await self._adopt(self._newer(self._read(record), self._clock()))

    async def ask(self) -> None:
        """Ask the issuer, whatever was agreed: for whoever is no server."""
        await self._ask()

    async def close(self) -> None:
        """End what is under way, and the connections; another worker may ask at once."""
        self._closed = True
        tasks = [task for task in (self._asking, self._seeking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._leased:
            self._leased = False
            await self._step(lambda state: (replace(state, lease=0.0), None))
        await self.source.close()

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("the keys of `%s` could not be refreshed", self.name)
            now = self._clock()
            self._state = replace(self._state, due=now + RETRY_MOST, sought=now)

    async def _refresh(self) -> None:
        if await self._claim(sought=False) is Claim.ours:
            await self._ask()

    async def _seek(self) -> None:
        before, loop = self.keys, asyncio.get_running_loop()
        while loop.time() < self._seek_until:
            claim = await self._claim(sought=self.keys is not UNKNOWN)
            if claim is Claim.ours:
                await self._ask()
            if claim is not Claim.others:
                return
            # What somebody asked before may answer it as well; if not, it is asked anew.
            await self._await_others()
            if self.keys is not before:
                return

    async def _await_others(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < self._seek_until and self._state.is_leased(self._clock()):
            await asyncio.sleep(POLL)  # another process has no event for us
            await self._look_up()

    async def _look_up(self) -> None:
        """What is written by now, where it is there to be read."""
        if self.records is None:
            return
        with contextlib.suppress(StateUnavailable):
            record = await self.records.get(KIND, self.source.identity, self._clock())
            if record is not None:
                await self.learn(record)

    async def _claim(self, *, sought: bool) -> Claim:
        """Settle with the other workers who asks."""
        now = self._clock()

        def decide(state: KeySetState) -> tuple[KeySetState, Claim]:
            if state.is_leased(now):
                return state, Claim.others
            cool = state.is_cool(now, self._times.cool_down)
            if cool if sought else not state.is_due(now):
                return state, Claim.nobodys
            since = now if sought else state.sought
            return replace(state, lease=now + LEASE, sought=since), Claim.ours

        claim = await self._step(decide)
        self._leased = self._leased or claim is Claim.ours
        return claim

    async def _ask(self) -> None:
        now = self._clock()  # what comes is as of now, however long it takes
        try:
            publication = await self.source.ask()
        except FetchError as error:
            self.failures += 1
            text = str(error)[:ERROR_MOST]
            await self._step(lambda state: (self._failed(state, text), None))
            self._leased = False
            self._say_failure(text, now)
            return
        self.successes += 1
        found, due = publication.found, now + self._interval(publication.seconds)
        # What others wrote meanwhile is replaced: this is the later answer, or as good.
        got = KeySetState(found.jwks.decode(), fetched=now, due=due)
        mended, before = bool(self._state.error), self._state.jwks
        await self._step(lambda state: (replace(got, sought=state.sought), None), found)
        self._leased = False
        self._say_success(found, mended=mended, changed=before != got.jwks)

    def _interval(self, seconds: float | None) -> float:
        """How long until the next question: as the issuer says, within bounds; a little less, so that not all ask at once."""
        most = self._times.refresh
        wanted = UNSAID if seconds is None else max(LEAST, seconds)
        return min(wanted, most) * random.uniform(0.8, 1.0)  # noqa: S311  # nothing secret

    def _failed(self, state: KeySetState, text: str) -> KeySetState:
        now = self._clock()
        failures = min(state.failures + 1, 20)
        # Where only people ask, the next of them is not kept waiting for long.
        most = PEOPLE_MOST if self.on_demand and self.keys is UNKNOWN else RETRY_MOST
        pause = min(2.0 ** (failures - 1), most, self._times.refresh)
        return replace(state, lease=0.0, due=now + pause, error=text, failures=failures)

    def _is_kept(self, state: KeySetState, now: float) -> bool:
        return bool(state.jwks) and now < state.fetched + self._times.keep

    async def _step(
        self,
        decide: Callable[[KeySetState], tuple[KeySetState, T]],
        found: PublishedKeys | None = None,
    ) -> T:
        """One atomic step on what all workers share, and we follow it. Without the records: on what we know ourselves."""
        now = self._clock()

        def change(record: bytes | None) -> tuple[bytes | None, float, tuple[KeySetState, T]]:
            written = self._read(record)
            after, outcome = decide(self._newer(written, now))
            expiry = max(after.fetched + self._times.keep, now + FORGOTTEN)
            return after.write() if after != written else None, expiry, (after, outcome)

        async with self._stepping:
            try:
                if self.records is None:
                    after, outcome = decide(self._state)
                else:
                    identity = self.source.identity
                    after, outcome = await self.records.update(KIND, identity, now, change)
            except StateUnavailable:
                # Each worker asks for itself until the records are back: service goes on.
                after, outcome = decide(self._state)
            await self._adopt(after, found)
        return outcome

    def _read(self, record: bytes | None) -> KeySetState:
        state = KeySetState.read(record)
        if state is None:
            self._say_damaged()
        return state or KeySetState()

    def _newer(self, state: KeySetState, now: float) -> KeySetState:
        """This state, or ours where it is of an earlier fetch; a time to come is the earliest, its clock was wrong."""
        ours = self._state.fetched
        return self._state if state.fetched < ours <= now + SLACK else state

    async def _adopt(self, state: KeySetState, found: PublishedKeys | None = None) -> None:
        """Serve with this. The set in force stays the same object while it is the same set."""
        if not self._is_kept(state, self._clock()):
            self._forget()
        elif self.keys is UNKNOWN or state.jwks != self._state.jwks:
            try:
                self.keys = (found or await self._load(state.jwks)).keys
            except KeyProblem:
                self._say_damaged()
                state, self.keys = KeySetState(sought=state.sought), UNKNOWN
        self._state = state

    async def _load(self, jwks: str) -> PublishedKeys:
        return await asyncio.to_thread(
            load_published, jwks.encode(), self.source.algorithms, known=True
        )

    def _say_damaged(self) -> None:
        now = self._clock()
        if not 0 <= now - self._damaged_said < SAY_AGAIN:
            self._damaged_said = now
            log.warning("the record of the keys of `%s` is damaged and counts as never written: they are fetched anew", self.name)  # fmt: skip

    def _say_failure(self, text: str, now: float) -> None:
        said, at = self._said
        if text == said and 0 <= now - at < SAY_AGAIN:
            return
        self._said = text, now
        rest = "there are none, and its tokens are refused"
        if self.keys is not UNKNOWN:
            rest = f"those fetched {now - self._state.fetched:.0f} s ago serve on"
        log.warning(
            "the keys of `%s` could not be fetched from %s: %s; %s",
            self.name, self.source.asked, text, rest,
        )  # fmt: skip

    def _say_success(self, found: PublishedKeys, *, mended: bool, changed: bool) -> None:
        self._said = "", 0.0
        if not mended and not changed:
            return
        log.info("the keys of `%s`: %d, from %s", self.name, found.keys.size, self.source.asked)
        for reason in sorted(set(found.passed_over)) if changed else ():
            log.warning("of the keys of `%s` one or more are passed over: %s", self.name, reason)

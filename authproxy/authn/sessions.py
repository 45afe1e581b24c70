"""Sessions of people, kept by us: a browser holds a random id and nothing else, we keep the id's hash and who it is for.

A session is over when it was idle for too long, when it is too old, or when somebody ends it; what is over never comes back,
as a slow request can only touch what is there. Nothing here knows of cookies or pages.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from authproxy.authn.revocation import revoke_credential
from authproxy.model.errors import Refusal
from authproxy.state.records import Records
from authproxy.state.store import StateUnavailable

T = TypeVar("T")
KIND, INDEX, MARKS = "session", "session-index", "session-marks"
HOSTS = "session-host"  # other ids of a session, which other hosts know it by
ID_BYTES = 32  # 256 bits: nobody guesses one
# How long after its end a session is still known as one that is over, rather than as none at all, in seconds.
REMEMBERED = 86_400.0
EACH_MOST = 100  # living sessions of one user; the oldest end when there are more
TOUCHES = 10  # a session in use is written this many times in an idle timeout
PARSED_MOST, PARSED_LONGEST = 10_000, 300.0  # records that are kept as objects, and seconds


@dataclass(frozen=True, slots=True)
class Session:
    """A session. `key` is the hash of its id; times are seconds since the epoch; `data` is its authenticator's own."""

    key: bytes
    authenticator: str
    subject: str
    created: float
    seen: float
    data: Mapping[str, Any]


def key_of(session_id: str) -> bytes:
    """What a session is kept under: who reads our disk cannot be anybody."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()


class Sessions:
    """The sessions in `records`; `idle` and `absolute` are their timeouts in seconds."""

    def __init__(self, records: Records, idle: float, absolute: float) -> None:
        self._records = records
        self.idle = idle
        self.absolute = absolute
        self._parsed: dict[bytes, tuple[bytes, Session]] = {}
        self._parsed_until = 0.0
        self._touching: set[bytes] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def create(
        self,
        authenticator: str,
        subject: str,
        data: Mapping[str, Any],
        now: float,
        marks: Sequence[str] = (),
    ) -> tuple[str, Session]:
        """A new session and its id, which is told this once; `marked` finds it by its `marks`.

        Raises:
            StateUnavailable: there is none.
        """
        session_id = secrets.token_urlsafe(ID_BYTES)
        session = Session(key_of(session_id), authenticator, subject, now, now, data)
        await self._records.put(KIND, session.key, _dump(session), self._gone(session))
        lists = [(INDEX, _index_key(authenticator, subject))]
        lists += [(MARKS, _index_key(authenticator, mark)) for mark in marks]
        for kind, key in lists:
            for old in await self._index(kind, key, session, now):
                await self._end_old(old, now)
        return session_id, session

    async def _end_old(self, key: bytes, now: float) -> None:
        value = await self._records.get(KIND, key, now)
        if value is not None:
            await self.end(_load(key, value), now)

    async def find(self, session_id: str, now: float) -> Session | None:
        """The session of this id, which is noted as in use; None where there is none.

        Raises:
            Refusal: `session_expired`.
            StateUnavailable: nobody can tell.
        """
        key = key_of(session_id)
        value = await self._records.get(KIND, key, now)
        if value is None:
            led = await self._records.get(HOSTS, key, now)
            return None if led is None else await self.living(led, now)
        return self._used(key, value, now)

    def glance(self, session_id: str, now: float) -> Session | None:
        """What `find` finds, where that can be told without waiting; None says nothing. Nothing is remembered in its place:
        the record is looked at each time, so a session that was ended is over at once.
        """
        key = key_of(session_id)
        value = self._records.glance(KIND, key, now)
        if value is None:
            led = self._records.glance(HOSTS, key, now)
            if led is None:
                return None
            key, value = led, self._records.glance(KIND, led, now)
        try:
            return None if value is None else self._used(key, value, now)
        except Refusal:
            return None

    async def known(self, session_id: str, now: float) -> Session | None:
        """The session of this id, also where it is over: for a day nobody forgets whose it was."""
        key = key_of(session_id)
        key = await self._records.get(HOSTS, key, now) or key
        value = await self._records.get(KIND, key, now)
        return None if value is None else _load(key, value)

    async def living(self, key: bytes, now: float) -> Session | None:
        """The session of this key, as `find` has it.

        Raises:
            Refusal: `session_expired`.
            StateUnavailable: nobody can tell.
        """
        value = await self._records.get(KIND, key, now)
        return None if value is None else self._used(key, value, now)

    async def admit(self, session: Session) -> str:
        """One more id of a session, for the cookie of another host: whoever comes by it is in the same session, which
        has one life and one end.

        Raises:
            StateUnavailable: there is none.
        """
        session_id = secrets.token_urlsafe(ID_BYTES)
        await self._records.put(HOSTS, key_of(session_id), session.key, self._gone(session))
        return session_id

    def check(self, session: Session, now: float) -> None:
        """Refuse a session that is over.

        Raises:
            Refusal: `session_expired`.
        """
        if now - session.created >= self.absolute:
            raise Refusal("session_expired", "absolute")
        if now - session.seen >= self.idle:
            raise Refusal("session_expired", "idle")

    async def end(self, session: Session, now: float) -> bool:
        """End a session: for requests at once, for what is still open with it within two seconds. False where that was
        done already.

        Raises:
            StateUnavailable: it may go on.
        """
        self._parsed.pop(session.key, None)
        ended = await self._records.remove(KIND, session.key)
        # Streams do not ask for their session; the revocation list reaches them in every worker.
        authenticator, name = session.authenticator, session.key.hex()
        await revoke_credential(
            self._records, authenticator, name, session.created + self.absolute, now
        )
        return ended

    async def change(
        self,
        key: bytes,
        now: float,
        alter: Callable[[Session | None], tuple[Mapping[str, Any] | None, T]],
    ) -> tuple[T, Session | None]:
        """One atomic step on a session's data: `alter` sees it (None: it is over) and says what its data are from now on
        (None: nothing changes). Its outcome, and the session as it then is.

        `alter` may run twice and has no effects of its own.

        Raises:
            StateUnavailable: nothing was done.
        """  # fmt: skip

        def step(value: bytes | None) -> tuple[bytes | None, float, tuple[T, Session | None]]:
            known = _load(key, value) if value is not None else None
            data, outcome = alter(known)
            if known is None or data is None:
                return None, 0.0, (outcome, known)
            after = replace(known, data=data)
            return _dump(after), self._gone(after), (outcome, after)

        return await self._records.update(KIND, key, now, step)

    async def of(self, authenticator: str, subject: str, now: float) -> list[Session]:
        """The living sessions of somebody, the newest first."""
        return await self._listed(INDEX, _index_key(authenticator, subject), now)

    async def marked(self, authenticator: str, mark: str, now: float) -> list[Session]:
        """The living sessions that were created with this mark, the newest first."""
        return await self._listed(MARKS, _index_key(authenticator, mark), now)

    async def _listed(self, kind: str, key: bytes, now: float) -> list[Session]:
        listed = await self._records.get(kind, key, now)
        keys = [bytes.fromhex(one) for one in json.loads(listed or b"[]")]
        found = [(one, await self._records.get(KIND, one, now)) for one in keys]
        sessions = [_load(one, value) for one, value in found if value is not None]
        return [session for session in reversed(sessions) if self._lives(session, now)]

    async def every(self, now: float) -> list[Session]:
        """All living sessions, in the order in which they were last written: for the operator's commands."""
        records = await self._records.since(KIND, 0, now)
        sessions = [_load(record.key, record.value) for record in records]
        return [session for session in sessions if self._lives(session, now)]

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _lives(self, session: Session, now: float) -> bool:
        try:
            self.check(session, now)
        except Refusal:
            return False
        return True

    def _gone(self, session: Session) -> float:
        return session.created + self.absolute + REMEMBERED

    def _used(self, key: bytes, value: bytes, now: float) -> Session:
        session = self._parse(key, value, now)
        self.check(session, now)
        if now - session.seen > self.idle / TOUCHES:
            self._touch(session, now)
        return session

    def _parse(self, key: bytes, value: bytes, now: float) -> Session:
        kept = self._parsed.get(key)
        if kept is not None and kept[0] == value:
            return kept[1]
        session = _load(key, value)
        if len(self._parsed) >= PARSED_MOST or not 0 < self._parsed_until - now <= PARSED_LONGEST:
            # Also by time: of sessions that ended elsewhere nobody tells us, and on a quiet day there would be ever more.
            self._parsed.clear()
            self._parsed_until = now + PARSED_LONGEST
        self._parsed[key] = (value, session)
        return session

    def _touch(self, session: Session, now: float) -> None:
        """Note the use, beside the request: it need not wait for the disk."""
        if session.key in self._touching:
            return
        self._touching.add(session.key)
        task = asyncio.get_running_loop().create_task(self._note_use(session, now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _note_use(self, session: Session, now: float) -> None:
        def later(value: bytes | None) -> tuple[bytes | None, float, None]:
            # One that was ended meanwhile stays so.
            if value is None:
                return None, 0.0, None
            known = _load(session.key, value)
            return _dump(known, seen=max(known.seen, now)), self._gone(known), None

        try:
            await self._records.update(KIND, session.key, now, later)
        except StateUnavailable:
            pass  # the next use notes it
        finally:
            self._touching.discard(session.key)

    async def _index(self, kind: str, key: bytes, session: Session, now: float) -> list[bytes]:
        """Note it in a list; the keys of those that are too many there, of which no living one leaves before one that is over."""
        ended, over = await self._spent(kind, key, now)

        def add(value: bytes | None) -> tuple[bytes, float, list[bytes]]:
            listed = [*json.loads(value or b"[]"), session.key.hex()]
            kept = [one for one in listed if one not in ended]
            # Stable: within both the oldest first.
            first = sorted(kept, key=lambda one: one not in over)[: max(0, len(kept) - EACH_MOST)]
            kept = [one for one in kept if one not in first]
            return json.dumps(kept).encode(), self._gone(session), list(map(bytes.fromhex, first))

        return await self._records.update(kind, key, now, add)

    async def _spent(self, kind: str, key: bytes, now: float) -> tuple[set[str], set[str]]:
        """Of a list that fills up: which of it have ended, and which are over and still known. What has ended never
        comes back, so this may be said before the list is written.
        """  # fmt: skip
        listed = json.loads(await self._records.get(kind, key, now) or b"[]")
        ended, over = set[str](), set[str]()
        # At half of it already, so that others who log in meanwhile find room.
        for one in listed if len(listed) >= EACH_MOST // 2 else ():
            value = await self._records.get(KIND, bytes.fromhex(one), now)
            if value is None:
                ended.add(one)
            elif not self._lives(_load(bytes.fromhex(one), value), now):
                over.add(one)
        return ended, over


def _index_key(authenticator: str, who: str) -> bytes:
    parts = (part.encode("utf-8", "surrogatepass") for part in (authenticator, who))
    return hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).digest()


def _dump(session: Session, seen: float | None = None) -> bytes:
    members = {
        "authenticator": session.authenticator,
        "subject": session.subject,
        "created": session.created,
        "seen": session.seen if seen is None else seen,
        "data": session.data,
    }
    return json.dumps(members, separators=(",", ":")).encode()


def _load(key: bytes, value: bytes) -> Session:
    return Session(key, **json.loads(value))

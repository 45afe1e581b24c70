"""What was good and shall be no more: single credentials, and all that a subject was given until some moment.

The list is in the durable records; each worker has all of it in memory, so that no request waits for a disk. A worker
that never could read it lets no identity in; one that cannot reach it any more goes on with what it knows. It names
nobody: what it holds are hashes.
"""

import hashlib
import math
from collections import deque
from struct import Struct

from authproxy.authn.authenticator import length_prefixed
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.state.records import Record, Records
from authproxy.state.store import StateUnavailable

KIND = "revocations"
MOST = 1_000_000
# How much longer than needed an entry is kept, in seconds: clocks that are set back must not bring a credential back.
SLACK = 2 * 3600.0
# How long all of a subject's credentials stay revoked where nobody says: longer than what is issued should live.
SUBJECT_KEPT = 365 * 86400.0
# How many entries are looked at, each time that the list is, for whether they have ended.
FORGET_STEP = 200
# How many are learned of at once.
LEARN_STEP = 1_000
# How many are given back at once to records that have lost them.
GIVE_STEP = 200

# A record: revoked is what was issued up to this moment, and the moment after which nobody needs to know.
ENTRY = Struct("<dd")
MARK_BYTES = 16
CREDENTIAL, SUBJECT = b"c", b"s"


def _mark(kind: bytes, *parts: str) -> bytes:
    encoded = length_prefixed(*(part.encode("utf-8", "surrogatepass") for part in parts))
    return kind + hashlib.blake2b(encoded, digest_size=MARK_BYTES).digest()


def credential_mark(authenticator: str, credential_id: str) -> bytes:
    """The key of one credential: by its `jti`, or the hash of its signed part, of this authenticator only."""
    return _mark(CREDENTIAL, authenticator, credential_id)


def subject_mark(authenticator: str, subject: str) -> bytes:
    """The key of a subject, who is one of this authenticator only."""
    return _mark(SUBJECT, authenticator, subject)


def marks_of(identity: Identity) -> tuple[bytes, ...]:
    """Both keys of an identity: made once, as its header bytes are, for they are asked for on every request."""
    if not identity.marks:
        marks = (
            credential_mark(identity.authenticator, identity.credential_id),
            subject_mark(identity.authenticator, identity.subject),
        )
        object.__setattr__(identity, "marks", marks)  # depends on nothing but what is frozen
    return identity.marks


class Revocations:
    """The list as this process knows it; without `records` it is empty and known to be.

    `watchful` says that `check` must be asked at all, `changes` counts how often the list grew, `current` whether the
    last look at the records was answered.
    """

    __slots__ = (
        "_credentials", "_epoch", "_missing", "_records", "_sequence", "_subjects", "_walk", "changes", "current", "known",
        "watchful",
    )  # fmt: skip

    def __init__(self, records: Records | None = None) -> None:
        self._records = records
        self._sequence = 0
        self._epoch = 0  # of the records that were read last
        self._missing: list[bytes] = []  # what we know and they do not, since they are others
        self._credentials: dict[bytes, float] = {}  # until when
        self._subjects: dict[bytes, tuple[float, float]] = {}  # issued until, and until when
        self._walk: deque[bytes] = deque()  # every key of both once, the next to be looked at left
        self.changes = 0
        self.known = self.current = records is None
        self.watchful = not self.known

    def __len__(self) -> int:
        return len(self._credentials) + len(self._subjects)

    def check(self, identity: Identity) -> None:
        """Refuse who is revoked, and everybody while the list is not known.

        Raises:
            Refusal: `token_revoked`, `state_unavailable`.
        """
        if not self.known:
            raise Refusal("state_unavailable", "revocations")
        found = self.why(identity)
        if found:
            raise Refusal("token_revoked", found)

    def why(self, identity: Identity) -> str:
        """`credential` or `subject` where it is revoked by that, else empty. No I/O: two look-ups."""
        credential, subject = identity.marks or marks_of(identity)
        if credential in self._credentials:
            return "credential"
        entry = self._subjects.get(subject)
        if entry is None:
            return ""
        # What does not say when it was issued may have been before.
        issued = identity.issued_at
        return "subject" if issued is None or issued <= entry[0] else ""

    async def refresh(self, now: float) -> bool:
        """Learn what is new in the records, all of it the first time, and forget some that has ended; is there more now?

        Raises:
            StateUnavailable: they cannot be read; what is known stays.
        """
        if self._records is None:
            return False
        try:
            grown = await self._read(self._records, now)
        except StateUnavailable:
            self.current = False
            raise
        self._forget(now)
        self.known = self.current = True
        self.watchful = bool(self._credentials or self._subjects)
        self.changes += grown
        return grown

    async def _read(self, records: Records, now: float) -> bool:
        latest, before = await records.latest(KIND), self._epoch
        anew = records.epoch != before or latest < self._sequence
        if latest == self._sequence and not anew:
            await self._give_back(records, now)
            return False
        # What begins anew (a backup, another server after a failover) is read from its beginning; what was revoked stays so.
        reached, grown, epoch = 0 if anew else self._sequence, False, records.epoch
        lost = set(self._credentials) | set(self._subjects) if anew and self.known else set()
        while fresh := await records.since(KIND, reached, now, LEARN_STEP):
            for record in fresh:
                grown = self._add(record) or grown
                if ENTRY.unpack(record.value) == self._held(record.key):
                    lost.discard(
                        record.key
                    )  # an older state of it says less, and is given back too
            reached = fresh[-1].sequence
        self._sequence, self._epoch = max(latest, reached), epoch
        self._missing = [*lost, *self._missing]
        return grown

    async def _give_back(self, records: Records, now: float) -> None:
        """Write what the records have lost, a little at a time: whoever starts after us must know it too."""
        for key in self._missing[:GIVE_STEP]:
            entry = self._held(key)
            if entry is not None and entry[1] > now:
                await _merge(records, key, *entry, now)
        del self._missing[:GIVE_STEP]

    def _add(self, record: Record) -> bool:
        """Learn of it; was it news?"""
        key = record.key
        known = key[:1] in {CREDENTIAL, SUBJECT} and len(key) == 1 + MARK_BYTES
        if not known or len(record.value) != ENTRY.size:
            raise StateUnavailable("the revocation list is of another version of authproxy")
        issued_until, until = ENTRY.unpack(record.value)
        held = self._held(key)
        if held is None:
            self._walk.append(key)
        else:  # never shorter and never of less than what was known, whatever state the records went back to
            issued_until, until = max(issued_until, held[0]), max(until, held[1])
        if key.startswith(CREDENTIAL):
            self._credentials[key] = until
        else:
            self._subjects[key] = issued_until, until
        return self._held(key) != held

    def _held(self, key: bytes) -> tuple[float, float] | None:
        """What is known of this key: issued until, and until when."""
        if key in self._credentials:
            return math.inf, self._credentials[key]
        return self._subjects.get(key)

    def _forget(self, now: float) -> None:
        for _ in range(min(FORGET_STEP, len(self._walk))):
            key = self._walk.popleft()
            until = self._credentials[key] if key in self._credentials else self._subjects[key][1]
            if until > now:
                self._walk.append(key)
            else:
                self._credentials.pop(key, None)
                self._subjects.pop(key, None)


async def revoke_credential(
    records: Records, authenticator: str, credential_id: str, until: float, now: float
) -> None:
    """Refuse this credential from now on; `until` is when it would have ended anyway, leeway included.

    Raises:
        StateUnavailable: it is not on the list.
    """
    await _put(records, credential_mark(authenticator, credential_id), math.inf, until, now)


async def revoke_subject(
    records: Records, authenticator: str, subject: str, until: float, now: float
) -> None:
    """Refuse all that this subject was issued until `now`, for as long as `until`.

    Raises:
        StateUnavailable: it is not on the list.
    """
    await _put(records, subject_mark(authenticator, subject), now, until, now)


async def _put(
    records: Records, mark: bytes, issued_until: float, until: float, now: float
) -> None:
    if await records.count(KIND) >= MOST:
        raise StateUnavailable(f"the revocation list is full ({MOST} entries)")
    await _merge(records, mark, issued_until, until + SLACK, now)


async def _merge(
    records: Records, mark: bytes, issued_until: float, until: float, now: float
) -> None:
    def change(held: bytes | None) -> tuple[bytes | None, float, None]:
        # Never shorter and never of less than what is on the list already.
        before = ENTRY.unpack(held) if held is not None else (-math.inf, -math.inf)
        entry = max(issued_until, before[0]), max(until, before[1])
        return ENTRY.pack(*entry) if entry != before else None, entry[1], None

    await records.update(KIND, mark, now, change)

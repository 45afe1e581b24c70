"""The revocation list: what it refuses, what it leaves alone, and what happens while it cannot be read."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from authproxy.authn import revocation as module
from authproxy.authn.revocation import (
    KIND,
    SLACK,
    Revocations,
    credential_mark,
    marks_of,
    revoke_credential,
    revoke_subject,
    subject_mark,
)
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.state.lmdb_records import LmdbRecords
from authproxy.state.memory_records import MemoryRecords
from authproxy.state.records import Record, Records
from authproxy.state.redis_records import RedisRecords
from authproxy.state.store import StateUnavailable
from tests.redis_server import emptied

NOW = 1_700_000_000.0
ANN = Identity("tokens", "ann", credential_id="id-1", issued_at=NOW - 60, expires_at=NOW + 600)


class Away(MemoryRecords):
    """Records that can be made to fail."""

    away = False

    async def latest(self, kind: str) -> int:
        if self.away:
            raise StateUnavailable("away")
        return await super().latest(kind)


async def listed(records: Records) -> Revocations:
    found = Revocations(records)
    await found.refresh(NOW)
    return found


def code(revocations: Revocations, identity: Identity) -> str:
    try:
        revocations.check(identity)
    except Refusal as refusal:
        return refusal.code
    return "good"


async def test_a_credential_is_revoked_and_no_other() -> None:
    """By authenticator and id: neither another id nor the same one of another authenticator is meant."""
    records = MemoryRecords()
    await revoke_credential(records, "tokens", "id-1", NOW + 600, NOW)
    revocations = await listed(records)
    assert revocations.why(ANN) == "credential"
    assert code(revocations, ANN) == "token_revoked"
    assert revocations.why(replace(ANN, credential_id="id-2")) == ""
    assert revocations.why(replace(ANN, authenticator="others")) == ""
    assert revocations.why(replace(ANN, subject="bob")) == "credential"


@pytest.mark.parametrize(
    ("issued_at", "why"),
    [
        (NOW - 60, "subject"),
        (NOW, "subject"),
        (float(int(NOW)), "subject"),
        (None, "subject"),
        (NOW + 0.001, ""),
        (NOW + 1, ""),
    ],
)
async def test_a_subject_is_revoked_up_to_a_moment(issued_at: float | None, why: str) -> None:
    """What was issued until then is refused, and what does not say when; what was issued later is good."""
    records = MemoryRecords()
    await revoke_subject(records, "tokens", "ann", NOW + 600, NOW)
    revocations = await listed(records)
    assert revocations.why(replace(ANN, issued_at=issued_at)) == why
    assert revocations.why(replace(ANN, subject="ann2")) == ""
    assert revocations.why(replace(ANN, authenticator="others")) == ""


def test_names_cannot_be_made_to_meet() -> None:
    """Whatever is in the names, two different pairs have different keys, and a subject is no id (facts: joined keys)."""
    parts = ["a", "b", "a/b", "b/c", "c", "", "a\0b", "ab", "é", "\ud800", "\x00", "1"]
    marks = [make(x, y) for make in (credential_mark, subject_mark) for x in parts for y in parts]
    assert len(set(marks)) == len(marks)
    assert {len(mark) for mark in marks} == {17}


def test_a_changed_identity_has_other_marks() -> None:
    """They are made once, and never carried over to an identity that was made from another."""
    marks = marks_of(ANN)
    assert marks_of(ANN) is marks
    assert marks_of(replace(ANN, subject="bob"))[1] != marks[1]
    assert marks_of(replace(ANN, credential_id="x"))[0] != marks[0]


async def test_revoking_again_never_takes_back() -> None:
    """The later moment and the later end count, whatever comes last."""
    records = MemoryRecords()
    await revoke_subject(records, "tokens", "ann", NOW + 900, NOW)
    await revoke_subject(records, "tokens", "ann", NOW + 10, NOW - 100)
    revocations = await listed(records)
    assert revocations.why(replace(ANN, issued_at=NOW - 1)) == "subject"
    (record,) = await records.since(KIND, 0, NOW)
    assert record.expiry == NOW + 900 + SLACK
    await revoke_credential(records, "tokens", "id-1", NOW + 900, NOW)
    await revoke_credential(records, "tokens", "id-1", NOW + 10, NOW)
    assert (await records.since(KIND, 0, NOW))[-1].expiry == NOW + 900 + SLACK


async def test_what_is_new_is_learned() -> None:
    """A look tells whether the list grew; one that finds nothing new costs no list, and changes nothing."""
    records = MemoryRecords()
    revocations = Revocations(records)
    assert not await revocations.refresh(NOW)
    assert (revocations.watchful, revocations.changes, len(revocations)) == (False, 0, 0)
    await revoke_credential(records, "tokens", "id-1", NOW + 600, NOW)
    assert revocations.why(ANN) == ""
    assert await revocations.refresh(NOW)
    assert (revocations.watchful, revocations.changes, len(revocations)) == (True, 1, 1)
    assert not await revocations.refresh(NOW)
    assert revocations.changes == 1


async def test_nobody_gets_in_before_the_list_is_known() -> None:
    """A worker that could not read it refuses every identity; once it can, who is not on it gets in."""
    records = Away()
    records.away = True
    revocations = Revocations(records)
    assert (code(revocations, ANN), revocations.watchful) == ("state_unavailable", True)
    with pytest.raises(StateUnavailable):
        await revocations.refresh(NOW)
    assert code(revocations, ANN) == "state_unavailable"
    records.away = False
    await revocations.refresh(NOW)
    assert (code(revocations, ANN), revocations.watchful) == ("good", False)


async def test_what_is_known_outlives_the_records() -> None:
    """While they are away the list goes on, and is no longer called current; what came meanwhile is learned after."""
    records = Away()
    await revoke_credential(records, "tokens", "id-1", NOW + 600, NOW)
    revocations = await listed(records)
    records.away = True
    with pytest.raises(StateUnavailable):
        await revocations.refresh(NOW)
    assert (code(revocations, ANN), revocations.current) == ("token_revoked", False)
    await revoke_credential(records, "tokens", "id-2", NOW + 600, NOW)
    records.away = False
    assert await revocations.refresh(NOW)
    assert code(revocations, replace(ANN, credential_id="id-2")) == "token_revoked"
    assert revocations.current


async def test_records_that_begin_anew_bring_nobody_back() -> None:
    """Where the records were lost and begun anew, what was revoked stays so, and what is new there is learned."""
    records = MemoryRecords()
    for n in range(5):
        await revoke_credential(records, "tokens", f"id-{n}", NOW + 600, NOW)
    revocations = await listed(records)
    records.close()
    await revocations.refresh(NOW)
    assert code(revocations, ANN) == "token_revoked"
    await revoke_credential(records, "tokens", "new", NOW + 600, NOW)
    await revocations.refresh(NOW)
    assert code(revocations, replace(ANN, credential_id="new")) == "token_revoked"
    assert len(revocations) == 6


async def test_what_has_ended_is_forgotten() -> None:
    """Entries go when nobody could use what they stop, a while later for clocks' sake, and not before."""
    records = MemoryRecords()
    for n in range(500):
        await revoke_credential(records, "tokens", f"id-{n}", NOW + 10, NOW)
    await revoke_subject(records, "tokens", "ann", NOW + 10, NOW)
    await revoke_subject(records, "tokens", "bob", NOW + 9_999, NOW)
    revocations = await listed(records)
    for _ in range(5):
        await revocations.refresh(NOW + 10 + SLACK - 1)
    assert len(revocations) == 502
    for _ in range(5):
        await revocations.refresh(NOW + 10 + SLACK)
    assert len(revocations) == 1
    assert len(revocations._walk) == 1


async def test_a_clock_that_jumps_and_is_set_back_brings_nobody_back() -> None:
    """An hour forward and back again: what was revoked is."""
    records = MemoryRecords()
    await revoke_credential(records, "tokens", "id-1", NOW + 10, NOW)
    revocations = await listed(records)
    await revocations.refresh(NOW + 3600)
    await records.sweep(NOW + 3600, 10)
    assert code(revocations, ANN) == "token_revoked"
    assert code(await listed(records), ANN) == "token_revoked"


async def test_the_list_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full list refuses what is new, and says so: nothing is thought to be revoked that is not."""
    monkeypatch.setattr(module, "MOST", 2)
    records = MemoryRecords()
    await revoke_credential(records, "tokens", "1", NOW + 10, NOW)
    await revoke_subject(records, "tokens", "2", NOW + 10, NOW)
    with pytest.raises(StateUnavailable, match="full"):
        await revoke_credential(records, "tokens", "3", NOW + 10, NOW)


@pytest.mark.parametrize(
    "record",
    [
        Record(b"c" * 17, b"short", NOW + 9, 1),
        Record(b"short", bytes(16), NOW + 9, 1),
        Record(b"x" * 17, bytes(16), NOW + 9, 1),
    ],
)
async def test_a_list_that_is_not_understood_is_not_known(record: Record) -> None:
    """An entry of another form is no reason to overlook it."""
    records = MemoryRecords()
    await records.put(KIND, record.key, record.value, record.expiry)
    revocations = Revocations(records)
    with pytest.raises(StateUnavailable, match="another version"):
        await revocations.refresh(NOW)
    assert code(revocations, ANN) == "state_unavailable"


async def test_nobody_is_named_in_the_file(tmp_path: Path) -> None:
    """Whoever reads the disk learns of no subject, no jti and no authenticator."""
    records = LmdbRecords(tmp_path)
    await revoke_credential(records, "authenticator-name", "jti-of-a-token", NOW + 600, NOW)
    await revoke_subject(records, "authenticator-name", "subject-of-it", NOW + 600, NOW)
    revocations = await listed(records)
    records.close()
    assert len(revocations) == 2
    data = (tmp_path / "records" / "data.mdb").read_bytes()
    for name in (b"authenticator-name", b"jti-of-a-token", b"subject-of-it"):
        assert name not in data


def test_without_records_nothing_is_revoked() -> None:
    """For whoever has no list (tests of policies, descriptions of identities)."""
    revocations = Revocations()
    assert (code(revocations, ANN), revocations.watchful, revocations.known) == (
        "good",
        False,
        True,
    )


async def test_a_look_costs_less_than_a_microsecond(timed: Callable[[Any], float]) -> None:
    """The promise is 1 µs on a quiet machine; ten times that, at best of many, is what a busy one must keep."""
    records = MemoryRecords()
    for n in range(1_000):
        await revoke_credential(records, "tokens", f"other-{n}", NOW + 600, NOW)
    revocations = await listed(records)
    assert timed(lambda: revocations.why(ANN)) < 10e-6


@pytest.fixture
def timed() -> Callable[[Any], float]:
    """Seconds of one call, the best of several runs."""
    import timeit

    return lambda call: min(timeit.repeat(call, number=1_000, repeat=5)) / 1_000


class Elsewhere(MemoryRecords):
    """Records that another server answers for from now on: it has what it has."""

    other = 0

    @property
    def epoch(self) -> int:
        return self.other


async def test_another_server_is_read_from_its_beginning() -> None:
    """After a failover its sequence says nothing: what was written there meanwhile is learned, also below what was seen."""
    records = Elsewhere()
    for n in range(5):
        await revoke_credential(records, "tokens", str(n), NOW + 600, NOW)
    revocations = await listed(records)
    records.close()  # all is gone there
    records.other = 1
    await revoke_credential(records, ANN.authenticator, ANN.credential_id, NOW + 600, NOW)
    assert await revocations.refresh(NOW)
    assert code(revocations, ANN) == "token_revoked"
    assert len(revocations) == 6


async def test_what_the_records_lost_is_given_back() -> None:
    """A worker that runs still knows it, so one that starts afterwards learns it again: entries as they were."""
    records = Elsewhere()
    await revoke_credential(records, ANN.authenticator, ANN.credential_id, NOW + 600, NOW)
    await revoke_subject(records, "tokens", "bob", NOW + 600, NOW)
    revocations = await listed(records)
    before = {one.key: (one.value, one.expiry) for one in await records.since(KIND, 0, NOW)}
    records.close()
    records.other = 1
    for _ in range(3):
        await revocations.refresh(NOW)
    after = {one.key: (one.value, one.expiry) for one in await records.since(KIND, 0, NOW)}
    assert after == before
    assert len(before) == 2
    assert code(await listed(records), ANN) == "token_revoked"


async def test_what_has_ended_is_not_given_back() -> None:
    """Nor is anything that the records have: nothing is written that is there."""
    records = Elsewhere()
    await revoke_credential(records, "tokens", "1", NOW + 600, NOW)
    revocations = await listed(records)
    records.other = 1
    sequence = await records.latest(KIND)
    await revocations.refresh(NOW)
    await revocations.refresh(NOW)
    assert await records.latest(KIND) == sequence
    records.close()
    records.other = 2
    late = NOW + 600 + SLACK + 1
    await revocations.refresh(late)
    await revocations.refresh(late)
    assert await records.count(KIND) == 0


async def test_what_ended_everywhere_is_learned_within_a_second_over_a_redis() -> None:
    """Two machines on one Redis, five looks a second each: one revokes, the other refuses at its next look."""
    server = emptied()
    one, two = RedisRecords(server.access()), RedisRecords(server.access())
    now = time.time()
    here, there = await listed(one), await listed(two)
    await revoke_credential(one, ANN.authenticator, ANN.credential_id, now + 600, now)
    await there.refresh(now)
    await here.refresh(now)
    assert (code(here, ANN), code(there, ANN)) == ("token_revoked", "token_revoked")
    one.close()
    two.close()


async def test_an_older_state_of_the_records_takes_nothing_back() -> None:
    """A subject who was revoked again just before a failover stays so here, and is so for who starts afterwards."""
    records = Elsewhere()
    await revoke_subject(records, "tokens", "ann", NOW + 600, NOW - 90)
    [older] = await records.since(KIND, 0, NOW)
    await revoke_subject(records, "tokens", "ann", NOW + 900, NOW)  # ann's credential is of between
    revocations = await listed(records)
    [newer] = await records.since(KIND, 0, NOW)
    assert code(revocations, ANN) == "token_revoked"
    records.close()
    records.other = 1
    await records.put(KIND, older.key, older.value, older.expiry)  # its last write was lost
    for _ in range(3):
        await revocations.refresh(NOW)
    assert code(revocations, ANN) == "token_revoked"
    [found] = await records.since(KIND, 0, NOW)
    assert (found.value, found.expiry) == (newer.value, newer.expiry)
    assert code(await listed(records), ANN) == "token_revoked"

"""A session of a user of the file: who it is, from the file as it is now."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from multidict import CIMultiDict

from authproxy.authn.authentication import Authentication
from authproxy.authn.authenticator import Credential
from authproxy.authn.cache import IdentityCache
from authproxy.authn.password import PasswordAuthenticator, who_left
from authproxy.authn.password_mark import password_mark
from authproxy.authn.passwords import TODAY, Kind, PasswordChecks, hash_password
from authproxy.authn.rehashing import Rehashing
from authproxy.authn.revocation import Revocations
from authproxy.authn.sessions import Sessions
from authproxy.authn.slots import Presentation
from authproxy.config.users import User, Users, read_users_file
from authproxy.model.errors import Refusal
from authproxy.model.headers import IdentityProfile
from authproxy.model.identity import Identity
from authproxy.state.memory_records import MemoryRecords
from tests.authn.tokens import verifier

NOW = 1_800_000_000.0
HASH = hash_password("correct horse")
ANN = User(password=HASH, groups=["eng"], email="ann@x.test", name="Ann")


def staff(sessions: Sessions, **users: User) -> PasswordAuthenticator:
    render = IdentityProfile("forwarded").render
    checks = PasswordChecks()
    return PasswordAuthenticator(
        "staff", "__Host-authproxy", sessions, render, Users(users), checks
    )


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(MemoryRecords(), 1800.0, 43_200.0)


async def begin(sessions: Sessions, user: User = ANN, authenticator: str = "staff") -> str:
    data = {"password": password_mark(user)}
    return (await sessions.create(authenticator, "ann", data, NOW))[0]


async def judged(one: PasswordAuthenticator, session_id: str) -> Identity | None:
    return await one.judge(Credential(session_id), Presentation({}), NOW + 1)  # type: ignore[arg-type]  # it looks at none


async def test_the_identity_of_a_session(sessions: Sessions) -> None:
    """What the file says, until the session is too old; the same object as long as nothing changes."""
    one, session_id = staff(sessions, ann=ANN), await begin(sessions)
    identity = await judged(one, session_id)
    assert identity is not None
    assert (identity.authenticator, identity.subject, identity.groups) == ("staff", "ann", ("eng",))
    assert (identity.email, identity.name, identity.username) == ("ann@x.test", "Ann", "ann")
    assert (identity.issued_at, identity.expires_at) == (NOW, NOW + 43_200)
    assert b"X-Forwarded-User: ann\r\n" in (identity.header_block or b"")
    assert await judged(one, session_id) is identity
    assert session_id not in repr(identity)


async def test_another_authenticators_session_is_not_its_own(sessions: Sessions) -> None:
    """A session counts only for who made it; an id that nobody knows is nobody's."""
    one = staff(sessions, ann=ANN)
    assert await judged(one, await begin(sessions, authenticator="other")) is None
    assert await judged(one, "unknown") is None


@pytest.mark.parametrize(
    ("users", "reason"),
    [
        ({}, "user"), ({"ann": ANN.model_copy(update={"disabled": True})}, "user"),
        ({"ann": User.model_validate({"password": HASH, "changed": "2026-11-27T00:00:00Z"})}, "password-changed"),
    ],
)  # fmt: skip
async def test_whoever_left_the_file_is_out(
    sessions: Sessions, users: dict[str, User], reason: str
) -> None:
    """Removed, disabled, or with another password since."""
    session_id = await begin(sessions)
    with pytest.raises(Refusal) as refused:
        await judged(staff(sessions, **users), session_id)
    assert (refused.value.code, refused.value.reason) == ("session_expired", reason)


async def test_another_hash_ends_the_session(sessions: Sessions) -> None:
    """Also where somebody wrote it into the file by hand and nothing else."""
    session_id = await begin(sessions)
    again = ANN.model_copy(update={"password": hash_password("another")})
    with pytest.raises(Refusal):
        await judged(staff(sessions, ann=again), session_id)


def test_who_left_the_file(sessions: Sessions) -> None:
    """Removed, disabled or with another password; who is new, or in another group, did not leave."""
    other = ANN.model_copy(update={"password": HASH.replace("$m=", "$m=1")})
    before = staff(sessions, ann=ANN, bob=ANN, eve=ANN, dan=ANN)
    gone = ANN.model_copy(update={"disabled": True})
    regrouped = ANN.model_copy(update={"groups": ["ops"]})
    now = staff(sessions, ann=regrouped, bob=other, eve=gone, new=ANN)
    assert who_left(before, now) == ["bob", "eve", "dan"]
    assert who_left(before, None) == ["ann", "bob", "eve", "dan"]
    assert who_left(before, before) == []


async def test_who_logs_in(sessions: Sessions) -> None:
    """Name and password, in any spelling of the name; nobody who is disabled."""
    gone = ANN.model_copy(update={"disabled": True})
    one = staff(sessions, ann=ANN, gone=gone)
    assert await one.log_in("ANN", "correct horse") == ("ann", ANN)
    for name, password in (("ann", "wrong"), ("eve", "correct horse"), ("gone", "correct horse")):
        assert await one.log_in(name, password) is None


async def test_sessions_are_never_remembered_elsewhere(sessions: Sessions) -> None:
    """The caches of identities are not for them: one that was ended is over with the next request."""
    one = staff(sessions, ann=ANN)
    assert (one.memory, one.guessable, one.proves) == (0.0, False, False)


@pytest.mark.parametrize("several", [False, True], ids=["alone", "beside tokens"])
async def test_whose_session_it_is_is_told_without_waiting(
    sessions: Sessions, several: bool
) -> None:
    """And told anew each time, also on one connection: who ended it, or left the file, is nobody."""
    one, memo = staff(sessions, ann=ANN), dict[type, object]()
    kinds = [verifier(), one] if several else [one]
    door = Authentication(kinds, IdentityCache(), Revocations())
    session_id = await begin(sessions)
    shown = Presentation(CIMultiDict(Cookie=f"__Host-authproxy={session_id}"))
    identity = await judged(one, session_id)
    for _ in range(2):
        assert door.recall(shown, NOW, memo) is identity
    assert door.recall(shown, NOW + 43_200, memo) is None
    session = await sessions.find(session_id, NOW)
    assert session is not None
    await sessions.end(session, NOW)
    assert door.recall(shown, NOW, memo) is None
    another = await begin(sessions, authenticator="other")
    assert one.recognize(another, NOW) is None
    assert staff(sessions).recognize(await begin(sessions), NOW) is None


async def test_a_login_renews_an_old_hash(sessions: Sessions, tmp_path: Path) -> None:
    """With the password that was right, and with none else; the next configuration goes on with what was begun."""
    weak = User(password=PasswordHasher(1, 64, 1).hash("correct horse"))
    file, checks = tmp_path / "users.yaml", PasswordChecks()
    file.write_text(f"users:\n  ann:\n    password: {weak.password}\n")
    os.utime(file, (NOW - 1000, NOW - 1000))
    rehashing = Rehashing("staff", file, checks)
    one, following = (
        PasswordAuthenticator("staff", "c", sessions, IdentityProfile("none").render, Users({"ann": weak}), checks, rehashing)
        for _ in range(2)
    )  # fmt: skip
    assert await one.log_in("ann", "wrong") is None
    await one.tend(NOW)
    assert weak.password in file.read_text()
    assert await one.log_in("ANN", "correct horse") == ("ann", weak)
    await asyncio.wait(rehashing._tasks)
    assert one.goes_on_in(following)
    assert not one.goes_on_in(staff(sessions, ann=weak))
    await following.tend(NOW)
    renewed = read_users_file(file)
    assert "m=19456,t=2,p=1" in renewed.by_name["ann"].password
    assert password_mark(renewed.by_name["ann"]) == password_mark(weak)
    assert who_left(one, staff(sessions, **renewed.by_name)) == []
    await following.close()


async def test_every_kind_of_hash_is_worked_on(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For whoever it is, known, unknown or disabled: one hash of each that the file has."""
    weak = User(password=PasswordHasher(1, 64, 1).hash("correct horse"))
    one = staff(sessions, ann=ANN, bob=weak, gone=weak.model_copy(update={"disabled": True}))
    asked = []

    async def verify(hashed: str | None, _password: str, kinds: Sequence[Kind]) -> bool:
        asked.append((hashed, kinds))
        return False

    monkeypatch.setattr(one._checks, "verify", verify)
    for name in ("ann", "bob", "gone", "nobody"):
        assert await one.log_in(name, "correct horse") is None
    assert [hashed for hashed, _ in asked] == [ANN.password, weak.password, None, None]
    assert {kinds for _, kinds in asked} == {(Kind(64, 1, 1, 32), TODAY)}

"""Old hashes are renewed when their users log in: in the file, beside requests, seldom, by one writer at a time."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from authproxy.authn.password_mark import password_mark
from authproxy.authn.passwords import Kind, PasswordChecks, is_outdated
from authproxy.authn.rehashing import BUSY, PAUSE, RETRY, WAITING_MOST, Rehashing
from authproxy.config.users import User, _alone, change_users, read_users_file
from tests.authn.test_passwords import RIGHT, WEAK, hashed_as

NOW = 1_800_000_000.0
OLD = hashed_as(WEAK)
STRONG = hashed_as(Kind(128, 400, 1, 32))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A users file that was written long ago."""
    path = tmp_path / "users.yaml"
    path.write_text(f"users:\n  ann: # ours\n    password: {OLD}\n  bob:\n    password: {OLD}\n")
    age(path)
    return path


def age(file: Path, seconds: float = 1000.0) -> None:
    """Let it have been written so long before NOW."""
    os.utime(file, (NOW - seconds, NOW - seconds))


def user(file: Path, name: str = "ann") -> User:
    return read_users_file(file).by_name[name]


def text_of(file: Path) -> str:
    """What is in it now."""
    return file.read_text()


def write(file: Path, text: str) -> None:
    """Save it, a while ago."""
    file.write_text(text)
    age(file)


def remove(file: Path) -> None:
    """It is gone."""
    file.unlink()


async def begun(file: Path, *names: str, one: Rehashing | None = None) -> Rehashing:
    """One whose users have logged in, with their new hashes made."""
    one = one or Rehashing("staff", file, PasswordChecks())
    for name in names:
        one.begin(name, user(file, name), RIGHT)
    if one._tasks:
        await asyncio.wait(one._tasks)
    return one


async def test_an_old_hash_is_renewed(file: Path) -> None:
    """The new one is of the same password, with today's parameters; the mark stays, and so does the rest of the file."""
    before, one = user(file), await begun(file, "ann")
    await one.tend(NOW)
    after = user(file)
    assert (is_outdated(before.password), is_outdated(after.password)) == (True, False)
    assert await PasswordChecks().verify(after.password, RIGHT)
    assert password_mark(after) == password_mark(before)
    assert user(file, "bob").password == OLD
    assert "# ours" in text_of(file)
    await one.close()


async def test_what_is_as_good_is_left_alone(tmp_path: Path) -> None:
    """Today's hashes and stronger ones cost nothing more."""
    one = Rehashing("staff", tmp_path / "none", PasswordChecks())
    one.begin("ann", User(password=STRONG), RIGHT)
    assert one._tasks == set()
    await one.tend(NOW)
    await one.close()


async def test_logins_of_a_minute_are_one_change(file: Path) -> None:
    """Each change is read by every worker; whoever made the last one, the next comes a minute later."""
    age(file, 10.0)
    one = await begun(file, "ann")
    await one.tend(NOW)
    assert user(file).password == OLD
    await begun(file, "bob", one=one)
    for second in range(int(PAUSE) - 10):
        await one.tend(NOW + second)
    text = text_of(file)
    assert OLD in text
    await one.tend(NOW + PAUSE)
    assert OLD not in text_of(file)
    await one.close()


async def test_another_password_is_never_undone(file: Path) -> None:
    """Whoever changed it meanwhile, or removed the user, has the last word; another worker's new hash stays too."""
    one, other = await begun(file, "ann", "bob"), await begun(file, "ann")
    changed = hashed_as(Kind(64, 2, 1, 32))
    change_users(file, lambda users: users.__delitem__("bob"))
    change_users(file, lambda users: users["ann"].update(password=changed))
    age(file)
    await one.tend(NOW)
    await other.tend(NOW)
    assert list(read_users_file(file).by_name) == ["ann"]
    assert user(file).password == changed
    await one.close()
    await other.close()


async def test_several_workers_write_one_after_the_other(file: Path) -> None:
    """None waits for another, and nothing is lost: who finds the file taken comes again."""
    workers = [await begun(file, name) for name in ("ann", "bob", "ann", "bob")]
    with _alone(file.parent):
        await workers[0].tend(NOW)
        assert user(file).password == OLD
    age(file)
    now = NOW
    while OLD in text_of(file):
        now += BUSY
        await asyncio.gather(*(one.tend(now) for one in workers))
        age(file)
    first = text_of(file)
    for one in workers:
        await one.tend(now + RETRY)
        await one.close()
    assert text_of(file) == first


@pytest.mark.parametrize("damage", ["gone", "unwritable", "odd", "wrong"])
async def test_a_file_that_cannot_be_written_is_said_once(
    file: Path, damage: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line without a hash, not at every login; an hour later it is tried again."""
    one = await begun(file, "ann")
    text = text_of(file)
    if damage == "gone":
        remove(file)
    elif damage == "unwritable":
        monkeypatch.setattr("tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))  # fmt: skip
    else:
        write(file, text.replace(OLD, f">-\n      {OLD}") if damage == "odd" else "users: [")
    with caplog.at_level(logging.INFO, "authproxy"):
        for second in range(5):
            await one.tend(NOW + second)
            one._made["ann"] = OLD, OLD
    assert len(caplog.records) == 1
    assert "argon2id" not in caplog.text
    write(file, text)
    monkeypatch.undo()
    one._made.clear()
    await begun(file, "ann", one=one)
    await one.tend(NOW + RETRY + 1)
    assert user(file).password != OLD
    await one.close()


async def test_what_waits_is_bounded(file: Path) -> None:
    """So many hashes are made before they are written; and none twice."""
    one = await begun(file, "ann", "ann")
    assert len(one._made) == 1
    one._begun |= {("x", str(n)) for n in range(WAITING_MOST)}
    await begun(file, "bob", one=one)
    assert list(one._made) == ["ann"]
    await one.close()


async def test_logins_go_before(file: Path) -> None:
    """Where too many wait for a hash, the renewal is left to another login."""
    checks = PasswordChecks(waiting_most=0)
    one = await begun(file, "ann", one=Rehashing("staff", file, checks))
    assert (one._made, one._begun) == ({}, set())
    await one.close()

"""The users file: what it may hold, where its mistakes are, and that it is never half written."""

import multiprocessing
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from authproxy.config import users as module
from authproxy.config.users import (
    User,
    _alone,
    change_users,
    read_users,
    read_users_file,
    replace_hashes,
    spelling,
)
from authproxy.model.errors import ConfigError

HASH = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNo"
GOOD = f"users:\n  ann: {{password: '{HASH}', groups: [eng], email: a@x.test, changed: 2026-11-27T10:00:00Z}}\n"


def codes(text: str) -> list[tuple[str, int]]:
    with pytest.raises(ConfigError) as wrong:
        read_users(text.encode(), "users.yaml")
    return [(p.code, p.line) for p in wrong.value.problems]


def test_a_user_as_the_file_has_them() -> None:
    """Groups, address, and the moment of the last change."""
    name, user = read_users(GOOD.encode(), "u").find("ANN") or ("", None)
    assert user is not None
    assert (name, user.groups, user.email, user.disabled) == ("ann", ["eng"], "a@x.test", False)
    assert read_users(b"users: {}", "u").find("ann") is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("users: [ann]", "wrong-type"), ("user: {}", "unknown-key"), ("users:\n  ann: {}", "missing-key"),
        ("users:\n  ann: {password: secret}", "bad-text"), ("users:\n  ann: {password: }", "empty-value"),
        (GOOD.replace("[eng]", "['']"), "empty-text"), (GOOD.replace("ann", "' ann'"), "bad-user"),
        (GOOD.replace("ann", '"a\\u202enn"'), "bad-user"), (GOOD + GOOD.split("\n")[1].replace("ann", "ANN"), "duplicate-user"),
        (GOOD + GOOD.split("\n")[1].replace("ann", "\uff41nn"), "duplicate-user"), (GOOD + GOOD.split("\n")[1], "duplicate-key"),
        (GOOD.replace("email", "mail"), "unknown-key"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(text: str, code: str) -> None:
    """Spellings of one name, passwords in clear, keys that nobody knows."""
    found = codes(text)
    assert code in [c for c, _ in found]
    assert "secret" not in str(found)


def test_spellings_of_one_name() -> None:
    """No case, no width, no composition tells two users apart."""
    for one, other in (("Ann", "aNN"), ("ﬁ", "FI"), ("é", "e\u0301"), ("Straße", "STRASSE")):
        assert spelling(one) == spelling(other)
    assert spelling("ann") != spelling("anna")


def test_a_change_keeps_the_rest_and_the_mode(tmp_path: Path) -> None:
    """Others stay as they were; nobody else can read the file."""
    file = tmp_path / "users.yaml"
    file.write_text(GOOD)

    def add(users: dict[str, dict[str, Any]]) -> None:
        users["bob"] = {"password": HASH}

    change_users(file, add)
    users = read_users_file(file).by_name
    assert list(users) == ["ann", "bob"]
    assert users["ann"].groups == ["eng"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["users.yaml"]


def test_what_would_be_wrong_is_not_written(tmp_path: Path) -> None:
    """Nor is anything where the change fails, or where the file was wrong before."""
    file = tmp_path / "users.yaml"
    file.write_text(GOOD)

    def spoil(users: dict[str, dict[str, Any]]) -> None:
        users["bob"] = {"password": "clear"}

    def fail(_users: dict[str, dict[str, Any]]) -> None:
        raise KeyError("no")

    with pytest.raises(ConfigError):
        change_users(file, spoil)
    with pytest.raises(KeyError):
        change_users(file, fail)
    assert file.read_text() == GOOD
    file.write_text("users: [")
    with pytest.raises(ConfigError):
        change_users(file, lambda users: users.clear())
    with pytest.raises(FileNotFoundError):
        change_users(tmp_path / "none.yaml", lambda users: users.clear())


def _add(file: Path, name: str) -> None:
    change_users(file, lambda users: users.update({name: {"password": HASH}}), create=True)


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """One after the other, whatever they are."""
    file = tmp_path / "users.yaml"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add, args=(file, f"user-{n}")) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert len(read_users_file(file).by_name) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["users.yaml"]


def test_a_change_keeps_links_and_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a link leads to is changed; the owner stays, and so does the group that could read it, nobody else."""
    (tmp_path / "etc").mkdir()
    link, file = tmp_path / "users.yaml", tmp_path / "etc" / "users.yaml"
    link.symlink_to(file)
    _add(link, "ann")
    assert (link.is_symlink(), file.stat().st_mode & 0o777) == (True, 0o600)
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda _descriptor, *owner: owners.append(owner))
    found, theirs = os.fstat, file.stat()

    def another(descriptor: int) -> os.stat_result:
        own = list(found(descriptor))
        own[4] += 1
        return os.stat_result(own)

    monkeypatch.setattr(os, "fstat", another)
    for before, after in ((0o640, 0o640), (0o644, 0o600), (0o400, 0o600)):
        file.chmod(before)
        _add(link, f"user-{before}")
        assert (link.is_symlink(), file.stat().st_mode & 0o777) == (True, after)
    assert owners == [(theirs.st_uid, theirs.st_gid)] * 3
    assert len(read_users_file(file).by_name) == 4
    assert [path.name for path in file.parent.iterdir()] == ["users.yaml"]


@pytest.mark.parametrize("by_link", [False, True])
def test_a_command_and_a_renewed_hash_at_once_lose_nothing(tmp_path: Path, by_link: bool) -> None:
    """Whoever comes second sees what the first has written, also where one comes by a link from elsewhere."""
    (tmp_path / "etc").mkdir()
    link, file = tmp_path / "users.yaml", tmp_path / "etc" / "users.yaml"
    file.write_text(GOOD)
    link.symlink_to(file)
    commands = ThreadPoolExecutor(1)
    pending: list[Future[None]] = []

    def in_the_middle(name: str, user: User) -> tuple[str, str]:
        pending.append(commands.submit(_add, link if by_link else file, "bob"))
        with pytest.raises(TimeoutError):
            pending[0].result(0.1)  # it waits for us
        return renew(name, user)

    assert replace_hashes(file, ["ann"], in_the_middle) == 1
    pending[0].result(20)
    users = read_users_file(link).by_name
    assert (users["ann"].password, list(users)) == (NEW, ["ann", "bob"])

    def change(users: dict[str, dict[str, Any]]) -> None:
        with pytest.raises(BlockingIOError):  # and tries again in a second
            replace_hashes(file, ["bob"], renew)
        users["bob"]["password"] = OTHER

    change_users(link if by_link else file, change)
    renewed = replace_hashes(
        file, ["bob"], lambda name, user: renew(name, user) if user.password == HASH else None
    )
    assert (renewed, read_users_file(link).by_name["bob"].password) == (0, OTHER)
    commands.shutdown()


OTHER = HASH.replace("c29t", "c29v")
NEW = HASH.replace("m=19456", "m=19457")
MARKS = "0123456789abcdef fedcba9876543210"


def renew(_name: str, _user: User) -> tuple[str, str]:
    """Whatever they have becomes `NEW`."""
    return NEW, MARKS


def test_a_hash_is_replaced_where_it_stands(tmp_path: Path) -> None:
    """One of the users that are named; nothing else changes, whoever may read the file neither; a link stays a link."""
    file, link = tmp_path / "users.yaml", tmp_path / "link.yaml"
    file.write_text(f"# ours\n{GOOD}  bob: {{password: '{HASH}'}} # on leave\n")
    file.chmod(0o640)
    link.symlink_to(file)
    assert replace_hashes(link, ["bob", "nobody"], renew) == 1
    assert file.read_text() == (
        f"# ours\n{GOOD}  bob: {{password: '{NEW}', rehashed: {MARKS}}} # on leave\n"
    )
    assert (file.stat().st_mode & 0o777, link.is_symlink()) == (0o640, True)
    assert replace_hashes(file, ["ann"], lambda _name, _user: None) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "users.yaml"]


def test_a_hash_is_not_replaced_while_others_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for a writer, and whoever saved the file without asking anybody loses nothing."""
    file = tmp_path / "users.yaml"
    file.write_text(GOOD)
    with _alone(tmp_path), pytest.raises(BlockingIOError):
        replace_hashes(file, ["ann"], renew)

    def meanwhile(_name: str, _user: User) -> tuple[str, str]:
        file.write_text(GOOD + "# more\n")
        return NEW, MARKS

    with pytest.raises(BlockingIOError):
        replace_hashes(file, ["ann"], meanwhile)
    assert file.read_text() == GOOD + "# more\n"
    monkeypatch.setattr(module, "renewed_text", lambda text, *_: text.replace("eng", "ops"))
    with pytest.raises(ValueError, match="surroundings"):
        replace_hashes(file, ["ann"], renew)
    assert file.read_text() == GOOD + "# more\n"


def test_a_file_whose_owner_cannot_be_kept_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another owner would be another who may read it."""
    file = tmp_path / "users.yaml"
    file.write_text(GOOD)
    found = os.fstat

    def others(descriptor: int) -> os.stat_result:
        own = list(found(descriptor))
        own[4] += 1
        return os.stat_result(own)

    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fstat", others)
    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(PermissionError):
        replace_hashes(file, ["ann"], renew)
    assert file.read_text() == GOOD
    assert [path.name for path in tmp_path.iterdir()] == ["users.yaml"]

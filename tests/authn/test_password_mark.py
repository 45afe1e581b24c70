"""The mark of a password: the same for one password, another for another, however it came into the file."""

import pytest

from authproxy.authn.password_mark import password_mark, rehashed_mark
from authproxy.authn.passwords import hash_password
from authproxy.config.users import User

OLD, NEW, OTHER = (hash_password("correct horse") for _ in range(3))
MOMENT = "2026-11-27T10:00:00Z"
SECRET = "JBSWY3DPEHPK3PXP"


def user(password: str = OLD, **more: object) -> User:
    return User.model_validate({"password": password, "changed": MOMENT, **more})


def renewed(before: User, hashed: str) -> User:
    return before.model_copy(update={"password": hashed, "rehashed": rehashed_mark(before, hashed)})


def test_a_new_hash_of_the_same_password_keeps_the_mark() -> None:
    """Once and again, with a second factor and without."""
    for before in (user(), user(totp=SECRET), User(password=OLD)):
        once = renewed(before, NEW)
        assert password_mark(once) == password_mark(before)
        assert password_mark(renewed(once, OTHER)) == password_mark(before)


@pytest.mark.parametrize(
    "changes",
    [
        {"password": OTHER}, {"changed": "2026-11-28T10:00:00Z"}, {"totp": SECRET}, {"rehashed": None},
        {"rehashed": "0123456789abcdef 0123456789abcdef"},
    ],
)  # fmt: skip
def test_whatever_is_changed_afterwards_changes_it(changes: dict[str, str]) -> None:
    """By hand or by a command: the seal is of this hash, this moment and this second factor."""
    before = renewed(user(), NEW)
    after = User.model_validate(before.model_dump(exclude_none=True) | changes) if "rehashed" not in changes else before.model_copy(update=changes)  # fmt: skip
    assert password_mark(after) != password_mark(before)


def test_the_hash_of_before_put_back_is_the_same_password() -> None:
    """A file that is written by others, from where the old hash still stands, ends nobody's session."""
    before = user()
    for rehashed in (None, rehashed_mark(before, NEW)):
        back = before.model_copy(update={"rehashed": rehashed})
        assert password_mark(back) == password_mark(before)


def test_a_mark_says_nothing_of_the_hash() -> None:
    """It is a hash itself, of a random salt among others."""
    assert len(password_mark(user())) == 16
    assert OLD[-20:] not in rehashed_mark(user(), NEW)

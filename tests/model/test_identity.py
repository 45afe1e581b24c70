"""The identity: frozen, because it is cached and shared."""

from dataclasses import FrozenInstanceError

import pytest

from authproxy.model.identity import Identity


def test_an_identity_cannot_be_changed() -> None:
    """Requests share an identity, so none may write to it."""
    identity = Identity("tokens", "alice")
    with pytest.raises(FrozenInstanceError):
        identity.subject = "bob"  # type: ignore[misc]


def test_an_identity_has_nothing_that_was_not_given() -> None:
    """Groups, scopes and claims begin empty: rights are never a default."""
    identity = Identity("tokens", "alice")
    assert (identity.groups, identity.scopes, dict(identity.claims)) == ((), frozenset(), {})


def test_two_authenticators_make_two_identities() -> None:
    """(authenticator, subject) is who it is."""
    assert Identity("a", "alice") != Identity("b", "alice")


def test_what_people_have_in_common_is_one_object() -> None:
    """Thousands of people in the same groups have them once; others have their own."""
    of = [Identity("a", name, groups=("eng", name[:1]), scopes=frozenset(["read"])) for name in ("ann", "alf", "bob")]  # fmt: skip
    assert of[0].groups is of[1].groups
    assert of[0].scopes is of[2].scopes
    assert of[2].groups == ("eng", "b")


def test_header_bytes_are_of_the_identity_itself() -> None:
    """What is made of it is kept with it, also where it is too much for the backend (None)."""
    identity = Identity("a", "alice")
    assert identity.with_headers(lambda who: who.subject.encode()) is identity
    assert identity.header_block == b"alice"
    assert Identity("a", "alice").with_headers(lambda _: None).header_block is None

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

"""What all kinds of authenticators have in common: a credential is taken apart once, fingerprints tell all apart."""

from unittest.mock import Mock

import pytest
from multidict import CIMultiDict

from authproxy.authn import authenticator as module
from authproxy.authn.authentication import Authentication
from authproxy.authn.authenticator import Authenticator, Credential, fingerprint_of
from authproxy.authn.cache import IdentityCache
from authproxy.authn.compact import parse
from authproxy.authn.revocation import Revocations
from authproxy.authn.slots import HeaderSlot, Presentation, Presented, Slot
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from tests.authn.tokens import token


class Keyed(Authenticator):
    """Takes one word; its keys can change, and it may want a proof with each request."""

    name = takes = "keyed"
    slots = (HeaderSlot("X-Key"),)

    def __init__(self, *, proves: bool = False) -> None:
        self.proves = proves
        self.print = b"one"
        self.judged = self.proofs = 0

    @property
    def fingerprint(self) -> bytes:
        return self.print

    async def judge(self, credential: Credential, _presented: Presented, _now: float) -> Identity:
        self.judged += 1
        if credential.text != "good":
            raise Refusal("token_invalid", "word")
        return Identity(self.name, "ann")

    async def check_proof(
        self, _identity: Identity, credential: str, slot: Slot, presented: Presented, _now: float
    ) -> None:
        assert (credential, slot) == ("good", self.slots[0])
        self.proofs += 1
        if presented.headers.get("X-Proof") != "right":
            raise Refusal("token_invalid", "proof")


def shown(**fields: str) -> Presentation:
    return Presentation(
        CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})
    )


async def ask(door: Authentication, presented: Presentation) -> Identity:
    return await door.authenticate(presented, 0.0, lambda: None)


def test_a_credential_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many authenticators look at it, and also where it is no token at all."""
    for text, is_token in ((token(), True), ("opaque", False)):
        counted = Mock(wraps=parse)
        monkeypatch.setattr(module, "parse", counted)
        credential = Credential(text)
        assert [credential.token is not None for _ in range(3)] == [is_token] * 3
        assert counted.call_count == 1
        monkeypatch.undo()


def test_fingerprints_tell_everything_apart() -> None:
    """The parts, where one ends and the next begins, and what the headers would be."""

    def none(_identity: Identity) -> bytes:
        return b""

    prints = {
        fingerprint_of(none, "a", "bc"),
        fingerprint_of(none, "ab", "c"),
        fingerprint_of(none, "abc"),
        fingerprint_of(lambda _identity: b"X", "abc"),
    }
    assert len(prints) == 4


async def test_a_new_fingerprint_forgets_what_the_old_one_vouched_for() -> None:
    """With the keys the identities go that they verified, whoever remembers them."""
    keyed = Keyed()
    door, memo = Authentication([keyed], IdentityCache(), Revocations()), dict[type, object]()
    assert (await ask(door, shown(X_Key="good"))).subject == "ann"
    assert door.recall(shown(X_Key="good"), 0.0, memo) is not None
    assert door.recall(shown(X_Key="good"), 0.0, memo) is not None
    keyed.print = b"two"
    assert door.recall(shown(X_Key="good"), 0.0, memo) is None
    await ask(door, shown(X_Key="good"))
    assert keyed.judged == 2


async def test_a_proof_is_asked_for_on_every_request() -> None:
    """Also where the identity is known; what is only remembered is never enough."""
    keyed = Keyed(proves=True)
    door = Authentication([keyed], IdentityCache(), Revocations())
    for _ in range(2):
        await ask(door, shown(X_Key="good", X_Proof="right"))
    assert door.recall(shown(X_Key="good", X_Proof="right"), 0.0, {}) is None
    with pytest.raises(Refusal, match="proof"):
        await ask(door, shown(X_Key="good"))
    assert (keyed.judged, keyed.proofs) == (1, 3)


async def test_who_asks_for_a_proof_must_check_it() -> None:
    """An authenticator that `proves` and forgot how lets nobody in."""
    identity = Identity("keyed", "ann")
    with pytest.raises(NotImplementedError):
        await Authenticator.check_proof(
            Keyed(proves=True), identity, "good", Keyed.slots[0], shown(), 0.0
        )

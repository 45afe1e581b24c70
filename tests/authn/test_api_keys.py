"""API keys: recognised by their form, kept as a hash, dead in every worker as soon as it has heard of it."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from authproxy.authn import api_keys as module
from authproxy.authn.api_keys import (
    KEPT_FOR,
    KIND,
    USED_EVERY,
    USES,
    ApiKey,
    ApiKeyVerifier,
    create,
    digest_of,
    id_of,
    is_api_key,
    known_keys,
    new_key,
    revoke,
)
from authproxy.authn.authentication import Authentication
from authproxy.authn.authenticator import Credential
from authproxy.authn.cache import IdentityCache
from authproxy.authn.revocation import Revocations
from authproxy.authn.slots import Presentation
from authproxy.config.authenticators import ApiKeyAuthenticator
from authproxy.model.errors import Refusal
from authproxy.model.headers import IdentityProfile
from authproxy.model.identity import Identity
from authproxy.state.memory_records import MemoryRecords
from authproxy.state.records import Records
from authproxy.state.store import StateUnavailable
from tests.authn.tokens import NOW, token, verifier

KEY = ApiKey(
    name="backup", authenticator="keys", subject="ann", groups=("ops",), scopes=("read", "write"), email="ann@x.test",
    created_at=NOW, expires_at=NOW + 3600,
)  # fmt: skip


def judge_of(records: Records, name: str = "keys", **changes: Any) -> ApiKeyVerifier:
    settings = ApiKeyAuthenticator.model_validate({"type": "api-key", **changes})
    return ApiKeyVerifier(name, settings, records, IdentityProfile("forwarded").render)


class Worker:
    """One worker: its authenticator and its cache over records that others share."""

    def __init__(self, records: Records) -> None:
        self.judge = judge_of(records)
        self.cache = IdentityCache()
        self.authentication = Authentication([self.judge], self.cache, Revocations())

    async def identity(self, text: str, now: float = NOW, header: str = "X-API-Key") -> Identity:
        shown = Presentation(CIMultiDict({header: text}))
        known = self.authentication.recall(shown, now, {})
        return known or await self.authentication.authenticate(shown, now, lambda: None)

    async def refusal(self, text: str, now: float = NOW) -> tuple[str, str]:
        with pytest.raises(Refusal) as refused:
            await self.identity(text, now)
        return refused.value.code, refused.value.reason


class Counted(MemoryRecords):
    """Records that tell how often they were asked, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.gets = self.puts = 0
        self.away = False

    async def get(self, kind: str, key: bytes, now: float) -> bytes | None:
        self.gets += 1
        if self.away:
            raise StateUnavailable("away")
        return await super().get(kind, key, now)

    async def put(self, kind: str, key: bytes, value: bytes, expiry: float) -> None:
        self.puts += kind == USES
        await super().put(kind, key, value, expiry)

    async def latest(self, kind: str) -> int:
        if self.away:
            raise StateUnavailable("away")
        return await super().latest(kind)


def test_keys_are_found_by_scanners() -> None:
    """One regular expression finds all, and a checksum tells them from what merely looks like one."""
    found = {new_key() for _ in range(200)}
    assert len(found) == 200
    for key in found:
        assert re.fullmatch(r"apk_[0-9A-Za-z]{49}", key)
        assert is_api_key(key)
    assert not is_api_key("apk_" + "0" * 43 + "1" * 6)


@given(st.integers(4, 52), st.sampled_from("0aZ_é "))
def test_a_typing_error_is_no_key(at: int, instead: str) -> None:
    """One wrong character, one too many and one too few are told without a look-up."""
    key = "apk_0000000000000000000000000000000000000000000"
    key += module._checksum(key)
    assert is_api_key(key)
    wrong = key[:at] + instead + key[at + 1 :]
    assert wrong == key or not is_api_key(wrong)
    assert not is_api_key(key + instead)
    assert not is_api_key(key[:at] + key[at + 1 :])


def test_the_form_of_a_key_does_not_change() -> None:
    """Keys that are out there stay good: 256 bits in base62, CRC-32 of all before it in six more digits."""
    body = "apk_" + module._base62(2**256 - 1, 43)
    assert body == "apk_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1"
    assert is_api_key(body + "2d4GOA")


async def test_the_key_itself_is_kept_nowhere() -> None:
    """Only its hash, in records, lists and identities alike."""
    records = MemoryRecords()
    text = await create(records, KEY)
    worker = Worker(records)
    await worker.identity(text)
    await worker.judge.tend(NOW)
    kept = [*await records.since(KIND, 0, NOW), *await records.since(USES, 0, NOW)]
    assert len(kept) == 2
    secret = text.removeprefix("apk_")
    shown = f"{kept} {await known_keys(records, NOW)} {await worker.identity(text)}"
    assert secret not in shown
    assert secret[:12] not in shown
    assert [record.key for record in kept] == [digest_of(text)] * 2


async def test_who_comes_with_a_key() -> None:
    """What it was made for, also as claims for policies; in its own header or as a bearer."""
    records = MemoryRecords()
    text = await create(records, KEY)
    for header, value in (("X-API-Key", text), ("Authorization", f"Bearer {text}")):
        found = await Worker(records).identity(value, header=header)
        assert (found.subject, found.groups, found.scopes) == (
            "ann",
            ("ops",),
            frozenset({"read", "write"}),
        )
        assert (found.authenticator, found.name, found.email) == ("keys", "backup", "ann@x.test")
        assert (found.expires_at, found.credential_id) == (NOW + 3600, id_of(digest_of(text)))
        assert found.claims == {
            "sub": "ann", "groups": ["ops"], "scope": "read write", "email": "ann@x.test", "name": "backup",
            "jti": id_of(digest_of(text)),
        }  # fmt: skip
        assert b"X-Forwarded-User: ann" in (found.header_block or b"")


async def test_what_is_no_key_of_ours() -> None:
    """Each refusal has its code; a wrong checksum costs no look-up."""
    records = Counted()
    worker = Worker(records)
    good = await create(records, KEY)
    others = await create(records, replace(KEY, authenticator="elsewhere"))
    late = await create(records, replace(KEY, expires_at=NOW))
    wrong = good[:-1] + ("0" if good[-1] != "0" else "1")
    assert await worker.refusal(wrong) == ("token_invalid", "checksum")
    assert await worker.refusal("apk_") == ("token_invalid", "checksum")
    assert await worker.refusal("something") == ("token_invalid", "malformed")
    assert records.gets == 0
    assert await worker.refusal(new_key()) == ("token_invalid", "unknown-api-key")
    assert await worker.refusal(others) == ("token_invalid", "other-authenticator")
    assert await worker.refusal(late) == ("token_expired", "exp")
    assert await worker.refusal(late, NOW + KEPT_FOR - 1) == ("token_expired", "exp")
    assert await worker.refusal(late, NOW + KEPT_FOR) == ("token_invalid", "unknown-api-key")


async def test_a_key_is_looked_up_once_a_minute() -> None:
    """Not for every request; and one that has ended is dead at that very moment."""
    records = Counted()
    text = await create(records, KEY)
    worker = Worker(records)
    for seconds in range(0, 60, 5):
        await worker.identity(text, NOW + seconds)
    assert records.gets == 1
    await worker.identity(text, NOW + USED_EVERY)
    assert records.gets == 2
    assert await worker.refusal(text, NOW + 3600) == ("token_expired", "exp")


async def test_a_revoked_key_is_dead_in_every_worker() -> None:
    """As soon as each has tended its keys, whatever it remembers; made and revoked while they run."""
    records = Counted()
    workers = [Worker(records), Worker(records)]
    text, other = await create(records, KEY), await create(records, KEY)
    for worker in workers:
        assert (await worker.identity(text)).subject == "ann"
    gone = await revoke(records, id_of(digest_of(text)), NOW)
    assert gone is not None
    assert gone.revoked_at == NOW
    for worker in workers:
        await worker.judge.tend(NOW)
        assert await worker.refusal(text) == ("token_revoked", "api-key")
        assert (await worker.identity(other)).subject == "ann"
    again = await revoke(records, id_of(digest_of(text)), NOW + 5)
    assert again == gone
    assert await revoke(records, "0" * 16, NOW) is None
    assert await workers[0].refusal(text, NOW + KEPT_FOR) == ("token_invalid", "unknown-api-key")


async def test_what_a_key_has_opened_ends_with_it() -> None:
    """The revocation list has it as well, by its id: streams are looked for there."""
    records = MemoryRecords()
    text = await create(records, KEY)
    known = await Worker(records).identity(text)
    revocations = Revocations(records)
    await revocations.refresh(NOW)
    assert revocations.why(known) == ""
    await revoke(records, known.credential_id, NOW)
    await revocations.refresh(NOW)
    assert revocations.why(known) == "credential"


async def test_nothing_changes_while_nothing_changes() -> None:
    """Tending keeps the fingerprint, the same object, so that the fast path stays fast."""
    records = MemoryRecords()
    judge = judge_of(records)
    await create(records, KEY)
    await judge.tend(NOW)
    before = judge.fingerprint
    await judge.tend(NOW)
    assert judge.fingerprint is before
    await create(records, KEY)
    await judge.tend(NOW)
    assert judge.fingerprint != before
    assert len({judge_of(records, name).fingerprint for name in ("a", "b")}) == 2


async def test_a_key_that_is_revoked_while_it_is_looked_up() -> None:
    """What was read before the revocation is not remembered beyond it."""
    records = MemoryRecords()
    text = await create(records, KEY)

    class Slow(MemoryRecords):
        async def get(self, kind: str, key: bytes, now: float) -> bytes | None:
            found = await records.get(kind, key, now)
            await revoke(records, id_of(key), now)
            await worker.judge.tend(now)
            return found

        async def latest(self, kind: str) -> int:
            return await records.latest(kind)

    worker = Worker(Slow())
    await worker.identity(text)
    worker.judge._records = records
    assert await worker.refusal(text) == ("token_revoked", "api-key")


async def test_uses_are_noted_once_a_minute_and_beside_requests() -> None:
    """In small batches, by `tend`; a request writes nothing."""
    records = Counted()
    texts = [await create(records, KEY) for _ in range(module.USES_AT_ONCE + 5)]
    worker = Worker(records)
    for text in texts:
        for seconds in range(5):
            await worker.identity(text, NOW + seconds)
    assert records.puts == 0
    await worker.judge.tend(NOW)
    assert records.puts == module.USES_AT_ONCE
    await worker.judge.tend(NOW)
    await worker.judge.tend(NOW)
    assert records.puts == len(texts)
    assert {key.used_at for key in await known_keys(records, NOW)} == {NOW}


async def test_without_the_records_nobody_can_tell() -> None:
    """503 for keys that are not known; known ones pass for their minute; uses wait."""
    records = Counted()
    text = await create(records, KEY)
    worker = Worker(records)
    await worker.identity(text)
    records.away = True
    await worker.judge.tend(NOW)
    assert (await worker.identity(text)).subject == "ann"
    assert await worker.refusal(new_key()) == ("state_unavailable", "api-keys")
    assert await worker.refusal(text, NOW + 61) == ("state_unavailable", "api-keys")
    records.away = False
    await worker.judge.tend(NOW)
    assert records.puts == 1


async def test_beside_other_authenticators() -> None:
    """On one header: each takes its own, in either order."""
    records = MemoryRecords()
    text = await create(records, KEY)
    for judges in ([judge_of(records), verifier()], [verifier(), judge_of(records)]):
        door = Authentication(judges, IdentityCache(), Revocations())
        for bearer, name in ((text, "keys"), (token(), "tokens")):
            shown = Presentation(CIMultiDict({"Authorization": f"Bearer {bearer}"}))
            assert (await door.authenticate(shown, NOW, lambda: None)).authenticator == name
        assert door.credential_headers == {b"authorization", b"x-api-key"}


async def test_a_key_without_an_end() -> None:
    """It has no `exp`, and stays until it is revoked."""
    records = MemoryRecords()
    text = await create(records, replace(KEY, expires_at=None, email=None, groups=(), scopes=()))
    found = await judge_of(records).judge(Credential(text), Presentation(CIMultiDict()), NOW + 9e9)
    assert found is not None
    assert found.expires_at is None
    assert set(found.claims) == {"sub", "name", "jti"}

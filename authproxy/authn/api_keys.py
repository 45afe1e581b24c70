"""API keys of our own: their form, what is kept of them, and the authenticator that knows them by it.

A key is 256 random bits with a prefix that scanners find and a checksum that tells typing errors without a look-up.
Only its SHA-256 is kept. A slow hash (argon2) is for passwords, which can be guessed; nobody guesses 256 bits, and it would
cost every unknown key, good or bad, tens of milliseconds.
"""

import binascii
import hashlib
import json
import re
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any

from authproxy.authn.authenticator import Authenticator, Credential, Render, fingerprint_of
from authproxy.authn.claims import invalid
from authproxy.authn.revocation import revoke_credential
from authproxy.authn.slots import Presented, compile_slot
from authproxy.config.authenticators import ApiKeyAuthenticator
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.state.records import Records
from authproxy.state.store import StateUnavailable

PREFIX = "apk_"
KIND, USES = "api-key", "api-key-use"
# Expired and revoked keys stay known for so long, so that their owners hear why they are refused.
KEPT_FOR = 30 * 86400.0
FOREVER = 253402300799.0
LISTED_FOR = 3600.0  # the record itself says so for longer
USED_EVERY = 60.0  # seconds between two notes of a key's use
USES_AT_ONCE = 100

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY, _SUM = 43, 6  # base62 digits of 256 bits, and of 32
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_BODY + _SUM}}}", re.ASCII)


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, rest = divmod(number, 62)
        digits = _DIGITS[rest] + digits
    return digits


def new_key() -> str:
    """A key that nobody has."""
    body = PREFIX + _base62(int.from_bytes(secrets.token_bytes(32), "big"), _BODY)
    return body + _checksum(body)


def _checksum(body: str) -> str:
    return _base62(binascii.crc32(body.encode()), _SUM)


def is_api_key(text: str) -> bool:
    """Has this text the form of a key, checksum and all?"""
    return bool(_FORM.fullmatch(text)) and _checksum(text[:-_SUM]) == text[-_SUM:]


def digest_of(key: str) -> bytes:
    """What a key is kept as."""
    return hashlib.sha256(key.encode()).digest()


def id_of(digest: bytes) -> str:
    """What a key is called in lists, logs and revocations; it says nothing of the key."""
    return digest[:8].hex()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; times are seconds since the epoch, `expires_at` None: it does not end by itself."""

    name: str
    authenticator: str
    subject: str
    groups: tuple[str, ...]
    scopes: tuple[str, ...]
    email: str | None
    created_at: float
    expires_at: float | None
    revoked_at: float | None = None

    def encode(self) -> bytes:
        """For the records."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, value: bytes) -> "ApiKey":
        """What `encode` made."""
        found = json.loads(value)
        found["groups"], found["scopes"] = tuple(found["groups"]), tuple(found["scopes"])
        return cls(**found)

    @property
    def kept_until(self) -> float:
        """When the record may go."""
        ends = [at for at in (self.expires_at, self.revoked_at) if at is not None]
        return min(ends) + KEPT_FOR if ends else FOREVER


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as it is listed."""

    id: str
    key: ApiKey
    used_at: float | None


async def create(records: Records, key: ApiKey) -> str:
    """Make a key and keep what it is for; the key itself is only here, and only now.

    Raises:
        StateUnavailable: it was not made.
    """
    text = new_key()
    await records.put(KIND, digest_of(text), key.encode(), key.kept_until)
    return text


async def known_keys(records: Records, now: float) -> list[KnownKey]:
    """All keys, in the order in which they were made or revoked.

    Raises:
        StateUnavailable
    """
    uses = {use.key: float(use.value) for use in await records.since(USES, 0, now)}
    return [
        KnownKey(id_of(found.key), ApiKey.decode(found.value), uses.get(found.key))
        for found in await records.since(KIND, 0, now)
    ]


async def revoke(records: Records, wanted: str, now: float) -> ApiKey | None:
    """Revoke the key of this id; what it is then, None where there is no such key. Again is nothing.

    The revocation list is told as well, for a while: it ends what was opened with the key.

    Raises:
        StateUnavailable: it was not revoked.
    """

    def change(value: bytes | None) -> tuple[bytes | None, float, ApiKey | None]:
        if value is None:
            return None, 0.0, None
        key = ApiKey.decode(value)
        if key.revoked_at is not None:
            return None, 0.0, key
        key = replace(key, revoked_at=now)
        return key.encode(), key.kept_until, key

    for found in await records.since(KIND, 0, now):
        if id_of(found.key) == wanted:
            key = await records.update(KIND, found.key, now, change)
            if key is not None:
                until = now + LISTED_FOR
                await revoke_credential(records, key.authenticator, wanted, until, now)
            return key
    return None


class ApiKeyVerifier(Authenticator):
    """The authenticator `name`: takes the keys that were made for it.

    A key is looked up when it is first seen and once a minute from then on, which is when its use is noted as well. Any
    change of any key makes all be looked up again, so one that was revoked is dead as soon as `tend` has heard of it.
    """

    takes = "API keys"
    memory = USED_EVERY

    def __init__(
        self, name: str, settings: ApiKeyAuthenticator, records: Records, render: Render
    ) -> None:
        self.name = name
        self.slots = tuple(compile_slot(slot) for slot in settings.token_from)
        self._records = records
        self._render = render
        self._begun = fingerprint_of(render, "api-key", name, settings.model_dump_json())
        self._sequence = 0
        self._fingerprint = self._begun
        self._used: dict[bytes, float] = {}

    @property
    def fingerprint(self) -> bytes:
        return self._fingerprint

    async def judge(
        self, credential: Credential, _presented: Presented, now: float
    ) -> Identity | None:
        if not credential.text.startswith(PREFIX):
            return None
        if not is_api_key(credential.text):
            raise invalid("checksum")
        digest = digest_of(credential.text)
        try:
            value = await self._records.get(KIND, digest, now)
        except StateUnavailable:
            raise Refusal("state_unavailable", "api-keys") from None
        if value is None:
            raise invalid("unknown-api-key")
        identity = self._identity(ApiKey.decode(value), id_of(digest), now)
        self._used[digest] = now
        return identity

    def _identity(self, key: ApiKey, key_id: str, now: float) -> Identity:
        if key.authenticator != self.name:
            raise invalid("other-authenticator")
        if key.revoked_at is not None:
            raise Refusal("token_revoked", "api-key")
        if key.expires_at is not None and now >= key.expires_at:
            raise Refusal("token_expired", "exp")
        identity = Identity(
            authenticator=self.name,
            subject=key.subject,
            groups=key.groups,
            scopes=frozenset(key.scopes),
            email=key.email,
            name=key.name,
            claims=_claims(key, key_id),
            issued_at=key.created_at,
            expires_at=key.expires_at,
            credential_id=key_id,
        )
        return identity.with_headers(self._render)

    async def tend(self, now: float) -> None:
        try:
            sequence = await self._records.latest(KIND)
            if sequence != self._sequence:
                self._sequence = sequence
                parts = self._begun + sequence.to_bytes(8, "big")
                self._fingerprint = hashlib.sha256(parts).digest()
            await self._note_uses(now)
        except StateUnavailable:
            return  # whoever comes meanwhile is told so, or is known; uses wait

    async def _note_uses(self, now: float) -> None:
        for digest in list(self._used)[:USES_AT_ONCE]:
            at = self._used[digest]
            await self._records.put(USES, digest, f"{at:.0f}".encode(), now + 400 * 86400)
            if self._used.get(digest) == at:
                del self._used[digest]


def _claims(key: ApiKey, key_id: str) -> dict[str, Any]:
    """What policies see as `claims`, under the names that tokens use."""
    members = {
        "sub": key.subject,
        "groups": list(key.groups),
        "scope": " ".join(key.scopes),
        "email": key.email,
        "name": key.name,
        "jti": key_id,
    }
    return {name: value for name, value in members.items() if value}

"""Forms that were being sent when a session had expired, kept for ten minutes so that they can be sent after the login.

A record is encrypted by a key that only the browser has, in a cookie: nothing here can read what somebody wrote, and the
browser alone has nothing either. One form a browser, good once, for the origin and the person that it was of.
"""

import hashlib
import json
import os
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, replace
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from authproxy.state.records import Records

KIND = "kept-form"
SECONDS = 600.0
BYTES_MOST = 64 << 10
NONCE_BYTES = 12  # NIST SP 800-38D section 5.2.1.1; each key encrypts once


@dataclass(frozen=True, slots=True)
class KeptForm:
    """A form: whose it was, where it goes, and its bytes."""

    authenticator: str
    subject: str
    origin: str
    target: str
    content_type: str
    body: bytes

    def is_of(self, authenticator: str, subject: str, origin: str) -> bool:
        """Is it this person's, and of this origin?"""
        return (self.authenticator, self.subject, self.origin) == (authenticator, subject, origin)


class KeptForms:
    """The forms in `records`, each under what follows from the secret of its browser."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def keep(self, secret: str, form: KeptForm, now: float) -> None:
        """Keep a form.

        Raises:
            StateUnavailable: it is not kept.
        """
        written = json.dumps(
            asdict(replace(form, body=b""), dict_factory=_texts)
            | {"body": b64encode(form.body).decode()}
        )
        nonce, place = os.urandom(NONCE_BYTES), _derived(secret, b"place")
        sealed = AESGCM(_derived(secret, b"key")).encrypt(nonce, written.encode(), place)
        await self._records.put(KIND, place, nonce + sealed, now + SECONDS)

    async def find(self, secret: str | None, now: float) -> KeptForm | None:
        """The form of this browser, which stays; None where there is none.

        Raises:
            StateUnavailable: nobody can tell.
        """
        if not secret:
            return None
        place = _derived(secret, b"place")
        value = await self._records.get(KIND, place, now)
        if value is None:
            return None
        try:
            written = AESGCM(_derived(secret, b"key")).decrypt(
                value[:NONCE_BYTES], value[NONCE_BYTES:], place
            )
        except InvalidTag:
            return None
        members = json.loads(written)
        return KeptForm(**{**members, "body": b64decode(members["body"])})

    async def take(self, secret: str) -> bool:
        """Forget the form of this browser; of several that try, one is told that it did."""
        return await self._records.remove(KIND, _derived(secret, b"place"))


def _texts(members: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in members if name != "body"}


def _derived(secret: str, purpose: bytes) -> bytes:
    """32 bytes for one purpose; the secret has 256 random bits, so one hash is enough (RFC 5869 section 3.3)."""
    text = secret.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=32, person=b"kept-form " + purpose[:6]).digest()

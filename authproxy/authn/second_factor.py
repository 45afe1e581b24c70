"""The second factor: a login between its two steps, and one-time codes (TOTP, RFC 6238) that are good once.

Between the steps nobody is logged in: what is kept is whose password was right, for five minutes, for one browser. That a
code was used is remembered in the counters, for longer than it could be used again.
"""

import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass

import pyotp

from authproxy.authn.authenticator import length_prefixed
from authproxy.state.records import Records
from authproxy.state.store import Store

KIND = "second-step"
SECONDS = 300.0
ID_MOST = 128
STEP = 30  # seconds a code is shown for
SKEW = 1  # steps that a clock may differ by, to both sides (RFC 6238 section 5.2)
REMEMBERED = 2.0 * STEP * (2 * SKEW + 1)


@dataclass(frozen=True, slots=True)
class SecondStep:
    """Whose password was right: `mark` is that of the password then, `browser` the hash of what the browser holds."""

    authenticator: str
    subject: str
    mark: str
    browser: str


def browser_hash(secret: str) -> str:
    """Not the hash that another use of the same cookie makes."""
    return hashlib.sha256(b"second step of " + secret.encode("utf-8", "surrogatepass")).hexdigest()


class SecondSteps:
    """The logins that wait for a code, in `records`."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def begin(self, step: SecondStep, now: float) -> str:
        """The id of a new one, for the form.

        Raises:
            StateUnavailable: there is none.
        """
        step_id = secrets.token_urlsafe(32)
        await self._records.put(
            KIND, _key(step_id), json.dumps(asdict(step)).encode(), now + SECONDS
        )
        return step_id

    async def find(self, step_id: str, secret: str | None, now: float) -> SecondStep | None:
        """The one of this id, which stays; None where there is none, it is over, or another browser's."""
        if not 0 < len(step_id) <= ID_MOST or not secret:
            return None
        value = await self._records.get(KIND, _key(step_id), now)
        if value is None:
            return None
        step = SecondStep(**json.loads(value))
        return step if hmac.compare_digest(step.browser, browser_hash(secret)) else None

    async def take(self, step_id: str) -> bool:
        """End it; of several that try, one is told that it did."""
        return await self._records.remove(KIND, _key(step_id))


def _key(step_id: str) -> bytes:
    return hashlib.sha256(step_id.encode("utf-8", "surrogatepass")).digest()


class OneTimeCodes:
    """Verifies codes; which were used is in `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def accept(
        self, authenticator: str, subject: str, secret: str, code: str, now: float
    ) -> bool:
        """Is this the code of the secret, and used for the first time? It and all before it are used then.

        Raises:
            StateUnavailable: nobody can tell whether it was used.
        """
        counter = counter_of(secret, code, now)
        if counter is None:
            return False
        parts = (b"totp", authenticator.encode(), subject.encode("utf-8", "surrogatepass"))
        key = hashlib.blake2b(length_prefixed(*parts), digest_size=16).digest()
        return await self._store.advance(key, counter, now + REMEMBERED, now)


def counter_of(secret: str, code: str, now: float) -> int | None:
    """Which of the steps around this moment the code belongs to; None: to none of them. All are compared, always."""
    given = "".join(code.split()).encode("utf-8", "surrogatepass")
    totp, present = pyotp.TOTP(secret), int(now) // STEP
    found = None
    for counter in range(present - SKEW, present + SKEW + 1):
        if hmac.compare_digest(totp.generate_otp(counter).encode(), given):
            found = counter
    return found

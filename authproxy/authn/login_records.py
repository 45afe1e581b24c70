"""Logins that have begun and not come back yet: one record each, for ten minutes, good once, for one browser.

The state that goes through the provider names the record and is kept by its hash only, as is what the browser holds. Who
has the one without the other has nothing (login CSRF, session fixation: facts 89).
"""

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass

from authproxy.state.records import Records

KIND = "login"
SECONDS = 600.0
STATE_MOST = 128


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login under way at the authenticator `authenticator`.

    `browser` is the hash of what the browser holds; `origin` is where it began and ends, `next` the path to go on to.
    """

    authenticator: str
    browser: str
    origin: str
    next: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """The challenge of PKCE, S256 (RFC 7636 section 4.2)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def is_of(self, browser_secret: str | None) -> bool:
        """Did it begin in the browser that holds this?"""
        return bool(browser_secret) and hmac.compare_digest(
            self.browser, _browser(browser_secret or "")
        )


class PendingLogins:
    """The logins under way, in `records`."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def begin(
        self, authenticator: str, browser_secret: str, origin: str, wanted: str, now: float
    ) -> tuple[str, PendingLogin]:
        """A new one, and its state, which is told this once.

        Raises:
            StateUnavailable: there is none.
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        login = PendingLogin(
            authenticator, _browser(browser_secret), origin, wanted, nonce, verifier
        )
        value = json.dumps(asdict(login)).encode()
        await self._records.put(KIND, _key(state), value, now + SECONDS)
        return state, login

    async def find(self, state: str, now: float) -> PendingLogin | None:
        """The login of this state, which stays; None where there is none, or it is over."""
        if not 0 < len(state) <= STATE_MOST:
            return None
        value = await self._records.get(KIND, _key(state), now)
        return PendingLogin(**json.loads(value)) if value else None

    async def take(self, state: str) -> bool:
        """End the login of this state; of several that try, one is told that it did."""
        return await self._records.remove(KIND, _key(state))


def _key(state: str) -> bytes:
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).digest()


def _browser(secret: str) -> str:
    """Not the hash that another use of the same cookie makes."""
    return hashlib.sha256(b"login of " + secret.encode("utf-8", "surrogatepass")).hexdigest()

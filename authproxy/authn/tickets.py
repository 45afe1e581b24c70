"""Tickets: what carries a login from the portal to another host, once, for half a minute.

A ticket names a session, the origin that may turn it into a cookie, and the browser that asked there. It is kept by its
hash only. Whoever presents one ends it, whatever comes of that.
"""

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass

from authproxy.state.records import Records

KIND = "ticket"
SECONDS = 30.0
TICKET_MOST = 128


@dataclass(frozen=True, slots=True)
class Ticket:
    """`session` is the key of a session, in hex; `browser` the mark of who asked at `origin`; `path` is where to go there."""

    session: str
    origin: str
    browser: str
    path: str


def browser_mark(secret: str) -> str:
    """What a browser may be told apart by, elsewhere, from which its secret does not follow."""
    digest = hashlib.sha256(b"ticket of " + secret.encode("utf-8", "surrogatepass")).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


class Tickets:
    """The tickets in `records`."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def issue(self, ticket: Ticket, now: float) -> str:
        """The text of a new ticket, which is told this once.

        Raises:
            StateUnavailable: there is none.
        """
        text = secrets.token_urlsafe(32)
        value = json.dumps(asdict(ticket)).encode()
        await self._records.put(KIND, _key(text), value, now + SECONDS)
        return text

    async def take(self, text: str, origin: str, secret: str | None, now: float) -> Ticket | None:
        """The ticket, where it is good at this origin for the browser that holds this secret; it is over in any case.

        Raises:
            StateUnavailable: nobody can tell.
        """
        if not 0 < len(text) <= TICKET_MOST:
            return None
        value = await self._records.get(KIND, _key(text), now)
        # Of several at once, one is told that it was there.
        if value is None or not await self._records.remove(KIND, _key(text)):
            return None
        ticket = Ticket(**json.loads(value))
        known = bool(secret) and hmac.compare_digest(ticket.browser, browser_mark(secret or ""))
        return ticket if known and ticket.origin == origin else None


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

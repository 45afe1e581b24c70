"""What all logins have in common: an identity comes from a session, and only from those of its own authenticator.

How somebody gets a session is each login's own business (`password.py`, `oidc.py`); how long it lives is `sessions.py`'s.
"""

from abc import abstractmethod

from authproxy.authn.authenticator import Authenticator, Credential, Render, fingerprint_of
from authproxy.authn.sessions import Session, Sessions
from authproxy.authn.slots import CookieSlot, Presented
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity

IDENTITIES_MOST = 10_000


class LoginAuthenticator(Authenticator):
    """Takes the sessions that its own logins made.

    Sessions are looked up at each request and never remembered elsewhere: one that was ended is over at once, everywhere.
    """

    memory = 0.0
    guessable = False  # an id has 256 bits

    def __init__(self, name: str, cookie: str, sessions: Sessions, render: Render) -> None:
        self.name = name
        self.takes = f"sessions of {name}"
        self.slots = (CookieSlot(cookie),)
        self.sessions = sessions
        self.render = render
        self._fingerprint = fingerprint_of(render, "session", name)
        self._identities: dict[bytes, tuple[Session, Identity]] = {}

    @property
    def fingerprint(self) -> bytes:
        return self._fingerprint

    async def judge(
        self, credential: Credential, _presented: Presented, now: float
    ) -> Identity | None:
        session = await self.sessions.find(credential.text, now)
        if session is None or session.authenticator != self.name:
            return None
        return await self.current(session, now)

    def recognize(self, credential: str, now: float) -> Identity | None:
        session = self.sessions.glance(credential, now)
        if session is None or session.authenticator != self.name or not self.settled(session, now):
            return None
        try:
            return self.identity(session)
        except Refusal:
            return None

    def settled(self, _session: Session, _now: float) -> bool:
        """Does a living session say all itself at this moment, so that nobody need be asked?"""
        return True

    async def current(self, session: Session, _now: float) -> Identity:
        """Who a living session is at this moment; where its login must ask somebody, it does.

        Raises:
            Refusal: `session_expired`: it is over for a reason of this login's own.
            StateUnavailable: nobody can tell.
        """
        return self.identity(session)

    def identity(self, session: Session) -> Identity:
        """Who a living session is, by what it says itself; the same object as long as nothing changes.

        Raises:
            Refusal: `session_expired`: it is over for a reason of this login's own.
        """
        kept = self._identities.get(session.key)
        if kept is not None and kept[0] is session:
            return kept[1]
        made = self._made(session)
        identity = made.with_headers(self.render)
        if len(self._identities) >= IDENTITIES_MOST:
            self._identities.clear()
        self._identities[session.key] = session, identity
        return identity

    @abstractmethod
    def _made(self, session: Session) -> Identity:
        """The identity of a session, without its headers."""

"""What all logins have in common: an identity comes from a session, and only from those of its own authenticator.

How somebody gets a session is each login's own business (`password.py`); how long it lives is `sessions.py`'s.
"""

from abc import abstractmethod

from authproxy.authn.authenticator import Authenticator, Credential, Render, fingerprint_of
from authproxy.authn.sessions import Session, Sessions
from authproxy.authn.slots import CookieSlot, Presented
from authproxy.model.identity import Identity


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

    @property
    def fingerprint(self) -> bytes:
        return self._fingerprint

    async def judge(
        self, credential: Credential, _presented: Presented, now: float
    ) -> Identity | None:
        session = await self.sessions.find(credential.text, now)
        if session is None or session.authenticator != self.name:
            return None
        return self.identity(session)

    @abstractmethod
    def identity(self, session: Session) -> Identity:
        """Who a living session is; the same object as long as nothing changes.

        Raises:
            Refusal: `session_expired`: it is over for a reason of this login's own.
        """

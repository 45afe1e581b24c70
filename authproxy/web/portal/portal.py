"""What the pages share: the sessions, the logins, whose browser it is, and how a session ends everywhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authproxy.authn.logins import LoginAuthenticator
from authproxy.authn.password import PasswordAuthenticator
from authproxy.authn.sessions import Session, Sessions
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.web.compat import Request
from authproxy.web.portal.pages import Pages
from authproxy.web.portal.storage import SessionStorage

PAGES = Pages()


@dataclass(frozen=True, slots=True, eq=False)
class Portal:
    """What the pages work with. `cookie` is the session's, `form_cookie` that of our forms; `logins` are the authenticators that make sessions."""

    cookie: str
    form_cookie: str
    sessions: Sessions
    logins: Mapping[str, LoginAuthenticator]
    pages: Pages

    @classmethod
    def of(cls, runtime: Any) -> "Portal":
        """That of the runtime which serves a request."""
        session = runtime.config.session
        return cls(session.cookie, session.form_cookie, runtime.sessions, runtime.logins, PAGES)

    @property
    def passwords(self) -> list[PasswordAuthenticator]:
        """Those of a password."""
        return [one for one in self.logins.values() if isinstance(one, PasswordAuthenticator)]

    @property
    def storage(self) -> SessionStorage:
        """The sessions as aiohttp-session knows them."""
        return SessionStorage(self.sessions, self.cookie)

    async def who(self, request: Request) -> tuple[Session, Identity] | None:
        """Whose browser this is; None where no living session says so."""
        session_id = request.cookies.get(self.cookie)
        if not session_id:
            return None
        try:
            session = await self.sessions.find(session_id, time.time())
            login = self.logins.get(session.authenticator) if session is not None else None
            if session is None or login is None:
                return None
            return session, login.identity(session)
        except Refusal:
            return None

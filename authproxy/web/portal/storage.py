"""aiohttp-session's interface over our own sessions: the cookie holds an id, everything else stays here.

A login is a new session with a new id, and the one before it ends (CWE-384); a cookie is set and taken back with the same
flags, as a browser keeps a `__Host-` cookie that is taken back otherwise.
"""

import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp_session import AbstractStorage, Session, SessionData

from authproxy.authn import sessions as kept
from authproxy.model.errors import Refusal

FLAGS = "; Path=/; Secure; HttpOnly; SameSite=Lax"


def set_cookie(response: web.StreamResponse, name: str, value: str) -> None:
    """Set a cookie that only this host gets back, over TLS, and no script reads."""
    response.headers.add("Set-Cookie", cookie(name, value))


def cookie(name: str, value: str, more: str = "") -> str:
    """The value of a Set-Cookie."""
    return f"{name}={value}{FLAGS}{more}"


def drop_cookie(response: web.StreamResponse, name: str) -> None:
    """Take a cookie back."""
    response.headers.add("Set-Cookie", f"{name}={FLAGS}; Max-Age=0")


class SessionStorage(AbstractStorage):
    """Sessions by the cookie `cookie_name`. A session's data are `authenticator`, `subject` and the login's own."""

    def __init__(self, sessions: kept.Sessions, cookie_name: str) -> None:
        super().__init__(cookie_name=cookie_name, secure=True, httponly=True, samesite="Lax")
        self._sessions = sessions

    async def load_session(self, request: web.Request) -> Session:
        """The living session of this browser, or a new and empty one."""
        session_id = request.cookies.get(self.cookie_name)
        found = await self.find(session_id) if session_id else None
        if found is None:
            return Session(None, data=None, new=True, max_age=None)
        return Session(session_id, data=_data(found), new=False, max_age=None)

    async def find(self, session_id: str) -> kept.Session | None:
        """The living session of this id."""
        try:
            return await self._sessions.find(session_id, time.time())
        except Refusal:  # it is over: the same as none to whoever logs in again
            return None

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """Keep a new session, and end the one that was there; end one that was invalidated."""
        old_id = request.cookies.get(self.cookie_name)
        old = await self.find(old_id) if old_id else None
        if old is not None and (session.new or session.empty):
            await self._sessions.end(old, time.time())
        if session.empty:
            drop_cookie(response, self.cookie_name)
        elif session.new:
            session_id, _ = await self._sessions.create(
                session["authenticator"],
                session["subject"],
                session["data"],
                time.time(),
                session.get("marks", ()),
            )
            set_cookie(response, self.cookie_name, session_id)


def _data(session: kept.Session) -> SessionData:
    values: Mapping[str, Any] = {
        "authenticator": session.authenticator,
        "subject": session.subject,
        "data": session.data,
    }
    return {"created": int(session.created), "session": dict(values)}

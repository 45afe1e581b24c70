"""What the pages share: the sessions, the logins, whose browser it is, and how a session ends everywhere."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from authproxy.authn.login_records import PendingLogins
from authproxy.authn.logins import LoginAuthenticator
from authproxy.authn.oidc import OidcAuthenticator, sid_mark
from authproxy.authn.password import PasswordAuthenticator
from authproxy.authn.second_factor import OneTimeCodes, SecondSteps
from authproxy.authn.sessions import Session, Sessions
from authproxy.authn.tickets import Tickets
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.web.compat import Request
from authproxy.web.portal.kept_forms import KeptForms
from authproxy.web.portal.pages import Pages, redirect
from authproxy.web.portal.storage import SessionStorage

PAGES = Pages()
LOGIN, USERINFO = "/.authproxy/login", "/.authproxy/userinfo"
HANDOVER, TICKET = "/.authproxy/handover", "/.authproxy/ticket"
CODE, RESEND = "/.authproxy/code", "/.authproxy/resend"


@dataclass(frozen=True, slots=True, eq=False)
class Portal:
    """What the pages work with. `cookie` is the session's, `form_cookie` that of our forms, `kept_cookie` that
    of a form of somebody else's that is kept; `logins` are the authenticators
    that make sessions, `pending` their logins under way, `tickets` what carries them to other hosts, `second_steps`
    those that wait for one of the `codes`; `url` is the origin that providers send people back to (empty:
    there is none), `named` tells the hosts that a route names.
    """

    cookie: str
    form_cookie: str
    kept_cookie: str
    sessions: Sessions
    logins: Mapping[str, LoginAuthenticator]
    pages: Pages
    pending: PendingLogins
    tickets: Tickets
    second_steps: SecondSteps
    codes: OneTimeCodes
    kept_forms: KeptForms
    url: str
    named: Callable[[str], bool]

    @classmethod
    def of(cls, runtime: Any) -> "Portal":
        """That of the runtime which serves a request."""
        session, portal = runtime.config.session, runtime.config.portal
        return cls(
            session.cookie,
            session.form_cookie,
            session.kept_cookie,
            runtime.sessions,
            runtime.logins,
            PAGES,
            PendingLogins(runtime.records),
            Tickets(runtime.records),
            SecondSteps(runtime.records),
            OneTimeCodes(runtime.store),
            KeptForms(runtime.records),
            portal.url if portal is not None else "",
            runtime.table.names,
        )

    def origin_of(self, host: str) -> str:
        """The origin of a host, by the portal's own scheme and port."""
        scheme, _, authority = self.url.partition("://")
        port = authority.rpartition("]")[2].partition(":")[2]
        return f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}"

    def sends_to(self, host: str) -> bool:
        """Is this a host whose login is at the portal, on another one? Only those that a route names."""
        return bool(self.url) and self.named(host) and self.origin_of(host) != self.url

    @property
    def passwords(self) -> list[PasswordAuthenticator]:
        """Those of a password."""
        return [one for one in self.logins.values() if isinstance(one, PasswordAuthenticator)]

    @property
    def providers(self) -> list[OidcAuthenticator]:
        """Those of an OpenID provider."""
        return [one for one in self.logins.values() if isinstance(one, OidcAuthenticator)]

    def title_of(self, name: str) -> str:
        """What a login is called for people."""
        return next((one.title for one in self.providers if one.name == name), name)

    @property
    def storage(self) -> SessionStorage:
        """The sessions as aiohttp-session knows them."""
        return SessionStorage(self.sessions, self.cookie)

    async def who(self, request: Request) -> tuple[Session, Identity] | None:
        """Whose browser this is; None where no living session says so."""
        session_id = request.cookies.get(self.cookie)
        if not session_id:
            return None
        now = time.time()
        try:
            session = await self.sessions.find(session_id, now)
            login = self.logins.get(session.authenticator) if session is not None else None
            if session is None or login is None:
                return None
            return session, await login.current(session, now)
        except Refusal:
            return None

    async def begin(
        self,
        request: Request,
        authenticator: str,
        subject: str,
        data: Mapping[str, Any],
        wanted: str,
    ) -> web.Response:
        """Log somebody in: a new session, in place of the one that this browser had, and on to where they wanted to go.

        Raises:
            StateUnavailable: there is none.
        """
        session = await self.storage.new_session()
        session["authenticator"], session["subject"] = authenticator, subject
        session["data"] = dict(data)
        answer = redirect(wanted)
        await self.storage.save_session(request, answer, session)  # type: ignore[arg-type]  # only its cookies are read
        request.exchange.reason = "logged in"
        return answer

    async def end_login(self, session: Session) -> None:
        """End a session and those that came of the same login at a provider: on other hosts, in the same browser."""
        now = time.time()
        await self.sessions.end(session, now)
        sid = session.data.get("claims", {}).get("sid")
        if isinstance(sid, str):
            for one in await self.sessions.marked(session.authenticator, sid_mark(sid), now):
                await self.sessions.end(one, now)

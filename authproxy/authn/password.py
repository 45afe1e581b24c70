"""People who log in with a password. Who they are comes from the users file as it is now: whoever is removed, disabled or
put into another group there is that with the next request, whatever their session began as.
"""

import hashlib

from authproxy.authn.authenticator import Render
from authproxy.authn.logins import LoginAuthenticator
from authproxy.authn.passwords import PasswordChecks
from authproxy.authn.sessions import Session, Sessions
from authproxy.config.users import User, Users
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity


class PasswordAuthenticator(LoginAuthenticator):
    """The authenticator `name` over the users of a file."""

    def __init__(
        self,
        name: str,
        cookie: str,
        sessions: Sessions,
        render: Render,
        users: Users,
        checks: PasswordChecks,
    ) -> None:
        super().__init__(name, cookie, sessions, render)
        self.users = users
        self._checks = checks

    async def log_in(self, username: str, password: str) -> tuple[str, User] | None:
        """Whose name and password these are: the name as the file has it, and the user. None where they are nobody's.

        Known and unknown users, disabled ones too, take the same time.

        Raises:
            Refusal: `overloaded`: too many logins at once.
        """
        found = self.users.find(username)
        hashed = found[1].password if found is not None and not found[1].disabled else None
        return found if await self._checks.verify(hashed, password) else None

    def _made(self, session: Session) -> Identity:
        user = self.users.by_name.get(session.subject)
        if user is None or user.disabled:
            raise Refusal("session_expired", "user")
        if session.data.get("password") != password_mark(user):
            raise Refusal("session_expired", "password-changed")
        return Identity(
            authenticator=self.name,
            subject=session.subject,
            groups=tuple(user.groups),
            email=user.email,
            username=session.subject,
            name=user.name,
            claims={"sub": session.subject, "auth_time": int(session.created), "amr": session.data.get("amr", ["pwd"])},
            issued_at=session.created,
            expires_at=session.created + self.sessions.absolute,
            credential_id=session.key.hex(),
        )  # fmt: skip


def password_mark(user: User) -> str:
    """What a session keeps of what it began with: another password or second factor ends it, however the file was changed."""
    moment = "" if user.changed is None else user.changed.isoformat()
    said = f"{user.password} {moment} {user.totp or ''}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def who_left(before: PasswordAuthenticator, now: PasswordAuthenticator | None) -> list[str]:
    """Whose sessions are over since the file was read before: removed, disabled, or with another password or factor."""
    users = {} if now is None else now.users.by_name
    return [
        name
        for name, user in before.users.by_name.items()
        if (there := users.get(name)) is None
        or (there.disabled and not user.disabled)
        or password_mark(there) != password_mark(user)
    ]

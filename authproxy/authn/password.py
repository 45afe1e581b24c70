"""People who log in with a password. Who they are comes from the users file as it is now: whoever is removed, disabled or
put into another group there is that with the next request, whatever their session began as.
"""

from authproxy.authn.authenticator import Authenticator, Render
from authproxy.authn.logins import LoginAuthenticator
from authproxy.authn.password_mark import password_mark
from authproxy.authn.passwords import PasswordChecks, kinds_of
from authproxy.authn.rehashing import Rehashing
from authproxy.authn.sessions import Session, Sessions
from authproxy.config.users import User, Users
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity


class PasswordAuthenticator(LoginAuthenticator):
    """The authenticator `name` over the users of a file; hashes of theirs that cost too little are renewed by `rehashing`."""

    def __init__(
        self,
        name: str,
        cookie: str,
        sessions: Sessions,
        render: Render,
        users: Users,
        checks: PasswordChecks,
        rehashing: Rehashing | None = None,
    ) -> None:
        super().__init__(name, cookie, sessions, render)
        self.users = users
        self.rehashing = rehashing
        self._checks = checks
        self._kinds = kinds_of(user.password for user in users.by_name.values())

    async def log_in(self, username: str, password: str) -> tuple[str, User] | None:
        """Whose name and password these are: the name as the file has it, and the user. None where they are nobody's.

        Known and unknown users, disabled ones too, take the same time, whatever the parameters of their hashes: each
        try costs one hash of every kind that the file has.

        Raises:
            Refusal: `overloaded`: too many logins at once.
        """
        found = self.users.find(username)
        hashed = found[1].password if found is not None and not found[1].disabled else None
        if not await self._checks.verify(hashed, password, self._kinds) or found is None:
            return None
        if self.rehashing is not None:
            self.rehashing.begin(*found, password)
        return found

    async def tend(self, now: float) -> None:
        if self.rehashing is not None:
            await self.rehashing.tend(now)

    def goes_on_in(self, following: Authenticator | None) -> bool:
        return (
            isinstance(following, PasswordAuthenticator) and following.rehashing is self.rehashing
        )

    async def close(self) -> None:
        """End the hashing that is under way."""
        if self.rehashing is not None:
            await self.rehashing.close()

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

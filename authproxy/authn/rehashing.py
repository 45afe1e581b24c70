"""Passwords hashed anew with today's parameters, once their users have logged in and so the passwords are at hand.

The new hash is put into the users file where the old one stands, by one writer at a time over all workers and beside
every request; those of a minute go together, as each change of the file is read by every worker. Nobody's session ends by
it (`password_mark.py`). Where it cannot be done the log says so, and everybody logs in as before.
"""

import asyncio
import logging
from pathlib import Path

from authproxy.authn.password_mark import rehashed_mark
from authproxy.authn.passwords import PasswordChecks, is_outdated
from authproxy.config.users import User, replace_hashes
from authproxy.model.errors import ConfigError, Refusal

log = logging.getLogger(__name__)

PAUSE = 60.0  # seconds that the file is left alone after a change, whoever made it
BUSY = 1.0  # seconds until the next try where somebody else was writing
RETRY = 3600.0  # and where it could not be written
WAITING_MOST = 1000  # new hashes that wait to be written


class Rehashing:
    """Renews the hashes of one users file, of the authenticator `name`. Belongs to the loop that serves."""

    def __init__(self, name: str, file: Path, checks: PasswordChecks) -> None:
        self.file = file
        self._name = name
        self._checks = checks
        self._begun: set[tuple[str, str]] = set()  # users, and their hashes of before
        self._made: dict[str, tuple[str, str]] = {}  # of a user: the old hash and the new one
        self._next = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, username: str, user: User, password: str) -> None:
        """This is the password of that user: hash it anew where its hash costs less than one of today's. Returns at once."""
        waits = (username, user.password) in self._begun or len(self._begun) >= WAITING_MOST
        if waits or not is_outdated(user.password):
            return
        self._begun.add((username, user.password))
        work = self._hash(username, user.password, password)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hash(self, username: str, old: str, password: str) -> None:
        try:
            self._made[username] = old, await self._checks.hash(password)
        except Refusal:  # many log in at this moment: another login will do
            self._begun.discard((username, old))

    async def tend(self, now: float) -> None:
        """Write what waits, where it is time to."""
        if not self._made or 0 < self._next - now <= RETRY:
            return
        made, self._made = self._made, {}
        try:
            wait = await asyncio.to_thread(self._write, made, now)
        except BlockingIOError:
            wait = BUSY
        except (OSError, ConfigError, ValueError) as error:
            self._next, self._begun = now + RETRY, set()
            self._say(error)
            return
        if wait > 0:
            self._made, self._next = made | self._made, now + wait
        self._begun = {(username, old) for username, (old, _) in self._made.items()}

    def _write(self, made: dict[str, tuple[str, str]], now: float) -> float:
        """Write them, in a thread; seconds to wait where the file was changed lately, 0 where it is done."""

        def renew(username: str, user: User) -> tuple[str, str] | None:
            old, new = made[username]
            # Another worker did it, or it is another password by now.
            return (new, rehashed_mark(user, new)) if user.password == old else None

        left = self.file.stat().st_mtime + PAUSE - now
        if 0 < left <= PAUSE:
            return left
        count = replace_hashes(self.file, made, renew)
        if count:
            log.info("users of `%s` whose hashes were renewed: %d", self._name, count)
        return 0.0

    def _say(self, error: Exception) -> None:
        text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        text = text.partition("\n")[0]  # the first problem of several
        log.warning("old hashes of `%s` stay in its users file, which cannot be written: %s", self._name, text)  # fmt: skip

    async def close(self) -> None:
        """End what is under way; what was not written is made anew at another login."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

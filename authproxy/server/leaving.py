"""Sessions of people who are no longer in the users file end when it is read again, with what is open by them.

Requests notice by themselves; a stream asks nobody, so its session is ended here.
"""

import logging
import time

from authproxy.authn.password import PasswordAuthenticator, who_left
from authproxy.runtime import Runtime
from authproxy.state.store import StateUnavailable

log = logging.getLogger(__name__)


async def end_sessions_of_who_left(previous: Runtime, runtime: Runtime) -> None:
    """End the sessions of users that `previous` knew and `runtime` does not, or not as they were. Every worker may do so."""
    now = time.time()
    for name, before in previous.logins.items():
        if not isinstance(before, PasswordAuthenticator):
            continue
        after = runtime.logins.get(name)
        after = after if isinstance(after, PasswordAuthenticator) else None
        try:
            for subject in who_left(before, after):
                for session in await runtime.sessions.of(name, subject, now):
                    await runtime.sessions.end(session, now)
        except StateUnavailable as error:
            log.warning("streams of users who left go on until their sessions end: %s", error)

"""What a session keeps of the password that it began with: another password or second factor ends it, however the users
file was changed.

The same password under a new hash (`rehashing.py`) is not another one: beside the new hash stands the mark of before, and
the seal of what it was written with. A hash, a moment or a second factor that is changed afterwards breaks the seal.
"""

import hashlib

from authproxy.config.users import User


def password_mark(user: User) -> str:
    """The mark of a user as the file has them: 16 hex digits."""
    own = _mark(user, user.password)
    before, _, seal = (user.rehashed or "").partition(" ")
    return before if seal == own else own


def rehashed_mark(user: User, hashed: str) -> str:
    """What stands as `rehashed` beside a new hash of the password that this user has, so that the mark stays."""
    return f"{password_mark(user)} {_mark(user, hashed)}"


def _mark(user: User, hashed: str) -> str:
    moment = "" if user.changed is None else user.changed.isoformat()
    said = f"{hashed} {moment} {user.totp or ''}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]

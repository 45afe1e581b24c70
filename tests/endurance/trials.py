"""The requests of a long run, by kind: what each presents, what it may be answered, and whom the backend may hear of.

A kind whose verdicts hold no `allow` must never reach the backend, whatever is broken meanwhile. Tokens are made anew
every minute, so that the cache of identities meets new ones; subjects are few, so that what is kept of them is bounded.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.end_to_end.credentials import Issuer

ALLOW = "allow"
ANEW_EVERY = 60  # seconds that a token is used
TOKEN_LIFE = 600
SUBJECTS = ("alice", "bert", "cleo", "dora", "emil")
NOBODYS = frozenset({"unauthenticated", "token_invalid", "session_expired"})  # a dead session's


@dataclass(frozen=True, slots=True)
class Trial:
    """One request. `user` is whom the backend may hear of where the trial may be let in."""

    kind: str
    verdicts: frozenset[str]
    path: str
    method: str = "GET"
    user: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    since: float = (
        0.0  # when what it presents came to be worth nothing, where that was during the run
    )


@dataclass
class Credentials:
    """Tokens of every worth, as `trial` wants them. `revoked` is what was put on the revocation list."""

    issuer: Issuer
    rng: random.Random
    revoked: str = ""
    _stranger: Issuer = field(default_factory=Issuer)
    _made: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)

    def token(self, subject: str, group: str = "eng") -> str:
        """A good token, up to a minute old."""
        until, token = self._made.get((subject, group), (0.0, ""))
        if until < time.monotonic():
            token = self.issuer.token(subject, groups=[group], exp=int(time.time()) + TOKEN_LIFE)
            self._made[subject, group] = time.monotonic() + ANEW_EVERY, token
        return token

    def expired(self) -> str:
        """Past its time, and otherwise good."""
        now = int(time.time())
        return self.issuer.token("alice", groups=["eng"], iat=now - 900, exp=now - 300)

    def forged(self) -> str:
        """Signed by a key of the same name that is not the issuer's."""
        return self._stranger.token("alice", groups=["eng", "ops"])


def bearer(token: str) -> dict[str, str]:
    """As a token is sent."""
    return {"Authorization": f"Bearer {token}"}


def let_in(c: Credentials, kind: str, path: str, method: str = "GET", body: bytes = b"") -> Trial:
    """A trial that the policies let in."""
    user = c.rng.choice(SUBJECTS)
    # a name that only the proxy may set: the backend must not hear of root
    headers = bearer(c.token(user)) | {"X-Forwarded-User": "root"}
    return Trial(kind, frozenset({ALLOW}), path, method, user, headers, body)


def refused(kind: str, code: str, path: str, token: str = "", method: str = "GET") -> Trial:
    """A trial that the policies refuse."""
    return Trial(kind, frozenset({code}), path, method, headers=bearer(token) if token else {})


def limited(c: Credentials) -> Trial:
    """Let in as long as there is room."""
    user = c.rng.choice(SUBJECTS)
    either = frozenset({ALLOW, "rate_limited"})
    return Trial("limited", either, "/limited/x", user=user, headers=bearer(c.token(user)))


def dead_session(cookie: str, kind: str = "session of nobody", since: float = 0.0) -> Trial:
    """A cookie that is worth nothing."""
    return Trial(kind, NOBODYS, "/staff/x", headers={"Cookie": cookie}, since=since)


def revoked_lately(token: str, since: float) -> Trial:
    """A token that was good until `since`."""
    kind, codes = "revoked lately", frozenset({"token_revoked"})
    return Trial(kind, codes, "/api/x", headers=bearer(token), since=since)


def live_session(cookie: str, user: str) -> Trial:
    """A cookie of a login."""
    return Trial("session", frozenset({ALLOW}), "/staff/x", user=user, headers={"Cookie": cookie})


NOBODY = "__Host-authproxy=" + "A" * 43
KINDS: list[tuple[int, Callable[[Credentials], Trial]]] = [
    (6, lambda _: Trial("open", frozenset({ALLOW}), "/open/x")),
    (12, lambda c: let_in(c, "allowed", "/api/x")),
    (2, lambda c: let_in(c, "upload", "/api/up", "POST", b"u" * c.rng.choice((10, 9_000, 200_000)))),
    (2, lambda c: let_in(c, "download", f"/api/bytes/{c.rng.choice((10, 70_000, 400_000))}")),
    (1, lambda c: let_in(c, "events", f"/api/events/{c.rng.randint(1, 8)}")),
    (3, limited),
    (2, lambda _: refused("anonymous", "unauthenticated", "/api/x")),
    (2, lambda c: refused("expired", "token_expired", "/api/x", c.expired())),
    (2, lambda c: refused("forged", "token_invalid", "/api/x", c.forged())),
    (2, lambda c: refused("revoked before", "token_revoked", "/api/x", c.revoked)),
    (2, lambda c: refused("forbidden", "forbidden", "/ops/x", c.token("alice"))),
    (1, lambda c: refused("denied", "forbidden", "/api/x", c.token("sue", "suspended"))),
    (1, lambda _: dead_session(NOBODY)),
    (1, lambda c: refused("nowhere", "no_route", "/nowhere", c.token("alice"))),
    (1, lambda c: refused("traced", "method_not_allowed", "/api/x", c.token("alice"), "TRACE")),
    (1, lambda c: refused("malformed", "bad_request", "/api/%2e%2e/ops/x", c.token("alice"))),
]  # fmt: skip


def trial(credentials: Credentials) -> Trial:
    """The next one, by weight."""
    weights = [weight for weight, _ in KINDS]
    (make,) = credentials.rng.choices([make for _, make in KINDS], weights)
    return make(credentials)

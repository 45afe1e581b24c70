"""Identities that were verified a moment ago, so that the next request with the same credential costs a look-up.

What is kept is who somebody is, never what they may do (CVE-2021-32701: cached decisions). Only verified identities get
in, so nobody fills it with junk; it is bounded all the same.
"""

from authproxy.model.identity import Identity

LONGEST = 300.0


class IdentityCache:
    """At most `most` identities, each for min(exp, 5 minutes); `hits` and `misses` count.

    Two generations: the young one becomes the old one when it is half of the bound, or five minutes old, and what is asked
    for moves back. So what nobody asks for is kept for ten minutes at most, however few they are.
    `exp`, `nbf` and revocation are the caller's to look at, on every hit. `misses` is counted by the caller, once a
    credential, because one credential may be looked up under several authenticators.
    """

    __slots__ = ("_half", "_old", "_turn", "_young", "hits", "misses")

    def __init__(self, most: int = 10_000) -> None:
        self._half = max(most // 2, 1)
        self._young: dict[bytes, Identity] = {}
        self._old: dict[bytes, Identity] = {}
        self._turn = 0.0  # when the young generation is five minutes old
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old.keys() - self._young.keys())

    def get(self, key: bytes, now: float) -> Identity | None:
        """The identity under this key, while it is fresh."""
        kept = self._young.get(key)
        if kept is None:
            kept = self._old.pop(key, None)
            if kept is None:
                return None
            self._keep(key, kept)
        # A clock that was set back must not lengthen a life: more than 5 minutes left means that it was.
        if not 0 < kept.fresh_until - now <= LONGEST:
            self._young.pop(key, None)
            return None
        self.hits += 1
        return kept

    def put(self, key: bytes, identity: Identity, now: float, longest: float = LONGEST) -> None:
        """Keep an identity that was verified just now, for at most `longest` seconds and 5 minutes."""
        until = now + min(longest, LONGEST)
        if identity.expires_at is not None:
            until = min(until, identity.expires_at)
        if until > now:
            if not 0 < self._turn - now <= LONGEST:  # or the clock was set back
                self._old, self._young, self._turn = self._young, {}, now + LONGEST
            object.__setattr__(identity, "fresh_until", until)  # of the cache, and of nothing else
            self._keep(key, identity)

    def _keep(self, key: bytes, kept: Identity) -> None:
        if len(self._young) >= self._half and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = kept

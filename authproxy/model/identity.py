"""Who a request comes from, once that is verified. Frozen: an identity is cached and shared by requests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

_Of = TypeVar("_Of")


@dataclass(frozen=True, slots=True)
class Identity:
    r"""A verified caller; (authenticator, subject) is who it is, everywhere: limits, revocation, log.

    `claims` are those of the credential as JSON gave them. Times are seconds since the epoch; `expires_at` None
    means that the credential does not end by itself. `credential_id` is the token's `jti`, or the hash of its signed
    part: what revocation knows it by. `header_block` is the identity headers for the backend, rendered once
    (`b"Name: value\r\n"` each); None where they would be over the bound of 8 KiB. `marks` are what the revocation list
    would hold of it, made by `authn.revocation` once somebody asks; `counted` is what limits count it under, made by
    `rate_limits.step` in the same way; `fresh_until` is until when `authn.cache` hands it out.
    """

    authenticator: str
    subject: str
    groups: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    email: str | None = None
    username: str | None = None
    name: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    issued_at: float | None = None
    not_before: float | None = None
    expires_at: float | None = None
    credential_id: str = ""
    header_block: bytes | None = b""
    marks: tuple[bytes, ...] = field(default=(), init=False, compare=False, repr=False)
    counted: int = field(default=0, init=False, compare=False, repr=False)
    fresh_until: float = field(default=0.0, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Many people are in the same groups. What thousands of identities share stays at hand, in memory and for processors.
        object.__setattr__(self, "groups", _shared(self.groups))
        object.__setattr__(self, "scopes", _shared(self.scopes))

    def with_headers(self, render: "Callable[[Identity], bytes | None]") -> "Identity":
        """This very identity, its header bytes made: for whoever has just made it, before anybody else knows it."""
        object.__setattr__(self, "header_block", render(self))
        return self


@lru_cache(maxsize=2048)
def _shared(value: _Of) -> _Of:
    return value

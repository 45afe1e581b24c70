"""Who a request comes from, once that is verified. Frozen: an identity is cached and shared by requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Identity:
    r"""A verified caller; (authenticator, subject) is who it is, everywhere: limits, revocation, log.

    `claims` are those of the credential as JSON gave them. Times are seconds since the epoch; `expires_at` None
    means that the credential does not end by itself. `credential_id` is the token's `jti`, or the hash of its signed
    part: what revocation knows it by. `header_block` is the identity headers for the backend, rendered once
    (`b"Name: value\r\n"` each); None where they would be over the bound of 8 KiB. `marks` are what the revocation list
    would hold of it, made by `authn.revocation` once somebody asks; `counted` is what limits count it under, made by
    `rate_limits.step` in the same way.
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

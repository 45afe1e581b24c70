"""Header names: which are hop-by-hop, which only we may set, and the identity headers themselves.

Names are compared folded: lower case, and every character that is not a letter or digit counts as `-`
(CVE-2025-64484, CVE-2026-39858: `X_Forwarded_User` became `X-Forwarded-User` behind the proxy).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from functools import partial
from typing import TypeVar

from authproxy.model.identity import Identity

_Value = TypeVar("_Value")
IDENTITY_BLOCK_MOST = 8192
ASSERTION_HEADER = b"X-Authproxy-Assertion"
GROUP_MOST = 256

# RFC 9110 section 7.6.1, and what was seen in the wild beside it.
HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
        "proxy-authentication-info", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
    }
)  # fmt: skip

# What other systems take for an identity or for the original request; a name ending in `-` covers all that begin so.
RESERVED = (
    "x-forwarded-", "forwarded", "x-real-ip", "x-original-", "x-rewrite-",
    "x-authproxy-", "x-auth-", "x-remote-", "x-user", "x-user-", "x-authenticated-", "x-webauth-", "x-pomerium-",
    "x-goog-", "cf-access-", "x-amzn-oidc-", "x-ms-", "remote-",
    # A client certificate as other proxies hand it on; RFC 9440 section 4 wants what a client sends so to be removed.
    "client-cert", "client-cert-", "x-client-cert", "x-client-cert-", "x-ssl-client-", "x-ssl-cert", "ssl-client-",
    "proxy",  # CGI hands it on as HTTP_PROXY, which clients inside the backend obey (httpoxy, CVE-2016-5385)
)  # fmt: skip

# `policy` may neither set nor remove these: they belong to framing, routing or to us.
NEVER_SET = frozenset(
    {
        "host", "content-length", "expect", "cookie", "authorization",
        "via", "x-request-id", "traceparent", "tracestate",
    }
)  # fmt: skip

PROFILES: dict[str, tuple[str, str, str, str | None, str | None]] = {
    # profile: user, email, groups, username, name
    "forwarded": (
        "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", None,
    ),
    "auth-request": (
        "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups",
        "X-Auth-Request-Preferred-Username", None,
    ),
    "remote": ("Remote-User", "Remote-Email", "Remote-Groups", None, "Remote-Name"),
}  # fmt: skip


class Kind(IntEnum):
    """What intake does with a request header of some name."""

    PASS = 0
    DROP = 1
    HOST = 2
    CONNECTION = 3
    CONTENT_LENGTH = 4
    TRANSFER_ENCODING = 5
    AUTHORIZATION = 6
    COOKIE = 7
    UPGRADE = 8
    EXPECT = 9
    TRUSTED = 10  # from a trusted proxy it says something; it never passes by itself
    METHOD_OVERRIDE = 11  # passes, but not where the route's policy is about the method


_KINDS = {
    b"host": Kind.HOST,
    b"connection": Kind.CONNECTION,
    b"content-length": Kind.CONTENT_LENGTH,
    b"transfer-encoding": Kind.TRANSFER_ENCODING,
    b"authorization": Kind.AUTHORIZATION,
    b"cookie": Kind.COOKIE,
    b"upgrade": Kind.UPGRADE,
    b"expect": Kind.EXPECT,
    b"x-forwarded-for": Kind.TRUSTED,
    b"x-forwarded-proto": Kind.TRUSTED,
    b"x-forwarded-host": Kind.TRUSTED,
    b"forwarded": Kind.TRUSTED,
    b"x-request-id": Kind.TRUSTED,
    b"traceparent": Kind.TRUSTED,
    b"tracestate": Kind.TRUSTED,
}
# Spellings of these that a sloppy backend would fold into framing or routing (facts: WSGI and CGI) never pass.
_LOOKALIKES = frozenset(name.decode() for name in _KINDS)


# Frameworks take the method from these instead, by the folded name (facts 34).
_METHOD_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})

_FOLDED = bytes(
    ord(chr(byte).lower()) if chr(byte).isascii() and chr(byte).isalnum() else ord("-")
    for byte in range(256)
)


def overrides_method(name: bytes) -> bool:
    """Would a framework behind us take the method from a field of this name?"""
    return fold_bytes(name).decode() in _METHOD_OVERRIDES


def fold_bytes(name: bytes) -> bytes:
    """The name as the sloppiest backend reads it: `X_Forwarded.User` is `x-forwarded-user`."""
    return name.translate(_FOLDED)


def fold(name: str) -> str:
    """The same for text."""
    return fold_bytes(name.encode("latin-1", "replace")).decode()


class Learned(dict[bytes, _Value]):
    """What `work_out` said of names that were asked for, bounded in number and length: names are a stranger's choice."""

    __slots__ = ("_work_out",)
    MOST = 4096
    LENGTH_MOST = 64

    def __init__(self, work_out: Callable[[bytes], _Value]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, name: bytes) -> _Value:
        found = self._work_out(name)
        if len(self) < self.MOST and len(name) <= self.LENGTH_MOST:
            self[name] = found
        return found


class HeaderRules:
    """What becomes of a request header, by its name; `strip` are more names that only we may set.

    A look-up is one dictionary access: names are few, and what was worked out is kept (bounded, as clients choose them).
    """

    __slots__ = ("_strip", "kind")

    def __init__(self, strip: Iterable[str] = ()) -> None:
        self._strip = frozenset(fold(name) for name in strip)
        # What to do with a header of this name (as the client spelled it): the look-up itself, with no call around it.
        # It knows the names and not these rules: a circle would wait long for the collector after a reload.
        self.kind: Callable[[bytes], Kind] = Learned(partial(_classify, self._strip)).__getitem__

    def reserved(self, name: str) -> bool:
        """Is this a name that only we may set towards the backend?"""
        return _is_reserved(self._strip, name)


def _is_reserved(strip: frozenset[str], name: str) -> bool:
    folded = fold(name)
    return (
        folded in strip
        or folded in HOP_BY_HOP
        or any(folded == word or (word[-1] == "-" and folded.startswith(word)) for word in RESERVED)
    )


def _classify(strip: frozenset[str], name: bytes) -> Kind:
    known = _KINDS.get(name.lower())
    if known is not None:
        return known
    text = name.decode("latin-1")
    if "_" in text or fold(text) in _LOOKALIKES or _is_reserved(strip, text):
        return Kind.DROP
    return Kind.METHOD_OVERRIDE if fold(text) in _METHOD_OVERRIDES else Kind.PASS


class IdentityProfile:
    """Renders an identity as the headers of one profile, counting the groups it must leave out."""

    __slots__ = ("_names", "groups_left_out")

    def __init__(self, profile: str) -> None:
        self._names = PROFILES.get(profile)
        self.groups_left_out = 0

    def render(self, identity: Identity) -> bytes | None:
        r"""`b"Name: value\r\n"` each, UTF-8; None where all together are over 8 KiB.

        What a field cannot carry as it is, is left out; so is a group with a comma (it would be two) or over 256 bytes.
        """
        if self._names is None:
            return b""
        user, email, groups, username, name = self._names
        fitting = [g for g in identity.groups if carried(g) and _one_group(g)]
        self.groups_left_out += len(identity.groups) - len(fitting)
        named = (
            (user, identity.subject),
            (email, identity.email),
            (groups, ",".join(fitting)),
            (username, identity.username),
            (name, identity.name),
        )
        block = "".join(
            [
                f"{header}: {value}\r\n"
                for header, value in named
                if header and value and carried(value)
            ]
        ).encode()
        return block if len(block) <= IDENTITY_BLOCK_MOST else None


# Control characters would end the field (or the log line); lone surrogates have no UTF-8. Neither are printable.
_NOT_CARRIED = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def carried(value: str | None) -> bool:
    """Does the backend read exactly this value? Space at its ends is no part of a field (RFC 9110 section 5.5).

    ` alice` and `alice` are two subjects here, and would be one there.
    """
    if not value or value != value.strip():
        return False
    return value.isprintable() or _NOT_CARRIED.search(value) is None


def _one_group(name: str) -> bool:
    return "," not in name and len(name.encode()) <= GROUP_MOST


def connection_options(values: Iterable[bytes]) -> set[bytes]:
    """What `Connection` names (RFC 9110 section 7.6.1), in lower case."""
    return {option.strip().lower() for value in values for option in value.split(b",")} - {b""}


def without_cookies(value: bytes, names: frozenset[bytes]) -> bytes:
    """The Cookie field without the cookies of these names; unchanged where it holds none (RFC 6265 section 4.2)."""
    pairs = value.split(b";")
    kept = [pair for pair in pairs if pair.partition(b"=")[0].strip() not in names]
    return value if len(kept) == len(pairs) else b";".join(kept).strip()


def lower_names(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Headers as policies see them: names in lower case, repeated values joined with `, `."""
    seen: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("utf-8", "replace")
        seen[name] = f"{seen[name]}, {value}" if name in seen else value
    return seen

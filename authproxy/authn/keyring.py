"""The private keys of the assertion: a PEM file whose first key signs, while all of its keys are published.

So a key can be known before it signs and after it has; `authproxy keys rotate` moves them on, and keeps its times in the
text before each key, where PEM has room for it (RFC 7468 section 2). The file's bytes are handed in; nothing here opens it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authproxy.authn.jwk import KeyProblem, public_jwk

ALGORITHM = "ES256"
BYTES_MOST = 64 << 10
KEYS_MOST = 10
# How long a published set may be kept by whoever fetched it, in seconds.
JWKS_MAX_AGE = 300
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----.*?-----END \1-----", re.DOTALL)
_LABEL = re.compile(rb"^# (current|next|previous) since ([0-9TZ:-]{20})\s*\Z", re.MULTILINE)
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_REMEDY = "make one with `authproxy keys generate --out FILE`"


@dataclass(frozen=True, slots=True)
class AssertionKey:
    """One of the keys. `role` is `current`, `next` or `previous` since `since` (seconds since the epoch), as the file
    says; a key that it says nothing of has neither.
    """

    pem: bytes = field(repr=False)
    key: EllipticCurvePrivateKey = field(repr=False)
    jwk: Mapping[str, str]
    role: str = ""
    since: float | None = None

    @property
    def kid(self) -> str:
        """Its name: the thumbprint (RFC 7638)."""
        return self.jwk["kid"]


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of a file, in its order; at least one."""

    keys: tuple[AssertionKey, ...]

    @property
    def current(self) -> AssertionKey:
        """The one that signs."""
        return self.keys[0]

    @property
    def jwks(self) -> bytes:
        """The set that backends verify with, as JSON: public members only."""
        return json.dumps({"keys": [dict(key.jwk) for key in self.keys]}).encode()

    @property
    def version(self) -> str:
        """A fingerprint: another one signs or is published where it differs."""
        return hashlib.sha256(self.jwks).hexdigest()


def read_keyring(data: bytes) -> Keyring:
    """The keys of a file.

    Raises:
        KeyProblem: it holds none, one that is no private key on P-256 or needs a passphrase, or one twice.
    """
    if len(data) > BYTES_MOST:
        raise KeyProblem("the file is over 64 KiB", f"give at most {KEYS_MOST} private keys in PEM")
    keys: list[AssertionKey] = []
    end = 0
    for block in _BLOCK.finditer(data):
        # openssl writes the curve by itself before the key; the key says it again.
        if block[1] != b"EC PARAMETERS":
            keys.append(_labelled(data[end : block.start()], block[0]))
        end = block.end()
    if not keys or data.count(b"-----BEGIN ") != len(_BLOCK.findall(data)):
        raise KeyProblem("there is no whole private key in PEM in the file", _REMEDY)
    if len(keys) > KEYS_MOST:
        raise KeyProblem(f"there are over {KEYS_MOST} keys in the file", "remove the oldest")
    if len({key.kid for key in keys}) < len(keys):
        raise KeyProblem("a key stands in the file twice", "remove one of the two")
    return Keyring(tuple(keys))


def _labelled(before: bytes, pem: bytes) -> AssertionKey:
    key = make_key(pem)
    label = _LABEL.search(before)
    if label is None:
        return key
    try:
        since = datetime.strptime(label[2].decode(), _TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise KeyProblem(
            "a time before a key is none", "write it like `# next since 2026-01-31T12:00:00Z`"
        ) from None
    return AssertionKey(key.pem, key.key, key.jwk, label[1].decode(), since)


def make_key(pem: bytes, role: str = "", since: float | None = None) -> AssertionKey:
    """The key of one PEM block.

    Raises:
        KeyProblem: it is none that signs assertions.
    """
    try:
        key: Any = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyProblem(
            "there is something in the file that is no private key in PEM, or has a passphrase",
            f"leave only unencrypted private keys in it; {_REMEDY}",
        ) from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise KeyProblem(
            "a key in the file is not on the curve P-256", f"ES256 needs it: {_REMEDY}"
        )
    return AssertionKey(pem.strip(), key, public_jwk(key.public_key(), [ALGORITHM]), role, since)


def write_keyring(keys: Sequence[AssertionKey]) -> bytes:
    """The keys as a file that `read_keyring` reads."""
    return b"\n".join(_lines(keys)) + b"\n"


def _lines(keys: Iterable[AssertionKey]) -> Iterable[bytes]:
    for key in keys:
        if key.role and key.since is not None:
            yield f"# {key.role} since {timestamp(key.since)}".encode()
        yield key.pem


def timestamp(seconds: float) -> str:
    """A moment as the file has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime(_TIME)

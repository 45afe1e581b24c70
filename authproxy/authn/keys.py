"""The keys of one authenticator: which of them may verify a token, by the algorithm and `kid` of its header.

A set is vetted when it is loaded, whole (RFC 8725 section 3, facts 0.7), so that a request meets no surprise.
The algorithm is bound to the key here; a token only ever names one that is already bound (CVE-2022-29217).
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import Algorithm

from authproxy.authn.compact import MalformedToken, json_object
from authproxy.authn.jwk import (
    MEMBERS,
    KeyProblem,
    SecretPublished,
    VettedKey,
    algorithm_named,
    algorithms_of,
    vet_jwk,
)

__all__ = [
    "UNKNOWN", "KeyProblem", "KeySet", "PublishedKeys", "VerificationKey",
    "load_key_set", "load_published", "secret_key_set",
]  # fmt: skip

BYTES_MOST = 1 << 20
KEYS_MOST = 100
CANDIDATES_MOST = 10
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key bound to one algorithm."""

    kid: str | None
    algorithm: str
    key: Any
    scheme: Algorithm

    def verify(self, signed: bytes, signature: bytes) -> bool:
        """Is this the signature over these bytes? Secrets are compared in constant time."""
        return self.scheme.verify(signed, self.key, signature)


class KeySet:
    """The keys in force; `version` is a fingerprint of the content and of what it may be used for."""

    __slots__ = ("_any", "_named", "version")

    def __init__(self, version: str, keys: Iterable[VerificationKey]) -> None:
        self.version = version
        self._named: dict[tuple[str, str | None], tuple[VerificationKey, ...]] = {}
        self._any: dict[str, tuple[VerificationKey, ...]] = {}
        for key in keys:
            named = (key.algorithm, key.kid)
            self._named[named] = (*self._named.get(named, ()), key)
            self._any[key.algorithm] = (*self._any.get(key.algorithm, ()), key)

    @property
    def size(self) -> int:
        """How many keys there are; one that is used with several algorithms counts once."""
        return len({id(key.key) for keys in self._any.values() for key in keys})

    def candidates(self, algorithm: str, kid: str | None) -> tuple[VerificationKey, ...]:
        """The keys that may verify a token of this header, at most 10.

        A `kid` chooses its key, or else those that have none. Without one all of the algorithm may, unless there are
        so many that a forged token would cost too much: then there must be a `kid`.
        """
        if kid is not None:
            return self._named.get((algorithm, kid)) or self._named.get((algorithm, None), ())
        keys = self._any.get(algorithm, ())
        return keys if len(keys) <= CANDIDATES_MOST else ()

    def names(self, algorithm: str, kid: str | None) -> bool:
        """Is there a key of this very `kid`?"""
        return kid is not None and (algorithm, kid) in self._named


# Of an issuer whose keys nobody knows (yet, or any more): whether a token is good cannot be told.
UNKNOWN = KeySet("", ())


def _version(data: bytes, algorithms: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(algorithms).encode() + b"\0" + data).hexdigest()


def _bind(keys: Iterable[VettedKey], algorithms: Sequence[str]) -> list[VerificationKey]:
    schemes = {name: algorithm_named(name) for name in algorithms}
    return [
        VerificationKey(key.kid, name, key.key, scheme)
        for key in keys
        for name, scheme in schemes.items()
        if name in key.algorithms
    ]


def _members_of(data: bytes) -> list[Any]:
    try:
        members = json_object(data).get("keys")
    except MalformedToken:
        raise KeyProblem(
            "the key set is not well-formed JSON", 'write a JWKS: {"keys": [...]}, each name once'
        ) from None
    if not isinstance(members, list) or len(members) > KEYS_MOST:
        raise KeyProblem(
            f"the key set has no list `keys` of at most {KEYS_MOST}",
            'write a JWKS: {"keys": [...]}',
        )
    return members


def _from_jwks(data: bytes) -> list[VettedKey]:
    keys = [key for member in _members_of(data) if (key := vet_jwk(member)) is not None]
    kids = Counter(key.kid for key in keys)
    if kids.pop(None, 0) > CANDIDATES_MOST:
        raise KeyProblem(f"more than {CANDIDATES_MOST} keys have no `kid`", "give each a `kid`")
    if any(count > 1 for count in kids.values()):
        raise KeyProblem(
            "two keys have the same `kid`", "give each its own"
        )  # facts 0.7: which one counts is anyone's guess
    return keys


def _from_pem(data: bytes) -> list[VettedKey]:
    labels = _PEM.findall(data)
    if any(b"PRIVATE" in label for label in labels):
        raise KeyProblem(
            "this is a private key", "give the public key; the private one stays with who signs"
        )
    if len(labels) != 1:
        # The certificates of a chain are other parties': their keys sign no tokens.
        raise KeyProblem("there is more than one key in the PEM file", "give one, or write a JWKS")
    try:
        if labels[0] == b"CERTIFICATE":
            key: Any = x509.load_pem_x509_certificate(data).public_key()
        else:
            key = load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyProblem(
            "the PEM file holds no public key", "give a public key or a certificate"
        ) from None
    return [VettedKey(None, key, algorithms_of(key))]


def load_key_set(data: bytes, algorithms: Sequence[str]) -> KeySet:
    """The public keys of a JWKS, or of a PEM file with one public key or certificate, for these algorithms.

    Keys for encryption or of kinds not used here are passed over; a certificate gives its key, its dates are not read.

    Raises:
        KeyProblem: the file cannot be used, or a key in it must not be.
    """
    if len(data) > BYTES_MOST:
        raise KeyProblem("the file is over 1 MiB", "give a JWKS or a PEM file")
    if data.lstrip()[:1] == b"{":
        keys = _from_jwks(data)
    elif _PEM.search(data):
        keys = _from_pem(data)
    else:
        raise KeyProblem(
            "the file is neither a JWKS nor PEM",
            "give a JWKS, a public key in PEM, or a certificate",
        )
    bound = _bind(keys, algorithms)
    if not bound:
        raise KeyProblem(
            "no key in the file fits the algorithms", f"`algorithms` says {', '.join(algorithms)}"
        )
    return KeySet(_version(data, algorithms), bound)


@dataclass(frozen=True, slots=True)
class PublishedKeys:
    """What an issuer publishes: its keys, the part of its document that counts, and why keys were passed over."""

    keys: KeySet
    jwks: bytes
    passed_over: tuple[str, ...]


def load_published(data: bytes, algorithms: Sequence[str], *, known: bool = False) -> PublishedKeys:
    """The keys of a JWKS that another party writes, for these algorithms.

    More lenient than with the operator's own file, as RFC 7517 section 5 asks: a key that cannot be used is passed
    over, those beside it serve. Two with the same `kid` are both tried, as all of them are the issuer's. One set
    differs from another (`version`) where what is used of it does, not by its spelling. `known` says that this is the
    `jwks` of what was loaded before, so it may be empty.

    Raises:
        KeyProblem: it is no JWKS, has too many keys, or none that fits and none that was withdrawn by being leaked.
    """
    if len(data) > BYTES_MOST:
        raise KeyProblem("the key set is over 1 MiB", "publish a smaller one")
    keys, used, passed_over, leaked = list[VettedKey](), list[dict[str, Any]](), [], False
    for member in _members_of(data):
        try:
            key = vet_jwk(member)
        except KeyProblem as problem:
            passed_over.append(problem.text)
            leaked = leaked or isinstance(problem, SecretPublished)
            continue
        if key is not None:
            keys.append(key)
            used.append({name: member[name] for name in MEMBERS if name in member})
    bound = _bind(keys, algorithms)
    same = Counter((key.algorithm, key.kid) for key in bound)
    if same and max(same.values()) > CANDIDATES_MOST:
        raise KeyProblem(
            f"more than {CANDIDATES_MOST} keys share a `kid`, or have none", "name each"
        )
    # A set without keys is taken for an accident, unless its key has become known to all: then nothing is signed by it.
    if not bound and not leaked and not known:
        raise KeyProblem(
            "no key of the set can be used", f"`algorithms` says {', '.join(algorithms)}"
        )
    used.sort(key=lambda jwk: json.dumps(jwk, sort_keys=True))
    jwks = json.dumps({"keys": used}, sort_keys=True, separators=(",", ":")).encode()
    return PublishedKeys(KeySet(_version(jwks, algorithms), bound), jwks, tuple(passed_over))


def secret_key_set(secret: bytes, algorithms: Sequence[str]) -> KeySet:
    """The secret of HS* algorithms; at least as long as the longest hash (RFC 7518 section 3.2, CVE-2025-45768).

    Raises:
        KeyProblem: it is too short, or is really a public key or a JWK (CVE-2022-29217, CVE-2026-48526).
    """
    keys = []
    for name in algorithms:
        if not name.startswith("HS"):
            raise KeyProblem(f"{name} does not use a secret", "write `keys: {file: ...}`")
        scheme = algorithm_named(name)
        try:
            key = scheme.prepare_key(secret)
        except jwt.InvalidKeyError:
            raise KeyProblem(
                "the secret is empty, or is a key of another kind", "make a random secret"
            ) from None
        if scheme.check_key_length(key) is not None:
            raise KeyProblem(
                f"the secret is too short for {name}",
                f"use at least {int(name[2:]) // 8} random bytes",
            )
        keys.append(VerificationKey(None, name, key, scheme))
    return KeySet(_version(secret, algorithms), keys)

"""Tokens that are bound to their holder (`cnf`, RFC 7800): to a key (DPoP, RFC 9449) or to a client certificate (RFC 8705).

What a token is bound to is looked at when it is verified, whether the request keeps to it on every request. A token that
is bound is never good without its binding, also where an authenticator was not told of any: it is refused there.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

from authproxy.authn.claims import invalid
from authproxy.authn.dpop import HEADER, Proofs
from authproxy.authn.slots import DPOP, Presented, Slot
from authproxy.config.authenticators import BoundTokens
from authproxy.state.store import Store

_UNDERSTOOD = frozenset({"jkt", "x5t#S256"})
_SHA_256 = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class Bindings:
    """What an authenticator asks of tokens that are bound. `checks`: is there something to look at on each request?"""

    __slots__ = ("_certificate", "_dpop", "_proofs", "checks", "headers", "slots")

    def __init__(self, settings: BoundTokens, leeway: float, store: Store) -> None:
        self._dpop = settings.dpop
        self._certificate = settings.certificate_bound
        self._proofs = Proofs(store, leeway)
        self.checks = bool(self._dpop or self._certificate)
        self.slots: tuple[Slot, ...] = (DPOP,) if self._dpop else ()
        self.headers = (HEADER,) if self._dpop else ()

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """Refuse a token that is bound to what is not checked here, or not bound though it must be.

        Raises:
            Refusal: `token_invalid`.
        """
        if "cnf" not in claims:
            key = certificate = None
        else:
            key, certificate = _confirmation(claims["cnf"])
        # RFC 9449 section 7.2, RFC 8705 section 3: taken for a bearer token it would be good for a thief.
        if key is not None and self._dpop is None:
            raise invalid("bound-to-key")
        if certificate is not None and self._certificate is None:
            raise invalid("bound-to-certificate")
        if key is None and self._dpop == "required":
            raise invalid("not-bound-to-key")
        if certificate is None and self._certificate == "required":
            raise invalid("not-bound-to-certificate")

    async def check_request(
        self,
        claims: Mapping[str, Any],
        credential: str,
        slot: Slot,
        presented: Presented,
        now: float,
    ) -> None:
        """Refuse a request that does not keep to what its token is bound to.

        Raises:
            Refusal: `token_invalid`, or `state_unavailable`.
        """
        key, certificate = _confirmation(claims["cnf"]) if "cnf" in claims else (None, None)
        # RFC 9449 sections 7.1 and 7.2: the scheme DPoP is for bound tokens, and bound tokens for it.
        if (key is not None) != (slot is DPOP):
            raise invalid("dpop-scheme")
        if certificate is not None:
            _check_certificate(certificate, presented.certificate)
        if key is not None:
            await self._proofs.check(key, credential, presented, now)


def bound_to(claims: Mapping[str, Any]) -> list[str]:
    """What a good token is bound to, in words; nothing where it is a bearer token."""
    key, certificate = _confirmation(claims["cnf"]) if "cnf" in claims else (None, None)
    words = [] if key is None else [f"the key {key}: each request needs a DPoP proof by it"]
    if certificate is not None:
        words.append(f"the client certificate with the SHA-256 {certificate}")
    return words


def _confirmation(cnf: object) -> tuple[str | None, str | None]:
    """The thumbprints of the key and of the certificate. Other members are not understood; alone they bind to nothing
    that could be checked, so they are no licence.
    """
    if not isinstance(cnf, dict) or _UNDERSTOOD.isdisjoint(cnf):
        raise invalid("cnf")
    return _thumbprint(cnf, "jkt"), _thumbprint(cnf, "x5t#S256")


def _thumbprint(cnf: Mapping[str, Any], name: str) -> str | None:
    if name not in cnf:
        return None
    value = cnf[name]
    if not isinstance(value, str) or not _SHA_256.fullmatch(value):
        raise invalid("cnf")
    return value


def _check_certificate(thumbprint: str, certificate: bytes | None) -> None:
    """RFC 8705 section 3.1: SHA-256 over the DER of what the client showed in this very connection."""
    if certificate is None:
        raise invalid("no-certificate")
    shown = base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=")
    if not hmac.compare_digest(shown, thumbprint.encode()):
        raise invalid("other-certificate")

"""DPoP proofs (RFC 9449 section 4.3): a small token, signed by the caller for this one request, shows that it holds a key.

Which key is the access token's word (`cnf.jkt`); here the proof is held against that key, this request and this token, and
taken once. Nonces of the server's own are not used: `iat` within a short time and `jti` kept as long do their work.
"""

import base64
import hashlib
import hmac
import re
from functools import lru_cache

from authproxy.authn.authenticator import length_prefixed
from authproxy.authn.claims import moment
from authproxy.authn.compact import CompactToken, MalformedToken, parse
from authproxy.authn.jwk import KeyProblem, algorithm_named, thumbprint_of, vet_jwk
from authproxy.authn.keys import VerificationKey
from authproxy.authn.slots import DPOP, Presented, challenge
from authproxy.config.authenticators import ASYMMETRIC
from authproxy.model.errors import Refusal
from authproxy.state.store import StateUnavailable, Store

HEADER = "dpop"
WINDOW = 60.0  # seconds that a proof is good for, clocks aside
PROOF_MOST = 4096  # enough for RSA keys of 8192 bits
JTI_MOST = 256
_CHALLENGE = (challenge(DPOP.challenge or "", error="invalid_dpop_proof"),)
_NONE: list[str] = []
_URI = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]+)(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<path>/(?:[!\"$&->@-~]|%[0-9a-f]{2})*)?(?:[?#][!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]", re.ASCII)


def bad_proof(reason: str) -> Refusal:
    """The refusal of a proof; its challenge says that the proof and not the token is bad (RFC 9449 section 7.1)."""
    return Refusal("token_invalid", f"dpop-{reason}", headers=_CHALLENGE)


class Proofs:
    """Checks proofs, each good once over all workers; `leeway` (seconds) is how far clocks may differ."""

    __slots__ = ("_leeway", "_store")

    def __init__(self, store: Store, leeway: float) -> None:
        self._store = store
        self._leeway = leeway

    async def check(self, thumbprint: str, token: str, presented: Presented, now: float) -> None:
        """Refuse where the request brings no good proof by the key of this thumbprint for this access token.

        Raises:
            Refusal: `token_invalid`, or `state_unavailable` where nobody can tell whether the proof was used before.
        """
        values = presented.headers.getall(HEADER, _NONE)
        if len(values) != 1:  # 4.3 (1)
            raise bad_proof("repeated" if values else "missing")
        if len(values[0]) > PROOF_MOST:
            raise bad_proof("too-long")
        try:
            jti, ends_at = self._read(parse(values[0]), thumbprint, token, presented, now)
        except MalformedToken:
            raise bad_proof("malformed") from None
        # Last, so that only who holds a bound key writes anything.
        await self._take(thumbprint, jti, ends_at, now)

    def _read(
        self, proof: CompactToken, thumbprint: str, token: str, presented: Presented, now: float
    ) -> tuple[str, float]:
        key = _holder(proof.header, thumbprint)
        if not key.verify(proof.signed, proof.signature):  # (7)
            raise bad_proof("signature")
        claims = proof.read_claims()
        if claims.get("htm") != presented.method:  # (8)
            raise bad_proof("htm")
        htu = claims.get("htu")
        named = normalised(htu) if isinstance(htu, str) else None
        if named is None or named != normalised(presented.target_uri):  # (9)
            raise bad_proof("htu")
        ath = claims.get("ath")
        if not isinstance(ath, str) or not hmac.compare_digest(ath.encode(), hash_of(token)):
            raise bad_proof("ath")  # (12)
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= JTI_MOST:  # (3)
            raise bad_proof("jti")
        return jti, self._end(claims.get("iat"), now)

    def _end(self, issued_at: object, now: float) -> float:
        """The moment from which a proof of this age is too old (4.3 (11))."""
        try:
            made = moment({"iat": issued_at}, "iat")
        except Refusal:
            made = None
        if made is None or not now - WINDOW - self._leeway < made <= now + self._leeway:
            raise bad_proof("iat")
        return made + WINDOW + self._leeway

    async def _take(self, thumbprint: str, jti: str, ends_at: float, now: float) -> None:
        """RFC 9449 section 11.1; remembered for as long as the proof would be good."""
        parts = length_prefixed(b"dpop", thumbprint.encode(), jti.encode("utf-8", "surrogatepass"))
        key = hashlib.sha256(parts).digest()[:16]
        try:
            first = await self._store.advance(key, 1, ends_at, now)
        except StateUnavailable:
            raise Refusal("state_unavailable", "dpop") from None
        if not first:
            raise bad_proof("replayed")


@lru_cache(maxsize=1024)
def _holder(header: bytes, thumbprint: str) -> VerificationKey:
    """The key in a proof's header, which must have this thumbprint. A client repeats its header: a good one is read once.

    Raises:
        Refusal: it is no header of a proof (4.3 (4) to (7)), or its key is another, weak, private or none.
        MalformedToken: it is not JSON as we read it.
    """
    members = CompactToken(None, header, b"", b"", b"").read_header()
    typ, name, jwk = members.get("typ"), members.get("alg"), members.get("jwk")
    if not isinstance(typ, str) or typ.lower() != "dpop+jwt":
        raise bad_proof("typ")
    if not isinstance(name, str) or name not in ASYMMETRIC:
        raise bad_proof("algorithm")
    if "crit" in members or "b64" in members:  # as for tokens: nothing of that is understood
        raise bad_proof("header")
    if not isinstance(jwk, dict) or jwk.get("kty") not in ("RSA", "EC", "OKP"):
        raise bad_proof("key")
    # 4.3 (12), first: whoever stole a token must not have us look at keys of its own choosing.
    if not hmac.compare_digest(thumbprint_of(jwk), thumbprint):
        raise bad_proof("other-key")
    try:
        vetted = vet_jwk(jwk)
    except KeyProblem:
        raise bad_proof("key") from None
    if vetted is None or name not in vetted.algorithms:
        raise bad_proof("key")
    return VerificationKey(vetted.kid, name, vetted.key, algorithm_named(name))


def hash_of(token: str) -> bytes:
    """What `ath` must be: base64url of the SHA-256 of the access token."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=")


def normalised(uri: str) -> str | None:
    """A URI without query and fragment, as 4.3 compares it (RFC 3986 sections 6.2.2 and 6.2.3); None where it is none.

    Dot segments stay: the target of a request has none.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        return None
    scheme, port = found["scheme"].lower(), found["port"] or ""
    port = port.lstrip("0") or port
    where = "" if not port or port == _DEFAULT_PORTS[scheme] else f":{port}"
    path = _ESCAPE.sub(_plain, found["path"] or "/")
    return f"{scheme}://{found['host'].lower()}{where}{path}"


def _plain(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()

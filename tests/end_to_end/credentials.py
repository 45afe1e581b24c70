"""Keys, tokens and certificates, made without the program's own code."""

import base64
import datetime as dt
import ipaddress
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

ISSUER = "https://issuer.test"
AUDIENCE = "api"
PRIVATE = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


def b64(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens: an RSA and an EC key under one issuer."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set."""
        numbers, point = (
            self.rsa.public_key().public_numbers(),
            self.ec.public_key().public_numbers(),
        )
        size = (numbers.n.bit_length() + 7) // 8
        return {
            "keys": [
                {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256",
                 "n": b64(numbers.n.to_bytes(size, "big")), "e": b64(b"\x01\x00\x01")},
                {"kty": "EC", "kid": "ec", "use": "sig", "alg": "ES256", "crv": "P-256",
                 "x": b64(point.x.to_bytes(32, "big")), "y": b64(point.y.to_bytes(32, "big"))},
            ]
        }  # fmt: skip

    def private_pem(self) -> bytes:
        """The RSA key, for `issue_with`."""
        return self.rsa.private_bytes(*PRIVATE)

    def claims(self, subject: str = "alice", **more: Any) -> dict[str, Any]:
        """Claims that are in order; a value of None takes the claim away."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600}
        return {name: value for name, value in {**claims, **more}.items() if value is not None}

    def token(self, subject: str = "alice", **more: Any) -> str:
        """A token that is in order, but for what is asked for."""
        return jwt.encode(self.claims(subject, **more), self.rsa, "RS256", headers={"kid": "rsa"})

    def sign(self, header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes) -> str:
        """A rightly signed RS256 token of any header and payload, byte for byte where they are bytes."""
        head = header if isinstance(header, bytes) else json.dumps(header).encode()
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        signed = f"{b64(head)}.{b64(body)}"
        return f"{signed}.{b64(jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(signed.encode(), self.rsa))}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as files."""

    certificate: Path
    private_key: Path


class Authority:
    """A certificate authority that lives for one test run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "authproxy test authority")]
        )
        self._certificate = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "authority.crt"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, *names: str) -> Certificate:
        """A certificate for these names and addresses; the files are called after the first."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = (
            _builder(subject, self._name, key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        made = Certificate(self._folder / f"{names[0]}.crt", self._folder / f"{names[0]}.key")
        made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        made.private_key.write_bytes(key.private_bytes(*PRIVATE))
        made.private_key.chmod(0o600)
        return made


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
    )

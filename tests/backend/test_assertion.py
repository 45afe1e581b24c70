"""What a backend takes for an identity, and everything that it must not."""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authproxy.backend import AssertionRefused, Identity, Verifier
from authproxy.backend.assertion import BYTES_MOST, problem
from tests.authn.tokens import base64url, pem_of, private_key
from tests.backend.proxy import ALICE, PEM, assertion, forged, key_file, parts, verifier
from tests.playbook import token


def refusal(judge: Verifier, *values: str) -> str:
    """The code and the reason."""
    with pytest.raises(AssertionRefused) as caught:
        judge.verify(values)
    return f"{caught.value.code} {caught.value.reason}"


def test_what_the_proxy_signs_is_the_identity(tmp_path: Path) -> None:
    """All that it says, and nothing of it can be changed."""
    text = assertion()
    claims = parts(text)[1]
    found = verifier(tmp_path).verify([text])
    assert found == Identity(
        "alice", "tokens", "alice@a.test", ("eng", "ops"), claims["iat"], claims["exp"], claims["jti"]
    )  # fmt: skip
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.subject = "root"  # type: ignore[misc]  # that it cannot be done is what is tested


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    """No address, no groups."""
    identity = dataclasses.replace(ALICE, email=None, groups=())
    found = verifier(tmp_path).verify([assertion(identity)])
    assert (found.email, found.groups) == (None, ())


async def test_asynchronously_it_is_the_same(tmp_path: Path) -> None:
    """One verdict, two ways to ask for it."""
    judge = verifier(tmp_path)
    assert (await judge.verify_async([assertion()])).subject == "alice"
    with pytest.raises(AssertionRefused):
        await judge.verify_async([assertion(audience="billing")])


def test_an_assertion_for_another_upstream(tmp_path: Path) -> None:
    """What one backend got opens no other one, also where it is one of a list."""
    judge = verifier(tmp_path)
    assert refusal(judge, assertion(audience="billing")) == "assertion_invalid InvalidAudienceError"
    assert "InvalidAudience" in refusal(judge, forged(claims={"aud": ["orders", "billing"]}))
    assert refusal(judge, forged(claims={"aud": None})).startswith("assertion_invalid")


def test_an_expired_one(tmp_path: Path) -> None:
    """Past `exp` and the leeway; and one that is of the future, or never ends."""
    now, judge = time.time(), verifier(tmp_path)
    assert refusal(judge, assertion(now=now - 91.5)) == "assertion_expired exp"
    assert judge.verify([assertion(now=now - 85)]).subject == "alice"
    assert (
        refusal(verifier(tmp_path, leeway=0), assertion(now=now - 61.5)) == "assertion_expired exp"
    )
    assert refusal(judge, assertion(now=now + 60)) == "assertion_invalid ImmatureSignatureError"
    assert refusal(judge, forged(claims={"exp": None})) == "assertion_invalid MissingRequiredClaimError"  # fmt: skip
    assert refusal(judge, forged(claims={"iat": None})) == "assertion_invalid MissingRequiredClaimError"  # fmt: skip


def test_a_test_token_is_none(tmp_path: Path) -> None:
    """What `token issue` makes, also where its key were published and its claims fit."""
    assert refusal(verifier(tmp_path), token(audience="orders")) == "assertion_invalid typ"
    judge = verifier(tmp_path, issuer="https://issuer.test")
    assert refusal(judge, token(key=PEM, audience="orders")) == "assertion_invalid typ"


def public_pem() -> bytes:
    """What an attacker knows."""
    key = private_key(PEM).public_key()
    return bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def unsigned() -> str:
    """`alg: none` with an empty signature."""
    header, claims = parts(assertion())
    return ".".join([*(base64url(json.dumps(p).encode()) for p in ({**header, "alg": "none"}, claims)), ""])  # fmt: skip


def tampered() -> str:
    """Another subject under an old signature."""
    text = assertion()
    header, _, signature = text.split(".")
    claims = base64url(json.dumps({**parts(text)[1], "sub": "root"}).encode())
    return f"{header}.{claims}.{signature}"


FORGED: dict[str, Any] = {
    "alg none": (unsigned, "algorithm"),
    "alg None": (lambda: unsigned().replace("none", "None"), "algorithm"),
    "HS256 with the public key": (lambda: forged({"alg": "HS256"}, algorithm="HS256", pem=public_pem()), "algorithm"),
    "ES384 by name": (lambda: forged({"alg": "ES384"}), "algorithm"),
    "no alg": (lambda: forged({"alg": None}), "algorithm"),
    "typ of a token": (lambda: forged({"typ": "JWT"}), "typ"),
    "typ of an access token": (lambda: forged({"typ": "at+jwt"}), "typ"),
    "typ in capitals": (lambda: forged({"typ": "AUTHPROXY-ASSERTION+JWT"}), "typ"),
    "no typ": (lambda: forged({"typ": None}), "typ"),
    "another issuer": (lambda: assertion(issuer="https://proxy.test.evil"), "InvalidIssuerError"),
    "no issuer": (lambda: forged(claims={"iss": None}), "MissingRequiredClaimError"),
    "a list of issuers": (lambda: forged(claims={"iss": ["https://proxy.test"]}), "InvalidIssuerError"),
    "tampered": (tampered, "InvalidSignatureError"),
    "another key under the known name": (lambda: forged(pem=pem_of("ES256", 2)), "InvalidSignatureError"),
    "a key that is not published": (lambda: assertion(number=2), "unknown-key"),
    "a key that it brings": (lambda: forged({"jwk": {"kty": "EC"}, "kid": "mine"}), "unknown-key"),
    "no kid": (lambda: forged({"kid": None}), "kid"),
    "a kid that is a number": (lambda: forged({"kid": 1}), "malformed"),
    "crit": (lambda: forged({"crit": ["x"], "x": 1}), "malformed"),
    "no subject": (lambda: forged(claims={"sub": None}), "MissingRequiredClaimError"),
    "an empty subject": (lambda: forged(claims={"sub": ""}), "subject"),
    "a subject that is a number": (lambda: forged(claims={"sub": 1}), "InvalidSubjectError"),
    "groups that are text": (lambda: forged(claims={"groups": "admins"}), "claims"),
    "groups that are numbers": (lambda: forged(claims={"groups": [1]}), "claims"),
    "no authenticator": (lambda: forged(claims={"authenticator": None}), "claims"),
    "an address that is a list": (lambda: forged(claims={"email": ["a"]}), "claims"),
    "junk": (lambda: "junk", "malformed"),
    "empty": (lambda: "", "malformed"),
    "dots": (lambda: "..", "malformed"),
    "two in one": (lambda: f"{assertion()}, {assertion()}", "malformed"),
    "no UTF-8": (lambda: "\udc80.a.b", "malformed"),
    "too long": (lambda: assertion() + "A" * BYTES_MOST, "too-long"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_nobody_is_taken_for_an_identity(tmp_path: Path, name: str) -> None:
    """Each is refused for what it is."""
    make, reason = FORGED[name]
    assert refusal(verifier(tmp_path), make()) == f"assertion_invalid {reason}"


def test_there_must_be_exactly_one(tmp_path: Path) -> None:
    """None is none, and of two nobody can say which one the proxy sent."""
    judge = verifier(tmp_path)
    assert refusal(judge) == "assertion_missing missing"
    assert refusal(judge, assertion(), assertion()) == "assertion_invalid repeated"


def test_the_caller_is_told_no_more_than_it_may_know(caplog: pytest.LogCaptureFixture) -> None:
    """The reason is for the log."""
    body = json.loads(problem(AssertionRefused("assertion_invalid", "unknown-key")))
    assert body == {
        "type": "urn:problem-type:authproxy:assertion_invalid",
        "title": "The identity of the request cannot be verified",
        "status": 401,
        "code": "assertion_invalid",
    }
    assert "unknown-key" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ""}, {"audience": ""}, {"keys": "http://proxy.test/jwks.json"}, {"keys": "ftp://proxy.test/x"},
        {"keys": "file:///etc/passwd"}, {"keys": "https://u:p@proxy.test/x"}, {"keys": "http://127.0.0.1.evil.test/x"},
    ],
)  # fmt: skip
def test_what_can_only_be_a_mistake_is_one(tmp_path: Path, changes: dict[str, str]) -> None:
    """Keys over plain HTTP from elsewhere would be anybody's; an empty audience would be everybody's."""
    with pytest.raises(ValueError, match=r".+"):
        verifier(tmp_path, **changes)


def test_nothing_else_of_the_proxy_is_needed(tmp_path: Path) -> None:
    """It imports and verifies where there is nothing but the standard library, PyJWT and cryptography."""
    allowed = {
        "authproxy",
        "jwt",
        "cryptography",
        "cffi",
        "_cffi_backend",
        "pycparser",
        *sys.stdlib_module_names,
    }
    program = f"""
import sys
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] not in {allowed!r}:
            raise ImportError(name)
        if name.startswith('authproxy.') and not name.startswith('authproxy.backend'):
            raise AssertionError(name)
sys.meta_path.insert(0, Only())
from authproxy.backend import Verifier
import authproxy.backend.asgi, authproxy.backend.wsgi
judge = Verifier(issuer='https://proxy.test', audience='orders', keys={key_file(tmp_path)!r})
print(judge.verify([sys.argv[1]]).subject)
"""
    told = subprocess.run(
        [sys.executable, "-c", program, assertion()], capture_output=True, text=True, check=False, timeout=30
    )  # fmt: skip
    assert told.stdout == "alice\n", told.stderr

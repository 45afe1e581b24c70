"""Bound tokens: without what they are bound to they are good for nobody, whoever asked for what and whatever is cached."""

import base64
import hashlib
from typing import Any

import pytest
from multidict import CIMultiDict

from authproxy.authn.authentication import Authentication
from authproxy.authn.bearer import JwtVerifier
from authproxy.authn.binding import bound_to
from authproxy.authn.cache import IdentityCache
from authproxy.authn.jwk import thumbprint_of
from authproxy.authn.revocation import Revocations
from authproxy.authn.slots import Presentation
from authproxy.model.errors import Refusal
from tests.authn.proofs import URI, bound_token, jwk_of, proof
from tests.authn.tokens import NOW, token, verdict, verifier

CERTIFICATE, OTHERS = b"der of a certificate", b"der of another"


def sha_256(certificate: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()


def certified(certificate: bytes = CERTIFICATE, **claims: Any) -> str:
    """A token for whoever shows this certificate."""
    return token({"cnf": {"x5t#S256": sha_256(certificate), **claims}})


class Door:
    """A route with one authenticator, its cache, and what is asked of it."""

    def __init__(self, judge: JwtVerifier) -> None:
        self.cache = IdentityCache()
        self.authentication = Authentication([judge], self.cache, Revocations())

    async def ask(
        self,
        *fields: tuple[str, str],
        certificate: bytes | None = None,
        now: float = NOW,
        method: str = "GET",
    ) -> str:
        """Who it is, or why not; asked as the server asks, by memory first."""
        shown = Presentation(CIMultiDict(fields), certificate, method, URI)
        try:
            known = self.authentication.recall(shown, now, {})
            identity = known or await self.authentication.authenticate(shown, now, lambda: None)
        except Refusal as refusal:
            return refusal.reason
        return identity.subject


def bearer(text: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {text}"


def dpop(text: str, *proofs: str) -> list[tuple[str, str]]:
    return [("Authorization", f"DPoP {text}"), *(("DPoP", one) for one in proofs)]


@pytest.mark.parametrize(
    ("cnf", "reason"),
    [
        ({"jkt": "a" * 43}, "bound-to-key"), ({"x5t#S256": "a" * 43}, "bound-to-certificate"),
        ({"jkt": "a" * 43, "x5t#S256": "a" * 43}, "bound-to-key"),
        ({}, "cnf"), (None, "cnf"), ("x", "cnf"), ([], "cnf"), ({"kid": "k"}, "cnf"), ({"jwk": {"kty": "EC"}}, "cnf"),
        ({"jkt": None}, "cnf"), ({"jkt": "a" * 42}, "cnf"), ({"jkt": "a" * 42 + "\u00e9"}, "cnf"),
        ({"x5t#S256": ["a" * 43]}, "cnf"), ({"jkt": "a" * 43 + "="}, "cnf"),
    ],
)  # fmt: skip
def test_a_bound_token_is_no_bearer_token(cnf: Any, reason: str) -> None:
    """An authenticator that was told of no binding refuses it, whatever the `cnf` is."""
    assert verdict(token({"cnf": cnf})) == f"token_invalid {reason}"
    assert not verifier().proves


def test_what_is_required_must_be_there() -> None:
    """`required`: a plain token is refused. `optional`: it is a bearer token."""
    options: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("key", {"dpop": "required"}, {"dpop": "optional"}),
        ("certificate", {"certificate_bound": "required"}, {"certificate_bound": "optional"}),
    ]
    for reason, must, may in options:
        required, optional = verifier(**must), verifier(**may)
        assert verdict(token(), required) == f"token_invalid not-bound-to-{reason}"
        assert verdict(token(), optional) == "accepted"
        assert required.proves
    assert verdict(certified(), verifier(dpop="optional")) == "token_invalid bound-to-certificate"
    assert verdict(bound_token(), verifier(certificate_bound="optional")) == (
        "token_invalid bound-to-key"
    )


def test_a_late_bound_token_is_merely_late() -> None:
    """The binding is looked at before the time is."""
    assert verdict(bound_token(exp=1), verifier(dpop="required")) == "token_expired exp"
    assert verdict(bound_token(exp=1)) == "token_invalid bound-to-key"


@pytest.mark.parametrize("option", ["optional", "required"])
async def test_a_token_bound_to_a_key(option: str) -> None:
    """Each request needs its own proof, also when the identity is known; as a bearer token it is good for nobody."""
    door, text = Door(verifier(dpop=option)), bound_token()
    assert await door.ask(*dpop(text)) == "dpop-missing"
    used = proof(text)
    assert await door.ask(*dpop(text, used)) == "alice"
    assert await door.ask(*dpop(text, proof(text))) == "alice"
    assert door.cache.hits >= 1
    assert await door.ask(*dpop(text, used)) == "dpop-replayed"
    assert await door.ask(*dpop(text)) == "dpop-missing"
    assert await door.ask(bearer(text)) == "dpop-scheme"
    assert await door.ask(bearer(text), ("DPoP", proof(text))) == "dpop-scheme"
    assert await door.ask(*dpop(text, proof(text)), method="PUT") == "dpop-htm"
    assert await door.ask(*dpop(text, proof(text)), now=NOW + 100) == "dpop-iat"
    other = bound_token(jti="other")
    assert await door.ask(*dpop(other, proof(text))) == "dpop-ath"
    assert await door.ask(*dpop(text, proof(text, number=8))) == "dpop-other-key"


async def test_the_scheme_dpop_is_for_bound_tokens() -> None:
    """RFC 9449 section 7.1: a plain token with any proof at all is refused there, and good as what it is."""
    door, plain = Door(verifier(dpop="optional")), token()
    assert await door.ask(*dpop(plain, proof(plain))) == "dpop-scheme"
    assert await door.ask(bearer(plain)) == "alice"
    assert await door.ask(*dpop(plain, proof(plain))) == "dpop-scheme"


async def test_without_the_option_the_scheme_is_not_read() -> None:
    """It is one that the route does not know."""
    text = bound_token()
    assert await Door(verifier()).ask(*dpop(text, proof(text))) == "no-credentials"


@pytest.mark.parametrize("option", ["optional", "required"])
async def test_a_token_bound_to_a_certificate(option: str) -> None:
    """It is looked at on each request: the same token from another connection is refused, though it is known."""
    door, text = Door(verifier(certificate_bound=option)), certified()
    assert await door.ask(bearer(text), certificate=CERTIFICATE) == "alice"
    assert await door.ask(bearer(text), certificate=CERTIFICATE) == "alice"
    assert await door.ask(bearer(text)) == "no-certificate"
    assert await door.ask(bearer(text), certificate=OTHERS) == "other-certificate"
    header = ("Client-Cert", ":" + base64.b64encode(CERTIFICATE).decode() + ":")
    assert await door.ask(bearer(text), header) == "no-certificate"


async def test_a_token_bound_to_both() -> None:
    """Neither is enough."""
    both = verifier(dpop="required", certificate_bound="required")
    text = bound_token()
    assert await Door(both).ask(*dpop(text, proof(text))) == "not-bound-to-certificate"
    text, door = certified(jkt=thumbprint_of(jwk_of())), Door(both)
    assert await door.ask(*dpop(text, proof(text)), certificate=CERTIFICATE) == "alice"
    assert await door.ask(*dpop(text, proof(text))) == "no-certificate"
    assert await door.ask(*dpop(text), certificate=CERTIFICATE) == "dpop-missing"


async def test_memory_is_not_asked_where_a_request_must_prove_something() -> None:
    """`recall` answers for authenticators without bindings alone, and no bound identity is ever kept for those."""
    shown = Presentation(CIMultiDict([bearer(token())]))
    for judge, remembered in ((verifier(), True), (verifier(dpop="optional"), False)):
        cache = IdentityCache()
        door = Authentication([judge], cache, Revocations())
        await door.authenticate(shown, NOW, lambda: None)
        assert (door.recall(shown, NOW, {}) is not None) is remembered
    cache = IdentityCache()
    bound = Authentication([verifier(certificate_bound="optional")], cache, Revocations())
    plain = Authentication([verifier()], cache, Revocations())
    shown = Presentation(CIMultiDict([bearer(certified())]), CERTIFICATE)
    await bound.authenticate(shown, NOW, lambda: None)
    assert plain.recall(shown, NOW, {}) is None
    with pytest.raises(Refusal, match="bound-to-certificate"):
        await plain.authenticate(shown, NOW, lambda: None)


async def test_the_challenges_of_a_route_with_proofs() -> None:
    """RFC 9449 section 7.1: what is read, with the algorithms of proofs; a bad proof is told apart from a bad token."""
    door = Door(verifier(dpop="optional"))
    shown = Presentation(CIMultiDict())
    with pytest.raises(Refusal) as missing:
        await door.authentication.authenticate(shown, NOW, lambda: None)
    kinds = [value for _, value in missing.value.headers]
    assert kinds[0] == 'Bearer realm="authproxy"'
    assert kinds[1].startswith('DPoP realm="authproxy", algs="RS256 ')
    assert "error" not in kinds[1]
    text = bound_token(aud="x")
    for fields, error in (
        (dpop(text), "invalid_token"),
        (dpop(bound_token()), "invalid_dpop_proof"),
    ):
        with pytest.raises(Refusal) as bad:
            await door.authentication.authenticate(
                Presentation(CIMultiDict(fields)), NOW, lambda: None
            )
        assert f'error="{error}"' in bad.value.headers[-1][1]


def test_the_backend_gets_no_proof() -> None:
    """What an authenticator reads as a proof is kept back like the credential itself."""
    cache = IdentityCache()
    assert Authentication([verifier(dpop="optional")], cache, Revocations()).credential_headers == {
        b"authorization", b"dpop",
    }  # fmt: skip
    assert Authentication([verifier()], cache, Revocations()).credential_headers == {
        b"authorization"
    }


def test_what_a_token_is_bound_to_in_words() -> None:
    """For `token verify`."""
    assert bound_to({}) == []
    assert bound_to({"cnf": {"jkt": "k" * 43}})[0].startswith("the key kkk")
    assert bound_to({"cnf": {"x5t#S256": "c" * 43}})[0].startswith("the client certificate")

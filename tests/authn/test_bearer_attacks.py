"""JwtVerifier under attack: the classes of facts/security.md 63-86 that a token can carry, and fuzzing."""

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from authproxy.authn.authenticator import Credential
from authproxy.authn.issue import public_jwks
from authproxy.model.errors import Refusal
from tests.authn.tokens import (
    CLAIMS,
    ISSUER,
    NOW,
    base64url,
    key_for,
    payload_with,
    sign,
    signed_payload,
    token,
    verdict,
    verifier,
)

GOOD = token()


@pytest.mark.parametrize(
    "name", ["none", "None", "nOnE", "NONE", "", "HS256", "RS384", "rs256", "RS256 "]
)
def test_an_algorithm_that_is_not_configured_is_refused(name: str) -> None:
    """Facts 63: `none` in any spelling, with and without a signature, and anything else that the list does not name."""
    for text in (token(header={"alg": name}), token(header={"alg": name}).rpartition(".")[0] + "."):
        assert verdict(text) == "token_invalid algorithm"


def public_serializations() -> list[bytes]:
    """The public key in every form that somebody might take for a secret."""
    public = load_pem_private_key(key_for("RS256"), None).public_key()
    pairs = [
        (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        (Encoding.PEM, PublicFormat.PKCS1),
        (Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        (Encoding.DER, PublicFormat.PKCS1),
        (Encoding.OpenSSH, PublicFormat.OpenSSH),
    ]
    forms = [public.public_bytes(encoding, form) for encoding, form in pairs]
    jwks = public_jwks([key_for("RS256")])
    return [
        *forms,
        forms[0].strip(),
        json.dumps(jwks).encode(),
        json.dumps(jwks["keys"][0]).encode(),
    ]


@pytest.mark.parametrize("number", range(8))
def test_the_public_key_is_no_secret(number: int) -> None:
    """CVE-2022-29217, CVE-2026-48526: HS256 over any form of the public key does not verify."""
    secret = public_serializations()[number]
    text = token(algorithm="HS256", pem=secret)
    assert verdict(text) == "token_invalid algorithm"
    assert (
        verdict(token(header={"alg": "RS256"}, algorithm="HS256", pem=secret))
        == "token_invalid signature"
    )


@pytest.mark.parametrize("value", [["x"], [], "b64", ["exp"], ["alg"], ["b64"], None])
def test_critical_extensions_are_refused(value: object) -> None:
    """CVE-2026-32597: nothing is understood as critical, whatever `crit` says and however well it is signed."""
    assert verdict(token(header={"crit": value, "x": 1})) == "token_invalid header"


@pytest.mark.parametrize(
    "member", [{"b64": False}, {"b64": True}, {"zip": "DEF"}, {"enc": "A128GCM"}]
)
def test_what_changes_the_payload_is_refused(member: dict[str, Any]) -> None:
    """RFC 7797 and JWE members have no place in a token here (facts 67, 69)."""
    assert verdict(token(header=member)) == "token_invalid header"


@pytest.mark.parametrize("kid", ["x" * 257, 7, None, True, ["a"], {}])
def test_a_kid_is_a_short_text(kid: object) -> None:
    """Facts 70: anything else is refused before a key is looked for."""
    assert verdict(token(header={"kid": kid})) == "token_invalid kid"


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "' OR 1=1 --", "http://127.0.0.1/", "x" * 256, "", "\x00"]
)
def test_a_kid_is_only_looked_up(kid: str) -> None:
    """Facts 70: a path, a query or an address in `kid` names no key and nothing else happens."""
    assert verdict(token(header={"kid": kid})) == "token_invalid unknown-key"


def test_a_key_that_comes_with_the_token_is_ignored() -> None:
    """CVE-2018-0114: signing with one's own key and sending it along (or its address) helps nothing."""
    other = key_for("RS256", 1)
    own = public_jwks([other])["keys"][0]
    along = {
        "jwk": own,
        "jku": "http://127.0.0.1:9/",
        "x5u": "http://127.0.0.1:9/",
        "x5c": ["AAAA"],
    }
    assert verdict(token(header=along, pem=other)) == "token_invalid signature"
    assert verdict(token(header=along)) == "accepted"


@pytest.mark.parametrize(
    "issuer",
    [
        "https://issuer.tes",
        "https://issuer.test/",
        "HTTPS://issuer.test",
        "",
        None,
        1,
        [ISSUER],
        {"iss": ISSUER},
    ],
)
def test_another_issuer_is_not_mine(issuer: object) -> None:
    """GHSA-75c5-xw7c-p5pm: only exactly our issuer makes a token ours; a prefix, a list or a slash does not."""
    assert verdict(token({"iss": issuer})) == "not-mine"
    assert verdict(token(without="iss")) == "not-mine"


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
def test_a_psychic_signature_is_refused(algorithm: str) -> None:
    """CVE-2022-21449: r and s of zero, or of the order's size, sign nothing."""
    size = {"ES256": 64, "ES384": 96, "ES512": 132}[algorithm]
    signed = token(algorithm=algorithm).rpartition(".")[0]
    for signature in (b"\0" * size, b"\xff" * size, b"", b"\0", encode_dss_signature(1, 1)):
        assert (
            verdict(f"{signed}.{base64url(signature)}", verifier(algorithm))
            == "token_invalid signature"
        )


def test_an_ecdsa_signature_in_der_is_refused() -> None:
    """RFC 7518 section 3.4: R and S side by side are the one form."""
    signed, _, signature = token(algorithm="ES256").rpartition(".")
    raw = jwt.utils.base64url_decode(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert verdict(f"{signed}.{base64url(der)}", verifier("ES256")) == "token_invalid signature"


def test_every_twin_of_a_token_is_refused() -> None:
    """Facts 85: of the 64 last characters, paddings and blanks only the canonical spelling verifies."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twins = [GOOD[:-1] + character for character in alphabet if character != GOOD[-1]]
    twins += [
        GOOD + "=",
        GOOD + "==",
        GOOD + " ",
        " " + GOOD,
        GOOD + "\n",
        GOOD + ".",
        GOOD.replace(".", "=.", 1),
    ]
    assert all(verdict(twin) != "accepted" for twin in twins)


def test_a_signature_is_over_this_header_and_payload() -> None:
    """The parts of two good tokens make no third."""
    one, two = GOOD.split("."), token({"sub": "bob"}).split(".")
    assert verdict(".".join([one[0], two[1], one[2]])) == "token_invalid signature"
    assert (
        verdict(".".join([base64url(b'{"alg":"RS256" }'), one[1], one[2]]))
        == "token_invalid signature"
    )


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"none","alg":"RS256"}',
        b'{"alg":"RS256","alg":"none"}',
        b'{"alg":"RS256","a":{"b":1,"b":1}}',
    ],
)
def test_a_header_with_a_name_twice_is_refused(header: bytes) -> None:
    """Facts 79: no two readers may see two algorithms."""
    assert verdict(sign(header, CLAIMS)) == "token_invalid duplicate-name"


@pytest.mark.parametrize(
    "text",
    [b'"sub":"bob"', b'"iss":"https://issuer.test"', b'"x":{"y":1,"y":2}', b'"\\u0073ub":"bob"'],
)
def test_claims_with_a_name_twice_are_refused(text: bytes) -> None:
    """Facts 79, house.md section 4: PyJWT takes the last one, a backend may take the first."""
    assert verdict(signed_payload(payload_with(text))) == "token_invalid duplicate-name"


def test_two_issuers_in_one_token_are_refused_by_both() -> None:
    """Whichever `iss` a reader sees first, the token is taken by nobody."""
    text = signed_payload(b'{"iss":"https://other.test",' + json.dumps(CLAIMS).encode()[1:])
    assert verdict(text) == "token_invalid duplicate-name"
    assert verdict(text, verifier(issuer="https://other.test")) == "not-mine"


def test_a_junk_token_costs_little() -> None:
    """Facts 68: 10,000 dots or 8 KB that look like a token are refused in well under a millisecond."""
    started = time.process_time()
    for junk in ("." * 8192, "A" * 8192, f"{'A' * 4000}.{'A' * 4000}.AA"):
        for _ in range(100):
            assert verdict(junk) == "not-mine"
    assert (time.process_time() - started) / 300 < 0.001


@given(
    st.one_of(
        st.text(), st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){2}", fullmatch=True)
    )
)
def test_any_text_gives_a_verdict(text: str) -> None:
    """Whatever is presented as a token, there is an answer and no other exception."""
    assert verdict(text) == "not-mine"


@given(
    header=st.binary(max_size=60), payload=st.binary(max_size=60), signature=st.binary(max_size=60)
)
def test_any_three_segments_give_a_verdict(header: bytes, payload: bytes, signature: bytes) -> None:
    """Base64 of anything is judged as well, and taken by nobody."""
    assert verdict(".".join(map(base64url, (header, payload, signature)))) == "not-mine"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
claim_names = st.sampled_from(
    ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "groups", "scope", "email", "name", "x"]
)


@given(
    claims=st.dictionaries(claim_names, json_values, max_size=4),
    header=st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "zip", "jwk", "cty"]),
        json_values,
        max_size=2,
    ),
)
def test_any_signed_json_gives_a_verdict(claims: dict[str, Any], header: dict[str, Any]) -> None:
    """Claims and headers of every type end in an identity or a refusal, also when the issuer signed them."""
    merged = {"alg": "HS256", **header}
    text = sign(merged, {**CLAIMS, **claims}, "HS256")
    assert verdict(text, verifier("HS256")).split()[0] in {
        "accepted",
        "not-mine",
        "token_invalid",
        "token_expired",
    }


@given(st.data())
def test_no_mutation_of_a_good_token_is_accepted(data: st.DataObject) -> None:
    """Any other text than the one that was signed is refused."""
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(len(GOOD), start + 4)))
    middle = data.draw(st.text("ABab01-_=.+/ \n", max_size=4))
    mutated = GOOD[:start] + middle + GOOD[end:]
    assert (verdict(mutated) == "accepted") == (mutated == GOOD)


@given(
    claims=st.dictionaries(claim_names, json_values, max_size=3),
    offset=st.sampled_from([-9000, 9000]),
)
def test_what_is_accepted_jwt_decode_accepts_too(claims: dict[str, Any], offset: int) -> None:
    """The differential test: never laxer than `jwt.decode` with all that it can require (a null `jti` is none to us)."""
    now = time.time()
    claims = {name: value for name, value in claims.items() if (name, value) != ("jti", None)}
    text = sign({"alg": "HS256"}, {**CLAIMS, "exp": now + offset, **claims}, "HS256")
    if verdict(text, verifier("HS256"), now) == "accepted":
        jwt.decode(
            text, key_for("HS256"), algorithms=["HS256"], audience=["api"], issuer=ISSUER, leeway=30,
            options={"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True},
        )  # fmt: skip


def test_a_refusal_tells_nothing_of_the_token() -> None:
    """CVE-2022-29266: reasons are constant words, and no exception of a library hangs on them."""
    with pytest.raises(Refusal) as caught:
        verifier().verify(Credential(token({"sub": "secret\n", "aud": "api"})), NOW)
    assert (caught.value.args, caught.value.__cause__) == (("token_invalid", "claim"), None)

"""Forged, bent and stolen tokens against the running server (facts 63-86): each is refused with the same words."""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from tests.end_to_end.credentials import Issuer, b64
from tests.hostile.attack import Answer, Case
from tests.hostile.conftest import Target

HEAD = b"GET /ok/@@ HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer %b\r\n\r\n"


def ask(
    target: Target, tokens: dict[str, str | bytes], code: str = "token_invalid"
) -> list[Answer]:
    """Present each token; all must be refused as this, in words that do not differ but for the request's id."""
    raw = {n: t if isinstance(t, bytes) else t.encode("latin-1") for n, t in tokens.items()}
    cases = [Case(name, HEAD % token, "refused", code) for name, token in raw.items()]
    answers = [outcome.answers[0] for outcome in target.hold(cases)]
    bodies = []
    for answer in answers:
        document = json.loads(answer.body)
        document.pop("request_id")
        bodies.append(document)
        assert answer.value("www-authenticate").startswith("Bearer")
    assert all(document == bodies[0] for document in bodies)
    return answers


def hs256(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """A token whose signature is an HMAC with this secret."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def serializations(issuer: Issuer) -> dict[str, bytes]:
    """The public key in every form in which a library might take it for a secret."""
    key, encoding, form = (
        issuer.rsa.public_key(),
        serialization.Encoding,
        serialization.PublicFormat,
    )
    forms = {
        "spki pem": key.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo),
        "pkcs1 pem": key.public_bytes(encoding.PEM, form.PKCS1),
        "spki der": key.public_bytes(encoding.DER, form.SubjectPublicKeyInfo),
        "pkcs1 der": key.public_bytes(encoding.DER, form.PKCS1),
        "ssh": key.public_bytes(encoding.OpenSSH, form.OpenSSH),
        "modulus": key.public_numbers().n.to_bytes(256, "big"),
        "empty": b"",
    }
    jwk, jwks = issuer.jwks()["keys"][0], issuer.jwks()
    for name, document in (("jwk", jwk), ("jwks", jwks)):
        forms[name] = json.dumps(document).encode()
        forms[f"{name} compact"] = json.dumps(document, separators=(",", ":")).encode()
        forms[f"{name} sorted"] = json.dumps(document, sort_keys=True).encode()
    stripped = {f"{name} stripped": value.strip() for name, value in forms.items()}
    return {
        **forms,
        **stripped,
        **{f"{name} nl": value + b"\n" for name, value in stripped.items()},
    }


def test_an_unsigned_token_is_no_token(target: Target) -> None:
    """`alg: none` is refused however it is spelled, with and without a signature (CVE-2015-9235)."""
    good = target.issuer.token().split(".")
    tokens: dict[str, str | bytes] = {}
    for alg in (
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        " none",
        "none ",
        "null",
        "NULL",
        "\u0000",
        "non\u0435",
    ):
        for signature in ("", good[2], b64(b"x")):
            head = b64(json.dumps({"alg": alg, "typ": "JWT", "kid": "rsa"}).encode())
            tokens[f"{alg!r} {signature[:4]}"] = f"{head}.{good[1]}.{signature}"
    algorithms: tuple[Any, ...] = (
        None,
        True,
        0,
        [],
        ["RS256"],
        {},
        "RS256\n",
        "rs256",
        "RS512",
        "ES384",
        "PS256",
        "HS256",
    )
    for odd in algorithms:
        head = b64(json.dumps({"alg": odd, "kid": "rsa"}).encode())
        tokens[f"alg {odd!r}"] = f"{head}.{good[1]}.{good[2]}"
    tokens["no alg"] = f"{b64(b'{}')}.{good[1]}.{good[2]}"
    ask(target, tokens)


def test_a_public_key_is_no_secret(target: Target) -> None:
    """An HMAC made with any serialization of the public key is refused (CVE-2022-29217, CVE-2026-48526)."""
    tokens: dict[str, str | bytes] = {}
    for name, secret in serializations(target.issuer).items():
        for header in (
            {"alg": "HS256", "kid": "rsa"},
            {"alg": "HS256"},
            {"alg": "RS256", "kid": "rsa"},
        ):
            tokens[f"{name} {header}"] = hs256(header, target.issuer.claims(), secret)
    ask(target, tokens)


def test_a_key_that_the_token_brings_is_not_used(target: Target) -> None:
    """Tokens that bring or point at their own key are refused, and nothing is ever fetched (CVE-2018-0114)."""
    own, contacted = Issuer(), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        port = listener.getsockname()[1]

        def wait() -> None:
            try:
                listener.accept()[0].close()
                contacted.append(True)
            except TimeoutError:
                pass

        waiting = threading.Thread(target=wait)
        waiting.start()
        url, jwk = f"http://127.0.0.1:{port}/jwks.json", own.jwks()["keys"][0]
        brings: list[dict[str, Any]] = [
            {"jwk": jwk}, {"jku": url}, {"x5u": url}, {"x5c": ["MIIB"]}, {"jwk": jwk, "jku": url, "x5u": url}, {"kid": url},
            {"x5t": "x", "x5u": f"file://127.0.0.1:{port}/"}, {"jwk": {**jwk, "kid": "rsa"}, "kid": "rsa"}, {"jku": url, "kid": "rsa"},
        ]  # fmt: skip
        tokens: dict[str, str | bytes] = {}
        for header in brings:
            tokens[f"own {header}"] = own.sign({"alg": "RS256", **header}, target.issuer.claims())
        tokens["own key"] = own.token()
        ask(target, tokens)
        waiting.join()
    assert contacted == []


def test_a_kid_is_only_a_name(target: Target) -> None:
    """A `kid` opens no file, runs no query and is no other type than text (facts 70)."""
    kids: list[Any] = ["../../../../dev/null", "/etc/passwd", "rsa\x00", "' OR 1=1 --", "http://127.0.0.1/", "x" * 5000, "", "RSA", "rsa ", 1, 0, None, True, [], ["rsa"], {"kid": "rsa"}, 1.5, "\u0000", "ec", "../jwks.json", "|id", "%2e%2e", "rsa\n", "é" * 300]  # fmt: skip
    claims = target.issuer.claims()
    tokens: dict[str, str | bytes] = {
        f"{kid!r:.40}": target.issuer.sign({"alg": "RS256", "kid": kid}, claims) for kid in kids
    }
    tokens["null device"] = hs256({"alg": "HS256", "kid": "../../../../dev/null"}, claims, b"")
    ask(target, tokens)


def test_headers_that_must_be_understood_are_not_ignored(target: Target) -> None:
    """`crit`, `b64: false`, `zip` and encryption are refused, although the signature is right (CVE-2026-32597)."""
    issuer, claims = target.issuer, target.issuer.claims()
    heads: list[dict[str, Any]] = [
        {"crit": ["x"], "x": 1}, {"crit": []}, {"crit": "b64"}, {"crit": ["alg"]}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"b64": True, "crit": ["b64"]}, {"crit": None},
        {"crit": ["exp"], "exp": 1}, {"zip": "DEF"}, {"enc": "A256GCM"}, {"crit": [1]}, {"crit": ["kid", "kid"]}, {"crit": {}},
    ]  # fmt: skip
    tokens: dict[str, str | bytes] = {
        f"{h}": issuer.sign({"alg": "RS256", "kid": "rsa", **h}, claims) for h in heads
    }
    jwe = b64(
        b'{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":2147483647,"p2s":"eA","zip":"DEF"}'
    )
    tokens["jwe"] = f"{jwe}.AAAA.AAAA.AAAA.AAAA"
    direct = b64(b'{"alg":"dir","enc":"A256GCM"}')
    tokens["jwe dir"] = f"{direct}..AAAA.AAAA.AAAA"
    types: list[Any] = ["logout+jwt", "dpop+jwt", "authproxy-assertion+jwt", "secevent+jwt", 5, []]
    for typ in types:
        tokens[f"typ {typ}"] = issuer.sign({"alg": "RS256", "kid": "rsa", "typ": typ}, claims)
    ask(target, tokens)


def test_a_name_said_twice_is_refused(target: Target) -> None:
    """Duplicate JSON names are read in one way by us and in another by others, so they are refused (facts 79)."""
    issuer, claims = target.issuer, json.dumps(target.issuer.claims()).encode()
    head = b'{"alg":"RS256","kid":"rsa"}'
    more = claims[:-1]
    payloads = [
        more + b',"sub":"root"}',
        b'{"sub":"root",' + claims[1:],
        more + b',"exp":99999999999}',
        more + b',"aud":"api"}',
        more + b',"groups":["a"],"groups":["nobody"]}',
        more + b',"x":{"y":1,"y":2}}',
        more + b',"\\u0073ub":"root"}',
    ]
    tokens: dict[str, str | bytes] = {f"{p[-40:]!r}": issuer.sign(head, p) for p in payloads}
    for twice in (
        b'{"alg":"none","alg":"RS256","kid":"rsa"}',
        b'{"alg":"RS256","kid":"rsa","alg":"none"}',
        b'{"alg":"RS256","kid":"x","kid":"rsa"}',
    ):
        tokens[f"{twice!r}"] = issuer.sign(twice, claims)
    ask(target, tokens)


def test_claims_have_one_type(target: Target) -> None:
    """Times are numbers that make sense, names are text, audiences and issuers are compared whole (facts 75, 76, 80)."""
    issuer = target.issuer
    now = int(time.time())
    odd: list[dict[str, Any]] = [
        {"exp": None}, {"exp": "x"}, {"exp": str(now + 60)}, {"exp": True}, {"exp": []}, {"exp": {}}, {"exp": float("nan")}, {"exp": float("inf")}, {"exp": 10**400},
        {"nbf": now + 3600}, {"nbf": "x"}, {"nbf": True}, {"nbf": float("inf")}, {"iat": "x"}, {"iat": True}, {"iat": now + 86400}, {"iat": [now]},
        {"sub": None}, {"sub": ""}, {"sub": 1}, {"sub": ["alice"]}, {"sub": {"x": 1}}, {"sub": True}, {"sub": "a\nb"}, {"sub": "a\x00"}, {"sub": "a\x7fb"}, {"email": "a\r\nX-Forwarded-User: evil"}, {"groups": ["a\nb"]},
        {"aud": None}, {"aud": ""}, {"aud": []}, {"aud": "ap"}, {"aud": "apis"}, {"aud": "API"}, {"aud": "api "}, {"aud": 1}, {"aud": True}, {"aud": {"api": 1}}, {"aud": ["x", "y"]}, {"aud": [["api"]]}, {"aud": "x,api"}, {"aud": ["x", 1]},
        {"sub": "a" * 9000},
    ]  # fmt: skip
    tokens: dict[str, str | bytes] = {}
    for claims in odd:
        tokens[f"{claims!r:.60}"] = issuer.sign(
            {"alg": "RS256", "kid": "rsa"}, issuer.claims(**claims)
        )
    issuers = [
        "https://issuer.tes",
        "https://issuer.test/",
        "https://issuer.test.evil",
        "HTTPS://issuer.test",
        "",
        "issuer.test",
        " https://issuer.test",
        ["https://issuer.test"],
        1,
        None,
        True,
        {"https://issuer.test": 1},
    ]
    for iss in issuers:
        tokens[f"iss {iss!r}"] = issuer.sign({"alg": "RS256", "kid": "rsa"}, issuer.claims(iss=iss))
    for text in (
        b"[]",
        b'"x"',
        b"1",
        b"null",
        b"",
        b"{",
        b"\xff",
        b'{"sub":"\xff"}',
        b"{}" * 2,
        b"{}x",
        b"\xef\xbb\xbf{}",
        b'{"exp":' + b"1" * 5000 + b"}",
        b"[" * 5000,
    ):
        tokens[f"payload {text[:20]!r}"] = issuer.sign({"alg": "RS256", "kid": "rsa"}, text)
        tokens[f"header {text[:20]!r}"] = issuer.sign(text, issuer.claims())
    ask(target, {name: token for name, token in tokens.items() if len(token) < 30_000})


def test_an_expired_token_says_so(target: Target) -> None:
    """A token that is good but for its time is `token_expired`; one whose signature is bad as well is not."""
    issuer, now = target.issuer, int(time.time())
    ask(
        target,
        {f"{ago}": issuer.token(exp=now - ago, iat=now - ago - 60) for ago in (35, 3600, 10**9)},
        "token_expired",
    )
    old = issuer.token(exp=now - 3600)
    ask(
        target,
        {
            "expired and forged": old[:-8] + "AAAAAAAA",
            "expired by another": Issuer().token(exp=now - 3600),
        },
    )


def test_signatures_have_one_spelling(target: Target) -> None:
    """A signature is refused with one bit, one padding or one alphabet changed, and so are those that sign nothing (CVE-2022-21449)."""
    issuer = target.issuer
    head, payload, signature = issuer.token().split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    signed = f"{head}.{payload}"
    last = {"A": "B", "Q": "R", "g": "h", "w": "x"}[signature[-1]]
    tokens: dict[str, str | bytes] = {
        "twin of the last letter": f"{signed}.{signature[:-1]}{last}",
        "padded": f"{signed}.{signature}==", "padded once": f"{signed}.{signature}=", "newline": f"{signed}.{signature[:9]}%0a{signature[9:]}",
        "space": f"{signed}.{signature[:9]} {signature[9:]}", "plain alphabet": f"{signed}.{base64.b64encode(raw).decode()}", "cut": f"{signed}.{signature[:-4]}",
        "longer": f"{signed}.{signature}AAAA", "zeros": f"{signed}.{b64(bytes(256))}", "ones": f"{signed}.{b64(bytes([255]) * 256)}", "nothing": f"{signed}.",
        "two parts": signed, "four parts": f"{signed}.{signature}.x", "dots": "." * 7000, "no dots": "x" * 100, "only dots": "..", "another payload": f"{head}.{b64(b'{}')}.{signature}",
        "swapped": f"{payload}.{head}.{signature}", "head padded": f"{head}=.{payload}.{signature}", "payload padded": f"{head}.{payload}=.{signature}",
    }  # fmt: skip
    for bit in range(0, 256 * 8, 97):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << (bit % 8)
        tokens[f"bit {bit}"] = f"{signed}.{b64(bytes(flipped))}"
    es_head = b64(b'{"alg":"ES256","kid":"ec"}')
    es = f"{es_head}.{payload}"
    psychic = {
        "zeros": bytes(64),
        "one zero": bytes(63) + b"\x01",
        "der": bytes.fromhex("3006020100020100"),
        "empty": b"",
        "63": bytes(63),
        "65": bytes(65),
        "n": bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551") * 2,
    }
    tokens |= {f"psychic {name}": f"{es}.{b64(value)}" for name, value in psychic.items()}
    der = issuer.ec.sign(es.encode(), ec.ECDSA(SHA256()))
    tokens["der instead of r and s"] = f"{es}.{b64(der)}"
    ask(target, tokens)


def test_keys_verify_only_their_own_algorithm(target: Target) -> None:
    """A key is bound to its algorithm: RS256's key takes no PS256 and no RS512, and the EC key no RS256 (facts 65)."""
    issuer, claims = target.issuer, target.issuer.claims()
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    made: dict[str, str | bytes] = {}
    for alg in ("RS384", "RS512", "PS256", "PS384", "PS512"):
        made[alg] = jwt.encode(claims, issuer.rsa, alg, headers={"kid": "rsa"})
    made["EC key by RSA's name"] = jwt.encode(claims, issuer.ec, "ES256", headers={"kid": "rsa"})
    made["RSA key by EC's name"] = jwt.encode(claims, issuer.rsa, "RS256", headers={"kid": "ec"})
    made["another RSA key"] = jwt.encode(claims, other, "RS256", headers={"kid": "rsa"})
    ask(target, made)


def test_large_tokens_are_refused_unread(target: Target) -> None:
    """A token over `token_bytes` is refused before it is decoded; 8 MiB never get past the head's bound (CVE-2025-61920)."""
    ask(
        target,
        {"9 KiB": target.issuer.token(x="y" * 6900), "dots": "." * 9000, "letters": "a" * 20_000},
    )
    huge = HEAD % (b"a." * (4 << 20))
    target.hold([Case("8 MiB", huge, "refused", "headers_too_large")])


@pytest.fixture
def good(target: Target) -> dict[str, str]:
    """Tokens that are in order, so that the refusals above are not for another reason."""
    issuer = target.issuer
    ec_token = jwt.encode(issuer.claims(), issuer.ec, "ES256", headers={"kid": "ec"})
    many = issuer.token(aud=["x", "api"])
    late = issuer.token(exp=int(time.time()) - 10)  # within the leeway
    plain = issuer.sign({"alg": "RS256", "kid": "rsa"}, issuer.claims())
    typed = issuer.sign({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"}, issuer.claims())
    return {
        "RS256": issuer.token(),
        "ES256": ec_token,
        "audiences": many,
        "leeway": late,
        "plain": plain,
        "typed": typed,
    }


def test_what_is_in_order_passes(target: Target, good: dict[str, str]) -> None:
    """The tokens that all others here are bent from open the route."""
    target.hold([Case(name, HEAD % token.encode(), "forwarded") for name, token in good.items()])

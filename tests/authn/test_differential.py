"""Our reader of tokens beside two others, joserfc and jwcrypto: what we accept, they accept, and read the same claims.

A good token is changed in its bytes, its segments, its header or its signature, thousands of times over. That we refuse
more than they do is meant; that we would accept alone what they refuse would be a hole.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws as joserfc_jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet as JoserfcKeys
from jwcrypto.common import JWException
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from authproxy.authn.authenticator import Credential
from authproxy.authn.bearer import JwtVerifier
from authproxy.authn.issue import public_jwks
from authproxy.authn.jwk import algorithm_named
from authproxy.model.errors import Refusal
from tests.authn.tokens import CLAIMS, NOW, as_json, base64url, key_for, private_key, sign, verifier

# RFC 9864 gives EdDSA two sharper names; tokens have the old one all the same.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
JUNK = BASE64URL + "+/=. \n\x00é~"
HEADERS: list[dict[str, Any]] = [
    {"alg": "none"}, {"alg": "NONE"}, {"alg": "HS256"}, {"alg": "rs256"}, {"alg": ["RS256"]}, {"alg": ""}, {"alg": None},
    {"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False}, {"zip": "DEF"}, {"jwk": {"kty": "oct", "k": "AA"}},
    {"jku": "https://evil.test"}, {"x5u": "https://evil.test"}, {"kid": "../../dev/null"}, {"kid": 1}, {"typ": "x"},
    {"typ": "at+jwt"}, {"cty": "JWT"}, {"enc": "A128GCM"}, {"x": {"y": [1, 2.5, None, "é"]}},
]  # fmt: skip
PAYLOADS: list[dict[str, Any]] = [
    {"exp": 1}, {"exp": "9999999999"}, {"exp": True}, {"aud": ["api"]}, {"aud": "apiapi"}, {"iss": "https://issuer.test/"},
    {"sub": 1}, {"sub": "bob"}, {"nbf": NOW + 100}, {"iat": NOW + 1e6}, {"groups": ["a"]}, {"x": 1e308}, {"x": "\ud800"},
]  # fmt: skip

Pieces = list[str]
Mutation = Callable[[random.Random, str, str], str]


def _pieces(text: str) -> Pieces:
    return text.split(".")


def flipped(rng: random.Random, _algorithm: str, text: str) -> str:
    """Some characters are others."""
    letters = list(text)
    for _ in range(rng.randint(1, 3)):
        letters[rng.randrange(len(letters))] = rng.choice(JUNK)
    return "".join(letters)


def inserted(rng: random.Random, _algorithm: str, text: str) -> str:
    """Something stands in between, or at an end."""
    at = rng.choice([0, len(text), rng.randrange(len(text))])
    return text[:at] + rng.choice(JUNK) * rng.randint(1, 3) + text[at:]


def cut(rng: random.Random, _algorithm: str, text: str) -> str:
    """Something is missing."""
    at = rng.choice([0, len(text) - 3, rng.randrange(len(text))])
    return text[:at] + text[at + rng.randint(1, 3) :]


def last_bits(rng: random.Random, _algorithm: str, text: str) -> str:
    """The last character of a segment says the same in its upper bits, and something else in the spare ones."""
    pieces = _pieces(text)
    which = rng.randrange(3)
    value = BASE64URL.index(pieces[which][-1]) if pieces[which] else 0
    pieces[which] = pieces[which][:-1] + BASE64URL[value ^ rng.randint(1, 3)]
    return ".".join(pieces)


def rearranged(rng: random.Random, _algorithm: str, text: str) -> str:
    """Segments change places, are doubled or are gone."""
    pieces = _pieces(text)
    return ".".join(rng.choice(pieces) for _ in range(rng.randint(1, 5)))


def other_header(rng: random.Random, algorithm: str, text: str) -> str:
    """Another header, with the old signature, with one of its own, or with the public key as a secret."""
    header = {"typ": "JWT", "alg": algorithm, **rng.choice(HEADERS)}
    _, payload, signature = _pieces(text)
    signed = f"{base64url(json.dumps(header).encode())}.{payload}"
    match rng.randrange(4):
        case 0:
            return f"{signed}.{signature}"
        case 1:
            return f"{signed}."
        case 2:
            key = private_key(key_for(algorithm)).public_key()
            pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            hmac = algorithm_named("HS256")
            return f"{signed}.{base64url(hmac.sign(signed.encode(), pem))}"
        case _:
            return sign(header, CLAIMS, algorithm)


def other_payload(rng: random.Random, algorithm: str, _text: str) -> str:
    """Rightly signed, by the right key or by a stranger's, over claims that may be wrong."""
    pem = key_for(algorithm, rng.randrange(2))
    return sign({"alg": algorithm}, {**CLAIMS, **rng.choice(PAYLOADS)}, algorithm, pem)


def spaced(rng: random.Random, algorithm: str, _text: str) -> str:
    """JSON as nobody writes it, rightly signed: white space, names twice, something behind it."""
    header, payload = json.dumps({"alg": algorithm}), json.dumps(CLAIMS)
    odd = rng.choice(
        [" {0} ", "\n{0}", "{0}\x00", "\ufeff{0}", "{0}{0}", "[{0}]", '{{"sub":"eve",{1}', "{0}"]
    )
    texts = [header, payload]
    which = rng.randrange(2)
    texts[which] = odd.format(texts[which], texts[which][1:])
    return sign(texts[0].encode(), texts[1].encode(), algorithm)


MUTATIONS: tuple[Mutation, ...] = (
    flipped, inserted, cut, last_bits, rearranged, other_header, other_payload, spaced,
)  # fmt: skip


class Others:
    """What the other two make of a token of one algorithm: its claims, or None where one of them refuses."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        # Members that it does not know are no error to RFC 7515 section 4 either.
        self._registry = joserfc_jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        document = public_jwks([key_for(algorithm)], [algorithm])
        self._joserfc = JoserfcKeys.import_key_set(document)  # type: ignore[arg-type]
        self._jwcrypto = JWK(**document["keys"][0])

    def claims(self, text: str) -> tuple[Any, Any]:
        """The claims as joserfc and as jwcrypto read them."""
        return self._of_joserfc(text), self._of_jwcrypto(text)

    def _of_joserfc(self, text: str) -> Any:
        try:
            found = joserfc_jws.deserialize_compact(text, self._joserfc, registry=self._registry)
            return json.loads(found.payload)
        except (JoseError, ValueError):
            return None

    def _of_jwcrypto(self, text: str) -> Any:
        try:
            token = JWS()
            token.allowed_algs = [self._algorithm]
            token.deserialize(text, self._jwcrypto)
            return json.loads(token.payload)
        except (JWException, ValueError):
            return None


def ours(judge: JwtVerifier, text: str) -> Any:
    """The claims as we read them; None where the token is refused or nobody's."""
    try:
        identity = judge.verify(Credential(text), NOW)
    except Refusal:
        return None
    return None if identity is None else dict(identity.claims)


def compare(algorithm: str, rounds: int) -> Counter[str]:
    """Judge so many mutated tokens; how many of each mutation we accepted."""
    rng = random.Random(f"{algorithm}{rounds}")  # the same tokens each time
    judge, others = verifier(algorithm), Others(algorithm)
    good = sign({"typ": "JWT", "alg": algorithm}, as_json(CLAIMS), algorithm)
    accepted: Counter[str] = Counter()
    for _ in range(rounds):
        mutation = rng.choice(MUTATIONS)
        text = mutation(rng, algorithm, good)
        claims = ours(judge, text)
        if claims is not None:
            accepted[mutation.__name__] += 1
            assert others.claims(text) == (claims, claims), text
    assert others.claims(good) == (ours(judge, good),) * 2 != (None, None)
    return accepted


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nothing_is_accepted_by_us_alone(algorithm: str) -> None:
    """Neither a mutated token nor a rightly signed one that others read otherwise."""
    accepted = compare(algorithm, 1_000)
    # Rightly signed ones among them are good: a comparison in which we refuse everything would say nothing.
    assert accepted["other_payload"] > 3
    assert accepted["last_bits"] == accepted["cut"] == accepted["inserted"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_hundred_thousand_tokens(algorithm: str) -> None:
    """The same for 100,000 tokens in all."""
    assert sum(compare(algorithm, 100_000 // len(ALGORITHMS)).values()) > 100

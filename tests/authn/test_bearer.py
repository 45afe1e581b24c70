"""JwtVerifier: each rule that a good token must keep, and what becomes of its claims."""

import json
from contextlib import suppress
from typing import Any
from unittest.mock import AsyncMock

import pytest

from authproxy.authn.authenticator import Credential, awaited
from authproxy.authn.bearer import FollowingVerifier
from authproxy.authn.issue import public_jwks
from authproxy.authn.key_source import KeySource
from authproxy.authn.keys import UNKNOWN, KeySet, load_key_set
from authproxy.authn.remote_keys import KeySetState, RemoteKeys
from authproxy.authn.slots import Presentation
from authproxy.model.errors import Refusal
from authproxy.model.headers import IdentityProfile
from authproxy.model.identity import Identity
from authproxy.state.memory import MemoryStore
from tests.authn.tokens import (
    ALGORITHMS,
    CLAIMS,
    NOW,
    as_json,
    key_for,
    keys_for,
    payload_with,
    settings,
    sign,
    signed_payload,
    token,
    verdict,
    verifier,
)

GOOD = token()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_round_trips(algorithm: str) -> None:
    """A token of every configurable algorithm is taken with the right key and refused with another."""
    good, other = token(algorithm=algorithm), key_for(algorithm, 1)
    assert verdict(good, verifier(algorithm)) == "accepted"
    forged = token(algorithm=algorithm, pem=other)
    assert verdict(forged, verifier(algorithm)) == "token_invalid signature"


def test_an_identity_holds_what_the_claims_say() -> None:
    """Everything that policies and headers need is read once, with the header bytes ready."""
    claims = {
        "groups": ["eng", "ops", "eng"], "scope": "a b", "email": "a@x.test", "preferred_username": "al", "name": "Al",
        "iat": NOW - 5, "nbf": NOW - 4,
    }  # fmt: skip
    identity = verifier().verify(Credential(token(claims)), NOW)
    assert identity == Identity(
        "tokens", "alice", ("eng", "ops"), frozenset({"a", "b"}), "a@x.test", "al", "Al", {**CLAIMS, **claims},
        NOW - 5, NOW - 4, NOW + 3600, "j-1",
        b"X-Forwarded-User: alice\r\nX-Forwarded-Email: a@x.test\r\nX-Forwarded-Groups: eng,ops\r\n"
        b"X-Forwarded-Preferred-Username: al\r\n",
    )  # fmt: skip


def test_an_identity_too_large_for_headers_has_no_header_block() -> None:
    """None tells authorization to refuse, instead of cutting a group off."""
    text = token({"groups": [f"{n:0200}" for n in range(50)]})
    identity = verifier(token_bytes=0).verify(Credential(text), NOW)
    assert identity is not None
    assert identity.header_block is None


def test_the_credential_is_known_by_its_jti_or_its_signed_part() -> None:
    """Revocation finds a token by `jti`; where that is absent, null or empty, by the hash of what was signed."""
    judge = verifier()
    named = judge.verify(Credential(GOOD), NOW)
    unnamed = [
        judge.verify(Credential(text), NOW)
        for text in (token({"jti": ""}), token({"jti": None}), token(without="jti"))
    ]
    assert named is not None
    assert named.credential_id == "j-1"
    ids = {identity.credential_id for identity in unnamed if identity is not None}
    assert len(ids) == 3
    assert all(len(known) == 64 for known in ids)


@pytest.mark.parametrize("name", [None, 1, True, ["RS256"], {"a": 1}])
def test_an_algorithm_that_is_no_text_is_refused(name: object) -> None:
    """`alg` of another type is a refusal, not an error."""
    assert verdict(token(header={"alg": name})) == "token_invalid algorithm"


def test_a_token_over_the_bound_is_refused_unread() -> None:
    """Facts 67, 68: length comes first, and the bound itself still passes."""
    judge = verifier(token_bytes=len(GOOD))
    assert verdict(GOOD, judge) == "accepted"
    assert verdict(GOOD + "A", judge) == "token_invalid too-long"
    assert verdict("\ud800" * 9000) == "token_invalid too-long"
    assert verdict(GOOD, verifier(token_bytes=0)) == "accepted"


@pytest.mark.parametrize(
    ("aud", "expected"),
    [
        ("api", "accepted"), (["x", "api"], "accepted"), (["api"], "accepted"),
        ("", "token_invalid audience"), ("ap", "token_invalid audience"), ("api ", "token_invalid audience"),
        ("API", "token_invalid audience"), ([], "token_invalid audience"), (None, "token_invalid audience"),
        (1, "token_invalid audience"), ({"api": 1}, "token_invalid audience"), (["api", 1], "token_invalid audience"),
        ([["api"]], "token_invalid audience"), (True, "token_invalid audience"),
    ],
)  # fmt: skip
def test_the_audience_is_exactly_ours(aud: object, expected: str) -> None:
    """Facts 76: only exact membership passes."""
    assert verdict(token({"aud": aud})) == expected


def test_a_token_without_audience_is_refused() -> None:
    """A token for nobody in particular is not for us."""
    assert verdict(token(without="aud")) == "token_invalid audience"


@pytest.mark.parametrize(
    "typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/jwt", "application/at+jwt"]
)
def test_the_types_of_access_tokens_pass(typ: str) -> None:
    """RFC 7515 section 4.1.9: types compare in any case, with or without `application/`."""
    assert verdict(token(header={"typ": typ})) == "accepted"


@pytest.mark.parametrize(
    "typ",
    [
        "authproxy-assertion+jwt",
        "logout+jwt",
        "dpop+jwt",
        "JWS",
        "",
        " JWT",
        "application/",
        None,
        1,
        ["JWT"],
    ],
)
def test_other_types_are_refused(typ: object) -> None:
    """Facts 78: a token of another kind is no access token, though rightly signed for the right audience."""
    assert verdict(token(header={"typ": typ})) == "token_invalid typ"


def test_a_header_without_type_passes() -> None:
    """Many issuers send none."""
    assert verdict(sign({"alg": "RS256"}, CLAIMS)) == "accepted"


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", [b"true", b'"1900000000"', b"null", b"[1]", b"{}", b"-1", b"253402300800", b"1e300"]
)
def test_a_time_is_a_sane_number(name: str, value: bytes) -> None:
    """Facts 80: a bool, a text, a negative or a time past the calendar is refused, never read kindly."""
    claims = {key: value for key, value in CLAIMS.items() if key != "exp"}
    text = (
        json.dumps(claims if name == "exp" else CLAIMS).encode()[:-1]
        + b',"'
        + name.encode()
        + b'":'
        + value
        + b"}"
    )
    assert verdict(signed_payload(text)) == f"token_invalid {name}"


@pytest.mark.parametrize(
    "value", [b"1e400", b"NaN", b"Infinity", b"-Infinity", b"9" * 5000, b"1" * 21, b"0x10", b"01"]
)
def test_a_number_that_is_none_is_refused(value: bytes) -> None:
    """Facts 80, CVE-2020-10735: what JSON or 64 bits do not know is refused without an error or a long wait."""
    text = signed_payload(payload_with(b'"level":' + value))
    assert verdict(text) in {"not-mine", "token_invalid number"}


def test_a_token_without_end_is_refused() -> None:
    """house.md section 4, PyJWT: `exp` is required."""
    assert verdict(token(without="exp")) == "token_invalid exp"


@pytest.mark.parametrize(
    ("after_exp", "expected"),
    [
        (-1, "accepted"),
        (0, "accepted"),
        (29.9, "accepted"),
        (30, "token_expired exp"),
        (9e9, "token_expired exp"),
    ],
)
def test_expiry_knows_the_leeway(after_exp: float, expected: str) -> None:
    """Facts 81: good until `exp` plus leeway, then `token_expired`."""
    assert verdict(GOOD, now=CLAIMS["exp"] + after_exp) == expected


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_from_the_future_is_refused(name: str) -> None:
    """Facts 81: beyond the leeway it is `token_invalid`, not merely early."""
    assert verdict(token({name: NOW + 30})) == "accepted"
    assert verdict(token({name: NOW + 31})) == f"token_invalid {name}"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "other"},
        {"sub": 1},
        {"groups": 1},
        {"sub": "a\n"},
        {"nbf": NOW * 3},
        {"iat": NOW * 3},
    ],
)
def test_expired_is_only_what_was_good_otherwise(changes: dict[str, Any]) -> None:
    """An expired token with any other fault is `token_invalid`."""
    assert verdict(token({**changes, "exp": NOW - 9999})).startswith("token_invalid")


def test_a_forged_expired_token_is_invalid() -> None:
    """Nobody learns from a forged token whether it would have been in time."""
    assert verdict(token({"exp": NOW - 9999}, pem=key_for("RS256", 1))) == "token_invalid signature"
    assert verdict(token({"exp": NOW - 9999})) == "token_expired exp"


@pytest.mark.parametrize(
    "claim", ["sub", "groups", "scope", "email", "preferred_username", "name", "jti"]
)
@pytest.mark.parametrize(
    "character", ["\x00", "\r", "\n", "\t", "\x1f", "\x7f", "\x80", "\x85", "\x9f"]
)
def test_a_control_character_in_an_identity_claim_is_refused(claim: str, character: str) -> None:
    """Contract section 4: it could split a header or a log line; C1 as well, which terminals obey."""
    assert verdict(token({claim: f"a{character}b"})) == "token_invalid claim"


@pytest.mark.parametrize(
    "value", ["a\nb", ["x", "y\x7f"], {"deep": {"er": ["\x85"]}}, {"k\x00": 1}]
)
def test_a_control_character_in_any_claim_is_refused(value: object) -> None:
    """Policies, CEL and `headers.set` may read any claim."""
    assert verdict(token({"note": value})) == "token_invalid claim"


def test_an_escape_that_is_no_control_character_is_allowed() -> None:
    """JSON may write any character as an escape."""
    assert verdict(token({"note": "über \u00e4 \\n / \u2028"})) == "accepted"


@pytest.mark.parametrize(
    "text", [b'"note":"\\ud800"', b'"sub2":"\\udfff\\ud800"', b'"\\udc00":1', b'"x":["\\uD83D"]']
)
def test_half_a_surrogate_pair_is_refused(text: bytes) -> None:
    """It has no UTF-8 form, so it could not be passed on or logged."""
    assert verdict(signed_payload(payload_with(text))) == "not-mine"


def test_a_whole_surrogate_pair_is_a_character() -> None:
    """JSON's way to write an emoji is allowed."""
    assert verdict(signed_payload(payload_with(b'"note":"\\ud83d\\ude00"'))) == "accepted"


@pytest.mark.parametrize(
    ("depth", "expected"),
    [(31, "accepted"), (32, "token_invalid depth"), (900, "token_invalid depth")],
)
def test_claims_are_not_too_deep(depth: int, expected: str) -> None:
    """What policies and logs walk through has an end."""
    assert verdict(signed_payload(payload_with(b'"x":' + b"[" * depth + b"]" * depth))) == expected


@pytest.mark.parametrize("subject", [None, 1, "", True, ["alice"], {"a": 1}])
def test_a_subject_is_a_text(subject: object) -> None:
    """An identity without a name of its own is none."""
    assert verdict(token({"sub": subject})).startswith("token_invalid")
    assert verdict(token(without="sub")) == "token_invalid subject"


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_pyjwt_trap_a_key_without_alg_serves_every_configured_algorithm(algorithm: str) -> None:
    """house.md section 4: PyJWT ties such a JWK to RS256, and tokens of PS256 then fail."""
    jwk = public_jwks([key_for(algorithm)])["keys"][0]
    keys = load_key_set(
        as_json({"keys": [{"kty": "RSA", "n": jwk["n"], "e": jwk["e"]}]}), [algorithm]
    )
    assert verdict(token(algorithm=algorithm), verifier(algorithm, keys=keys)) == "accepted"


def test_a_token_cannot_choose_among_the_algorithms_of_a_key() -> None:
    """RFC 8725 section 3.1: a key whose JWK says RS256 does not verify PS256, though both are configured."""
    keys = load_key_set(as_json(public_jwks([key_for("RS256")], ["RS256"])), ["RS256", "PS256"])
    judge = verifier(keys=keys, algorithms=["RS256", "PS256"])
    assert verdict(token(algorithm="RS256"), judge) == "accepted"
    assert verdict(token(algorithm="PS256"), judge) == "token_invalid unknown-key"


def test_the_fingerprint_changes_with_all_that_a_verdict_depends_on() -> None:
    """House section 2: a cached identity never outlives the settings, the keys or the profile that it was made by."""
    verifiers = [
        verifier(), verifier(name="other"), verifier(issuer="https://x.test"), verifier(audiences=["x"]),
        verifier(leeway="31s"), verifier(claims={"groups": "roles"}), verifier(token_bytes=1),
        verifier(profile="remote"), verifier(token_from=[{"cookie": "t"}]),
        verifier(keys=load_key_set(as_json(public_jwks([key_for("RS256", 1)])), ["RS256"])),
    ]  # fmt: skip
    assert len({judge.fingerprint for judge in verifiers}) == len(verifiers)
    assert verifier().fingerprint == verifier().fingerprint


def test_a_cached_identity_is_asked_for_its_time() -> None:
    """`exp` and `nbf` hold at every moment, with the same leeway as at the first."""
    judge = verifier()
    identity = judge.verify(Credential(token({"nbf": NOW - 10})), NOW)
    assert identity is not None
    moments = {NOW - 41: False, NOW - 40: True, CLAIMS["exp"] + 29: True, CLAIMS["exp"] + 30: False}
    assert {moment: judge.in_time(identity, moment) for moment in moments} == moments


async def following() -> tuple[FollowingVerifier, RemoteKeys]:
    """An authenticator that follows a key set which nobody has fetched yet."""
    chosen = settings("ES256", keys={"discovery": True})
    remote = RemoteKeys(KeySource("tokens", chosen), chosen.keys, b"")
    return FollowingVerifier(
        "tokens", chosen, remote, 8192, IdentityProfile("none").render, MemoryStore()
    ), remote


def give(remote: RemoteKeys, keys: KeySet) -> None:
    """As if they had been fetched just now."""
    remote._state = KeySetState("{}", fetched=NOW)
    remote.keys = keys


async def test_a_fingerprint_follows_the_keys() -> None:
    """Cached identities are bound to the set in force: the same object while it is, another one as soon as it is not."""
    judge, remote = await following()
    unknown = judge.fingerprint
    assert judge.fingerprint is unknown
    give(remote, keys_for("ES256"))
    first = judge.fingerprint
    assert judge.fingerprint is first
    give(remote, keys_for("ES256", 1))
    second = judge.fingerprint
    give(remote, UNKNOWN)
    assert len({unknown, first, second}) == 3
    assert judge.fingerprint == unknown


async def test_without_keys_nobody_can_tell() -> None:
    """A token of ours is then neither good nor bad; what is wrong without any key is wrong as ever."""
    judge, remote = await following()
    good = token(algorithm="ES256")
    assert verdict(good, judge) == "state_unavailable no-keys"
    assert verdict(token(algorithm="RS256"), judge) == "token_invalid algorithm"
    assert verdict(token({"iss": "https://other.test"}, algorithm="ES256"), judge) == "not-mine"
    give(remote, keys_for("ES256"))
    assert verdict(good, judge) == "accepted"
    assert verdict(good, judge, NOW + 86_400) == "state_unavailable no-keys"  # past `keep`


async def test_whom_other_keys_could_help() -> None:
    """The issuer is asked for a key that is not at hand, not for a forged signature of one that is."""
    judge, remote = await following()
    remote.seek = asked = AsyncMock(return_value=False)  # type: ignore[method-assign]  # only whether it is asked
    give(remote, keys_for("ES256"))
    kid = public_jwks([key_for("ES256")], ["ES256"])["keys"][0]["kid"]
    other = key_for("ES256", 1)
    cases = [
        (token(algorithm="ES256", pem=other, header={"kid": kid}), 0),
        (token(algorithm="ES256", pem=other, header={"kid": "other"}), 1),
        (token(algorithm="ES256", pem=other), 1),
        (token({"aud": "b"}, {"kid": kid}, "ES256"), 0),
        (token({"exp": NOW - 999}, {"kid": kid}, "ES256"), 0),
        ("junk", 0),
    ]
    for credential, expected in cases:
        asked.reset_mock()
        with suppress(Refusal):
            await awaited(judge.judge(Credential(credential), Presentation({}), NOW))  # type: ignore[arg-type]  # not looked at
        assert asked.await_count == expected, credential


async def test_what_others_were_told_meanwhile_is_as_good() -> None:
    """Keys that came between the refusal and the question are judged by, though the issuer is not asked twice."""
    judge, remote = await following()
    remote.seek = AsyncMock(return_value=False)  # type: ignore[method-assign]  # asked a moment ago
    give(remote, keys_for("ES256"))
    credential = Credential(token(algorithm="ES256", pem=key_for("ES256", 1)))
    waiting = judge.judge(credential, Presentation({}), NOW)  # type: ignore[arg-type]  # not looked at
    give(remote, keys_for("ES256", 1))
    assert isinstance(await awaited(waiting), Identity)

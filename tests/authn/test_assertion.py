"""The signed identity: what it says, to whom and for how long, and that one serves several requests."""

import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from jwt import PyJWK

from authproxy.authn import assertion
from authproxy.authn.assertion import Assertions
from authproxy.authn.keyring import read_keyring
from authproxy.model.headers import IDENTITY_BLOCK_MOST
from authproxy.model.identity import Identity
from tests.authn.tokens import pem_of, verdict

NOW = 1_800_000_000.5
KEYRING = read_keyring(pem_of("ES256", 1))
ALICE = Identity(
    "tokens", "alice", groups=("eng", "ops, too"), email="alice@a.test", expires_at=NOW + 3600,
    credential_id="j-1", claims={"sub": "alice"},
)  # fmt: skip


def assertions(ttl: float = 60.0) -> Assertions:
    return Assertions("https://proxy.test", KEYRING, ttl)


def signed(line: bytes | None) -> str:
    """The token in the field; the field must be whole."""
    assert line is not None
    name, _, value = line.partition(b": ")
    assert (name, value[-2:], value.count(b"\r")) == (b"X-Authproxy-Assertion", b"\r\n", 1)
    return value[:-2].decode()


def claims(line: bytes | None) -> dict[str, Any]:
    """What it says, the signature verified by PyJWT with the public key."""
    key = PyJWK.from_dict(dict(KEYRING.current.jwk))
    options: Any = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
    return dict(jwt.decode(signed(line), key, algorithms=["ES256"], options=options))


def test_says_who_is_calling_and_for_whom() -> None:
    """The claims of the contract and no others, under a header of its own type."""
    line = assertions().towards("orders")(ALICE, NOW)
    found = claims(line)
    assert len(found.pop("jti")) >= 16
    assert found == {
        "iss": "https://proxy.test", "aud": "orders", "sub": "alice", "authenticator": "tokens",
        "email": "alice@a.test", "groups": ["eng", "ops, too"], "iat": 1_800_000_000, "exp": 1_800_000_060,
    }  # fmt: skip
    assert jwt.get_unverified_header(signed(line)) == {
        "alg": "ES256", "typ": "authproxy-assertion+jwt", "kid": KEYRING.current.kid,
    }  # fmt: skip


def test_what_is_not_known_is_not_said() -> None:
    """No e-mail address is no claim; no groups are an empty list."""
    found = claims(assertions().towards("orders")(Identity("tokens", "bob"), NOW))
    assert "email" not in found
    assert found["groups"] == []


@pytest.mark.parametrize(("left", "life"), [(3600, 60), (8.2, 8), (0.4, 0), (-5, -5)])
def test_never_outlives_the_identity(left: float, life: int) -> None:
    """Nor where the identity is only let through by the leeway: a backend's own leeway decides then."""
    found = claims(assertions().towards("orders")(replace(ALICE, expires_at=NOW + left), NOW))
    assert found["exp"] - found["iat"] == life
    assert found["exp"] <= NOW + left


def test_one_serves_for_half_its_ttl() -> None:
    """The same identity at the same upstream gets the same one, also as another object; then a new one."""
    towards = assertions().towards("orders")
    first = towards(ALICE, NOW)
    assert towards(ALICE, NOW + 29.9) is first
    assert towards(replace(ALICE), NOW + 29.9) is first
    later = towards(ALICE, NOW + 30)
    assert later != first
    assert claims(later)["jti"] != claims(first)["jti"]
    assert towards(ALICE, NOW + 59) is later


def test_a_clock_that_was_set_back_lengthens_no_life() -> None:
    """An assertion from the future is made anew."""
    towards = assertions().towards("orders")
    first = towards(ALICE, NOW)
    again = towards(ALICE, NOW - 3600)
    assert again != first
    assert claims(again)["iat"] == int(NOW - 3600)


OTHERS = [
    replace(ALICE, subject="bob"),
    replace(ALICE, authenticator="staff"),
    replace(ALICE, credential_id="j-2"),
    replace(ALICE, groups=("eng",)),
    replace(ALICE, email=None),
    replace(ALICE, expires_at=NOW + 10),
]


@pytest.mark.parametrize("other", OTHERS)
def test_one_is_for_one_identity_and_one_upstream(other: Identity) -> None:
    """Whatever differs, a kept assertion serves nobody else: not the next caller, not the same one with fewer groups."""
    made = assertions()
    first = made.towards("orders")(ALICE, NOW)
    assert made.towards("orders")(other, NOW) != first
    elsewhere = made.towards("billing")(ALICE, NOW)
    assert claims(elsewhere)["aud"] == "billing"
    assert made.towards("orders")(other, NOW) != first


def test_names_that_join_alike_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """`a` `b/c` is not `a/b` `c`."""
    made = assertions()
    one = Identity("a", "b/c", credential_id="x")
    assert made.towards("u")(one, NOW) != made.towards("u")(Identity("a/b", "c", credential_id="x"), NOW)  # fmt: skip


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the bound the oldest are forgotten and made anew."""
    monkeypatch.setattr(assertion, "KEPT_MOST", 8)
    made = assertions()
    towards = made.towards("orders")
    first = towards(ALICE, NOW)
    for number in range(20):
        towards(replace(ALICE, credential_id=f"k-{number}"), NOW)
        assert len(made._young) + len(made._old) <= 8
    assert towards(ALICE, NOW) != first


def test_one_that_backends_would_not_take_is_none() -> None:
    """Over 8 KiB there is none; the outbound head refuses then."""
    large = replace(ALICE, groups=tuple(f"group-{n:04d}" for n in range(600)))
    assert assertions().towards("orders")(large, NOW) is None
    fits = replace(ALICE, groups=tuple(f"group-{n:04d}" for n in range(300)))
    line = assertions().towards("orders")(fits, NOW)
    assert line is not None
    assert len(line) <= IDENTITY_BLOCK_MOST


@pytest.mark.parametrize("text", ["Zoë", "日本", 'a"b\\c', " alice ", "a\u2028b", "\ud800"])
def test_any_text_arrives_as_it_is(text: str) -> None:
    """JSON carries what a header cannot: the backend reads the very subject that was verified."""
    assert claims(assertions().towards("orders")(replace(ALICE, subject=text), NOW))["sub"] == text


def test_an_assertion_is_no_token() -> None:
    """An authenticator of the same issuer and audience with the very key refuses it, by its type."""
    line = Assertions("https://issuer.test", KEYRING, 60).towards("api")(ALICE, NOW)
    assert verdict(signed(line), now=NOW) == "token_invalid typ"


def test_a_kept_one_costs_no_signature() -> None:
    """Best of five: well under what one signature costs, and within the budget of 1 µs on an idle machine."""
    towards = assertions().towards("orders")
    towards(ALICE, NOW)

    def cost(moments: list[float]) -> float:
        begun = time.process_time()
        for moment in moments:
            towards(ALICE, moment)
        return (time.process_time() - begun) / len(moments)

    kept = min(cost([NOW] * 5000) for _ in range(5))
    made = min(cost([NOW + 31 * n for n in range(1, 100)]) for _ in range(5))
    assert kept < made / 8
    assert kept < 3e-6

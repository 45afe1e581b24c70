"""Which step of a rotation is due, and that no order of steps and times leaves a backend without the key it needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.authn.issue import generate_key
from authproxy.authn.keyring import (
    JWKS_MAX_AGE,
    AssertionKey,
    Keyring,
    make_key,
    read_keyring,
    write_keyring,
)
from authproxy.cli.rotation import EXPIRED_AFTER, PUBLISHED_LEAST, NotYet, Step, Unclear, next_step
from tests.authn.tokens import pem_of

NOW, TTL = 1_800_000_000.0, 60.0
ONE, TWO, THREE = (make_key(pem_of("ES256", number)) for number in (1, 2, 3))


def step(keys: tuple[AssertionKey, ...], now: float, fresh: AssertionKey = TWO) -> Step:
    """The step that is due, and that its file says what it does."""
    found = next_step(Keyring(keys), fresh, TTL, now)
    assert [k.kid for k in read_keyring(write_keyring(found.keys)).keys] == [k.kid for k in found.keys]  # fmt: skip
    return found


def kids(keys: tuple[AssertionKey, ...]) -> list[str]:
    return [key.kid for key in keys]


def test_a_whole_rotation() -> None:
    """Published, signing, alone; each step says what it did and from when on the next may come."""
    first = step((ONE,), NOW)
    assert kids(first.keys) == [ONE.kid, TWO.kid]
    assert (first.keys[1].role, first.keys[1].since) == ("next", NOW)
    assert "published" in first.done
    assert "2027-01-15T08:15:00Z" in first.then
    second = step(first.keys, NOW + PUBLISHED_LEAST)
    assert kids(second.keys) == [TWO.kid, ONE.kid]
    assert [key.role for key in second.keys] == ["current", "previous"]
    third = step(second.keys, NOW + PUBLISHED_LEAST + TTL + EXPIRED_AFTER)
    assert kids(third.keys) == [TWO.kid]
    assert kids(step(third.keys, NOW + 9999, THREE).keys) == [TWO.kid, THREE.kid]


def test_a_next_key_is_known_before_it_signs() -> None:
    """Whoever keeps the set for its `max-age`, and as long again, has it."""
    published = step((ONE,), NOW).keys
    assert PUBLISHED_LEAST > 2 * JWKS_MAX_AGE
    with pytest.raises(NotYet, match="2027-01-15T08:15:00Z"):
        step(published, NOW + PUBLISHED_LEAST - 1)


def test_a_previous_key_stays_until_what_it_signed_has_expired() -> None:
    """Its ttl, and the leeway of backends."""
    signing = step(step((ONE,), NOW).keys, NOW + PUBLISHED_LEAST).keys
    with pytest.raises(NotYet, match="may still be on its way"):
        step(signing, NOW + PUBLISHED_LEAST + TTL + EXPIRED_AFTER - 1)


def labelled(key: AssertionKey, role: str) -> AssertionKey:
    return make_key(key.pem, role, NOW)


@pytest.mark.parametrize(
    "keys",
    [
        (ONE, TWO),
        (ONE, labelled(TWO, "next"), THREE),
        (ONE, labelled(TWO, "next"), labelled(THREE, "previous")),
        (ONE, labelled(TWO, "current")),
    ],
)
def test_keys_that_somebody_else_put_there_are_left_to_them(keys: tuple[AssertionKey, ...]) -> None:
    """A wrong guess would take a key away that a backend needs, or sign with one that none knows."""
    with pytest.raises(Unclear, match="leave only the first"):
        step(keys, NOW + 99999)


@given(st.lists(st.sampled_from([1.0, 59.0, 179.0, 200.0, 899.0, 901.0, 5000.0]), max_size=12))
def test_whenever_it_is_run_there_is_no_gap(waits: list[float]) -> None:
    """Whoever runs it how often ever: what signs was published long enough, and stays so until its last has expired."""
    now = NOW
    keys: tuple[AssertionKey, ...] = (ONE,)
    published = {ONE.kid: NOW - 1e9}
    signed_last: dict[str, float] = {}
    for wait in waits:
        now += wait
        signed_last[keys[0].kid] = now
        try:
            keys = next_step(Keyring(keys), make_key(generate_key("ES256")), TTL, now).keys
        except NotYet:
            continue
        for key in keys:
            published.setdefault(key.kid, now)
        assert now - published[keys[0].kid] >= PUBLISHED_LEAST
        needed = {kid for kid, last in signed_last.items() if now < last + TTL}
        assert needed <= set(kids(keys))

"""The identity cache: bounded in number and in time."""

from hypothesis import given
from hypothesis import strategies as st

from authproxy.authn.cache import IdentityCache
from authproxy.model.identity import Identity
from tests.authn.tokens import NOW


def identity(expires_at: float | None = NOW + 3600) -> Identity:
    """Somebody whose credential ends then."""
    return Identity("tokens", "alice", expires_at=expires_at)


def test_an_identity_is_kept_five_minutes() -> None:
    """Never longer, whatever the credential allows; one that does not end by itself as well."""
    cache = IdentityCache()
    for known in (identity(), identity(None)):
        cache.put(b"k", known, NOW)
        assert cache.get(b"k", NOW) is cache.get(b"k", NOW + 299) is known
        assert cache.get(b"k", NOW + 300) is None
        assert cache.get(b"k", NOW) is None


def test_an_identity_is_not_kept_past_its_end() -> None:
    """`exp` without leeway: what is late is judged anew each time."""
    cache = IdentityCache()
    cache.put(b"k", identity(NOW + 10), NOW)
    assert cache.get(b"k", NOW + 9.9) is not None
    assert cache.get(b"k", NOW + 10) is None
    cache.put(b"late", identity(NOW - 1), NOW)
    assert cache.get(b"late", NOW) is None
    assert len(cache) == 0


def test_whoever_keeps_it_may_want_less() -> None:
    """An authenticator can say how long it believes its own verdict; never more than five minutes, and nothing is nothing."""
    cache = IdentityCache()
    cache.put(b"k", identity(), NOW, 60)
    assert cache.get(b"k", NOW + 59) is not None
    assert cache.get(b"k", NOW + 60) is None
    cache.put(b"k", identity(), NOW, 900)
    assert cache.get(b"k", NOW + 300) is None
    cache.put(b"none", identity(), NOW, 0)
    assert cache.get(b"none", NOW) is None


def test_a_clock_set_back_lengthens_no_life() -> None:
    """An entry that seems to have more than five minutes left is dropped."""
    cache = IdentityCache()
    cache.put(b"k", identity(), NOW)
    assert cache.get(b"k", NOW - 1) is None


def test_what_nobody_asks_for_is_forgotten() -> None:
    """However few identities come, those that are over make room within ten minutes; who goes on asking stays."""
    cache = IdentityCache()
    for minute in range(0, 60, 2):
        cache.put(b"%d" % minute, identity(), NOW + 60 * minute)
        cache.put(b"busy", identity(), NOW + 60 * minute)
        assert len(cache) <= 8
    assert cache.get(b"busy", NOW + 60 * 58) is not None


def test_keys_do_not_mix() -> None:
    """A look-up gives what was put under exactly that key."""
    cache = IdentityCache()
    cache.put(b"a", identity(), NOW)
    assert cache.get(b"b", NOW) is None
    assert (cache.hits, cache.misses) == (0, 0)
    assert cache.get(b"a", NOW) is not None
    assert (cache.hits, cache.misses) == (1, 0)


@given(st.integers(1, 20), st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=200))
def test_it_never_grows_past_its_bound(most: int, steps: list[tuple[bool, int]]) -> None:
    """Whatever is put and asked, there are at most so many (at least one a generation), and no answer is wrong."""
    cache, people = (
        IdentityCache(most),
        {n: Identity("tokens", str(n), expires_at=None) for n in range(41)},
    )
    for put, number in steps:
        if put:
            cache.put(str(number).encode(), people[number], NOW)
        else:
            found = cache.get(str(number).encode(), NOW)
            assert found is None or found is people[number]
        assert len(cache) <= max(most, 2)


def test_what_is_asked_for_stays() -> None:
    """An identity in use survives any number of others passing by."""
    cache = IdentityCache(10)
    cache.put(b"used", identity(), NOW)
    for number in range(100):
        cache.put(str(number).encode(), identity(), NOW)
        assert cache.get(b"used", NOW) is not None

"""A route's authenticators: who decides, what the cache answers, what the caller is told."""

import asyncio
import base64
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from authproxy.authn.authentication import Authentication, Reading
from authproxy.authn.bearer import JwtVerifier
from authproxy.authn.cache import IdentityCache
from authproxy.authn.revocation import Revocations, revoke_credential
from authproxy.authn.slots import Presentation, compile_slot
from authproxy.config.authenticators import TokenSlot
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.state.memory_records import MemoryRecords
from tests.authn.tokens import NOW, key_for, keys_for, plain_verifier, token, verifier

BEARER: dict[str, Any] = {"header": "Authorization", "scheme": "Bearer"}
MISSING = (("WWW-Authenticate", 'Bearer realm="authproxy"'),)
ERROR = (("WWW-Authenticate", 'Bearer realm="authproxy", error="invalid_token"'),)
OTHER = "https://other.test"


class Door:
    """A route's authentication with what was asked of `admit_unverified`; `serving` asks it as a server does."""

    serving = False

    def __init__(
        self,
        *verifiers: JwtVerifier,
        cache: IdentityCache | None = None,
        revocations: Revocations | None = None,
    ) -> None:
        self.revocations = Revocations() if revocations is None else revocations
        self.cache = cache or IdentityCache()
        self.authentication = Authentication(
            verifiers or [plain_verifier()], self.cache, self.revocations
        )
        self.admitted = 0
        self.closed = False

    def admit(self) -> None:
        """What the caller hands in: count, or refuse."""
        if self.closed:
            raise Refusal("rate_limited", "failed_authentications")
        self.admitted += 1

    async def revoke(self, identity: Identity) -> None:
        """Put the credential of this identity on the list."""
        records = MemoryRecords()
        await revoke_credential(
            records, identity.authenticator, identity.credential_id, NOW + 9_999, NOW
        )
        self.revocations._records = records
        await self.revocations.refresh(NOW)

    async def identity(self, *fields: tuple[str, str], now: float = NOW) -> Identity:
        """Who comes with these headers."""
        presented = Presentation(CIMultiDict(fields))
        if not self.serving:
            return await self.authentication.authenticate(presented, now, self.admit)
        memo = dict[type, Any]()
        known = self.authentication.recall(presented, now, memo)
        found = known or self.authentication.verify(presented, now, memo, self.admit)
        return found if isinstance(found, Identity) else await found

    async def refusal(self, *fields: tuple[str, str], now: float = NOW) -> Refusal:
        """Why who comes with these headers is refused."""
        with pytest.raises(Refusal) as caught:
            await self.identity(*fields, now=now)
        return caught.value


@pytest.fixture(autouse=True, params=[False, True], ids=["authenticate", "verify"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways come to the same, refusals and their headers included."""
    monkeypatch.setattr(Door, "serving", request.param)


def bearer(text: str) -> tuple[str, str]:
    """The usual header."""
    return ("Authorization", f"Bearer {text}")


def two_issuers(**changes: Any) -> list[JwtVerifier]:
    """Two authenticators at one slot."""
    return [
        verifier(name="one", **changes),
        verifier(name="two", issuer=OTHER, keys=keys_for("RS256", 1)),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("Authorization", "Basic dTpw")],
        [("Authorization", "")],
        [("Cookie", "tok=x")],
        [("X-Token", "a")],
    ],
)
async def test_nothing_presented_is_unauthenticated(fields: list[tuple[str, str]]) -> None:
    """Also a scheme, a cookie or a header that the route does not read; no error is named then (RFC 6750 section 3.1)."""
    door = Door()
    refusal = await door.refusal(*fields)
    assert (refusal.code, refusal.reason, refusal.headers) == (
        "unauthenticated",
        "no-credentials",
        MISSING,
    )
    assert door.admitted == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "malformed"), ("x", "malformed"), ("a.b.c", "malformed"), ("\ud800", "malformed"), ("é" * 9, "malformed"),
        ("x" * 8193, "too-long"), (token({"iss": OTHER}), "issuer"), (token({"aud": "x"}), "audience"),
        (token(pem=key_for("RS256", 1)), "signature"), (token({"exp": 1}, pem=key_for("RS256", 1)), "signature"),
    ],
)  # fmt: skip
async def test_what_nobody_takes_is_invalid(text: str, reason: str) -> None:
    """Something presented is never anonymous; the reason is for the log, the caller is told the code alone."""
    door = Door()
    refusal = await door.refusal(bearer(text))
    assert (refusal.code, refusal.reason, refusal.headers) == ("token_invalid", reason, ERROR)
    assert door.admitted == 1
    assert (refusal.__cause__, refusal.title) == (None, "The credentials are not valid")


async def test_a_late_token_is_expired() -> None:
    """`token_expired` is a code of its own, with the same challenge."""
    refusal = await Door().refusal(bearer(token({"exp": NOW - 31})))
    assert (refusal.code, refusal.headers) == ("token_expired", ERROR)


async def test_the_issuer_chooses_the_authenticator() -> None:
    """Each takes its own tokens, in whatever order the route names them."""
    texts = {"one": token(), "two": token({"iss": OTHER}, pem=key_for("RS256", 1))}
    for order in (two_issuers(), two_issuers()[::-1]):
        door = Door(*order)
        for name, text in texts.items():
            for _ in range(2):
                assert (await door.identity(bearer(text))).authenticator == name
        assert (door.admitted, door.cache.hits, door.cache.misses) == (2, 2, 2)


async def test_a_bad_token_never_falls_through() -> None:
    """A token that names one issuer is not judged by another's keys, nor replaced by a good one elsewhere."""
    forged = token({"iss": OTHER})
    assert (await Door(*two_issuers()).refusal(bearer(forged))).reason == "signature"
    first, second = (
        verifier(name="one"),
        verifier(name="two", issuer=OTHER, token_from=[{"cookie": "tok"}]),
    )
    cookie = ("Cookie", f"tok={token({'iss': OTHER})}")
    door = Door(first, second)
    assert (await door.identity(cookie)).authenticator == "two"
    assert (await door.refusal(bearer(token({"aud": "x"})), cookie)).reason == "audience"
    assert (await door.identity(bearer(token()), cookie)).authenticator == "one"
    assert (await door.identity(("Authorization", "Basic x"), cookie)).authenticator == "two"


async def test_the_first_that_says_mine_decides_also_when_others_are_cached() -> None:
    """A cached identity of a later authenticator does not overtake an earlier one's bad token."""
    first, second = (
        verifier(name="one", token_from=[BEARER]),
        verifier(name="two", issuer=OTHER, token_from=[{"cookie": "tok"}]),
    )
    door, cookie = Door(first, second), ("Cookie", f"tok={token({'iss': OTHER})}")
    for _ in range(2):
        await door.identity(cookie)
    assert door.cache.hits == 1
    assert (await door.refusal(bearer(token({"exp": 1})), cookie)).code == "token_expired"


async def test_a_token_of_a_slot_is_taken_from_that_slot_only() -> None:
    """What a route does not read there is not looked for elsewhere."""
    door = Door(verifier(token_from=[{"cookie": "tok"}]))
    assert (await door.refusal(bearer(token()))).code == "unauthenticated"
    assert (await door.identity(("Cookie", f"a=b; tok={token()}"))).subject == "alice"


async def test_a_later_slot_of_the_same_authenticator() -> None:
    """Its slots are asked in order; junk in the first that is nobody's does not hide the second."""
    door = Door(verifier(token_from=[BEARER, {"header": "X-Token"}]))
    assert (await door.identity(bearer("opaque"), ("X-Token", token()))).subject == "alice"
    assert (
        await door.refusal(bearer(token({"aud": "x"})), ("X-Token", token()))
    ).reason == "audience"


async def test_the_password_of_basic_is_a_token() -> None:
    """`scheme: Basic` for clients that know nothing else; its challenge is Basic."""
    door = Door(verifier(token_from=[{"header": "Authorization", "scheme": "Basic"}]))
    url_user = "Basic " + base64.b64encode(f"x:{token()}".encode()).decode()
    assert (await door.identity(("Authorization", url_user))).subject == "alice"
    refusal = await door.refusal(("Authorization", "Basic dTpw"))
    assert refusal.headers == (("WWW-Authenticate", 'Basic realm="authproxy", charset="UTF-8"'),)


async def test_each_scheme_has_a_challenge() -> None:
    """RFC 9110 section 11.6.1; a route of cookies alone still has one."""
    slots = [BEARER, {"header": "Authorization", "scheme": "Basic"}, {"cookie": "t"}]
    refusal = await Door(verifier(token_from=slots)).refusal()
    assert [value.split()[0] for _, value in refusal.headers] == ["Bearer", "Basic"]
    assert (await Door(verifier(token_from=[{"cookie": "t"}])).refusal()).headers == MISSING


@pytest.mark.parametrize(
    "fields",
    [
        [bearer("a"), bearer("a")],
        [("X-Token", "a"), ("x-token", "a")],
        [("Cookie", "tok=a; tok=b")],
        [bearer(token()), ("Cookie", "tok=a; tok=b")],
    ],
)
async def test_a_repeated_credential_is_a_bad_request(fields: list[tuple[str, str]]) -> None:
    """Also where another slot holds a good one."""
    door = Door(verifier(token_from=[BEARER, {"header": "X-Token"}, {"cookie": "tok"}]))
    refusal = await door.refusal(*fields)
    assert (refusal.code, refusal.headers, door.admitted) == ("bad_request", (), 0)


async def test_the_cache_answers_without_admission() -> None:
    """`failed_authentications`: past it unknown credentials are refused unverified, and known ones pass."""
    door = Door()
    known = await door.identity(bearer(token()))
    door.closed = True
    assert await door.identity(bearer(token())) is known
    for text in (token({"jti": "j-2"}), "junk", token({"exp": 1})):
        refusal = await door.refusal(bearer(text))
        assert (refusal.code, refusal.headers) == ("rate_limited", ())
    assert (door.admitted, door.cache.misses) == (1, 1)


async def test_a_refusal_is_not_cached() -> None:
    """A bad token is judged anew each time; a good one again once it has left the cache."""
    door = Door()
    for _ in range(2):
        await door.refusal(bearer(token({"aud": "x"})))
    assert (door.admitted, door.cache.hits, len(door.cache)) == (2, 0, 0)


async def test_a_cached_identity_ends_with_its_token() -> None:
    """`exp` and `nbf` are looked at on every hit, with the leeway of the authenticator."""
    door, text = Door(), token({"exp": NOW + 60, "nbf": NOW})
    await door.identity(bearer(text))
    assert (await door.identity(bearer(text), now=NOW + 89)).subject == "alice"
    assert (await door.refusal(bearer(text), now=NOW + 90)).code == "token_expired"
    assert (await door.refusal(bearer(text), now=NOW - 31)).reason == "nbf"


async def test_a_cached_identity_is_bound_to_its_authenticator() -> None:
    """Routes share a cache: what one authenticator took is nothing to another, whatever they have in common."""
    cache, text = IdentityCache(), token()
    assert (await Door(verifier(name="a"), cache=cache).identity(bearer(text))).authenticator == "a"
    assert (await Door(verifier(name="b"), cache=cache).identity(bearer(text))).authenticator == "b"
    refused = [
        verifier(name="a", audiences=["x"]),
        verifier(name="a", keys=keys_for("RS256", 1)),
        verifier(name="a", algorithms=["RS384"], keys=keys_for("RS384")),
        verifier(name="a", issuer=OTHER),
    ]
    for judge in refused:
        assert (await Door(judge, cache=cache).refusal(bearer(text))).code == "token_invalid"


async def test_a_cached_identity_is_bound_to_its_slot() -> None:
    """A token is known where it was seen; elsewhere it is judged again."""
    door = Door(verifier(token_from=[BEARER, {"cookie": "tok"}]))
    await door.identity(bearer(token()))
    await door.identity(("Cookie", f"tok={token()}"))
    assert door.admitted == 2


slots = st.sampled_from(
    [TokenSlot(**BEARER), TokenSlot(header="X-A"), TokenSlot(cookie="x-a"), TokenSlot(cookie="a")]
)
readings = st.tuples(st.integers(0, 2), slots, st.text(max_size=6))
JUDGES = [verifier(name="a"), verifier(name="ab"), verifier(name="a", leeway="31s")]


@given(readings, readings)
def test_different_inputs_never_share_a_cache_key(one: Any, two: Any) -> None:
    """Authenticator, slot and credential all count, and none can spill over into the next."""
    keys = [
        Reading(JUDGES[judge], compile_slot(slot)).cache_key(text)
        for judge, slot, text in (one, two)
    ]
    assert (keys[0] == keys[1]) == (one == two)


def test_what_the_backend_must_not_get() -> None:
    """The names of all slots of all authenticators, headers in lower case, cookies as they are."""
    one = verifier(name="one", token_from=[BEARER, {"header": "X-Token"}])
    two = verifier(name="two", issuer=OTHER, token_from=[{"cookie": "Tok"}])
    authentication = Authentication([one, two], IdentityCache(), Revocations())
    assert authentication.credential_headers == {b"authorization", b"x-token"}
    assert authentication.credential_cookies == {"Tok"}


def test_two_authenticators_for_one_issuer_and_slot_are_an_error() -> None:
    """Contract section 3: nobody could say which of them decides."""
    with pytest.raises(ValueError, match="take the same"):
        Authentication([verifier(name="a"), verifier(name="b")], IdentityCache(), Revocations())


async def test_who_is_cached_is_refused_once_revoked() -> None:
    """An identity that was verified before the revocation is looked up on the list at every hit, with its challenge."""
    door, text = Door(), bearer(token())
    await door.revoke(await door.identity(text))
    for _ in range(2):
        refusal = await door.refusal(text)
        assert (refusal.code, refusal.reason, refusal.headers) == (
            "token_revoked",
            "credential",
            ERROR,
        )
    looks = 2 if Door.serving else 1  # `recall` is one
    assert (door.cache.hits, door.admitted) == (2 * looks, 1)


async def test_who_is_remembered_on_a_connection_is_refused_once_revoked() -> None:
    """`recall` says nothing of who is revoked, also where the fields of a connection keep the credential's digest."""
    door, memo = Door(), dict[type, Any]()
    presented = Presentation(CIMultiDict([bearer(token())]))
    identity = await door.authentication.authenticate(presented, NOW, door.admit)
    assert door.authentication.recall(presented, NOW, memo) is identity
    assert memo
    await door.revoke(identity)
    assert door.authentication.recall(presented, NOW, memo) is None
    with pytest.raises(Refusal, match="token_revoked"):
        await door.authentication.authenticate(presented, NOW, door.admit)


async def test_an_admission_that_takes_its_time_is_waited_for() -> None:
    """Nothing is judged before it: past the bound a good token is refused, and nobody is remembered."""
    door, presented = Door(), Presentation(CIMultiDict([bearer(token())]))

    async def admit() -> None:
        await asyncio.sleep(0)
        door.admit()

    for door.closed in (True, False):
        waiting = door.authentication.verify(presented, NOW, {}, admit)
        assert isinstance(waiting, Coroutine)
        assert (len(door.cache), door.cache.misses) == (0, 0)
        with pytest.raises(Refusal, match="rate_limited") if door.closed else nullcontext():
            assert (await waiting).subject == "alice"
    assert (door.admitted, len(door.cache), door.cache.misses) == (1, 1, 1)


async def test_a_fresh_token_is_looked_up_too() -> None:
    """Revoked before it was ever seen here: refused at its first use, whoever presents it."""
    door, text = Door(), bearer(token())
    await door.revoke(await Door().identity(text))
    assert (await door.refusal(text)).code == "token_revoked"


async def test_nobody_is_let_in_while_the_list_is_not_known() -> None:
    """Neither a fresh nor a cached identity; a bad token is still told that it is bad."""
    cache, text = IdentityCache(), bearer(token())
    await Door(cache=cache).identity(text)
    for fresh in (cache, IdentityCache()):
        door = Door(cache=fresh, revocations=Revocations(MemoryRecords()))
        presented = Presentation(CIMultiDict([text]))
        assert door.authentication.recall(presented, NOW, {}) is None
        refusal = await door.refusal(text)
        assert (refusal.code, refusal.status) == ("state_unavailable", 503)
        assert (await door.refusal(bearer("garbage"))).code == "token_invalid"


async def test_the_same_id_of_another_authenticator_is_good() -> None:
    """Two issuers may use the same `jti`: only the one that is meant is refused."""
    door = Door(*two_issuers())
    mine = token({"jti": "same"})
    other = token({"jti": "same", "iss": OTHER}, pem=key_for("RS256", 1))
    await door.revoke(await door.identity(bearer(mine)))
    assert (await door.refusal(bearer(mine))).code == "token_revoked"
    assert (await door.identity(bearer(other))).authenticator == "two"


async def test_without_a_jti_the_signed_part_is_what_counts() -> None:
    """Another token of the same subject is good."""
    door = Door()
    bare, twin = bearer(token(without="jti")), bearer(token({"twin": 1}, without="jti"))
    await door.revoke(await door.identity(bare))
    assert (await door.refusal(bare)).code == "token_revoked"
    await door.identity(twin)

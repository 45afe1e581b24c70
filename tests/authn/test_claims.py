"""What claims say: paths, texts, lists, times, and that a claim of the wrong kind is never read kindly."""

import json
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.authn.claims import (
    Person,
    check_audience,
    check_controls,
    email,
    find,
    holds_control,
    moment,
    text,
    texts,
)
from authproxy.config.authenticators import ClaimNames
from authproxy.model.errors import Refusal


def reason(read: Any, *arguments: Any, **options: Any) -> str:
    """The reason for which reading is refused."""
    with pytest.raises(Refusal) as caught:
        read(*arguments, **options)
    assert caught.value.code == "token_invalid"
    return caught.value.reason


def test_a_dotted_path_is_walked() -> None:
    """`realm_access.roles` is the claim `roles` in the object `realm_access`."""
    claims = {"realm_access": {"roles": ["a"]}, "x": [1], "y": "text"}
    assert find(claims, "realm_access.roles") == ["a"]
    assert [find(claims, path) for path in ("realm_access.x", "x.0", "y.z", "a.b", "", ".")] == [
        None
    ] * 6


def test_a_claim_of_exactly_that_name_comes_before_the_path() -> None:
    """Names with dots exist (`https://x.test/roles`), and one that is there wins, null as well."""
    claims = {
        "a.b": "exact",
        "a": {"b": "walked"},
        "https://x.test/roles": ["r"],
        "c.d": None,
        "c": {"d": 1},
    }
    assert (find(claims, "a.b"), find(claims, "https://x.test/roles"), find(claims, "c.d")) == (
        "exact",
        ["r"],
        None,
    )


def test_a_text_is_a_text_or_nothing() -> None:
    """Absent, null and empty are the same; another type makes the token bad."""
    assert (text({"a": "x"}, "a"), text({"a": ""}, "a"), text({"a": None}, "a"), text({}, "a")) == (
        "x",
        None,
        None,
        None,
    )
    assert {reason(text, {"a": value}, "a") for value in list[object]((1, True, ["x"], {}))} == {
        "claim"
    }


def test_a_single_group_is_one_group() -> None:
    """A group may hold spaces, so a text is not taken apart; each group counts once, empty ones do not."""
    assert texts({"groups": "site admins"}, "groups") == ("site admins",)
    assert texts({"groups": ["b", "a", "b", ""]}, "groups") == ("b", "a")
    assert (
        texts({"groups": ""}, "groups")
        == texts({"groups": []}, "groups")
        == texts({}, "groups")
        == ()
    )


@pytest.mark.parametrize("value", [1, True, {"a": 1}, [1], ["a", None], [["a"]], ["a\n"], "a\x00"])
def test_groups_of_the_wrong_kind_are_refused(value: object) -> None:
    """Left out they could hide the group that a `deny` looks for."""
    assert reason(texts, {"groups": value}, "groups") == "claim"


def test_scopes_are_separated_by_spaces_or_a_list() -> None:
    """RFC 8693 section 4.2, and the lists that some issuers send."""
    assert texts({"scope": "a b  a"}, "scope", spaced=True) == ("a", "b")
    assert texts({"scope": ["a", "b"]}, "scope", spaced=True) == ("a", "b")
    assert reason(texts, {"scope": "a\tb"}, "scope", spaced=True) == "claim"


@pytest.mark.parametrize(
    ("verified", "expected"),
    [
        (True, "a@x.test"),
        ("true", "a@x.test"),
        (False, None),
        ("false", None),
        (None, None),
        (1, None),
        ([], None),
    ],
)
def test_an_address_that_the_issuer_did_not_verify_is_left_out(
    verified: object, expected: str | None
) -> None:
    """Facts 88: whoever typed it in is not thereby its owner."""
    assert email({"email": "a@x.test", "email_verified": verified}, "email") == expected
    assert email({"email": "a@x.test"}, "email") == "a@x.test"


def test_a_moment_is_a_number_of_our_calendar() -> None:
    """Seconds from 1970 to 9999, with fractions; bool and text are refused though Python or PyJWT would take them."""
    assert (moment({"exp": 1}, "exp"), moment({"exp": 1.5}, "exp"), moment({}, "exp")) == (
        1.0,
        1.5,
        None,
    )
    for value in (True, "1", None, -1, 253402300800, float("nan"), float("inf"), 10**400, [1]):
        assert reason(moment, {"exp": value}, "exp") == "exp"


def test_one_of_several_audiences_is_enough() -> None:
    """Each configured audience is one of ours."""
    check_audience({"aud": ["x", "b"]}, frozenset({"a", "b"}))
    assert reason(check_audience, {"aud": "c"}, frozenset({"a", "b"})) == "audience"


def test_a_subject_elsewhere_is_read_there() -> None:
    """`claims: {subject: email}` makes that the subject; `sub` may be absent then, but not of another type."""
    names = ClaimNames(subject="email", groups="realm.roles")
    person = Person.of({"email": "a@x.test", "realm": {"roles": ["r"]}}, names)
    assert (person.subject, person.groups) == ("a@x.test", ("r",))
    assert reason(Person.of, {"email": "a@x.test", "sub": 1}, names) == "subject"


@given(
    st.text(max_size=6) | st.sampled_from(["\x7f", "\x85", "\x9f", "\xa0", "\n", "\\n", "\\", "é"]),
    st.booleans(),
)
def test_no_claim_holds_a_control_character_however_it_is_written(value: str, escaped: bool) -> None:  # fmt: skip
    """Raw or as an escape, in a value or in a name; a backslash that is one is none. A text is refused for the same ones."""
    for claims in ({"a": [value]}, {value: 1}):
        payload = json.dumps(claims, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
        expected = pytest.raises(Refusal) if holds_control(claims) else nullcontext()
        with expected:
            check_controls(claims, payload)
    with pytest.raises(Refusal) if holds_control(value) else nullcontext():
        assert text({"a": value}, "a") == (value or None)

"""Claims: finding and comparing them in JSON's own terms."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.claims import MISSING, find_claim, same

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@pytest.mark.parametrize(
    ("claims", "name", "found"),
    [
        ({"a": 1}, "a", 1),
        ({"a": None}, "a", None),
        ({"a": {"b": {"c": [1]}}}, "a.b.c", [1]),
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
        ({"https://x.test/roles": ["r"]}, "https://x.test/roles", ["r"]),
        ({}, "a", MISSING),
        ({"a": 1}, "a.b", MISSING),
        ({"a": [1]}, "a.0", MISSING),
        ({"a": "text"}, "a.t", MISSING),
        ({"a": {}}, "a.", MISSING),
    ],
)
def test_a_claim_is_found_by_its_name_or_its_dotted_path(
    claims: dict[str, Any], name: str, found: Any
) -> None:
    """The exact name wins, for issuers that name claims by URL; what is not there is MISSING, not null."""
    assert find_claim(claims, name) == found


@given(st.dictionaries(st.text(max_size=3), JSON), st.text(max_size=8))
def test_any_claims_can_be_searched(claims: dict[str, Any], name: str) -> None:
    """A name finds a value or nothing, whatever the issuer put there."""
    found = find_claim(claims, name)
    assert found is MISSING or name in claims or "." in name


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (0, False), (1, "1"), (None, False), ("", None), ([1], 1), ("A", "a")]
)  # fmt: skip
def test_values_of_different_types_are_not_the_same(one: Any, other: Any) -> None:
    """`1`, `true` and `"1"` are three things, either way round."""
    assert not same(one, other)
    assert not same(other, one)


@pytest.mark.parametrize(("one", "other"), [(2, 2.0), (True, True), ("a", "a"), (10**400, 10**400)])
def test_equal_values_are_the_same(one: Any, other: Any) -> None:
    """JSON has one kind of number."""
    assert same(one, other)


@given(JSON, JSON)
def test_same_is_symmetric_and_never_fails(one: Any, other: Any) -> None:
    """Comparing is a question with two answers, for any JSON."""
    assert same(one, other) is same(other, one)
    assert same(one, one)

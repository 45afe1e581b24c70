"""Rates: their grammar, and where a text stops being one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.rate import UNITS, Balance, Charge, Rate, RateError, parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/minute", Rate(100, 60)),
        ("1/second", Rate(1, 1)),
        ("10/5 second", Rate(10, 5)),
        ("7/1 day", Rate(7, 86400)),
        ("3/2 hour", Rate(3, 7200)),
    ],
)
def test_a_rate_is_an_amount_in_a_window(text: str, rate: Rate) -> None:
    """`N/[M ]second|minute|hour|day`."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 0),
        ("x/minute", 0),
        ("100", 3),
        ("100 /minute", 3),
        ("100/", 4),
        ("100/fortnight", 4),
        ("100/minutes", 4),
        ("100/5second", 4),
        ("0/minute", 0),
        ("10/0 second", 3),
        ("-1/minute", 0),
        ("1.5/minute", 1),
        ("100/minute ", 4),
        ("\u0661/minute", 0),
    ],
)
def test_an_error_points_at_where_it_stops(text: str, column: int) -> None:
    """What is no rate, or would let nothing pass, is refused at its column."""
    with pytest.raises(RateError) as caught:
        parse_rate(text)
    assert caught.value.column == column


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{1,12}/([0-9]{1,6} )?[a-z]{3,6}"))
def test_any_text_is_a_rate_or_a_rate_error(text: str) -> None:
    """Nothing else is raised, and a rate lets at least one pass in at least a second."""
    try:
        rate = parse_rate(text)
    except RateError as error:
        if not 0 <= error.column <= len(text):
            pytest.fail("the column is outside the text")
        return
    assert rate.amount >= 1
    assert rate.window >= 1


@given(st.integers(1, 10**9 - 1), st.integers(1, 9999), st.sampled_from(sorted(UNITS)))
def test_a_rate_is_written_as_it_is_read(amount: int, multiple: int, unit: str) -> None:
    """`str` gives a text that says the same."""
    rate = parse_rate(f"{amount}/{multiple} {unit}")
    assert parse_rate(str(rate)) == rate


def test_a_charge_refuses_and_weighs_one_unless_it_says_otherwise() -> None:
    """Shadow and cost are asked for, never the default."""
    charge = Charge(b"k" * 16, Rate(1, 1))
    assert (charge.cost, charge.binding) == (1, True)
    assert charge.strategy == "sliding-window-counter"


def test_a_balance_says_what_is_left_and_until_when() -> None:
    """Granted, remaining and reset are what the RateLimit headers are made of."""
    balance = Balance(granted=False, remaining=0, reset=1.5)
    assert (balance.granted, balance.remaining, balance.reset) == (False, 0, 1.5)

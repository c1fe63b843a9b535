"""Currencies as callers name them, and amounts as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.accounting.currencies import ISO_4217_EXPONENTS
from doppia.accounting.errors import InvalidCurrency
from doppia.accounting.money import AMOUNT_MAX, EXPONENT_MAX, Currency, currency, format_amount, parse_amount

amounts = st.integers(-AMOUNT_MAX, AMOUNT_MAX)
exponents = st.integers(0, EXPONENT_MAX)


def test_an_iso_code_brings_its_own_exponent() -> None:
    assert currency("PHP", None) == Currency("PHP", 2)
    assert currency("JPY", None) == Currency("JPY", 0)
    assert currency("KWD", 3) == Currency("KWD", 3)
    assert currency("CLF", 4) == Currency("CLF", 4)


@pytest.mark.parametrize(
    ("code", "exponent", "reason"),
    [
        ("PHP", 3, "ISO 4217 gives it the exponent 2, not 3"),
        ("php", None, "the ISO 4217 code is written 'PHP'"),
        ("Php", 2, "the ISO 4217 code is written 'PHP'"),
        ("PTS", None, "a custom unit needs a currency_exponent"),
        ("PTS", -1, "currency_exponent is -1; it goes from 0 to 30"),
        ("PTS", 31, "currency_exponent is 31; it goes from 0 to 30"),
        ("", 0, "a code is 1 to 32 letters"),
        ("P" * 33, 0, "a code is 1 to 32 letters"),
        ("-PTS", 0, "a code is 1 to 32 letters"),
        ("PT S", 0, "a code is 1 to 32 letters"),
        ("PTS\n", 0, "a code is 1 to 32 letters"),
        ("pünktli", 0, "a code is 1 to 32 letters"),
    ],
)
def test_a_currency_that_can_not_be_is_refused_with_the_reason(code: str, exponent: int | None, reason: str) -> None:
    with pytest.raises(InvalidCurrency) as refusal:
        currency(code, exponent)
    assert refusal.value.currency == code
    assert refusal.value.parameter == "currency"
    assert reason in str(refusal.value)


def test_a_custom_unit_takes_any_exponent_from_0_to_30() -> None:
    assert currency("PTS", 0) == Currency("PTS", 0)
    assert currency("air.miles_v2-b", 30) == Currency("air.miles_v2-b", 30)
    assert currency("P" * 32, 18).exponent == 18


def test_the_metals_and_test_codes_of_iso_4217_count_as_custom_units() -> None:
    assert currency("XAU", 6) == Currency("XAU", 6)
    with pytest.raises(InvalidCurrency):
        currency("XTS", None)


def test_the_table_holds_the_exponents_of_iso_4217() -> None:
    assert all(len(code) == 3 and code.isupper() for code in ISO_4217_EXPONENTS)
    assert {code: ISO_4217_EXPONENTS[code] for code in ("AUD", "BHD", "BIF", "ISK", "UYW", "XCG", "ZWG")} == {
        "AUD": 2,
        "BHD": 3,
        "BIF": 0,
        "ISK": 0,
        "UYW": 4,
        "XCG": 2,
        "ZWG": 2,
    }


@pytest.mark.parametrize(
    ("amount", "exponent", "text"),
    [
        (123456, 2, "1,234.56"),
        (-5, 2, "-0.05"),
        (0, 2, "0.00"),
        (0, 0, "0"),
        (-1000, 0, "-1,000"),
        (1, 30, "0.000000000000000000000000000001"),
        (10**36, 0, "1" + ",000" * 12),
        (10**36, 2, "10" + ",000" * 11 + ".00"),
        (999, 3, "0.999"),
    ],
)
def test_an_amount_is_written_with_thousands_and_all_its_decimals(amount: int, exponent: int, text: str) -> None:
    assert format_amount(amount, exponent) == text
    assert parse_amount(text, exponent) == amount


@given(amounts, exponents)
def test_every_amount_reads_back_as_it_was_written(amount: int, exponent: int) -> None:
    assert parse_amount(format_amount(amount, exponent), exponent) == amount


def test_missing_decimals_are_filled_up() -> None:
    assert parse_amount("1000", 2) == 100000
    assert parse_amount("1,000.5", 2) == 100050
    assert parse_amount("-0.5", 2) == -50


@pytest.mark.parametrize("text", ["", "-", ".5", "1.", "+1", "1e3", "1.2.3", "½", "١٢", " 1", "1\n", "0x10", "1_000"])
def test_what_is_no_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a decimal number"):
        parse_amount(text, 2)


def test_an_amount_finer_than_the_smallest_unit_is_refused_rather_than_rounded() -> None:
    with pytest.raises(ValueError, match=r"'0\.005' has 3 decimals; this unit has 2"):
        parse_amount("0.005", 2)
    with pytest.raises(ValueError, match="this unit has 0"):
        parse_amount("1.0", 0)

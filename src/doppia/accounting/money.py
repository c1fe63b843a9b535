"""Money: amounts are whole numbers of a currency's minor units, and people read them as decimals."""

import re
from typing import Final, NamedTuple

from doppia.accounting.currencies import ISO_4217_EXPONENTS
from doppia.accounting.errors import InvalidCurrency

AMOUNT_MAX: Final = 10**36
"""An amount is at most this many minor units."""

BOUND_MAX: Final = 10**45
"""A bound that balances are compared with is at most this far from 0.

It is larger than `AMOUNT_MAX` because a balance sums many amounts; a thousand million of the largest ones reach it.
"""

EXPONENT_MAX: Final = 30

_CUSTOM_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)


class Currency(NamedTuple):
    """What amounts are counted in: a currency of ISO 4217, or a custom unit such as points.

    Two currencies with one code and different exponents are different currencies.

    Attributes:
        code: the code of ISO 4217, or that of a custom unit.
        exponent: the number of digits after the point; one whole is 10**exponent minor units.
    """

    code: str
    exponent: int


def currency(code: str, exponent: int | None) -> Currency:
    """Return the currency that a caller names by its code; ISO 4217 gives the exponent of its own codes.

    Raises:
        InvalidCurrency: the code is malformed; or a code of ISO 4217 is in lower case, or has another exponent than
            the standard's; or a custom unit has no exponent, or one outside 0 to 30.
    """
    _check_code(code)
    standard = ISO_4217_EXPONENTS.get(code.upper())
    if standard is not None:
        if code != code.upper():
            raise InvalidCurrency(currency=code, reason=f"the ISO 4217 code is written {code.upper()!r}")
        if exponent not in (None, standard):
            raise InvalidCurrency(
                currency=code,
                reason=f"ISO 4217 gives it the exponent {standard}, not {exponent}; leave currency_exponent out, "
                "or name a custom unit by another code",
            )
        return Currency(code, standard)
    if exponent is None:
        raise InvalidCurrency(
            currency=code, reason="it is not a code of ISO 4217, and a custom unit needs a currency_exponent"
        )
    _check_exponent(code, exponent)
    return Currency(code, exponent)


def check_currency_form(currency: Currency) -> None:
    """Refuse a currency that never could have been one, whatever ISO 4217 says today.

    Recorded currencies are tested by this alone, because the standard changes and records don't.

    Raises:
        InvalidCurrency: the code is malformed, or the exponent is outside 0 to 30.
    """
    _check_code(currency.code)
    _check_exponent(*currency)


def _check_code(code: str) -> None:
    if _CUSTOM_CODE.fullmatch(code) is None:
        raise InvalidCurrency(
            currency=code,
            reason="a code is 1 to 32 letters, digits, '_', '-' or '.', and starts with a letter or a digit",
        )


def _check_exponent(code: str, exponent: int) -> None:
    if not 0 <= exponent <= EXPONENT_MAX:
        raise InvalidCurrency(
            currency=code, reason=f"currency_exponent is {exponent}; it goes from 0 to {EXPONENT_MAX}"
        )


def format_amount(amount: int, exponent: int) -> str:
    """Write minor units as a person reads them: 123456 at exponent 2 is "1,234.56", -5 at exponent 2 is "-0.05"."""
    digits = str(abs(amount)).rjust(exponent + 1, "0")
    whole, fraction = digits[: len(digits) - exponent], digits[len(digits) - exponent :]
    grouped = f"{int(whole):,}"
    return ("-" if amount < 0 else "") + (f"{grouped}.{fraction}" if exponent else grouped)


def parse_amount(text: str, exponent: int) -> int:
    """Return the minor units of a text that `format_amount` could have written.

    The thousands may stand without commas, and decimals that are left out are zeros.

    Raises:
        ValueError: the text is not a decimal number, or has more decimals than the exponent.
    """
    match = re.fullmatch(r"(-?)(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?", text, re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not a decimal number such as 1,234.56")
    sign, whole, fraction = match.group(1), match.group(2).replace(",", ""), match.group(3) or ""
    if len(fraction) > exponent:
        raise ValueError(f"{text!r} has {len(fraction)} decimals; this unit has {exponent}")
    return int(sign + whole + fraction.ljust(exponent, "0"))

"""What all subjects share on the wire: texts, times, ids, amounts, metadata and balances, in and out."""

import re
from collections.abc import Container, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct

from doppia.accounting.errors import ObjectNotFound, ParameterInvalid
from doppia.accounting.ids import EVENT_ORDINAL, VERSION_ORDINAL, Id, parse_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import BalanceName, Direction, Sums, balance
from doppia.accounting.ledger.categories import CATEGORIES_OF_ACCOUNT_MAX
from doppia.accounting.ledger.transactions import ENTRIES_MAX
from doppia.accounting.money import AMOUNT_MAX, BOUND_MAX, EXPONENT_MAX, Currency
from doppia.accounting.texts import (
    EXTERNAL_ID_LENGTH_MAX,
    LEDGERABLE_LENGTH_MAX,
    METADATA_KEY_LENGTH_MAX,
    METADATA_PAIRS_MAX,
    METADATA_VALUE_LENGTH_MAX,
    NAME_LENGTH_MAX,
    check_metadata,
)

LOCK_VERSION_MAX: Final = 2**63 - 1

# A schema can hold bounds beyond 64 bits, a decoder's own check can't; the rules check amounts.
Amount = Annotated[int, Meta(description="In minor units.", extra_json_schema={"minimum": 0, "maximum": AMOUNT_MAX})]
AmountText = Annotated[
    str,
    Meta(description="The amount in minor units, as text.", extra_json_schema={"pattern": "^(0|[1-9][0-9]{0,39})$"}),
]
SignedAmount = Annotated[
    int, Meta(description="In minor units.", extra_json_schema={"minimum": -BOUND_MAX, "maximum": BOUND_MAX})
]
Sum = Annotated[int, Meta(description="In minor units.", extra_json_schema={"minimum": 0})]
CurrencyCode = Annotated[
    str,
    Meta(
        max_length=32,
        description="A code of ISO 4217, or that of a custom unit.",
        extra_json_schema={"pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$"},
    ),
]
CurrencyExponent = Annotated[
    int,
    Meta(ge=0, le=EXPONENT_MAX, description="Digits after the point: one whole unit is 10^exponent minor units."),
]
LockVersion = Annotated[
    int,
    Meta(
        description="Grows with each change of the account's balances.",
        extra_json_schema={"minimum": 0, "maximum": LOCK_VERSION_MAX},
    ),
]
UuidText = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
TimeText = Annotated[
    str, Meta(description="ISO 8601; in UTC where it names no zone.", extra_json_schema={"format": "date-time"})
]
DateText = Annotated[str, Meta(description="A day in UTC.", extra_json_schema={"format": "date"})]
Time = Annotated[datetime, Meta(tz=True)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH_MAX)]
Description = Annotated[str, Meta(max_length=NAME_LENGTH_MAX)]
ExternalId = Annotated[
    str, Meta(min_length=1, max_length=EXTERNAL_ID_LENGTH_MAX, description="An id of yours, unique in its ledger.")
]
LedgerableText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LEDGERABLE_LENGTH_MAX,
        description="Type or id of what this stands for in your system.",
    ),
]
MetadataValue = Annotated[str, Meta(extra_json_schema={"maxLength": METADATA_VALUE_LENGTH_MAX})]
CategoryIds = Annotated[
    list[UuidText],
    Meta(max_length=CATEGORIES_OF_ACCOUNT_MAX, description="Categories of the same ledger to be directly in."),
]
Metadata = Annotated[
    dict[str, MetadataValue | None],
    Meta(
        description="Pairs of yours.",
        extra_json_schema={
            "maxProperties": METADATA_PAIRS_MAX,
            "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY_LENGTH_MAX},
        },
    ),
]

_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?\s?([Zz]|[+-]\d{2}:?\d{2})?", re.ASCII
)
# The database's driver takes the first and the last moment of the calendar for minus and plus infinity.
_ENDS_OF_TIME: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def parse_time(text: str, parameter: str) -> datetime:
    """Read an ISO 8601 time, as of UTC where it names no zone; digits below the microsecond are cut off.

    Raises:
        ParameterInvalid: it is no such time, or the first or last that there is.
    """
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        day, time, fraction, zone = match.groups()
        fraction = (fraction or "0")[:6].ljust(6, "0")
        zone = "+00:00" if zone in {None, "Z", "z"} else zone
        found = datetime.fromisoformat(f"{day}T{time}.{fraction}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ParameterInvalid(
            parameter=parameter, reason="must be a time in ISO 8601, such as 2026-03-31T23:59:59.000000Z"
        ) from None
    if found in _ENDS_OF_TIME:
        raise ParameterInvalid(
            parameter=parameter, reason="is an end of the calendar; times between its ends are taken"
        )
    return found


_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def parse_date(text: str, parameter: str) -> date:
    """Read a date as year, month and day; weeks and other forms of ISO 8601 are not taken.

    Raises:
        ParameterInvalid: it is no such date.
    """
    try:
        if _DATE.fullmatch(text) is None:
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise ParameterInvalid(parameter=parameter, reason="must be a date such as 2026-03-31") from None


def parse_object_id(text: str, kind: str, parameter: str | None = None) -> Id:
    """Take the id of an object apart, whatever its letters' case.

    Raises:
        ObjectNotFound: no object has such an id.
    """
    id_ = parse_id(text)
    if id_ is None or id_.ordinal not in _ORDINALS.get(kind, (0,)) or id_.ledger == 0 or id_.sequence == 0:
        raise ObjectNotFound(object=kind, id=text[:100], parameter=parameter)
    return id_


_ORDINALS: Final[Mapping[str, Container[int]]] = {
    "ledger_entry": range(1, ENTRIES_MAX + 1),
    "ledger_transaction_version": (VERSION_ORDINAL,),
    "event": (EVENT_ORDINAL,),
}


def in_order(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata with its keys in order, so that it reads the same wherever it was kept meanwhile."""
    return dict(sorted(metadata.items())) if metadata else {}


def new_metadata(metadata: Mapping[str, str | None] | None, parameter: str = "metadata") -> dict[str, str]:
    """Return the metadata of something new, without the pairs whose value is None or ""."""
    if not metadata:
        return {}
    return {key: value for key, value in check_metadata(metadata, parameter).items() if value}


class Object(Struct, kw_only=True):
    """What every object has. `id` is a UUID; times are UTC."""

    id: UuidText
    object: str
    live_mode: bool = True
    created_at: Time
    updated_at: Time


class BalanceObject(Struct):
    """One balance: what was credited and debited, and `amount`, positive on the normal side; each twice, for JSON
    readers that round large integers.
    """

    credits: Sum
    debits: Sum
    amount: int
    credits_string: str
    debits_string: str
    amount_string: str
    currency: str
    currency_exponent: CurrencyExponent


class BalancesObject(Struct):
    """The three balances of an account, or of all accounts of a category together."""

    pending_balance: BalanceObject
    posted_balance: BalanceObject
    available_balance: BalanceObject
    effective_at_lower_bound: Time | None = None
    effective_at_upper_bound: Time | None = None


def _balance(name: BalanceName, sums: Sums, normal_balance: Direction, unit: Currency) -> BalanceObject:
    credit_total, debit_total, amount = balance(name, sums, normal_balance)
    return BalanceObject(
        credit_total, debit_total, amount, str(credit_total), str(debit_total), str(amount), unit.code, unit.exponent
    )


def balances_of(sums: Sums, normal_balance: Direction, unit: Currency) -> BalancesObject:
    """Return the balances that sums make as the wire shows them."""
    return BalancesObject(
        _balance("pending", sums, normal_balance, unit),
        _balance("posted", sums, normal_balance, unit),
        _balance("available", sums, normal_balance, unit),
    )


def balances(account: Account) -> BalancesObject:
    """Return an account's balances as the wire shows them."""
    return balances_of(account.sums, account.normal_balance, account.currency)


def given(body: Struct, *names: str) -> dict[str, Any]:
    """Return those fields of an update that the caller sent, by name."""
    return {name: value for name in names if (value := getattr(body, name)) is not UNSET}

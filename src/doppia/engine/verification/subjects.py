"""What the rows of everything but transactions must be, by the newest record about each."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from doppia.accounting.ledger.balances import Sums
from doppia.proof.records import (
    AccountWritten,
    AnyRecord,
    CategoryWritten,
    LedgerWritten,
    MonitorWritten,
    SettlementWritten,
    StatementWritten,
    moment,
)

NAMES: Final[Mapping[type[Any], str]] = {
    LedgerWritten: "ledger",
    AccountWritten: "accounts",
    CategoryWritten: "categories",
    MonitorWritten: "monitors",
    StatementWritten: "statements",
    SettlementWritten: "settlements",
}
"""The query that reads what records of a kind wrote."""

READ: Final = {
    "ledger": "ledger",
    "accounts": "account",
    "categories": "category",
    "monitors": "monitor",
    "statements": "statement",
    "settlements": "settlement",
}
"""What each of these queries reads."""

_PLAIN: Final = (
    "name", "description", "currency", "currency_exponent", "normal_balance", "external_id", "ledgerable_type",
    "ledgerable_id", "metadata", "field", "operator", "value", "lock_version", "status", "becomes",
    "allow_either_direction", "skip_transaction", "direction",
)  # fmt: skip


def difference(record: AnyRecord, row: Mapping[str, Any]) -> str | None:
    """Say in which column a row differs from what the newest record about its object says; None where in none."""
    if row["created_at"] is None:
        return "its row is missing"
    columns = [name for name in _PLAIN if hasattr(record, name) and name in row.keys()]  # noqa: SIM118 - a record of asyncpg
    told: dict[str, Any] = {name: getattr(record, name) for name in columns}
    told |= _others(record, row["newest_at"])
    told["created_at"] = row["created_as"]
    for column, value in told.items():
        if row[column] != value:
            return f"its {column} is {_shown(row[column])} in the table, and {_shown(value)} by the log"
    return None


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def _others(record: AnyRecord, at: datetime) -> dict[str, Any]:
    """Return the columns that have another name than the record's fields, or another form."""
    match record:
        case LedgerWritten() | AccountWritten() | CategoryWritten():
            return {"discarded_at": at if record.discarded else None, "updated_at": at}
        case MonitorWritten():
            return {
                "account_sequence": record.account,
                "is_triggered": record.triggered,
                "discarded_at": at if record.discarded else None,
                "updated_at": at,
            }
        case StatementWritten():
            sums = [int(text) for text in (*record.starting_sums, *record.ending_sums)]
            names = [f"{when}_{name}" for when in ("starting", "ending") for name in Sums._fields]
            return {
                "account_sequence": record.account,
                "effective_at_lower_bound": moment(record.effective_at_lower_bound),
                "effective_at_upper_bound": moment(record.effective_at_upper_bound),
                **dict(zip(names, sums, strict=True)),
                "is_sum": True,
            }
        case SettlementWritten():
            bound = record.effective_at_upper_bound
            return {
                "settled_account_sequence": record.settled_account,
                "contra_account_sequence": record.contra_account,
                "effective_at_upper_bound": None if bound is None else moment(bound),
                "transaction_sequence": record.transaction,
                "amount": None if record.amount is None else int(record.amount),
            }
        case _:
            raise AssertionError(record)

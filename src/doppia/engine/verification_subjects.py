"""What the rows of everything but transactions must be by the log, and what can be compared only at its end."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final

from doppia.accounting.balances import Sums
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
from doppia.proof.replay_state import State
from doppia.store import verification as store
from doppia.store.database import Connection

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

_ROWS_AT_ONCE: Final = 5_000
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
        case LedgerWritten():
            return {"discarded_at": at if record.discarded else None}
        case AccountWritten() | CategoryWritten():
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


async def _wrong_balance(connection: Connection, ledger: int, state: State) -> str | None:
    last, found = 0, 0
    while rows := await store.rows(connection, "balances", ledger, last, _ROWS_AT_ONCE):
        for number, lock_version, *sums, categories, is_monitored in rows:
            account = state.accounts.get(number)
            told = account and (account.lock_version, account.sums, account.categories, number in state.monitors_of)
            if told != (lock_version, sums, categories, is_monitored):
                return f"account {state.id_of(number)}: its balance in the table is not what its entries come to"
        last, found = rows[-1][0], found + len(rows)
    return None if found == len(state.accounts) else "the balance of an account is missing"


async def _wrong_category_set(connection: Connection, ledger: int, state: State) -> str | None:
    totals: dict[tuple[int, ...], list[int]] = {}
    for account in state.accounts.values():
        if account.categories:
            total = totals.setdefault(tuple(account.categories), [0, 0, 0, 0])
            for place, part in enumerate(account.sums):
                total[place] += part
    for number, categories, *sums, named in await store.rows(connection, "category_sets", ledger):
        if named != categories or sums != totals.get(tuple(categories), [0, 0, 0, 0]):
            of = ", ".join(state.id_of(category) for category in categories)
            return f"what is kept of the accounts in categories {of} (set {number}) is not what they sum to"
    return None


async def _wrong_edge(connection: Connection, ledger: int, state: State) -> str | None:
    stored = {(row[0], row[1]) for row in await store.rows(connection, "category_edges", ledger)}
    told = {(child, parent) for child, found in state.categories.items() for parent in found.parents}
    for child, parent in sorted(stored ^ told):
        is_so = "is not in" if (child, parent) in told else "is in"
        return f"category {state.id_of(child)} {is_so} category {state.id_of(parent)}, and the log says otherwise"
    return None


async def _wrong_settled_entry(connection: Connection, ledger: int, state: State) -> str | None:
    last, found = 0, 0
    while rows := await store.rows(connection, "settled_entries", ledger, last, _ROWS_AT_ONCE):
        for entry, settlement, is_freed in rows:
            if is_freed:
                continue
            found += 1
            if state.settled.get(entry) != settlement:
                return f"entry {state.entry_id(entry)} is in settlement {state.id_of(settlement)}, and not by the log"
        last = rows[-1][0]
    return None if found == len(state.settled) else "an entry that the log settled is in no settlement"


async def _wrong_settlement(connection: Connection, ledger: int, state: State) -> str | None:
    for row in await store.rows(connection, "wrong_settlements", ledger):
        return f"settlement {state.id_of(row[0])} is not of posted entries of its account, or not what they come to"
    return None


async def _shared_external_id(connection: Connection, ledger: int, state: State) -> str | None:
    for kind, number in await store.rows(connection, "shared_external_ids", ledger):
        return f"{kind} {state.id_of(number)} has the external id of another"
    return None


async def wrong_bucket(connection: Connection, ledger: int) -> tuple[int, str] | None:
    """Return the first account whose sums in buckets of time are not those of its entries, and say which bucket."""
    for account, steps, level in await store.rows(connection, "accounts_with_buckets", ledger):
        for shift, bucket, lock_version in await store.rows(connection, "wrong_bucket", ledger, account, steps, level):
            return account, (
                f"what its entries effective from {moment(bucket << shift).isoformat()} on sum to is wrong as of "
                f"lock_version {lock_version}"
            )
    return None


AT_THE_END: Final[tuple[Callable[[Connection, int, State], Awaitable[str | None]], ...]] = (
    _wrong_balance,
    _wrong_category_set,
    _wrong_edge,
    _wrong_settled_entry,
    _wrong_settlement,
    _shared_external_id,
)
"""Each says what is wrong with a ledger once its log was folded, or None."""

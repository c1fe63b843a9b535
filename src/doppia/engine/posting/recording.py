"""Each kind of record is written to the tables by one function, found here.

Records of transactions and of settlements are not among them: they are recorded in groups, by `store.posting`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from doppia.proof.records import (
    AccountCategories,
    AccountWritten,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    LedgerWritten,
    MonitorWritten,
    Record,
    Redacted,
    StatementWritten,
)
from doppia.store.database.connections import Connection
from doppia.store.ledger import accounts, categories, entries, ledgers, monitors, statements


async def _no_rows(_: Connection, __: int, ___: Redacted) -> None:
    """Write nothing: a redaction has no rows, and what it takes from those of others, its command erases."""


_WRITERS: Final[dict[type[Any], Callable[[Connection, int, Any], Awaitable[None]]]] = {
    LedgerWritten: ledgers.write,
    AccountWritten: accounts.write,
    EntryAnnotated: entries.write,
    CategoryWritten: categories.write,
    AccountCategories: categories.write_of_account,
    CategoryParents: categories.write_parents,
    MonitorWritten: monitors.write,
    StatementWritten: statements.write,
    Redacted: _no_rows,
}


async def write_rows(connection: Connection, ledger: int, record: Record) -> None:
    """Write a record to the tables of a ledger, after all the records before it; the ledger's head is locked."""
    await _WRITERS[type(record)](connection, ledger, record)

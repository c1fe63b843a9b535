"""Versions of transactions: what each record that wrote one made of it."""

from collections.abc import Sequence
from typing import NamedTuple

from doppia.accounting.ids import Id
from doppia.accounting.ledger.transactions import Transaction
from doppia.store.database.connections import Connection
from doppia.store.database.listing import Filter, Place
from doppia.store.ledger import statements, transactions
from doppia.store.log import log
from doppia.store.log.log import LogRow


class Version(NamedTuple):
    """A record of a log, and the transaction as it was then."""

    row: LogRow
    transaction: Transaction


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    statement: Id | None,
    filters: Sequence[Filter],
    after: Place | None,
    limit: int,
) -> list[Version]:
    """Return a page of versions, the newest first.

    Args:
        connection: to read with.
        ledgers: to list from.
        statement: id of the one whose versions they are; None takes all. Those are the newest ones, when it was made,
            of the transactions that have entries in it, in the order of these entries.
        filters: as `log.list_page` takes them; they find records of transactions only.
        after: the place of the last row of the page before.
        limit: rows at most.
    """
    # Of a ledger that is purged meanwhile, either all is seen or nothing.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        if statement is None:
            rows = await log.list_page(connection, ledgers, filters, after, limit)
        else:
            found = await statements.get(connection, statement.ledger, statement.sequence)
            rows = []
            if found is not None and found.id == str(statement) and statement.ledger in ledgers:
                rows = await log.list_of_statement(connection, found, filters, after, limit)
        recorded = await transactions.as_recorded(connection, [row.position for row in rows])
    return [Version(row, recorded[row.position]) for row in rows]

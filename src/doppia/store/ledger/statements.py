"""Account statements in the database, and the entries that one holds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from doppia.accounting.ids import format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.money import Currency
from doppia.store.database.connections import Connection, load_filters, load_queries
from doppia.store.database.listing import Filter, Order, Place, compose
from doppia.store.ledger import entries
from doppia.store.ledger.entries import EntryInTransaction

_SQL: Final = load_queries("ledger/statements")
_FILTERS: Final = load_filters("ledger/statements")


def _statement(row: Any) -> Statement:
    ledger, sequence, created_at = row["ledger_id"], row["statement_sequence"], row["created_at"]
    starting, ending = (Sums(*(row[f"{when}_{name}"] for name in Sums._fields)) for when in ("starting", "ending"))
    account = Account(
        format_id(int(row["account_created_at"].timestamp()), ledger, row["account_sequence"]),
        row["account_sequence"],
        Currency(row["currency"], row["currency_exponent"]),
        row["normal_balance"],
        row["is_open"],
        row["lock_version"],
        ending,
    )
    return Statement(
        format_id(int(created_at.timestamp()), ledger, sequence),
        ledger,
        sequence,
        account,
        row["effective_at_lower_bound"],
        row["effective_at_upper_bound"],
        starting,
        row["description"],
        row["metadata"],
        created_at,
    )


async def sums_before(
    connection: Connection, ledger: int, account: int, lock_version: int, times: Sequence[datetime]
) -> list[Sums]:
    """Return what an account's entries, as of a lock version, sum to that are effective before each of the times."""
    rows = await _SQL["sums"].fetch(
        connection, ledger=ledger, account=account, lock_version=lock_version, times=list(times)
    )
    return [Sums(*row) for row in rows]


async def create(connection: Connection, statement: Statement) -> None:
    """Create a statement; the ledger's head is locked."""
    account = statement.account
    await _SQL["create"].execute(
        connection,
        ledger=statement.ledger,
        statement=statement.sequence,
        account=account.sequence,
        lock_version=account.lock_version,
        effective_at_lower_bound=statement.effective_at_lower_bound,
        effective_at_upper_bound=statement.effective_at_upper_bound,
        **{f"starting_{name}": amount for name, amount in statement.starting._asdict().items()},
        **{f"ending_{name}": amount for name, amount in account.sums._asdict().items()},
        description=statement.description,
        metadata=dict(statement.metadata),
        created_at=statement.created_at,
    )


async def get(connection: Connection, ledger: int, sequence: int) -> Statement | None:
    """Return a statement."""
    found = await list_page(connection, [ledger], [Filter("id", [sequence])], None, 1)
    return found[0] if found else None


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    after: Place | None,
    limit: int,
) -> list[Statement]:
    """Return a page of statements, the newest first."""
    order = Order("created_at", "statement_sequence", 0, "desc")
    query, arguments = compose(
        _SQL["list"].text, _FILTERS, filters, ledgers=ledgers, order=order, after=after, limit=limit
    )
    return [_statement(row) for row in await connection.fetch(query, *arguments)]


async def list_entries(
    connection: Connection,
    statement: Statement,
    filters: Sequence[Filter],
    order: Order,
    after: Place | None,
    limit: int,
) -> list[EntryInTransaction]:
    """Return a page of the entries that a statement holds: those in force at its lock version, between its bounds."""
    held = [
        *filters,
        Filter("ledger_account_id", statement.account.sequence),
        Filter("as_of_lock_version", statement.account.lock_version),
        Filter("effective_at", statement.effective_at_lower_bound, "gte"),
        Filter("effective_at", statement.effective_at_upper_bound, "lt"),
    ]
    return await entries.list_page(connection, [statement.ledger], held, order, after, limit)

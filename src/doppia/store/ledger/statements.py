"""Account statements in the database, and the entries that one holds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from doppia.accounting.ids import format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.money import Currency
from doppia.proof.records import Origin, StatementWritten, microseconds, moment
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Listing, Order, Place, Walk, newest_first
from doppia.store.database.parameters import METADATA, TIME, Parameter, Plan, Reach, id_of, several, unfiltered
from doppia.store.ledger import entries
from doppia.store.ledger.entries import EntryInTransaction

_SQL: Final = load_queries("ledger/statements")


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


async def get(connection: Connection, ledger: int, sequence: int) -> Statement | None:
    """Return a statement."""
    found = await list_page(connection, [ledger], [Filter("id", [sequence])], None, 1)
    return found[0] if found else None


PARAMETERS: Final = (
    Parameter("id", several(id_of("ledger_account_statement")), Reach.FEW, Plan.KEPT, ("id", "id_exact")),
    unfiltered("ledger_id", id_of("ledger")),
    Parameter("ledger_account_id", id_of("ledger_account"), Reach.ACCOUNT, Plan.KEPT),
    Parameter("created_at", TIME, Reach.ANYWHERE, Plan.KEPT),
    Parameter("metadata", METADATA, Reach.LEDGER_INDEX, Plan.BY_VALUE),
)
LIST: Final = Listing(
    "ledger/statements",
    PARAMETERS,
    walks=(Walk("by_filters", ("account_statements_pkey",)),),
    newest_first=Order("created_at", "statement_sequence", 0, "desc"),
)
list_page: Final = newest_first(LIST, _statement)


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
    return await entries.list_page(connection, [statement.ledger], held, after, limit, order)


def record_of(statement: Statement, origin: Origin) -> StatementWritten:
    """Return the record that makes a statement."""
    account = statement.account
    return StatementWritten(
        **origin._asdict(),
        account=account.sequence,
        lock_version=account.lock_version,
        effective_at_lower_bound=microseconds(statement.effective_at_lower_bound),
        effective_at_upper_bound=microseconds(statement.effective_at_upper_bound),
        starting_sums=[str(part) for part in statement.starting],
        ending_sums=[str(part) for part in account.sums],
        description=statement.description,
        metadata=dict(statement.metadata),
    )


def from_record(record: StatementWritten, ledger: int, account: Account) -> Statement:
    """Return the statement that a record makes of its account."""
    starting, ending = (Sums(*map(int, sums)) for sums in (record.starting_sums, record.ending_sums))
    created_at = moment(record.recorded_at)
    return Statement(
        id=format_id(int(created_at.timestamp()), ledger, record.sequence),
        ledger=ledger,
        sequence=record.sequence,
        account=account._replace(lock_version=record.lock_version, sums=ending),
        effective_at_lower_bound=moment(record.effective_at_lower_bound),
        effective_at_upper_bound=moment(record.effective_at_upper_bound),
        starting=starting,
        description=record.description,
        metadata=record.metadata,
        created_at=created_at,
    )


async def write(connection: Connection, ledger: int, record: StatementWritten) -> None:
    """Write the statement that a record makes; the ledger's head is locked."""
    starting, ending = (Sums(*map(int, sums)) for sums in (record.starting_sums, record.ending_sums))
    await _SQL["create"].execute(
        connection,
        ledger=ledger,
        statement=record.sequence,
        account=record.account,
        lock_version=record.lock_version,
        effective_at_lower_bound=moment(record.effective_at_lower_bound),
        effective_at_upper_bound=moment(record.effective_at_upper_bound),
        **{f"starting_{name}": amount for name, amount in starting._asdict().items()},
        **{f"ending_{name}": amount for name, amount in ending._asdict().items()},
        description=record.description,
        metadata=record.metadata,
        created_at=moment(record.recorded_at),
    )

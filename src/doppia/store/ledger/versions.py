"""Versions of transactions: what each record that wrote one made of it."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from doppia.accounting.ids import Id
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.ledger.transactions import Transaction
from doppia.accounting.platform.events import Event
from doppia.proof.kinds import NUMBERS
from doppia.store.database.connections import Connection
from doppia.store.database.listing import Filter, Listing, Order, Page, Place, Walk
from doppia.store.database.parameters import TIME, VERSIONS, id_of, several, unfiltered
from doppia.store.ledger import statements, transactions
from doppia.store.log import log
from doppia.store.log.log import LogRow, happening, log_row


class Version(NamedTuple):
    """A record of a log, and the transaction as it was then."""

    row: LogRow
    transaction: Transaction


OF_TRANSACTION_PARAMETERS: Final = (
    unfiltered("id", several(id_of("ledger_transaction_version")), "id", "version_id_exact"),
    unfiltered("created_at", TIME, "created_at"),
    unfiltered("version", VERSIONS, "version"),
)
PARAMETERS: Final = (
    *OF_TRANSACTION_PARAMETERS,
    unfiltered("ledger_id", id_of("ledger")),
    unfiltered("ledger_transaction_id", id_of("ledger_transaction"), "object"),
    unfiltered("ledger_account_statement_id", id_of("ledger_account_statement")),
)

OF_STATEMENT: Final = Listing(
    "ledger/versions",
    log.CONDITIONS,
    walks=(Walk("along_account", ("entries_account_key", "entries_effective_at_idx"), "list_of_statement"),),
    newest_first=Order("created_at", "lock_version", 0, "desc"),
    conditions="log/log",
)
_MICROSECOND: Final = timedelta(microseconds=1)
_NUMBER_MAX: Final = 2**63 - 1
_CREATED: Final = happening(NUMBERS["transaction"], Event.CREATED)
_CHANGED: Final = [happening(NUMBERS["transaction"], event) for event in (Event.UPDATED, Event.POSTED, Event.ARCHIVED)]


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    after: Place | None,
    limit: int,
    statement: Id | None = None,
) -> list[Version]:
    """Return a page of versions, the newest first.

    Args:
        connection: to read with.
        ledgers: to list from.
        filters: those of the list's parameters.
        after: the place of the last row of the page before.
        limit: rows at most.
        statement: id of the one whose versions they are; None takes all. Those are the newest ones, when it was made,
            of the transactions that have entries in it, in the order of these entries.
    """
    filters = _of_records(filters)
    # Of a ledger that is purged meanwhile, either all is seen or nothing.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        if statement is None:
            rows = await log.list_page(connection, ledgers, filters, after, limit)
        else:
            found = await statements.get(connection, statement.ledger, statement.sequence)
            rows = []
            if found is not None and found.id == str(statement) and statement.ledger in ledgers:
                rows = await records_of_statement(connection, found, filters, after, limit)
        recorded = await transactions.as_recorded(connection, [row.position for row in rows])
    return [Version(row, recorded[row.position]) for row in rows]


async def records_of_statement(
    connection: Connection, statement: Statement, filters: Sequence[Filter], after: Place | None, limit: int
) -> list[LogRow]:
    """Return a page of the records that wrote the versions of a statement.

    Those are the newest ones, when the statement was made, of the transactions that have entries in it, in the order of
    these entries, the newest first. The filters are conditions of the log.
    """
    values: dict[str, Any] = {
        "account": statement.account.sequence,
        "pinned": statement.account.lock_version,
        "lower": statement.effective_at_lower_bound,
        "upper": statement.effective_at_upper_bound,
        "made": statement.sequence,
    }
    page = Page([statement.ledger], filters, OF_STATEMENT.newest_first, after, limit)
    return [log_row(row, page.order) for row in await OF_STATEMENT.fetch(connection, page, values)]


def _of_records(filters: Sequence[Filter]) -> list[Filter]:
    """Return a list's filters as conditions of the log, by which only records of transactions are found."""
    versions = [found for found in filters if found.name == "version"]
    said = [Filter("happening", _happenings(versions))]
    for found in filters:
        said += _in_log(found) if found.name == "created_at" else [found]
    return said


def _in_log(found: Filter) -> list[Filter]:
    """Say a comparison of times by the first and the last that are meant."""
    match found.comparison:
        case "gt":
            return [Filter("from_time", found.value + _MICROSECOND)]
        case "gte":
            return [Filter("from_time", found.value)]
        case "lt":
            return [Filter("to_time", found.value - _MICROSECOND)]
        case "lte":
            return [Filter("to_time", found.value)]
    return [Filter("from_time", found.value), Filter("to_time", found.value)]


def _happenings(versions: Iterable[Filter]) -> list[int]:
    """Return what may have written the versions that are asked for: a first one is a creation, the others are changes.

    Each is found by an index of its own, so that neither is walked through in search of the other.
    """
    found = {_CREATED, *_CHANGED}
    for _, bound, comparison in versions:
        least, most = 0, _NUMBER_MAX
        match comparison:
            case "gt":
                least = bound + 1
            case "gte":
                least = bound
            case "lt":
                most = bound - 1
            case "lte":
                most = bound
            case _:
                least = most = bound
        if not least <= 0 <= most:
            found.discard(_CREATED)
        if most < 1:
            found.difference_update(_CHANGED)
    return sorted(found)

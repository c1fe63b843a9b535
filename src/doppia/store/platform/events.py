"""Events: what the object that a log record is about was then."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

from doppia.accounting.closing.settlements import Settlement
from doppia.accounting.ids import ORDINAL_BITS, format_id
from doppia.accounting.ledger.accounts import Account, AccountFields
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.categories import CategoryFields
from doppia.accounting.ledger.ledgers import Ledger
from doppia.accounting.ledger.monitors import MonitorState
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.ledger.transactions import Transaction
from doppia.accounting.money import Currency
from doppia.accounting.platform.redactions import Redaction
from doppia.proof.kinds import kind_of
from doppia.proof.records import (
    EntryAnnotated,
    MonitorWritten,
    SettlementWritten,
    StatementWritten,
    TransactionWritten,
    moment,
)
from doppia.proof.sealing import opened
from doppia.store.closing import settlements
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Place
from doppia.store.ledger import accounts, categories, entries, ledgers, monitors, statements, transactions
from doppia.store.ledger.entries import EntryInTransaction
from doppia.store.log import log
from doppia.store.log.log import LogRow
from doppia.store.platform import redactions

_SQL: Final = load_queries("platform/events")

Recorded: TypeAlias = (
    Ledger
    | AccountFields
    | Transaction
    | EntryInTransaction
    | CategoryFields
    | MonitorState
    | Statement
    | Settlement
    | Redaction
)

_Place: TypeAlias = tuple[int, int]
"""A ledger, and a sequence in its log."""

_Told: TypeAlias = Sequence[tuple[LogRow, Any]]
"""Rows, each with the record that says what its object was then."""


@dataclass(slots=True, frozen=True)
class _Facts:
    """What the records of a page leave to be looked up.

    Attributes:
        transactions, entries: that they wrote, by place of the record.
        accounts: that they name, without sums, by place of the account.
        sums: of monitored accounts, by place of the monitor's record.
        ids: of the transactions that records name, by place of the transaction.
    """

    transactions: dict[_Place, Transaction]
    entries: dict[_Place, EntryInTransaction]
    accounts: dict[_Place, Account]
    sums: dict[_Place, Sums]
    ids: dict[_Place, str]


class RecordedEvent(NamedTuple):
    """An event: a record of a log, and the object that it is about as it was then."""

    row: LogRow
    object: Recorded


async def list_page(
    connection: Connection, ledgers: Sequence[int], filters: Sequence[Filter], after: Place | None, limit: int
) -> list[RecordedEvent]:
    """Return a page of events, the newest first.

    Accounts, categories and settlements come without what their records do not say: sums, and how far a sweep has come.
    """
    # Of a ledger that is purged meanwhile, either all is seen or nothing.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await log.list_page(connection, ledgers, filters, after, limit)
        told = await _read(connection, rows)
        facts = _Facts(
            await transactions.as_recorded(connection, [row.position for row, _ in _of(told, TransactionWritten)]),
            await _annotated(connection, _of(told, EntryAnnotated)),
            await _accounts(connection, told),
            await _sums(connection, _of(told, MonitorWritten)),
            await _ids(connection, _of(told, SettlementWritten)),
        )
    return [RecordedEvent(row, OBJECTS[kind_of(record).name](row, record, facts)) for row, record in told]


def _of(told: _Told, *kinds: type) -> _Told:
    return [(row, record) for row, record in told if isinstance(record, kinds)]


async def _read(connection: Connection, rows: Sequence[LogRow]) -> _Told:
    told = [(row, row.opened()) for row in rows]
    whole: dict[_Place, Any] = {}
    for query in sorted(set(PARTIAL.values())):
        partial = [row for row, record in told if PARTIAL.get(kind_of(record).name) == query]
        if partial:
            found = await _SQL[query].fetch(
                connection,
                ledgers=[row.ledger for row in partial],
                objects=[row.object_sequence for row in partial],
                sequences=[row.sequence for row in partial],
            )
            whole |= {(ledger, sequence): opened(payload, texts) for ledger, sequence, payload, texts in found}
    return [(row, whole.get(row.position, record)) for row, record in told]


PARTIAL: Final = {"account_categories": "placed", "category_parents": "placed", "settled_entries": "settled"}
"""The kinds of records that do not say all of an object, and the query that finds the newest one before that does."""


async def _annotated(connection: Connection, told: _Told) -> dict[_Place, EntryInTransaction]:
    """Return the entries that annotations are about, as these left them."""
    if not told:
        return {}
    numbers = [(row.ledger, record.entry_sequence << ORDINAL_BITS | record.entry_ordinal) for row, record in told]
    exact = [
        f"{row.ledger}.{record.entry_sequence}.{int(row.object_created_at.timestamp())}.{record.entry_ordinal}"
        for row, record in told
    ]
    distinct = sorted(set(numbers))
    filters = [Filter("id", sorted({number for _, number in distinct})), Filter("id_exact", exact)]
    ledgers = sorted({ledger for ledger, _ in distinct})
    now = {
        (found.ledger, found.entry.sequence << ORDINAL_BITS | found.entry.ordinal): found
        for found in await entries.list_page(connection, ledgers, filters, None, len(distinct))
    }
    ended = await _SQL["discards"].fetch(
        connection, ledgers=[ledger for ledger, _ in distinct], entries=[number for _, number in distinct]
    )
    discarded = {(row["ledger_id"], row["entry"]): row["sequence"] for row in ended}
    then = {}
    for (row, record), number in zip(told, numbers, strict=True):
        found = now[number]
        discarded_at = found.entry.discarded_at if discarded.get(number, row.sequence) < row.sequence else None
        entry = found.entry._replace(
            metadata=record.metadata, updated_at=moment(record.recorded_at), discarded_at=discarded_at
        )
        then[row.position] = found._replace(entry=entry)
    return then


async def _accounts(connection: Connection, told: _Told) -> dict[_Place, Account]:
    """Return the accounts that records of other objects name, without sums."""
    places = {(row.ledger, record.account) for row, record in _of(told, MonitorWritten, StatementWritten)}
    for row, record in _of(told, SettlementWritten):
        places |= {(row.ledger, record.settled_account), (row.ledger, record.contra_account)}
    if not places:
        return {}
    pairs = sorted(places)
    rows = await _SQL["accounts"].fetch(
        connection, ledgers=[ledger for ledger, _ in pairs], accounts=[sequence for _, sequence in pairs]
    )
    return {
        (ledger, sequence): Account(
            format_id(int(created_at.timestamp()), ledger, sequence), sequence, Currency(*unit), side, True, 0, NOTHING
        )
        for ledger, sequence, created_at, *unit, side in rows
    }


async def _sums(connection: Connection, told: _Told) -> dict[_Place, Sums]:
    """Return the sums of accounts as of the lock versions that monitors' records name."""
    if not told:
        return {}
    found = await _SQL["sums"].fetch(
        connection,
        ledgers=[row.ledger for row, _ in told],
        accounts=[record.account for _, record in told],
        lock_versions=[record.lock_version for _, record in told],
    )
    return {row.position: Sums(*sums) for (row, _), sums in zip(told, found, strict=True)}


async def _ids(connection: Connection, told: _Told) -> dict[_Place, str]:
    """Return the ids of the transactions that settlements name."""
    places = sorted({(row.ledger, record.transaction) for row, record in told if record.transaction is not None})
    if not places:
        return {}
    rows = await _SQL["creations"].fetch(
        connection, ledgers=[ledger for ledger, _ in places], objects=[sequence for _, sequence in places]
    )
    return {
        (ledger, sequence): format_id(int(created_at.timestamp()), ledger, sequence)
        for ledger, sequence, created_at in rows
    }


def _monitor(row: LogRow, record: MonitorWritten, facts: _Facts) -> MonitorState:
    account = facts.accounts[row.ledger, record.account]
    fields = monitors.from_record(record, row.ledger, row.object_created_at)
    return MonitorState(fields, account._replace(lock_version=record.lock_version, sums=facts.sums[row.position]))


def _settlement(row: LogRow, record: SettlementWritten, facts: _Facts) -> Settlement:
    settled = facts.accounts[row.ledger, record.settled_account]
    contra = facts.accounts[row.ledger, record.contra_account]
    transaction_id = None if record.transaction is None else facts.ids[row.ledger, record.transaction]
    found = settlements.from_record(record, row.ledger, row.object_created_at, settled, contra, transaction_id)
    # It changes when entries come and go, too, though the record that wrote all of it is an older one.
    return replace(found, updated_at=row.recorded_at)


OBJECTS: Final[Mapping[str, Callable[[LogRow, Any, _Facts], Recorded]]] = {
    "ledger": lambda row, record, _: ledgers.from_record(record, row.object_created_at),
    "account": lambda row, record, _: accounts.from_record(record, row.ledger, row.object_created_at),
    "transaction": lambda row, _, facts: facts.transactions[row.position],
    "entry": lambda row, _, facts: facts.entries[row.position],
    "category": lambda row, record, _: categories.from_record(record, row.ledger, row.object_created_at),
    "monitor": _monitor,
    "statement": lambda row, record, facts: statements.from_record(
        record, row.ledger, facts.accounts[row.ledger, record.account]
    ),
    "settlement": _settlement,
    "redaction": lambda row, record, _: redactions.from_record(record, row.ledger),
}
"""Returns the object that a record of each kind, but for the partial ones, is about, as it was then."""

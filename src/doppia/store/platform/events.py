"""Events: what the object that a log record is about was then."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from doppia.accounting.closing.settlements import Settlement
from doppia.accounting.ids import ORDINAL_BITS, format_id
from doppia.accounting.ledger.accounts import Account, AccountFields
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.categories import Category, CategoryFields
from doppia.accounting.ledger.ledgers import Ledger
from doppia.accounting.ledger.monitors import Monitor, MonitorFields, MonitorState
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.ledger.transactions import Transaction
from doppia.accounting.money import Currency
from doppia.proof.records import (
    AccountCategories,
    AccountWritten,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    LedgerWritten,
    MonitorWritten,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
    TransactionWritten,
    moment,
    read_record,
)
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Place
from doppia.store.ledger import entries, transactions
from doppia.store.ledger.entries import BY_CREATION, EntryInTransaction
from doppia.store.log import log
from doppia.store.log.log import LogRow

_SQL: Final = load_queries("platform/events")

Recorded: TypeAlias = (
    Ledger | AccountFields | Transaction | EntryInTransaction | CategoryFields | MonitorState | Statement | Settlement
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
    return [RecordedEvent(row, _object(row, record, facts)) for row, record in told]


def _of(told: _Told, *kinds: type) -> _Told:
    return [(row, record) for row, record in told if isinstance(record, kinds)]


async def _read(connection: Connection, rows: Sequence[LogRow]) -> _Told:
    told = [(row, read_record(row.payload)) for row in rows]
    found: dict[_Place, bytes] = {}
    for query, partial in (
        ("placed", _of(told, AccountCategories, CategoryParents)),
        ("settled", _of(told, SettledEntries)),
    ):
        if partial:
            written = await _SQL[query].fetch(
                connection,
                ledgers=[row.ledger for row, _ in partial],
                objects=[row.object_sequence for row, _ in partial],
                sequences=[row.sequence for row, _ in partial],
            )
            found |= {(ledger, sequence): payload for ledger, sequence, payload in written}
    return [(row, read_record(found[row.position]) if row.position in found else record) for row, record in told]


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
        for found in await entries.list_page(connection, ledgers, filters, BY_CREATION, None, len(distinct))
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


def _object(row: LogRow, record: Any, facts: _Facts) -> Recorded:
    match record:
        case TransactionWritten():
            return facts.transactions[row.position]
        case EntryAnnotated():
            return facts.entries[row.position]
        case LedgerWritten():
            return _ledger(row, record)
        case AccountWritten():
            return _account(row, record)
        case CategoryWritten():
            return _category(row, record)
        case MonitorWritten():
            account = facts.accounts[row.ledger, record.account]
            sums = facts.sums[row.position]
            return _monitor(row, record, account._replace(lock_version=record.lock_version, sums=sums))
        case StatementWritten():
            return _statement(row, record, facts.accounts[row.ledger, record.account])
        case SettlementWritten():
            return _settlement(row, record, facts)
    raise AssertionError(record)


def _ledger(row: LogRow, record: LedgerWritten) -> Ledger:
    updated_at = moment(record.recorded_at)
    return Ledger(
        id=row.object_id,
        number=record.ledger,
        name=record.name,
        description=record.description,
        metadata=record.metadata,
        created_at=row.object_created_at,
        updated_at=updated_at,
        discarded_at=updated_at if record.discarded else None,
    )


def _account(row: LogRow, record: AccountWritten) -> AccountFields:
    unit = Currency(record.currency, record.currency_exponent)
    side: Any = record.normal_balance
    updated_at = moment(record.recorded_at)
    return AccountFields(
        account=Account(row.object_id, record.account, unit, side, not record.discarded, 0, NOTHING),
        ledger=row.ledger,
        name=record.name,
        description=record.description,
        external_id=record.external_id,
        ledgerable_type=record.ledgerable_type,
        ledgerable_id=record.ledgerable_id,
        metadata=record.metadata,
        created_at=row.object_created_at,
        updated_at=updated_at,
        discarded_at=updated_at if record.discarded else None,
    )


def _category(row: LogRow, record: CategoryWritten) -> CategoryFields:
    unit = Currency(record.currency, record.currency_exponent)
    side: Any = record.normal_balance
    updated_at = moment(record.recorded_at)
    return CategoryFields(
        category=Category(row.object_id, record.category, unit, side, not record.discarded),
        ledger=row.ledger,
        name=record.name,
        description=record.description,
        external_id=record.external_id,
        metadata=record.metadata,
        sums=NOTHING,
        created_at=row.object_created_at,
        updated_at=updated_at,
        discarded_at=updated_at if record.discarded else None,
    )


def _monitor(row: LogRow, record: MonitorWritten, account: Account) -> MonitorState:
    field: Any = record.field
    operator: Any = record.operator
    updated_at = moment(record.recorded_at)
    fields = MonitorFields(
        monitor=Monitor(record.monitor, record.account, field, operator, int(record.value), record.triggered),
        id=row.object_id,
        ledger=row.ledger,
        description=record.description,
        metadata=record.metadata,
        created_at=row.object_created_at,
        updated_at=updated_at,
        discarded_at=updated_at if record.discarded else None,
    )
    return MonitorState(fields, account)


def _statement(row: LogRow, record: StatementWritten, account: Account) -> Statement:
    starting, ending = (Sums(*(int(part) for part in sums)) for sums in (record.starting_sums, record.ending_sums))
    return Statement(
        id=row.object_id,
        ledger=row.ledger,
        sequence=record.sequence,
        account=account._replace(lock_version=record.lock_version, sums=ending),
        effective_at_lower_bound=moment(record.effective_at_lower_bound),
        effective_at_upper_bound=moment(record.effective_at_upper_bound),
        starting=starting,
        description=record.description,
        metadata=record.metadata,
        created_at=row.object_created_at,
    )


def _settlement(row: LogRow, record: SettlementWritten, facts: _Facts) -> Settlement:
    settled = facts.accounts[row.ledger, record.settled_account]
    contra = facts.accounts[row.ledger, record.contra_account]
    status: Any = record.status
    becomes: Any = record.becomes
    bound, transaction = record.effective_at_upper_bound, record.transaction
    return Settlement(
        id=row.object_id,
        ledger=row.ledger,
        sequence=record.settlement,
        status=status,
        becomes=becomes,
        settled_account=(settled.sequence, settled.id),
        contra_account=(contra.sequence, contra.id),
        currency=settled.currency,
        normal_balance=settled.normal_balance,
        lock_version=record.lock_version,
        searched_lock_version=None,
        effective_at_upper_bound=None if bound is None else moment(bound),
        allows_either_direction=record.allow_either_direction,
        skips_transaction=record.skip_transaction,
        transaction=None if transaction is None else (transaction, facts.ids[row.ledger, transaction]),
        net=0,
        amount=None if record.amount is None else int(record.amount),
        direction=None if record.direction is None else ("credit" if record.direction else "debit"),
        description=record.description,
        metadata=record.metadata,
        created_at=row.object_created_at,
        updated_at=row.recorded_at,
    )

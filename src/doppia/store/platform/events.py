"""Events: what the object that a log record is about was then."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from doppia.accounting.closing.settlements import Settlement
from doppia.accounting.ids import ORDINAL_BITS, format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.categories import Category
from doppia.accounting.ledger.monitors import Monitor
from doppia.accounting.ledger.transactions import Transaction
from doppia.accounting.money import Currency
from doppia.proof.kinds import kind_of
from doppia.proof.records import (
    AccountWritten,
    CategoryWritten,
    EntryAnnotated,
    LedgerWritten,
    MonitorWritten,
    Redacted,
    SettlementWritten,
    StatementWritten,
    TransactionWritten,
    moment,
)
from doppia.proof.sealing import opened
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Place
from doppia.store.ledger import entries, transactions
from doppia.store.ledger.accounts import AccountFields
from doppia.store.ledger.categories import CategoryFields
from doppia.store.ledger.entries import BY_CREATION, EntryInTransaction
from doppia.store.ledger.ledgers import Ledger
from doppia.store.ledger.monitors import MonitorFields, MonitorState
from doppia.store.ledger.statements import Statement
from doppia.store.log import log
from doppia.store.log.log import LogRow
from doppia.store.platform.redactions import Redaction

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
            triples = [(row.ledger, row.object_sequence, row.sequence) for row in partial]
            found = await connection.fetch(_SQL[query], *_columns(triples))
            whole |= {(ledger, sequence): opened(payload, texts) for ledger, sequence, payload, texts in found}
    return [(row, whole.get(row.position, record)) for row, record in told]


PARTIAL: Final = {"account_categories": "placed", "category_parents": "placed", "settled_entries": "settled"}
"""The kinds of records that do not say all of an object, and the query that finds the newest one before that does."""


def _columns(rows: Sequence[tuple[int, ...]]) -> list[list[int]]:
    return [list(column) for column in zip(*rows, strict=True)]


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
    discarded = {
        (row["ledger_id"], row["entry"]): row["sequence"]
        for row in await connection.fetch(_SQL["discards"], *_columns(distinct))
    }
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
    return {
        (ledger, sequence): Account(
            format_id(int(created_at.timestamp()), ledger, sequence), sequence, Currency(*unit), side, True, 0, NOTHING
        )
        for ledger, sequence, created_at, *unit, side in await connection.fetch(
            _SQL["accounts"], *_columns(sorted(places))
        )
    }


async def _sums(connection: Connection, told: _Told) -> dict[_Place, Sums]:
    """Return the sums of accounts as of the lock versions that monitors' records name."""
    if not told:
        return {}
    triples = [(row.ledger, record.account, record.lock_version) for row, record in told]
    found = await connection.fetch(_SQL["sums"], *_columns(triples))
    return {row.position: Sums(*sums) for (row, _), sums in zip(told, found, strict=True)}


async def _ids(connection: Connection, told: _Told) -> dict[_Place, str]:
    """Return the ids of the transactions that settlements name."""
    places = sorted({(row.ledger, record.transaction) for row, record in told if record.transaction is not None})
    if not places:
        return {}
    return {
        (ledger, sequence): format_id(int(created_at.timestamp()), ledger, sequence)
        for ledger, sequence, created_at in await connection.fetch(_SQL["creations"], *_columns(places))
    }


def _ledger(row: LogRow, record: LedgerWritten, _facts: _Facts) -> Ledger:
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


def _account(row: LogRow, record: AccountWritten, _facts: _Facts) -> AccountFields:
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


def _category(row: LogRow, record: CategoryWritten, _facts: _Facts) -> CategoryFields:
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


def _monitor(row: LogRow, record: MonitorWritten, facts: _Facts) -> MonitorState:
    account = facts.accounts[row.ledger, record.account]
    account = account._replace(lock_version=record.lock_version, sums=facts.sums[row.position])
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


def _statement(row: LogRow, record: StatementWritten, facts: _Facts) -> Statement:
    account = facts.accounts[row.ledger, record.account]
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


def _redaction(row: LogRow, record: Redacted, _facts: _Facts) -> Redaction:
    erased = [(number >> ORDINAL_BITS, number & (1 << ORDINAL_BITS) - 1) for number in record.erased]
    return Redaction(row.object_id, row.ledger, erased, record.reason, row.recorded_at)


OBJECTS: Final[Mapping[str, Callable[[LogRow, Any, _Facts], Recorded]]] = {
    "ledger": _ledger,
    "account": _account,
    "transaction": lambda row, _, facts: facts.transactions[row.position],
    "entry": lambda row, _, facts: facts.entries[row.position],
    "category": _category,
    "monitor": _monitor,
    "statement": _statement,
    "settlement": _settlement,
    "redaction": _redaction,
}
"""Returns the object that a record of each kind, but for the partial ones, is about, as it was then."""

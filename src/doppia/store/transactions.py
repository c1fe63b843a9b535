"""Transactions as they are read, with the entries in force."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from doppia.accounting.accounts import Account
from doppia.accounting.balances import NOTHING, Sums
from doppia.accounting.ids import ORDINAL_BITS, Id, format_id
from doppia.accounting.money import Currency
from doppia.accounting.transactions import Entry, Transaction
from doppia.proof.records import TransactionWritten, moment, read_record
from doppia.store.database import Connection, load_filters, load_queries
from doppia.store.listing import Filter, Order, Place, compose

_SQL: Final = load_queries("transactions")
_FILTERS: Final = load_filters("transactions")


def entry_of(row: Any) -> Entry:
    """Return the entry that a row of `entries` tells, in either query that reads them."""
    ledger, lock_version, created_at = row["ledger_id"], row["lock_version"], row["created_at"]
    sums = NOTHING
    if lock_version is not None:
        sums = Sums(row["posted_credits"], row["posted_debits"], row["pending_credits"], row["pending_debits"])
    account = Account(
        format_id(int(row["account_created_at"].timestamp()), ledger, row["account_sequence"]),
        row["account_sequence"],
        Currency(row["currency"], row["currency_exponent"]),
        row["normal_balance"],
        row["is_open"],
        lock_version or 0,
        sums,
    )
    changes = [time for time in (row["metadata_updated_at"], row["discarded_at"]) if time is not None]
    return Entry(
        row["entry"] >> ORDINAL_BITS,
        row["entry"] & (1 << ORDINAL_BITS) - 1,
        account,
        row["direction"],
        row["amount"],
        row["status"],
        row["effective_at"],
        row["metadata"] or {},
        created_at,
        max(changes, default=created_at),
        row["discarded_at"],
    )


def _linked(ledger: int, sequence: int | None, created_at: Any) -> tuple[int, str] | None:
    return None if sequence is None else (sequence, format_id(int(created_at.timestamp()), ledger, sequence))


def _transaction(row: Any, entries: tuple[Entry, ...]) -> Transaction:
    ledger, sequence, created_at = row["ledger_id"], row["transaction_sequence"], row["created_at"]
    return Transaction(
        id=format_id(int(created_at.timestamp()), ledger, sequence),
        sequence=sequence,
        version=row["version"],
        status=row["status"],
        entries=entries,
        description=row["description"],
        external_id=row["external_id"],
        effective_at=row["effective_at"],
        posted_at=row["posted_at"],
        created_at=created_at,
        updated_at=row["updated_at"],
        metadata=row["metadata"],
        ledgerable_type=row["ledgerable_type"],
        ledgerable_id=row["ledgerable_id"],
        archived_reason=row["archived_reason"],
        reverses=_linked(ledger, row["reverses_sequence"], row["reverses_created_at"]),
        reversed_by=_linked(ledger, row["reversed_by_sequence"], row["reversed_by_created_at"]),
        expires_at=row["expires_at"],
        partially_posts=_linked(ledger, row["partially_posts_sequence"], row["partially_posts_created_at"]),
        settlement=_linked(ledger, row["settlement_sequence"], row["settlement_created_at"]),
    )


async def written_entries(
    connection: Connection, records: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], tuple[Entry, ...]]:
    """Return the entries that log records wrote, in order, by ledger and sequence of the record."""
    rows = await connection.fetch(_SQL["entries"], [ledger for ledger, _ in records], [seq for _, seq in records])
    entries: dict[tuple[int, int], list[Entry]] = {record: [] for record in records}
    for row in rows:
        entries[row["ledger_id"], row["entry"] >> ORDINAL_BITS].append(entry_of(row))
    return {record: tuple(written) for record, written in entries.items()}


async def _with_entries(connection: Connection, rows: Sequence[Any]) -> list[Transaction]:
    if not rows:
        return []
    records = [(row["ledger_id"], row["entries_sequence"]) for row in rows]
    entries = await written_entries(connection, records)
    return [_transaction(row, _in_force(row, entries[record])) for row, record in zip(rows, records, strict=True)]


def _in_force(row: Any, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Leave out discards that came between the two reads: what the transaction's row calls in force was so then."""
    if row["status"] == "archived" or all(entry.discarded_at is None for entry in entries):
        return entries
    return tuple(entry._replace(discarded_at=None, updated_at=entry.created_at) for entry in entries)


async def get(connection: Connection, ledger: int, sequences: Iterable[int]) -> dict[int, Transaction]:
    """Return those transactions of a ledger that exist, by sequence."""
    rows = await connection.fetch(_SQL["get"], ledger, list(sequences))
    return {found.sequence: found for found in await _with_entries(connection, rows)}


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    order: Order,
    after: Place | None,
    limit: int,
) -> list[tuple[int, Transaction]]:
    """Return a page of transactions, each with the number of its ledger."""
    query, arguments = compose(_SQL["list"], _FILTERS, filters, ledgers=ledgers, order=order, after=after, limit=limit)
    rows = await connection.fetch(query, *arguments)
    found = await _with_entries(connection, rows)
    return [(row["ledger_id"], transaction) for row, transaction in zip(rows, found, strict=True)]


async def as_recorded(connection: Connection, ledger: int, sequences: Sequence[int]) -> dict[int, Transaction]:
    """Return the transactions as they were when these log records wrote their entries, by sequence of the record."""
    rows = await connection.fetch(_SQL["records"], ledger, list(sequences))
    records = [record for row in rows if isinstance(record := read_record(row["payload"]), TransactionWritten)]
    now = await get(connection, ledger, {record.transaction for record in records})
    written = await written_entries(connection, [(ledger, sequence) for sequence in sequences])
    return {
        record.sequence: _at_version(now[record.transaction], record, written[ledger, record.sequence])
        for record in records
    }


def _at_version(now: Transaction, record: TransactionWritten, written: Sequence[Entry]) -> Transaction:
    assert record.entries is not None, "a record without entries keeps its answer"
    recorded_at = moment(record.recorded_at)
    return replace(
        now,
        version=record.version,
        status=record.status,  # type: ignore[arg-type] # the record's status is one of the three
        entries=tuple(
            entry._replace(metadata=told.metadata or {}, updated_at=recorded_at, discarded_at=None)
            for entry, told in zip(written, record.entries, strict=True)
        ),
        description=record.description,
        external_id=record.external_id,
        effective_at=moment(record.effective_at),
        posted_at=None if record.posted_at is None else moment(record.posted_at),
        expires_at=None if record.expires_at is None else moment(record.expires_at),
        updated_at=recorded_at,
        metadata=record.metadata,
        ledgerable_type=record.ledgerable_type,
        ledgerable_id=record.ledgerable_id,
        archived_reason=record.archived_reason,
        reversed_by=None,
    )


async def by_external_id(connection: Connection, ledgers: Sequence[int], external_id: str) -> list[Id]:
    """Return, for each of the ledgers that has any, the transaction that an external id means.

    That is the pending or posted one that has it; where none has, the newest archived one. Archived ones are left out
    where any ledger has another.
    """
    rows = await connection.fetch(_SQL["by_external_id"], list(ledgers), external_id)
    in_force = [row for row in rows if row[3]]
    return [Id(int(row[2].timestamp()), row[0], row[1], 0) for row in in_force or rows]

"""Transactions as they are read, with the entries in force."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from doppia.accounting.ids import ORDINAL_BITS, Id, LedgerNumber, LedgerRef, format_id, ledger_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.transactions import Entry, Transaction
from doppia.accounting.money import Currency
from doppia.proof.records import STATUSES, EntryAnnotated, TransactionWritten, moment
from doppia.proof.sealing import opened
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Listing, Order, Page, Parts, Place, Stream, Walk
from doppia.store.database.parameters import (
    AMOUNT,
    DATE,
    METADATA,
    ORDER_BY,
    STATUS,
    TEXT,
    TIME,
    Parameter,
    Plan,
    Reach,
    id_of,
    several,
    unfiltered,
)
from doppia.store.ledger import categories, effective_times
from doppia.store.ledger.effective_times import beyond, by_microseconds

_SQL: Final = load_queries("ledger/transactions")


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
        metadata=row["metadata"] or {},
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
    rows = await _SQL["entries"].fetch(
        connection, ledgers=[ledger for ledger, _ in records], sequences=[sequence for _, sequence in records]
    )
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
    rows = await _SQL["get"].fetch(connection, ledger=ledger, transactions=list(sequences))
    return {found.sequence: found for found in await _with_entries(connection, rows)}


PARAMETERS: Final = (
    Parameter("id", several(id_of("ledger_transaction")), Reach.FEW, Plan.KEPT, ("id", "id_exact")),
    unfiltered("ledger_id", id_of("ledger")),
    Parameter("ledger_account_id", id_of("ledger_account"), Reach.ACCOUNT, Plan.KEPT),
    unfiltered("ledger_account_category_id", id_of("ledger_account_category"), "ledger_account_category_id"),
    Parameter("few_accounts", None, Reach.FEW, Plan.KEPT),
    Parameter("category_sets", None, Reach.ALONG_LEDGER, Plan.KEPT),
    Parameter("ledger_account_settlement_id", id_of("ledger_account_settlement"), Reach.FEW, Plan.KEPT),
    Parameter("external_id", TEXT, Reach.FEW, Plan.KEPT),
    Parameter("ledgerable_type", TEXT, Reach.ANYWHERE, Plan.KEPT),
    Parameter("ledgerable_id", TEXT, Reach.FEW, Plan.BY_VALUE),
    Parameter("reverses_ledger_transaction_id", id_of("ledger_transaction"), Reach.FEW, Plan.KEPT, ("reverses",)),
    Parameter(
        "partially_posts_ledger_transaction_id", id_of("ledger_transaction"), Reach.FEW, Plan.KEPT, ("partially_posts",)
    ),
    Parameter("status", STATUS, Reach.ANYWHERE, Plan.KEPT),
    Parameter("pending", None, Reach.LEDGER_INDEX, Plan.KEPT, instead_of=("status", ["pending"])),
    Parameter("amount", AMOUNT, Reach.ANYWHERE, Plan.KEPT),
    Parameter("effective_at", TIME, Reach.EFFECTIVE_TIME, Plan.KEPT),
    unfiltered("effective_date", DATE, "effective_at"),
    Parameter("posted_at", TIME, Reach.ANYWHERE, Plan.KEPT),
    Parameter("created_at", TIME, Reach.ANYWHERE, Plan.KEPT),
    Parameter("updated_at", TIME, Reach.ANYWHERE, Plan.BY_VALUE),
    Parameter("metadata", METADATA, Reach.LEDGER_INDEX, Plan.BY_VALUE),
    unfiltered("order_by", ORDER_BY),
)

_SHORT: Final = 50_000
"""An account of so many steps is gone through in less than a second."""


def _along_account(page: Page) -> Parts:
    """Return the parts of an account's list in the order of creation.

    Transactions that were created with an entry there stand in the order of its lock versions; those whose entries in
    force a change wrote there, and those created as archived, have indexes.
    """
    account, desc = page.value("ledger_account_id"), page.order.direction == "desc"
    created = [Filter("created_on_account", account)]
    revised = [Filter("revised_on_account", account)]
    archived = [Filter("archived_on_account", account)]
    times = [bound for found in page.filters if found.name == "created_at" for bound in by_microseconds(*found[1:])]
    if page.after is not None:
        revised.append(Filter("revised_place", page.after.key, "lt" if desc else "gt"))
        # An entry's number begins with that of its record.
        place, comparison = (page.after.key, "lt") if desc else (page.after.key + 1, "gte")
        archived.append(Filter("archived_place", place << ORDINAL_BITS, comparison))
    for at, comparison in [*times, *beyond(page)]:
        created.append(Filter("recorded_on_account", [account, at], comparison))
    streams = [
        Stream("created", created, ("w.step",), "through_entries"),
        Stream("revised", revised, ("w.written_for",), "through_entries"),
    ]
    if "archived" in (page.value("status") or ("archived",)):
        streams.append(Stream("archived", archived, ("w.number",), "through_entries"))
    return page.without("ledger_account_id"), streams


async def _is_short(connection: Connection, page: Page) -> bool:
    """Say whether to gather an account's transactions, rather than to look for them along an index over the ledger.

    On the one way all steps of the account are gone through, on the other as many transactions as lie between those of
    a page: few, if the account's are spread evenly.
    """
    if not page.ledgers:
        return True
    # An account's id names its ledger, so there is no other to list from.
    account = page.value("ledger_account_id")
    extent = await _SQL["extent"].fetchrow(connection, ledger=page.ledgers[0], account=account)
    if extent is None:
        return True
    steps, records = extent
    return bool(steps**2 <= page.limit * records or steps <= min(records // 50, _SHORT))


def _gathered(page: Page) -> Parts:
    """Return the parts of an account's list where all of its transactions are gathered first."""
    gathered = Filter("few_accounts", [page.value("ledger_account_id")])
    return [gathered if found.name == "ledger_account_id" else found for found in page.filters], ()


LIST: Final = Listing(
    "ledger/transactions",
    PARAMETERS,
    walks=(
        Walk(
            "along_account",
            ("entries_account_key", "entries_revised_idx", "entries_archived_idx"),
            needs="ledger_account_id",
            time="created_at",
            beside=frozenset({Reach.ACCOUNT, Reach.ANYWHERE}),
            parts=_along_account,
        ),
        Walk(
            "gathered_from_account",
            ("entries_account_key",),
            needs="ledger_account_id",
            beside=frozenset({Reach.ACCOUNT, Reach.ANYWHERE, Reach.EFFECTIVE_TIME, Reach.LEDGER_INDEX}),
            is_worthwhile=_is_short,
            parts=_gathered,
        ),
        Walk(
            "by_effective_time",
            ("transactions_pkey", "transactions_displaced_idx"),
            time="effective_at",
            beside=frozenset(Reach) - {Reach.FEW, Reach.LEDGER_INDEX},
            parts=effective_times.along_ledger,
        ),
        Walk(
            "within_window",
            ("transactions_pkey", "transactions_displaced_idx"),
            within="effective_at",
            beside=frozenset(Reach) - {Reach.FEW, Reach.LEDGER_INDEX},
            parts=effective_times.along_ledger,
        ),
        Walk("by_filters", ("transactions_pkey",)),
    ),
    newest_first=Order("created_at", "transaction_sequence", 0, "desc"),
)


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    after: Place | None,
    limit: int,
    order: Order = LIST.newest_first,
) -> list[tuple[int, Transaction]]:
    """Return a page of transactions, each with the number of its ledger."""
    filters = await categories.resolve(connection, ledgers, filters)
    rows = await LIST.fetch(connection, Page(ledgers, filters, order, after, limit))
    found = await _with_entries(connection, rows)
    return [(row["ledger_id"], transaction) for row, transaction in zip(rows, found, strict=True)]


async def as_recorded(connection: Connection, records: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Transaction]:
    """Return the transactions that log records wrote, as they were then, by ledger and sequence of the record.

    Their entries are those that were in force then, and those that an archived one had last, each with the metadata
    that it had then.
    """
    pairs = list(records)
    if not pairs:
        return {}
    rows = await _SQL["recorded"].fetch(
        connection, ledgers=[ledger for ledger, _ in pairs], sequences=[sequence for _, sequence in pairs]
    )
    written = await written_entries(connection, list({(row["ledger_id"], row["entries_sequence"]) for row in rows}))
    kept = [row for row in rows if row["entries_payload"] is not None]
    annotations: defaultdict[tuple[int, int], list[EntryAnnotated]] = defaultdict(list)
    if kept:
        writers = list({(row["ledger_id"], row["entries_sequence"]) for row in kept})
        found = await _SQL["annotations"].fetch(
            connection, ledgers=[ledger for ledger, _ in writers], sequences=[sequence for _, sequence in writers]
        )
        for row in found:
            annotations[row["ledger_id"], row["object_sequence"]].append(opened(row["payload"], row["texts"]))
    recorded = {}
    for row in rows:
        record = writer = opened(row["payload"], row["texts"])
        if row["entries_payload"] is not None:
            writer = opened(row["entries_payload"], row["entries_texts"])
        place = (row["ledger_id"], row["entries_sequence"])
        entries = _entries_at(record, writer, written[place], annotations.get(place, ()))
        recorded[row["ledger_id"], row["sequence"]] = _at_version(row, record, writer, entries)
    return recorded


def _entries_at(
    record: TransactionWritten,
    writer: TransactionWritten,
    written: Sequence[Entry],
    annotations: Iterable[EntryAnnotated],
) -> tuple[Entry, ...]:
    """Return a transaction's entries as they were at its version `record`.

    Args:
        record: the version.
        writer: the record that wrote the entries.
        written: the entries, as they are now.
        annotations: of these entries, in order.
    """
    metadata_then = writer.entry_metadata or {}
    told = {entry.ordinal: (metadata_then.get(entry.ordinal, {}), moment(writer.recorded_at)) for entry in written}
    for annotation in annotations:
        if annotation.sequence < record.sequence:
            told[annotation.entry_ordinal] = (annotation.metadata, moment(annotation.recorded_at))
    entries = []
    for entry in written:
        metadata, updated_at = told[entry.ordinal]
        # Only an archived transaction shows entries that are discarded, and they were so from its end on.
        discarded_at = entry.discarded_at if STATUSES[record.status] == "archived" else None
        if discarded_at is not None:
            updated_at = max(updated_at, discarded_at)
        entries.append(entry._replace(metadata=metadata, updated_at=updated_at, discarded_at=discarded_at))
    return tuple(entries)


def _at_version(
    row: Any, record: TransactionWritten, writer: TransactionWritten, entries: tuple[Entry, ...]
) -> Transaction:
    ledger, created_at = row["ledger_id"], row["created_at"]
    status: Any = STATUSES[record.status]
    return Transaction(
        id=format_id(int(created_at.timestamp()), ledger, record.transaction),
        sequence=record.transaction,
        version=record.version,
        status=status,
        entries=entries,
        description=record.description,
        external_id=record.external_id,
        effective_at=moment(record.recorded_at if record.effective_at is None else record.effective_at),
        posted_at=moment(writer.recorded_at) if status == "posted" else None,
        created_at=created_at,
        updated_at=moment(record.recorded_at),
        metadata=record.metadata,
        ledgerable_type=record.ledgerable_type,
        ledgerable_id=record.ledgerable_id,
        archived_reason=record.archived_reason,
        reverses=_linked(ledger, record.reverses, row["reverses_created_at"]),
        reversed_by=_linked(ledger, row["reversed_by_sequence"], row["reversed_by_created_at"]),
        expires_at=None if record.expires_at is None else moment(record.expires_at),
        partially_posts=_linked(ledger, record.partially_posts, row["partially_posts_created_at"]),
        settlement=_linked(ledger, record.settlement, row["settlement_created_at"]),
    )


async def by_external_id(connection: Connection, ledgers: Sequence[int], external_id: str) -> list[Id]:
    """Return, for each of the ledgers that has any, the transaction that an external id means.

    That is the pending or posted one that has it; where none has, the newest archived one. Archived ones are left out
    where any ledger has another.
    """
    rows = await _SQL["by_external_id"].fetch(connection, ledgers=list(ledgers), external_id=external_id)
    in_force = [row for row in rows if row[3]]
    return [Id(int(row[2].timestamp()), row[0], row[1], 0) for row in in_force or rows]


class Due(NamedTuple):
    """A hold that has passed its `expires_at`, and its ledger."""

    expires_at: datetime
    hold: Id
    ledger: LedgerRef


async def due(connection: Connection, at: datetime, after: Due | None, limit: int) -> list[Due]:
    """Return holds, of whichever ledger, that are due and still pending, in an order; those after one of them."""
    async with connection.transaction():
        await _SQL["keep_order"].execute(connection)
        rows = await _SQL["due"].fetch(
            connection,
            at=at,
            limit=limit,
            after_time=_LONG_AGO if after is None else after.expires_at,
            after_ledger=0 if after is None else after.hold.ledger,
            after_sequence=0 if after is None else after.hold.sequence,
        )
    return [
        Due(
            expires_at,
            Id(int(created_at.timestamp()), ledger, sequence, 0),
            LedgerRef(LedgerNumber(ledger), ledger_id(int(ledger_created_at.timestamp()), ledger)),
        )
        for ledger, sequence, created_at, expires_at, ledger_created_at in rows
    ]


_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

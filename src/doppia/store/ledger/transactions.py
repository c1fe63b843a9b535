"""Transactions as they are read, with the entries in force."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from doppia.accounting.ids import ORDINAL_BITS, Id, format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.transactions import Entry, Transaction
from doppia.accounting.money import Currency
from doppia.proof.records import STATUSES, EntryAnnotated, TransactionWritten, moment, read_record
from doppia.store.database.connections import Connection, load_filters, load_queries
from doppia.store.database.listing import (
    Filter,
    Order,
    Place,
    Stream,
    by_effective_time,
    by_microseconds,
    compose,
    is_closed,
    window_of,
)
from doppia.store.ledger import categories

_SQL: Final = load_queries("ledger/transactions")
_FILTERS: Final = load_filters("ledger/transactions")


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


_NAMED: Final = frozenset(
    {
        "id",
        "external_id",
        "ledgerable_id",
        "reverses",
        "partially_posts",
        "ledger_account_settlement_id",
        "few_accounts",
        "category_sets",
    }
)
"""Filters that name what they want, or say themselves how the list is walked."""

_ALONG_LEDGER: Final = frozenset({"effective_at", "metadata", "pending"})
"""Filters that have an index over the ledger and none along an account."""

_SELECTIVE: Final = (_NAMED - {"category_sets"}) | {"metadata", "pending"}
"""Filters whose own index finds what they want, in whatever order it is listed."""

_SHORT: Final = 50_000
"""Steps of an account that are gone through in less than a second."""


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    order: Order,
    after: Place | None,
    limit: int,
) -> list[tuple[int, Transaction]]:
    """Return a page of transactions, each with the number of its ledger."""
    filters = [
        found if found != Filter("status", ["pending"]) else Filter("pending", value=True)
        for found in await categories.resolve(connection, ledgers, filters)
    ]
    streams: Sequence[Stream] = ()
    given = {found.name: found.value for found in filters}
    account: int | None = given.get("ledger_account_id")
    if account is not None and _NAMED.isdisjoint(given):
        if order.time == "created_at" and _ALONG_LEDGER.isdisjoint(given):
            streams = _streams(account, filters, order, after)
            filters = [found for found in filters if found.name != "ledger_account_id"]
        elif await _is_short(connection, ledgers, account, limit):
            filters = [
                found if found.name != "ledger_account_id" else Filter("few_accounts", [account]) for found in filters
            ]
    window = window_of(filters)
    is_by_time = order.time == "effective_at" or is_closed(window)
    if not streams and is_by_time and _SELECTIVE.isdisjoint(found.name for found in filters):
        streams = by_effective_time(window, order, after, limit)
    query, arguments = compose(
        _SQL["list"].text,
        _FILTERS,
        filters,
        ledgers=ledgers,
        order=order,
        after=after,
        limit=limit,
        streams=streams,
    )
    rows = await connection.fetch(query, *arguments)
    found = await _with_entries(connection, rows)
    return [(row["ledger_id"], transaction) for row, transaction in zip(rows, found, strict=True)]


async def _is_short(connection: Connection, ledgers: Sequence[int], account: int, limit: int) -> bool:
    """Say whether to gather an account's transactions, rather than to look for them along an index over the ledger.

    On the one way all steps of the account are gone through, on the other as many transactions as lie between those of
    a page: few, if the account's are spread evenly.
    """
    # An account's id names its ledger, so there is no other to list from.
    extent = await _SQL["extent"].fetchrow(connection, ledger=ledgers[0], account=account) if ledgers else None
    if extent is None:
        return True
    steps, records = extent
    return bool(steps**2 <= limit * records or steps <= min(records // 50, _SHORT))


def _streams(account: int, filters: Sequence[Filter], order: Order, after: Place | None) -> list[Stream]:
    """Return the streams that an account's transactions are read in, in the order of their creation.

    Those that were created with an entry there stand in the order of its lock versions; those whose entries in force a
    change wrote there, and those created as archived, have indexes.
    """
    desc = order.direction == "desc"
    created = [Filter("created_on_account", account)]
    revised = [Filter("revised_on_account", account)]
    archived = [Filter("archived_on_account", account)]
    times = [(found.value, found.comparison) for found in filters if found.name == "created_at"]
    if after is not None:
        times.append((after.time, "lte" if desc else "gte"))
        revised.append(Filter("revised_place", after.key, "lt" if desc else "gt"))
        # An entry's number begins with that of its record.
        place, comparison = (after.key, "lt") if desc else (after.key + 1, "gte")
        archived.append(Filter("archived_place", place << ORDINAL_BITS, comparison))
    for at, comparison in (bound for time in times for bound in by_microseconds(*time)):
        created.append(Filter("recorded_on_account", [account, at], comparison))
    through = _FILTERS["through_entries"]
    streams = [
        Stream("created", created, ("w.step",), through),
        Stream("revised", revised, ("w.written_for",), through),
    ]
    if "archived" in next((found.value for found in filters if found.name == "status"), ["archived"]):
        streams.append(Stream("archived", archived, ("w.number",), through))
    return streams


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
            annotations[row["ledger_id"], row["object_sequence"]].append(read_record(row["payload"]))
    recorded = {}
    for row in rows:
        record = read_record(row["payload"])
        writer = record if row["entries_payload"] is None else read_record(row["entries_payload"])
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
    assert writer.entries is not None, "it is known to have written entries"
    told = {
        ordinal: (entry.metadata or {}, moment(writer.recorded_at)) for ordinal, entry in enumerate(writer.entries, 1)
    }
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
    """A hold that has passed its `expires_at`."""

    expires_at: datetime
    hold: Id


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
    return [Due(row[3], Id(int(row[2].timestamp()), row[0], row[1], 0)) for row in rows]


_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

"""Entries as they are read one by one, and their metadata."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from doppia.accounting.ids import ORDINAL_BITS, Id, format_id
from doppia.accounting.transactions import Entry
from doppia.store import categories
from doppia.store.database import Connection, load_filters, load_queries
from doppia.store.listing import Filter, Order, Place, Stream, by_microseconds, compose
from doppia.store.transactions import entry_of

_SQL: Final = load_queries("entries")
_FILTERS: Final = load_filters("entries")


BY_CREATION: Final = Order("created_at", "entry", ORDINAL_BITS, "desc")


class EntryInTransaction(NamedTuple):
    """An entry, its ledger, and the id of its transaction."""

    entry: Entry
    ledger: int
    transaction_id: str


_SELECTIVE: Final = frozenset({"id", "ledger_transaction_id", "of_settlement", "few_accounts", "metadata"})
"""Filters that name what they want, or say themselves how the list is walked."""


def _streams(filters: Sequence[Filter], order: Order, after: Place | None, limit: int) -> list[Stream]:
    """Return the streams that a list is read in; none where its entries stand in order in one index.

    An account's entries stand in the order of its lock versions, but for those written as archived, which have none.
    In the order of effective_at, and between two effective times, the entries that are effective when they were
    recorded stand along the account or the ledger; the displaced ones have indexes of their own.
    """
    given = {found.name: found.value for found in filters}
    by_time = order.time == "effective_at"
    if order.key != "entry" or not _SELECTIVE.isdisjoint(given):
        return []
    account: int | None = given.get("ledger_account_id")
    window = [found for found in filters if found.name == "effective_at"]
    compared = {found.comparison for found in window}
    in_time = by_time or "eq" in compared or bool(compared & {"gt", "gte"} and compared & {"lt", "lte"})
    if account is None and not in_time:
        return []
    bounds = _bounds(window if in_time else [], order, after, limit, account)
    shared = [Filter("in_place", value=True)] if in_time else []
    streams = []
    if in_time:
        # No index has the sum; so none but that of the effective times is walked.
        keys = ("effective_at", "entry") if by_time else ("entry + 0",)
        streams.append(Stream("displaced", [Filter("displaced", value=True)], keys))
    if account is None:
        streams.append(Stream("in_place", [*shared, *bounds], ("entry",)))
        return streams
    statuses = set(given.get("status", ("pending", "posted", "archived")))
    if statuses - {"archived"}:
        counted = [Filter("counted_on_account", account), *shared, *bounds]
        streams.append(Stream("counted", counted, ("lock_version",)))
    if "archived" in statuses and given.keys().isdisjoint({"lock_version", "as_of_lock_version"}):
        streams.append(Stream("uncounted", [Filter("uncounted_on_account", account), *shared], ("entry",)))
    return streams


def _bounds(
    window: Sequence[Filter], order: Order, after: Place | None, limit: int, account: int | None
) -> list[Filter]:
    """Return between which places of the account or the ledger entries stand that were recorded in a window of time."""
    times = [(found.value, found.comparison) for found in window]
    if after is not None:
        times.append((after.time, "lte" if order.direction == "desc" else "gte"))
    bounds = []
    for at, comparison in (bound for time in times for bound in by_microseconds(*time)):
        if account is None:
            bounds.append(Filter("recorded_in_ledger", at, comparison))
        else:
            bounds.append(Filter("recorded_on_account", [account, at], comparison))
    if order.time == "effective_at":
        end = "since" if order.direction == "desc" else "until"
        if account is None:
            bounds.append(Filter(f"{end}_displaced_in_ledger", limit))
        else:
            bounds.append(Filter(f"{end}_displaced_on_account", [account, limit]))
    return bounds


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    order: Order,
    after: Place | None,
    limit: int,
) -> list[EntryInTransaction]:
    """Return a page of entries."""
    filters = await categories.resolve(connection, ledgers, filters)
    query, arguments = compose(
        _SQL["list"],
        _FILTERS,
        [found if found != Filter("status", ["pending"]) else Filter("pending", value=True) for found in filters],
        ledgers=ledgers,
        order=order,
        after=after,
        limit=limit,
        streams=_streams(filters, order, after, limit),
    )
    return [
        EntryInTransaction(
            entry_of(row),
            row["ledger_id"],
            format_id(int(row["transaction_created_at"].timestamp()), row["ledger_id"], row["transaction_sequence"]),
        )
        for row in await connection.fetch(query, *arguments)
    ]


async def get(connection: Connection, id_: Id) -> EntryInTransaction | None:
    """Return the entry that has this id."""
    number = id_.sequence << ORDINAL_BITS | id_.ordinal
    found = await list_page(connection, [id_.ledger], [Filter("id", [number])], BY_CREATION, None, 1)
    return found[0] if found and int(found[0].entry.created_at.timestamp()) == id_.seconds else None


async def annotate(
    connection: Connection, ledger: int, entry: int, metadata: Mapping[str, str], updated_at: datetime
) -> None:
    """Replace the metadata of an entry; the ledger's head is locked."""
    await connection.execute(_SQL["annotate"], ledger, entry, dict(metadata), updated_at)

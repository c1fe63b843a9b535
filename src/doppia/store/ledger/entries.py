"""Entries as they are read one by one, and their metadata."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from doppia.accounting.ids import ORDINAL_BITS, Id, format_id
from doppia.accounting.ledger.transactions import Entry
from doppia.store.database.connections import Connection, load_filters, load_queries
from doppia.store.database.listing import (
    Bound,
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
from doppia.store.ledger.transactions import entry_of

_SQL: Final = load_queries("ledger/entries")
_FILTERS: Final = load_filters("ledger/entries")


BY_CREATION: Final = Order("created_at", "entry", ORDINAL_BITS, "desc")


class EntryInTransaction(NamedTuple):
    """An entry, its ledger, and the id of its transaction."""

    entry: Entry
    ledger: int
    transaction_id: str


_SELECTIVE: Final = frozenset({"id", "ledger_transaction_id", "of_settlement", "few_accounts", "metadata"})
"""Filters that name what they want, or say themselves how the list is walked."""


def _streams(filters: Sequence[Filter], order: Order, after: Place | None, limit: int) -> list[Stream]:
    """Return the streams that a list is read in; none where its entries stand in order in one index."""
    given = {found.name: found.value for found in filters}
    if order.key != "entry" or not _SELECTIVE.isdisjoint(given):
        return []
    account: int | None = given.get("ledger_account_id")
    window = window_of(filters)
    if account is None:
        is_by_time = order.time == "effective_at" or is_closed(window)
        streams = by_effective_time(window, order, after, limit) if is_by_time else []
    elif order.time == "effective_at":
        streams = _by_effective_time(account, window, order, after, limit)
    elif is_closed(window):
        streams = _in_window(account, window, order, after)
    else:
        bounds = _recorded(account, [], order, after)
        counted = Stream("counted", [Filter("counted_on_account", account), *bounds], ("lock_version",))
        streams = [counted, Stream("uncounted", [Filter("uncounted_on_account", account)], ("entry",))]
    statuses = set(given.get("status", ("pending", "posted", "archived")))
    left_out = set() if statuses - {"archived"} else {"counted"}
    if "archived" not in statuses or not given.keys().isdisjoint({"lock_version", "as_of_lock_version"}):
        left_out.add("uncounted")
    return [stream for stream in streams if stream.name not in left_out]


def _by_effective_time(
    account: int, window: Sequence[Bound], order: Order, after: Place | None, limit: int
) -> list[Stream]:
    """Return the streams of an account's list in the order of effective_at.

    Entries that are effective when they were recorded stand along the account; the displaced ones have an index. Where
    these fill a page, the others are not looked for beyond it.
    """
    displaced = Stream("displaced", [Filter("displaced", value=True)], ("effective_at", "entry"))
    end = "since" if order.direction == "desc" else "until"
    in_place = [Filter("in_place", value=True), *_recorded(account, window, order, after)]
    counted = [Filter("counted_on_account", account), Filter(f"{end}_displaced_on_account", [account, limit])]
    uncounted = [Filter("uncounted_on_account", account), Filter("in_place", value=True)]
    return [
        displaced,
        Stream("counted", [*in_place, *counted], ("lock_version",)),
        Stream("uncounted", uncounted, ("entry",)),
    ]


def _in_window(account: int, window: Sequence[Bound], order: Order, after: Place | None) -> list[Stream]:
    """Return the streams of an account's list between two effective times, in the order of creation.

    What was recorded between these times stands along the account. The displaced entries that were not are found by
    their index and sorted; no index has the sum, lest one be walked for the order that it offers.
    """
    recorded = _recorded(account, window, order, after)
    since = max(at for at, comparison in window if comparison == "gt")
    until = min(at for at, comparison in window if comparison == "lte")
    uncounted = [Filter("uncounted_on_account", account), Filter("in_place", value=True)]
    return [
        Stream("displaced", [Filter("displaced_outside", [account, since, until])], ("entry + 0",)),
        Stream("counted", [Filter("counted_on_account", account), *recorded], ("lock_version",)),
        Stream("uncounted", uncounted, ("entry",)),
    ]


def _recorded(account: int, window: Sequence[Bound], order: Order, after: Place | None) -> list[Filter]:
    """Return between which places of the account a page lies of what was recorded in a window of time."""
    page = [] if after is None else by_microseconds(after.time, "lte" if order.direction == "desc" else "gte")
    return [Filter("recorded_on_account", [account, at], comparison) for at, comparison in [*window, *page]]


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
        _SQL["list"].text,
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
    await _SQL["annotate"].execute(
        connection, ledger=ledger, entry=entry, metadata=dict(metadata), updated_at=updated_at
    )

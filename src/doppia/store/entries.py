"""Entries as they are read one by one, and their metadata."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from doppia.accounting.ids import ORDINAL_BITS, Id, format_id
from doppia.accounting.transactions import Entry
from doppia.store import categories
from doppia.store.database import Connection, load_filters, load_queries
from doppia.store.listing import Filter, Order, Place, compose
from doppia.store.transactions import entry_of

_SQL: Final = load_queries("entries")
_FILTERS: Final = load_filters("entries")


BY_CREATION: Final = Order("created_at", "entry", ORDINAL_BITS, "desc")


class EntryInTransaction(NamedTuple):
    """An entry, its ledger, and the id of its transaction."""

    entry: Entry
    ledger: int
    transaction_id: str


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
    query, arguments = compose(_SQL["list"], _FILTERS, filters, ledgers=ledgers, order=order, after=after, limit=limit)
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

"""Ledgers' logs as they are read: a page of records at a time, and the trees over them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from doppia.accounting.ids import Id, format_id
from doppia.proof.tree import KEPT_LEVELS, root_of
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Listing, Order, Page, Place, Walk
from doppia.store.database.parameters import Parameter, Plan, Reach

_SQL: Final = load_queries("log/log")

CONDITIONS: Final = (
    Parameter("happening", None, Reach.LEDGER_INDEX, Plan.KEPT),
    Parameter("object", None, Reach.FEW, Plan.KEPT),
    Parameter("id", None, Reach.FEW, Plan.KEPT),
    Parameter("id_exact", None, Reach.FEW, Plan.KEPT),
    Parameter("version_id_exact", None, Reach.FEW, Plan.KEPT),
    Parameter("from_time", None, Reach.LEDGER_INDEX, Plan.KEPT),
    Parameter("to_time", None, Reach.LEDGER_INDEX, Plan.KEPT),
    Parameter("entry", None, Reach.ANYWHERE, Plan.KEPT),
    Parameter("version", None, Reach.ANYWHERE, Plan.KEPT),
)
"""The conditions of lists of records. The lists of events and of versions give them names on the wire."""

LIST: Final = Listing(
    "log/log",
    CONDITIONS,
    walks=(
        Walk("of_object", ("log_changes_idx", "log_pkey"), "list_of_object", needs="object"),
        Walk("of_happenings", ("log_events_idx", "transactions_pkey"), "list_happenings", needs="happening"),
        Walk("along_log", ("log_pkey",)),
    ),
    newest_first=Order("created_at", "sequence", 0, "desc"),
)


class LogRow(NamedTuple):
    """A record of a log.

    Attributes:
        object_sequence: of the record that created the object that this one is about.
        object_created_at: the time of that record.
        payload: the record's canonical bytes.
        place: of the row in its list.
    """

    ledger: int
    sequence: int
    object_sequence: int
    object_created_at: datetime
    recorded_at: datetime
    kind: int
    event: int
    payload: bytes
    place: Place

    @property
    def position(self) -> tuple[int, int]:
        """The record's ledger and sequence."""
        return self.ledger, self.sequence

    @property
    def object_id(self) -> str:
        """The id of the object; of the transaction where the record is about one of its entries."""
        return format_id(int(self.object_created_at.timestamp()), self.ledger, self.object_sequence)


def happening(kind: int, event: int) -> int:
    """Return the number that stands for a kind of record and an event in the filter `happening`."""
    return kind << 4 | event


def about(entity: Id) -> list[Filter]:
    """Return the conditions that a record is about the object that has this id.

    What is said of a transaction's entries stands among the records about it; their kind tells them apart.
    """
    filters = [Filter("object", entity.sequence)]
    if entity.ordinal:
        named = msgspec.msgpack.encode(entity.sequence) + msgspec.msgpack.encode(entity.ordinal)
        filters.append(Filter("entry", named))
    return filters


async def list_page(
    connection: Connection, ledgers: Sequence[int], filters: Sequence[Filter], after: Place | None, limit: int
) -> list[LogRow]:
    """Return a page of records, the newest first.

    Each walk enters another index, so no filter goes through a log for what is rare in it.
    """
    page = Page(ledgers, filters, LIST.newest_first, after, limit)
    return [log_row(row, page.order) for row in await LIST.fetch(connection, page)]


def log_row(row: Any, order: Order) -> LogRow:
    """Return the record that a row of a list in this order tells."""
    return LogRow(
        row["ledger_id"],
        row["sequence"],
        row["object_sequence"],
        row["object_created_at"],
        row["created_at"],
        row["kind"],
        row["event"],
        row["payload"],
        Place(row["created_at"], row["ledger_id"], row[order.key]),
    )


class Size(NamedTuple):
    """How far a log goes: the number of its records, and the root of the tree over them."""

    records: int
    root: bytes


class LedgerSize(NamedTuple):
    """The same with the ledger it is of."""

    ledger: int
    ledger_id: str
    size: Size


async def size(connection: Connection, ledger: int) -> Size | None:
    """Return how far a log goes; None where there is no such ledger."""
    row = await connection.fetchrow(_SQL["head"], ledger)
    return Size(*row) if row else None


async def sizes(connection: Connection, after: int, limit: int) -> list[LedgerSize]:
    """Return how far the logs go of the ledgers whose numbers follow `after`, in their order."""
    return [
        LedgerSize(number, format_id(int(created_at.timestamp()), number, 1), Size(records, root))
        for number, created_at, records, root in await connection.fetch(_SQL["heads"], after, limit)
    ]


async def records(
    connection: Connection, ledger: int, after: int, limit: int, bytes_max: int
) -> list[tuple[int, bytes]]:
    """Return sequence and payload of the records that follow one, in order; fewer where they pass `bytes_max`."""
    return [(row[0], row[1]) for row in await connection.fetch(_SQL["records"], ledger, after, limit, bytes_max)]


async def nodes(connection: Connection, ledger: int, wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Return the hashes of nodes of the tree over a log, complete subtrees, by level and place.

    Those of a level that is not kept are made of those of the next kept level below, or of the records themselves.
    """
    spans = {}
    for level, place in wanted:
        below = level % KEPT_LEVELS
        spans[level, place] = (level - below, place << below, (place + 1) << below)
    columns = _columns([span for span in spans.values() if span[0] > 0])
    found = {(row[0], row[1]): row[2] for row in await connection.fetch(_SQL["kept_nodes"], ledger, *columns)}
    columns = _columns([span for span in spans.values() if span[0] == 0])
    leaves = await connection.fetch(_SQL["leaf_hashes"], ledger, *columns[1:])
    found |= {(0, row[0]): row[1] for row in leaves}
    return {
        named: root_of(found[level, place] for place in range(first, last))
        for named, (level, first, last) in spans.items()
    }


def _columns(spans: Sequence[tuple[int, int, int]]) -> list[list[int]]:
    return [[span[column] for span in spans] for column in range(3)]

"""Ledgers' logs as they are read: a page of records at a time, and the trees over them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from doppia.accounting.ids import Id, format_id
from doppia.proof.sealing import opened
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
        texts: the blocks of texts that it commits to, as one map; None where it has none, or none is left.
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
    texts: bytes | None
    place: Place

    @property
    def position(self) -> tuple[int, int]:
        """The record's ledger and sequence."""
        return self.ledger, self.sequence

    def opened(self) -> Any:
        """Return the record."""
        return opened(self.payload, self.texts)


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
        row["texts"],
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
    row = await _SQL["head"].fetchrow(connection, ledger=ledger)
    return Size(*row) if row else None


async def sizes(connection: Connection, after: int, limit: int) -> list[LedgerSize]:
    """Return how far the logs go of the ledgers whose numbers follow `after`, in their order."""
    return [
        LedgerSize(number, format_id(int(created_at.timestamp()), number, 1), Size(records, root))
        for number, created_at, records, root in await _SQL["heads"].fetch(connection, after=after, limit=limit)
    ]


async def records(
    connection: Connection, ledger: int, after: int, limit: int, bytes_max: int
) -> list[tuple[int, bytes, bytes | None]]:
    """Return sequence, payload and texts of the records that follow one, in order; fewer beyond `bytes_max`."""
    rows = await _SQL["records"].fetch(connection, ledger=ledger, after=after, limit=limit, bytes_max=bytes_max)
    return [(row[0], row[1], row[2]) for row in rows]


async def is_redacted_after(connection: Connection, ledger: int, sequence: int) -> bool:
    """Say whether a record after this one erased texts."""
    found: bool = await _SQL["is_redacted_after"].fetchval(connection, ledger=ledger, sequence=sequence)
    return found


async def nodes(connection: Connection, ledger: int, wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Return the hashes of nodes of the tree over a log, complete subtrees, by level and place.

    Those of a level that is not kept are made of those of the next kept level below, or of the records themselves.
    """
    spans = {}
    for level, place in wanted:
        below = level % KEPT_LEVELS
        spans[level, place] = (level - below, place << below, (place + 1) << below)
    kept = [span for span in spans.values() if span[0] > 0]
    rows = await _SQL["kept_nodes"].fetch(
        connection,
        ledger=ledger,
        levels=[level for level, _, _ in kept],
        firsts=[first for _, first, _ in kept],
        lasts=[last for _, _, last in kept],
    )
    found = {(row[0], row[1]): row[2] for row in rows}
    of_leaves = [span for span in spans.values() if span[0] == 0]
    rows = await _SQL["leaf_hashes"].fetch(
        connection,
        ledger=ledger,
        firsts=[first for _, first, _ in of_leaves],
        lasts=[last for _, _, last in of_leaves],
    )
    found |= {(0, row[0]): row[1] for row in rows}
    return {
        named: root_of(found[level, place] for place in range(first, last))
        for named, (level, first, last) in spans.items()
    }

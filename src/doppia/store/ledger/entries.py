"""Entries as they are read one by one, and their metadata."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from doppia.accounting.ids import ORDINAL_BITS, Id, format_id
from doppia.accounting.ledger.transactions import Entry
from doppia.proof.records import EntryAnnotated, moment
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Listing, Order, Page, Parts, Place, Stream, Walk
from doppia.store.database.parameters import (
    AMOUNT,
    BOOLEAN,
    DATE,
    DIRECTION,
    METADATA,
    ORDER_BY,
    STATUS,
    TIME,
    VERSION,
    VERSIONS,
    Parameter,
    Plan,
    Reach,
    id_of,
    several,
    unfiltered,
)
from doppia.store.ledger import categories, effective_times
from doppia.store.ledger.effective_times import Bound, beyond, window_of
from doppia.store.ledger.transactions import entry_of

_SQL: Final = load_queries("ledger/entries")

_NUMBER_MAX: Final = 2**63 - 1


class EntryInTransaction(NamedTuple):
    """An entry, its ledger, and the id of its transaction."""

    entry: Entry
    ledger: int
    transaction_id: str


PARAMETERS: Final = (
    Parameter("id", several(id_of("ledger_entry")), Reach.FEW, Plan.KEPT, ("id", "id_exact")),
    Parameter("ledger_account_id", id_of("ledger_account"), Reach.ACCOUNT, Plan.KEPT),
    unfiltered("ledger_account_category_id", id_of("ledger_account_category"), "ledger_account_category_id"),
    Parameter("few_accounts", None, Reach.FEW, Plan.KEPT),
    Parameter("category_sets", None, Reach.ALONG_LEDGER, Plan.KEPT),
    Parameter("ledger_transaction_id", id_of("ledger_transaction"), Reach.FEW, Plan.KEPT),
    unfiltered("ledger_account_settlement_id", id_of("ledger_account_settlement"), "ledger_account_settlement_id"),
    Parameter("of_settlement", None, Reach.FEW, Plan.KEPT),
    unfiltered("ledger_account_statement_id", id_of("ledger_account_statement")),
    Parameter("direction", DIRECTION, Reach.ANYWHERE, Plan.KEPT),
    Parameter("status", STATUS, Reach.ANYWHERE, Plan.KEPT),
    Parameter("pending", None, Reach.ANYWHERE, Plan.KEPT, instead_of=("status", ["pending"])),
    Parameter("amount", AMOUNT, Reach.ANYWHERE, Plan.KEPT),
    Parameter("effective_at", TIME, Reach.EFFECTIVE_TIME, Plan.KEPT),
    unfiltered("effective_date", DATE, "effective_at"),
    Parameter("updated_at", TIME, Reach.ANYWHERE, Plan.BY_VALUE),
    Parameter("as_of_lock_version", VERSION, Reach.ANYWHERE, Plan.KEPT),
    Parameter("ledger_account_lock_version", VERSIONS, Reach.ANYWHERE, Plan.KEPT, ("lock_version",)),
    unfiltered("show_balances", BOOLEAN),
    Parameter("show_deleted", BOOLEAN, Reach.ANYWHERE, Plan.KEPT),
    Parameter("metadata", METADATA, Reach.LEDGER_INDEX, Plan.BY_VALUE),
    unfiltered("order_by", ORDER_BY),
)


def _along_account(page: Page) -> Parts:
    """Return the parts of an account's list in the order of creation: that of its lock versions, but for entries that
    were written as archived, which have none.
    """
    account = page.value("ledger_account_id")
    counted = [Filter("counted_on_account", account), *_recorded(account, beyond(page))]
    return _of_account(
        page,
        [
            Stream("counted", counted, ("lock_version",)),
            Stream("uncounted", [Filter("uncounted_on_account", account)], ("entry",)),
        ],
    )


def _by_effective_time(page: Page) -> Parts:
    """Return the parts of an account's list in the order of effective_at.

    Entries that are effective when they were recorded stand along the account; the displaced ones have an index. Where
    these fill a page, the others are not looked for beyond it.
    """
    account = page.value("ledger_account_id")
    end = "since" if page.order.direction == "desc" else "until"
    recorded = _recorded(account, [*window_of(page.filters), *beyond(page)])
    counted = [Filter("counted_on_account", account), Filter(f"{end}_displaced_on_account", [account, page.limit])]
    return _of_account(
        page,
        [
            Stream("displaced", [Filter("displaced")], ("effective_at", "entry")),
            Stream("counted", [Filter("in_place"), *recorded, *counted], ("lock_version",)),
            Stream("uncounted", [Filter("uncounted_on_account", account), Filter("in_place")], ("entry",)),
        ],
    )


def _within_window(page: Page) -> Parts:
    """Return the parts of an account's list between two effective times, in the order of creation.

    What was recorded between these times stands along the account. The displaced entries that were not are found by
    their index and sorted; no index has the sum, lest one be walked for the order that it offers.
    """
    account = page.value("ledger_account_id")
    window = window_of(page.filters)
    since = max(at for at, comparison in window if comparison == "gt")
    until = min(at for at, comparison in window if comparison == "lte")
    counted = [Filter("counted_on_account", account), *_recorded(account, [*window, *beyond(page)])]
    return _of_account(
        page,
        [
            Stream("displaced", [Filter("displaced_outside", [account, since, until])], ("entry + 0",)),
            Stream("counted", counted, ("lock_version",)),
            Stream("uncounted", [Filter("uncounted_on_account", account), Filter("in_place")], ("entry",)),
        ],
    )


def _recorded(account: int, bounds: Sequence[Bound]) -> list[Filter]:
    """Return the filters that entries were recorded on an account within these bounds, as places along it."""
    return [Filter("recorded_on_account", [account, at], comparison) for at, comparison in bounds]


def _of_account(page: Page, streams: Sequence[Stream]) -> Parts:
    """Return the parts of an account's list, without the streams in which its filters leave nothing."""
    statuses = {"pending"} if page.has("pending") else set(page.value("status") or ("pending", "posted", "archived"))
    left_out = set() if statuses - {"archived"} else {"counted"}
    if "archived" not in statuses or page.has("lock_version") or page.has("as_of_lock_version"):
        left_out.add("uncounted")
    return page.filters, [stream for stream in streams if stream.name not in left_out]


_NO_SHORTER_WAY: Final = frozenset(Reach) - {Reach.FEW, Reach.LEDGER_INDEX}
_ACCOUNT: Final = "ledger_account_id"
LIST: Final = Listing(
    "ledger/entries",
    PARAMETERS,
    walks=(
        Walk(
            "by_effective_time_on_account",
            ("entries_account_key", "entries_archived_idx", "entries_effective_at_idx"),
            needs=_ACCOUNT,
            time="effective_at",
            beside=_NO_SHORTER_WAY,
            parts=_by_effective_time,
        ),
        Walk(
            "within_window_on_account",
            ("entries_account_key", "entries_archived_idx", "entries_effective_at_idx"),
            needs=_ACCOUNT,
            within="effective_at",
            beside=_NO_SHORTER_WAY,
            parts=_within_window,
        ),
        Walk(
            "along_account",
            ("entries_account_key", "entries_archived_idx"),
            needs=_ACCOUNT,
            beside=_NO_SHORTER_WAY,
            parts=_along_account,
        ),
        Walk(
            "by_effective_time",
            ("entries_pkey", "entries_displaced_idx"),
            time="effective_at",
            beside=_NO_SHORTER_WAY,
            parts=effective_times.along_ledger,
        ),
        Walk(
            "within_window",
            ("entries_pkey", "entries_displaced_idx"),
            within="effective_at",
            beside=_NO_SHORTER_WAY,
            parts=effective_times.along_ledger,
        ),
        Walk("by_filters", ("entries_pkey",)),
    ),
    newest_first=Order("created_at", "entry", ORDINAL_BITS, "desc"),
)


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    after: Place | None,
    limit: int,
    order: Order = LIST.newest_first,
) -> list[EntryInTransaction]:
    """Return a page of entries."""
    filters = [
        _of_settlement(found.value, order, after) if found.name == "ledger_account_settlement_id" else found
        for found in await categories.resolve(connection, ledgers, filters)
    ]
    return [
        EntryInTransaction(
            entry_of(row),
            row["ledger_id"],
            format_id(int(row["transaction_created_at"].timestamp()), row["ledger_id"], row["transaction_sequence"]),
        )
        for row in await LIST.fetch(connection, Page(ledgers, filters, order, after, limit))
    ]


def _of_settlement(settlement: int, order: Order, after: Place | None) -> Filter:
    """Return the filter that an entry is in a settlement.

    A page in the order of creation lies beyond a number, to which the index of the settlement's entries goes at once.
    """
    first, last = 0, _NUMBER_MAX
    if after is not None and order.time == "created_at":
        first, last = (first, after.key) if order.direction == "desc" else (after.key, last)
    return Filter("of_settlement", [settlement, first, last])


async def get(connection: Connection, id_: Id) -> EntryInTransaction | None:
    """Return the entry that has this id."""
    number = id_.sequence << ORDINAL_BITS | id_.ordinal
    found = await list_page(connection, [id_.ledger], [Filter("id", [number])], None, 1)
    return found[0] if found and int(found[0].entry.created_at.timestamp()) == id_.seconds else None


async def write(connection: Connection, ledger: int, record: EntryAnnotated) -> None:
    """Replace the metadata of an entry by the record's; the ledger's head is locked."""
    number = record.entry_sequence << ORDINAL_BITS | record.entry_ordinal
    at = moment(record.recorded_at)
    await _SQL["annotate"].execute(connection, ledger=ledger, entry=number, metadata=record.metadata, updated_at=at)

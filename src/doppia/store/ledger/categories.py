"""Categories in the database: the chart of accounts, who is in it, and what it sums to."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from doppia.accounting.ids import format_id
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.categories import Category, CategoryFields, Chart, draw_chart
from doppia.accounting.money import Currency
from doppia.proof.records import AccountCategories, CategoryParents, CategoryWritten, Origin, moment
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Listing, Order, Walk, newest_first
from doppia.store.database.parameters import (
    BALANCES,
    BOOLEAN,
    METADATA,
    TEXT,
    Parameter,
    Plan,
    Reach,
    id_of,
    several,
    unfiltered,
)
from doppia.store.ledger.balances import AsOf

_SQL: Final = load_queries("ledger/categories")

FEW_ACCOUNTS_MAX: Final = 1_000
FEW_ENTRIES_MAX: Final = 20_000


class Member(NamedTuple):
    """An account as what may be in categories; `categories` are those it is directly in, in ascending order."""

    id: str
    currency: Currency
    is_open: bool
    categories: list[int]


def _fields(row: Any) -> CategoryFields:
    category = Category(
        format_id(int(row["created_at"].timestamp()), row["ledger_id"], row["category_sequence"]),
        row["category_sequence"],
        Currency(row["currency"], row["currency_exponent"]),
        row["normal_balance"],
        row["discarded_at"] is None,
    )
    return CategoryFields(
        category,
        row["ledger_id"],
        row["name"],
        row["description"],
        row["external_id"],
        row["metadata"],
        Sums(row["posted_credits"], row["posted_debits"], row["pending_credits"], row["pending_debits"]),
        row["created_at"],
        row["updated_at"],
        row["discarded_at"],
    )


def _category(row: Any, ledger: int) -> Category:
    return Category(
        format_id(int(row[1].timestamp()), ledger, row[0]), row[0], Currency(row[2], row[3]), row[4], row[5]
    )


async def get(connection: Connection, ledger: int, sequence: int) -> CategoryFields | None:
    """Return a category."""
    row = await _SQL["get"].fetchrow(connection, ledger=ledger, category=sequence)
    return _fields(row) if row else None


PARAMETERS: Final = (
    Parameter("id", several(id_of("ledger_account_category")), Reach.FEW, Plan.KEPT, ("id", "id_exact")),
    Parameter("name", several(TEXT), Reach.FEW, Plan.KEPT),
    unfiltered("ledger_id", id_of("ledger")),
    Parameter("currency", TEXT, Reach.ANYWHERE, Plan.KEPT),
    Parameter("external_id", TEXT, Reach.FEW, Plan.KEPT),
    Parameter("ledger_account_id", id_of("ledger_account"), Reach.FEW, Plan.KEPT),
    Parameter("parent_ledger_account_category_id", id_of("ledger_account_category"), Reach.FEW, Plan.KEPT),
    Parameter("discarded", BOOLEAN, Reach.ANYWHERE, Plan.KEPT),
    Parameter("metadata", METADATA, Reach.LEDGER_INDEX, Plan.BY_VALUE),
    unfiltered("balances", BALANCES),
)
LIST: Final = Listing(
    "ledger/categories",
    PARAMETERS,
    walks=(Walk("by_filters", ("categories_pkey",)),),
    newest_first=Order("created_at", "category_sequence", 0, "desc"),
)
list_page: Final = newest_first(LIST, _fields)


async def sums_in_time(
    connection: Connection, categories: Sequence[tuple[int, int]], as_of: AsOf
) -> dict[tuple[int, int], Sums]:
    """Return what the accounts that are in categories today summed to, by ledger and sequence of the category.

    It takes as long as there are accounts. Of `as_of`, the lock version says nothing here.
    """
    rows = await _SQL["sums_in_time"].fetch(
        connection,
        ledgers=[ledger for ledger, _ in categories],
        categories=[sequence for _, sequence in categories],
        recorded_at=as_of.recorded_at,
        from_time=as_of.from_time,
        before_time=as_of.before_time,
    )
    return {(row[0], row[1]): Sums(*(row[name] for name in Sums._fields)) for row in rows}


async def recompute(connection: Connection, ledger: int, sequence: int) -> tuple[Sums, Sums]:
    """Return what a category's accounts sum to, as it is kept and as a fold of all their entries."""
    row = await _SQL["recompute"].fetchrow(connection, ledger=ledger, category=sequence)
    kept, folded = (Sums(*(row[f"{prefix}{name}"] for name in Sums._fields)) for prefix in ("", "folded_"))
    return kept, folded


async def find(connection: Connection, ledger: int, sequences: Iterable[int]) -> dict[int, Category]:
    """Return those of the categories that exist, by sequence, without their sets."""
    rows = await _SQL["categories"].fetch(connection, ledger=ledger, categories=list(sequences))
    return {row[0]: _category(row, ledger) for row in rows}


async def chart(connection: Connection, ledger: int, sequences: Iterable[int], sets: Iterable[int]) -> Chart:
    """Return those of the categories that exist, with what their accounts sum to and which of these sets they hold."""
    found = []
    totals: dict[int, Sums] = {}
    for row in await _SQL["chart"].fetch(connection, ledger=ledger, categories=list(sequences), sets=list(sets)):
        found.append(_category(row, ledger)._replace(sets=frozenset(row[6])))
        totals[row[0]] = Sums(row[7], row[8], row[9], row[10])
    return draw_chart(found, totals)


async def resolve(connection: Connection, ledgers: Sequence[int], filters: Sequence[Filter]) -> list[Filter]:
    """Return the filters of a list of entries or transactions, the one by category said by what is in it.

    The newest rows of a large category are found along the ledger; those of a small one, which may lie far apart, by
    its accounts.
    """
    return [
        await _members(connection, ledgers, found.value) if found.name == "ledger_account_category_id" else found
        for found in filters
    ]


async def _members(connection: Connection, ledgers: Sequence[int], category: int) -> Filter:
    if not ledgers:
        return Filter("few_accounts", [])
    # A category's id names its ledger, so there is no other to list from.
    rows = await _SQL["accounts"].fetch(connection, ledger=ledgers[0], category=category, limit=FEW_ACCOUNTS_MAX + 1)
    if len(rows) <= FEW_ACCOUNTS_MAX and sum(row[1] for row in rows) <= FEW_ENTRIES_MAX:
        return Filter("few_accounts", [row[0] for row in rows])
    sets = await _SQL["sets_of"].fetch(connection, ledger=ledgers[0], category=category)
    return Filter("category_sets", [row[0] for row in sets])


async def external_id_holder(connection: Connection, ledger: int, external_id: str) -> tuple[int, str] | None:
    """Return sequence and id of the category, not discarded, that has an external id."""
    row = await _SQL["external_id_holder"].fetchrow(connection, ledger=ledger, external_id=external_id)
    return (row[0], format_id(int(row[1].timestamp()), ledger, row[0])) if row else None


async def parents(connection: Connection, ledger: int, sequence: int) -> list[int]:
    """Return the categories that a category is directly in, in ascending order."""
    return [row[0] for row in await _SQL["parents"].fetch(connection, ledger=ledger, category=sequence)]


async def children_around(
    connection: Connection, ledger: int, uppers: Sequence[int], lower: int
) -> dict[int, list[int]]:
    """Return what stands directly below what, of all above and including `uppers` and below and including `lower`."""
    children: dict[int, list[int]] = {}
    for parent, child in await _SQL["edges"].fetch(connection, ledger=ledger, uppers=uppers, lower=lower):
        children.setdefault(parent, []).append(child)
    return children


async def member(connection: Connection, ledger: int, account: int) -> Member | None:
    """Return an account as what may be in categories."""
    row = await _SQL["member"].fetchrow(connection, ledger=ledger, account=account)
    if row is None:
        return None
    id_ = format_id(int(row[0].timestamp()), ledger, account)
    return Member(id_, Currency(row[1], row[2]), row[3], row[4])


def record_of(fields: CategoryFields, origin: Origin) -> CategoryWritten:
    """Return the record that writes a category as it is."""
    category = fields.category
    return CategoryWritten(
        **origin._asdict(),
        category=category.sequence,
        name=fields.name,
        description=fields.description,
        currency=category.currency.code,
        currency_exponent=category.currency.exponent,
        normal_balance=category.normal_balance,
        external_id=fields.external_id,
        metadata=dict(fields.metadata),
        discarded=fields.discarded_at is not None,
    )


def from_record(record: CategoryWritten, ledger: int, created_at: datetime) -> CategoryFields:
    """Return the category that a record writes, at zero, for records do not say its sums."""
    recorded_at = moment(record.recorded_at)
    category = Category(
        format_id(int(created_at.timestamp()), ledger, record.category),
        record.category,
        Currency(record.currency, record.currency_exponent),
        "credit" if record.normal_balance == "credit" else "debit",
        not record.discarded,
    )
    return CategoryFields(
        category=category,
        ledger=ledger,
        name=record.name,
        description=record.description,
        external_id=record.external_id,
        metadata=record.metadata,
        sums=NOTHING,
        created_at=created_at,
        updated_at=recorded_at,
        discarded_at=recorded_at if record.discarded else None,
    )


async def write(connection: Connection, ledger: int, record: CategoryWritten) -> None:
    """Write what a record says of a category; a discard ends its edges. The ledger's head is locked."""
    at = moment(record.recorded_at)
    if record.category == record.sequence:
        await _SQL["create"].execute(
            connection,
            ledger=ledger,
            category=record.category,
            created_at=at,
            name=record.name,
            description=record.description,
            currency=record.currency,
            currency_exponent=record.currency_exponent,
            normal_balance=record.normal_balance,
            external_id=record.external_id,
            metadata=record.metadata,
        )
        return
    await _SQL["update"].execute(
        connection,
        ledger=ledger,
        category=record.category,
        name=record.name,
        description=record.description,
        external_id=record.external_id,
        metadata=record.metadata,
        updated_at=at,
    )
    if record.discarded:
        await _SQL["end_edges"].execute(connection, ledger=ledger, category=record.category)
        await _SQL["discard"].execute(connection, ledger=ledger, category=record.category, discarded_at=at)


async def write_of_account(connection: Connection, ledger: int, record: AccountCategories) -> None:
    """Make the record's categories those that its account is directly in; the ledger's head is locked.

    The record's sequence names their set if no account was in exactly these before.
    """
    account, categories = record.account, record.categories
    if not categories:
        await _SQL["take_out"].execute(connection, ledger=ledger, account=account)
    elif await _SQL["place"].fetchval(connection, ledger=ledger, account=account, categories=categories) is None:
        await _SQL["create_set"].execute(connection, ledger=ledger, set=record.sequence, categories=categories)
        await _SQL["place"].execute(connection, ledger=ledger, account=account, categories=categories)


async def write_parents(connection: Connection, ledger: int, record: CategoryParents) -> None:
    """Make the record's parents those that its category is directly in; the ledger's head is locked."""
    before = set(await parents(connection, ledger, record.category))
    for upper in before.difference(record.parents):
        await _SQL["part"].execute(connection, ledger=ledger, upper=upper, lower=record.category)
    uppers = sorted(set(record.parents) - before)
    await _SQL["join"].execute(connection, ledger=ledger, uppers=uppers, lower=record.category)

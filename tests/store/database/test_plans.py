"""Every query that reads a ledger goes by an index, and one whose answer is small reads little of a million entries.

A page of a list is asked for as the service does. What it reads is counted in blocks, with those that the functions it
calls read, for the plan made for its own arguments and for the one that the server keeps when it is asked again.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final, NamedTuple
from uuid import uuid4

import asyncpg
import pytest

from doppia.accounting.ids import ORDINAL_BITS
from doppia.store.closing import settlements
from doppia.store.database.connections import _prepare_connection, load_parts, load_queries, session_settings
from doppia.store.database.listing import Filter, Listing, Order, Page, Place
from doppia.store.ledger import accounts, balances, categories, entries, monitors, statements, transactions
from doppia.store.ledger.balances import AsOf
from tests.servers import Server
from tests.store.database.million import HOT, IMPORTED, SMALL, TRANSACTIONS, Planned, Read, Watched, seed

pytestmark = pytest.mark.anyio

ENOUGH: Final = 8_000
"""Blocks. An index over all entries is about as large, and a walk through them reads many times that."""

FAR: Final = 300_000
"""Where a page's rows lie apart as their accounts do among all accounts, or may be all at one end."""

LIMIT: Final = 26
MIDDLE: Final = TRANSACTIONS // 2


def recorded(move: int) -> datetime:
    """Return when the transaction of this number was recorded; see million.py."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=20 * move)


def sequence(move: int) -> int:
    return 2000 + 2 * move


@pytest.fixture(scope="module")
async def ledger(postgres: Server) -> AsyncIterator[Watched]:
    """A ledger of a million entries, which nobody changes."""
    name = f"t{uuid4().hex}"
    maintenance = await asyncpg.connect(postgres.url)
    await maintenance.execute(f"create database {name} template template_doppia")
    writer = await asyncpg.connect(postgres.of(name), server_settings={"search_path": "doppia", "timezone": "UTC"})
    await seed(writer)
    await writer.close()
    connection = await asyncpg.connect(postgres.of(name), server_settings=session_settings())
    await _prepare_connection(connection)
    yield Watched(connection, [])
    await connection.close()
    await maintenance.execute(f"drop database {name} with (force)")
    await maintenance.close()


def wrong(reads: Sequence[Read], enough: int | None) -> list[Read]:
    return [read for read in reads if read.faults or (enough is not None and read.blocks > enough)]


NAMED: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "posting/posting": {"read_at_once": {"accounts": "{5,6}", "external_ids": ["t5000"], "digests": [b"1" * 16]}},
    "ledger/transactions": {
        "get": {"transactions": [5000, 6000]},
        "entries": {"ledgers": [7, 7], "sequences": [5000, 6000]},
        "extent": {"account": 5},
    },
    "ledger/accounts": {"external_id_holder": {"external_id": "a5"}, "count_pending_entries": {"account": 5}},
    "ledger/ledgers": {"get": {}, "keys": {"digests": [b"1" * 16]}},
    "ledger/categories": {
        "get": {"category": 5}, "categories": {"categories": [5, 6]}, "chart": {"categories": [5, 6], "sets": [5]},
        "sets_of": {"category": 5}, "accounts": {"category": 5, "limit": 10}, "parents": {"category": 50},
        "external_id_holder": {"external_id": "c5"}, "edges": {"uppers": [50, 60], "lower": 5},
        "member": {"account": 5},
    },
    "ledger/monitors": {"of_accounts": {"accounts": [5, 6]}, "watch": {"account": 5}},
    "ledger/statements": {"sums": {"account": HOT, "lock_version": 400_000, "times": [recorded(MIDDLE)]}},
}  # fmt: skip


async def test_what_is_looked_up_by_its_name_is_found_by_an_index(ledger: Watched) -> None:
    for module, queries in NAMED.items():
        known = load_queries(module)
        for name, values in queries.items():
            query = known[name]
            of_ledger = {"ledger": 7} if "ledger" in query.parameters else {}
            await ledger.fetch(query.text, *query.arguments(values | of_ledger))
            assert not wrong(ledger.forget(), ENOUGH), f"{module}.{name}"
    await ledger.fetch(load_queries("ledger/accounts")["get"].text, 7, [5, 6])
    assert not wrong(ledger.forget(), ENOUGH), "ledger/accounts.get"


class Question(NamedTuple):
    """A list that is asked for, and how many blocks a page of it may read; None where its rows may be anywhere."""

    filters: Sequence[Filter] = ()
    enough: int | None = ENOUGH


def day(name: str) -> list[Filter]:
    """Return the filters of some hours, long ago."""
    return [Filter(name, recorded(50_000), "gte"), Filter(name, recorded(51_000), "lt")]


def of_account(account: int, *filters: Filter) -> list[Filter]:
    return [Filter("ledger_account_id", account), *filters]


BY_TIME: Final = {"nothing": Question(), "effective_at": Question(day("effective_at"))}
STATUSES: Final = {status: Filter("status", [status]) for status in ("pending", "posted", "archived")}

OF_TRANSACTIONS: Final = {
    **BY_TIME,
    "id": Question([Filter("id", [sequence(5), sequence(6)])]),
    "external_id": Question([Filter("external_id", "t5000")]),
    "ledgerable_id": Question([Filter("ledgerable_id", "order 50")]),
    "reverses": Question([Filter("reverses", sequence(40))]),
    "partially_posts": Question([Filter("partially_posts", sequence(50))]),
    "ledger_account_settlement_id": Question([Filter("ledger_account_settlement_id", 9)]),
    "ledger_account_category_id": Question([Filter("ledger_account_category_id", 5)], FAR),
    "created_at": Question(day("created_at")),
    "metadata": Question([Filter("metadata", {"order": "5000"})]),
    "pending": Question([STATUSES["pending"]]),
    "posted": Question([STATUSES["posted"]]),
    "archived": Question([STATUSES["archived"]], None),
    "amount": Question([Filter("amount", 1, "lt")], None),
    "ledgerable_type": Question([Filter("ledgerable_type", "order")], None),
    "posted_at": Question([Filter("posted_at", recorded(50_000), "lt")], None),
    "updated_at": Question([Filter("updated_at", recorded(50_000), "lt")], None),
    **{f"account {account}": Question(of_account(account)) for account in (HOT, 5, SMALL)},
    **{f"account {account}, a day": Question(of_account(account, *day("effective_at"))) for account in (HOT, 5, SMALL)},
    **{f"account {account}, created": Question(of_account(account, *day("created_at"))) for account in (5, SMALL)},
    **{
        f"account {account}, {status}": Question(of_account(account, found))
        for (status, found), account in product(STATUSES.items(), (5, SMALL))
    },
    "hot account, posted": Question(of_account(HOT, STATUSES["posted"])),
    "hot account, metadata": Question(of_account(HOT, Filter("metadata", {"order": "5000"}))),
    "small account, metadata": Question(of_account(SMALL, Filter("metadata", {"shop": "4"}))),
    "hot account, external_id": Question(of_account(HOT, Filter("external_id", "t5000"))),
}

OF_ENTRIES: Final = {
    **BY_TIME,
    "id": Question([Filter("id", [sequence(5) << 10 | 1])]),
    "ledger_transaction_id": Question([Filter("ledger_transaction_id", sequence(5))]),
    "ledger_account_category_id": Question([Filter("ledger_account_category_id", 5)], FAR),
    "of_settlement": Question([Filter("ledger_account_settlement_id", 9)]),
    "metadata": Question([Filter("metadata", {"order": str(sequence(50))})]),
    "direction": Question([Filter("direction", "debit")]),
    "posted": Question([STATUSES["posted"]]),
    "pending": Question([STATUSES["pending"]], None),
    "archived": Question([STATUSES["archived"]], None),
    "amount": Question([Filter("amount", 1, "lt")], None),
    "updated_at": Question([Filter("updated_at", recorded(50_000), "lt")], None),
    "show_deleted": Question([Filter("show_deleted", value=False)]),
    **{f"account {account}": Question(of_account(account)) for account in (HOT, 5, SMALL)},
    # The pages that span the time of an import go through all that was imported.
    "imported": Question(of_account(IMPORTED), 20_000),
    **{f"account {account}, a day": Question(of_account(account, *day("effective_at"))) for account in (HOT, 5, SMALL)},
    **{
        f"account {account}, {status}": Question(of_account(account, found))
        for (status, found), account in product(STATUSES.items(), (5, SMALL))
    },
    "hot account, posted": Question(of_account(HOT, STATUSES["posted"])),
    "hot account, in force": Question(of_account(HOT, Filter("show_deleted", value=False))),
    "hot account, metadata": Question(of_account(HOT, Filter("metadata", {"order": str(sequence(50))}))),
    "hot account, lock_version": Question(of_account(HOT, Filter("lock_version", 300_000))),
    "hot account, as of late": Question(of_account(HOT, Filter("as_of_lock_version", 520_000))),
    "account 5, as of early": Question(of_account(5, Filter("as_of_lock_version", 100))),
}

OF_ACCOUNTS: Final = {
    "nothing": Question(),
    "id": Question([Filter("id", [5])]),
    "name": Question([Filter("name", ["account 5"])]),
    "external_id": Question([Filter("external_id", "a5")]),
    "currency": Question([Filter("currency", "PHP")]),
    "normal_balance": Question([Filter("normal_balance", "credit")]),
    "discarded": Question([Filter("discarded", value=False)]),
    "ledger_account_category_id": Question([Filter("ledger_account_category_id", 5)]),
    "created_at": Question([Filter("created_at", recorded(50_000), "gt")]),
    "updated_at": Question([Filter("updated_at", recorded(50_000), "gt")]),
    "metadata": Question([Filter("metadata", {"order": "5"})]),
    **{f"{name}_balance_amount": Question([Filter(f"{name}_balance_amount", 0, "not_eq")])
       for name in ("pending", "posted", "available")},
}  # fmt: skip


def orders(key: str, shift: int) -> Iterator[Order]:
    for time, direction in product(("created_at", "effective_at"), ("desc", "asc")):
        yield Order(time, key, shift, direction)  # type: ignore[arg-type] # one of the two


async def ask(
    ledger: Watched, list_page: Callable[..., Awaitable[Sequence[Any]]], question: Question, orders: Sequence[Any]
) -> list[Any]:
    """Return what was read wrongly for the first page in each order, and for one in the middle."""
    found: list[Any] = []
    if question.enough is None:
        ledger = Planned(*ledger)
    for order in orders:
        shift = order.key_shift if order else 0
        for after in (None, Place(recorded(MIDDLE), 7, sequence(MIDDLE) << shift)):
            await list_page(ledger, [7], question.filters, after, LIMIT, *([order] if order else []))
            found += [(order, after is not None, read) for read in wrong(ledger.forget(), question.enough)]
    return found


@pytest.mark.parametrize("name", OF_TRANSACTIONS)
async def test_a_page_of_transactions_reads_little(ledger: Watched, name: str) -> None:
    by = list(orders("transaction_sequence", 0))
    assert not await ask(ledger, transactions.list_page, OF_TRANSACTIONS[name], by)


@pytest.mark.parametrize("name", OF_ENTRIES)
async def test_a_page_of_entries_reads_little(ledger: Watched, name: str) -> None:
    # In the order of effective_at, what no index has is looked for through the whole account.
    by = list(orders("entry", ORDINAL_BITS))
    if "archived" in name or "pending" in name or "as of" in name:
        by = by[:2]
    assert not await ask(ledger, entries.list_page, OF_ENTRIES[name], by)


@pytest.mark.parametrize("name", OF_ACCOUNTS)
async def test_a_page_of_accounts_reads_little(ledger: Watched, name: str) -> None:
    assert not await ask(ledger, accounts.list_page, OF_ACCOUNTS[name], [None])


TIMES: Final = {
    "effective": AsOf(before_time=recorded(MIDDLE)),
    "effective now": AsOf(before_time=recorded(2 * TRANSACTIONS)),
    "effective long ago": AsOf(before_time=recorded(0) - timedelta(days=100)),
    "in a window": AsOf(from_time=recorded(MIDDLE), before_time=recorded(MIDDLE + 5000)),
    "as of a version": AsOf(lock_version=300_001),
    "as of a version, effective": AsOf(lock_version=300_001, before_time=recorded(MIDDLE)),
    "as known": AsOf(recorded_at=recorded(MIDDLE)),
    "as known, effective": AsOf(recorded_at=recorded(400_000), before_time=recorded(MIDDLE)),
}


@pytest.mark.parametrize("name", TIMES)
async def test_a_balance_at_another_time_reads_little(ledger: Watched, name: str) -> None:
    for account in (HOT, IMPORTED, SMALL):
        await accounts.get(ledger, 7, account, TIMES[name])
        assert not wrong(ledger.forget(), 2_500), account


async def test_the_balances_of_a_hundred_accounts_at_another_time_are_one_query(ledger: Watched) -> None:
    rows = await accounts.list_page(ledger, [7], [], None, 100, TIMES["as known, effective"])

    reads = ledger.forget()
    assert len(rows) == 100
    assert len(reads) == 2, "one query, by two plans"
    assert not wrong(reads, 100_000)


async def test_balances_are_recomputed_along_the_account(ledger: Watched) -> None:
    assert not (await balances.recompute(ledger, 7, 5)).holds, "the seed's sums are all zero"
    assert not wrong(ledger.forget(), ENOUGH)


VALUES: Final[dict[str, Any]] = {
    "id": [5_120_001, 5000], "id_exact": ["7.5000.0.0"], "ledger_account_id": 5, "external_id": "t5000",
    "ledgerable_type": "order", "ledgerable_id": "1", "reverses": 5000, "partially_posts": 5000, "status": ["pending"],
    "amount": 5, "metadata": {"order": "5000"}, "name": ["account 5"], "currency": "PHP",
    "normal_balance": "credit", "discarded": False, "ledger_transaction_id": 5000, "direction": "debit",
    "ledger_account_category_id": 5, "few_accounts": [5, 6], "category_sets": [5],
    "parent_ledger_account_category_id": 5, "ledger_account_settlement_id": 9, "of_settlement": [9, 0, 2**63 - 1],
    "transaction": 5000, "settled_account": 5,
}  # fmt: skip

LISTS: Final[dict[str, Listing]] = {
    "ledger/categories": categories.LIST,
    "ledger/monitors": monitors.LIST,
    "ledger/statements": statements.LIST,
    "closing/settlements": settlements.LIST,
}


@pytest.mark.parametrize("module", LISTS)
async def test_every_page_of_a_list_is_found_by_an_index(ledger: Watched, module: str) -> None:
    at = recorded(0)
    fragments, listing = load_parts(module, "filter"), LISTS[module]
    slow = []
    for after, ledgers in product((None, Place(at, 7, 5000)), ([7], [7, 8])):
        for names in ([], *([name] for name in fragments)):
            filters = [Filter(name, VALUES.get(name, at), "gte") for name in names]
            page = Page(ledgers, filters, listing.newest_first, after, LIMIT)
            query, arguments = listing.compose(listing.walks[-1], page)
            await ledger.fetch(query, *arguments)
            slow += [(names, ledgers, after, read) for read in wrong(ledger.forget(), ENOUGH)]
    assert not slow, "\n".join(map(str, slow))


async def test_lists_over_several_ledgers_go_by_an_index(ledger: Watched) -> None:
    slow = []
    for list_page, key, shift in (
        (entries.list_page, "entry", 10),
        (transactions.list_page, "transaction_sequence", 0),
    ):
        for order, after in product(orders(key, shift), (None, Place(recorded(MIDDLE), 7, sequence(MIDDLE) << shift))):
            await list_page(ledger, [7, 8], [], after, LIMIT, order)
            slow += [(order, after, read) for read in wrong(ledger.forget(), ENOUGH)]
    assert not slow, "\n".join(map(str, slow))


CLOSED: Final = day("effective_at")
BY_WALK: Final[dict[str, tuple[Listing, Sequence[Filter], str]]] = {
    "entries: by_effective_time_on_account": (entries.LIST, of_account(5), "effective_at"),
    "entries: within_window_on_account": (entries.LIST, of_account(5, *CLOSED), "created_at"),
    "entries: along_account": (entries.LIST, of_account(5), "created_at"),
    "entries: by_effective_time": (entries.LIST, (), "effective_at"),
    "entries: within_window": (entries.LIST, CLOSED, "created_at"),
    "entries: by_filters": (entries.LIST, (), "created_at"),
    "transactions: along_account": (transactions.LIST, of_account(5), "created_at"),
    "transactions: gathered_from_account": (transactions.LIST, of_account(SMALL), "effective_at"),
    "transactions: by_effective_time": (transactions.LIST, (), "effective_at"),
    "transactions: within_window": (transactions.LIST, CLOSED, "created_at"),
    "transactions: by_filters": (transactions.LIST, (), "created_at"),
}


@pytest.mark.parametrize("name", BY_WALK)
async def test_a_walk_goes_along_the_indexes_that_its_row_names(ledger: Watched, name: str) -> None:
    listing, filters, time = BY_WALK[name]
    page = Page([7], filters, listing.newest_first._replace(time=time), None, LIMIT)
    walk = await listing.choose(ledger, page)
    assert walk.name == name.partition(": ")[2]
    query, arguments = listing.compose(walk, page)
    [[plan]] = await ledger.connection.fetch(f"explain (format json) {query}", *arguments)
    ledger.forget()
    assert set(walk.indexes) <= set(indexes(json.loads(plan)[0]["Plan"]))


def test_every_walk_of_entries_and_transactions_is_shown() -> None:
    walks = {(listing, walk.name) for listing in (entries.LIST, transactions.LIST) for walk in listing.walks}
    assert walks == {(listing, name.partition(": ")[2]) for name, (listing, _, _) in BY_WALK.items()}


def indexes(plan: dict[str, Any]) -> Iterator[str]:
    """Tell which indexes a plan reads."""
    if "Index Name" in plan:
        yield plan["Index Name"]
    for part in plan.get("Plans", ()):
        yield from indexes(part)

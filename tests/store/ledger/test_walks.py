"""Which walk a list of entries or transactions takes: the same for the same question, whatever is in the ledger."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import uuid4

import asyncpg
import pytest

from doppia.store.closing import settlements
from doppia.store.database.connections import session_settings
from doppia.store.database.listing import Filter, Listing, Page
from doppia.store.ledger import (
    accounts,
    categories,
    entries,
    ledgers,
    monitors,
    statements,
    transactions,
    versions,
)
from doppia.store.log import log
from doppia.store.platform import bulk
from tests.servers import Server
from tests.store.log.blank_trees import blank_tree

pytestmark = pytest.mark.anyio

AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
LONG: Final = Filter("ledger_account_id", 5)
SHORT: Final = Filter("ledger_account_id", 6)
PENDING: Final = Filter("pending")
SINCE, UNTIL = Filter("effective_at", AT, "gte"), Filter("effective_at", AT, "lt")

# A ledger of a million records, in which account 5 has taken nearly as many steps, and account 6 ten.
SEED: Final = f"""
set session_replication_role = replica;
insert into ledger_heads (ledger_id, sequence, recorded_at, root, frontier)
select 7, 1000000, now(), {blank_tree(1_000_000)};
insert into balances values (7, 5, 900000, 0, 0, 0, 0), (7, 6, 10, 0, 0, 0, 0);
"""


@pytest.fixture(scope="module")
async def connection(postgres: Server) -> AsyncIterator[asyncpg.Connection]:
    name = f"t{uuid4().hex}"
    maintenance = await asyncpg.connect(postgres.url)
    await maintenance.execute(f"create database {name} template template_doppia")
    opened = await asyncpg.connect(postgres.of(name), server_settings=session_settings())
    await opened.execute(SEED)
    yield opened
    await opened.close()
    await maintenance.execute(f"drop database {name}")
    await maintenance.close()


class Asking(NamedTuple):
    """Tells which walk a list takes."""

    connection: asyncpg.Connection
    listing: Listing

    async def __call__(self, *filters: Filter, time: str = "created_at") -> str:
        page = Page([7], filters, self.listing.newest_first._replace(time=time), None, 26)
        return (await self.listing.choose(self.connection, page)).name


FEW_TRANSACTIONS: Final = (
    "id",
    "external_id",
    "ledgerable_id",
    "reverses",
    "partially_posts",
    "ledger_account_settlement_id",
    "few_accounts",
)
CHEAP: Final = ("status", "amount", "posted_at", "created_at", "updated_at", "ledgerable_type")


@pytest.mark.parametrize("name", FEW_TRANSACTIONS)
@pytest.mark.parametrize("time", ["created_at", "effective_at"])
async def test_transactions_that_are_named_are_found_by_their_name(
    connection: asyncpg.Connection, name: str, time: str
) -> None:
    walk = Asking(connection, transactions.LIST)
    named = Filter(name, 5)
    assert await walk(named, time=time) == "by_filters"
    assert await walk(named, SINCE, UNTIL, time=time) == "by_filters"
    assert await walk(SHORT, named, time=time) == "by_filters"


@pytest.mark.parametrize("name", [None, *CHEAP])
async def test_transactions_are_read_along_their_account_or_by_their_time(
    connection: asyncpg.Connection, name: str | None
) -> None:
    walk = Asking(connection, transactions.LIST)
    more = [] if name is None else [Filter(name, AT, "gt")]
    assert await walk(*more) == "by_filters"
    assert await walk(*more, SINCE) == "by_filters"
    assert await walk(*more, SINCE, UNTIL) == "within_window"
    assert await walk(*more, time="effective_at") == "by_effective_time"
    for account in (SHORT, LONG):
        assert await walk(account, *more) == "along_account"
    assert await walk(SHORT, *more, time="effective_at") == "gathered_from_account"
    assert await walk(LONG, *more, time="effective_at") == "by_effective_time"
    assert await walk(SHORT, *more, SINCE, UNTIL) == "gathered_from_account"
    assert await walk(LONG, *more, SINCE, UNTIL) == "within_window"


@pytest.mark.parametrize("found", [PENDING, Filter("metadata", {})], ids=lambda found: found.name)
@pytest.mark.parametrize("time", ["created_at", "effective_at"])
async def test_what_an_index_over_the_ledger_has_is_not_looked_for_along_a_long_account(
    connection: asyncpg.Connection, found: Filter, time: str
) -> None:
    walk = Asking(connection, transactions.LIST)
    assert await walk(found, time=time) == "by_filters"
    assert await walk(LONG, found, time=time) == "by_filters"
    assert await walk(SHORT, found, time=time) == "gathered_from_account"


async def test_transactions_of_a_large_category_are_asked_for_along_the_ledger(connection: asyncpg.Connection) -> None:
    walk = Asking(connection, transactions.LIST)
    large = Filter("category_sets", [5])
    assert await walk(large) == "by_filters"
    assert await walk(SHORT, large) == "by_filters"
    assert await walk(large, time="effective_at") == "by_effective_time"


@pytest.mark.parametrize("name", ["id", "ledger_transaction_id", "of_settlement", "few_accounts", "metadata"])
@pytest.mark.parametrize("time", ["created_at", "effective_at"])
async def test_entries_that_are_named_are_found_by_their_name(
    connection: asyncpg.Connection, name: str, time: str
) -> None:
    walk = Asking(connection, entries.LIST)
    assert await walk(Filter(name, 5), time=time) == "by_filters"
    assert await walk(LONG, Filter(name, 5), SINCE, UNTIL, time=time) == "by_filters"


CHEAP_OF_ENTRIES: Final = (
    "direction", "status", "pending", "amount", "updated_at", "as_of_lock_version", "lock_version", "show_deleted",
    "category_sets",
)  # fmt: skip


@pytest.mark.parametrize("name", [None, *CHEAP_OF_ENTRIES])
async def test_entries_are_read_along_their_account_or_by_their_time(
    connection: asyncpg.Connection, name: str | None
) -> None:
    walk = Asking(connection, entries.LIST)
    more = [] if name is None else [Filter(name, 5)]
    assert await walk(*more) == "by_filters"
    assert await walk(*more, SINCE) == "by_filters"
    assert await walk(*more, SINCE, UNTIL) == "within_window"
    assert await walk(*more, SINCE, time="effective_at") == "by_effective_time"
    assert await walk(LONG, *more) == "along_account"
    assert await walk(LONG, *more, UNTIL) == "along_account"
    assert await walk(LONG, *more, SINCE, UNTIL) == "within_window_on_account"
    assert await walk(LONG, *more, SINCE, UNTIL, time="effective_at") == "by_effective_time_on_account"


@pytest.mark.parametrize(("names", "expected"), [
    ((), "along_log"), (("id", "from_time"), "along_log"), (("happening", "version"), "of_happenings"),
    (("object", "happening"), "of_object"),
])  # fmt: skip
async def test_records_are_found_by_what_they_are_about(
    connection: asyncpg.Connection, names: Sequence[str], expected: str
) -> None:
    walk = Asking(connection, log.LIST)
    assert await walk(*(Filter(name, 5) for name in names)) == expected


async def test_the_indexes_that_walks_name_are_there(connection: asyncpg.Connection) -> None:
    there = {row[0] for row in await connection.fetch("select indexname from pg_indexes where schemaname = 'doppia'")}
    for listing in (
        accounts.LIST, bulk.LISTS, categories.LIST, entries.LIST, ledgers.LIST, log.LIST, monitors.LIST,
        settlements.LIST, statements.LIST, transactions.LIST, versions.OF_STATEMENT,
    ):  # fmt: skip
        for walk in listing.walks:
            assert set(walk.indexes) <= there, (walk.name, walk.indexes)

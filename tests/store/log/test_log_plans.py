"""Whatever is asked of a log is found by an index: a page costs the same however much else there is in the ledger."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from doppia.accounting.ids import ORDINAL_BITS, Id
from doppia.store.database.connections import Connection, Database, load_queries
from doppia.store.database.listing import Filter, Place
from doppia.store.ledger import statements, versions
from doppia.store.log import log
from doppia.store.log.log import LogRow, happening
from tests.store.log.blank_trees import blank_tree

pytestmark = pytest.mark.anyio

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
RECORDS = 60_000
PAGE = 26

# Two ledgers. All records create transactions, with an entry on account 2 each, but for one in a thousand that changes
# the transaction before it, and a few of other kinds near the beginning. Some entries are effective an hour earlier.
SEED = f"""
set session_replication_role = replica;
insert into organizations values ('00000000-0000-0000-0000-000000000001', 'first', now());
insert into ledgers (ledger_id, organization_id, name, created_at, updated_at)
select ledger, '00000000-0000-0000-0000-000000000001', 'books', now(), now() from generate_series(7, 8) as ledger;
insert into ledger_heads (ledger_id, sequence, recorded_at, root, frontier)
select ledger, {RECORDS}, now(), {blank_tree(RECORDS)} from generate_series(7, 8) as ledger;
insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
select ledger, n,
       case when changes then n - 1 when n between 20 and 40 then 3 when n between 41 and 50 then 4 else n end,
       '{BEGAN}'::timestamptz + n * interval '1 second',
       case when n between 20 and 40 then 6 when n between 41 and 50 then 8 when n <= 11 then n else 3 end,
       case when changes or n between 20 and 40 then 2 when n between 41 and 50 then 6 else 1 end,
       decode(repeat('97', 60), 'hex')
  from generate_series(7, 8) as ledger, generate_series(1, {RECORDS}) as n,
       lateral (select n > 100 and n % 1000 = 0 as changes) c;
insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                      updated_at)
select ledger, 2, 'account', 'PHP', 2, 'credit', '{BEGAN}', now() from generate_series(7, 8) as ledger;
insert into balances select ledger_id, 2, {RECORDS}, 20, 20, 0, 0 from accounts;
insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, effective_at,
                          posted_at, status, version)
select ledger_id, sequence, sequence, recorded_at, recorded_at, recorded_at, recorded_at, 'posted', 0
  from log where kind = 3 and event = 1;
insert into entries
select ledger_id, (transaction_sequence << 10) + 1, transaction_sequence, 2,
       row_number() over (partition by ledger_id order by transaction_sequence), created_at,
       created_at - case when transaction_sequence % 5000 = 1 then interval '1 hour' else interval '0' end,
       'credit', 'posted', 1, 1, 1, 0, 0
  from transactions;
insert into account_statements
select ledger, {RECORDS}, 2, {RECORDS} - 200, '{BEGAN}'::timestamptz + interval '3 hours',
       '{BEGAN}'::timestamptz + interval '8 hours', 0, 0, 0, 0, 0, 0, 0, 0, null, '{{}}', now()
  from generate_series(7, 8) as ledger;
set session_replication_role = origin;
"""

CREATED, CHANGED = happening(3, 1), happening(3, 2)
IN_THE_MIDDLE = BEGAN + timedelta(seconds=RECORDS // 2)


@pytest.fixture(params=["analyzed", "not yet analyzed"])
async def seeded(database_url: str, database: Database, request: pytest.FixtureRequest) -> Database:
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "doppia", "timezone": "UTC"})
    await connection.execute(SEED)
    if request.param == "analyzed":
        await connection.execute("analyze")
    await connection.close()
    return database


async def touched(connection: Connection) -> int:
    """Return how many rows have been read on this connection, counted from somewhere."""
    count: int = await connection.fetchval(
        "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables"
    )
    return count


FILTERS: dict[str, list[Filter]] = {
    "nothing": [],
    "an id": [Filter("id", [5 << ORDINAL_BITS]), Filter("id_exact", ["7.5.1767225605.1023"])],
    "what is rare": [Filter("happening", [happening(6, 2), happening(8, 6), happening(8, 7)])],
    "what is nowhere": [Filter("happening", [happening(11, 2)])],
    "created transactions": [Filter("happening", [CREATED])],
    "changed transactions": [Filter("happening", [CHANGED])],
    "transactions": [Filter("happening", [CREATED, CHANGED])],
    "what is rare and what is not": [Filter("happening", [CREATED, CHANGED, happening(6, 2), happening(8, 6)])],
    "an object": [Filter("object", 3)],
    "an object that was changed": [Filter("object", 5999)],
    "changes of an object": [Filter("object", 3), Filter("happening", [happening(6, 2)])],
    "an entry": [*log.about(Id(0, 7, 3, 1)), Filter("happening", [happening(4, 2)])],
    "first versions": [Filter("version", 0), Filter("happening", [CREATED])],
    "later versions": [Filter("version", 1, "gte"), Filter("happening", [CHANGED])],
    "versions of an object": [Filter("version", 1), Filter("object", 5999), Filter("happening", [CREATED, CHANGED])],
}
TIMES: dict[str, list[Filter]] = {
    "at any time": [],
    "since": [Filter("from_time", IN_THE_MIDDLE)],
    "until": [Filter("to_time", IN_THE_MIDDLE)],
    "within": [Filter("from_time", IN_THE_MIDDLE), Filter("to_time", IN_THE_MIDDLE + timedelta(minutes=5))],
}


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
async def test_a_page_of_a_log_reads_little_more_than_it_shows(seeded: Database, plans: str) -> None:
    slow = []
    for asked, filters in FILTERS.items():
        for when, times in TIMES.items():
            for ledgers in ([7], [7, 8]):
                for after in (None, Place(IN_THE_MIDDLE, 7, RECORDS // 2)):
                    async with seeded.tx() as connection:
                        await connection.execute(f"set local plan_cache_mode = {plans}")
                        before = await touched(connection)
                        rows = await log.list_page(connection, ledgers, [*filters, *times], after, PAGE)
                        cost = await touched(connection) - before
                    if cost > 1000:
                        slow.append((asked, when, ledgers, after, len(rows), cost))
    assert not slow, "\n".join(map(str, slow))


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
async def test_a_page_of_a_statements_versions_reads_little_more_than_it_shows(seeded: Database, plans: str) -> None:
    found: list[LogRow] = []
    after: Any = None
    async with seeded.connection() as connection:
        statement = await statements.get(connection, 7, RECORDS)
    assert statement is not None
    while after is None or len(found) % 1000 == 0:
        async with seeded.tx() as connection:
            await connection.execute(f"set local plan_cache_mode = {plans}")
            before = await touched(connection)
            page = await versions.records_of_statement(connection, statement, [], after, 1000)
            assert await touched(connection) - before < 5000
        found += page
        after = page[-1].place
    # Five hours, a record a second, of which 18 change the one before; and one that was recorded in the next hour.
    assert len(found) == len({row.object_sequence for row in found}) == 5 * 3600 - 18 + 1
    assert [row.place.key for row in found] == sorted((row.place.key for row in found), reverse=True)


LOOK_UPS: dict[tuple[str, str], dict[str, Any]] = {
    ("ledger/transactions", "recorded"): {"ledgers": [7, 8, 8], "sequences": [5000, 5999, 6000]},
    ("ledger/transactions", "annotations"): {"ledgers": [7, 8, 8], "sequences": [3, 5000, 5999]},
    ("platform/events", "accounts"): {"ledgers": [7, 8], "accounts": [2, 2]},
    ("platform/events", "sums"): {"ledgers": [7, 8], "accounts": [2, 2], "lock_versions": [5000, 6000]},
    ("platform/events", "discards"): {
        "ledgers": [7, 8],
        "entries": [5000 << ORDINAL_BITS | 1, 6001 << ORDINAL_BITS | 1],
    },
    ("platform/events", "placed"): {"ledgers": [7, 8], "objects": [3, 3], "sequences": [30, 40]},
    ("platform/events", "settled"): {"ledgers": [7, 8], "objects": [4, 4], "sequences": [45, 50]},
    ("platform/events", "creations"): {"ledgers": [7, 8], "objects": [5000, 6000]},
}


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
async def test_what_a_page_lacks_is_looked_up_row_by_row(seeded: Database, plans: str) -> None:
    for (module, name), values in LOOK_UPS.items():
        async with seeded.tx() as connection:
            await connection.execute(f"set local plan_cache_mode = {plans}")
            before = await touched(connection)
            await load_queries(module)[name].fetch(connection, **values)
            assert await touched(connection) - before < 100, (module, name)

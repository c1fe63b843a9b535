"""The entries of a statement are found by indexes: a page of them touches few rows, however many its account has."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import asyncpg
import pytest

from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.money import Currency
from doppia.store.database.connections import session_settings
from doppia.store.database.listing import Order, Place
from doppia.store.ledger import statements

pytestmark = pytest.mark.anyio

ENTRIES = 60_000
PER_PAGE = 26
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
AT_ONCE, MIXED, DELAYED = 2, 3, 4

# An entry a minute on each of three accounts: one whose entries count when they are recorded, one of whose entries one
# in a hundred counts up to fifty days before, and one whose entries all count five seconds before.
SEED = f"""
set session_replication_role = replica;
insert into organizations values ('00000000-0000-0000-0000-000000000001', 'first', now());
insert into ledgers (ledger_id, organization_id, name, created_at, updated_at)
values (7, '00000000-0000-0000-0000-000000000001', 'books', now(), now());
insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                      updated_at)
select 7, account, 'account', 'PHP', 2, 'credit', now(), now() from generate_series({AT_ONCE}, {DELAYED}) as account;
insert into balances
select 7, account, {ENTRIES}, {ENTRIES // 2}, {ENTRIES // 2}, 0, 0
  from generate_series({AT_ONCE}, {DELAYED}) as account;
insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, effective_at,
                          posted_at, status, version)
select 7, n + 10, n + 10, at, at, at, at, 'posted', 0
  from generate_series(1, {ENTRIES}) as n,
       lateral (select '{BEGIN}'::timestamptz + n * interval '1 minute' as at) t;
insert into entries
select 7, ((n + 10) << 10) + account, n + 10, account, n, at,
       case account when {AT_ONCE} then at
                    when {MIXED} then at - case when n % 100 = 7 then (n % 50) * interval '1 day' else '0' end
                    else at - interval '5 seconds' end,
       case n % 2 when 0 then 'debit' else 'credit' end::direction, 'posted', 1, n / 2, n / 2, 0, 0
  from generate_series(1, {ENTRIES}) as n, generate_series({AT_ONCE}, {DELAYED}) as account,
       lateral (select '{BEGIN}'::timestamptz + n * interval '1 minute' as at) t;
set session_replication_role = origin;
analyze;
"""


class Explaining(NamedTuple):
    """A connection that notes how many rows each query touched."""

    connection: asyncpg.Connection
    touched: list[int]

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        return await self.connection.fetchrow(query, *arguments)

    async def fetch(self, query: str, *arguments: Any) -> Any:
        [[plan]] = await self.connection.fetch(f"explain (analyze, timing off, format json) {query}", *arguments)
        self.touched.append(sum(rows_of(json.loads(plan)[0]["Plan"])))
        return await self.connection.fetch(query, *arguments)


def rows_of(plan: dict[str, Any]) -> Iterator[int]:
    """Return how many rows each scan of a table looked at, those it threw away included."""
    if plan.get("Relation Name") is not None:
        thrown_away = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        yield round((plan["Actual Rows"] + thrown_away) * plan["Actual Loops"])
    for part in plan.get("Plans", ()):
        yield from rows_of(part)


@pytest.fixture(scope="module")
async def seeded(postgres: Any) -> AsyncIterator[asyncpg.Connection]:
    maintenance = await asyncpg.connect(postgres.url)
    await maintenance.execute("create database statement_plans template template_doppia")
    connection = await asyncpg.connect(postgres.of("statement_plans"), server_settings=session_settings())
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=int, format="text")
    await connection.execute(SEED)
    yield connection
    await connection.close()
    await maintenance.execute("drop database statement_plans")
    await maintenance.close()


def statement_of(account: int, lower: datetime, upper: datetime) -> Statement:
    known = Account("account", account, Currency("PHP", 2), "credit", True, ENTRIES, NOTHING)
    return Statement("statement", 7, 99, known, lower, upper, NOTHING, None, {}, upper)


DAY = timedelta(days=1)
WINDOWS = {
    "all": (BEGIN - 60 * DAY, BEGIN + 100 * DAY),
    "a day long ago": (BEGIN + DAY, BEGIN + 2 * DAY),
    "a day in the middle": (BEGIN + 20 * DAY, BEGIN + 21 * DAY),
    "the last day": (BEGIN + 40 * DAY, BEGIN + 41 * DAY),
    "nothing": (BEGIN + 90 * DAY, BEGIN + 91 * DAY),
}


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("time", ["created_at", "effective_at"])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("account", [AT_ONCE, MIXED, DELAYED], ids=["at once", "mixed", "delayed"])
async def test_a_page_touches_few_rows(
    seeded: asyncpg.Connection, account: int, window: str, time: str, direction: Any
) -> None:
    statement = statement_of(account, *WINDOWS[window])
    order = Order(time, "entry", ORDINAL_BITS, direction)
    middle = (
        statement.effective_at_lower_bound
        + (statement.effective_at_upper_bound - statement.effective_at_lower_bound) / 2
    )
    for after in (None, Place(middle, 7, await number_at(seeded, account, middle))):
        explaining = Explaining(seeded, [])
        rows = await statements.list_entries(explaining, statement, [], order, after, PER_PAGE)

        assert (len(rows) == PER_PAGE) == (window != "nothing")
        # What is told of each row of a page is looked up in five tables; rows out of the order of recording are few,
        # or those of a day.
        enough = 20 * PER_PAGE + (600 if account == MIXED else 0)
        if account == DELAYED:
            enough += 2 * ENTRIES if window == "all" and time == "effective_at" else 4 * 1440
        assert sum(explaining.touched) <= enough, (after, explaining.touched)


async def number_at(connection: asyncpg.Connection, account: int, time: datetime) -> int:
    version: int = await connection.fetchval("select account_version(7, $1, $2)", account, time)
    return ((version + 10) << ORDINAL_BITS) + account

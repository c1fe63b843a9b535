"""What is settled is found by indexes: a page or a step touches few rows, however much of an account is settled."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from doppia.accounting.ids import ORDINAL_BITS
from doppia.store.closing import settlements
from doppia.store.database.connections import load_queries, session_settings
from doppia.store.database.listing import Filter, Listing, Order, Page, Place
from doppia.store.ledger import entries, transactions
from tests.store.log.blank_trees import blank_tree

pytestmark = pytest.mark.anyio

ENTRIES = 60_000
SETTLED = 50_000
PER_PAGE = 26
LEDGER, WALLET, BANK = 7, 2, 3
LARGE, SMALL, OTHERS = 10, 11, 12

# An account with an entry a second, of which all but the last are in one settlement and thirty of those in another, and
# a thousand settlements of other accounts.
SEED = f"""
set session_replication_role = replica;
insert into organizations values ('00000000-0000-0000-0000-000000000001', 'first', now());
insert into ledgers (ledger_id, organization_id, name, created_at, updated_at)
values ({LEDGER}, '00000000-0000-0000-0000-000000000001', 'books', now(), now());
insert into ledger_heads (ledger_id, sequence, recorded_at, root, frontier)
select {LEDGER}, {ENTRIES + 2000}, now(), {blank_tree(ENTRIES + 2000)};
insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
select {LEDGER}, n, n, '2026-01-01'::timestamptz + n * interval '1 second', 3, 1, 'record'
  from generate_series(1, {ENTRIES + 2000}) as n;
insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                      updated_at)
select {LEDGER}, n, 'account', 'PHP', 2, 'credit', now(), now() from generate_series(2, 1999) as n;
insert into balances
select {LEDGER}, n, {ENTRIES}, {ENTRIES}, 0, 0, 0 from generate_series(2, 1999) as n;
insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, effective_at,
                          posted_at, status, version)
select {LEDGER}, n + 2000, n + 2000, at, at, at, at, 'posted', 0
  from generate_series(1, {ENTRIES}) as n,
       lateral (select '2026-01-01'::timestamptz + (n + 2000) * interval '1 second' as at) t;
insert into entries
select {LEDGER}, (transaction_sequence << 10) + side, transaction_sequence,
       case side when 1 then {BANK} else {WALLET} end,
       transaction_sequence - 2000, created_at, created_at, case side when 1 then 'debit' else 'credit' end::direction,
       'posted', 1, 1, 1, 0, 0
  from transactions, generate_series(1, 2) as side;
insert into settlements (ledger_id, settlement_sequence, settled_account_sequence, contra_account_sequence, status,
                         allow_either_direction, skip_transaction, amount, direction, net, created_at, updated_at,
                         metadata, transaction_sequence)
select {LEDGER}, n, case when n < {OTHERS} then {WALLET} else n end, {BANK},
       case n when 50 then 'archiving' else 'posted' end::settlement_status, false, false, 1, 'debit', 1,
       now(), now(), jsonb_build_object('run', n), 2000 + n
  from generate_series({LARGE}, {OTHERS + 1000}) as n;
insert into settled_entries
select ledger_id, entry, case when lock_version % {SETTLED // 30} = 0 then {SMALL} else {LARGE} end
  from entries where account_sequence = {WALLET} and lock_version <= {SETTLED};
insert into settled_accounts values ({LEDGER}, {WALLET}, 0);
set session_replication_role = origin;
analyze;
"""


@pytest.fixture
async def seeded(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, server_settings=session_settings())
    for codec in ("numeric", "jsonb"):
        await connection.set_type_codec(codec, schema="pg_catalog", encoder=str, decoder=str, format="text")
    await connection.execute(SEED)
    yield connection
    await connection.close()


def _touched(plan: dict[str, Any]) -> Iterator[int]:
    if plan.get("Relation Name") is not None:
        thrown_away = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        yield round((plan["Actual Rows"] + thrown_away) * plan["Actual Loops"])
    for part in plan.get("Plans", ()):
        yield from _touched(part)


async def touched(connection: asyncpg.Connection, query: str, *arguments: Any) -> int:
    """Return how many rows of tables a query looked at, those it threw away included."""
    explained = f"explain (analyze, timing off, format json) {query}"
    [[plan]] = await connection.fetch(explained, *arguments)
    return sum(_touched(json.loads(plan)[0]["Plan"]))


def page(listing: Listing, filter_: Filter, order: Order, after: Place | None = None) -> tuple[str, list[Any]]:
    return listing.compose(listing.walks[-1], Page([LEDGER], [filter_], order, after, PER_PAGE))


@pytest.mark.parametrize("direction", ["desc", "asc"])
@pytest.mark.parametrize("depth", [0, SETTLED // 2, SETTLED - 100])
async def test_a_page_of_a_large_settlements_entries_touches_no_more_than_it_shows(
    seeded: asyncpg.Connection, direction: Any, depth: int
) -> None:
    order = Order("created_at", "entry", ORDINAL_BITS, direction)
    place = None
    bounds = [0, 2**63 - 1]
    if depth:
        version = SETTLED - depth if direction == "desc" else depth
        key = (version + 2000 << ORDINAL_BITS) + 2
        at = await seeded.fetchval("select created_at from entries where entry = $1", key)
        place = Place(at, LEDGER, key)
        bounds[1 if direction == "desc" else 0] = key

    query, arguments = page(entries.LIST, Filter("of_settlement", [LARGE, *bounds]), order, place)

    assert len(await seeded.fetch(query, *arguments)) == PER_PAGE
    assert await touched(seeded, query, *arguments) < 12 * PER_PAGE


async def test_the_few_entries_and_transactions_of_a_settlement_are_found_among_many(
    seeded: asyncpg.Connection,
) -> None:
    newest = Order("created_at", "entry", ORDINAL_BITS, "desc")
    query, arguments = page(entries.LIST, Filter("of_settlement", [SMALL, 0, 2**63 - 1]), newest)
    assert len(await seeded.fetch(query, *arguments)) == PER_PAGE
    assert await touched(seeded, query, *arguments) < 400

    newest = Order("created_at", "transaction_sequence", 0, "desc")
    query, arguments = page(transactions.LIST, Filter("ledger_account_settlement_id", SMALL), newest)
    assert len(await seeded.fetch(query, *arguments)) == PER_PAGE
    assert await touched(seeded, query, *arguments) < 400


@pytest.mark.parametrize(
    ("filter_", "rows"),
    [
        (Filter("id", [500]), 1),
        (Filter("transaction", 2500), 1),
        (Filter("settled_account", 500), 1),
        (Filter("metadata", '{"run": 500}'), 1),
        (Filter("direction", "debit"), PER_PAGE),
        (Filter("status", ["posted"]), PER_PAGE),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_settlements_are_found_by_an_index(seeded: asyncpg.Connection, filter_: Filter, rows: int) -> None:
    query, arguments = page(settlements.LIST, filter_, Order("created_at", "settlement_sequence", 0, "desc"))
    assert len(await seeded.fetch(query, *arguments)) == rows
    assert await touched(seeded, query, *arguments) < 6 * (rows + 1)


async def test_a_step_of_a_sweep_looks_at_what_lies_before_it_and_at_nothing_else(seeded: asyncpg.Connection) -> None:
    queries = load_queries("closing/settlements")
    where = {"ledger": LEDGER, "account": WALLET}

    async def fetched(name: str, **values: Any) -> list[Any]:
        found: list[Any] = await queries[name].fetch(seeded, **values)
        return found

    async def touches(name: str, **values: Any) -> int:
        return await touched(seeded, queries[name].text, *queries[name].arguments(values))

    through_settled = {**where, "after": 10_000, "to": 12_000, "limit": 1000}
    assert await fetched("unsettled", **through_settled) == []
    assert await touches("unsettled", **through_settled) < 4 * 2000
    at_the_end = {**where, "after": SETTLED, "to": ENTRIES, "limit": 1000}
    found = await fetched("unsettled", **at_the_end)
    assert [row["lock_version"] for row in found] == list(range(SETTLED + 1, SETTLED + 1001))
    assert await touches("unsettled", **at_the_end) < 4 * 1000

    assert await touches("mark", **where) < 20
    first = {"limit": 100, "after_ledger": 0, "after_settlement": 0}
    assert [row["settlement_sequence"] for row in await fetched("unfinished", **first)] == [50]
    assert await touches("unfinished", **first) < 20
    assert await fetched("unfinished", limit=100, after_ledger=LEDGER, after_settlement=50) == []
    entries = [row["entry"] for row in found[:10]]
    for name in ("holders", "entries"):
        assert await touches(name, ledger=LEDGER, entries=entries) < 60

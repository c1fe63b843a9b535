"""Every query that reads a ledger goes by an index, and enters it by a condition, on a ledger of some size."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from doppia.accounting.ids import ORDINAL_BITS
from doppia.store.database import load_filters, load_queries, session_settings
from doppia.store.listing import Filter, Order, Place, compose

pytestmark = pytest.mark.anyio

TABLES = {
    "accounts",
    "balances",
    "transactions",
    "entries",
    "discards",
    "entry_metadata",
    "log",
    "idempotency_keys",
    "categories",
    "category_edges",
    "category_sets",
    "category_set_members",
    "balance_monitors",
    "account_statements",
    "settlements",
    "settled_entries",
}

SEED = """
set session_replication_role = replica;
insert into organizations values ('00000000-0000-0000-0000-000000000001', 'first', now());
insert into ledgers (ledger_id, organization_id, name, created_at, updated_at)
select ledger, '00000000-0000-0000-0000-000000000001', 'books', now(), now() from generate_series(7, 8) as ledger;
insert into ledger_heads (ledger_id, sequence, recorded_at)
select ledger, 21000, now() from generate_series(7, 8) as ledger;
insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
select ledger, n, n, '2026-01-01'::timestamptz + n * interval '1 second', 3, 1, 'record'
  from generate_series(7, 8) as ledger, generate_series(1, 21000) as n;
insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                      updated_at, external_id)
select ledger, n, 'account ' || n, 'PHP', 2, 'credit', '2026-01-01'::timestamptz + n * interval '1 second', now(),
       'a' || n
  from generate_series(7, 8) as ledger, generate_series(2, 1000) as n;
insert into balances
select ledger_id, account_sequence, 40, 20, 20, 0, 0 from accounts;
insert into transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at, effective_at,
                          posted_at, status, version, external_id, metadata)
select ledger, n, n, at, at, at, at, 'posted', 0, 't' || n, jsonb_build_object('order', n::text)
  from generate_series(7, 8) as ledger, generate_series(1001, 21000) as n,
       lateral (select '2026-01-01'::timestamptz + n * interval '1 second' as at) t;
insert into entries
select ledger_id, (transaction_sequence << 10) + side, transaction_sequence, 2 + (transaction_sequence * side) % 999,
       transaction_sequence * 2 + side, created_at, created_at,
       case side when 1 then 'debit' else 'credit' end::direction, 'posted', 1, 1, 1, 0, 0
  from transactions, generate_series(1, 2) as side;
insert into entry_metadata
select ledger_id, entry, created_at, '{"a": "b"}' from entries where entry % 5 = 0;
insert into discards
select ledger_id, entry, transaction_sequence, created_at, account_sequence, lock_version from entries
 where entry % 7 = 0;
insert into categories (ledger_id, category_sequence, name, currency, currency_exponent, normal_balance, created_at,
                        updated_at, external_id)
select ledger, n, 'category ' || n, 'PHP', 2, 'credit', '2026-01-01'::timestamptz + n * interval '1 second', now(),
       'c' || n
  from generate_series(7, 8) as ledger, generate_series(2, 1000) as n;
insert into category_edges
select ledger_id, category_sequence / 10, category_sequence from categories where category_sequence >= 20;
insert into category_sets (ledger_id, category_set, categories)
select ledger_id, category_sequence, array[category_sequence] from categories;
insert into category_set_members
select ledger_id, category_set, category_set from category_sets;
update balances set category_set = account_sequence;
insert into balance_monitors (ledger_id, monitor_sequence, account_sequence, field, operator, value, is_triggered,
                              created_at, updated_at, metadata)
select ledger, n, 2 + n % 999, 'posted_balance_amount', 'less_than', 5, false,
       '2026-01-01'::timestamptz + n * interval '1 second', now(), jsonb_build_object('order', n::text)
  from generate_series(7, 8) as ledger, generate_series(1001, 11000) as n;
insert into account_statements
select ledger, n, 2 + n % 999, 40, at - interval '1 day', at, 0, 0, 0, 0, 20, 20, 0, 0, null,
       jsonb_build_object('order', n::text), at
  from generate_series(7, 8) as ledger, generate_series(1001, 11000) as n,
       lateral (select '2026-01-01'::timestamptz + n * interval '1 second' as at) t;
insert into idempotency_keys
select ledger_id, decode(md5(transaction_sequence::text), 'hex'), 'body', transaction_sequence, 201, null
  from transactions;
insert into settlements (ledger_id, settlement_sequence, settled_account_sequence, contra_account_sequence, status,
                         allow_either_direction, skip_transaction, created_at, updated_at)
select ledger, n, n, n + 1, 'drafting', false, false, '2026-01-01'::timestamptz + n * interval '1 second', now()
  from generate_series(7, 8) as ledger, generate_series(2, 1000) as n;
insert into settled_entries
select ledger_id, entry, account_sequence from entries where entry % 3 = 0;
set session_replication_role = origin;
analyze;
"""

AT = "2026-01-01 03:00:00+00"


@pytest.fixture
async def seeded(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, server_settings=session_settings())
    for codec in ("numeric", "jsonb"):
        await connection.set_type_codec(codec, schema="pg_catalog", encoder=str, decoder=str, format="text")
    await connection.execute(SEED)
    yield connection
    await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def plan_of(connection: asyncpg.Connection, query: str, *arguments: Any) -> list[dict[str, Any]]:
    [[plan]] = await connection.fetch(f"explain (format json) {query}", *arguments)
    return list(nodes(json.loads(plan)[0]["Plan"]))


async def faults(connection: asyncpg.Connection, query: str, *arguments: Any) -> list[str]:
    """Return which tables the query's plan reads otherwise than by an index that it enters with a condition."""
    found = []
    for node in await plan_of(connection, query, *arguments):
        kind, table = node["Node Type"], node.get("Relation Name")
        scans = table in TABLES and kind == "Seq Scan"
        wanders = kind in {"Index Scan", "Index Only Scan", "Bitmap Index Scan"} and "Index Cond" not in node
        if scans or (wanders and table != "ledgers"):
            found.append(f"{kind} on {table or node.get('Index Name')}")
    return found


NAMED: dict[str, dict[str, tuple[Any, ...]]] = {
    "posting": {
        "accounts": (7, [5, 6]),
        "taken_external_ids": (7, ["t5000"]),
    },
    "transactions": {"get": (7, [5000, 6000]), "entries": ([7, 7], [5000, 6000])},
    "accounts": {"get": (7, 5), "external_id_holder": (7, "a5"), "count_pending_entries": (7, 5)},
    "ledgers": {"get": (7,), "keys": ([b"1" * 16],)},
    "categories": {
        "get": (7, 5),
        "categories": (7, [5, 6]),
        "sets": (7, [5, 6], [5]),
        "recompute": (7, 5),
        "sets_of": (7, 5),
        "accounts": (7, 5, 10),
        "external_id_holder": (7, "c5"),
        "parents": (7, 50),
        "edges": (7, [50, 60], 5),
        "member": (7, 5),
    },
    "monitors": {"of_accounts": (7, [5, 6]), "watch": (7, 5)},
}


async def test_what_is_looked_up_by_its_name_is_found_by_an_index(seeded: asyncpg.Connection) -> None:
    for module, queries in NAMED.items():
        known = load_queries(module)
        for name, arguments in queries.items():
            assert not await faults(seeded, known[name], *arguments), f"{module}.{name}"


VALUES: dict[str, Any] = {
    "id": [5_120_001, 5000], "id_exact": ["7.5000.0.0"], "ledger_account_id": 5, "external_id": "t5000",
    "ledgerable_type": "order", "ledgerable_id": "1", "reverses": 5000, "partially_posts": 5000, "status": ["pending"],
    "amount": "5", "metadata": '{"order": "5000"}', "name": ["account 5"], "currency": "PHP",
    "normal_balance": "credit", "discarded": False, "ledger_transaction_id": 5000, "direction": "debit",
    "ledger_account_category_id": 5, "few_accounts": [5, 6], "category_sets": [5],
    "parent_ledger_account_category_id": 5, "ledger_account_settlement_id": 9, "of_settlement": [9, 0, 2**63 - 1],
    "transaction": 5000, "settled_account": 5,
    "as_of_lock_version": 50, "lock_version": 50, "outside_lock_versions": [10, 20],
    "show_deleted": False,
}  # fmt: skip

LISTS = {
    "transactions": [
        Order("created_at", "transaction_sequence", 0, "desc"),
        Order("created_at", "transaction_sequence", 0, "asc"),
        Order("effective_at", "transaction_sequence", 0, "desc"),
    ],
    "entries": [Order("created_at", "entry", ORDINAL_BITS, "desc"), Order("created_at", "entry", ORDINAL_BITS, "asc")],
    "accounts": [Order("created_at", "account_sequence", 0, "desc")],
    "categories": [Order("created_at", "category_sequence", 0, "desc")],
    "monitors": [Order("created_at", "monitor_sequence", 0, "desc")],
    "statements": [Order("created_at", "statement_sequence", 0, "desc")],
    "settlements": [Order("created_at", "settlement_sequence", 0, "desc")],
}


async def test_a_transaction_is_found_by_its_external_id_without_a_walk_through_the_ledger(
    seeded: asyncpg.Connection,
) -> None:
    query, arguments = compose(
        load_queries("transactions")["list"],
        load_filters("transactions"),
        [Filter("external_id", "t5000")],
        ledgers=[7],
        order=LISTS["transactions"][0],
        after=None,
        limit=26,
    )
    conditions = [node["Index Cond"] for node in await plan_of(seeded, query, *arguments) if "Index Cond" in node]
    assert sum("external_id" in condition for condition in conditions) == 2
    assert len(await seeded.fetch(query, *arguments)) == 1


@pytest.mark.parametrize("module", LISTS)
async def test_every_page_of_a_list_is_found_by_an_index(seeded: asyncpg.Connection, module: str) -> None:
    at = await seeded.fetchval(f"select '{AT}'::timestamptz")
    fragments = load_filters(module)
    query = load_queries(module)["list"]
    slow = []
    for order in LISTS[module]:
        for after in (None, Place(at, 7, 5000 << order.key_shift if order.key_shift else 5000)):
            for ledgers in ([7], [7, 8]):
                for names in ([], *([name] for name in fragments)):
                    filters = [Filter(name, VALUES.get(name, at), "gte") for name in names]
                    page = compose(query, fragments, filters, ledgers=ledgers, order=order, after=after, limit=26)
                    if found := await faults(seeded, page[0], *page[1]):
                        slow.append((order.time, order.direction, bool(after), ledgers, names, found))
    assert not slow, "\n" + "\n".join(map(str, slow))

"""Every query on bulk requests and results goes by an index, and enters it by a condition."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
import pytest

from doppia.store.database.connections import load_queries, session_settings
from doppia.store.database.listing import Filter, Place
from doppia.store.platform.bulk import compose_page

pytestmark = pytest.mark.anyio

ORGANIZATION = UUID("00000000-0000-0000-0000-000000000001")
REQUEST = UUID("00000000-0000-7000-8000-000000320000")
AT = datetime(2026, 1, 1, tzinfo=UTC)
SEED = """
insert into organizations
select ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'organization', now() from generate_series(1, 2) n;
insert into api_keys
select id, id, 'key', 'write', id::text::bytea, now() from organizations;
insert into bulk_requests
select o.id, ('00000000-0000-7000-8000-0000' || lpad(to_hex(n), 4, '0') || '0000')::uuid, o.id, 'create',
       'ledger_account', case when n > 198 then 'processing' else 'completed' end::bulk_status, 100,
       case when n > 198 then 0 else 100 end, 0, jsonb_build_object('n', n::text), now(), now()
  from organizations o, generate_series(1, 200) n;
insert into bulk_results
select r.organization_id, r.request_id, n, array[n % 7], 'external ' || n,
       (case when r.status <> 'completed' then 'pending' when n % 10 = 0 then 'failed' else 'successful' end
        )::bulk_result_status,
       case when r.status = 'completed' and n % 10 = 0 then 'bulk_error' else 'ledger_account' end, '{}',
       case when r.status = 'completed' then gen_random_uuid() end, '{}', now(), now()
  from bulk_requests r, generate_series(1, 100) n;
"""


@pytest.fixture
async def seeded(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, server_settings=session_settings())
    await connection.execute(SEED)
    yield connection
    await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def most_read(connection: asyncpg.Connection, query: str, *arguments: Any) -> int:
    """Return how many rows the plan's busiest part looks at, kept or not; it is run and undone."""
    transaction = connection.transaction()
    await transaction.start()
    [[plan]] = await connection.fetch(f"explain (analyze, format json) {query}", *arguments)
    await transaction.rollback()
    found = [node for node in nodes(json.loads(plan)[0]["Plan"]) if "Relation Name" in node]
    assert all(node["Node Type"] != "Seq Scan" for node in found)
    return max(
        int(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))) for node in found
    )


Kind = Literal["requests", "results"]
PAGES: dict[str, tuple[Kind, list[Filter]]] = {
    "requests": ("requests", []),
    "requests by id": ("requests", [Filter("id", [REQUEST])]),
    "requests by action": ("requests", [Filter("action_type", "create")]),
    "requests by resource": ("requests", [Filter("resource_type", "ledger_account")]),
    "requests by metadata": ("requests", [Filter("metadata", '{"n": "50"}')]),
    "requests by time": ("requests", [Filter("created_at", AT, "gte")]),
    "results": ("results", []),
    "results by request": ("results", [Filter("request_id", REQUEST)]),
    "results by entity": ("results", [Filter("entity_id", REQUEST)]),
    "results by type": ("results", [Filter("entity_type", "ledger_account")]),
    "errors": ("results", [Filter("entity_type", "bulk_error")]),
    "pending results": ("results", [Filter("pending", value=True)]),
    "successful results": ("results", [Filter("successful", value=True)]),
    "failed results": ("results", [Filter("failed", value=True)]),
    "failed results of a request": ("results", [Filter("failed", value=True), Filter("request_id", REQUEST)]),
}


async def test_a_page_reads_little_more_than_it_shows(seeded: asyncpg.Connection) -> None:
    await seeded.execute("analyze")
    slow = []
    for name, (kind, filters) in PAGES.items():
        for after in (None, Place(AT, 0, 5)):
            query, arguments = compose_page(kind, ORGANIZATION, filters, after, 26)
            read = await most_read(seeded, query, *arguments)
            if read > 300:
                slow.append((name, after, read))
    assert not slow, "\n" + "\n".join(map(str, slow))


@pytest.mark.parametrize("analyzed", [True, False])
async def test_what_is_looked_up_or_told_is_found_by_its_key(seeded: asyncpg.Connection, analyzed: bool) -> None:
    if analyzed:
        await seeded.execute("analyze")
    known = load_queries("platform/bulk")
    unfinished = UUID("00000000-0000-7000-8000-000000c80000")

    async def reads(name: str, **values: Any) -> int:
        return await most_read(seeded, known[name].text, *known[name].arguments(values))

    assert await reads("get_request", organization=ORGANIZATION, request=REQUEST) == 1
    assert await reads("get_result", organization=ORGANIZATION, request=REQUEST, ordinal=7) == 1
    assert await reads("unfinished") == 4
    assert await reads("pending", organization=ORGANIZATION, request=unfinished, limit=64) <= 100
    told = {
        "ordinals": list(range(1, 65)),
        "ledgers": [None] * 64,
        "statuses": ["failed"] * 64,
        "entity_types": ["bulk_error"] * 64,
        "entity_ids": [unfinished] * 64,
        "entities": [b"{}"] * 64,
    }
    assert await reads("tell", organization=ORGANIZATION, request=unfinished, told_at=AT, **told) <= 100


@pytest.mark.parametrize("analyzed", [True, False])
async def test_a_purge_looks_at_what_it_forgets_and_at_what_is_still_to_be_done(
    seeded: asyncpg.Connection, analyzed: bool
) -> None:
    await seeded.execute("update bulk_results set ledger_ids = '{9}' where ordinal = 1 and request_id = $1", REQUEST)
    if analyzed:
        await seeded.execute("analyze")
    known = load_queries("ledger/ledgers")
    of_ledger = {"ledger": 9, "organization": ORGANIZATION}
    results, items = known["purge_bulk_results"], known["purge_bulk_items"]
    assert await most_read(seeded, results.text, *results.arguments(of_ledger)) <= 2
    assert await most_read(seeded, items.text, *items.arguments(of_ledger)) == 200

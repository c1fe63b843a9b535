"""What the schema refuses of bulk requests and results, whoever writes them."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

pytestmark = pytest.mark.anyio

ID = UUID(int=1)
SEED = f"""
insert into organizations values ('{ID}', 'first', now());
insert into api_keys values ('{ID}', '{ID}', 'key', 'write', '', now());
insert into bulk_requests
values ('{ID}', '{ID}', '{ID}', 'create', 'ledger_account', 'pending', 2, 0, 0, '{{}}', now(), now());
insert into bulk_results
select '{ID}', '{ID}', n, '{{1}}', 'x', 'pending', 'ledger_account', '{{}}', null, null, now(), now()
  from generate_series(1, 2) n;
"""


@pytest.fixture
async def seeded(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """One request of two items, none of them done."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "doppia"})
    await connection.execute(SEED)
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("update bulk_requests set status = 'completed'", "bulk_requests_counted"),
        ("update bulk_requests set succeeded = 2", "bulk_requests_counted"),
        ("update bulk_requests set status = 'completed', succeeded = 2, failed = 1", "bulk_requests_told_once"),
        ("update bulk_requests set failed = -1", "bulk_requests_failed_check"),
        ("update bulk_requests set resources = 0, status = 'completed'", "bulk_requests_resources_check"),
        ("update bulk_requests set key_id = gen_random_uuid()", "bulk_requests_key_id_fkey"),
        ("update bulk_results set status = 'successful'", "bulk_results_told"),
        ("update bulk_results set entity_id = gen_random_uuid()", "bulk_results_told"),
        ("update bulk_results set status = 'failed', entity_id = gen_random_uuid()", "bulk_results_errors"),
        ("update bulk_results set entity_type = 'bulk_error'", "bulk_results_errors"),
        ("update bulk_results set params = null, external_id = null", "bulk_results_forgotten"),
        ("update bulk_results set params = null, ledger_ids = '{}'", "bulk_results_forgotten"),
        ("update bulk_results set ordinal = 0 where ordinal = 1", "bulk_results_ordinal_check"),
        ("update bulk_results set ordinal = 10001 where ordinal = 1", "bulk_results_ordinal_check"),
        ("update bulk_results set ordinal = 2 where ordinal = 1", "bulk_results_pkey"),
        ("update bulk_results set request_id = gen_random_uuid()", "bulk_results_organization_id_request_id_fkey"),
    ],
)
async def test_what_can_not_be_is_refused(seeded: asyncpg.Connection, statement: str, constraint: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        await seeded.execute(statement)
    assert refusal.value.constraint_name == constraint


async def test_what_is_told_of_all_items_completes_the_request(seeded: asyncpg.Connection) -> None:
    await seeded.execute(
        "update bulk_results set status = 'successful', entity_id = gen_random_uuid() where ordinal = 1"
    )
    await seeded.execute("update bulk_requests set status = 'processing', succeeded = 1")
    await seeded.execute(
        "update bulk_results set status = 'failed', entity_type = 'bulk_error', entity_id = gen_random_uuid() "
        "where ordinal = 2"
    )
    await seeded.execute("update bulk_requests set status = 'completed', failed = 1")

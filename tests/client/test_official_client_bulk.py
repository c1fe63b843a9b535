"""The official client on bulk requests and their results."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest
from modern_treasury import AsyncModernTreasury
from treasury_books import legs, listed, open_books

from doppia.api.bulk_work import work_off
from doppia.api.request import Service

pytestmark = pytest.mark.anyio


class Served(Protocol):
    """What the fixture `served` lends."""

    @property
    def service(self) -> Service: ...


@pytest.fixture
async def lenient(treasury: AsyncModernTreasury) -> AsyncIterator[AsyncModernTreasury]:
    """The client as it comes. Its types say that all values of `request_params` are texts, and amounts and entries that
    were sent are none; the client as it comes does not mind.
    """
    async with AsyncModernTreasury(
        base_url=str(treasury.base_url), organization_id=treasury.organization_id, api_key=treasury.api_key
    ) as client:
        yield client


async def test_transactions_and_accounts_are_created_updated_and_deleted(
    treasury: AsyncModernTreasury, lenient: AsyncModernTreasury, served: Served
) -> None:
    books = await open_books(treasury)

    async def done(action: Any, resource: Any, resources: Any) -> list[Any]:
        request = await treasury.bulk_requests.create(
            action_type=action, resource_type=resource, resources=resources, metadata={"k": "v"}
        )
        assert (request.object, request.action_type, request.resource_type) == ("bulk_request", action, resource)
        assert (request.total_resource_count, request.metadata) == (len(resources), {"k": "v"})
        await work_off(served.service)
        finished = await treasury.bulk_requests.retrieve(request.id)
        assert (finished.status, finished.success_result_count) == ("completed", len(resources))
        return [result async for result in lenient.bulk_results.list(request_id=request.id)]

    made = await done("create", "ledger_transaction", [{"ledger_entries": legs(books, n)} for n in (1, 2)])
    assert sorted(result.entity.ledger_entries[0].amount for result in made) == [1, 2]
    ids = [result.entity_id for result in made]
    updated = await done("update", "ledger_transaction", [{"id": id_, "status": "posted"} for id_ in ids])
    assert {result.entity.status for result in updated} == {"posted"}
    fields = {"name": "new", "ledger_id": books.ledger.id, "currency": "PHP", "normal_balance": "debit"}
    (opened,) = await done("create", "ledger_account", [fields])
    (renamed,) = await done("update", "ledger_account", [{"id": opened.entity_id, "name": "renamed"}])
    assert renamed.entity.name == "renamed"
    (closed,) = await done("delete", "ledger_account", [{"id": opened.entity_id}])
    assert closed.entity.discarded_at is not None


async def test_what_fails_says_why_and_the_rest_is_done(
    treasury: AsyncModernTreasury, lenient: AsyncModernTreasury, served: Served
) -> None:
    books = await open_books(treasury)
    uneven: Any = [{**legs(books)[0], "amount": 99}, legs(books)[1]]
    request = await treasury.bulk_requests.create(
        action_type="create",
        resource_type="ledger_transaction",
        resources=[{"ledger_entries": legs(books)}, {"ledger_entries": uneven}],
    )
    await work_off(served.service)
    failed, done = [result async for result in lenient.bulk_results.list(request_id=request.id)]
    assert (failed.status, failed.entity_type, done.status) == ("failed", "bulk_error", "successful")
    entity: Any = failed.entity
    assert entity.request_errors[0].message.startswith("Debits and credits must be equal in each currency")
    finished = await treasury.bulk_requests.retrieve(request.id)
    assert (finished.success_result_count, finished.failed_result_count) == (1, 1)


@pytest.mark.parametrize("per_page", [1, 100])
async def test_requests_and_results_are_paged_through_and_filtered(
    treasury: AsyncModernTreasury, served: Served, per_page: int
) -> None:
    books = await open_books(treasury)
    accounts = [
        await treasury.ledger_accounts.create(
            name="a", ledger_id=books.ledger.id, currency="PHP", normal_balance="debit"
        )
        for _ in range(3)
    ]
    ids: list[Any] = [{"id": each.id} for each in accounts]
    nobody: Any = {"id": "00000000-0000-0000-0000-000000000000"}
    gone = await treasury.bulk_requests.create(
        action_type="delete",
        resource_type="ledger_account",
        resources=[*ids, nobody],
    )
    await work_off(served.service)
    held = await treasury.bulk_requests.create(
        action_type="update", resource_type="ledger_transaction", resources=[nobody], metadata={"k": "v w"}
    )
    filters: dict[str, Any]
    for filters, expected in (
        ({}, [held, gone]),
        ({"action_type": "delete"}, [gone]),
        ({"resource_type": "ledger_account"}, [gone]),
        ({"status": "completed"}, [gone]),
        ({"status": "pending"}, [held]),
        ({"metadata": {"k": "v w"}}, [held]),
    ):
        found = await listed(treasury.bulk_requests.list(**filters, per_page=per_page))
        assert found == [each.id for each in expected], filters
    # These are of the client's types to the last field.
    results = [result async for result in treasury.bulk_results.list(request_id=gone.id, per_page=per_page)]
    failed = [result.id for result in results if result.status == "failed"]
    assert [result.entity_id for result in results[:0:-1]] == [each.id for each in accounts]
    assert [result.request_params for result in results[::-1]] == [*ids, nobody]
    assert await treasury.bulk_results.retrieve(results[0].id) == results[0]
    everything = [result.id for result in results]
    list_results: Any = treasury.bulk_results.list
    for filters, chosen in (
        ({"request_type": "bulk_request"}, everything),
        ({"status": "failed"}, failed),
        ({"status": "successful"}, everything[1:]),
        ({"entity_type": "bulk_error"}, failed),
        ({"entity_type": "ledger_account"}, everything[1:]),
        ({"entity_id": accounts[1].id}, [everything[2]]),
    ):
        found = await listed(list_results(request_id=gone.id, **filters, per_page=per_page))
        assert found == chosen, filters

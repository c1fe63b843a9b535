"""The official client sends bulk requests, and reads what became of them."""

from typing import Any

import pytest
from modern_treasury import AsyncModernTreasury

from tests.api.platform.bulk_books import work_off
from tests.client.treasury_books import legs, listed, open_books, transfer

pytestmark = pytest.mark.anyio


async def test_the_client_opens_accounts_in_bulk_and_reads_the_results(
    treasury: AsyncModernTreasury, served: Any
) -> None:
    books = await open_books(treasury)
    account: Any = {"name": "n", "ledger_id": books.ledger.id, "currency": "PHP", "normal_balance": "credit"}
    misspelt: Any = {**account, "currency": "php"}
    sent = await treasury.bulk_requests.create(
        action_type="create",
        resource_type="ledger_account",
        resources=[account, misspelt, account],
        metadata={"import": "7"},
    )
    assert (sent.status, sent.total_resource_count, sent.metadata) == ("pending", 3, {"import": "7"})

    await work_off(served.service)

    told = await treasury.bulk_requests.retrieve(sent.id)
    assert (told.status, told.success_result_count, told.failed_result_count) == ("completed", 2, 1)
    results = [result async for result in treasury.bulk_results.list(request_id=sent.id, per_page=1)]
    assert [result.status for result in results] == ["successful", "failed", "successful"]
    assert results[0].entity == await treasury.ledger_accounts.retrieve(results[0].entity_id)
    assert results[0].request_params == account
    (error,) = results[1].entity.request_errors  # type: ignore[union-attr]
    assert error.message is not None
    assert (error.code, error.parameter, "PHP" in error.message) == ("parameter_invalid", "currency", True)
    assert await treasury.bulk_results.retrieve(results[1].id) == results[1]


async def test_the_client_lists_bulk_requests_and_results_by_every_filter(
    treasury: AsyncModernTreasury, served: Any
) -> None:
    books = await open_books(treasury)
    nameless: Any = [{"name": "n"}]
    names: Any = [{"id": books.cash.id, "name": "till"}, {"id": books.wallet.id, "name": "x"}]
    opened = await treasury.bulk_requests.create(
        action_type="create",
        resource_type="ledger_account",
        resources=nameless,
        metadata={"k": "v"},
    )
    renamed = await treasury.bulk_requests.create(
        action_type="update",
        resource_type="ledger_account",
        resources=names,
    )
    await work_off(served.service)
    waiting = await treasury.bulk_requests.create(
        action_type="delete", resource_type="ledger_transaction", resources=[{"id": books.cash.id}]
    )

    requests = treasury.bulk_requests.list
    assert await listed(requests(per_page=2)) == [waiting.id, renamed.id, opened.id]
    assert await listed(requests(action_type="update")) == [renamed.id]
    assert await listed(requests(resource_type="ledger_account")) == [renamed.id, opened.id]
    assert await listed(requests(status="pending")) == [waiting.id]
    assert await listed(requests(metadata={"k": "v"})) == [opened.id]
    results = treasury.bulk_results.list
    ours = await listed(results(request_id=renamed.id))
    assert len(ours) == 2
    assert await listed(results(status="successful", request_type="bulk_request")) == ours
    assert await listed(results(entity_type="ledger_account")) == ours
    assert await listed(results(entity_id=books.wallet.id)) == ours[:1]
    (failed,) = await listed(results(entity_type="bulk_error"))
    assert await listed(results(status="failed")) == [failed]


async def test_the_client_creates_and_archives_transactions_in_bulk(treasury: AsyncModernTreasury, served: Any) -> None:
    books = await open_books(treasury)
    held = await transfer(treasury, books, status="pending")
    # It declares every parameter of an item as a text, so it takes results of transactions only where it isn't strict.
    lenient = treasury.copy(_extra_kwargs={"_strict_response_validation": False})
    guarded = [{**leg, "posted_balance_amount": {"lte": 150}} for leg in legs(books)]
    item: Any = {"status": "posted", "ledger_entries": guarded}

    created = await lenient.bulk_requests.create(
        action_type="create", resource_type="ledger_transaction", resources=[item, item]
    )
    archived = await lenient.bulk_requests.create(
        action_type="delete", resource_type="ledger_transaction", resources=[{"id": held.id}]
    )
    await work_off(served.service)

    second, first = [result async for result in lenient.bulk_results.list(request_id=created.id)]
    assert (first.status, second.status) == ("successful", "failed")
    assert await treasury.ledger_transactions.retrieve(first.entity_id) == first.entity
    assert (await treasury.ledger_transactions.retrieve(held.id)).status == "archived"
    assert (await treasury.bulk_requests.retrieve(archived.id)).success_result_count == 1

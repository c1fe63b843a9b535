"""Bulk requests that are cut off, claimed twice or held up: whatever happens, each item is done once."""

import asyncio

import pytest

from doppia.accounting.errors import TryAgain
from doppia.api.http.auth import Authenticator
from doppia.api.http.request import Service
from doppia.api.platform import bulk_items
from doppia.engine.performing import Engine
from doppia.engine.platform import bulk_work
from doppia.engine.platform.bulk_work import AT_ONCE
from doppia.store.platform import bulk as store
from tests.api.over_http import Books, entry
from tests.api.platform.bulk_books import codes, count_transactions, results, send, transfer, work_off
from tests.servers import CHECKPOINT_KEYS

pytestmark = pytest.mark.anyio


async def test_what_was_done_but_not_told_is_not_done_again(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    held = await books.transfer(cash, wallet, status="pending")
    account = {"name": "n", "ledger_id": cash["ledger_id"], "currency": "PHP", "normal_balance": "credit"}
    spare = await books.account({"id": cash["ledger_id"]})
    shows = [entry(cash, "debit", 9, show_resulting_ledger_account_balances=True), entry(wallet, "credit", 9)]
    accepted = [
        await send(books, "create", "ledger_transaction", [transfer(cash, wallet), {"ledger_entries": shows}, {}]),
        await send(books, "create", "ledger_account", [account]),
        await send(books, "update", "ledger_transaction", [{"id": held["id"], "status": "posted"}]),
        await send(books, "update", "ledger_account", [{"id": wallet["id"], "name": "other"}]),
        await send(books, "delete", "ledger_account", [{"id": spare["id"]}]),
    ]
    await work_off(books.service)
    first = [(await results(books, request)) for request in accepted]
    records = (await books.state())["log"]
    # As a crash leaves it that comes after the items were done, and before that was put on record.
    async with books.service.engine.database.tx() as connection:
        await connection.execute(
            "update bulk_requests set status = 'processing', succeeded = 0, failed = 0 where organization_id = $1",
            books.organization_id,
        )
        await connection.execute(
            "update bulk_results t set status = 'pending', entity_type = r.resource_type, entity_id = null, "
            "entity = null from bulk_requests r where t.organization_id = $1 and r.request_id = t.request_id",
            books.organization_id,
        )

    await work_off(books.service)

    for request, were in zip(accepted, first, strict=True):
        for result, was in zip(await results(books, request), were, strict=True):
            assert result["status"] == was["status"]
            if was["status"] == "successful":
                assert result["entity"] == was["entity"]
    assert (await books.state())["log"] == records
    assert {request["status"] for request in await books.read("/bulk_requests")} == {"completed"}


async def test_work_that_is_cut_off_goes_on_where_it_was(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    count = 4 * AT_ONCE
    items = [transfer(cash, wallet, 1, external_id=str(number)) for number in range(count)]
    accepted = await send(books, "create", "ledger_transaction", items)

    cut = 0
    while (told := await books.read(f"/bulk_requests/{accepted['id']}"))["status"] != "completed":
        working = asyncio.create_task(work_off(books.service))
        seen = told["success_result_count"]
        while not working.done() and seen == told["success_result_count"]:
            await asyncio.sleep(0)
            seen = (await books.read(f"/bulk_requests/{accepted['id']}"))["success_result_count"]
        cut += working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    assert cut >= 2
    assert (told["success_result_count"], told["failed_result_count"]) == (count, 0)
    assert await count_transactions(books, cash) == count
    assert codes(await results(books, accepted)) == ["posted"] * count


async def test_several_who_work_at_once_do_nothing_twice(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    accepted = await send(books, "create", "ledger_transaction", [transfer(cash, wallet, 1)] * 100)

    await asyncio.gather(*(work_off(books.service) for _ in range(5)))

    assert codes(await results(books, accepted)) == ["posted"] * 100
    assert await count_transactions(books, cash) == 100


async def test_one_process_at_a_time_does_the_work(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    accepted = await send(books, "create", "ledger_transaction", [transfer(cash, wallet)])

    async with books.service.engine.database.connection() as connection:
        assert await store.claim(connection)
        await work_off(books.service)
        assert (await books.read(f"/bulk_requests/{accepted['id']}"))["status"] == "pending"
        await store.release(connection)
    await work_off(books.service)

    assert codes(await results(books, accepted)) == ["posted"]


async def test_who_lost_his_claim_without_knowing_does_nothing_twice(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    accepted = await send(books, "create", "ledger_transaction", [transfer(cash, wallet, 1), {}] * 100)

    await asyncio.gather(
        *(bulk_work._take_turns(books.service.engine, bulk_items.reader(books.service)) for _ in range(3))
    )
    await work_off(books.service)

    told = await books.read(f"/bulk_requests/{accepted['id']}")
    assert (told["success_result_count"], told["failed_result_count"], told["status"]) == (100, 100, "completed")
    assert await count_transactions(books, cash) == 100


async def test_a_service_that_can_not_answer_leaves_items_for_later(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    accepted = await send(books, "create", "ledger_transaction", [transfer(cash, wallet), {}])
    database = books.service.engine.database
    closed = Engine(database, books.service.engine.clock)
    await closed.close()

    with pytest.raises(TryAgain):
        await work_off(Service(closed, Authenticator(database), CHECKPOINT_KEYS))

    told = await books.read(f"/bulk_requests/{accepted['id']}")
    assert (told["status"], told["success_result_count"], told["failed_result_count"]) == ("processing", 0, 1)
    assert [result["status"] for result in await results(books, accepted)] == ["pending", "failed"]
    await work_off(books.service)
    assert codes(await results(books, accepted)) == ["posted", "parameter_missing"]

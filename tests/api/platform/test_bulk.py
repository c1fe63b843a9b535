"""Bulk requests: many writes sent at once, each done by itself, with a result for each."""

import asyncio
from datetime import datetime
from uuid import UUID

import asyncpg
import pytest

from doppia.engine.platform import keys
from doppia.engine.platform.bulk_work import AT_ONCE
from tests.api.over_http import Books, Refusal, entry, pair, refusal
from tests.api.platform.bulk_books import codes, count_transactions, done, results, send, transfer, work_off

pytestmark = pytest.mark.anyio


async def test_a_request_is_kept_with_all_its_items_before_any_is_done(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    items = [transfer(cash, wallet, external_id="a"), {"nonsense": 1}]

    accepted = await send(books, "create", "ledger_transaction", items, metadata={"import": "7", "empty": ""})

    assert UUID(accepted["id"]).version == 7
    assert datetime.fromisoformat(accepted["created_at"]) == datetime.fromisoformat(accepted["updated_at"])
    assert {name: value for name, value in accepted.items() if name not in {"id", "created_at", "updated_at"}} == {
        "object": "bulk_request", "live_mode": True, "action_type": "create", "resource_type": "ledger_transaction",
        "status": "pending", "total_resource_count": 2, "success_result_count": 0, "failed_result_count": 0,
        "metadata": {"import": "7"},
    }  # fmt: skip
    assert await books.read(f"/bulk_requests/{accepted['id']}") == accepted
    for item, result in zip(items, await results(books, accepted), strict=True):
        assert result["request_params"] == item
        assert (result["object"], result["status"], result["request_type"]) == (
            "bulk_result",
            "pending",
            "bulk_request",
        )
        assert (result["entity_type"], result["entity_id"], result["entity"]) == ("ledger_transaction", None, None)
        assert result["request_id"] == accepted["id"]
        assert await books.read(f"/bulk_results/{result['id']}") == result
    assert await count_transactions(books, cash) == 0


async def test_a_bad_item_fails_alone_and_says_why(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    items = [
        transfer(cash, wallet, 1),
        {"ledger_entries": [entry(cash, "debit", 2), entry(wallet, "credit", 3)]},
        transfer(cash, wallet, 4),
    ]

    accepted = await send(books, "create", "ledger_transaction", items)
    await work_off(books.service)

    first, second, third = await results(books, accepted)
    assert [first["status"], second["status"], third["status"]] == ["successful", "failed", "successful"]
    for result in (first, third):
        assert result["entity"] == await books.read(f"/ledger_transactions/{result['entity_id']}")
        assert (result["entity_type"], result["entity"]["status"]) == ("ledger_transaction", "posted")
    single = await books.post("/ledger_transactions", items[1])
    assert second["entity"] == {
        "object": "bulk_error", "id": second["entity_id"], "live_mode": True,
        "created_at": second["entity"]["created_at"], "updated_at": second["entity"]["created_at"],
        "request_errors": [single.json()["errors"]],
    }  # fmt: skip
    assert (second["entity_type"], codes([second])) == ("bulk_error", ["unbalanced"])
    told = await books.read(f"/bulk_requests/{accepted['id']}")
    assert (told["status"], told["success_result_count"], told["failed_result_count"]) == ("completed", 2, 1)
    assert told["updated_at"] > accepted["updated_at"]
    assert (await books.balances(wallet))["posted"] == (5, 0, 5)
    assert second["id"] != second["entity_id"] != accepted["id"]


async def test_transactions_are_updated_and_pending_ones_deleted(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    held, kept, posted = [
        await books.transfer(cash, wallet, status=status) for status in ("pending", "pending", "posted")
    ]

    changes = [
        {"id": held["id"], "status": "posted", "metadata": {"a": "b"}},
        {"id": posted["id"], "status": "archived"},
        {"status": "posted"},
        {"id": kept["id"], "ledger_entries": pair(cash, wallet, 7)},
    ]
    updated = await done(books, "update", "ledger_transaction", changes)
    assert codes(updated) == ["posted", "transaction_final", "parameter_missing", "pending"]
    assert updated[0]["entity"]["metadata"] == {"a": "b"}
    assert [leg["amount"] for leg in updated[3]["entity"]["ledger_entries"]] == [7, 7]

    archived = await done(
        books, "delete", "ledger_transaction",
        [{"id": kept["id"]}, {"id": posted["id"]}, {"id": held["id"], "status": "archived"}, {}],
    )  # fmt: skip
    assert codes(archived) == ["archived", "transaction_final", "parameter_unknown", "parameter_missing"]
    assert (await books.read(f"/ledger_transactions/{kept['id']}"))["status"] == "archived"


async def test_accounts_are_created_updated_and_deleted(books: Books) -> None:
    ledger = await books.ledger()
    body = {"name": "n", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit"}

    opened = await done(
        books, "create", "ledger_account",
        [{**body, "external_id": str(number % 3)} for number in range(4)] + [{**body, "currency": "php"}],
    )  # fmt: skip
    assert codes(opened) == ["done", "done", "done", "external_id_taken", "invalid_currency"]
    first, second, third = [result["entity"] for result in opened[:3]]
    assert first == await books.read(f"/ledger_accounts/{first['id']}")
    assert [result["entity_type"] for result in opened] == ["ledger_account"] * 3 + ["bulk_error"] * 2

    renamed = await done(
        books, "update", "ledger_account",
        [{"id": first["id"], "name": "x", "external_id": None}, {"id": second["id"], "currency": "EUR"}, {"id": 5}],
    )  # fmt: skip
    assert codes(renamed) == ["done", "parameter_unknown", "parameter_invalid"]
    assert (renamed[0]["entity"]["name"], renamed[0]["entity"]["external_id"]) == ("x", None)

    await books.transfer(await books.account(ledger), second)
    discarded = await done(books, "delete", "ledger_account", [{"id": first["id"]}, {"id": second["id"]}])
    assert codes(discarded) == ["done", "account_not_empty"]
    assert (await books.read(f"/ledger_accounts/{first['id']}"))["discarded_at"] is not None
    assert (await books.read(f"/ledger_accounts/{third['id']}"))["discarded_at"] is None


async def test_locks_hold_in_bulk_as_they_do_alone(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 300)
    guarded = [entry(wallet, "debit", 100, available_balance_amount={"gte": 0}), entry(cash, "credit", 100)]

    found = await done(books, "create", "ledger_transaction", [{"status": "posted", "ledger_entries": guarded}] * 10)

    assert sorted(codes(found)) == ["balance_lock_failed"] * 7 + ["posted"] * 3
    assert (await books.balances(wallet))["posted"] == (300, 300, 0)
    stale = [entry(wallet, "credit", 1, lock_version=1), entry(cash, "debit", 1)]
    archived = {"ledger_entries": guarded, "archive_on_balance_lock_failure": True}
    assert codes(await done(books, "create", "ledger_transaction", [{"ledger_entries": stale}, archived])) == [
        "lock_version_mismatch",
        "archived",
    ]


async def test_balances_are_shown_where_an_item_asks_for_them(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [entry(cash, "debit", 9, show_resulting_ledger_account_balances=True), entry(wallet, "credit", 9)]

    (found,) = await done(books, "create", "ledger_transaction", [{"ledger_entries": legs}])

    shown = [leg["resulting_ledger_account_balances"] for leg in found["entity"]["ledger_entries"]]
    assert shown[0]["pending_balance"]["amount"] == 9
    assert shown[1] is None


async def test_the_largest_amount_goes_in_and_out_exactly(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    items = [
        transfer(cash, wallet, 10**36),
        {"ledger_entries": [
            {"ledger_account_id": cash["id"], "direction": "debit", "amount_string": str(10**36)},
            {"ledger_account_id": wallet["id"], "direction": "credit", "amount": 10**36},
        ]},
        transfer(cash, wallet, 10**36 + 1),
    ]  # fmt: skip

    accepted = await send(books, "create", "ledger_transaction", items)
    await work_off(books.service)

    shown = await books.get(f"/bulk_results?request_id={accepted['id']}")
    assert codes(shown.json()) == ["amount_out_of_range", "pending", "posted"]
    assert [result["request_params"] for result in shown.json()] == items[::-1]
    assert shown.text.count(f'"amount":{10**36},"amount_string":"{10**36}"') == 4
    assert "e+" not in shown.text.lower()
    assert (await books.balances(wallet))["pending"] == (2 * 10**36, 0, 2 * 10**36)


async def test_items_may_be_of_several_ledgers(books: Books) -> None:
    first, second = [await books.cash_and_wallet() for _ in range(2)]

    found = await done(books, "create", "ledger_transaction", [transfer(*first), transfer(*second), transfer(*first)])

    ledgers = [result["entity"]["ledger_id"] for result in found]
    assert ledgers == [first[0]["ledger_id"], second[0]["ledger_id"], first[0]["ledger_id"]]


async def test_more_items_than_are_under_way_at_once_are_all_done(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    count = 2 * AT_ONCE + 3

    found = await done(books, "create", "ledger_transaction", [transfer(cash, wallet, 1)] * count)

    assert codes(found) == ["posted"] * count
    assert len({result["entity_id"] for result in found}) == await count_transactions(books, cash) == count


async def test_a_key_that_is_sent_again_has_one_effect_and_one_answer(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    body = {"action_type": "create", "resource_type": "ledger_transaction", "resources": [transfer(cash, wallet)]}

    answers = await asyncio.gather(*(books.post("/bulk_requests", body, key="import-1") for _ in range(10)))
    await work_off(books.service)
    answers.append(await books.post("/bulk_requests", body, key="import-1"))
    await work_off(books.service)

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len(await books.read("/bulk_requests")) == 1
    assert await count_transactions(books, cash) == 1
    other = {**body, "resources": [transfer(cash, wallet, 5)]}
    before = await books.state()
    assert refusal(await books.post("/bulk_requests", other, key="import-1")) == Refusal(
        422, "idempotency_key_reused", None
    )
    assert await books.state() == before


async def test_a_key_of_a_caller_is_never_that_of_an_item(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    accepted = await send(books, "create", "ledger_transaction", [transfer(cash, wallet)])

    answer = await books.post("/ledger_transactions", transfer(cash, wallet), key=f"{accepted['id']} 1")
    assert answer.status_code == 201
    await work_off(books.service)

    assert codes(await results(books, accepted)) == ["posted"]
    assert await count_transactions(books, cash) == 2


async def test_what_is_left_of_a_request_is_not_done_once_its_key_is_revoked(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    fields, api_key = await keys.create(
        books.service.engine.database, books.service.engine.clock, books.organization_id, name="import", role="write"
    )
    books.client.auth = (str(books.organization_id), api_key)
    accepted = await send(books, "create", "ledger_transaction", [transfer(cash, wallet)] * 3)
    books.client.auth = (str(books.organization_id), books.api_key)
    assert await keys.revoke(
        books.service.engine.database, books.service.engine.clock, books.organization_id, fields.id
    )

    await work_off(books.service)

    assert codes(await results(books, accepted)) == ["key_invalid"] * 3
    assert await count_transactions(books, cash) == 0


async def test_items_are_done_in_the_name_of_the_key_that_sent_them(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    fields, api_key = await keys.create(
        books.service.engine.database, books.service.engine.clock, books.organization_id, name="import", role="write"
    )
    books.client.auth = (str(books.organization_id), api_key)
    found = await done(books, "create", "ledger_transaction", [transfer(cash, wallet)])
    books.client.auth = (str(books.organization_id), books.api_key)

    assert codes(found) == ["posted"]
    async with books.service.engine.database.connection() as connection:
        payload = await connection.fetchval("select payload from log order by recorded_at desc, sequence desc limit 1")
    assert fields.id.bytes in payload


async def test_a_fault_of_the_service_gives_its_item_a_result(
    books: Books, superuser: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    cash, wallet = await books.cash_and_wallet()
    held = await books.transfer(cash, wallet, status="pending")
    accepted = await send(books, "delete", "ledger_transaction", [{"id": held["id"]}])
    await superuser.execute("update bulk_requests set action_type = 'nonsense' where request_id = $1", accepted["id"])

    await work_off(books.service)

    (found,) = await books.read(f"/bulk_results?request_id={accepted['id']}")
    assert codes([found]) == ["internal_error"]
    assert "an item of a bulk request failed" in capsys.readouterr().out


async def test_organizations_take_turns(books: Books, others: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    their_cash, their_wallet = await others.cash_and_wallet()
    long = await send(books, "create", "ledger_transaction", [transfer(cash, wallet, 1)] * (3 * AT_ONCE))
    short = await send(others, "create", "ledger_transaction", [transfer(their_cash, their_wallet, 1)])

    await work_off(books.service)

    long = await books.read(f"/bulk_requests/{long['id']}")
    short = await others.read(f"/bulk_requests/{short['id']}")
    assert (long["status"], short["status"]) == ("completed", "completed")
    assert short["updated_at"] < long["updated_at"]


async def test_a_purge_takes_what_results_hold_of_the_ledger(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    other_cash, other_wallet = await books.cash_and_wallet()
    items = [transfer(cash, wallet, metadata={"name": "Ana"}), transfer(other_cash, other_wallet)]
    told = await send(books, "create", "ledger_transaction", items)
    await work_off(books.service)
    waiting = await send(books, "create", "ledger_transaction", items)
    ledger = cash["ledger_id"]

    assert (await books.delete(f"/ledgers/{ledger}?purge=true&confirm={ledger}")).status_code == 200
    await work_off(books.service)

    gone, kept = await results(books, told)
    assert (gone["status"], gone["request_params"], gone["entity"]) == ("successful", None, None)
    assert (kept["request_params"], kept["entity"]["status"]) == (items[1], "posted")
    gone, kept = await results(books, waiting)
    assert (gone["status"], gone["request_params"], gone["entity"]) == ("failed", None, None)
    assert kept["entity"]["status"] == "posted"
    async with books.service.engine.database.connection() as connection:
        assert not await connection.fetchval("select count(*) from bulk_results where params like '%Ana%'::bytea")


async def test_a_purge_takes_what_failed_items_hold_however_they_name_the_ledger(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    other_cash, other_wallet = await books.cash_and_wallet()
    ledger, other = cash["ledger_id"], other_cash["ledger_id"]
    await books.transfer(cash, wallet, external_id="rent")
    await books.transfer(other_cash, other_wallet, external_id="other rent")
    ana = {"description": "Ana"}
    creations = [
        {**transfer(cash, wallet), "description": 7, "metadata": {"name": "Ana"}},
        {**ana, "ledger_entries": [entry(other_cash, "debit"), entry(wallet, "credit")]},
        {**ana, "ledger_entries": [{"ledger_account_id": 5}, {"ledger_account_id": wallet["id"].upper()}]},
        {**ana, **transfer(other_cash, other_wallet), "ledger_account_category_balance_locks":
            [{"ledger_account_category_id": wallet["id"], "posted_balance_amount": {"gte": 0}}]},
        {**transfer(other_cash, other_wallet, 5), "status": "odd"},
    ]  # fmt: skip
    changes = [
        {"id": "rent", **ana},
        {"id": "other rent", **ana},
        {"id": wallet["id"], **ana},
        {"id": "nothing", **ana},
    ]
    accounts = [{"name": "Ana", "ledger_id": other, "currency": "X-Y", "normal_balance": "credit",
                 "ledger_account_category_ids": [wallet["id"]]}]  # fmt: skip
    told = [
        await done(books, "create", "ledger_transaction", creations),
        await done(books, "update", "ledger_transaction", changes),
        await done(books, "create", "ledger_account", accounts),
    ]
    assert {result["status"] for results_ in told for result in results_} == {"failed"}
    waiting = await send(books, "update", "ledger_transaction", changes)

    assert (await books.delete(f"/ledgers/{ledger}?purge=true&confirm={ledger}")).status_code == 200
    await work_off(books.service)

    requests = [await books.read(f"/bulk_requests/{before[0]['request_id']}") for before in told]
    kept = [
        [result["index"] for result in await results(books, request) if result["request_params"] is not None]
        for request in requests
    ]
    assert kept == [[4], [1, 3], []]
    left = await results(books, waiting)
    assert [result["request_params"] is None for result in left] == [True, False, True, False]
    assert all((result["entity"] is None) == (result["request_params"] is None) for result in left)
    async with books.service.engine.database.connection() as connection:
        found = await connection.fetch("select params, entity from bulk_results where params is not null")
    assert not any(text in row[0] + row[1] for row in found for text in (wallet["id"].encode(), b'"rent"'))

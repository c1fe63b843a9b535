"""The chart of accounts over HTTP: categories, who is in them, what they sum to, and what is refused."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.api.ledger.chart_books import CATEGORIES, add, member_path, put, records, remove, sums
from tests.api.over_http import Books, Json, Refusal, ids, pair, refusal

pytestmark = pytest.mark.anyio


async def test_a_category_is_answered_as_it_was_asked_for(books: Books) -> None:
    ledger = await books.ledger()
    made = await books.category(
        ledger, name="Wallets", description="owed", external_id="2100", currency="PTS", currency_exponent=3,
        metadata={"b": "1", "a": "2", "none": None},
    )  # fmt: skip
    nothing = {
        "credits": 0, "debits": 0, "amount": 0, "credits_string": "0", "debits_string": "0", "amount_string": "0",
        "currency": "PTS", "currency_exponent": 3,
    }  # fmt: skip
    assert made == {
        "id": made["id"], "object": "ledger_account_category", "live_mode": True, "ledger_id": ledger["id"],
        "name": "Wallets", "description": "owed", "external_id": "2100", "normal_balance": "credit",
        "metadata": {"a": "2", "b": "1"}, "discarded_at": None,
        "created_at": made["created_at"], "updated_at": made["created_at"],
        "balances": {
            "pending_balance": nothing, "posted_balance": nothing, "available_balance": nothing,
            "effective_at_lower_bound": None, "effective_at_upper_bound": None,
        },
    }  # fmt: skip
    assert await books.read(f"{CATEGORIES}/{made['id']}") == made
    assert await books.read(CATEGORIES) == [made]


async def test_a_category_sums_its_accounts_on_its_own_normal_side(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    owed, owned = await books.category(ledger), await books.category(ledger, normal_balance="debit")
    other = await books.account(ledger, "credit")
    await books.transfer(cash, wallet, 100)
    for category in (owed, owned):
        await add(books, category, wallet, cash)
    await books.transfer(other, wallet, 30)
    await books.transfer(wallet, cash, 20, "pending")

    for category, sign in ((owed, 1), (owned, -1)):
        balances = (await books.read(f"{CATEGORIES}/{category['id']}"))["balances"]
        found = [balances[f"{name}_balance"] for name in ("posted", "pending", "available")]
        # Posted: 130 credited, 100 debited. Pending adds 20 on each side. Available counts what is on its way out.
        available = (130, 120) if sign == 1 else (150, 100)
        sides = [(130, 100), (150, 120), available]
        assert [(each["credits"], each["debits"]) for each in found] == sides
        assert [each["amount"] for each in found] == [(credits_ - debits) * sign for credits_, debits in sides]
        assert {each["currency"] for each in found} == {"PHP"}


async def test_an_account_counts_once_whatever_paths_lead_to_it(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    top = await books.category(ledger)
    left, right = await books.category(ledger, top), await books.category(ledger, top)
    bottom = await books.category(ledger, left, right, top)
    await add(books, bottom, wallet)
    await add(books, left, wallet)
    await add(books, top, wallet)
    await books.transfer(cash, wallet, 100)
    for category in (top, left, right, bottom):
        assert await sums(books, category) == (100, 0, 100, 0)
    await remove(books, bottom, wallet)
    assert [await sums(books, each) for each in (top, left, right, bottom)] == [
        (100, 0, 100, 0), (100, 0, 100, 0), (0, 0, 0, 0), (0, 0, 0, 0)
    ]  # fmt: skip
    await remove(books, top, left, right, bottom)
    assert await sums(books, top) == (100, 0, 100, 0)
    await remove(books, top, wallet)
    assert await sums(books, top) == (0, 0, 0, 0)


async def test_what_comes_or_goes_brings_or_takes_its_balances_and_what_is_so_already_changes_nothing(
    books: Books,
) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    top, low = await books.category(ledger), await books.category(ledger)
    await books.transfer(cash, wallet, 100)
    for member, holder, found in ((wallet, low, low), (low, top, top)):
        for change, expected in ((add, (100, 0, 100, 0)), (remove, (0, 0, 0, 0)), (add, (100, 0, 100, 0))):
            before = await records(books)
            await change(books, holder, member)
            assert await records(books) == before + 1
            assert await sums(books, found) == expected
            state = await books.state()
            await change(books, holder, member)
            assert await books.state() == state
    await books.transfer(cash, wallet, 5, "pending")
    assert await sums(books, top) == (100, 0, 105, 0)
    answer = await put(books, top, low)
    assert (answer.content, answer.headers["content-length"], "content-type" in answer.headers) == (b"", "0", False)


async def test_an_account_is_opened_in_its_categories_or_not_at_all(books: Books) -> None:
    ledger, far = await books.ledger(), await books.ledger()
    top, bottom = await books.category(ledger), await books.category(ledger)
    away, gone = await books.category(far), await books.category(ledger)
    dollars = await books.category(ledger, currency="USD")
    await books.delete(f"{CATEGORIES}/{gone['id']}")
    account = await books.account(
        ledger, "credit", ledger_account_category_ids=[bottom["id"], top["id"], bottom["id"].upper()]
    )
    cash = await books.account(ledger, ledger_account_category_ids=[])
    await books.transfer(cash, account, 7)
    assert await sums(books, top) == await sums(books, bottom) == (7, 0, 7, 0)
    before = await books.state()
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit"}
    for wrong, code in (
        (away, "object_not_found"), (gone, "object_discarded"), (dollars, "currency_mismatch"),
        (account, "object_not_found"), ({"id": "nonsense"}, "object_not_found"),
        ({"id": top["id"][:-12] + "0000001e8400"}, "object_not_found"),
    ):  # fmt: skip
        for path in ("/ledger_accounts", CATEGORIES):
            answer = await books.post(path, {**body, "ledger_account_category_ids": [top["id"], wrong["id"]]})
            found = refusal(answer)
            assert (found.code, found.parameter) == (code, "ledger_account_category_ids[1]"), path
    assert await books.state() == before


async def test_categories_stand_at_most_five_deep(books: Books) -> None:
    ledger = await books.ledger()
    path = [await books.category(ledger)]
    for _ in range(4):
        path.append(await books.category(ledger, path[-1]))
    before = await books.state()
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit"}
    answer = await books.post(CATEGORIES, {**body, "ledger_account_category_ids": [path[-1]["id"]]})
    assert refusal(answer) == Refusal(422, "category_too_deep", None)
    assert answer.json()["errors"]["refusal"]["levels"] == 6
    assert await books.state() == before
    top = await books.category(ledger)
    assert refusal(await put(books, top, path[0])).code == "category_too_deep"
    # From the second level on there is room for one above.
    await add(books, top, path[1])


async def test_no_category_comes_below_itself(books: Books) -> None:
    ledger = await books.ledger()
    top = await books.category(ledger)
    middle = await books.category(ledger, top)
    low = await books.category(ledger, middle)
    before = await books.state()
    for upper, lower in ((top, top), (middle, top), (low, top), (low, middle)):
        assert refusal(await put(books, upper, lower)) == Refusal(422, "category_cycle", None)
    assert await books.state() == before


async def test_only_one_currency_and_exponent_come_into_a_category(books: Books) -> None:
    ledger = await books.ledger()
    category = await books.category(ledger)
    dollars = await books.account(ledger, currency="USD")
    points = await books.category(ledger, currency="PTS", currency_exponent=0)
    finer = await books.account(ledger, currency="PTS", currency_exponent=2)
    before = await books.state()
    for holder, member in ((category, dollars), (category, points), (points, category), (points, finer)):
        assert refusal(await put(books, holder, member)) == Refusal(422, "currency_mismatch", None)
    assert await books.state() == before


async def test_an_account_is_directly_in_at_most_a_hundred_categories(books: Books) -> None:
    ledger = await books.ledger()
    categories = [await books.category(ledger) for _ in range(101)]
    account = await books.account(ledger, ledger_account_category_ids=[each["id"] for each in categories[:100]])
    before = await books.state()
    assert refusal(await put(books, categories[100], account)).code == "too_many_categories"
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit"}
    for path in ("/ledger_accounts", CATEGORIES):
        answer = await books.post(path, {**body, "ledger_account_category_ids": ids(categories)})
        assert refusal(answer).code == "parameter_invalid"
    assert await books.state() == before
    # A category that is discarded makes room.
    await books.delete(f"{CATEGORIES}/{categories[0]['id']}")
    await add(books, categories[100], account)
    assert {
        each["id"] for each in await books.read(f"{CATEGORIES}?ledger_account_id={account['id']}&per_page=100")
    } == {each["id"] for each in categories[1:]}


async def test_a_discarded_category_holds_nothing_and_is_in_nothing(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    top = await books.category(ledger)
    middle = await books.category(ledger, top, external_id="m")
    low = await books.category(ledger, middle)
    await add(books, low, wallet)
    await add(books, middle, cash)
    await books.transfer(cash, wallet, 100)
    answer = await books.delete(f"{CATEGORIES}/{middle['id']}")
    assert answer.status_code == 200
    discarded = answer.json()
    assert discarded["discarded_at"] == discarded["updated_at"] > middle["updated_at"]
    assert discarded["balances"]["posted_balance"]["credits"] == 0
    assert await books.read(f"{CATEGORIES}/{middle['id']}") == discarded
    assert [await sums(books, each) for each in (top, low)] == [(0, 0, 0, 0), (100, 0, 100, 0)]
    for query, expected in (
        (f"parent_ledger_account_category_id={top['id']}", []),
        (f"parent_ledger_account_category_id={middle['id']}", []),
        (f"ledger_account_id={wallet['id']}", [low]),
        (f"ledger_account_id={cash['id']}", []),
        ("discarded=true", [middle]),
        ("discarded=false", [low, top]),
        ("external_id=m", [middle]),
    ):
        assert ids(await books.get(f"{CATEGORIES}?{query}")) == ids(expected), query
    assert await books.read(f"/ledger_accounts?ledger_account_category_id={middle['id']}") == []
    assert await books.read(f"/ledger_entries?ledger_account_category_id={middle['id']}") == []
    # Its external id is free again; a second discard changes nothing, and nothing else is accepted.
    await books.category(ledger, external_id="m")
    before = await books.state()
    assert (await books.delete(f"{CATEGORIES}/{middle['id']}")).json() == discarded
    assert await books.state() == before
    for call in (
        books.patch(f"{CATEGORIES}/{middle['id']}", {"name": "x"}),
        put(books, middle, wallet), books.delete(member_path(middle, cash)),
        put(books, middle, low), books.delete(member_path(middle, low)),
        put(books, top, middle), books.delete(member_path(top, middle)),
    ):  # fmt: skip
        assert refusal(await call).code == "object_discarded"
    assert await books.state() == before
    # The account leaves the category behind with its next step.
    await add(books, top, cash)
    assert await sums(books, top) == (0, 100, 0, 100)


async def test_a_discarded_account_neither_comes_nor_goes_and_its_turnover_stays(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    category, other = await books.category(ledger), await books.category(ledger)
    await add(books, category, wallet)
    await books.transfer(cash, wallet, 5)
    await books.transfer(wallet, cash, 5)
    await books.delete(f"/ledger_accounts/{wallet['id']}")
    assert await sums(books, category) == (5, 5, 5, 5)
    before = await books.state()
    expected = Refusal(422, "account_discarded", "ledger_account_id")
    assert refusal(await put(books, other, wallet)) == expected
    assert refusal(await books.delete(member_path(category, wallet))) == expected
    assert await books.state() == before


async def test_nothing_of_a_discarded_ledger_changes(books: Books) -> None:
    ledger = await books.ledger()
    category = await books.category(ledger)
    low = await books.category(ledger, category)
    account = await books.account(ledger, ledger_account_category_ids=[category["id"]])
    await books.delete(f"/ledgers/{ledger['id']}")
    before = await books.state()
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit"}
    for call in (
        books.post(CATEGORIES, body), books.patch(f"{CATEGORIES}/{low['id']}", {"name": "x"}),
        books.delete(f"{CATEGORIES}/{low['id']}"), put(books, low, account),
        books.delete(member_path(category, account)), put(books, low, category),
        books.delete(member_path(category, low)),
    ):  # fmt: skip
        assert refusal(await call).code == "ledger_discarded"
    assert await books.state() == before
    assert ids(await books.get(CATEGORIES)) == ids([low, category])


async def test_an_update_changes_what_it_names_and_merges_metadata(books: Books) -> None:
    ledger = await books.ledger()
    category = await books.category(ledger, external_id="e", description="d", metadata={"a": "1", "b": "2"})
    await books.category(ledger, external_id="taken")
    path = f"{CATEGORIES}/{category['id']}"
    for body, changed in (
        ({}, {}),
        ({"name": "new"}, {"name": "new"}),
        ({"description": None, "external_id": None}, {"description": None, "external_id": None}),
        ({"external_id": "f", "metadata": {"a": None, "c": "3"}},
         {"external_id": "f", "metadata": {"b": "2", "c": "3"}}),
        ({"metadata": None}, {}),
    ):  # fmt: skip
        answer = await books.patch(path, body)
        assert answer.status_code == 200
        assert answer.json() == {**category, **changed, "updated_at": answer.json()["updated_at"]}
        category = answer.json()
        assert await books.read(path) == category
    before = await books.state()
    assert refusal(await books.patch(path, {"external_id": "taken"})) == Refusal(
        422, "external_id_taken", "external_id"
    )
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit", "external_id": "f"}
    assert refusal(await books.post(CATEGORIES, body)).code == "external_id_taken"
    assert await books.state() == before


async def test_a_shared_limit_is_a_lock_on_a_category(books: Books) -> None:
    ledger = await books.ledger()
    bank = await books.account(ledger)
    limit = await books.category(ledger, normal_balance="debit")
    cards = [await books.account(ledger, "debit", ledger_account_category_ids=[limit["id"]]) for _ in range(2)]
    lock = {"ledger_account_category_id": limit["id"], "available_balance_amount": {"lte": 100}}

    async def spend(card: Json, amount: int, **fields: Any) -> httpx2.Response:
        body = {"status": "posted", "ledger_entries": pair(card, bank, amount)}
        return await books.post(
            "/ledger_transactions", {**body, "ledger_account_category_balance_locks": [lock], **fields}
        )

    assert (await spend(cards[0], 60)).status_code == 201
    before = await books.state()
    answer = await spend(cards[1], 41)
    where = "ledger_account_category_balance_locks[0].available_balance_amount"
    assert refusal(answer) == Refusal(422, "category_lock_failed", where)
    assert answer.json()["errors"]["refusal"] == {
        "code": "category_lock_failed", "retryable": False, "ledger_account_category_id": limit["id"],
        "balance": "available", "amount": 101, "comparison": "lte", "bound": 100,
    }  # fmt: skip
    assert await books.state() == before
    assert (await spend(cards[1], 40)).status_code == 201
    archived = (await spend(cards[0], 1, archive_on_balance_lock_failure=True)).json()
    assert (archived["status"], archived["archived_reason"]) == ("archived", "balance_lock_failure")
    assert await sums(books, limit) == (0, 100, 0, 100)
    # A category that no written account is in would guard nothing.
    where = "ledger_account_category_balance_locks[0].ledger_account_category_id"
    empty = await books.category(ledger)
    for wrong, code in ((empty, "parameter_invalid"), (bank, "object_not_found")):
        told = await spend(cards[0], 1, ledger_account_category_balance_locks=[
            {**lock, "ledger_account_category_id": wrong["id"]}])  # fmt: skip
        assert (refusal(told).code, refusal(told).parameter) == (code, where)


async def test_sums_beyond_10_to_the_36_are_exact_everywhere(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    category = await books.category(ledger)
    top = await books.category(ledger)
    largest = 10**36
    await add(books, category, wallet)
    lock = {"ledger_account_category_id": category["id"], "posted_balance_amount": {"eq": largest}}
    for times in (1, 2, 3):
        lock["posted_balance_amount"] = {"eq": times * largest, "lt": times * largest + 1}
        await books.transfer(cash, wallet, largest, ledger_account_category_balance_locks=[lock])
    await add(books, top, category)
    for each in (category, top):
        balance = (await books.read(f"{CATEGORIES}/{each['id']}"))["balances"]["posted_balance"]
        assert (balance["credits"], balance["amount"]) == (3 * largest, 3 * largest)
        assert (balance["credits_string"], balance["amount_string"]) == ("3" + "0" * 36,) * 2
    await add(books, category, cash)
    assert await sums(books, top) == (3 * largest,) * 4
    await remove(books, category, wallet)
    assert await sums(books, top) == (0, 3 * largest, 0, 3 * largest)


async def test_of_many_who_add_remove_and_post_at_once_each_leaves_the_sums_right(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    top = await books.category(ledger)
    low = await books.category(ledger, top)

    async def one(number: int) -> None:
        change = add if number % 4 < 2 else remove
        await change(books, (top, low)[number % 2], wallet)
        await books.transfer(cash, wallet, 1)

    await asyncio.gather(*(one(number) for number in range(50)))

    await add(books, low, wallet)
    assert await sums(books, top) == await sums(books, low) == (50, 0, 50, 0)
    await add(books, top, cash)
    assert await sums(books, top) == (50, 50, 50, 50)


async def test_a_purge_takes_the_chart_with_the_ledger(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    before = await books.state()
    top = await books.category(ledger)
    await add(books, await books.category(ledger, top), wallet, cash)
    await books.transfer(cash, wallet)
    purged = await books.delete(f"/ledgers/{ledger['id']}?purge=true&confirm={ledger['id']}")
    assert purged.status_code == 200
    assert refusal(await books.get(f"{CATEGORIES}/{top['id']}")).code == "object_not_found"
    assert await books.read(CATEGORIES) == []
    after = await books.state()
    for table in ("categories", "category_edges", "category_sets", "category_set_members"):
        assert after[table] == before[table]

"""The chart of accounts over HTTP: categories, who is in them, what they sum to, and what is refused."""

import asyncio
from typing import Any

import httpx2
import pytest
from invariants import violations
from over_http import Books, Json, Refusal, ids, pair, refusal

from doppia.store import categories as store

pytestmark = pytest.mark.anyio

CATEGORIES = "/ledger_account_categories"


def member_path(category: Json, member: Json) -> str:
    return f"{CATEGORIES}/{category['id']}/{member['object']}s/{member['id']}".replace("categorys", "categories")


async def put(books: Books, category: Json, member: Json, key: str | None = None) -> httpx2.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await books.client.put(f"/api{member_path(category, member)}", headers=headers)


async def add(books: Books, category: Json, *members: Json) -> None:
    for member in members:
        answer = await put(books, category, member)
        assert (answer.status_code, answer.content) == (200, b""), answer.text


async def remove(books: Books, category: Json, *members: Json) -> None:
    for member in members:
        answer = await books.delete(member_path(category, member))
        assert (answer.status_code, answer.content) == (200, b""), answer.text


async def sums(books: Books, category: Json) -> tuple[int, int, int, int]:
    """Read credits and debits of the posted balance, then of the pending one."""
    balances = (await books.read(f"{CATEGORIES}/{category['id']}"))["balances"]
    posted, pending = balances["posted_balance"], balances["pending_balance"]
    return posted["credits"], posted["debits"], pending["credits"], pending["debits"]


async def records(books: Books) -> int:
    async with books.service.database.connection() as connection:
        found: int = await connection.fetchval("select count(*) from log")
    return found


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


async def test_each_filter_of_categories_lets_through_what_it_names(books: Books) -> None:
    ledger, far_ledger = await books.ledger(), await books.ledger()
    top = await books.category(ledger, name="top", external_id="e", metadata={"k": "v"})
    low = await books.category(ledger, top, name="low")
    aside = await books.category(ledger, name="aside", metadata={"k": "v", "l": "m"})
    far = await books.category(far_ledger, name="top", currency="USD")
    account = await books.account(ledger, ledger_account_category_ids=[low["id"]])
    both = await books.account(ledger, ledger_account_category_ids=[low["id"], aside["id"]])
    for query, expected in (
        ("", [far, aside, low, top]),
        (f"id[]={top['id']}&id[]={far['id']}", [far, top]),
        (f"id={low['id']}", [low]),
        ("name=top", [far, top]),
        ("name[]=low&name[]=aside", [aside, low]),
        ("name=to", []),
        (f"ledger_id={ledger['id']}", [aside, low, top]),
        ("currency=USD", [far]),
        ("external_id=e", [top]),
        ("external_id=E", []),
        (f"ledger_account_id={account['id']}", [low, top]),
        (f"ledger_account_id={both['id']}", [aside, low, top]),
        (f"ledger_account_id={both['id']}&metadata[k]=v", [aside, top]),
        (f"ledger_account_id={low['id']}", []),
        (f"parent_ledger_account_category_id={top['id']}", [low]),
        (f"parent_ledger_account_category_id={low['id']}", []),
        (f"parent_ledger_account_category_id={top['id']}&ledger_account_id={both['id']}", [low]),
        (f"parent_ledger_account_category_id={far['id']}&ledger_id={ledger['id']}", []),
        ("metadata[k]=v", [aside, top]),
        ("metadata[k]=v&metadata[l]=m", [aside]),
        ("discarded=false", [far, aside, low, top]),
        (f"id[]={account['id']}", []),
    ):
        assert await books.read(f"{CATEGORIES}?{query}") == expected, query
    pages = await books.pages(f"{CATEGORIES}?per_page=1&ledger_id={ledger['id']}")
    assert [ids(page) for page in pages] == [[aside["id"]], [low["id"]], [top["id"]]]


@pytest.mark.parametrize("few_accounts_max", [store.FEW_ACCOUNTS_MAX, 0], ids=["by the accounts", "along the ledger"])
async def test_lists_go_by_a_category_at_any_depth(
    books: Books, few_accounts_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FEW_ACCOUNTS_MAX", few_accounts_max)
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    other = await books.account(ledger, "credit")
    top = await books.category(ledger)
    low = await books.category(ledger, await books.category(ledger, top))
    empty, all_ = await books.category(ledger), await books.category(ledger)
    await add(books, low, wallet)
    await add(books, all_, wallet, cash, other)
    one = await books.transfer(cash, wallet, 1)
    two = await books.transfer(cash, other, 2)
    moved = await books.transfer(cash, wallet, 3, "pending")
    rewritten = (
        await books.patch(f"/ledger_transactions/{moved['id']}", {"ledger_entries": pair(cash, other, 3)})
    ).json()
    held = await books.transfer(wallet, cash, 4, "pending")
    archived = (await books.patch(f"/ledger_transactions/{held['id']}", {"status": "archived"})).json()

    async def found(path: str, category: Json, query: str = "") -> list[str]:
        return ids(await books.get(f"/{path}?ledger_account_category_id={category['id']}{query}"))

    assert await found("ledger_accounts", top) == await found("ledger_accounts", low) == [wallet["id"]]
    assert await found("ledger_accounts", all_) == ids([other, wallet, cash])
    assert await found("ledger_accounts", empty) == []
    assert await found("ledger_accounts", all_, "&normal_balance=debit") == [cash["id"]]

    # A transaction is found by the entries that are in force, or that an archived one had last.
    assert await found("ledger_transactions", top) == ids([held, one])
    assert await found("ledger_transactions", all_) == ids([held, moved, two, one])
    assert await found("ledger_transactions", top, "&status=posted") == [one["id"]]
    assert await found("ledger_transactions", top, "&order_by[effective_at]=asc") == ids([one, held])
    assert await found("ledger_transactions", empty) == []

    mine = [entry_["id"] for made in (one, moved, held) for entry_ in made["ledger_entries"]
            if entry_["ledger_account_id"] == wallet["id"]]  # fmt: skip
    assert await found("ledger_entries", top) == mine[:1]
    assert await found("ledger_entries", top, "&show_deleted=true") == mine[::-1]
    assert len(await found("ledger_entries", all_)) == 6
    assert await found("ledger_entries", low, f"&ledger_account_id={cash['id']}") == []
    assert await found("ledger_entries", empty) == []
    assert rewritten["id"] == moved["id"]
    assert archived["status"] == "archived"

    pages = await books.pages(f"/ledger_transactions?per_page=1&ledger_account_category_id={all_['id']}")
    assert [row["id"] for page in pages for row in page] == ids([held, moved, two, one])
    pages = await books.pages(f"/ledger_entries?per_page=2&ledger_account_category_id={top['id']}&show_deleted=true")
    assert [row["id"] for page in pages for row in page] == mine[::-1]


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


@pytest.mark.parametrize(
    ("change", "code", "parameter"),
    [
        ({"name": None}, "parameter_invalid", "name"), ({"name": ""}, "parameter_invalid", "name"),
        ({"name": "x" * 1001}, "parameter_invalid", "name"), ({"name": "a\x00"}, "invalid_text", "name"),
        ({"name": 7}, "parameter_invalid", "name"), ({"description": "x" * 1001}, "parameter_invalid", "description"),
        ({"ledger_id": "x"}, "object_not_found", "ledger_id"), ({"ledger_id": 7}, "parameter_invalid", "ledger_id"),
        ({"currency": "php"}, "invalid_currency", "currency"), ({"currency": "GOLD"}, "invalid_currency", "currency"),
        ({"currency_exponent": 3}, "invalid_currency", "currency"),
        ({"currency_exponent": 31}, "parameter_invalid", "currency_exponent"),
        ({"normal_balance": "both"}, "parameter_invalid", "normal_balance"),
        ({"external_id": ""}, "parameter_invalid", "external_id"),
        ({"external_id": "x" * 181}, "parameter_invalid", "external_id"),
        ({"ledger_account_category_ids": "x"}, "parameter_invalid", "ledger_account_category_ids"),
        ({"ledger_account_category_ids": [None]}, "parameter_invalid", "ledger_account_category_ids[0]"),
        ({"metadata": {"k": 7}}, "parameter_invalid", "metadata[...]"),
        ({"metadata": {"k": "x" * 1001}}, "metadata_too_large", "metadata.k"),
        ({"balances": {}}, "parameter_unknown", "balances"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_category_out_of_shape_is_refused(books: Books, change: Json, code: str, parameter: str) -> None:
    ledger = await books.ledger()
    category = await books.category(ledger)
    before = await books.state()
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit", **change}
    found = refusal(await books.post(CATEGORIES, body))
    assert (found.code, found.parameter) == (code, parameter)
    found = refusal(await books.patch(f"{CATEGORIES}/{category['id']}", change))
    changeable = {"name", "description", "external_id", "metadata"}
    assert found.code == (code if set(change) <= changeable else "parameter_unknown")
    assert await books.state() == before


@pytest.mark.parametrize("missing", ["name", "ledger_id", "currency", "normal_balance"])
async def test_a_category_without_what_it_needs_is_refused(books: Books, missing: str) -> None:
    ledger = await books.ledger()
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit"}
    del body[missing]
    assert refusal(await books.post(CATEGORIES, body)) == Refusal(422, "parameter_missing", missing)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("ledger_account_id=x", "parameter_invalid"), ("ledger_account_id[]=x", "parameter_unknown"),
        ("parent_ledger_account_category_id=", "parameter_invalid"), ("id[]=1", "parameter_invalid"),
        ("name=a%00", "invalid_text"), ("discarded=yes", "parameter_invalid"), ("currencies=PHP", "parameter_unknown"),
        ("normal_balance=credit", "parameter_unknown"), ("after_cursor=x", "invalid_cursor"),
        ("per_page=101", "parameter_invalid"), ("metadata=x", "parameter_invalid"),
    ],
)  # fmt: skip
async def test_a_list_of_categories_refuses_what_it_does_not_have(books: Books, query: str, code: str) -> None:
    assert refusal(await books.get(f"{CATEGORIES}?{query}")).code == code


@pytest.mark.parametrize("path", ["ledger_accounts", "ledger_transactions", "ledger_entries"])
async def test_a_filter_by_category_takes_one_id(books: Books, path: str) -> None:
    for query in ("ledger_account_category_id=x", "ledger_account_category_id="):
        assert refusal(await books.get(f"/{path}?{query}")).code == "parameter_invalid"
    for query in ("ledger_account_category_id[]=x", "ledger_account_category_id[eq]=x"):
        assert refusal(await books.get(f"/{path}?{query}")).code == "parameter_unknown"
    nobodys = "65a1b2c3-0000-8000-8400-000000000400"
    assert await books.read(f"/{path}?ledger_account_category_id={nobodys}") == []


async def test_an_id_that_names_no_such_thing_is_not_found(books: Books) -> None:
    ledger, far = await books.ledger(), await books.ledger()
    category, away = await books.category(ledger), await books.category(far)
    account, outside = await books.account(ledger), await books.account(far)
    absent = {**category, "id": category["id"][:-12] + "0000001e8400"}
    another_second = {**category, "id": "00000001" + category["id"][8:]}
    before = await books.state()
    for wrong in (absent, another_second, {**account, "object": "ledger_account_category"}, {**category, "id": "x"}):
        for method, path, body in (
            ("GET", "", None), ("PATCH", "", {"name": "x"}), ("DELETE", "", None),
            ("PUT", f"/ledger_accounts/{account['id']}", None), ("DELETE", f"/ledger_accounts/{account['id']}", None),
            ("PUT", f"{CATEGORIES}/{category['id']}", None), ("DELETE", f"{CATEGORIES}/{category['id']}", None),
        ):  # fmt: skip
            answer = await books.client.request(method, f"/api{CATEGORIES}/{wrong['id']}{path}", json=body)
            assert refusal(answer) == Refusal(404, "object_not_found", None), (method, path)
    for member, parameter in (
        (away, "sub_category_id"), (absent, "sub_category_id"), (another_second, "sub_category_id"),
        ({**category, "id": account["id"]}, "sub_category_id"), (outside, "ledger_account_id"),
        ({**account, "id": category["id"]}, "ledger_account_id"),
        ({**account, "id": "00000001" + account["id"][8:]}, "ledger_account_id"),
        ({**account, "id": "x"}, "ledger_account_id"),
    ):  # fmt: skip
        expected = Refusal(404, "object_not_found", parameter)
        assert refusal(await put(books, category, member)) == expected
        assert refusal(await books.delete(member_path(category, member))) == expected
    assert await books.state() == before


async def test_nothing_of_anothers_chart_is_seen_or_touched(books: Books, others: Books) -> None:
    ledger, far = await books.ledger(), await others.ledger()
    ours, theirs = await books.category(ledger), await others.category(far)
    low = await others.category(far, theirs)
    account, their_account = await books.account(ledger), await others.account(far)
    await others.client.put(f"/api{member_path(theirs, their_account)}")
    cash = await others.account(far)
    await others.transfer(cash, their_account)
    nobodys = {**theirs, "id": f"{theirs['id'][:9]}0000-8000-8000{theirs['id'][23:]}"}
    before = await books.state()
    for method, path, body in (
        ("GET", "{}", None), ("PATCH", "{}", {"name": "x"}), ("DELETE", "{}", None),
        ("PUT", f"{{}}/ledger_accounts/{account['id']}", None), ("DELETE", f"{{}}{CATEGORIES}/{ours['id']}", None),
        ("PUT", f"{{}}/ledger_accounts/{their_account['id']}", None),
        ("PUT", f"{ours['id']}{CATEGORIES}/{{}}", None), ("DELETE", f"{ours['id']}{CATEGORIES}/{{}}", None),
    ):  # fmt: skip
        told = []
        for id_ in (theirs["id"], nobodys["id"]):
            answer = await books.client.request(method, f"/api{CATEGORIES}/{path.format(id_)}", json=body)
            assert refusal(answer).status == 404
            told.append(answer.text.replace(id_, "ID"))
        assert told[0] == told[1]
    refused = await books.client.put(f"/api{member_path(ours, their_account)}")
    assert refusal(refused) == Refusal(404, "object_not_found", "ledger_account_id")
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit"}
    for path in ("/ledger_accounts", CATEGORIES):
        answer = await books.post(path, {**body, "ledger_account_category_ids": [theirs["id"]]})
        assert refusal(answer) == Refusal(404, "object_not_found", "ledger_account_category_ids[0]")
    assert refusal(await books.post(CATEGORIES, {**body, "ledger_id": far["id"]})).parameter == "ledger_id"
    assert await books.state() == before
    assert ids(await books.get(CATEGORIES)) == [ours["id"]]
    for query in (
        f"{CATEGORIES}?id[]={theirs['id']}", f"{CATEGORIES}?ledger_id={far['id']}",
        f"{CATEGORIES}?ledger_account_id={their_account['id']}",
        f"{CATEGORIES}?parent_ledger_account_category_id={theirs['id']}",
        f"/ledger_accounts?ledger_account_category_id={theirs['id']}",
        f"/ledger_transactions?ledger_account_category_id={theirs['id']}",
        f"/ledger_entries?ledger_account_category_id={theirs['id']}",
    ):  # fmt: skip
        assert await books.read(query) == [], query
    assert ids(await others.get(f"{CATEGORIES}?parent_ledger_account_category_id={theirs['id']}")) == [low["id"]]


async def test_each_write_is_done_once_by_its_key_and_answered_alike(books: Books) -> None:
    ledger = await books.ledger()
    top, low = await books.category(ledger), await books.category(ledger)
    account = await books.account(ledger)
    body = {"name": "x", "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": "credit",
            "ledger_account_category_ids": [top["id"]]}  # fmt: skip
    path = f"{CATEGORIES}/{low['id']}"
    for method, where, sent, other in (
        ("POST", CATEGORIES, body, {**body, "name": "y"}),
        ("PATCH", path, {"name": "y"}, {"name": "z"}),
        ("PUT", member_path(low, account), None, member_path(top, account)),
        ("DELETE", member_path(low, account), None, member_path(top, account)),
        ("PUT", member_path(top, low), None, member_path(low, top)),
        ("DELETE", member_path(top, low), None, member_path(low, top)),
        ("DELETE", path, None, f"{CATEGORIES}/{top['id']}"),
    ):  # fmt: skip
        headers = {"Idempotency-Key": f"key of {method} {where}"}
        first = await books.client.request(method, f"/api{where}", json=sent, headers=headers)
        assert first.is_success, first.text
        # Undone meanwhile, it is not done again.
        if method == "PUT":
            await books.delete(where)
        before = await books.state()
        again = await books.client.request(method, f"/api{where}", json=sent, headers=headers)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        changed, target = (other, where) if sent is not None else (None, other)
        reused = await books.client.request(method, f"/api{target}", json=changed, headers=headers)
        assert refusal(reused) == Refusal(422, "idempotency_key_reused", None)
        assert await books.state() == before
        if method == "PUT":
            await put(books, *((low, account) if "/ledger_accounts/" in where else (top, low)))


async def test_a_key_that_may_only_read_changes_nothing(books: Books) -> None:
    ledger = await books.ledger()
    top, low = await books.category(ledger), await books.category(ledger)
    account = await books.account(ledger)
    reader = (str(books.organization_id), await books.key("read"))
    for method, path in (
        ("POST", CATEGORIES), ("PATCH", f"{CATEGORIES}/{low['id']}"), ("DELETE", f"{CATEGORIES}/{low['id']}"),
        ("PUT", member_path(low, account)), ("DELETE", member_path(low, account)),
        ("PUT", member_path(top, low)), ("DELETE", member_path(top, low)),
    ):  # fmt: skip
        answer = await books.client.request(method, f"/api{path}", json={}, auth=reader)
        assert refusal(answer).code == "role_insufficient"
    assert (await books.client.get(f"/api{CATEGORIES}/{top['id']}", auth=reader)).json() == top


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
    async with books.service.database.connection() as connection:
        assert await violations(connection) == []

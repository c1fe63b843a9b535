"""The chart of accounts as it is read: lists by category, balances in time, balances verified."""

import asyncpg
import pytest

from doppia.accounting.ids import parse_id
from doppia.store.ledger import categories as store
from tests.api.ledger.chart_books import CATEGORIES, add, remove
from tests.api.over_http import Books, Json, ids, pair, refusal

pytestmark = pytest.mark.anyio


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


async def test_balances_in_time_are_those_of_the_accounts_that_are_in_it_today(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    category, debts = await books.category(ledger), await books.category(ledger, normal_balance="debit")
    low = await books.category(ledger, category)
    await add(books, category, wallet)
    await books.transfer(cash, wallet, 1, effective_at="2026-03-01T00:00:00Z")
    await books.transfer(cash, wallet, 20, effective_at="2026-03-02T12:00:00Z")
    await books.transfer(cash, wallet, 300, effective_at="2026-03-03T00:00:00Z")
    last = (await books.transfer(cash, wallet, 4000, "pending", effective_at="2026-03-04T00:00:00Z"))["created_at"]
    await books.transfer(cash, wallet, 50000, effective_at="2026-03-01T00:00:00Z")
    # Only now the wallet comes to two others, by two paths, and leaves the first.
    await add(books, low, wallet)
    await add(books, debts, wallet)
    await remove(books, category, wallet)

    for asked, posted, pending in (
        ("balances[effective_at]=2026-03-02T12:00:00Z", 50021, 50021),
        ("balances[effective_at]=2026-03-02T11:59:59Z", 50001, 50001),
        ("balances[as_of_date]=2026-03-02", 50021, 50021),
        ("balances[as_of_date]=2026-03-04", 50321, 54321),
        ("balances[effective_at_upper_bound]=2026-03-03T00:00:00Z", 50021, 50021),
        ("balances[effective_at_lower_bound]=2026-03-03T00:00:00Z", 300, 4300),
        ("balances[effective_at_lower_bound]=2026-03-02T00:00:00Z&balances[effective_at_upper_bound]=2026-03-03T00:00:00Z",
         20, 20),
        (f"balances[recorded_at]={last}", 321, 4321),
        (f"balances[recorded_at]={last}&balances[effective_at]=2026-03-02T12:00:00Z", 21, 21),
        (f"balances[recorded_at]={wallet['created_at']}", 0, 0),
        ("", 50321, 54321),
    ):  # fmt: skip
        for holder, sign in ((category, 1), (low, 1), (debts, -1)):
            found = await books.read(f"{CATEGORIES}/{holder['id']}?{asked}")
            balances = found["balances"]
            assert balances["posted_balance"]["amount"] == sign * posted, asked
            assert balances["pending_balance"]["amount"] == sign * pending, asked
            lower, upper = (f"effective_at_{side}_bound" for side in ("lower", "upper"))
            for bound in (lower, upper):
                assert (balances[bound] is not None) == (f"balances[{bound}]" in asked)
            listed = await books.read(f"{CATEGORIES}?id={holder['id']}&{asked}")
            assert listed == [found]
    await books.delete(f"{CATEGORIES}/{low['id']}")
    gone = await books.read(f"{CATEGORIES}/{low['id']}?balances[as_of_date]=2026-03-04")
    assert gone["balances"]["posted_balance"]["amount"] == 0


@pytest.mark.parametrize(
    "query",
    ["balances[as_of_lock_version]=1", "balances[effective_at]=x", "balances=x",
     "balances[recorded_at]=9000-01-01T00:00:00Z",
     "balances[effective_at]=2026-03-01T00:00:00Z&balances[as_of_date]=2026-03-01"],
)  # fmt: skip
async def test_balances_that_a_category_can_not_have_are_refused(books: Books, query: str) -> None:
    category = await books.category(await books.ledger())
    for path in (f"{CATEGORIES}/{category['id']}", CATEGORIES):
        assert refusal(await books.get(f"{path}?{query}")).code in {"parameter_invalid", "parameter_unknown"}


async def test_a_category_is_verified_by_all_entries_of_its_accounts(
    books: Books, superuser: asyncpg.Connection
) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = {"id": cash["ledger_id"]}
    top = await books.category(ledger)
    low = await books.category(ledger, top)
    await add(books, low, wallet)
    await add(books, top, wallet)
    await books.transfer(cash, wallet, 10**36)
    held = await books.transfer(cash, wallet, 7, "pending")
    await books.transfer(cash, wallet, 5, "pending")
    await books.patch(f"/ledger_transactions/{held['id']}", {"status": "archived"})
    path = f"{CATEGORIES}/{top['id']}"
    plain = await books.read(path)
    assert "verified" not in plain
    assert await books.read(f"{path}?verify=false") == plain
    assert await books.read(f"{path}?verify=true") == {
        **plain,
        "verified": {"holds": True, "recomputed": plain["balances"]},
    }

    id_ = parse_id(ledger["id"])
    assert id_ is not None
    tamper = "update category_sets set posted_credits = posted_credits {} where ledger_id = $1"
    await superuser.execute("set session_replication_role = replica")
    assert await superuser.execute(tamper.format("+ 1"), id_.ledger) == "UPDATE 2"
    found = await books.read(f"{path}?verify=true")
    assert found["verified"] == {"holds": False, "recomputed": plain["balances"]}
    assert found["balances"] != plain["balances"]
    await superuser.execute(tamper.format("- 1"), id_.ledger)

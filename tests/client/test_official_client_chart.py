"""The official client on the chart of accounts: categories, what is in them, and their balances."""

from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import pytest
from modern_treasury import AsyncModernTreasury, UnprocessableEntityError
from modern_treasury.types import LedgerAccountCategory

from tests.client.treasury_books import TreasuryBooks, legs, listed, open_books, transfer

pytestmark = pytest.mark.anyio

DAYS = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]


class Chart(NamedTuple):
    """Two wallets of a ledger: one directly in `top`, one in `leaf` below it."""

    books: TreasuryBooks
    top: LedgerAccountCategory
    leaf: LedgerAccountCategory
    deep: TreasuryBooks


async def category(treasury: AsyncModernTreasury, books: TreasuryBooks, **fields: Any) -> LedgerAccountCategory:
    body = {"name": "category", "ledger_id": books.ledger.id, "currency": "PHP", "normal_balance": "credit", **fields}
    return await treasury.ledger_account_categories.create(**body)


async def draw_chart(treasury: AsyncModernTreasury) -> Chart:
    books = await open_books(treasury)
    top = await category(treasury, books, name="top")
    leaf = await category(treasury, books, name="leaf", ledger_account_category_ids=[top.id])
    wallet = await treasury.ledger_accounts.create(
        name="deep", ledger_id=books.ledger.id, currency="PHP", normal_balance="credit",
        ledger_account_category_ids=[leaf.id],
    )  # fmt: skip
    await treasury.ledger_account_categories.add_ledger_account(books.wallet.id, id=top.id)
    return Chart(books, top, leaf, books._replace(wallet=wallet))


async def posted(treasury: AsyncModernTreasury, made: LedgerAccountCategory) -> int:
    return (await treasury.ledger_account_categories.retrieve(made.id)).balances.posted_balance.amount


async def test_a_category_is_created_read_changed_listed_and_discarded(treasury: AsyncModernTreasury) -> None:
    ledger = await treasury.ledgers.create(name="books")
    made = await treasury.ledger_account_categories.create(
        name="a", ledger_id=ledger.id, currency="MILES", currency_exponent=3, normal_balance="debit", description="d",
        external_id="e", metadata={"k": "v"},
    )  # fmt: skip
    assert (made.object, made.ledger_id, made.external_id) == ("ledger_account_category", ledger.id, "e")
    balance = made.balances.available_balance
    assert (balance.amount, balance.currency, balance.currency_exponent) == (0, "MILES", 3)
    assert await treasury.ledger_account_categories.retrieve(made.id) == made
    changed = await treasury.ledger_account_categories.update(
        made.id, name="b", description="e", external_id="f", metadata={"k": "", "l": "w"}
    )
    assert (changed.name, changed.description, changed.external_id, changed.metadata) == ("b", "e", "f", {"l": "w"})
    assert (await treasury.ledger_account_categories.list()).items == [changed]
    assert (await treasury.ledger_account_categories.delete(made.id)).discarded_at is not None


async def test_accounts_and_categories_come_to_a_category_and_leave_it(treasury: AsyncModernTreasury) -> None:
    books, top, leaf, deep = await draw_chart(treasury)
    await transfer(treasury, books, 10)
    await transfer(treasury, deep, 5)
    assert (await posted(treasury, top), await posted(treasury, leaf)) == (15, 5)
    await treasury.ledger_account_categories.remove_nested_category(sub_category_id=leaf.id, id=top.id)
    assert await posted(treasury, top) == 10
    await treasury.ledger_account_categories.add_nested_category(sub_category_id=leaf.id, id=top.id)
    assert await posted(treasury, top) == 15
    # By a second path an account is still there once.
    await treasury.ledger_account_categories.add_ledger_account(deep.wallet.id, id=top.id)
    assert await posted(treasury, top) == 15
    await treasury.ledger_account_categories.remove_ledger_account(books.wallet.id, id=top.id)
    assert await posted(treasury, top) == 5
    with pytest.raises(UnprocessableEntityError) as cycle:
        await treasury.ledger_account_categories.add_nested_category(top.id, id=leaf.id)
    assert cycle.value.body["errors"]["refusal"]["code"] == "category_cycle"  # type: ignore[index] # decoded JSON


@pytest.mark.parametrize("per_page", [1, 2, 100])
async def test_categories_are_paged_through(treasury: AsyncModernTreasury, per_page: int) -> None:
    books = await open_books(treasury)
    made = [(await category(treasury, books)).id for _ in range(5)]
    pages = treasury.ledger_account_categories.list(per_page=per_page, ledger_id=books.ledger.id)
    assert await listed(pages) == made[::-1]


async def test_each_filter_of_categories_is_understood(treasury: AsyncModernTreasury) -> None:
    books, top, leaf, deep = await draw_chart(treasury)
    points = await category(
        treasury, books, name="points", currency="PTS", currency_exponent=0, external_id="e", metadata={"k": "v w"}
    )
    other = await category(treasury, await open_books(treasury), name="other")
    filters: dict[str, Any]
    for filters, expected in (
        ({"id": [top.id, points.id]}, [points, top]),
        ({"name": ["top", "other"]}, [other, top]),
        ({"ledger_id": books.ledger.id}, [points, leaf, top]),
        ({"currency": "PTS"}, [points]),
        ({"external_id": "e"}, [points]),
        ({"ledger_account_id": books.wallet.id}, [top]),
        ({"ledger_account_id": deep.wallet.id}, [leaf, top]),
        ({"parent_ledger_account_category_id": top.id}, [leaf]),
        ({"metadata": {"k": "v w"}}, [points]),
    ):
        found = await listed(treasury.ledger_account_categories.list(**filters))
        assert found == [each.id for each in expected], filters


async def test_what_is_in_a_category_at_any_depth_is_listed(treasury: AsyncModernTreasury) -> None:
    books, top, leaf, deep = await draw_chart(treasury)
    shallow, low = await transfer(treasury, books), await transfer(treasury, deep)
    accounts = treasury.ledger_accounts.list(ledger_account_category_id=top.id)
    assert await listed(accounts) == [deep.wallet.id, books.wallet.id]
    transactions = treasury.ledger_transactions.list(ledger_account_category_id=top.id)
    assert await listed(transactions) == [low.id, shallow.id]
    entries = treasury.ledger_entries.list(ledger_account_category_id=leaf.id)
    assert await listed(entries) == [low.ledger_entries[1].id]


async def test_a_category_has_balances_in_time(treasury: AsyncModernTreasury) -> None:
    books, top, leaf, deep = await draw_chart(treasury)
    for amount, day in zip((1, 20, 300), DAYS, strict=True):
        await transfer(treasury, deep, amount, effective_at=day)
    await transfer(treasury, books, 4000, effective_at=DAYS[2])
    for balances, amounts in (
        ({"effective_at": DAYS[1]}, (21, 21)),
        ({"as_of_date": date(2024, 1, 1)}, (1, 1)),
        ({"effective_at": DAYS[2]}, (4321, 321)),
    ):
        for made, amount in zip((top, leaf), amounts, strict=True):
            at: Any = balances
            found = await treasury.ledger_account_categories.retrieve(made.id, balances=at)
            assert found.balances.posted_balance.amount == amount
    rows = (await treasury.ledger_account_categories.list(balances={"effective_at": DAYS[1]})).items
    assert [row.balances.posted_balance.amount for row in rows] == [21, 21]


async def test_a_limit_over_a_category_is_sent_beside_the_types(treasury: AsyncModernTreasury) -> None:
    books, top, _, deep = await draw_chart(treasury)
    lock = {"ledger_account_category_id": top.id, "posted_balance_amount": {"lte": 150}}
    body = {"ledger_account_category_balance_locks": [lock]}
    await transfer(treasury, books, 100, extra_body=body)
    with pytest.raises(UnprocessableEntityError) as refused:
        await transfer(treasury, deep, 51, extra_body=body)
    assert refused.value.body["errors"]["refusal"]["code"] == "category_lock_failed"  # type: ignore[index]
    hold = await transfer(treasury, deep, 50, status="pending", extra_body=body)
    with pytest.raises(UnprocessableEntityError):
        await treasury.ledger_transactions.update(
            hold.id, status="posted", ledger_entries=legs(deep, 51), extra_body=body
        )
    changed = await treasury.ledger_transactions.update(hold.id, status="posted", extra_body=body)
    assert changed.status == "posted"

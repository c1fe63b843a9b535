"""The official client lists with every filter that is served, and pages by itself."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from modern_treasury import AsyncModernTreasury

from tests.client.treasury_books import TreasuryBooks, legs, listed, open_books, transfer

pytestmark = pytest.mark.anyio

COMPARISONS = {"gt": {2}, "gte": {1, 2}, "eq": {1}, "lte": {0, 1}, "lt": {0}}
DAYS = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]


async def three(treasury: AsyncModernTreasury, books: TreasuryBooks) -> list[Any]:
    return [
        await transfer(treasury, books, amount, effective_at=day)
        for amount, day in zip((10, 20, 30), DAYS, strict=True)
    ]


@pytest.mark.parametrize("per_page", [1, 2, 100])
async def test_the_client_pages_through_every_list(treasury: AsyncModernTreasury, per_page: int) -> None:
    books = [await open_books(treasury) for _ in range(3)]
    made = [await transfer(treasury, kept) for _ in range(2) for kept in books]
    entries = [entry.id for transaction in made for entry in transaction.ledger_entries]
    for pages, expected in (
        (treasury.ledgers.list(per_page=per_page), [kept.ledger.id for kept in books]),
        (treasury.ledger_accounts.list(per_page=per_page), [a.id for kept in books for a in (kept.cash, kept.wallet)]),
        (treasury.ledger_transactions.list(per_page=per_page), [transaction.id for transaction in made]),
        (treasury.ledger_entries.list(per_page=per_page), entries),
    ):
        assert await listed(pages) == expected[::-1]


async def test_filters_and_order_stay_with_the_pages_that_follow(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    made = await three(treasury, books)
    await transfer(treasury, await open_books(treasury))
    pages = treasury.ledger_transactions.list(
        per_page=1, ledger_id=books.ledger.id, status=["posted", "pending"], order_by={"effective_at": "asc"}
    )
    assert await listed(pages) == [transaction.id for transaction in made]
    first = await treasury.ledger_transactions.list(per_page=2, order_by={"created_at": "desc"})
    assert first.has_next_page()
    second = await first.get_next_page()
    assert (len(first.items), len(second.items), second.has_next_page()) == (2, 2, False)


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("naive", [True, False])
async def test_times_are_compared_whether_they_name_a_zone_or_not(
    treasury: AsyncModernTreasury, comparison: str, naive: bool
) -> None:
    books = await open_books(treasury)
    made = await three(treasury, books)
    expected = {made[place].id for place in COMPARISONS[comparison]}
    # In a dictionary the client writes a time by str(): 2024-01-02 00:00:00.
    second = DAYS[1].replace(tzinfo=None) if naive else DAYS[1].astimezone()
    found = await listed(treasury.ledger_transactions.list(effective_at={comparison: second}))
    assert set(found) == expected
    found = await listed(treasury.ledger_transactions.list(effective_date={comparison: second}))
    assert set(found) == expected
    entries = treasury.ledger_entries.list(effective_at={comparison: second}, direction="debit")
    assert {entry.ledger_transaction_id async for entry in entries} == expected
    entries = treasury.ledger_entries.list(effective_date={comparison: date(2024, 1, 2)}, direction="credit")
    assert {entry.ledger_transaction_id async for entry in entries} == expected
    for name in ("posted_at", "updated_at"):
        recorded = getattr(made[1], name)
        recorded = recorded.replace(tzinfo=None) if naive else recorded
        filters: dict[str, Any] = {name: {comparison: recorded}}
        assert set(await listed(treasury.ledger_transactions.list(**filters))) == expected


@pytest.mark.parametrize("comparison", COMPARISONS)
async def test_numbers_and_recorded_times_are_compared(treasury: AsyncModernTreasury, comparison: Any) -> None:
    books = await open_books(treasury)
    made = await three(treasury, books)
    expected = {made[place].id for place in COMPARISONS[comparison]}
    amount: Any = {comparison: 20}
    assert set(await listed(treasury.ledger_transactions.list(amount=amount))) == expected
    for filters in (
        {"amount": amount},
        {"ledger_account_lock_version": {comparison: 2}},
        {"updated_at": {comparison: made[1].created_at}},
    ):
        entries = treasury.ledger_entries.list(**{"ledger_account_id": books.wallet.id, **filters})
        assert {entry.ledger_transaction_id async for entry in entries} == expected


async def test_each_plain_filter_of_transactions_is_understood(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    one = await transfer(
        treasury, books, external_id="e", ledgerable_type="payment_order", ledgerable_id="p",
        metadata={"Type": "Loan x", "n": "1"},
    )  # fmt: skip
    two = await transfer(treasury, books, status="pending", metadata={"Type": "Loan x"})
    reversal = await treasury.ledger_transactions.create_reversal(one.id)
    for filters, expected in (
        ({"id": [one.id, two.id]}, [two, one]),
        ({"ledger_id": books.ledger.id}, [reversal, two, one]),
        ({"ledger_account_id": books.cash.id, "status": "pending"}, [two]),
        ({"status": ["pending", "posted"]}, [reversal, two, one]),
        ({"external_id": "e"}, [one]),
        ({"ledgerable_type": "payment_order"}, [one]),
        ({"ledgerable_id": "p"}, [one]),
        ({"reverses_ledger_transaction_id": one.id}, [reversal]),
        ({"metadata": {"Type": "Loan x"}}, [two, one]),
        ({"metadata": {"Type": "Loan x", "n": "1"}}, [one]),
    ):
        found = await listed(treasury.ledger_transactions.list(**filters))
        assert found == [transaction.id for transaction in expected], filters


async def test_each_plain_filter_of_accounts_and_ledgers_is_understood(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    points = await treasury.ledger_accounts.create(
        name="points", ledger_id=books.ledger.id, currency="PTS", currency_exponent=0, normal_balance="credit",
        external_id="e", metadata={"k": "v w"},
    )  # fmt: skip
    other = await treasury.ledgers.create(name="other", metadata={"k": "v"})
    everything = [points, books.wallet, books.cash]
    for filters, expected in (
        ({"id": [books.cash.id, points.id]}, [points, books.cash]),
        ({"name": ["cash", "wallet"]}, [books.wallet, books.cash]),
        ({"ledger_id": books.ledger.id}, everything),
        ({"ledger_id": other.id}, []),
        ({"external_id": "e"}, [points]),
        ({"currency": "PTS"}, [points]),
        ({"normal_balance": "debit"}, [books.cash]),
        ({"metadata": {"k": "v w"}}, [points]),
        ({"created_at": {"gt": books.cash.created_at, "lte": points.created_at}}, [points, books.wallet]),
        ({"updated_at": {"lt": points.updated_at}}, [books.wallet, books.cash]),
        ({"created_at": {"gt": points.created_at + timedelta(days=1)}}, []),
    ):
        found = await listed(treasury.ledger_accounts.list(**filters))
        assert found == [account.id for account in expected], filters
    assert await listed(treasury.ledgers.list(id=[other.id, books.ledger.id])) == [other.id, books.ledger.id]
    assert await listed(treasury.ledgers.list(metadata={"k": "v"})) == [other.id]
    assert await listed(treasury.ledgers.list(updated_at={"lt": other.updated_at})) == [books.ledger.id]


async def test_each_plain_filter_of_entries_is_understood(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    held = await transfer(treasury, books, status="pending")
    changed = await treasury.ledger_transactions.update(held.id, ledger_entries=legs(books, 60))
    posted = await transfer(treasury, books, 5)
    old, new, last = (made.ledger_entries[1].id for made in (held, changed, posted))
    await treasury.ledger_entries.update(last, metadata={"k": "v"})
    wallet = {"ledger_account_id": books.wallet.id}
    for filters, expected in (
        (wallet, [last, new]),
        ({**wallet, "show_deleted": True}, [last, new, old]),
        ({**wallet, "show_deleted": False, "direction": "debit"}, []),
        ({**wallet, "as_of_lock_version": 1}, [old]),
        ({**wallet, "as_of_lock_version": 2}, [new]),
        ({**wallet, "as_of_lock_version": 3}, [last, new]),
        ({"ledger_transaction_id": posted.id, "direction": "credit"}, [last]),
        ({"id": [old, last]}, [last]),
        ({"id": [old, last], "show_deleted": True, "order_by": {"created_at": "asc"}}, [old, last]),
        ({**wallet, "order_by": {"effective_at": "asc"}}, [new, last]),
        ({"status": "posted", "direction": "credit"}, [last]),
        ({"metadata": {"k": "v"}}, [last]),
    ):
        found = await listed(treasury.ledger_entries.list(**filters))
        assert found == expected, filters
    shown = await treasury.ledger_entries.list(show_balances=True, ledger_account_id=books.wallet.id)
    amounts = [
        entry.resulting_ledger_account_balances.pending_balance.amount
        for entry in shown.items
        if entry.resulting_ledger_account_balances is not None
    ]
    assert amounts == [65, 60]


async def test_filters_and_parameters_that_the_client_has_no_name_for_are_sent_as_extra_ones(
    treasury: AsyncModernTreasury,
) -> None:
    books = await open_books(treasury)
    made = await transfer(treasury, books)
    since = {"created_at[gte]": made.created_at.isoformat()}
    assert await listed(treasury.ledger_transactions.list(extra_query=since)) == [made.id]
    other = await treasury.ledgers.create(name="other")
    await treasury.ledgers.delete(other.id)
    assert await listed(treasury.ledgers.list(extra_query={"discarded": "true"})) == [other.id]
    assert await listed(treasury.ledgers.list(extra_query={"discarded": "false"})) == [books.ledger.id]
    await treasury.ledgers.delete(other.id, extra_query={"purge": "true", "confirm": other.id})
    assert await listed(treasury.ledgers.list()) == [books.ledger.id]

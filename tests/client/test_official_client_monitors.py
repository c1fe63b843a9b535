"""The official client on balance monitors."""

from typing import Any

import pytest
from modern_treasury import AsyncModernTreasury

from tests.client.treasury_books import listed, open_books, transfer

pytestmark = pytest.mark.anyio


async def test_a_monitor_is_created_read_changed_listed_and_discarded(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    made = await treasury.ledger_account_balance_monitors.create(
        ledger_account_id=books.wallet.id,
        alert_condition={"field": "posted_balance_amount", "operator": "greater_than_or_equals", "value": 100},
        description="d",
        metadata={"k": "v"},
    )
    assert (made.object, made.ledger_account_id) == ("ledger_account_balance_monitor", books.wallet.id)
    condition = made.alert_condition
    assert (condition.field, condition.operator, condition.value) == (
        "posted_balance_amount",
        "greater_than_or_equals",
        100,
    )
    state = made.current_ledger_account_balance_state
    assert (state.triggered, state.ledger_account_lock_version, state.balances.posted_balance.amount) == (False, 0, 0)
    assert await treasury.ledger_account_balance_monitors.retrieve(made.id) == made
    await transfer(treasury, books, 100)
    state = (await treasury.ledger_account_balance_monitors.retrieve(made.id)).current_ledger_account_balance_state
    assert (state.triggered, state.ledger_account_lock_version, state.balances.posted_balance.amount) == (True, 1, 100)
    changed = await treasury.ledger_account_balance_monitors.update(
        made.id, description="e", metadata={"k": "", "l": "w"}
    )
    assert (changed.description, changed.metadata) == ("e", {"l": "w"})
    assert (await treasury.ledger_account_balance_monitors.list()).items == [changed]
    assert (await treasury.ledger_account_balance_monitors.delete(made.id)).discarded_at is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("available_balance_amount", 0),
        ("pending_balance_amount", 7),
        ("posted_balance_amount", 0),
        ("ledger_account_lock_version", 1),
    ],
)
@pytest.mark.parametrize(
    ("operator", "below", "at", "above"),
    [
        ("less_than", False, False, True),
        ("less_than_or_equals", False, True, True),
        ("equals", False, True, False),
        ("greater_than_or_equals", True, True, False),
        ("greater_than", True, False, False),
    ],
)
async def test_each_field_is_compared_by_each_operator(
    treasury: AsyncModernTreasury, field: str, value: int, operator: str, below: bool, at: bool, above: bool
) -> None:
    books = await open_books(treasury)
    await transfer(treasury, books, 7, status="pending")
    for bound, triggered in ((value - 1, below), (value, at), (value + 1, above)):
        condition: Any = {"field": field, "operator": operator, "value": bound}
        made = await treasury.ledger_account_balance_monitors.create(
            ledger_account_id=books.wallet.id, alert_condition=condition
        )
        assert made.current_ledger_account_balance_state.triggered is triggered


@pytest.mark.parametrize("per_page", [1, 2, 100])
async def test_monitors_are_paged_through_and_filtered(treasury: AsyncModernTreasury, per_page: int) -> None:
    books = await open_books(treasury)
    made = [
        await treasury.ledger_account_balance_monitors.create(
            ledger_account_id=account.id,
            alert_condition={"field": "posted_balance_amount", "operator": "less_than", "value": 0},
            metadata={"account": account.name},
        )
        for account in (books.cash, books.wallet, books.cash)
    ]
    cash, wallet, again = (each.id for each in made)
    filters: dict[str, Any]
    for filters, expected in (
        ({}, [again, wallet, cash]),
        ({"id": [cash, wallet]}, [wallet, cash]),
        ({"ledger_account_id": books.cash.id}, [again, cash]),
        ({"metadata": {"account": "wallet"}}, [wallet]),
    ):
        found = treasury.ledger_account_balance_monitors.list(**filters, per_page=per_page)
        assert await listed(found) == expected, filters

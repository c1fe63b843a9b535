"""The official client reads balances at other times than now, of one account and of lists."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from modern_treasury import AsyncModernTreasury

from tests.client.treasury_books import listed, open_books, transfer

pytestmark = pytest.mark.anyio

FIRST, SECOND, THIRD = (datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3))
LARGEST = 10**36


@pytest.mark.parametrize(
    ("asked", "amount"),
    [
        ({"as_of_date": date(2024, 1, 2)}, 11),
        ({"effective_at": SECOND}, 11),
        ({"effective_at_lower_bound": SECOND}, 110 + LARGEST),
        ({"effective_at_upper_bound": SECOND}, 1),
        ({"effective_at_lower_bound": SECOND, "effective_at_upper_bound": THIRD}, 10),
        ({"as_of_lock_version": 1}, 1),
    ],
    ids=str,
)
async def test_an_account_is_read_at_another_time(
    treasury: AsyncModernTreasury, asked: dict[str, Any], amount: int
) -> None:
    books = await open_books(treasury)
    for moved, at in ((1, FIRST), (10, SECOND), (100, THIRD), (LARGEST, THIRD)):
        await transfer(treasury, books, moved, effective_at=at)

    account = await treasury.ledger_accounts.retrieve(books.wallet.id, balances=asked)  # type: ignore[arg-type] # one of its forms
    assert account.balances.posted_balance.amount == amount
    assert account.lock_version == asked.get("as_of_lock_version", 4)
    assert account.balances.effective_at_lower_bound == asked.get("effective_at_lower_bound")
    if "as_of_lock_version" not in asked:
        rows: list[Any] = [
            row
            async for row in treasury.ledger_accounts.list(id=[books.wallet.id], balances=asked)  # type: ignore[arg-type] # as above
        ]
        assert [row.balances.posted_balance.amount for row in rows] == [amount]


async def test_accounts_are_listed_by_their_balances(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    await transfer(treasury, books, LARGEST)
    both = [books.wallet.id, books.cash.id]

    for name in ("pending", "posted", "available"):
        for comparison, bound, expected in (
            ("gt", LARGEST - 1, both), ("gte", LARGEST + 1, []), ("eq", LARGEST, both),
            ("lt", LARGEST, []), ("lte", LARGEST, both), ("not_eq", LARGEST, []),
        ):  # fmt: skip
            filters: Any = {f"{name}_balance_amount": {comparison: bound}}
            assert await listed(treasury.ledger_accounts.list(ledger_id=books.ledger.id, **filters)) == expected

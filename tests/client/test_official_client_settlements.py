"""The official client on settlements."""

from datetime import UTC, datetime
from typing import Any

import pytest
from modern_treasury import AsyncModernTreasury, UnprocessableEntityError

from tests.client.treasury_books import TreasuryBooks, listed, open_books, transfer

pytestmark = pytest.mark.anyio

DAYS = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]


async def settle(treasury: AsyncModernTreasury, books: TreasuryBooks, **fields: Any) -> Any:
    body = {"settled_ledger_account_id": books.wallet.id, "contra_ledger_account_id": books.cash.id, **fields}
    return await treasury.ledger_account_settlements.create(**body)


async def test_an_account_is_swept_and_the_settlement_read_changed_and_listed(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    made = [await transfer(treasury, books, amount, effective_at=DAYS[0]) for amount in (10, 20)]
    await transfer(treasury, books, 300, effective_at=DAYS[2])
    settlement = await treasury.ledger_account_settlements.create(
        settled_ledger_account_id=books.wallet.id, contra_ledger_account_id=books.cash.id, status="pending",
        effective_at_upper_bound=DAYS[1], allow_either_direction=False, skip_settlement_ledger_transaction=False,
        description="d", metadata={"k": "v"},
    )  # fmt: skip
    assert (settlement.object, settlement.status) == ("ledger_account_settlement", "pending")
    assert (settlement.amount, settlement.settlement_entry_direction) == (30, "debit")
    assert (settlement.currency, settlement.currency_exponent) == ("PHP", 2)
    assert (settlement.settled_ledger_account_id, settlement.contra_ledger_account_id) == (
        books.wallet.id,
        books.cash.id,
    )
    assert (settlement.ledger_id, settlement.effective_at_upper_bound) == (books.ledger.id, DAYS[1])
    assert (settlement.description, settlement.metadata) == ("d", {"k": "v"})
    assert await treasury.ledger_account_settlements.retrieve(settlement.id) == settlement
    assert settlement.ledger_transaction_id is not None
    moved = await treasury.ledger_transactions.retrieve(settlement.ledger_transaction_id)
    assert (moved.status, [entry.amount for entry in moved.ledger_entries]) == ("pending", [30, 30])
    in_it = {each.ledger_entries[1].id for each in made}
    entries = treasury.ledger_entries.list(ledger_account_settlement_id=settlement.id, per_page=1)
    assert in_it <= set(await listed(entries))
    transactions = treasury.ledger_transactions.list(ledger_account_settlement_id=settlement.id)
    assert {each.id for each in made} <= set(await listed(transactions))
    changed = await treasury.ledger_account_settlements.update(
        settlement.id, status="posted", description="e", metadata={"k": "", "l": "w"},
        skip_settlement_ledger_transaction=False,
    )  # fmt: skip
    assert (changed.status, changed.description, changed.metadata) == ("posted", "e", {"l": "w"})
    assert (await treasury.ledger_transactions.retrieve(moved.id)).status == "posted"
    assert (await treasury.ledger_account_settlements.list()).items == [changed]


async def test_entries_come_to_a_draft_and_leave_it(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    made = [await transfer(treasury, books, amount) for amount in (1, 20, 300)]
    one, two, three = (each.ledger_entries[1].id for each in made)
    draft = await settle(treasury, books, status="drafting")
    assert (draft.status, draft.amount) == ("drafting", None)
    await treasury.ledger_account_settlements.account_entries.update(draft.id, ledger_entry_ids=[one, two, three])
    await treasury.ledger_account_settlements.account_entries.delete(draft.id, ledger_entry_ids=[two])
    entries = treasury.ledger_entries.list(ledger_account_settlement_id=draft.id)
    assert await listed(entries) == [three, one]
    posted = await treasury.ledger_account_settlements.update(draft.id, status="posted")
    assert (posted.status, posted.amount) == ("posted", 301)
    rest = await settle(treasury, books, status="drafting")
    with pytest.raises(UnprocessableEntityError) as taken:
        await treasury.ledger_account_settlements.account_entries.update(rest.id, ledger_entry_ids=[one])
    assert taken.value.body["errors"]["refusal"]["code"] == "entry_settled"  # type: ignore[index] # decoded JSON


async def test_an_archived_settlement_lets_its_entries_go(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    await transfer(treasury, books, 7)
    first = await settle(treasury, books)
    assert first.amount == 7
    archived = await treasury.ledger_account_settlements.update(first.id, status="archived")
    assert archived.status in {"archiving", "archived"}
    again = await settle(treasury, books)
    assert again.amount == 7


@pytest.mark.parametrize("per_page", [1, 2, 100])
async def test_settlements_are_paged_through_and_filtered(treasury: AsyncModernTreasury, per_page: int) -> None:
    books, others = await open_books(treasury), await open_books(treasury)
    await transfer(treasury, books, 10)
    first = await settle(treasury, books, metadata={"week": "1"})
    await transfer(treasury, books, 5, status="posted")
    back = books._replace(cash=books.wallet, wallet=books.cash)
    second = await settle(treasury, back, allow_either_direction=True)
    third = await settle(treasury, others, skip_settlement_ledger_transaction=True)
    filters: dict[str, Any]
    for filters, expected in (
        ({}, [third, second, first]),
        ({"id": [first.id, third.id]}, [third, first]),
        ({"ledger_id": books.ledger.id}, [second, first]),
        ({"ledger_transaction_id": first.ledger_transaction_id}, [first]),
        ({"settled_ledger_account_id": books.wallet.id}, [first]),
        ({"settlement_entry_direction": "debit"}, [first]),
        ({"metadata": {"week": "1"}}, [first]),
        ({"created_at": {"gt": first.created_at}}, [third, second]),
        ({"updated_at": {"lte": first.updated_at}}, [first]),
    ):
        found = await listed(treasury.ledger_account_settlements.list(**filters, per_page=per_page))
        assert found == [each.id for each in expected], filters

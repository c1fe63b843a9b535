"""The official client on what a hold may come to, and on fields of the documentation that its types do not have."""

from datetime import UTC, datetime, timedelta

import pytest
from modern_treasury import AsyncModernTreasury, UnprocessableEntityError

from tests.client.treasury_books import legs, listed, open_books, transfer

pytestmark = pytest.mark.anyio

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


async def test_a_hold_is_posted_in_parts_and_the_parts_are_found_by_it(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    hold = await transfer(treasury, books, 100, status="pending", effective_at=NEW_YEAR)
    first = await treasury.ledger_transactions.create_partial_post(
        hold.id,
        posted_ledger_entries=[
            {
                "ledger_account_id": books.cash.id, "direction": "debit", "amount": 30, "lock_version": 1,
                "show_resulting_ledger_account_balances": True, "metadata": {"k": "v"},
                "pending_balance_amount": {"eq": 100}, "posted_balance_amount": {"gte": 30, "lte": 30},
                "available_balance_amount": {"not_eq": 1, "gt": 29, "lt": 31},
            },
            {"ledger_account_id": books.wallet.id, "direction": "credit", "amount": 30, "amount_string": "30"},
        ],
        description="first part", effective_at=NEW_YEAR + timedelta(days=1), metadata={"part": "1"},
    )  # fmt: skip
    second = await treasury.ledger_transactions.create_partial_post(hold.id, posted_ledger_entries=legs(books, 20))
    assert (first.status, first.description, first.metadata) == ("posted", "first part", {"part": "1"})
    assert first.partially_posts_ledger_transaction_id == second.partially_posts_ledger_transaction_id == hold.id
    assert (first.effective_at, second.effective_at) == (NEW_YEAR + timedelta(days=1), NEW_YEAR)
    shown = first.ledger_entries[0].resulting_ledger_account_balances
    assert shown is not None
    assert (shown.posted_balance.amount, shown.pending_balance.amount) == (30, 100)
    rest = await treasury.ledger_transactions.retrieve(hold.id)
    assert (rest.status, [entry.amount for entry in rest.ledger_entries]) == ("pending", [50, 50])
    parts = treasury.ledger_transactions.list(partially_posts_ledger_transaction_id=hold.id)
    assert await listed(parts) == [second.id, first.id]
    with pytest.raises(UnprocessableEntityError) as all_of_it:
        await treasury.ledger_transactions.create_partial_post(hold.id, posted_ledger_entries=legs(books, 50))
    assert all_of_it.value.body["errors"]["refusal"]["code"] == "not_partially_postable"  # type: ignore[index]


async def test_the_clients_own_key_makes_a_partial_post_happen_once(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    hold = await transfer(treasury, books, 100, status="pending")
    parts = [
        await treasury.ledger_transactions.create_partial_post(
            hold.id, posted_ledger_entries=legs(books, 10), idempotency_key="part-1"
        )
        for _ in range(3)
    ]
    assert parts == parts[:1] * 3
    assert (await treasury.ledger_transactions.retrieve(hold.id)).ledger_entries[0].amount == 90


async def test_fields_that_the_types_do_not_have_are_sent_beside_them(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    refused = [{**entry, "available_balance_amount": {"lt": 0}} for entry in legs(books)]
    archived = await transfer(
        treasury, books, ledger_entries=refused, extra_body={"archive_on_balance_lock_failure": True}
    )
    assert (archived.status, archived.archived_reason) == ("archived", "balance_lock_failure")
    expires_at = datetime(2100, 1, 1, tzinfo=UTC)
    hold = await transfer(treasury, books, status="pending", extra_body={"expires_at": expires_at.isoformat()})
    assert hold.to_dict()["expires_at"] == "2100-01-01T00:00:00Z"
    freed = await treasury.ledger_transactions.update(hold.id, extra_body={"expires_at": None})
    assert freed.to_dict(exclude_none=False)["expires_at"] is None


@pytest.mark.parametrize("path", ["order-1", "order 1/2", "a%2Fb", "batch"])
async def test_a_transaction_is_read_and_changed_by_its_external_id(treasury: AsyncModernTreasury, path: str) -> None:
    books, others = await open_books(treasury), await open_books(treasury)
    made = await transfer(treasury, books, external_id=path, status="pending")
    assert (await treasury.ledger_transactions.retrieve(path)).id == made.id
    assert (await treasury.ledger_transactions.update(path, metadata={"k": "v"})).id == made.id
    other = await transfer(treasury, others, external_id=path)
    with pytest.raises(UnprocessableEntityError, match="is in use in 2 ledgers"):
        await treasury.ledger_transactions.retrieve(path)
    named = {"ledger_id": others.ledger.id}
    assert (await treasury.ledger_transactions.retrieve(path, extra_query=named)).id == other.id


async def test_a_batch_is_posted_through_the_client(treasury: AsyncModernTreasury) -> None:
    books = await open_books(treasury)
    answer = await treasury.post(
        "/api/ledger_transactions/batch",
        cast_to=object,
        body={"atomic": True, "ledger_transactions": [{"ledger_entries": legs(books, n)} for n in range(1, 4)]},
    )
    assert [result["status"] for result in answer["results"]] == ["accepted"] * 3  # type: ignore[index]

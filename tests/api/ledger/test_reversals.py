"""Reversals: a new transaction that undoes a posted one."""

import asyncio

import pytest

from tests.api.over_http import Books, Refusal, entry, refusal

pytestmark = pytest.mark.anyio


async def test_a_reversal_exchanges_the_sides_and_stands_linked_both_ways(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, effective_at="2024-01-31T10:00:00Z", metadata={"a": "b"}, external_id="e")
    answer = await books.post(f"/ledger_transactions/{made['id']}/reversal", {})
    reversal = answer.json()
    assert answer.status_code == 201
    assert reversal["status"] == "posted"
    assert reversal["effective_at"] == made["effective_at"]
    assert (reversal["external_id"], reversal["description"], reversal["metadata"]) == (None, None, {})
    assert reversal["reverses_ledger_transaction_id"] == made["id"]
    sides = [(found["ledger_account_id"], found["direction"], found["amount"]) for found in reversal["ledger_entries"]]
    assert sides == [(cash["id"], "credit", 100), (wallet["id"], "debit", 100)]
    assert await books.read(f"/ledger_transactions/{reversal['id']}") == reversal
    original = await books.read(f"/ledger_transactions/{made['id']}")
    assert original == {**made, "reversed_by_ledger_transaction_id": reversal["id"]}
    listed = await books.read(f"/ledger_transactions?reverses_ledger_transaction_id={made['id']}")
    assert listed == [reversal]


async def test_a_reversal_takes_fields_of_its_own(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    body = {
        "status": "pending", "description": "paid twice", "external_id": "r-1", "metadata": {"why": "twice"},
        "effective_at": "2025-03-01T00:00:00.123456Z", "ledgerable_type": "reversal", "ledgerable_id": "l-1",
    }  # fmt: skip
    reversal = (await books.post(f"/ledger_transactions/{made['id']}/reversal", body)).json()
    assert {name: reversal[name] for name in body} == body
    assert (await books.balances(wallet))["available"] == (100, 100, 0)
    assert (await books.balances(wallet))["posted"] == (100, 0, 100)


@pytest.mark.parametrize("status", ["pending", "archived"])
async def test_only_a_posted_transaction_can_be_reversed(books: Books, status: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet, status=status)
    before = await books.state()
    refused = await books.post(f"/ledger_transactions/{made['id']}/reversal", {})
    assert refusal(refused) == Refusal(422, "not_reversible", None)
    assert refused.json()["errors"]["refusal"]["status"] == status
    assert await books.state() == before


@pytest.mark.parametrize("status", ["pending", "posted"])
async def test_a_second_reversal_is_refused_and_names_the_first(books: Books, status: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    path = f"/ledger_transactions/{made['id']}/reversal"
    first = (await books.post(path, {"status": status})).json()
    before = await books.state()
    refused = await books.post(path, {})
    assert refusal(refused).code == "already_reversed"
    assert refused.json()["errors"]["refusal"]["reversed_by"] == first["id"]
    assert await books.state() == before


async def test_an_archived_reversal_lets_the_transaction_be_reversed_again(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    path = f"/ledger_transactions/{made['id']}/reversal"
    first = (await books.post(path, {"status": "pending"})).json()
    await books.patch(f"/ledger_transactions/{first['id']}", {"status": "archived"})
    assert (await books.read(f"/ledger_transactions/{made['id']}"))["reversed_by_ledger_transaction_id"] is None
    # One that is archived from the start does not count either.
    assert (await books.post(path, {"status": "archived"})).status_code == 201
    second = await books.post(path, {})
    assert second.status_code == 201
    original = await books.read(f"/ledger_transactions/{made['id']}")
    assert original["reversed_by_ledger_transaction_id"] == second.json()["id"]
    assert (await books.balances(wallet))["posted"] == (100, 100, 0)


async def test_of_reversals_at_once_one_is_accepted(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    path = f"/ledger_transactions/{made['id']}/reversal"
    answers = await asyncio.gather(*(books.post(path, {}) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 5
    assert (await books.balances(wallet))["posted"] == (100, 100, 0)


async def test_a_reversal_can_be_reversed(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    reversal = (await books.post(f"/ledger_transactions/{made['id']}/reversal", {})).json()
    again = await books.post(f"/ledger_transactions/{reversal['id']}/reversal", {})
    assert again.status_code == 201
    assert (await books.balances(wallet))["posted"] == (200, 100, 100)


async def test_a_reversal_needs_active_accounts(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [entry(cash, "debit", 0), entry(wallet, "credit", 0)]
    made = (await books.post("/ledger_transactions", {"status": "posted", "ledger_entries": legs})).json()
    await books.delete(f"/ledger_accounts/{wallet['id']}")
    refused = await books.post(f"/ledger_transactions/{made['id']}/reversal", {})
    assert refusal(refused).code == "account_discarded"

"""Locks on entries: what an account must be before a transaction, or its balances after it."""

import asyncio

import pytest

from tests.api.over_http import Books, Json, Refusal, entry, refusal

pytestmark = pytest.mark.anyio


async def funded(books: Books) -> tuple[Json, Json]:
    """Give a wallet 1000 posted, with 100 more and 300 less pending: pending 800, posted 1000, available 700."""
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 1000)
    await books.transfer(cash, wallet, 100, "pending")
    await books.transfer(wallet, cash, 300, "pending")
    return cash, wallet


async def spend(books: Books, cash: Json, wallet: Json, guards: Json, amount: int = 10) -> tuple[Json, bool]:
    """Post a debit of the wallet under guards, and return the answer and whether anything changed."""
    before = await books.state()
    legs = [entry(wallet, "debit", amount, **guards), entry(cash, "credit", amount)]
    answer = await books.post("/ledger_transactions", {"status": "posted", "ledger_entries": legs})
    assert answer.status_code in {201, 422}
    assert (answer.status_code == 201) == (await books.state() != before)
    return answer.json(), answer.status_code == 201


AFTER = {"pending": 790, "posted": 990, "available": 690}


@pytest.mark.parametrize("balance", AFTER)
@pytest.mark.parametrize(
    ("comparison", "below", "at", "above"),
    [
        ("gt", True, False, False), ("gte", True, True, False), ("eq", False, True, False),
        ("not_eq", True, False, True), ("lte", False, True, True), ("lt", False, False, True),
    ],
)  # fmt: skip
async def test_a_guard_compares_the_balance_after_the_write_with_its_bound(
    books: Books, balance: str, comparison: str, below: bool, at: bool, above: bool
) -> None:
    """`below`, `at` and `above` say whether a bound just there lets the write pass."""
    cash, wallet = await funded(books)
    amount = AFTER[balance]
    for bound, passes in ((amount - 1, below), (amount, at), (amount + 1, above)):
        answer, passed = await spend(books, cash, wallet, {f"{balance}_balance_amount": {comparison: bound}})
        assert passed == passes
        if passed:
            await books.transfer(cash, wallet, 10)
            continue
        told = answer["errors"]["refusal"]
        assert told["code"] == "balance_lock_failed"
        assert (told["balance"], told["amount"]) == (balance, AFTER[balance])
        assert (told["comparison"], told["bound"]) == (comparison, bound)
        assert told["ledger_account_id"] == wallet["id"]
        assert answer["errors"]["parameter"] == f"ledger_entries[0].{balance}_balance_amount"


async def test_all_guards_of_an_entry_must_hold(books: Books) -> None:
    cash, wallet = await funded(books)
    within = {"available_balance_amount": {"gte": 0, "lt": 1000}, "posted_balance_amount": {"gt": 0, "not_eq": 5}}
    assert (await spend(books, cash, wallet, within))[1]
    assert not (await spend(books, cash, wallet, {**within, "pending_balance_amount": {"gt": 0, "lt": 1}}))[1]


async def test_a_guard_counts_pending_debits(books: Books) -> None:
    cash, wallet = await funded(books)
    assert not (await spend(books, cash, wallet, {"available_balance_amount": {"gte": 0}}, 701))[1]
    assert (await spend(books, cash, wallet, {"available_balance_amount": {"gte": 0}}, 700))[1]


async def test_a_guard_sees_the_balance_after_all_entries_of_the_transaction(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [
        entry(wallet, "debit", 100, available_balance_amount={"gte": 0}),
        entry(cash, "credit", 100),
        entry(wallet, "credit", 100),
        entry(cash, "debit", 100),
    ]
    answer = await books.post("/ledger_transactions", {"status": "posted", "ledger_entries": legs})
    assert answer.status_code == 201


@pytest.mark.parametrize("bound", [10**36, -(10**36), 3 * 10**36 + 1])
async def test_a_bound_beyond_64_bits_is_exact(books: Books, bound: int) -> None:
    cash, wallet = await books.cash_and_wallet()
    for _ in range(3):
        await books.transfer(cash, wallet, 10**36)
    after = 3 * 10**36 - 10
    _, passed = await spend(books, cash, wallet, {"posted_balance_amount": {"gte": bound}})
    assert passed == (after >= bound)


@pytest.mark.parametrize(("lock_version", "passes"), [(2, False), (3, True), (4, False), (0, False)])
async def test_a_lock_version_must_be_that_of_the_account_before_the_write(
    books: Books, lock_version: int, passes: bool
) -> None:
    cash, wallet = await funded(books)
    answer, passed = await spend(books, cash, wallet, {"lock_version": lock_version})
    assert passed == passes
    if not passes:
        told = answer["errors"]["refusal"]
        assert told["code"] == "lock_version_mismatch"
        assert (told["lock_version"], told["lock_version_expected"]) == (3, lock_version)


async def test_two_writers_with_one_lock_version_do_not_both_pass(books: Books) -> None:
    cash, wallet = await funded(books)
    body = {"ledger_entries": [entry(wallet, "debit", 10, lock_version=3), entry(cash, "credit", 10)]}
    answers = await asyncio.gather(*(books.post("/ledger_transactions", body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 7
    assert await books.lock_version(wallet) == 4


async def test_writers_at_once_never_pass_a_guard_together(books: Books) -> None:
    cash, wallet = await funded(books)
    legs = [entry(wallet, "debit", 200, available_balance_amount={"gte": 0}), entry(cash, "credit", 200)]
    body = {"status": "posted", "ledger_entries": legs}
    answers = await asyncio.gather(*(books.post("/ledger_transactions", body) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [422] * 7
    assert (await books.balances(wallet))["available"] == (1000, 900, 100)


async def test_a_refused_write_does_not_touch_those_that_are_posted_beside_it(books: Books) -> None:
    cash, wallet = await funded(books)
    good = {"ledger_entries": [entry(wallet, "debit", 1), entry(cash, "credit", 1)]}
    bad = {"ledger_entries": [entry(wallet, "debit", 1, posted_balance_amount={"lt": 0}), entry(cash, "credit", 1)]}
    answers = await asyncio.gather(*(books.post("/ledger_transactions", body) for body in (good, bad, good, bad, good)))
    assert [answer.status_code for answer in answers] == [201, 422, 201, 422, 201]
    listed = await books.read(f"/ledger_transactions?ledger_account_id={wallet['id']}")
    assert len(listed) == 6


async def test_a_guard_holds_for_a_change_and_for_posting_what_was_pending(books: Books) -> None:
    cash, wallet = await funded(books)
    held = await books.transfer(wallet, cash, 50, "pending")
    guarded = [entry(wallet, "debit", 900, available_balance_amount={"gte": 0}), entry(cash, "credit", 900)]
    before = await books.state()
    path = f"/ledger_transactions/{held['id']}"
    refused = await books.patch(path, {"ledger_entries": guarded})
    where = "ledger_entries[0].available_balance_amount"
    assert refusal(refused) == Refusal(422, "balance_lock_failed", where)
    assert await books.state() == before
    # The 50 that the change takes back are the wallet's again: 650 + 50 are there to spend.
    within = [entry(wallet, "debit", 700, available_balance_amount={"eq": 0}), entry(cash, "credit", 700)]
    assert (await books.patch(path, {"ledger_entries": within, "status": "posted"})).status_code == 200


@pytest.mark.parametrize("null", ["lock_version", "posted_balance_amount", "show_resulting_ledger_account_balances"])
async def test_a_lock_of_null_asks_nothing(books: Books, null: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    assert (await spend(books, cash, wallet, {null: None}))[1]

"""The three balances over HTTP, as the table of accounting/ledger/balances.py has them."""

import pytest

from tests.api.over_http import Books, Json, entry, pair

pytestmark = pytest.mark.anyio

LARGEST = 10**36


async def fill(books: Books, account: Json, contra: Json) -> None:
    """Credit 1000 and debit 300 as posted, credit 50 and debit 20 as pending, and archive 7."""
    for direction, amount, status in (
        ("credit", 1000, "posted"), ("debit", 300, "posted"),
        ("credit", 50, "pending"), ("debit", 20, "pending"),
        ("credit", 7, "archived"),
    ):  # fmt: skip
        sides = (contra, account) if direction == "credit" else (account, contra)
        await books.transfer(*sides, amount, status)


@pytest.mark.parametrize(
    ("normal_balance", "pending", "posted", "available"),
    [
        ("credit", (1050, 320, 730), (1000, 300, 700), (1000, 320, 680)),
        ("debit", (1050, 320, -730), (1000, 300, -700), (1050, 300, -750)),
    ],
)
async def test_each_balance_takes_its_credits_debits_and_sign(
    books: Books, normal_balance: str, pending: object, posted: object, available: object
) -> None:
    ledger = await books.ledger()
    account, contra = await books.account(ledger, normal_balance), await books.account(ledger)
    await fill(books, account, contra)
    assert await books.balances(account) == {"pending": pending, "posted": posted, "available": available}


async def test_a_new_account_is_at_zero_in_its_unit(books: Books) -> None:
    account = await books.account(await books.ledger(), currency="POINTS", currency_exponent=0)
    balance = account["balances"]["posted_balance"]
    assert (balance["currency"], balance["currency_exponent"], balance["amount"]) == ("POINTS", 0, 0)
    assert account["lock_version"] == 0
    assert await books.balances(account) == {"pending": (0, 0, 0), "posted": (0, 0, 0), "available": (0, 0, 0)}


async def test_posting_moves_an_amount_from_pending_to_posted(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    held = await books.transfer(cash, wallet, 100, "pending")
    assert await books.balances(wallet) == {"pending": (100, 0, 100), "posted": (0, 0, 0), "available": (0, 0, 0)}
    await books.patch(f"/ledger_transactions/{held['id']}", {"status": "posted"})
    whole = (100, 0, 100)
    assert await books.balances(wallet) == {"pending": whole, "posted": whole, "available": whole}


async def test_archiving_takes_an_amount_out_of_every_balance(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    held = await books.transfer(wallet, cash, 100, "pending")
    assert (await books.balances(wallet))["available"] == (0, 100, -100)
    await books.patch(f"/ledger_transactions/{held['id']}", {"status": "archived"})
    assert await books.balances(wallet) == {"pending": (0, 0, 0), "posted": (0, 0, 0), "available": (0, 0, 0)}


async def test_a_reversal_restores_every_amount(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 500)
    posted = await books.transfer(wallet, cash, 200)
    reversal = await books.post(f"/ledger_transactions/{posted['id']}/reversal", {})
    assert reversal.status_code == 201
    whole = (700, 200, 500)
    assert await books.balances(wallet) == {"pending": whole, "posted": whole, "available": whole}


@pytest.mark.parametrize("amount", [0, 1, 2**53 + 1, 2**63, 2**64 + 1, LARGEST - 1, LARGEST])
@pytest.mark.parametrize("written", ["amount", "amount_string", "both"])
async def test_an_amount_to_the_largest_comes_back_to_the_last_digit(books: Books, amount: int, written: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = [
        {
            "ledger_account_id": account["id"],
            "direction": direction,
            **({"amount": amount} if written != "amount_string" else {}),
            **({"amount_string": str(amount)} if written != "amount" else {}),
        }
        for account, direction in ((cash, "debit"), (wallet, "credit"))
    ]
    made = (await books.post("/ledger_transactions", {"status": "posted", "ledger_entries": legs})).json()
    listed = await books.read(f"/ledger_entries?amount[eq]={amount}&ledger_transaction_id={made['id']}")
    read = await books.read(f"/ledger_transactions/{made['id']}")
    for found in (*made["ledger_entries"], *read["ledger_entries"], *listed):
        assert type(found["amount"]) is int
        assert (found["amount"], found["amount_string"]) == (amount, str(amount))
    assert len(listed) == 2
    assert (await books.balances(wallet))["posted"] == (amount, 0, amount)


async def test_sums_pass_the_largest_amount_without_losing_a_digit(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    legs = pair(cash, wallet, LARGEST) * 10 + pair(cash, wallet, 3)
    for status in ("posted", "pending"):
        assert (await books.post("/ledger_transactions", {"status": status, "ledger_entries": legs})).status_code == 201
    sum_ = 10 * LARGEST + 3
    assert await books.balances(wallet) == {
        "pending": (2 * sum_, 0, 2 * sum_),
        "posted": (sum_, 0, sum_),
        "available": (sum_, 0, sum_),
    }
    assert (await books.balances(cash))["available"] == (0, sum_, sum_)
    found = await books.read(f"/ledger_transactions?amount[eq]={sum_}&ledger_account_id={wallet['id']}")
    assert len(found) == 2
    assert await books.read(f"/ledger_transactions?amount[gt]={sum_}&ledger_account_id={wallet['id']}") == []


async def test_each_currency_of_a_transaction_balances_by_itself(books: Books) -> None:
    ledger = await books.ledger()
    pesos = [await books.account(ledger), await books.account(ledger)]
    points = [await books.account(ledger, currency="POINTS", currency_exponent=0) for _ in range(2)]
    legs = [*pair(pesos[0], pesos[1], 700), *pair(points[0], points[1], 3)]
    made = await books.post("/ledger_transactions", {"ledger_entries": legs})
    assert made.status_code == 201
    assert [found["ledger_account_currency"] for found in made.json()["ledger_entries"]] == ["PHP"] * 2 + ["POINTS"] * 2

    crossed = [entry(pesos[0], "debit", 3), entry(points[0], "credit", 3)]
    refused = await books.post("/ledger_transactions", {"ledger_entries": crossed})
    assert refused.json()["errors"]["refusal"] == {
        "code": "unbalanced", "retryable": False, "currency": "PHP", "currency_exponent": 2, "debits": 3, "credits": 0,
    }  # fmt: skip


async def test_the_resulting_balances_are_shown_to_the_write_that_asks_and_to_reads_that_ask(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet, 30, "pending")
    legs = [
        entry(cash, "debit", 100),
        entry(wallet, "credit", 60, show_resulting_ledger_account_balances=True),
        entry(wallet, "credit", 40, show_resulting_ledger_account_balances=True),
    ]
    made = (await books.post("/ledger_transactions", {"status": "posted", "ledger_entries": legs})).json()
    shown = [found["resulting_ledger_account_balances"] for found in made["ledger_entries"]]
    assert shown[0] is None
    assert [balances["posted_balance"]["amount"] for balances in shown[1:]] == [60, 100]
    assert [balances["pending_balance"]["amount"] for balances in shown[1:]] == [90, 130]

    read = await books.read(f"/ledger_transactions/{made['id']}")
    assert [found["resulting_ledger_account_balances"] for found in read["ledger_entries"]] == [None] * 3
    path = f"/ledger_entries/{made['ledger_entries'][2]['id']}"
    assert (await books.read(path))["resulting_ledger_account_balances"] is None
    assert (await books.read(f"{path}?show_balances=true"))["resulting_ledger_account_balances"] == shown[2]
    listed = await books.read(f"/ledger_entries?show_balances=true&ledger_transaction_id={made['id']}")
    assert [found["resulting_ledger_account_balances"] for found in reversed(listed)][1:] == shown[1:]


async def test_the_lock_version_grows_by_one_with_each_entry_and_names_it(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    made = await books.transfer(cash, wallet)
    assert [found["ledger_account_lock_version"] for found in made["ledger_entries"]] == [1, 1]
    legs = [entry(cash, "debit", 2), entry(wallet, "credit", 1), entry(wallet, "credit", 1)]
    made = (await books.post("/ledger_transactions", {"ledger_entries": legs})).json()
    assert [found["ledger_account_lock_version"] for found in made["ledger_entries"]] == [2, 2, 3]
    archived = await books.transfer(cash, wallet, status="archived")
    assert [found["ledger_account_lock_version"] for found in archived["ledger_entries"]] == [None, None]
    assert await books.lock_version(wallet) == 3

"""Settlements over HTTP."""
import pytest
from over_http import Books

pytestmark = pytest.mark.anyio


async def test_smoke(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    a = await books.transfer(cash, wallet, 100)
    b = await books.transfer(wallet, cash, 30)
    r = await books.post("/ledger_account_settlements", {"settled_ledger_account_id": wallet["id"], "contra_ledger_account_id": cash["id"]})
    print(r.status_code, r.text)
    s = r.json()
    print((await books.get("/ledger_entries?ledger_account_settlement_id=" + s["id"])).text)
    print((await books.get("/ledger_transactions?ledger_account_settlement_id=" + s["id"])).json())
    r = await books.patch("/ledger_account_settlements/" + s["id"], {"status": "archived"})
    print(r.status_code, r.text)
    assert 0

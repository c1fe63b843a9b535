"""The service as a whole, over HTTP in process."""

import httpx2
import pytest

pytestmark = pytest.mark.anyio


async def test_a_first_transaction_is_posted_and_read_back(client: httpx2.AsyncClient) -> None:
    ledger = (await client.post("/api/ledgers", json={"name": "books"})).json()
    accounts = [
        (
            await client.post(
                "/api/ledger_accounts",
                json={"name": name, "ledger_id": ledger["id"], "currency": "PHP", "normal_balance": side},
            )
        ).json()
        for name, side in (("cash", "debit"), ("wallet", "credit"))
    ]
    posted = await client.post(
        "/api/ledger_transactions",
        json={
            "status": "posted",
            "ledger_entries": [
                {"ledger_account_id": accounts[0]["id"], "direction": "debit", "amount": 100_000},
                {"ledger_account_id": accounts[1]["id"], "direction": "credit", "amount": 100_000},
            ],
        },
    )
    read = await client.get(f"/v1/ledger_transactions/{posted.json()['id']}")
    wallet = (await client.get(f"/api/ledger_accounts/{accounts[1]['id']}")).json()

    assert posted.status_code == 201
    assert posted.json() == read.json()
    assert wallet["balances"]["available_balance"]["amount"] == 100_000
    assert wallet["lock_version"] == 1

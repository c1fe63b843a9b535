"""The service as a whole, over HTTP in process."""

from datetime import UTC, datetime

import httpx2
import pytest

from doppia.api.app import create_app
from doppia.api.http.auth import Authenticator
from doppia.api.http.request import Service
from doppia.engine.performing import Engine
from doppia.store.database.connections import Database

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


@pytest.mark.parametrize("path", ["/readyz", "/api/ledgers"])
async def test_a_fault_of_the_service_is_answered_in_the_same_form_with_and_without_a_key(path: str) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    database = Database("postgresql://nobody@127.0.0.1:1/nothing")  # to use it without opening it is a fault of ours
    service = Service(Engine(database, now), Authenticator(database), [])
    transport = httpx2.ASGITransport(app=create_app(service))
    async with httpx2.AsyncClient(transport=transport, base_url="http://doppia.test") as client:
        answer = await client.get(path, headers={"Authorization": "Bearer key"})

    assert answer.status_code == 500
    assert answer.json()["errors"]["refusal"] == {"code": "internal_error", "retryable": False}

"""A bulk request outlives the death of the service and of its database, and does nothing twice: on real processes."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from doppia.store.embedded.server import running_url
from tests.reliability.running import PATIENCE_SECONDS, served
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

ITEMS = 3_000


async def progress(client: httpx2.AsyncClient, request_id: str) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get(f"/api/bulk_requests/{request_id}")).json()
    return told


async def begin(client: httpx2.AsyncClient) -> tuple[str, str]:
    """Send a bulk request of many transactions; return its id and that of the account they credit."""
    ledger = (await client.post("/api/ledgers", json={"name": "books"})).json()["id"]
    accounts = []
    for side in ("debit", "credit"):
        body = {"name": side, "ledger_id": ledger, "currency": "PHP", "normal_balance": side}
        accounts.append((await client.post("/api/ledger_accounts", json=body)).json()["id"])
    legs = [
        {"ledger_account_id": account, "direction": side, "amount": 1}
        for account, side in zip(accounts, ("debit", "credit"), strict=True)
    ]
    sent = await client.post(
        "/api/bulk_requests",
        json={
            "action_type": "create",
            "resource_type": "ledger_transaction",
            "resources": [{"status": "posted", "ledger_entries": legs}] * ITEMS,
        },
    )
    assert sent.status_code == 201
    return sent.json()["id"], accounts[1]


async def reaches(client: httpx2.AsyncClient, request_id: str, count: int) -> None:
    """Wait until so many items are told."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await progress(client, request_id))["success_result_count"] < count:
            await asyncio.sleep(0.02)


async def test_a_bulk_request_goes_on_after_the_service_and_its_database_were_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with served(data) as service, service.client() as client:
        request_id, wallet = await begin(client)
        await reaches(client, request_id, 100)
        service.process.kill()
    async with served(data) as service, service.client() as client:
        await reaches(client, request_id, 200)
        postmaster = int((data / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)
        service.process.kill()
    async with served(data) as service, service.client() as client:
        await reaches(client, request_id, ITEMS)
        told = await progress(client, request_id)
        assert (told["status"], told["failed_result_count"]) == ("completed", 0)
        balances = (await client.get(f"/api/ledger_accounts/{wallet}")).json()
        assert balances["lock_version"] == ITEMS
        assert balances["balances"]["posted_balance"]["credits"] == ITEMS
        url = running_url(data)
        assert url is not None
        await assert_invariants(url)

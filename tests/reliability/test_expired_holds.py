"""A hold that nobody resolves is archived within five seconds after its time, by a real service, also after a death."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from doppia.store.embedded.server import running_url
from doppia.store.embedded.user import until
from tests.reliability.running import PATIENCE_SECONDS, Service, served
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
LATE_SECONDS_MAX = 5


async def hold(client: httpx2.AsyncClient, accounts: list[Json], expires_at: datetime) -> Json:
    entries = [
        {"ledger_account_id": account["id"], "direction": direction, "amount": 7}
        for account, direction in zip(accounts, ("debit", "credit"), strict=True)
    ]
    body = {"status": "pending", "ledger_entries": entries, "expires_at": expires_at.isoformat()}
    answer = await client.post("/api/ledger_transactions", json=body)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


async def open_accounts(client: httpx2.AsyncClient) -> list[Json]:
    ledger = (await client.post("/api/ledgers", json={"name": "books"})).json()["id"]
    body = {"ledger_id": ledger, "currency": "PHP", "normal_balance": "credit"}
    return [(await client.post("/api/ledger_accounts", json={**body, "name": name})).json() for name in ("a", "b")]


async def archived(client: httpx2.AsyncClient, held: Json) -> Json:
    """Ask until the hold is archived, and return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found: Json = (await client.get(f"/api/ledger_transactions/{held['id']}")).json()
        if found["status"] != "pending":
            return found
        assert time.monotonic() < deadline, "nobody archived the hold"
        await asyncio.sleep(0.05)


def seconds_late(found: Json) -> float:
    return (datetime.fromisoformat(found["updated_at"]) - datetime.fromisoformat(found["expires_at"])).total_seconds()


async def assert_sound(service: Service) -> None:
    url = running_url(service.data)
    assert url is not None
    await assert_invariants(url)


async def test_a_hold_is_archived_soon_after_its_time(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as service, service.client() as client:
        accounts = await open_accounts(client)
        expires_at = datetime.now(UTC) + timedelta(seconds=3)
        held = await hold(client, accounts, expires_at)
        lasting = await hold(client, accounts, expires_at + timedelta(days=1))
        found = await archived(client, held)
        assert (found["status"], found["archived_reason"]) == ("archived", "expired")
        assert 0 <= seconds_late(found) < LATE_SECONDS_MAX
        assert (await client.get(f"/api/ledger_transactions/{lasting['id']}")).json() == lasting
        balances = (await client.get(f"/api/ledger_accounts/{accounts[1]['id']}")).json()["balances"]
        assert balances["pending_balance"]["amount"] == 7
        await assert_sound(service)


async def test_a_hold_whose_time_passed_while_no_service_ran_is_archived_once_one_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with served(data) as service, service.client() as client:
        accounts = await open_accounts(client)
        expires_at = datetime.now(UTC) + timedelta(seconds=3)
        held = [await hold(client, accounts, expires_at) for _ in range(20)]
        service.process.kill()
    assert await until(lambda: datetime.now(UTC) > expires_at, seconds=PATIENCE_SECONDS)
    async with served(data) as service, service.client() as client:
        serving = datetime.now(UTC)
        for each in held:
            found = await archived(client, each)
            assert (found["status"], found["archived_reason"]) == ("archived", "expired")
            late = datetime.fromisoformat(found["updated_at"]) - serving
            assert late < timedelta(seconds=LATE_SECONDS_MAX)
        await assert_sound(service)

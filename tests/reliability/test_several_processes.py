"""Several processes on one ledger: what they acknowledge together is as if there were one."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from doppia.store.embedded.server import service_url
from tests.reliability.running import Service, served
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

PROCESSES = 4
CALLERS = 24
SECONDS = 8
FUNDS = 500
ACCEPTED = {200, 201}


class Books:
    """One ledger, written through all processes at once, and what they answered.

    Attributes:
        clients: one for each process.
        answers: status and body of the first answer by idempotency key.
    """

    def __init__(self, clients: Sequence[httpx2.AsyncClient]) -> None:
        self.clients = clients
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.accounts: list[str] = []
        self.spent = 0
        self.batches = 0
        self.ended: Counter[str] = Counter()

    async def begin(self) -> None:
        ledger = (await self.clients[0].post("/api/ledgers", json={"name": "books"})).json()["id"]
        for number in range(6):
            body = {"name": f"{number}", "ledger_id": ledger, "currency": "PHP", "normal_balance": "credit"}
            self.accounts.append((await self.clients[1].post("/api/ledger_accounts", json=body)).json()["id"])

    def move(self, debit: int, credit: int, amount: int, **fields: Any) -> dict[str, Any]:
        """Return the body of a transaction; fields that begin with a guard's name go to the debit."""
        guard = {"available_balance_amount": {"gte": 0}} if fields.pop("guarded", False) else {}
        entries = [
            {"ledger_account_id": self.accounts[debit], "direction": "debit", "amount": amount, **guard},
            {"ledger_account_id": self.accounts[credit], "direction": "credit", "amount": amount},
        ]
        return {"status": "posted", "ledger_entries": entries, **fields}

    async def send(self, key: str, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Send a request through two processes at once under one key, and return its one answer.

        The two have the same effect together as one alone: an answer other than the first is a fault.
        """
        first, second = random.sample(self.clients, 2)
        both = [first, second] if random.random() < 0.3 else [first]
        headers = {"Idempotency-Key": key}
        told = await asyncio.gather(*(each.request(method, path, json=body, headers=headers) for each in both))
        for answer in told:
            if answer.status_code in ACCEPTED:
                known = self.answers.setdefault(key, (answer.status_code, answer.content))
                assert known == (answer.status_code, answer.content)
        assert {answer.status_code for answer in told} <= {*ACCEPTED, 422}
        assert len({answer.status_code for answer in told}) == 1, "both or neither"
        return told[0].status_code, told[0].json()

    async def call(self, caller: int, until: float) -> None:
        """Write this and that until a time."""
        number = 0
        chance = random.Random(caller)
        while asyncio.get_running_loop().time() < until:
            number += 1
            key = f"{caller}-{number}"
            await chance.choice([self.create, self.hold, self.reverse, self.spend, self.batch])(key)

    async def create(self, key: str) -> None:
        status, _ = await self.send(key, "POST", "/api/ledger_transactions", self.move(0, 1, 1, external_id=key))
        assert status == 201

    async def hold(self, key: str) -> None:
        _, held = await self.send(key, "POST", "/api/ledger_transactions", self.move(0, 2, 3, status="pending"))
        # Two callers resolve it through whichever process: one of them does.
        path = f"/api/ledger_transactions/{held['id']}"
        told = await asyncio.gather(
            self.send(f"{key}-post", "PATCH", path, {"status": "posted"}),
            self.send(f"{key}-archive", "PATCH", path, {"status": "archived"}),
        )
        assert sorted(status for status, _ in told) == [200, 422]
        self.ended[next(body["status"] for status, body in told if status == 200)] += 1

    async def reverse(self, key: str) -> None:
        _, created = await self.send(key, "POST", "/api/ledger_transactions", self.move(0, 3, 2))
        path = f"/api/ledger_transactions/{created['id']}/reversal"
        told = await asyncio.gather(*(self.send(f"{key}-{which}", "POST", path, {}) for which in "ab"))
        assert sorted(status for status, _ in told) == [201, 422]

    async def spend(self, key: str) -> None:
        status, _ = await self.send(key, "POST", "/api/ledger_transactions", self.move(4, 5, 7, guarded=True))
        self.spent += status == 201

    async def batch(self, key: str) -> None:
        items = [self.move(0, 1, 1, external_id=f"{key}-{item}") for item in range(3)]
        is_refused = random.random() < 0.3
        if is_refused:
            items.append(self.move(4, 5, FUNDS + 1, guarded=True))
        body = {"ledger_transactions": items, "atomic": True}
        status, _ = await self.send(key, "POST", "/api/ledger_transactions/batch", body)
        assert status == (422 if is_refused else 200)
        self.batches += status == 200

    async def credits(self, account: int) -> int:
        found = await self.clients[0].get(f"/api/ledger_accounts/{self.accounts[account]}")
        return int(found.json()["balances"]["posted_balance"]["credits"])

    async def assert_kept(self) -> None:
        """Assert that all that was acknowledged is there once, seen through every process."""
        created = [json.loads(body) for status, body in self.answers.values() if status == 201]
        for position, transaction in enumerate(created):
            client = self.clients[position % PROCESSES]
            stored = (await client.get(f"/api/ledger_transactions/{transaction['id']}")).json()
            assert stored["id"] == transaction["id"]
            if transaction["status"] == "posted":
                assert stored["ledger_entries"] == transaction["ledger_entries"]
        singles = sum(1 for one in created if one["external_id"])
        assert await self.credits(1) == singles + 3 * self.batches
        assert await self.credits(2) == 3 * self.ended["posted"]
        assert await self.credits(5) == 7 * self.spent
        assert self.spent == FUNDS // 7


async def test_what_four_processes_acknowledge_on_one_ledger_is_there_once(tmp_path: Path, database_url: str) -> None:
    url = service_url(database_url)
    async with AsyncExitStack() as running:
        first = await running.enter_async_context(served(tmp_path / "data0", "--database-url", url))
        services: list[Service] = [first]
        for number in range(1, PROCESSES):
            services.append(
                await running.enter_async_context(served(tmp_path / f"data{number}", "--database-url", url))
            )
        known = first.credentials()
        clients = [
            await running.enter_async_context(
                httpx2.AsyncClient(
                    base_url=each.base_url, auth=(known["organization_id"], known["api_key"]), timeout=60
                )
            )
            for each in services
        ]
        books = Books(clients)
        await books.begin()
        await books.send("funds", "POST", "/api/ledger_transactions", books.move(0, 4, FUNDS))
        until = asyncio.get_running_loop().time() + SECONDS
        await asyncio.gather(*(books.call(caller, until) for caller in range(CALLERS)))
        while books.spent < FUNDS // 7:
            await books.spend(f"last-{books.spent}")
        await books.assert_kept()
        await assert_invariants(database_url)

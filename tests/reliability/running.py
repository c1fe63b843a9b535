"""The service as its own process, and callers who remember what it acknowledged."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from doppia.store.embedded.user import until

DOPPIA = Path(sys.prefix, "bin", "doppia")
# A user whom every machine has, so that these tests create none.
SERVER_USER = "nobody" if os.geteuid() == 0 else ""
PATIENCE_SECONDS = 60
CALLERS = 16


def environment() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DOPPIA_")}
    return ours | {"DOPPIA_DATABASE_USER": SERVER_USER, "DOPPIA_PORT": "0"}


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the program to its end."""
    return subprocess.run(
        [DOPPIA, *words], env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


@dataclass
class Service:
    """`doppia serve`, as it was started on `data`."""

    process: subprocess.Popen[str]
    data: Path
    log: Path
    base_url: str = ""

    def events(self) -> list[dict[str, Any]]:
        """Return what it has logged, complete lines only."""
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("}\n")]

    def credentials(self) -> dict[str, str]:
        read: dict[str, str] = json.loads((self.data / "credentials.json").read_text())
        return read

    def client(self, api_key: str | None = None) -> httpx2.AsyncClient:
        known = self.credentials()
        auth = (known["organization_id"], api_key or known["api_key"])
        return httpx2.AsyncClient(base_url=self.base_url, auth=auth, timeout=PATIENCE_SECONDS)

    async def ends(self) -> int:
        """Wait until the process has ended, and return its status."""
        assert await until(lambda: self.process.poll() is not None, seconds=PATIENCE_SECONDS)
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def served(data: Path, *flags: str) -> AsyncIterator[Service]:
    """Start the service and wait until it serves; at the end it is stopped, if it still runs."""
    log = data.with_name(f"{data.name}.stderr")
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [DOPPIA, "serve", "--data", data, *flags],
            env=environment(), stdout=subprocess.PIPE, stderr=stderr, text=True,
        ) as process,
    ):  # fmt: skip
        service = Service(process, data, log)
        try:

            def serving() -> bool:
                assert process.poll() is None, log.read_text()
                return any(event["event"] == "serving" for event in service.events())

            assert await until(serving, seconds=PATIENCE_SECONDS)
            service.base_url = next(event["base_url"] for event in service.events() if event["event"] == "serving")
            yield service
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_SECONDS)
            process.kill()


@dataclass
class Load:
    """Callers that post one unit from one account to another, each with a key of its own, one after the other.

    Attributes:
        accounts: ids of the debited and the credited one.
        acknowledged: the answer's body by idempotency key.
        open: keys that were sent and have no answer yet.
        refusals: status and headers of answers that were no success.
    """

    accounts: tuple[str, str]
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    refusals: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    faults: list[httpx2.TransportError] = field(default_factory=list)
    stopping: bool = False

    @classmethod
    async def begin(cls, client: httpx2.AsyncClient) -> "Load":
        ledger = (await client.post("/api/ledgers", json={"name": "books"})).json()["id"]
        ids = []
        for name in ("cash", "wallet"):
            body = {"name": name, "ledger_id": ledger, "currency": "PHP", "normal_balance": "credit"}
            ids.append((await client.post("/api/ledger_accounts", json=body)).json()["id"])
        return cls((ids[0], ids[1]))

    async def post(self, client: httpx2.AsyncClient, key: str) -> httpx2.Response:
        """Send the transaction of this key, and note what came back."""
        self.open.add(key)
        entries = [
            {"ledger_account_id": account, "direction": direction, "amount": 1}
            for account, direction in zip(self.accounts, ("debit", "credit"), strict=True)
        ]
        answer = await client.post(
            "/api/ledger_transactions",
            json={"status": "posted", "external_id": key, "ledger_entries": entries},
            headers={"Idempotency-Key": key},
        )
        if answer.status_code == 201:
            assert self.acknowledged.setdefault(key, answer.content) == answer.content
            self.open.discard(key)
        else:
            self.refusals.append((answer.status_code, answer.headers))
        return answer

    @asynccontextmanager
    async def on(self, client: httpx2.AsyncClient) -> AsyncIterator[None]:
        """Keep the callers calling. One that is told to come back does so with the same key; one cut off gives up."""
        self.stopping = False
        callers = [asyncio.create_task(self._call(client, f"{id(client)}-{caller}")) for caller in range(CALLERS)]
        try:
            yield
        finally:
            self.stopping = True
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*callers)

    async def _call(self, client: httpx2.AsyncClient, caller: str) -> None:
        number = 0
        while not self.stopping:
            number += 1
            try:
                while (await self.post(client, f"{caller}-{number}")).status_code == 503:
                    await asyncio.sleep(0.05)
            except httpx2.TransportError as fault:
                self.faults.append(fault)
                return

    async def reaches(self, more: int) -> None:
        """Wait until so many more transactions are acknowledged."""
        wanted = len(self.acknowledged) + more
        assert await until(lambda: len(self.acknowledged) >= wanted, seconds=PATIENCE_SECONDS), self.refusals[-3:]

    async def is_refused(self) -> None:
        """Wait until one more answer is no success."""
        seen = len(self.refusals)
        assert await until(lambda: len(self.refusals) > seen, seconds=PATIENCE_SECONDS)

    async def assert_kept(self, client: httpx2.AsyncClient) -> None:
        """Assert that what was acknowledged is there, and that a repeated key has one effect, whatever became of it."""
        for key in list(self.open):
            await self.post(client, key)
        assert not self.open
        for key, body in self.acknowledged.items():
            stored = await client.get("/api/ledger_transactions", params={"external_id": key})
            assert [json.loads(body)] == stored.json()
        for key in list(self.acknowledged)[:50]:
            await self.post(client, key)
        for account, side in zip(self.accounts, ("debits", "credits"), strict=True):
            balances = (await client.get(f"/api/ledger_accounts/{account}")).json()["balances"]
            assert balances["posted_balance"][side] == len(self.acknowledged)

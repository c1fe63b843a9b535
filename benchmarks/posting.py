"""Posting over HTTP, one request each, next to bare COPY into the same tables, in one run on one machine.

Starts a service of its own on a fresh data folder, durable as always, and needs `wrk`, which it installs with
`apt-get` where it may. Prints one JSON line per measurement.
"""

import argparse
import asyncio
import base64
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from doppia.store.embedded import running_url

HERE = Path(__file__).parent
ACCOUNTS = 2_000
CONNECTIONS = 64


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    arguments = parser.parse_args()
    ensure_wrk()
    with tempfile.TemporaryDirectory(prefix="doppia-bench-") as folder:
        data = Path(folder)
        data.chmod(0o755)
        began = time.monotonic()
        server, credentials = start(data)
        try:
            asyncio.run(post_once(credentials, asyncio.run(open_accounts(credentials, 2))))
            report("first start to first posted transaction", seconds=round(time.monotonic() - began, 2))
            stop(server)
            began = time.monotonic()
            server, _ = start(data)
            report("restart to answering", seconds=round(time.monotonic() - began, 2))
            report("memory of the idle server", megabytes=memory_megabytes(server.pid))
            accounts = asyncio.run(open_accounts(credentials, ACCOUNTS))
            load(data, credentials, accounts, "spread", 3)
            url = running_url(data)
            assert url is not None
            spread = load(data, credentials, accounts, "spread", arguments.seconds)
            hot = load(data, credentials, accounts, "hot", arguments.seconds)
            copied = asyncio.run(copy_rate(url))
            report("posting, accounts at random", **spread, copy_ratio=round(spread["per_second"] / copied, 3))
            report("posting, one hot account", **hot, spread_ratio=round(hot["per_second"] / spread["per_second"], 3))
            report("bare COPY into the same tables", per_second=round(copied))
            report("bytes per transaction", **asyncio.run(bytes_per_transaction(url)))
            report("memory of the server after the load", megabytes=memory_megabytes(server.pid))
        finally:
            stop(server)


def ensure_wrk() -> None:
    """Install wrk where it is missing and apt-get is there."""
    if shutil.which("wrk") is None:
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], check=True, stdout=subprocess.DEVNULL)


def report(name: str, **figures: Any) -> None:
    """Print one measurement as a JSON line."""
    print(json.dumps({"measurement": name, **figures}), flush=True)


def start(data: Path) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """Start the service; return it with its credentials once it answers."""
    program = Path(sys.prefix) / "bin" / "doppia"
    command: list[str | Path] = [program, "serve", "--data", data, "--port", "8499"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            credentials: dict[str, str] = json.loads((data / "credentials.json").read_text())
            httpx2.get(credentials["base_url"] + "/readyz").raise_for_status()
        except (OSError, ValueError, httpx2.HTTPError):
            assert server.poll() is None, "the service did not start"
            time.sleep(0.01)
        else:
            return server, credentials


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the service as an operator would."""
    server.send_signal(signal.SIGTERM)
    server.wait(30)


def connect(credentials: dict[str, str]) -> httpx2.AsyncClient:
    """Return a client of the service."""
    return httpx2.AsyncClient(
        base_url=credentials["base_url"], auth=(credentials["organization_id"], credentials["api_key"]), timeout=60
    )


async def open_accounts(credentials: dict[str, str], count: int) -> list[str]:
    """Open accounts in a ledger of their own."""
    async with connect(credentials) as client:
        ledger = (await client.post("/api/ledgers", json={"name": "benchmark"})).json()

        async def open_one(number: int) -> str:
            body = {"name": f"a{number}", "ledger_id": ledger["id"], "currency": "USD", "normal_balance": "credit"}
            answer = await client.post("/api/ledger_accounts", json=body)
            answer.raise_for_status()
            return str(answer.json()["id"])

        ids: list[str] = []
        for first in range(0, count, 32):
            ids += await asyncio.gather(*(open_one(number) for number in range(first, min(first + 32, count))))
    return ids


async def post_once(credentials: dict[str, str], accounts: list[str]) -> None:
    """Post one transaction."""
    async with connect(credentials) as client:
        entries = [
            {"ledger_account_id": account, "direction": side, "amount": 1}
            for account, side in zip(accounts, ("debit", "credit"), strict=True)
        ]
        answer = await client.post("/api/ledger_transactions", json={"status": "posted", "ledger_entries": entries})
        answer.raise_for_status()


def load(
    data: Path,
    credentials: dict[str, str],
    accounts: list[str],
    mode: str,
    seconds: int,
    connections: int = CONNECTIONS,
) -> dict[str, Any]:
    """Run wrk, and return the rate and the latencies it saw."""
    list_ = data / "accounts.txt"
    list_.write_text("\n".join(accounts))
    pair = f"{credentials['organization_id']}:{credentials['api_key']}"
    authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    output = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", HERE / "posting.lua", credentials["base_url"], "--",
         list_, mode, authorization],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    line = next(line for line in output.splitlines() if line.startswith("RESULT"))
    requests, microseconds, errors, p50, p99, longest = line.split()[1:]
    assert int(errors) == 0, output
    return {
        "per_second": round(int(requests) / int(microseconds) * 1e6),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "max_ms": float(longest),
    }


async def copy_rate(url: str, transactions: int = 40_000) -> float:
    """Return how many two-entry transactions a second bare COPY writes into tables and indexes of the same form."""
    connection = await asyncpg.connect(url, server_settings={"search_path": "bench,doppia"})
    await connection.execute("create schema bench")
    for table in ("log", "transactions", "entries", "idempotency_keys"):
        await connection.execute(f"create table bench.{table} (like doppia.{table} including all)")
    at = datetime.now(UTC)
    numbers = list(range(1, transactions + 1))
    began = time.monotonic()
    for first in range(0, transactions, 1000):
        part = numbers[first : first + 1000]
        async with connection.transaction():
            for table, rows in (
                ("log", [(1, n, n, at, 3, 1, random.randbytes(80)) for n in part]),
                ("transactions", [transaction_row(n, at) for n in part]),
                ("entries", [row for n in part for row in entry_rows(n, at)]),
                ("idempotency_keys", [(1, random.randbytes(16), random.randbytes(16), n, 201, None) for n in part]),
            ):
                await connection.copy_records_to_table(table, schema_name="bench", records=rows)
    rate = transactions / (time.monotonic() - began)
    await connection.execute("drop schema bench cascade")
    await connection.close()
    return rate


def transaction_row(number: int, at: datetime) -> tuple[Any, ...]:
    """Return a row of `transactions`, columns in the table's order."""
    moved = at + timedelta(microseconds=number)
    return (1, number, number, moved, moved, moved, moved, *[None] * 4, "posted", 0, *[None] * 5, "{}")


def entry_rows(number: int, at: datetime) -> list[tuple[Any, ...]]:
    """Return two rows of `entries`."""
    return [
        (1, number << 10 | ordinal, number, random.randrange(ACCOUNTS), number * 2 + ordinal, at, at, side, "posted",
         number, number, number, 0, 0)
        for ordinal, side in ((1, "debit"), (2, "credit"))
    ]  # fmt: skip


async def bytes_per_transaction(url: str) -> dict[str, int]:
    """Return the bytes on disk of tables with their indexes, per transaction, in all and without idempotency keys."""
    connection = await asyncpg.connect(url)
    count = await connection.fetchval("select count(*) from doppia.transactions")
    sizes = {
        table: await connection.fetchval(f"select pg_total_relation_size('doppia.{table}')")
        for table in ("log", "transactions", "entries", "idempotency_keys")
    }
    await connection.close()
    each = {table: size // count for table, size in sizes.items()}
    return {"all": sum(each.values()), "without_keys": sum(each.values()) - each["idempotency_keys"], **each}


def memory_megabytes(pid: int) -> int:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024


if __name__ == "__main__":
    main()

"""What the service takes: seconds to start, memory, and bytes on disk per transaction."""

import argparse
import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import asyncpg
from batches import batch, post, transaction
from copying import copy_again, table_bytes
from service import ENVIRONMENT, PROGRAM, Service, data_folder, number_of, report

ACCOUNTS = 2_000
COPIED = 10_000


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of posting")
    arguments = parser.parse_args()
    # An installer compiles what it installs.
    subprocess.run([PROGRAM, "--help"], env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
    with data_folder() as data:
        began = time.monotonic()
        service = Service(data)
        try:
            asyncio.run(post_first(service))
            report("first start to first posted transaction", since(began), "seconds", aim="< 4")
            service.stop()
            began = time.monotonic()
            service = Service(data)
            report("restart to answering", since(began), "seconds", aim="< 1")
            measure(service, arguments.seconds)
        finally:
            service.stop()


def since(began: float) -> float:
    """Return the seconds since a time."""
    return round(time.monotonic() - began, 2)


async def post_first(service: Service) -> None:
    """Open two accounts, and post one transaction between them."""
    accounts = await service.open_accounts(2)
    async with service.client() as client:
        (await client.post("/api/ledger_transactions", json=transaction(accounts))).raise_for_status()


def measure(service: Service, seconds: int) -> None:
    """Compare memory and disk before and after a load."""
    idle = memory_megabytes(service.process.pid)
    report(
        "memory of the idle service", idle, "MB", aim="< 150",
        postgresql_megabytes=postgresql_megabytes(service.process.pid),
    )  # fmt: skip
    accounts = asyncio.run(service.open_accounts(ACCOUNTS))
    ledger = number_of(accounts[0]).ledger
    before = asyncio.run(sizes(service.database_url))
    service.load("spread", accounts, seconds)
    after = asyncio.run(sizes(service.database_url))
    count = after["count"] - before["count"]
    each: dict[str, Any] = {table: (after[table] - before[table]) // count for table in after if table != "count"}
    copied = asyncio.run(copy_again(service.database_url, ledger, transactions=COPIED, at_once=1_000)).bytes_each
    keys = each["idempotency_keys"]
    report(
        "bytes of a transaction of two entries, with its idempotency key", sum(each.values()), "bytes",
        baseline=("COPY of the same rows", sum(copied.values())), **each,
    )  # fmt: skip
    report("bytes of a transaction of two entries, without a key", sum(each.values()) - keys, "bytes", aim="< 743")
    post(service, [batch(accounts, 10_000) for _ in range(3)], 2)
    report(
        "memory of the service after posting and batches of 10,000", memory_megabytes(service.process.pid), "MB",
        baseline=("idle", idle), postgresql_megabytes=postgresql_megabytes(service.process.pid),
    )  # fmt: skip


async def sizes(url: str) -> dict[str, int]:
    """Return how many transactions there are, and the size of each table that holds them."""
    connection = await asyncpg.connect(url)
    found = await table_bytes(connection, "doppia")
    found["count"] = await connection.fetchval("select count(*) from doppia.transactions")
    await connection.close()
    return found


def memory_megabytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS") // 1024


def postgresql_megabytes(pid: int) -> int:
    """Return the memory of all processes below one, each shared page counted once."""
    parents = {
        int(stat.parent.name): int(stat.read_text().rpartition(")")[2].split()[1])
        for stat in Path("/proc").glob("[0-9]*/stat")
    }
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(_kilobytes(Path(f"/proc/{child}/smaps_rollup"), "Pss") for child in below - {pid}) // 1024


def _kilobytes(file: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()

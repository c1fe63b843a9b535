"""Posting over HTTP next to pgledger called in SQL: one transfer a call, accounts at random and one hot account.

pgledger is another ledger in PostgreSQL, made of SQL functions. The database must be one in which it is installed
already; accounts and transfers are added to it.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Sequence

import asyncpg
import uvloop
from service import report, running

ACCOUNTS = 2_000
CALLERS = 16
"""Connections that call pgledger; 64 of them wait for each other more, and transfer less."""

OPEN = "select id from pgledger_create_account($1, 'USD')"
TRANSFER = "select id from pgledger_create_transfer($1::text, $2::text, '7')"
AIMS = {"accounts at random": ">= 1.5", "one hot account": ">= 5"}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pgledger-url", help="of a database in which pgledger is installed")
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    arguments = parser.parse_args()
    if arguments.pgledger_url is None:
        print('{"measurement": "posting next to pgledger", "skipped": "no --pgledger-url was given"}', flush=True)
        return
    with running() as service:
        opened = asyncio.run(service.open_accounts(ACCOUNTS))
        service.load("spread", opened, 3)
        posted = {
            name: service.load(mode, opened, arguments.seconds)["per_second"]
            for name, mode in zip(AIMS, ("spread", "hot"), strict=True)
        }
    transferred, bytes_each = uvloop.run(measure(arguments.pgledger_url, arguments.seconds))
    for name, aim in AIMS.items():
        report(
            f"posting one by one, {name}, next to pgledger", posted[name], "per second",
            baseline=("pgledger", transferred[name]), aim=aim,
        )  # fmt: skip
    report("bytes of a transfer in pgledger", bytes_each, "bytes")


async def measure(url: str, seconds: int) -> tuple[dict[str, int], int]:
    """Return pgledger's transfers per second, and the bytes on disk by which one of them makes its database grow."""
    connections = [await asyncpg.connect(url) for _ in range(CALLERS)]
    first = connections[0]
    accounts = [await first.fetchval(OPEN, f"benchmark {number}") for number in range(ACCOUNTS)]
    await first.execute("vacuum analyze")
    size = "select pg_database_size(current_database())"
    before = await first.fetchval(size)
    rates: dict[str, int] = {}
    count = 0
    for name in AIMS:
        senders = accounts[:1] if name == "one hot account" else accounts
        began = time.monotonic()
        counts = await asyncio.gather(*(transfer(each, senders, accounts, began + seconds) for each in connections))
        rates[name] = round(sum(counts) / (time.monotonic() - began))
        count += sum(counts)
    await first.execute("vacuum")
    bytes_each = (await first.fetchval(size) - before) // count
    for connection in connections:
        await connection.close()
    return rates, bytes_each


async def transfer(
    connection: asyncpg.Connection, senders: Sequence[str], accounts: Sequence[str], until: float
) -> int:
    """Transfer until a time; return how often."""
    statement = await connection.prepare(TRANSFER)
    count = 0
    while time.monotonic() < until:
        sender, receiver = random.choice(senders), random.choice(accounts)
        if sender != receiver:
            assert await statement.fetchval(sender, receiver) is not None
            count += 1
    return count


if __name__ == "__main__":
    main()

"""Reads over HTTP, of balances and of lists of entries, next to the bare SELECT of the same rows by the same driver."""

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import uvloop
from batches import batch, post
from service import number_of, report, running

ACCOUNTS = 2_000
TRANSACTIONS = 60_000
CALLERS = 16
"""Connections over HTTP, and connections of the driver."""

BALANCE = """
select lock_version, posted_credits, posted_debits, pending_credits, pending_debits
  from doppia.balances
 where ledger_id = $1 and account_sequence = $2
"""
ENTRIES = """
select * from doppia.entries where ledger_id = $1 and account_sequence = $2 order by lock_version desc limit 25
"""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement")
    arguments = parser.parse_args()
    with running() as service:
        accounts = asyncio.run(service.open_accounts(ACCOUNTS))
        post(service, [batch(accounts, 1_000) for _ in range(TRANSACTIONS // 1_000)], 2)
        for name, path, query, aim in (
            ("balance read", "/api/ledger_accounts/{}", BALANCE, ">= 0.5"),
            ("list of entries, 25 of an account", "/api/ledger_entries?ledger_account_id={}", ENTRIES, None),
        ):
            paths = [path.format(account) for account in accounts]
            service.load("read", paths, 2, CALLERS)
            read = service.load("read", paths, arguments.seconds, CALLERS)
            bare = uvloop.run(select_rate(service.database_url, query, accounts, arguments.seconds))
            report(
                f"{name} over HTTP", read.pop("per_second"), "per second",
                baseline=("SELECT by asyncpg", bare), aim=aim, connections=CALLERS, **read,
            )  # fmt: skip


async def select_rate(url: str, query: str, accounts: Sequence[str], seconds: int) -> int:
    """Return how often in a second asyncpg asks a query of accounts at random."""
    ids = [number_of(account) for account in accounts]
    arguments = [(id_.ledger, id_.sequence) for id_ in ids]
    connections = [await asyncpg.connect(url) for _ in range(CALLERS)]
    began = time.monotonic()
    counts = await asyncio.gather(*(select(each, query, arguments, began + seconds) for each in connections))
    rate = round(sum(counts) / (time.monotonic() - began))
    for connection in connections:
        await connection.close()
    return rate


async def select(connection: asyncpg.Connection, query: str, arguments: Sequence[tuple[Any, ...]], until: float) -> int:
    """Ask a query until a time; return how often."""
    statement = await connection.prepare(query)
    count = 0
    while time.monotonic() < until:
        assert await statement.fetch(*random.choice(arguments))
        count += 1
    return count


if __name__ == "__main__":
    main()

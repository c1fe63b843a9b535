"""Balances in time: of an account with ten million entries next to one with ten thousand, and what posting pays.

Starts a database of its own, fills it by plain SQL past every trigger, and prints one JSON line per measurement. One
entry in ten is effective some time before it was recorded.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from doppia.accounting.ids import Id, format_id, parse_id
from doppia.accounting.transactions import Draft, Leg
from doppia.engine.transactions import Batch, post
from doppia.store import accounts
from doppia.store.balances import AsOf
from doppia.store.database import Connection, Database
from doppia.store.embedded import EmbeddedServer
from doppia.store.migrate import migrate

LEDGER = 7
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
STEPS_AT_ONCE = 512
TAIL = 272
"""Steps since the last multiple of 512, in every account alike."""

BOOKS = f"""
insert into organizations values ('00000000-0000-0000-0000-000000000001', 'benchmark', now());
insert into ledgers (ledger_id, organization_id, name, created_at, updated_at)
values ({LEDGER}, '00000000-0000-0000-0000-000000000001', 'benchmark', '{BEGIN}', '{BEGIN}');
insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
values ({LEDGER}, 1, 1, '{BEGIN}', 1, 1, '');
insert into ledger_heads (ledger_id, sequence, recorded_at) values ({LEDGER}, 1, '{BEGIN}');
"""
ACCOUNT = """
insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                      updated_at)
values ($1, $2, 'account', 'USD', 2, 'credit', $3, $3);
"""
BALANCE = "insert into balances values ($1, $2, $3::bigint, $3::bigint / 2, ($3::bigint + 1) / 2, 0, 0)"
ENTRIES = """
insert into entries (ledger_id, entry, transaction_sequence, account_sequence, lock_version, created_at, effective_at,
                     direction, status, amount, posted_credits, posted_debits, pending_credits, pending_debits)
select $1, ($2::bigint * 1000000000 + n) * 1024 + 1, $2::bigint * 1000000000 + n, $2, n, at,
       case when n % 10 = 0 then at - random() * $4::interval / 100 else at end,
       case n % 2 when 0 then 'credit' else 'debit' end::direction, 'posted', 1, n / 2, (n + 1) / 2, 0, 0
  from generate_series($6::bigint, $7::bigint) as n,
       lateral (select $3::timestamptz + n * ($4::interval / $5::bigint) as at) t
"""
FOLD = "select fold_steps($1, $2, v) from generate_series($3::bigint, $4::bigint, 512) as v"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000, help="of the large account")
    parser.add_argument("--folder", type=Path, default=None, help="for the data; ten million entries take 3 GB, twice")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="doppia-bench-", dir=arguments.folder) as folder:
        Path(folder).chmod(0o755)
        asyncio.run(measure(Path(folder), arguments.entries))


def report(name: str, **figures: Any) -> None:
    """Print one measurement as a JSON line."""
    print(json.dumps({"measurement": name, **figures}), flush=True)


async def measure(folder: Path, entries: int) -> None:
    """Fill accounts and ask for their balances."""
    server = EmbeddedServer(folder)
    await server.start()
    database = Database(server.url)
    try:
        await migrate(server.url)
        await database.open()
        async with database.connection() as connection:
            await connection.execute("set statement_timeout = 0; set synchronous_commit = off")
            await connection.execute(f"set session_replication_role = replica; {BOOKS}")
            for account, (name, span) in enumerate(
                (("a year", timedelta(days=365)), ("one day", timedelta(days=1))), 1
            ):
                await compare(connection, name, span, account * 10, entries)
            await connection.execute("reset session_replication_role; reset synchronous_commit")
        await post_to_hot_account(database)
    finally:
        await database.close()
        await server.stop()


async def compare(connection: Connection, name: str, span: timedelta, account: int, entries: int) -> None:
    """Ask for balances of two accounts, one with few and one with many entries over the same span of time."""
    sizes = [size // STEPS_AT_ONCE * STEPS_AT_ONCE + TAIL for size in (10_000, entries)]
    for number, size in enumerate(sizes, account):
        began = time.monotonic()
        await fill(connection, number, size, span)
        folded = time.monotonic()
        for first in range(STEPS_AT_ONCE, size + 1, 1000 * STEPS_AT_ONCE):
            last = min(size, first + 999 * STEPS_AT_ONCE)
            await connection.execute(FOLD, LEDGER, number, first, last)
        seconds = time.monotonic() - folded
        rows, size_bytes = await connection.fetchrow(
            "select count(*), coalesce(sum(pg_column_size(s)), 0) from effective_sums s where account_sequence = $1",
            number,
        )
        report(
            f"seed, {size} entries over {name}",
            seconds=round(folded - began), fold_ms=round(1000 * seconds / (size // STEPS_AT_ONCE), 2),
            rows_per_entry=round(rows / size, 4), bytes_per_entry=round(int(size_bytes) / size, 1),
        )  # fmt: skip
    await connection.execute("analyze")
    rng = random.Random(1)
    for kind in ("now", "as of an old version"):
        asked = [(BEGIN + span * rng.random(), rng.random()) for _ in range(400)]
        small, large = [
            await p50_ms(connection, number, size if kind == "now" else None, size, asked)
            for number, size in enumerate(sizes, account)
        ]
        report(
            f"balance at an effective time, entries over {name}, {kind}",
            small_ms=small, large_ms=large, ratio=round(large / small, 2),
        )  # fmt: skip


async def fill(connection: Connection, account: int, size: int, span: timedelta) -> None:
    """Write an account with its entries."""
    await connection.execute(ACCOUNT, LEDGER, account, BEGIN)
    await connection.execute(BALANCE, LEDGER, account, size)
    for first in range(1, size + 1, 500_000):
        last = min(size, first + 499_999)
        await connection.execute(ENTRIES, LEDGER, account, BEGIN, span, size, first, last)


async def p50_ms(
    connection: Connection, account: int, version: int | None, size: int, asked: list[tuple[datetime, float]]
) -> float:
    """Return the median of the time that a balance takes; the first hundred only warm the memory."""
    taken = []
    for at, part in asked:
        as_of = AsOf(lock_version=version or int(part * size), before_time=at)
        began = time.perf_counter()
        await accounts.get(connection, LEDGER, account, as_of)
        taken.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(taken[100:]), 3)


async def post_to_hot_account(database: Database, transactions: int = 64, groups: int = 600) -> None:
    """Post groups of transactions on one hot account, and tell those that fill buckets from the others."""
    at = datetime.now(UTC)
    ids = [parse_id(format_id(int(at.timestamp()), LEDGER, number)) for number in (900, 901)]
    async with database.connection() as connection:
        for number in (900, 901):
            await connection.execute(ACCOUNT, LEDGER, number, at)
            await connection.execute(BALANCE, LEDGER, number, 0)
    first, second = (id_ for id_ in ids if id_ is not None)
    legs = [Leg(first.sequence, str(first), "debit", 1), Leg(second.sequence, str(second), "credit", 1)]
    taken: dict[bool, list[float]] = {True: [], False: []}
    for group in range(1, groups + 1):
        command = batch(first, [Draft(legs, "posted")] * transactions)
        began = time.perf_counter()
        (answer,) = await post(database, lambda: datetime.now(UTC), [command])
        assert not isinstance(answer, Exception), answer
        folds = group * transactions // STEPS_AT_ONCE > (group - 1) * transactions // STEPS_AT_ONCE
        if group > groups // 3:
            taken[folds].append(1000 * (time.perf_counter() - began))
    plain, folding = (statistics.median(taken[folds]) for folds in (False, True))
    report(
        f"groups of {transactions} transactions between two hot accounts",
        p50_ms=round(plain, 1), p50_ms_with_both_folded=round(folding, 1),
        share=round((folding - plain) * transactions / STEPS_AT_ONCE / plain, 3),
    )  # fmt: skip


def batch(ledger: Id, items: list[Draft]) -> Batch:
    """Return a batch that answers with nothing."""
    return Batch(ledger=ledger, actor=None, key=None, status=200, items=items, is_atomic=True, render=lambda _: b"")


if __name__ == "__main__":
    main()

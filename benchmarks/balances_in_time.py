"""Balances in time: of an account with very many entries next to one with ten thousand, and what posting pays.

Starts a database of its own, fills it by plain SQL past every trigger but with the service's own functions, checks the
balances against sums of the entries, and prints one JSON line per measurement. Two shapes: entries of which one in
ten is effective a little before it was recorded, and entries that are all effective at random times of the same year.
"""

import argparse
import asyncio
import random
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from service import data_folder, percentiles, report

from doppia.accounting.ids import LedgerNumber, LedgerRef, format_id, ledger_id, parse_id
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.ledger.transactions import Draft, Leg
from doppia.engine.posting.commands import Asked, CreateBatch
from doppia.engine.posting.group import post
from doppia.engine.posting.writing import NOBODY
from doppia.store.database.connections import Connection, Database
from doppia.store.database.migrate import migrate
from doppia.store.embedded.server import EmbeddedServer
from doppia.store.ledger import accounts, ledgers
from doppia.store.ledger.balances import AsOf
from doppia.store.platform import organizations

LEDGER = 7
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=365)
FEW = 10_000
STEPS_AT_ONCE = 512
TAIL = 272
"""Steps since the last multiple of 512, in every account alike."""
ASKED = 400
WARMING = 100

SHAPES = {
    "recorded in order": "case when n % 10 = 0 then at - random() * $4::interval / 100 else at end",
    "effective at random": "$3::timestamptz + random() * $4::interval",
}

ACCOUNT = """
insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                      updated_at)
values ($1, $2, 'account', 'USD', 2, 'credit', $3, $3);
"""
BALANCE = "insert into balances values ($1, $2, 0, 0, 0, 0, 0)"
STEP = """
update balances set lock_version = $3::bigint, posted_credits = $3::bigint / 2, posted_debits = ($3::bigint + 1) / 2
 where ledger_id = $1 and account_sequence = $2
"""
ENTRIES = """
insert into entries (ledger_id, entry, transaction_sequence, account_sequence, lock_version, created_at, effective_at,
                     direction, status, amount, posted_credits, posted_debits, pending_credits, pending_debits)
select $1, ($2::bigint * 1000000000 + n) * 1024 + 1, $2::bigint * 1000000000 + n, $2, n, at,
       /* effective at */,
       case n % 2 when 0 then 'credit' else 'debit' end::direction, 'posted', 1, n / 2, (n + 1) / 2, 0, 0
  from generate_series($6::bigint, $7::bigint) as n,
       lateral (select $3::timestamptz + n * ($4::interval / $5::bigint) as at) t
"""
FOLD = "select fold_steps($1, $2, v) from generate_series($3::bigint, $4::bigint, 512) as v"
# Not asked for by a balance or by a fold, and long to keep up where entries come in no order.
SPARED_INDEX = "entries_displaced_idx"
ADD_UP = """
select coalesce(sum(amount) filter (where direction = 'credit'), 0),
       coalesce(sum(amount) filter (where direction = 'debit'), 0)
  from entries
 where ledger_id = $1 and account_sequence = $2 and lock_version <= $3 and effective_at < $4
"""


class Filled(NamedTuple):
    """An account with entries."""

    account: int
    size: int


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the large account; the aim is 10,000,000")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="one of the two; both where none is given")
    parser.add_argument("--folder", type=Path, default=None, help="for the data; ten million entries take up to 8 GB")
    arguments = parser.parse_args()
    with data_folder(arguments.folder) as folder:
        asyncio.run(measure(folder, arguments.entries, arguments.shape or list(SHAPES)))


async def measure(folder: Path, entries: int, shapes: list[str]) -> None:
    """Fill accounts and ask for their balances."""
    server = EmbeddedServer(folder)
    await server.start()
    database = Database(server.url)
    try:
        await migrate(server.url)
        await database.open()
        async with database.connection() as filling, database.connection() as folding:
            for connection in (filling, folding):
                await connection.execute("set statement_timeout = 0; set synchronous_commit = off")
                await connection.execute("set session_replication_role = replica")
            organization = uuid4()
            await organizations.create(filling, organization, "benchmark", BEGIN)
            await ledgers.create(filling, LEDGER, organization, "benchmark", None, {}, BEGIN)
            for number, shape in enumerate(shapes, 1):
                few, many = Filled(10 * number, rounded(FEW)), Filled(10 * number + 1, rounded(entries))
                for filled in (few, many):
                    await fill(filling, folding, filled, shape)
                await filling.execute("vacuum analyze")
                await check(folding, [few, many])
                await compare(folding, few, many, shape)
            for connection in (filling, folding):
                await connection.execute("reset session_replication_role; reset synchronous_commit")
        await post_to_hot_account(database)
    finally:
        await database.close()
        await server.stop()


def rounded(size: int) -> int:
    """Return a number of entries near the one asked for, with the tail that all accounts have."""
    return size // STEPS_AT_ONCE * STEPS_AT_ONCE + TAIL


async def fill(filling: Connection, folding: Connection, filled: Filled, shape: str) -> None:
    """Write an account with its entries on one connection, and fold what is written on the other meanwhile."""
    account, size = filled
    began = time.monotonic()
    await filling.execute(ACCOUNT, LEDGER, account, BEGIN)
    await filling.execute(BALANCE, LEDGER, account)
    index = await filling.fetchval("select pg_get_indexdef($1::text::regclass)", SPARED_INDEX)
    await filling.execute(f"drop index {SPARED_INDEX}")
    entries = ENTRIES.replace("/* effective at */", SHAPES[shape])
    fold: asyncio.Task[float] = asyncio.create_task(asyncio.sleep(0, 0.0))
    written = 0
    fold_seconds = 0.0
    while written < size:
        # A fold that splits a bucket reads all entries in it, later ones too: so not too many at first.
        last = min(size, written + min(max(written // 2, 20), 1000) * STEPS_AT_ONCE)
        await filling.execute(entries, LEDGER, account, BEGIN, SPAN, size, written + 1, last)
        await filling.execute(STEP, LEDGER, account, last)
        fold_seconds += await fold
        fold = asyncio.create_task(fold_all(folding, account, written, last))
        written = last
    fold_seconds += await fold
    await filling.execute(index)
    rows, size_bytes = await filling.fetchrow(
        "select count(*), coalesce(sum(pg_column_size(s)), 0) from effective_sums s where account_sequence = $1",
        account,
    )
    report(
        f"filling {size} entries, {shape}", round(time.monotonic() - began, 1), "seconds",
        fold_ms=round(1000 * fold_seconds / (size // STEPS_AT_ONCE), 2),
        rows_per_entry=round(rows / size, 4), bytes_per_entry=round(int(size_bytes) / size, 1),
    )  # fmt: skip


async def fold_all(connection: Connection, account: int, after: int, last: int) -> float:
    """Fold an account's steps after one, up to another; return the seconds it took."""
    began = time.monotonic()
    first = (after // STEPS_AT_ONCE + 1) * STEPS_AT_ONCE
    await connection.execute(FOLD, LEDGER, account, first, last)
    return time.monotonic() - began


async def check(connection: Connection, filled: list[Filled]) -> None:
    """See that balances are the sums of the entries."""
    rng = random.Random(2)
    await connection.execute("set enable_seqscan = on")
    for account, size in filled:
        for _ in range(4):
            as_of = AsOf(lock_version=rng.randint(1, size), before_time=BEGIN + SPAN * rng.random())
            found = await accounts.get(connection, LEDGER, account, as_of)
            row = await connection.fetchrow(ADD_UP, LEDGER, account, as_of.lock_version, as_of.before_time)
            assert found is not None
            assert found.as_of is not None
            assert found.as_of.sums == Sums(row[0], row[1], 0, 0), (account, as_of, found.as_of.sums, row)
    await connection.execute("set enable_seqscan = off")


async def compare(connection: Connection, few: Filled, many: Filled, shape: str) -> None:
    """Ask for balances of two accounts in turns, now and as they were known at old versions."""
    rng = random.Random(1)
    for known in ("now", "as of an old version"):
        taken: dict[Filled, list[float]] = {few: [], many: []}
        for _ in range(ASKED):
            before_time = BEGIN + SPAN * rng.random()
            part = 1.0 if known == "now" else rng.random()
            for filled, times in taken.items():
                as_of = AsOf(lock_version=int(part * filled.size), before_time=before_time)
                began = time.perf_counter()
                await accounts.get(connection, LEDGER, filled.account, as_of)
                times.append(1000 * (time.perf_counter() - began))
        small, large = (percentiles(times[WARMING:]) for times in taken.values())
        report(
            f"balance at an effective time, {many.size} entries {shape}, {known}", large["p50_ms"], "ms",
            baseline=(f"the same with {few.size} entries", small["p50_ms"]), aim="<= 2",
            p99_ms=large["p99_ms"], baseline_p99_ms=small["p99_ms"],
        )  # fmt: skip


async def post_to_hot_account(database: Database, transactions: int = 64, groups: int = 600) -> None:
    """Post groups of transactions on one hot account, and tell those that fill buckets from the others."""
    at = datetime.now(UTC)
    ids = [parse_id(format_id(int(at.timestamp()), LEDGER, number)) for number in (900, 901)]
    async with database.connection() as connection:
        for number in (900, 901):
            await connection.execute(ACCOUNT, LEDGER, number, at)
            await connection.execute(BALANCE, LEDGER, number)
    first, second = (id_ for id_ in ids if id_ is not None)
    ledger = LedgerRef(LedgerNumber(LEDGER), ledger_id(int(BEGIN.timestamp()), LEDGER))
    legs = [Leg(first.sequence, str(first), "debit", 1), Leg(second.sequence, str(second), "credit", 1)]
    taken: dict[bool, list[float]] = {True: [], False: []}
    for group in range(1, groups + 1):
        items = [Draft(legs, "posted")] * transactions
        asked = Asked(NOBODY, CreateBatch(ledger=ledger, items=items, is_atomic=True))
        began = time.perf_counter()
        (answer,) = await post(
            database,
            lambda: datetime.now(UTC),
            [asked],
        )
        assert not isinstance(answer, Exception), answer
        folds = group * transactions // STEPS_AT_ONCE > (group - 1) * transactions // STEPS_AT_ONCE
        if group > groups // 3:
            taken[folds].append(1000 * (time.perf_counter() - began))
    plain, folding = (statistics.median(taken[folds]) for folds in (False, True))
    report(
        f"groups of {transactions} transactions between two hot accounts, both folded", round(folding, 1), "ms",
        baseline=("neither folded", round(plain, 1)),
        share_of_posting=round((folding - plain) * transactions / STEPS_AT_ONCE / plain, 3),
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""The balance of a category with 100,000 accounts over HTTP, and what posting sees of accounts that come and go.

Starts a service of its own on a fresh data folder, durable as always, makes the chart by SQL, and needs `wrk`, as
posting.py does. Prints one JSON line per measurement.
"""

import argparse
import asyncio
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import asyncpg
from posting import connect, ensure_wrk, load, open_accounts, report, start, stop

from doppia.accounting.ids import parse_id
from doppia.store.embedded import running_url

ACCOUNTS = 100_000
POSTING_ACCOUNTS = 500
CALLERS = 8
READS = 200

# Makes category {top} of ledger {ledger} hold {accounts} accounts, each credited with 1: by {below} categories below it
# that share them out among each other; itself, where there are none; or both, where {also_direct}.
CHART = """
set session_replication_role = replica;
create temp table made as
select n, {top} + n as account, {top} + {accounts} + n as category,
       {top} + {accounts} + 1 + (n - 1) % greatest({below}, 1) as category_set
  from generate_series(1, {accounts}) n;
insert into doppia.log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
select {ledger}, {top} + n, {top} + n, now(), 2, 1, '' from generate_series(1, 2 * {accounts}) n;
update doppia.ledger_heads
   set sequence = {top} + 2 * {accounts},
       frontier = decode(repeat('00', (32 * bit_count(({top} + 2 * {accounts})::bigint::bit(64)))::integer), 'hex')
 where ledger_id = {ledger};
insert into doppia.accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance,
                             created_at, updated_at)
select {ledger}, account, 'account', 'USD', 2, 'credit', now(), now() from made;
insert into doppia.balances (ledger_id, account_sequence, lock_version, posted_credits, posted_debits, pending_credits,
                             pending_debits, category_set)
select {ledger}, account, 1, 1, 0, 0, 0, category_set from made;
insert into doppia.categories (ledger_id, category_sequence, name, currency, currency_exponent, normal_balance,
                               created_at, updated_at)
select {ledger}, category, 'category', 'USD', 2, 'credit', now(), now() from made where n <= {below};
insert into doppia.category_edges
select {ledger}, {top}, category from made where n <= {below} and not {also_direct};
insert into doppia.category_sets (ledger_id, category_set, categories, posted_credits)
select {ledger}, category_set,
       case when {below} = 0 then array[{top}] when {also_direct} then array[{top}, category_set]
            else array[category_set] end, count(*)
  from made group by category_set;
insert into doppia.category_set_members
select ledger_id, unnest(categories), category_set from doppia.category_sets where ledger_id = {ledger};
analyze;
"""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement of posting")
    arguments = parser.parse_args()
    ensure_wrk()
    with tempfile.TemporaryDirectory(prefix="doppia-bench-") as folder:
        data = Path(folder)
        data.chmod(0o755)
        server, credentials = start(data)
        try:
            url = running_url(data)
            assert url is not None
            for name, below, also_direct in (
                ("in one category", 0, False),
                ("in 1,000 categories below one", 1_000, False),
                ("each in a category of its own, too", ACCOUNTS, True),
            ):
                asyncio.run(read_balance(credentials, url, name, below, also_direct=also_direct))
            measure_posting(data, credentials, arguments.seconds)
        finally:
            stop(server)


async def read_balance(credentials: dict[str, str], url: str, name: str, below: int, *, also_direct: bool) -> None:
    """Make a category of 100,000 accounts, and read its balance over HTTP one time after the other."""
    async with connect(credentials) as client:
        category = await new_category(client, "top")
        id_ = parse_id(category)
        assert id_ is not None
        connection = await asyncpg.connect(url)
        chart = CHART.format(
            ledger=id_.ledger, top=id_.sequence, accounts=ACCOUNTS, below=below, also_direct=also_direct
        )
        await connection.execute(chart)
        await connection.close()
        times = []
        for _ in range(READS):
            began = time.perf_counter()
            answer = await client.get(f"/api/ledger_account_categories/{category}")
            times.append((time.perf_counter() - began) * 1000)
            assert answer.json()["balances"]["posted_balance"]["amount"] == ACCOUNTS
        figures = percentiles(times)
    report(f"balance of a category, 100,000 accounts {name}", **figures)


def percentiles(times: list[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the longest of some times."""
    times = sorted(times)
    return {
        "p50_ms": round(times[len(times) // 2], 1),
        "p99_ms": round(times[len(times) * 99 // 100], 1),
        "max_ms": round(times[-1], 1),
    }


async def new_category(client: Any, name: str, **fields: Any) -> str:
    """Create a category, in a ledger of its own unless the fields name one."""
    if "ledger_id" not in fields:
        fields["ledger_id"] = (await client.post("/api/ledgers", json={"name": "benchmark"})).json()["id"]
    body = {"name": name, "currency": "USD", "normal_balance": "credit", **fields}
    answer = await client.post("/api/ledger_account_categories", json=body)
    answer.raise_for_status()
    return str(answer.json()["id"])


def measure_posting(data: Path, credentials: dict[str, str], seconds: int) -> None:
    """Post before and beside a caller who moves accounts from category to category and back as fast as it can."""
    accounts = asyncio.run(open_accounts(credentials, POSTING_ACCOUNTS))
    load(data, credentials, accounts, "spread", 3, CALLERS)
    report("posting, accounts in no category", **load(data, credentials, accounts, "spread", seconds, CALLERS))
    categories = asyncio.run(chart_of(credentials, accounts))
    report("posting, accounts in categories", **load(data, credentials, accounts, "spread", seconds, CALLERS))
    for name, pause_seconds in (("ten a second", 0.1), ("as fast as one caller can", 0)):
        ended = threading.Event()
        times: list[float] = []
        moving = move(credentials, accounts, categories, pause_seconds, ended, times)
        mover = threading.Thread(target=asyncio.run, args=(moving,))
        mover.start()
        posted = load(data, credentials, accounts, "spread", seconds, CALLERS)
        ended.set()
        mover.join()
        report(f"posting while accounts come and go, {name}", **posted)
        report(f"accounts that come and go beside it, {name}", per_second=len(times) // seconds, **percentiles(times))


async def chart_of(credentials: dict[str, str], accounts: list[str]) -> list[str]:
    """Put accounts into five categories of one ledger, two of them below others."""
    async with connect(credentials) as client:
        ledger_id = (await client.get(f"/api/ledger_accounts/{accounts[0]}")).json()["ledger_id"]
        made: list[str] = []
        for number in range(5):
            above = made[:number] if number > 2 else []
            made.append(await new_category(client, "part", ledger_id=ledger_id, ledger_account_category_ids=above))
        for number, account in enumerate(accounts):
            await client.put(f"/api/ledger_account_categories/{made[number % 5]}/ledger_accounts/{account}")
    return made


async def move(
    credentials: dict[str, str],
    accounts: list[str],
    categories: list[str],
    pause_seconds: float,
    ended: threading.Event,
    times: list[float],
) -> None:
    """Put each account into another category and take it out again, one call after the other, with pauses between."""
    async with connect(credentials) as client:
        number = 0
        while not ended.is_set():
            account = accounts[number // 2 % len(accounts)]
            holder = categories[(number // 2 + 1) % 5]
            began = time.perf_counter()
            method = "DELETE" if number % 2 else "PUT"
            answer = await client.request(method, f"/api/ledger_account_categories/{holder}/ledger_accounts/{account}")
            answer.raise_for_status()
            times.append((time.perf_counter() - began) * 1000)
            number += 1
            await asyncio.sleep(pause_seconds)


if __name__ == "__main__":
    main()

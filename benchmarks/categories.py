"""The balance of a category with 100,000 accounts over HTTP, and what posting sees of accounts that come and go.

The chart is made by SQL. Posting beside changes of the chart is measured with `--posting` only.
"""

import argparse
import asyncio
import threading
import time
from typing import Any

import asyncpg
import httpx2
from service import Service, number_of, percentiles, report, running

ACCOUNTS = 100_000
POSTING_ACCOUNTS = 500
CALLERS = 8
READS = 200
SECONDS_MAX = 10

# Makes category {top} of ledger {ledger} hold {accounts} accounts, each credited with 1: by {below} categories below it
# that share them out among each other; itself, where there are none; or both, where {also_direct}.
CHART = """
set session_replication_role = replica;
create temp table made as
select n, {top} + n as account, {top} + {accounts} + n as category,
       {top} + {accounts} + 1 + (n - 1) % greatest({below}, 1) as category_set
  from generate_series(1, {accounts}) n;
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
    parser.add_argument("--posting", action="store_true", help="measure posting beside changes of the chart, too")
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement of posting")
    arguments = parser.parse_args()
    with running() as service:
        for name, below, also_direct in (
            ("in one category", 0, False),
            ("in 1,000 categories below one", 1_000, False),
            ("each in a category of its own, too", ACCOUNTS, True),
        ):
            asyncio.run(read_balance(service, name, below, also_direct=also_direct))
        if arguments.posting:
            measure_posting(service, arguments.seconds)


async def read_balance(service: Service, name: str, below: int, *, also_direct: bool) -> None:
    """Make a category of 100,000 accounts, and read its balance and an account's over HTTP, one after the other."""
    async with service.client() as client:
        category = await new_category(client, "top")
        id_ = number_of(category)
        connection = await asyncpg.connect(service.database_url)
        chart = CHART.format(
            ledger=id_.ledger, top=id_.sequence, accounts=ACCOUNTS, below=below, also_direct=also_direct
        )
        await connection.execute(chart)
        await connection.close()
        account = (await client.get("/api/ledger_accounts?per_page=1")).json()[0]["id"]
        read = await times_ms(client, f"/api/ledger_account_categories/{category}", ACCOUNTS)
        of_account = await times_ms(client, f"/api/ledger_accounts/{account}", 1)
    figures = percentiles(read)
    report(
        f"balance of a category, 100,000 accounts {name}", figures.pop("p50_ms"), "ms", aim="< 50",
        account_p50_ms=percentiles(of_account)["p50_ms"], **figures,
    )  # fmt: skip


async def times_ms(client: httpx2.AsyncClient, path: str, amount: int) -> list[float]:
    """Return the milliseconds that each of some reads takes, and see that they tell the posted balance."""
    times: list[float] = []
    while len(times) < READS and sum(times) < 1000 * SECONDS_MAX:
        began = time.perf_counter()
        answer = await client.get(path)
        times.append((time.perf_counter() - began) * 1000)
        assert answer.json()["balances"]["posted_balance"]["amount"] == amount
    return times


async def new_category(client: httpx2.AsyncClient, name: str, **fields: Any) -> str:
    """Create a category, in a ledger of its own unless the fields name one."""
    if "ledger_id" not in fields:
        fields["ledger_id"] = (await client.post("/api/ledgers", json={"name": "benchmark"})).json()["id"]
    body = {"name": name, "currency": "USD", "normal_balance": "credit", **fields}
    answer = await client.post("/api/ledger_account_categories", json=body)
    answer.raise_for_status()
    return str(answer.json()["id"])


def measure_posting(service: Service, seconds: int) -> None:
    """Post before and beside a caller who moves accounts from category to category and back as fast as it can."""
    accounts = asyncio.run(service.open_accounts(POSTING_ACCOUNTS))

    def post(seconds: int) -> dict[str, Any]:
        return service.load("spread", accounts, seconds, CALLERS)

    post(3)
    alone = post(seconds)
    alone_rate = alone.pop("per_second")
    report("posting, accounts in no category", alone_rate, "per second", **alone)
    baseline = ("accounts in no category", alone_rate)
    categories = asyncio.run(chart_of(service, accounts))
    held = post(seconds)
    report("posting, accounts in categories", held.pop("per_second"), "per second", baseline=baseline, **held)
    for name, pause_seconds in (("ten a second", 0.1), ("as fast as one caller can", 0)):
        ended = threading.Event()
        times: list[float] = []
        moving = move(service, accounts, categories, pause_seconds, ended, times)
        mover = threading.Thread(target=asyncio.run, args=(moving,))
        mover.start()
        posted = post(seconds)
        ended.set()
        mover.join()
        report(
            f"posting while accounts come and go, {name}", posted.pop("per_second"), "per second",
            baseline=baseline, **posted, moved_per_second=len(times) // seconds,
            **{f"moved_{name}": figure for name, figure in percentiles(times).items()},
        )  # fmt: skip


async def chart_of(service: Service, accounts: list[str]) -> list[str]:
    """Put accounts into five categories of one ledger, two of them below others."""
    async with service.client() as client:
        ledger_id = (await client.get(f"/api/ledger_accounts/{accounts[0]}")).json()["ledger_id"]
        made: list[str] = []
        for number in range(5):
            above = made[:number] if number > 2 else []
            made.append(await new_category(client, "part", ledger_id=ledger_id, ledger_account_category_ids=above))
        for number, account in enumerate(accounts):
            await client.put(f"/api/ledger_account_categories/{made[number % 5]}/ledger_accounts/{account}")
    return made


async def move(
    service: Service,
    accounts: list[str],
    categories: list[str],
    pause_seconds: float,
    ended: threading.Event,
    times: list[float],
) -> None:
    """Put each account into another category and take it out again, one call after the other, with pauses between."""
    async with service.client() as client:
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

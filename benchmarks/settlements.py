"""A settlement of a million entries, and what posting sees of it: latencies over HTTP before, beside and after it.

Starts a service of its own on a fresh data folder, durable as always, fills a ledger by SQL, and needs `wrk`, as
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
import httpx2
from posting import connect, ensure_wrk, load, open_accounts, report, start, stop

from doppia.accounting.ids import parse_id
from doppia.store.embedded import running_url

POSTING_ACCOUNTS = 500
CALLERS = 8

# Each transaction debits the bank and credits the wallet with 1; the log's records are as long as real ones.
SEED = """
set session_replication_role = replica;
insert into doppia.log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
select $1, n, n, $5, 3, 1, decode(repeat('00', 120), 'hex') from generate_series($2 + 1, $2 + $6) n;
insert into doppia.transactions (ledger_id, transaction_sequence, entries_sequence, created_at, updated_at,
                                 effective_at, posted_at, status, version)
select $1, n, n, $5, $5, $5, $5, 'posted', 0 from generate_series($2 + 1, $2 + $6) n;
insert into doppia.entries (ledger_id, entry, transaction_sequence, account_sequence, lock_version, created_at,
                            effective_at, direction, status, amount, posted_credits, posted_debits, pending_credits,
                            pending_debits)
select $1, (n << 10) + side, n, case side when 1 then $4 else $3 end, n - $2, $5, $5,
       case side when 1 then 'debit' else 'credit' end::doppia.direction, 'posted', 1,
       case side when 2 then n - $2 else 0 end, case side when 1 then n - $2 else 0 end, 0, 0
  from generate_series($2 + 1, $2 + $6) n, generate_series(1, 2) side;
update doppia.balances
   set lock_version = $6, posted_credits = case account_sequence when $3 then $6 else 0 end,
       posted_debits = case account_sequence when $4 then $6 else 0 end
 where ledger_id = $1 and account_sequence in ($3, $4);
update doppia.ledger_heads
   set sequence = $2 + $6, recorded_at = $5,
       frontier = decode(repeat('00', (32 * bit_count(($2 + $6)::bigint::bit(64)))::integer), 'hex')
 where ledger_id = $1;
"""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=15, help="of posting before and after")
    arguments = parser.parse_args()
    ensure_wrk()
    with tempfile.TemporaryDirectory(prefix="doppia-bench-") as folder:
        data = Path(folder)
        data.chmod(0o755)
        server, credentials = start(data)
        try:
            accounts = asyncio.run(open_accounts(credentials, POSTING_ACCOUNTS + 2))
            url = running_url(data)
            assert url is not None
            began = time.monotonic()
            asyncio.run(fill(url, accounts[0], accounts[1], arguments.entries))
            report("filling the ledger by SQL", entries=arguments.entries, seconds=round(time.monotonic() - began))
            measure(data, credentials, accounts, arguments.seconds)
        finally:
            stop(server)


def measure(data: Path, credentials: dict[str, str], accounts: list[str], seconds: int) -> None:
    """Post before, beside and after a sweep, an archive of it, and a second sweep."""
    posting = accounts[2:]

    def post(seconds: int) -> dict[str, Any]:
        return load(data, credentials, posting, "spread", seconds, CALLERS)

    post(3)
    report("posting before", **post(seconds))
    for name, change in (("sweep", None), ("archive", {"status": "archived"}), ("second sweep", None)):
        figures: dict[str, Any] = {}
        working = threading.Thread(target=lambda: figures.update(asyncio.run(settle(credentials, accounts, change))))  # noqa: B023 - joined before the next
        working.start()
        beside = []
        while working.is_alive():
            beside.append(post(5))
        working.join()
        report(name, **figures)
        in_order = sorted(beside, key=lambda each: float(each["p99_ms"]))
        report(f"posting beside the {name}, typical 5 seconds", **in_order[len(beside) // 2])
        report(f"posting beside the {name}, the worst 5 seconds of {5 * len(beside)}", **in_order[-1])
    report("posting after", **post(seconds))
    alone = asyncio.run(settle(credentials, accounts, {"status": "archived"}))
    report("archive, nothing beside it", **alone)
    alone = asyncio.run(settle(credentials, accounts, None))
    report("sweep, nothing beside it", **alone)


async def settle(credentials: dict[str, str], accounts: list[str], change: dict[str, str] | None) -> dict[str, Any]:
    """Sweep the first account, or change the newest settlement; return when the work is done."""
    began = time.monotonic()
    async with connect(credentials) as client:
        if change is None:
            body = {"settled_ledger_account_id": accounts[0], "contra_ledger_account_id": accounts[1]}
            answer = await client.post("/api/ledger_account_settlements", json=body)
        else:
            newest = (await client.get("/api/ledger_account_settlements?per_page=1")).json()[0]["id"]
            answer = await client.patch(f"/api/ledger_account_settlements/{newest}", json=change)
        answer.raise_for_status()
        answered = time.monotonic()
        settlement = answer.json()
        while settlement["status"] in {"processing", "archiving"}:
            await asyncio.sleep(0.2)
            settlement = (await get(client, settlement["id"])).json()
    return {
        "status": settlement["status"],
        "amount": settlement["amount"],
        "answered_seconds": round(answered - began, 2),
        "seconds": round(time.monotonic() - began, 1),
    }


async def get(client: httpx2.AsyncClient, id_: str) -> httpx2.Response:
    """Get a settlement."""
    answer = await client.get(f"/api/ledger_account_settlements/{id_}")
    return answer.raise_for_status()


async def fill(url: str, wallet: str, bank: str, entries: int) -> None:
    """Write posted transactions between two fresh accounts."""
    settled, contra = parse_id(wallet), parse_id(bank)
    assert settled is not None
    assert contra is not None
    connection = await asyncpg.connect(url)
    head = await connection.fetchrow(
        "select sequence, recorded_at from doppia.ledger_heads where ledger_id = $1", settled.ledger
    )
    values = (settled.ledger, head[0], settled.sequence, contra.sequence, f"'{head[1]}'::timestamptz", entries)
    text = SEED
    for number, value in enumerate(values, 1):
        text = text.replace(f"${number}", str(value))
    await connection.execute(text)
    await connection.execute("set session_replication_role = origin")
    await connection.execute("vacuum analyze")
    await connection.close()


if __name__ == "__main__":
    main()

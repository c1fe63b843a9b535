"""A settlement of a million entries, and what posting sees of it: latencies over HTTP before, beside and after it.

The ledger is filled by SQL.
"""

import argparse
import asyncio
import threading
import time
from typing import Any

import asyncpg
import httpx2
from service import Service, number_of, report, running

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
    with running() as service:
        accounts = asyncio.run(service.open_accounts(POSTING_ACCOUNTS + 2))
        began = time.monotonic()
        asyncio.run(fill(service.database_url, accounts[0], accounts[1], arguments.entries))
        report("filling a ledger by SQL", round(time.monotonic() - began), "seconds", entries=arguments.entries)
        measure(service, accounts, arguments.seconds)


def measure(service: Service, accounts: list[str], seconds: int) -> None:
    """Post before, beside and after a sweep, an archive of it, and a second sweep."""

    def post(seconds: int) -> dict[str, Any]:
        return service.load("spread", accounts[2:], seconds, CALLERS)

    post(3)
    before = post(seconds)
    baseline = ("posting before", before.pop("per_second"))
    report(*baseline, "per second", **before)
    for name, change in (("sweep", None), ("archive", {"status": "archived"}), ("second sweep", None)):
        figures: dict[str, Any] = {}
        working = threading.Thread(target=lambda: figures.update(asyncio.run(settle(service, accounts, change))))  # noqa: B023 - joined before the next
        working.start()
        beside = []
        while working.is_alive():
            beside.append(post(5))
        working.join()
        report(name, figures.pop("seconds"), "seconds", **figures)
        in_order = sorted(beside, key=lambda each: float(each["p99_ms"]))
        for which, place in (("typical", len(beside) // 2), ("worst", -1)):
            seen = dict(in_order[place])
            report(
                f"posting beside the {name}, the {which} 5 seconds of {5 * len(beside)}", seen.pop("per_second"),
                "per second", baseline=baseline, **seen,
            )  # fmt: skip
    after = post(seconds)
    report("posting after", after.pop("per_second"), "per second", baseline=baseline, **after)
    for name, change in (("archive", {"status": "archived"}), ("sweep", None)):
        alone = asyncio.run(settle(service, accounts, change))
        report(f"{name}, nothing beside it", alone.pop("seconds"), "seconds", **alone)


async def settle(service: Service, accounts: list[str], change: dict[str, str] | None) -> dict[str, Any]:
    """Sweep the first account, or change the newest settlement; return when the work is done."""
    began = time.monotonic()
    async with service.client() as client:
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
    settled, contra = number_of(wallet), number_of(bank)
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

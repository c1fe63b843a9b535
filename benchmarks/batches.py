"""Posting in batches over HTTP, next to bare COPY of the same rows, as many in one database transaction."""

import argparse
import asyncio
import http.client
import json
import random
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from copying import copy_again
from service import Service, number_of, percentiles, report, running

ACCOUNTS = 2_000
CALLERS = {50: 16, 1_000: 4, 10_000: 2}
"""How many batches of each size are under way at once."""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=60_000, help="of each measurement")
    arguments = parser.parse_args()
    with running() as service:
        accounts = asyncio.run(service.open_accounts(ACCOUNTS))
        post(service, [batch(accounts, 1_000) for _ in range(5)], 2)
        for size, callers in CALLERS.items():
            bodies = [batch(accounts, size) for _ in range(arguments.transactions // size)]
            began = time.monotonic()
            times = post(service, bodies, callers)
            seconds = time.monotonic() - began
            copied = asyncio.run(
                copy_again(
                    service.database_url,
                    number_of(accounts[0]).ledger,
                    transactions=arguments.transactions // size * size,
                    at_once=size,
                )
            )
            report(
                f"posting in batches of {size}", round(len(bodies) * size / seconds), "per second",
                baseline=("COPY, as many at a time", copied.per_second), aim=">= 0.6", callers=callers,
                encoded_copy_per_second=copied.encoded_per_second,
                **percentiles(times),
            )  # fmt: skip


def batch(accounts: Sequence[str], size: int) -> bytes:
    """Return the body of a batch of transactions of two entries, accounts at random."""
    return json.dumps({"ledger_transactions": [transaction(accounts) for _ in range(size)]}).encode()


def transaction(accounts: Sequence[str]) -> dict[str, Any]:
    """Return the body of one transaction."""
    amount = random.randrange(1, 100_000)
    entries = [
        {"ledger_account_id": account, "direction": side, "amount": amount}
        for account, side in zip(random.sample(accounts, 2), ("debit", "credit"), strict=True)
    ]
    return {"status": "posted", "ledger_entries": entries}


def post(service: Service, bodies: Sequence[bytes], callers: int) -> list[float]:
    """Post batches, each with an idempotency key of its own; return the milliseconds that each took."""
    left: SimpleQueue[bytes] = SimpleQueue()
    for body in bodies:
        left.put(body)
    address = urlsplit(service.credentials["base_url"]).netloc

    def call() -> list[float]:
        times: list[float] = []
        connection = http.client.HTTPConnection(address, timeout=120)
        while True:
            try:
                body = left.get_nowait()
            except Empty:
                connection.close()
                return times
            headers = {
                "Authorization": service.authorization,
                "Content-Type": "application/json",
                "Idempotency-Key": str(uuid.uuid4()),
            }
            began = time.perf_counter()
            connection.request("POST", "/api/ledger_transactions/batch", body, headers)
            answer = connection.getresponse()
            told = answer.read()
            times.append(1000 * (time.perf_counter() - began))
            assert answer.status == 200, told[:1000]
            assert b'"refused"' not in told

    with ThreadPoolExecutor(callers) as pool:
        return [taken for each in [pool.submit(call) for _ in range(callers)] for taken in each.result()]


if __name__ == "__main__":
    main()

"""Posting over HTTP, one transaction a request, next to bare COPY of the same rows.

64 connections, each transaction with an idempotency key of its own: accounts at random, one hot account, a balance
guard on each transaction, three entries.
"""

import argparse
import asyncio

from copying import copy_again
from service import number_of, report, running

ACCOUNTS = 2_000
COPIED = 20_000
COPIED_AT_ONCE = 1_000
MODES = {
    "hot": "one hot account",
    "guarded": "accounts at random, a balance guard on each transaction",
    "three": "accounts at random, three entries",
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    arguments = parser.parse_args()
    with running() as service:
        accounts = asyncio.run(service.open_accounts(ACCOUNTS))
        service.load("spread", accounts, 3)
        spread = service.load("spread", accounts, arguments.seconds)
        copied = asyncio.run(
            copy_again(
                service.database_url,
                number_of(accounts[0]).ledger,
                transactions=COPIED,
                at_once=COPIED_AT_ONCE,
            )
        )
        rate = spread.pop("per_second")
        report(
            "posting one by one, accounts at random", rate, "per second",
            baseline=(f"COPY, {COPIED_AT_ONCE} at a time", copied.per_second),
            encoded_copy_per_second=copied.encoded_per_second, **spread,
        )  # fmt: skip
        for mode, name in MODES.items():
            seen = service.load(mode, accounts, arguments.seconds)
            report(
                f"posting one by one, {name}", seen.pop("per_second"), "per second",
                baseline=("accounts at random", rate), aim=">= 1" if mode == "hot" else None, **seen,
            )  # fmt: skip


if __name__ == "__main__":
    main()

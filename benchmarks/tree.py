"""Posting one by one with the Merkle tree over the log, next to a service that has none, in turns."""

import argparse
import asyncio
import statistics
import sys

import asyncpg
from service import HERE, Service, data_folder, report

ACCOUNTS = 2_000
TURNS = 5


async def _give_up_constraint(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("alter table doppia.ledger_heads drop constraint ledger_heads_frontier_of_sequence")
    await connection.close()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of each turn")
    arguments = parser.parse_args()
    rates: dict[str, list[int]] = {"with": [], "without": []}
    with data_folder() as first, data_folder() as second:
        made = Service(second)
        asyncio.run(_give_up_constraint(made.database_url))
        made.stop()
        services = {
            "with": Service(first),
            "without": Service(second, program=[sys.executable, HERE / "without_tree.py"]),
        }
        try:
            accounts = {name: asyncio.run(service.open_accounts(ACCOUNTS)) for name, service in services.items()}
            for turn in range(TURNS + 1):
                for name, service in services.items():
                    seen = service.load("spread", accounts[name], arguments.seconds)
                    if turn > 0:
                        rates[name].append(seen["per_second"])
        finally:
            for service in services.values():
                service.stop()
    report(
        "posting with the tree over the log", statistics.median(rates["with"]), "per second",
        baseline=("without the tree, in turns", statistics.median(rates["without"])), aim=">= 0.95", **rates,
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""Where the time goes under load: a flame graph of the service, and the database's time by query.

Needs py-spy, which is among the requirements for development, and the right to look into another process (root, where
the system asks for it). Prints a JSON line per function, with its share of the samples in which the service was on the
processor, and one per query, with its share of the database's time. Queries are called by their names in `store/*.sql`;
those inside of triggers by how they begin, and their time is part of that of the query that fired the trigger.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
from service import Service, data_folder

from doppia import store
from doppia.store.database.connections import load_queries

ACCOUNTS = 2_000
SAMPLES_PER_SECOND = 250
SHOWN = 30
SETTINGS = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all"}

STATEMENTS = """
select query, toplevel, calls, total_exec_time, mean_exec_time, rows
  from pg_stat_statements
 order by total_exec_time desc
 limit $1
"""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--mode", default="spread", choices=("spread", "hot", "guarded", "three", "read"), help="see wrk.lua"
    )
    parser.add_argument("--seconds", type=int, default=15, help="of each of the two profiles")
    parser.add_argument("--output", type=Path, default=Path(tempfile.gettempdir()) / "flame.svg")
    arguments = parser.parse_args()
    with data_folder() as data:
        service = Service(data)
        try:
            for setting, value in SETTINGS.items():
                asyncio.run(execute(service, f"alter system set {setting} = '{value}'"))
            service.stop()
            service = Service(data)
            asyncio.run(execute(service, "create extension pg_stat_statements"))
            accounts = asyncio.run(service.open_accounts(ACCOUNTS))
            lines = [f"/api/ledger_accounts/{id_}" for id_ in accounts] if arguments.mode == "read" else accounts
            service.load(arguments.mode, lines, 3)
            asyncio.run(execute(service, "select pg_stat_statements_reset()"))
            stacks = data / "stacks.txt"
            for output, form in ((stacks, "raw"), (arguments.output, "flamegraph")):
                with ThreadPoolExecutor(1) as pool:
                    loading = pool.submit(service.load, arguments.mode, lines, arguments.seconds + 2)
                    record(service, output, form, arguments.seconds)
                    seen = loading.result()
            show_functions(stacks.read_text())
            asyncio.run(show_queries(service))
            print(json.dumps({"flame_graph": str(arguments.output), "mode": arguments.mode, **seen}))
        finally:
            service.stop()


async def execute(service: Service, statement: str) -> None:
    """Execute a statement in the service's database, as its owner."""
    connection = await asyncpg.connect(service.database_url)
    await connection.execute(statement)
    await connection.close()


def record(service: Service, output: Path, form: str, seconds: int) -> None:
    """Let py-spy watch the service."""
    subprocess.run(
        [Path(sys.prefix) / "bin" / "py-spy", "record", "--pid", str(service.process.pid), "--output", output,
         "--format", form, "--duration", str(seconds), "--rate", str(SAMPLES_PER_SECOND)],
        check=True, capture_output=True,
    )  # fmt: skip


def show_functions(stacks: str) -> None:
    """Print how often each function was on the stack, and how often on its top."""
    counts: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    total = 0
    for line in stacks.splitlines():
        frames, _, samples = line.rpartition(" ")
        total += int(samples)
        functions = [frame.rpartition(":")[0] + ")" for frame in frames.split(";") if ":" in frame]
        for function in set(functions):
            counts[function] += int(samples)
        ends[functions[-1]] += int(samples)
    for function, count in counts.most_common(SHOWN):
        shares = {"share": round(count / total, 3), "by_itself": round(ends[function] / total, 3)}
        print(json.dumps({"function": function, **shares}))


async def show_queries(service: Service) -> None:
    """Print how long each query took."""
    names = {
        skeleton(query.text): f"{module.stem}.{name}"
        for module in Path(store.__file__).parent.glob("*/*.sql")
        for name, query in load_queries(f"{module.parent.name}/{module.stem}").items()
    }
    connection = await asyncpg.connect(service.database_url)
    rows = await connection.fetch(STATEMENTS, SHOWN)
    total = await connection.fetchval("select sum(total_exec_time) from pg_stat_statements where toplevel")
    await connection.close()
    for row in rows:
        line = {
            "query": names.get(skeleton(row["query"])) or " ".join(row["query"].split())[:90],
            "inside_another": not row["toplevel"],
            "share": round(row["total_exec_time"] / total, 3),
            "calls": row["calls"],
            "ms_each": round(row["mean_exec_time"], 3),
            "rows_each": round(row["rows"] / row["calls"], 1),
        }
        print(json.dumps(line))


def skeleton(text: str) -> str:
    """Return a query without what the server's statistics write in other ways: comments, constants, parameters."""
    return re.sub(r"--.*|'[^']*'|\$?\b\d+\b|\$|\s", "", text)


if __name__ == "__main__":
    main()

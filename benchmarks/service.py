"""What the benchmarks share: a service of their own on a fresh data folder, load on it, and the lines they print."""

import asyncio
import base64
import json
import operator
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from doppia.accounting.ids import Id, parse_id
from doppia.store.embedded.server import running_url

HERE = Path(__file__).parent
PROGRAM = Path(sys.prefix) / "bin" / "doppia"
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
"""Of the program: it keeps its bytecode, as an installation does."""

CONNECTIONS = 64
"""Of those who post one transaction a request."""

_COMPARE = {"<": operator.lt, "<=": operator.le, ">=": operator.ge}


def report(
    measurement: str,
    value: float,
    unit: str,
    *,
    baseline: tuple[str, float] | None = None,
    aim: str | None = None,
    **figures: Any,
) -> None:
    """Print one measurement as a JSON line.

    Args:
        measurement: what was measured.
        value: the figure.
        unit: of the figure and of the baseline.
        baseline: what it is compared with, measured in the same run, and its figure.
        aim: of the ratio to the baseline, or of the figure where there is none, as in "<= 2".
        figures: what else was seen.
    """
    line: dict[str, Any] = {"measurement": measurement, "value": value, "unit": unit}
    compared = value
    if baseline is not None:
        compared = round(value / baseline[1], 3)
        line |= {"baseline": baseline[0], "baseline_value": baseline[1], "ratio": compared}
    if aim is not None:
        sign, bound = aim.split()
        line |= {"aim": aim, "reached": _COMPARE[sign](compared, float(bound))}
    print(json.dumps({**line, **figures, "load_average": round(os.getloadavg()[0], 1)}), flush=True)


def percentiles(times_ms: Sequence[float]) -> dict[str, Any]:
    """Return the median, the 99th percentile and the longest of some times."""
    times = sorted(times_ms)
    return {
        "p50_ms": round(times[len(times) // 2], 3),
        "p99_ms": round(times[len(times) * 99 // 100], 3),
        "max_ms": round(times[-1], 3),
    }


class Service:
    """A service that runs, durable as always, with its embedded database.

    Attributes:
        data: its data folder.
        process: it itself.
        credentials: `organization_id`, `api_key` and `base_url`.
    """

    def __init__(self, data: Path, *, program: Sequence[str | Path] = (PROGRAM,)) -> None:
        """Start the service, and return once it answers."""
        self.data = data
        port = _free_port()
        log = data / "service.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*program, "serve", "--data", data, "--port", str(port)],
                stdout=output, stderr=output, env=ENVIRONMENT,
            )  # fmt: skip
        while True:
            try:
                self.credentials: dict[str, str] = json.loads((data / "credentials.json").read_text())
                self.credentials["base_url"] = f"http://127.0.0.1:{port}"
                httpx2.get(self.credentials["base_url"] + "/readyz", verify=False).raise_for_status()
            except (OSError, ValueError, httpx2.HTTPError):
                assert self.process.poll() is None, log.read_text()
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """Stop it as an operator would."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    @property
    def database_url(self) -> str:
        """The URL of its database."""
        url = running_url(self.data)
        assert url is not None, "the service runs"
        return url

    @property
    def authorization(self) -> str:
        """The value of the header that says who calls."""
        pair = f"{self.credentials['organization_id']}:{self.credentials['api_key']}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def client(self) -> httpx2.AsyncClient:
        """Return a client of it."""
        return httpx2.AsyncClient(
            base_url=self.credentials["base_url"], headers={"Authorization": self.authorization}, timeout=120
        )

    async def open_accounts(self, count: int) -> list[str]:
        """Open accounts in a ledger of their own."""
        async with self.client() as client:
            ledger = (await client.post("/api/ledgers", json={"name": "benchmark"})).json()

            async def open_one(number: int) -> str:
                body = {"name": f"a{number}", "ledger_id": ledger["id"], "currency": "USD", "normal_balance": "credit"}
                answer = await client.post("/api/ledger_accounts", json=body)
                return str(answer.raise_for_status().json()["id"])

            ids: list[str] = []
            for first in range(0, count, 32):
                ids += await asyncio.gather(*(open_one(number) for number in range(first, min(first + 32, count))))
        return ids

    def load(self, mode: str, lines: Sequence[str], seconds: int, connections: int = CONNECTIONS) -> dict[str, Any]:
        """Let wrk send requests, and return the rate and the latencies that it saw.

        Args:
            mode: what to send, as wrk.lua knows it.
            lines: accounts that are posted to, or paths that are read.
            seconds: how long.
            connections: each with one request under way.
        """
        ensure_wrk()
        file = self.data / "lines.txt"
        file.write_text("\n".join(lines))
        output = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", HERE / "wrk.lua",
             self.credentials["base_url"], "--", file, self.authorization, mode],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        line = next(line for line in output.splitlines() if line.startswith("RESULT"))
        requests, microseconds, errors, p50, p99, longest = line.split()[1:]
        assert int(errors) == 0, output
        return {
            "per_second": round(int(requests) / int(microseconds) * 1e6),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "max_ms": float(longest),
        }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def data_folder(parent: Path | None = None) -> Iterator[Path]:
    """Lend a fresh folder that the database's own user may enter."""
    with tempfile.TemporaryDirectory(prefix="doppia-bench-", dir=parent) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def running() -> Iterator[Service]:
    """Run a service on a fresh data folder."""
    with data_folder() as data:
        service = Service(data)
        try:
            yield service
        finally:
            service.stop()


def ensure_wrk() -> None:
    """Install wrk where it is missing and apt-get is there."""
    if shutil.which("wrk") is None:
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], check=True, stdout=subprocess.DEVNULL)


def number_of(id_: str) -> Id:
    """Return what an id of the API names in the database."""
    found = parse_id(id_)
    assert found is not None
    return found

"""Posting, then balance reads, in an open loop: requests go out on a timetable, whoever is answered or not.

Each goes at half of the rate that a closed loop reaches at most. Latency counts from the time a request was due, so
that one who had to wait for a free connection is counted as well.
"""

import argparse
import asyncio
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop
from service import Service, percentiles, report, running

ACCOUNTS = 2_000
CONNECTIONS = 64
PERIOD_SECONDS = 60


class Caller(asyncio.Protocol):
    """A connection with one request under way at most. It does little, for it takes the time of those it measures."""

    def __init__(self, timetable: "Timetable") -> None:
        self._timetable = timetable
        self._came = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due at this time."""
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Tell when an answer is whole."""
        self._came += data
        head, end, body = self._came.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r")[0]):
            status, self._came = int(self._came[9:12]), b""
            self._timetable.note(self, status)

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell who measures."""
        self._timetable.lost()


class Timetable:
    """One kind of request, sent at a rate: latencies by period of the run, and answers that were no success."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.times_ms: dict[int, list[float]] = defaultdict(list)
        self.failed = 0
        # In turn, for the service closes those that rest for five seconds.
        self._free: deque[Caller] = deque()
        self._late: deque[tuple[bytes, float]] = deque()
        self._left = 0
        self._began = 0.0

    async def run(self, service: Service, seconds: int, request: Callable[[int], bytes]) -> None:
        """Send requests for so long, each when it is due."""
        host, port = service.credentials["base_url"].removeprefix("http://").split(":")
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, caller = await loop.create_connection(lambda: Caller(self), host, int(port))
            self._free.append(caller)
        self._done: asyncio.Future[None] = loop.create_future()
        self._left = total = int(self.rate * seconds)
        self._began = time.perf_counter()
        for number in range(total):
            due = self._began + number / self.rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            if self._free:
                self._free.popleft().send(request(number), due)
            else:
                self._late.append((request(number), due))
        await self._done
        for caller in self._free:
            caller.transport.abort()

    def note(self, caller: Caller, status: int) -> None:
        """Note an answer, and let the caller send what is late."""
        self.times_ms[int((caller.due - self._began) // PERIOD_SECONDS)].append(
            (time.perf_counter() - caller.due) * 1000
        )
        self.failed += status >= 400
        self._left -= 1
        if self._late:
            caller.send(*self._late.popleft())
        else:
            self._free.append(caller)
        if not self._left:
            self._done.set_result(None)

    def lost(self) -> None:
        """Note that a connection is gone; before the end it should not be."""
        if not self._done.done():
            self._done.set_exception(ConnectionError("the service closed a connection"))


def head(service: Service, line: str, fields: str = "") -> str:
    """Return the head of a request."""
    return f"{line} HTTP/1.1\r\nHost: benchmark\r\nAuthorization: {service.authorization}\r\n{fields}\r\n"


def memory_mib(service: Service) -> int:
    """Return what the process of the service holds."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def postings(service: Service, accounts: list[str]) -> Callable[[int], bytes]:
    """Return what makes the n-th request that posts."""

    def request(number: int) -> bytes:
        debit, credit = random.sample(accounts, 2)
        entry = '{{"ledger_account_id":"{}","direction":"{}","amount":1}}'
        entries = f"{entry.format(debit, 'debit')},{entry.format(credit, 'credit')}"
        body = f'{{"status":"posted","ledger_entries":[{entries}]}}'
        fields = f"Content-Type: application/json\r\nIdempotency-Key: o{number}\r\nContent-Length: {len(body)}\r\n"
        return (head(service, "POST /api/ledger_transactions", fields) + body).encode()

    return request


def reads(service: Service, accounts: list[str]) -> Callable[[int], bytes]:
    """Return what makes a request that reads a balance."""

    def request(_number: int) -> bytes:
        return head(service, f"GET /api/ledger_accounts/{random.choice(accounts)}").encode()

    return request


async def measure(
    service: Service, name: str, aim: str, request: Callable[[int], bytes], rate: float, seconds: int
) -> None:
    """Send requests at this rate, and print what callers saw."""
    times = Timetable(rate)
    held_mib = [memory_mib(service)]

    async def watch() -> None:
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            held_mib.append(memory_mib(service))

    watching = asyncio.create_task(watch())
    await times.run(service, seconds, request)
    watching.cancel()
    held_mib.append(memory_mib(service))
    seen = percentiles([time_ms for period in times.times_ms.values() for time_ms in period])
    by_minute = [percentiles(times.times_ms[period])["p99_ms"] for period in sorted(times.times_ms)]
    report(
        f"{name} in an open loop, 99th percentile", seen.pop("p99_ms"), "ms", aim=aim, rate_per_second=round(rate),
        seconds=seconds, failed=times.failed, connections=CONNECTIONS, p99_ms_by_minute=by_minute,
        memory_mib=held_mib, **seen,
    )  # fmt: skip


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of each open loop")
    arguments = parser.parse_args()
    with running() as service:
        accounts = asyncio.run(service.open_accounts(ACCOUNTS))
        paths = [f"/api/ledger_accounts/{account}" for account in accounts]
        service.load("spread", accounts, 3)
        rate = service.load("spread", accounts, 8)["per_second"] / 2
        uvloop.run(measure(service, "posting", "< 25", postings(service, accounts), rate, arguments.seconds))
        rate = service.load("read", paths, 5)["per_second"] / 2
        uvloop.run(measure(service, "balance reads", "< 10", reads(service, accounts), rate, arguments.seconds))


if __name__ == "__main__":
    main()

"""More than the service can do, and a database that stands still: what is refused, what is kept, who still reads."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import asyncpg
import httpx2
import pytest

from doppia.api.http.request import Service
from doppia.engine.posting import stages
from doppia.store.database.connections import CONNECTIONS_MAX, WRITERS_MAX
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

LEDGERS = CONNECTIONS_MAX + 3


class Running(Protocol):
    """What the fixture `running` lends."""

    service: Service


class Books:
    """Ledgers with two accounts each."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.accounts: list[tuple[str, str]] = []

    async def begin(self, ledgers: int) -> None:
        for number in range(ledgers):
            ledger = (await self.client.post("/api/ledgers", json={"name": f"{number}"})).json()["id"]
            body = {"name": "a", "ledger_id": ledger, "currency": "PHP", "normal_balance": "credit"}
            first, second = [(await self.client.post("/api/ledger_accounts", json=body)).json()["id"] for _ in "ab"]
            self.accounts.append((first, second))

    async def post(self, key: str, ledger: int = 0) -> httpx2.Response:
        entries = [
            {"ledger_account_id": account, "direction": direction, "amount": 1}
            for account, direction in zip(self.accounts[ledger], ("debit", "credit"), strict=True)
        ]
        body = {"status": "posted", "external_id": key, "ledger_entries": entries}
        headers = {"Idempotency-Key": key}
        return await self.client.post("/api/ledger_transactions", json=body, headers=headers)

    async def credits(self, ledger: int = 0) -> int:
        found = await self.client.get(f"/api/ledger_accounts/{self.accounts[ledger][1]}")
        assert found.status_code == 200
        return int(found.json()["balances"]["posted_balance"]["credits"])


@pytest.fixture
async def books(client: httpx2.AsyncClient) -> Books:
    return Books(client)


async def waiting_for_locks(connection: asyncpg.Connection) -> int:
    """Return how many sessions of this database wait for a lock."""
    return int(
        await connection.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
    )


async def wait_for_locks(connection: asyncpg.Connection, count: int) -> None:
    async with asyncio.timeout(30):
        while await waiting_for_locks(connection) < count:
            await asyncio.sleep(0.01)


async def wait_for_answers(tasks: Sequence[asyncio.Task[httpx2.Response]], count: int) -> None:
    async with asyncio.timeout(30):
        while sum(task.done() for task in tasks) < count:
            await asyncio.sleep(0.01)


async def test_reads_are_answered_while_all_who_may_write_wait_for_locked_heads(
    books: Books, database_url: str
) -> None:
    await books.begin(LEDGERS)
    holder, watcher = [await asyncpg.connect(database_url) for _ in range(2)]
    async with holder.transaction():
        await holder.execute("select from doppia.ledger_heads for update")
        posting = [asyncio.create_task(books.post(f"{ledger}", ledger)) for ledger in range(LEDGERS)]
        await wait_for_locks(watcher, WRITERS_MAX)

        assert [await books.credits(ledger) for ledger in range(LEDGERS)] == [0] * LEDGERS

        assert await waiting_for_locks(watcher) == WRITERS_MAX
        assert not any(task.done() for task in posting)
    assert [answer.status_code for answer in await asyncio.gather(*posting)] == [201] * LEDGERS
    assert [await books.credits(ledger) for ledger in range(LEDGERS)] == [1] * LEDGERS
    await holder.close()
    await watcher.close()
    await assert_invariants(database_url)


async def test_who_would_wait_too_long_behind_a_locked_head_is_told_to_come_back_and_leaves_no_trace(
    books: Books, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "GROUP_MAX", 4)
    monkeypatch.setattr(stages, "WAITING_SECONDS_MAX", 0)
    await books.begin(1)
    holder, watcher = [await asyncpg.connect(database_url) for _ in range(2)]
    async with holder.transaction():
        await holder.execute("select from doppia.ledger_heads for update")
        first = asyncio.create_task(books.post("first"))
        await wait_for_locks(watcher, 1)
        more = {f"{number}": asyncio.create_task(books.post(f"{number}")) for number in range(9)}
        # While the head is locked and nothing goes on, one is decided upon the first, and four form the next group.
        # Those who don't fit into it have their answer.
        await wait_for_answers(list(more.values()), 4)
        refused = {key: task.result() for key, task in more.items() if task.done()}
        assert not first.done()
    assert {(answer.status_code, answer.headers["Retry-After"]) for answer in refused.values()} == {(503, "1")}
    assert {answer.json()["errors"]["refusal"]["code"] for answer in refused.values()} == {"overloaded"}
    accepted = await asyncio.gather(first, *(task for key, task in more.items() if key not in refused))
    assert [answer.status_code for answer in accepted] == [201] * 6
    assert await books.credits() == 6
    for key in refused:
        assert (await books.client.get("/api/ledger_transactions", params={"external_id": key})).json() == []

    again = [await books.post(key) for key in refused]

    assert [answer.status_code for answer in again] == [201] * 4
    assert await books.credits() == 10
    await holder.close()
    await watcher.close()
    await assert_invariants(database_url)


async def test_writes_beyond_those_under_way_wait_at_the_door_and_are_refused_in_the_end_while_reads_pass(
    books: Books, running: Running, database_url: str
) -> None:
    await books.begin(1)
    running.service.writes = asyncio.Semaphore(3)
    holder = await asyncpg.connect(database_url)
    async with holder.transaction():
        await holder.execute("select from doppia.ledger_heads for update")
        posting = [asyncio.create_task(books.post(f"{number}")) for number in range(8)]
        assert await books.credits() == 0
        assert not any(task.done() for task in posting)
        await wait_for_answers(posting, 5)
        refused = [task.result() for task in posting if task.done()]
        assert {(answer.status_code, answer.headers["Retry-After"]) for answer in refused} == {(503, "1")}
        assert {answer.json()["errors"]["refusal"]["code"] for answer in refused} == {"overloaded"}
        assert await books.credits() == 0
    told = [answer.status_code for answer in await asyncio.gather(*posting)]
    assert (told.count(201), told.count(503)) == (3, 5)
    assert (await books.post(f"{told.index(503)}")).status_code == 201
    assert await books.credits() == 4
    await holder.close()
    await assert_invariants(database_url)


async def test_callers_who_push_without_pause_are_served_in_turn_and_what_is_acknowledged_is_kept(
    books: Books, running: Running, database_url: str
) -> None:
    await books.begin(1)
    running.service.writes = asyncio.Semaphore(4)

    async def push(caller: int) -> list[httpx2.Response]:
        return [await books.post(f"{caller}-{number}") for number in range(5)]

    pushing = asyncio.gather(*(push(caller) for caller in range(60)))
    read = 0
    while not pushing.done():
        read = await books.credits()
    answers = [answer for caller in await pushing for answer in caller]

    accepted = sum(answer.status_code == 201 for answer in answers)
    assert accepted >= read > 0
    refused = [answer for answer in answers if answer.status_code != 201]
    assert all((answer.status_code, answer.headers["Retry-After"]) == (503, "1") for answer in refused)
    assert await books.credits() == accepted
    await assert_invariants(database_url)


async def test_who_finds_no_connection_to_write_with_is_told_to_come_back_and_leaves_no_trace(
    books: Books, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.begin(LEDGERS)
    monkeypatch.setattr("doppia.store.database.connections.CONNECT_TIMEOUT_SECONDS", 0.2)
    holder = await asyncpg.connect(database_url)
    async with holder.transaction():
        await holder.execute("select from doppia.ledger_heads for update")
        posting = [asyncio.create_task(books.post(f"{ledger}", ledger)) for ledger in range(LEDGERS)]
        await wait_for_answers(posting, LEDGERS - WRITERS_MAX)
    told = await asyncio.gather(*posting)
    refused = [answer for answer in told if answer.status_code == 503]
    assert {answer.json()["errors"]["refusal"]["code"] for answer in refused} == {"overloaded"}
    assert len(refused) == LEDGERS - WRITERS_MAX
    for ledger, answer in enumerate(told):
        assert await books.credits(ledger) == (answer.status_code == 201)
    await holder.close()
    await assert_invariants(database_url)

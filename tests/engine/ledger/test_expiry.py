"""Holds that nobody resolved are archived once their time has passed, by whichever service looks first."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from doppia.accounting.errors import Unavailable
from doppia.accounting.ids import Id
from doppia.accounting.ledger.transactions import Transaction
from doppia.engine.background import expiry
from doppia.engine.background import jobs as background
from doppia.engine.background.expiry import expire_due
from doppia.engine.background.jobs import Background
from doppia.engine.ledger.ledgers import DiscardLedger
from doppia.engine.performing import Engine
from doppia.engine.posting import stages
from doppia.engine.posting.commands import Asked, ExpireTransaction, TransactionCommand
from doppia.engine.posting.lanes import PostingGroups
from doppia.engine.posting.writing import NOBODY, Caller
from doppia.store.database.connections import Database, load_queries
from doppia.store.ledger import transactions
from tests.engine.bookkeeping import Books, code, id_of, move, now, outcome
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

CALLERS = 50
INSTANT = timedelta(microseconds=1)
HOUR = timedelta(hours=1)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.at = now() + HOUR

    def __call__(self) -> datetime:
        return self.at


class Service(SimpleNamespace):
    """A ledger with two accounts, and one or several services on it that all go by one clock."""

    books: Books
    cash: Id
    wallet: Id
    clock: Clock
    databases: list[Database]
    engines: list[Engine]

    async def hold(self, amount: int = 5, after: timedelta | None = HOUR) -> Id:
        expires_at = None if after is None else self.clock.at + after
        legs = move(self.cash, self.wallet, amount)
        held = await self.engines[0].perform(*self.books.create(legs, "pending", expires_at=expires_at))
        return id_of(held.id)

    async def expire(self, number: int = 0) -> None:
        await expire_due(self.engines[number])

    async def look_at(self, *holds: Id) -> list[Transaction]:
        async with self.databases[0].connection() as connection:
            found = await transactions.get(connection, self.books.ledger.number, [hold.sequence for hold in holds])
        return [found[hold.sequence] for hold in holds]

    async def statuses(self, *holds: Id) -> list[tuple[str, str | None]]:
        return [(found.status, found.archived_reason) for found in await self.look_at(*holds)]

    async def sums(self) -> tuple[int, ...]:
        return tuple((await self.books.account(self.wallet)).sums)


@pytest.fixture(params=["one process", "two processes"])
async def service(request: pytest.FixtureRequest, database: Database, database_url: str) -> AsyncIterator[Service]:
    databases = [database]
    if request.param == "two processes":
        databases.append(Database(database_url))
        await databases[1].open()
    clock = Clock()
    books = await Books.begin(database)
    made = Service(
        books=books,
        cash=await books.open(),
        wallet=await books.open(),
        clock=clock,
        databases=databases,
        engines=[Engine(each, clock) for each in databases],
    )
    yield made
    for engine in made.engines:
        await engine.close()
    for each in databases[1:]:
        await each.close()
    await assert_invariants(database_url)


EXPIRED = ("archived", "expired")
HELD = ("pending", None)


async def test_a_hold_is_archived_when_its_time_has_come_and_not_before(service: Service) -> None:
    hold, lasting, endless = (
        await service.hold(),
        await service.hold(after=HOUR + INSTANT),
        await service.hold(after=None),
    )
    records = await service.books.records()
    service.clock.at += HOUR - INSTANT
    await service.expire()
    assert await service.statuses(hold, lasting, endless) == [HELD] * 3
    assert await service.books.records() == records

    service.clock.at += INSTANT
    await service.expire()
    assert await service.statuses(hold, lasting, endless) == [EXPIRED, HELD, HELD]
    [expired] = await service.look_at(hold)
    assert (expired.updated_at, expired.expires_at, expired.version) == (
        service.clock.at,
        service.clock.at,
        1,
    )
    assert await service.sums() == (0, 0, 10, 0)

    service.clock.at += timedelta(days=10_000)
    await service.expire()
    assert await service.statuses(hold, lasting, endless) == [EXPIRED, EXPIRED, HELD]
    assert await service.books.records() == records + 2


async def test_what_fell_due_while_no_service_ran_is_archived_by_the_next_one(service: Service) -> None:
    holds = [await service.hold(after=HOUR * number) for number in range(1, 4)]
    for engine in service.engines:
        await engine.close()
    service.clock.at += timedelta(days=365)
    service.engines = [Engine(each, service.clock) for each in service.databases]
    await service.expire()
    assert await service.statuses(*holds) == [EXPIRED] * 3
    assert await service.sums() == (0, 0, 0, 0)


async def test_the_time_is_that_which_the_hold_has_by_now(service: Service) -> None:
    put_off, put_forward, freed, given = (
        await service.hold(), await service.hold(), await service.hold(), await service.hold(after=None)
    )  # fmt: skip
    for hold, after in ((put_off, 2 * HOUR), (put_forward, HOUR / 2), (freed, None), (given, HOUR / 2)):
        expires_at = None if after is None else service.clock.at + after
        await service.engines[0].perform(*service.books.revise(hold, expires_at=expires_at))
    service.clock.at += HOUR / 2
    await service.expire()
    assert await service.statuses(put_off, put_forward, freed, given) == [HELD, EXPIRED, HELD, EXPIRED]
    service.clock.at += HOUR / 2
    await service.expire()
    assert await service.statuses(put_off, freed) == [HELD, HELD]
    service.clock.at += HOUR
    await service.expire()
    assert await service.statuses(put_off, freed) == [EXPIRED, HELD]


async def test_what_was_resolved_in_time_stays_as_it_is(service: Service) -> None:
    posted, archived, parted = await service.hold(), await service.hold(), await service.hold(10)
    perform = service.engines[0].perform
    await perform(*service.books.revise(posted, status="posted"))
    await perform(*service.books.revise(archived, status="archived"))
    part = await perform(*service.books.partial_post(parted, move(service.cash, service.wallet, 4)))
    service.clock.at += 2 * HOUR
    await service.expire()
    assert await service.statuses(posted, archived, parted, id_of(part.id)) == [
        ("posted", None), ("archived", None), EXPIRED, ("posted", None)
    ]  # fmt: skip
    assert await service.sums() == (9, 0, 0, 0)


async def test_the_holds_of_a_discarded_ledger_stay_as_they_are_and_hold_up_no_others(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "AT_ONCE_MAX", 2)
    holds = [await service.hold(after=HOUR / 2) for _ in range(5)]
    other = Service(**{**vars(service), "books": await Books.begin(service.databases[0])})
    other.cash, other.wallet = await other.books.open(), await other.books.open()
    elsewhere = [await other.hold() for _ in range(5)]
    await service.engines[0].perform(NOBODY, DiscardLedger(ledger=service.books.ledger))
    service.clock.at += 2 * HOUR
    records = await service.books.records()
    await service.expire()
    assert await service.statuses(*holds) == [HELD] * 5
    assert await service.books.records() == records
    assert await other.statuses(*elsewhere) == [EXPIRED] * 5


async def test_more_than_are_archived_at_once_are_all_archived(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "AT_ONCE_MAX", 50)
    drafts = [
        service.books.create(move(service.cash, service.wallet, 1), "pending", expires_at=service.clock.at + HOUR)
        for _ in range(325)
    ]
    told = await asyncio.gather(*(service.engines[0].perform(*draft) for draft in drafts))
    holds = [id_of(held.id) for held in told]
    service.clock.at += HOUR
    await asyncio.gather(*(service.expire(number) for number in range(len(service.engines))))
    assert Counter(await service.statuses(*holds)) == {EXPIRED: 325}
    assert await service.sums() == (0, 0, 0, 0)
    assert (await service.books.account(service.wallet)).lock_version == 650


async def race(service: Service, commands: Sequence[Asked], turns: int) -> Counter[str]:
    """Send all at once through all services, and after so many turns of the loop let the time come and holds expire."""

    async def time_comes() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        service.clock.at += INSTANT
        await asyncio.gather(*(service.expire(number) for number in range(len(service.engines))))

    sent = [
        outcome(service.engines[number % len(service.engines)].perform(*asked)) for number, asked in enumerate(commands)
    ]
    told, _ = await asyncio.gather(asyncio.gather(*sent), time_comes())
    return Counter(code(each) for each in told)


async def test_a_hold_that_is_due_is_resolved_by_nobody_however_many_try(service: Service) -> None:
    hold = await service.hold()
    service.clock.at += HOUR
    books, legs = service.books, move(service.cash, service.wallet, 1)
    ways = [
        books.revise(hold, status="posted"),
        books.revise(hold, status="archived"),
        books.revise(hold, expires_at=None),
        books.partial_post(hold, legs),
    ]
    told = await race(service, [ways[number % 4] for number in range(CALLERS)], 0)
    assert told.keys() <= {"transaction_expired", "transaction_final", "not_partially_postable"}
    assert told.total() == CALLERS
    assert await service.statuses(hold) == [EXPIRED]
    assert await service.sums() == (0, 0, 0, 0)


@pytest.mark.parametrize("turns", [0, 2, 8, 32, 128])
async def test_a_hold_whose_time_comes_while_many_post_it_is_posted_once_or_archived(
    service: Service, turns: int
) -> None:
    hold = await service.hold()
    service.clock.at += HOUR - INSTANT

    told = await race(service, [service.books.revise(hold, status="posted")] * CALLERS, turns)

    [found] = await service.look_at(hold)
    if found.status == "posted":
        assert told == {"accepted": 1, "transaction_final": CALLERS - 1}
        assert await service.sums() == (5, 0, 0, 0)
    else:
        assert (found.status, found.archived_reason) == EXPIRED
        assert told.keys() <= {"transaction_expired", "transaction_final"}
        assert await service.sums() == (0, 0, 0, 0)


@pytest.mark.parametrize("turns", [0, 2, 8, 32, 128])
async def test_a_hold_whose_time_comes_while_many_take_parts_of_it_gives_what_they_took_and_frees_the_rest(
    service: Service, turns: int
) -> None:
    hold = await service.hold(1000)
    service.clock.at += HOUR - INSTANT
    part = service.books.partial_post(hold, move(service.cash, service.wallet, 3))

    told = await race(service, [part] * CALLERS, turns)

    assert told.keys() <= {"accepted", "transaction_expired", "not_partially_postable"}
    assert await service.statuses(hold) == [EXPIRED]
    assert await service.sums() == (3 * told["accepted"], 0, 0, 0)


async def test_what_can_not_be_archived_now_is_archived_later(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds = [await service.hold() for _ in range(3)]
    service.clock.at += HOUR
    with monkeypatch.context() as patched:
        patched.setattr(stages, "WAITING_MAX", 1)
        await service.expire()
    assert (await service.statuses(*holds)).count(EXPIRED) == 1
    await service.expire()
    assert await service.statuses(*holds) == [EXPIRED] * 3


async def test_what_can_not_be_archived_holds_up_no_others(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "AT_ONCE_MAX", 2)
    stuck = [await service.hold(after=HOUR / 2) for _ in range(5)]
    others = [await service.hold() for _ in range(5)]
    service.clock.at += HOUR
    submit = PostingGroups.submit

    async def fails(groups: PostingGroups, caller: Caller, command: TransactionCommand[Any]) -> Any:
        assert isinstance(command, ExpireTransaction)
        if command.target in stuck[:3]:
            raise Unavailable
        if command.target in stuck[3:]:
            raise ZeroDivisionError
        return await submit(groups, caller, command)

    with monkeypatch.context() as patched:
        patched.setattr(PostingGroups, "submit", fails)
        with pytest.raises(ZeroDivisionError):
            await service.expire()
    assert await service.statuses(*others) == [EXPIRED] * 5
    assert await service.statuses(*stuck) == [HELD] * 5
    await service.expire()
    assert await service.statuses(*stuck) == [EXPIRED] * 5


@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
async def test_what_is_due_is_found_by_its_time_even_while_nothing_is_known_of_the_table(
    database: Database, plan: str
) -> None:
    queries = load_queries("ledger/transactions")
    past = "now() - interval '1 hour'"
    arguments = queries["due"].arguments(
        {"at": "now()", "limit": "1000", "after_time": past, "after_ledger": "1", "after_sequence": "1"}
    )
    async with database.connection() as connection, connection.transaction():
        await connection.execute(f"set local plan_cache_mode = {plan}")
        await queries["keep_order"].execute(connection)
        await connection.execute(f"prepare due as {queries['due'].text}")
        rows = await connection.fetch(f"explain (costs off) execute due ({', '.join(arguments)})")
    told = "\n".join(row[0] for row in rows)
    assert "using transactions_expires_at_idx" in told
    assert "expires_at <=" in told.partition("Index Cond: ")[2].partition("\n")[0]
    assert "ROW(expires_at, ledger_id, transaction_sequence) >" in told.partition("Index Cond: ")[2].partition("\n")[0]
    assert "Sort" not in told


class Job:
    """A job that fails as often as it is told to, and then lets those know who wait."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.runs = 0
        self.done = asyncio.Event()

    async def run(self) -> None:
        self.runs += 1
        if self.faults:
            raise self.faults.pop(0)
        self.done.set()


async def test_a_job_that_fails_is_run_again_and_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.001)
    jobs = Job(Unavailable(), ZeroDivisionError()), Job()
    running = Background()
    running.start(*(job.run for job in jobs))
    async with asyncio.timeout(30):
        for job in jobs:
            await job.done.wait()
    await running.stop()
    assert jobs[0].runs >= 3
    runs = [job.runs for job in jobs]
    await asyncio.sleep(0.01)
    assert [job.runs for job in jobs] == runs


async def test_a_job_that_is_woken_does_not_wait_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 3600)
    job, running = Job(), Background()
    running.start(job.run)
    async with asyncio.timeout(30):
        for runs in range(1, 4):
            await job.done.wait()
            assert job.runs == runs
            job.done.clear()
            running.wake()
    await running.stop()

"""Many who settle at once, in one process and in two: each entry comes to one settlement, and the books add up."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import cycle
from typing import Any

import pytest

from doppia.accounting.errors import LedgerError
from doppia.accounting.ledger.transactions import Transaction
from doppia.engine.closing.settling import work_off
from doppia.engine.ledger.ledgers import PurgeLedger
from doppia.engine.posting import writing
from doppia.engine.posting.writing import Caller
from doppia.store.closing import settlements
from doppia.store.database.connections import Connection, Database
from tests.engine.bookkeeping import id_of, key, now, outcome
from tests.engine.closing.sellers import Seller, amounts, begin, own, take_small_steps
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

CALLERS = 50


@pytest.fixture(params=["one process", "two processes"])
async def databases(
    request: pytest.FixtureRequest, database: Database, database_url: str
) -> AsyncIterator[Iterator[Database]]:
    """The databases of the services that callers come to, in turns."""
    opened = [database]
    if request.param == "two processes":
        opened.append(Database(database_url))
        await opened[1].open()
    yield cycle(opened)
    for each in opened[1:]:
        await each.close()


@pytest.fixture
async def seller(database: Database, database_url: str) -> AsyncIterator[Seller]:
    async with begin(database) as made:
        yield made
    await assert_invariants(database_url)


def codes(told: list[Any]) -> Counter[str]:
    return Counter(each.code if isinstance(each, LedgerError) else "accepted" for each in told)


async def test_of_many_who_settle_an_account_while_others_post_each_entry_comes_to_one(
    seller: Seller, databases: Iterator[Database]
) -> None:
    await seller.earn_often(range(1, 41))

    told = await asyncio.gather(
        *(outcome(seller.sweep("posted", database=next(databases))) for _ in range(CALLERS)),
        *(seller.earn(1000) for _ in range(CALLERS)),
    )
    await seller.sweep("posted")

    assert codes(told) == {"accepted": 2 * CALLERS}
    assert sum(each.amount or 0 for each in await seller.all()) == sum(range(1, 41)) + CALLERS * 1000
    assert await seller.balance() == 0


async def test_an_entry_that_many_pick_at_once_comes_to_one_of_them(
    seller: Seller, databases: Iterator[Database]
) -> None:
    earned = await seller.earn(40)
    drafts = [await seller.draft() for _ in range(CALLERS)]

    told = await asyncio.gather(*(outcome(seller.add(each, own(earned), database=next(databases))) for each in drafts))

    assert codes(told) == {"accepted": 1, "entry_settled": CALLERS - 1}


async def test_one_settlement_that_many_change_at_once_is_posted_or_archived(
    seller: Seller, databases: Iterator[Database]
) -> None:
    await seller.earn(40)
    swept = await seller.sweep()
    wanted = cycle(["posted", "archived"])

    told = await asyncio.gather(
        *(outcome(seller.update(swept, next(databases), status=next(wanted))) for _ in range(CALLERS))
    )

    assert codes(told) == {"accepted": CALLERS // 2, "settlement_final": CALLERS // 2}
    done = await seller.get(swept)
    assert await seller.balance() == (0 if done.status == "posted" else 40)


async def test_one_key_settles_once(seller: Seller, databases: Iterator[Database]) -> None:
    await seller.earn(40)

    told = await asyncio.gather(
        *(seller.sweep("posted", key=key("one", "body"), database=next(databases)) for _ in range(CALLERS))
    )

    assert told == [told[0]] * CALLERS
    assert amounts(told[0]) == ("posted", 40, "debit")


async def test_sweeps_drafts_archives_and_several_workers_at_once_settle_each_entry_once(
    seller: Seller, databases: Iterator[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_small_steps(monkeypatch)
    earned = [await seller.earn(each) for each in range(1, 61)]
    working = [asyncio.create_task(_keep_working(next(databases))) for _ in range(4)]

    async def pick(each: Transaction) -> None:
        draft = await seller.draft()
        picked = await outcome(seller.add(draft, own(each)))
        if picked is None:
            await seller.update(draft, status="posted")

    async def sweep_and_archive() -> None:
        swept = await seller.sweep(database=next(databases))
        with suppress(LedgerError):
            await seller.update(swept, status="archived")

    await asyncio.gather(
        *(sweep_and_archive() for _ in range(8)),
        *(pick(each) for each in earned[::3]),
        *(seller.sweep("posted", database=next(databases)) for _ in range(8)),
        *(seller.earn(1000) for _ in range(20)),
    )
    await work_off(seller.database, now)
    for worker in working:
        worker.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    for each in await seller.all():
        if each.status == "pending":
            await seller.update(each, status="posted")
    await seller.sweep("posted")
    await work_off(seller.database, now)

    settled = [each for each in await seller.all() if each.status == "posted"]
    assert sum(each.amount or 0 for each in settled) == sum(range(1, 61)) + 20 * 1000
    assert await seller.balance() == 0


async def _keep_working(database: Database) -> None:
    while True:
        await work_off(database, now)
        await asyncio.sleep(0)


async def _until_one_waits_for_a_lock(connection: Connection) -> None:
    query = (
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
    )
    while not await connection.fetchval(query):
        await asyncio.sleep(0)


async def test_a_purge_waits_for_the_step_of_a_sweep_that_is_under_way(seller: Seller) -> None:
    await seller.earn(1)
    await seller.sweep("posted")
    ledger, database = seller.books.ledger, seller.database
    async with database.connection() as connection:
        organization, admin = await connection.fetchrow("select organization_id, id from api_keys")

    async with database.tx() as connection:
        await settlements.lock_account(connection, ledger.number, seller.account.sequence)
        command = PurgeLedger(organization=organization, target=id_of(ledger.id), confirmation=ledger.id)
        purge = asyncio.create_task(seller.engine.perform(Caller(admin), command))
        await _until_one_waits_for_a_lock(connection)
        await writing.begin(connection, now, ledger)

    assert (await purge).ref == ledger

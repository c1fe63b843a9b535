"""A group decided while the one before it is recorded: upon what that one leaves, or anew if that is nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from doppia.accounting.ids import Id
from doppia.accounting.ledger.transactions import Draft, Guard, Transaction
from doppia.engine.posting.commands import Asked
from doppia.engine.posting.group import post_locked
from doppia.engine.posting.lanes import PostingGroups
from doppia.store.database import connections as database_module
from doppia.store.database.connections import Database
from doppia.store.posting.groups import ENTRIES_AT_ONCE
from tests.engine.bookkeeping import Books, code, id_of, key, move, now, outcome
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

WRITERS = 2
FUNDED = (Guard("available", "gte", 0),)

_OURS = "from pg_stat_activity where datname = current_database()"
_WAITING = f"select count(*) {_OURS} and wait_event_type = 'Lock'"
_DECIDED = f"select count(*) {_OURS} and query like '-- posting.read_at_once%' and state = 'idle'"
_CUT = f"select pg_terminate_backend(pid) {_OURS} and query like '-- posting.record%' and wait_event_type = 'Lock'"


class Bench(SimpleNamespace):
    """A ledger, the groups that post to it, one who holds its head, and one who looks on."""

    books: Books
    groups: PostingGroups
    holder: asyncpg.Connection
    onlooker: asyncpg.Connection
    cash: Id
    wallet: Id
    shop: Id

    def send(self, commands: Sequence[Asked]) -> "list[asyncio.Task[Any]]":
        return [asyncio.create_task(self.groups.submit(*command)) for command in commands]

    async def until(self, query: str, count: int) -> None:
        """Wait until a query of what goes on in the database counts so many."""
        async with asyncio.timeout(20):
            while await self.onlooker.fetchval(query) != count:
                await asyncio.sleep(0.001)

    @asynccontextmanager
    async def head_held(self) -> AsyncIterator[None]:
        """Let nobody record anything meanwhile."""
        async with self.holder.transaction():
            await self.holder.execute(
                "select from doppia.ledger_heads where ledger_id = $1 for update", self.books.ledger.number
            )
            yield


@pytest.fixture
async def bench(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    # Whoever waits for a turn and holds the place of a writer meanwhile is in the way of whom it waits for.
    monkeypatch.setattr(database_module, "WRITERS_MAX", WRITERS)
    async with AsyncExitStack() as stack:
        database = Database(database_url)
        await database.open()
        stack.push_async_callback(database.close)
        holder, onlooker = [await asyncpg.connect(database_url) for _ in range(2)]
        stack.push_async_callback(holder.close)
        stack.push_async_callback(onlooker.close)
        groups = PostingGroups(database, now)
        stack.push_async_callback(groups.close)
        books = await Books.begin(database)
        cash, wallet, shop = [await books.open() for _ in range(3)]
        yield Bench(books=books, groups=groups, holder=holder, onlooker=onlooker, cash=cash, wallet=wallet, shop=shop)
    await assert_invariants(database_url)


async def test_a_group_sees_what_the_one_being_recorded_leaves(bench: Bench) -> None:
    books, funds = bench.books, move(bench.cash, bench.wallet, 7)
    paid = books.create(funds, key=key("k", "body"), external_id="x")
    async with bench.head_held():
        first = bench.send([paid])
        await bench.until(_WAITING, 1)
        then = bench.send(
            [
                books.create(move(bench.wallet, bench.shop, 7, guards=FUNDED)),
                books.create(move(bench.wallet, bench.shop, 1, guards=FUNDED)),
                books.create(funds, external_id="x"),
                books.create(funds, key=key("k", "another")),
                paid,
            ]
        )
        await bench.until(_DECIDED, 1)

    told = [await outcome(task) for task in (*first, *then)]

    assert [code(each) for each in told] == [
        "accepted", "accepted", "balance_lock_failed", "external_id_taken", "idempotency_key_reused", "accepted"
    ]  # fmt: skip
    assert told[5] == told[0]
    assert tuple((await books.account(bench.wallet)).sums) == (7, 7, 0, 0)


async def test_what_was_decided_upon_a_group_that_was_lost_is_decided_anew(bench: Bench) -> None:
    books = bench.books
    async with bench.head_held():
        first = bench.send([books.create(move(bench.cash, bench.wallet, 7), key=key("k", "body"), external_id="x")])
        await bench.until(_WAITING, 1)
        then = bench.send(
            [
                books.create(move(bench.wallet, bench.shop, 7, guards=FUNDED)),
                books.create(move(bench.cash, bench.shop, 2), key=key("k", "another"), external_id="x"),
            ]
        )
        await bench.until(_DECIDED, 1)
        await bench.onlooker.execute(_CUT)

    told = [await outcome(task) for task in (*first, *then)]

    assert [code(each) for each in told] == ["outcome_unknown", "balance_lock_failed", "accepted"]
    assert tuple((await books.account(bench.cash)).sums) == (0, 2, 0, 0)


async def test_groups_that_another_writer_came_before_are_both_decided_anew(bench: Bench, database: Database) -> None:
    books = bench.books
    spend = [books.create(move(bench.wallet, bench.shop, 7, guards=FUNDED)) for _ in range(2)]
    await bench.groups.submit(*books.create(move(bench.cash, bench.wallet, 7)))
    async with bench.head_held():
        other = asyncio.create_task(post_locked(database, now, books.ledger, lambda: spend[:1]))
        await bench.until(_WAITING, 1)
        first = bench.send([spend[1]])
        await bench.until(_WAITING, 2)
        then = bench.send([books.create(move(bench.cash, bench.wallet, 1)), spend[1]])
        await bench.until(_DECIDED, 1)

    told = [*await other, *[await outcome(task) for task in (*first, *then)]]

    assert [isinstance(each, Transaction) for each in told].count(True) == 2
    assert [code(each) for each in told[:3]] == ["accepted", "balance_lock_failed", "accepted"]
    assert tuple((await books.account(bench.wallet)).sums) == (8, 7, 0, 0)


async def test_large_groups_follow_each_other_in_one_tree(bench: Bench) -> None:
    books = bench.books
    large = [Draft(move(bench.cash, bench.wallet, 1), "posted")] * (ENTRIES_AT_ONCE // 2 + 100)
    async with bench.head_held():
        tasks = bench.send([books.batch(large)])
        await bench.until(_WAITING, 1)
        tasks += bench.send([books.batch(large), books.create(move(bench.cash, bench.wallet, 1))])
        await bench.until(_DECIDED, 1)

    told = await asyncio.gather(*tasks)

    assert [len(told[0]), len(told[1]), told[2].status] == [len(large), len(large), "posted"]
    assert (await books.account(bench.wallet)).lock_version == 2 * len(large) + 1


async def test_a_ledger_whose_head_is_held_takes_the_place_of_one_writer(bench: Bench) -> None:
    books = bench.books
    free = await Books.begin(books.database)
    cash, wallet = await free.open(), await free.open()
    async with bench.head_held():
        tasks = bench.send([books.create(move(bench.cash, bench.wallet, 1))])
        await bench.until(_WAITING, 1)
        tasks += bench.send([books.create(move(bench.cash, bench.wallet, 1)) for _ in range(5)])
        await bench.until(_DECIDED, 1)

        told = [await outcome(bench.groups.submit(*free.create(move(cash, wallet, 1)))) for _ in range(3)]

        assert [code(each) for each in told] == ["accepted"] * 3
        assert not any(task.done() for task in tasks)
    assert [code(each) for each in await asyncio.gather(*tasks)] == ["accepted"] * 6


@pytest.mark.parametrize("are_changes", [False, True], ids=["new ones", "changes, under the lock"])
async def test_when_it_is_cut_short_nobody_waits_for_ever_and_nothing_is_posted_twice(
    bench: Bench, are_changes: bool
) -> None:
    books = bench.books
    holds = [await bench.groups.submit(*books.create(move(bench.cash, bench.wallet, 1), "pending")) for _ in range(2)]
    commands = [books.create(move(bench.cash, bench.wallet, 1)) for _ in holds]
    if are_changes:
        commands = [books.revise(id_of(hold.id), status="posted") for hold in holds]
    async with bench.head_held():
        tasks = bench.send(commands[:1])
        await bench.until(_WAITING, 1)
        tasks += bench.send(commands[1:])
        if not are_changes:
            await bench.until(_DECIDED, 1)
        closing = asyncio.create_task(bench.groups.close())
        await asyncio.sleep(0)
        closing.cancel()

        await asyncio.wait(tasks[:1], timeout=5)

    told = [await asyncio.wait_for(outcome(task), 5) for task in tasks]

    # The second is on its way as well, or goes on alone.
    assert [code(each) for each in told] == ["outcome_unknown", "accepted" if are_changes else "outcome_unknown"]
    assert (await books.account(bench.wallet)).sums.posted_credits <= 2

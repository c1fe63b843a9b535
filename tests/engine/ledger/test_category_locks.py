"""A limit that many accounts share is never passed, however many callers draw on it at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import cycle
from typing import Any

import pytest

from doppia.accounting.ids import Id
from doppia.accounting.ledger.categories import add_up
from doppia.accounting.ledger.transactions import CategoryGuards, Draft, Guard
from doppia.engine.ledger.categories import CreateCategory, PlaceAccount
from doppia.engine.posting.commands import Asked
from doppia.engine.posting.lanes import PostingGroups
from doppia.engine.posting.writing import NOBODY
from doppia.store.database.connections import Database
from doppia.store.ledger import categories as store
from tests.engine.bookkeeping import PHP, Books, code, id_of, move, now, outcome
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

CALLERS = 50
LIMIT = 100


async def new_category(books: Books, *parents: Id) -> Id:
    command = CreateCategory(ledger=books.ledger, name="limit", currency=PHP, normal_balance="debit", parents=parents)
    return id_of((await books.engine.perform(NOBODY, command)).category.id)


async def place(books: Books, category: Id, account: Id, *, inside: bool = True) -> None:
    command = PlaceAccount(ledger=books.ledger, category=category, account=account, inside=inside)
    await books.engine.perform(NOBODY, command)


async def owed(books: Books, category: Id) -> int:
    """Return the available balance of a debit-normal category, as its accounts make it and as it is kept."""
    async with books.database.connection() as connection:
        fields = await store.get(connection, category.ledger, category.sequence)
        rows = await connection.fetch(
            "select account_sequence from balances where category_set in (select sets_of_category($1, $2))",
            category.ledger, category.sequence,
        )  # fmt: skip
    assert fields is not None
    accounts = [await books.account(category._replace(sequence=row[0])) for row in rows]
    assert fields.sums == add_up(account.sums for account in accounts)
    return fields.sums.posted_debits - fields.sums.posted_credits - fields.sums.pending_credits


@pytest.fixture(params=["one process", "two processes"])
async def services(
    request: pytest.FixtureRequest, database: Database, database_url: str
) -> AsyncIterator[list[PostingGroups]]:
    databases = [database]
    if request.param == "two processes":
        databases.append(Database(database_url))
        await databases[1].open()
    opened = [PostingGroups(each, now) for each in databases]
    yield opened
    for groups in opened:
        await groups.close()
    for each in databases[1:]:
        await each.close()
    await assert_invariants(database_url)


async def send(services: Sequence[PostingGroups], commands: Sequence[Asked]) -> list[Any]:
    """Send all at once, the services in turn, and return what each is told."""
    sent = zip(cycle(services), commands, strict=False)
    told: list[Any] = await asyncio.gather(*(outcome(groups.submit(*asked)) for groups, asked in sent))
    return told


def limit(category: Id, bound: int = LIMIT) -> tuple[CategoryGuards, ...]:
    return (CategoryGuards(category.sequence, str(category), (Guard("available", "lte", bound),)),)


async def test_callers_at_once_never_pass_a_shared_limit_together_and_can_use_all_of_it(
    services: list[PostingGroups], database: Database
) -> None:
    books = await Books.begin(database)
    bank = await books.open()
    top = await new_category(books)
    below = [await new_category(books, top) for _ in range(3)]
    cards = [await books.open() for _ in range(10)]
    for number, card in enumerate(cards):
        await place(books, [top, *below][number % 4], card)

    told = await send(
        services,
        [books.create(move(cards[number % 10], bank, 7), category_guards=limit(top)) for number in range(CALLERS)],
    )

    assert Counter(code(each) for each in told) == {"accepted": 14, "category_lock_failed": 36}
    assert await owed(books, top) == 98


async def test_locks_on_a_category_and_one_above_it_both_hold(
    services: list[PostingGroups], database: Database
) -> None:
    books = await Books.begin(database)
    bank = await books.open()
    top = await new_category(books)
    teams = [await new_category(books, top) for _ in range(2)]
    cards = [await books.open() for _ in range(4)]
    for number, card in enumerate(cards):
        await place(books, teams[number % 2], card)

    told = await send(
        services,
        [
            books.create(move(cards[number % 4], bank, 5), category_guards=limit(teams[number % 2], 60) + limit(top))
            for number in range(CALLERS)
        ],
    )

    assert Counter(code(each) for each in told) == {"accepted": 20, "category_lock_failed": 30}
    used = [await owed(books, team) for team in teams]
    assert await owed(books, top) == sum(used) == LIMIT
    assert max(used) <= 60


async def test_a_limit_holds_while_accounts_come_and_go(services: list[PostingGroups], database: Database) -> None:
    books = await Books.begin(database)
    bank = await books.open()
    top = await new_category(books)
    low = await new_category(books, top)
    cards = [await books.open() for _ in range(5)]
    for card in cards:
        await place(books, top, card)

    async def wander(card: Id) -> None:
        # At no moment is the card outside of both.
        for _ in range(3):
            await place(books, low, card)
            await place(books, top, card, inside=False)
            await place(books, top, card)
            await place(books, low, card, inside=False)

    spending = [books.create(move(cards[number % 5], bank, 3), category_guards=limit(top)) for number in range(CALLERS)]
    told, _ = await asyncio.gather(send(services, spending), asyncio.gather(*(wander(card) for card in cards)))

    assert Counter(code(each) for each in told) == {"accepted": 33, "category_lock_failed": 17}
    assert await owed(books, top) == 99


async def test_a_batch_that_is_refused_draws_nothing_from_a_limit(
    services: list[PostingGroups], database: Database
) -> None:
    books = await Books.begin(database)
    bank, card = await books.open(), await books.open()
    category = await new_category(books)
    await place(books, category, card)
    drafts = [Draft(move(card, bank, 60), "posted", category_guards=limit(category)) for _ in range(2)]
    batches = [books.batch(drafts, is_atomic=True) for _ in range(3)]

    told = await send(
        services, [*batches[:2], books.create(move(card, bank, LIMIT), category_guards=limit(category)), batches[2]]
    )

    assert [code(each) for each in told] == ["batch_refused", "batch_refused", "accepted", "batch_refused"]
    assert await owed(books, category) == LIMIT


async def test_what_a_hold_takes_from_a_limit_its_end_gives_back(
    services: list[PostingGroups], database: Database
) -> None:
    books = await Books.begin(database)
    bank, card = await books.open(), await books.open()
    category = await new_category(books)
    await place(books, category, card)
    # Credits on their way are counted against a debit-normal category's available balance, debits only once posted.
    pending = (CategoryGuards(category.sequence, str(category), (Guard("pending", "lte", LIMIT),)),)
    [held] = await send(services, [books.create(move(card, bank, 70), "pending", category_guards=pending)])

    [refused] = await send(services, [books.create(move(card, bank, 31), "pending", category_guards=pending)])
    assert code(refused) == "category_lock_failed"
    lower = books.revise(id_of(held.id), legs=move(card, bank, 60), status="posted", category_guards=pending)
    [posted] = await send(services, [lower])
    assert code(posted) == "accepted"
    [accepted] = await send(services, [books.create(move(card, bank, 31), "pending", category_guards=pending)])
    assert code(accepted) == "accepted"

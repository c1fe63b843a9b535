"""Many callers at once, in one process and in two: each race has one winner, and the books stay sound."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import cycle
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from doppia.accounting.errors import BatchRefused, LedgerError
from doppia.accounting.ledger.transactions import Draft, Guard, Transaction
from doppia.engine.posting import stages
from doppia.engine.posting.commands import Asked, CreateBatch, PostPart, ReviseTransaction
from doppia.engine.posting.lanes import PostingGroups
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import Books, code, comparable, id_of, key, leg, move, now, outcome
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

CALLERS = 50
AVAILABLE = (Guard("available", "gte", 0),)


class Callers(SimpleNamespace):
    """Those who send commands through one or several services on one database."""

    books: Books
    services: list[PostingGroups]

    async def send(self, commands: Sequence[Asked]) -> list[Any]:
        """Send all at once, the services in turn, and return what each is told."""
        sent = zip(cycle(self.services), commands, strict=False)
        told: list[Any] = await asyncio.gather(*(outcome(groups.submit(*asked)) for groups, asked in sent))
        return told


@pytest.fixture(params=["one process", "two processes"])
async def callers(request: pytest.FixtureRequest, database: Database, database_url: str) -> AsyncIterator[Callers]:
    databases = [database]
    if request.param == "two processes":
        databases.append(Database(database_url))
        await databases[1].open()
    services = [PostingGroups(each, now) for each in databases]
    yield Callers(books=await Books.begin(database), services=services)
    for groups in services:
        await groups.close()
    for each in databases[1:]:
        await each.close()
    await assert_invariants(database_url)


def codes(told: Sequence[object]) -> Counter[str]:
    return Counter(code(each) for each in told)


async def test_a_guarded_account_is_never_overdrawn_and_all_its_funds_can_be_spent(callers: Callers) -> None:
    books = callers.books
    cash, wallet, shop = [await books.open() for _ in range(3)]
    await callers.send([books.create(move(cash, wallet, 100))])
    spending = [
        books.create(move(wallet, shop, 7, guards=AVAILABLE), "pending" if number % 2 else "posted")
        for number in range(CALLERS)
    ]

    told = await callers.send(spending)

    assert codes(told) == {"accepted": 14, "balance_lock_failed": 36}
    sums = (await books.account(wallet)).sums
    assert sums.posted_credits - sums.posted_debits - sums.pending_debits == 2


async def test_one_idempotency_key_has_one_effect_and_one_answer(callers: Callers) -> None:
    books = callers.books
    cash, wallet = await books.open(), await books.open()
    before = await books.records()

    told = await callers.send([books.create(move(cash, wallet, 5), key=key("one", "body"))] * CALLERS)

    assert isinstance(told[0], Transaction)
    assert told == [told[0]] * CALLERS
    assert (await books.account(wallet)).sums.posted_credits == 5
    assert await books.records() == before + 1


async def test_one_idempotency_key_with_different_bodies_has_the_effect_of_one_of_them(callers: Callers) -> None:
    books = callers.books
    cash, wallet = await books.open(), await books.open()

    told = await callers.send(
        [books.create(move(cash, wallet, amount), key=key("one", amount)) for amount in range(1, CALLERS + 1)]
    )

    assert codes(told) == {"accepted": 1, "idempotency_key_reused": CALLERS - 1}
    winner = next(each for each in told if isinstance(each, Transaction))
    assert (await books.account(wallet)).sums.posted_credits == winner.entries[0].amount


async def test_one_external_id_is_taken_once(callers: Callers) -> None:
    books = callers.books
    cash, wallet = await books.open(), await books.open()

    told = await callers.send([books.create(move(cash, wallet, 5), external_id="invoice 1")] * CALLERS)

    assert codes(told) == {"accepted": 1, "external_id_taken": CALLERS - 1}
    assert (await books.account(wallet)).sums.posted_credits == 5


async def test_one_hold_is_resolved_once(callers: Callers) -> None:
    books = callers.books
    cash, wallet = await books.open(), await books.open()
    [held] = await callers.send([books.create(move(cash, wallet, 5), "pending")])
    hold = id_of(held.id)
    resolutions = [
        books.revise(hold, status="posted"),
        books.revise(hold, status="archived"),
        books.revise(hold, status="posted", legs=move(cash, wallet, 3)),
    ]

    told = await callers.send([resolutions[number % 3] for number in range(CALLERS)])

    assert codes(told) == {"accepted": 1, "transaction_final": CALLERS - 1}
    winner = next(each for each in told if isinstance(each, Transaction))
    posted = winner.entries[0].amount if winner.status == "posted" else 0
    assert tuple((await books.account(wallet)).sums) == (posted, 0, 0, 0)


@pytest.mark.parametrize("seed", range(4))
async def test_one_hold_is_taken_in_parts_until_it_is_resolved_once(callers: Callers, seed: int) -> None:
    books = callers.books
    cash, wallet = await books.open(), await books.open()
    [held] = await callers.send([books.create(move(cash, wallet, 100), "pending")])
    hold = id_of(held.id)
    chance = Random(seed)
    parts = [books.partial_post(hold, move(cash, wallet, chance.randint(0, 12))) for _ in range(CALLERS - 4)]
    ends = [books.revise(hold, status=status) for status in ("posted", "archived") * 2]
    commands = [*parts, *ends]
    chance.shuffle(commands)

    told = await callers.send(commands)

    ended = [
        each
        for each, asked in zip(told, commands, strict=True)
        if isinstance(each, Transaction) and isinstance(asked.command, ReviseTransaction)
    ]
    assert len(ended) == 1
    taken = sum(
        each.entries[0].amount
        for each, asked in zip(told, commands, strict=True)
        if isinstance(each, Transaction) and isinstance(asked.command, PostPart)
    )
    rest = ended[0].entries[0].amount
    assert taken < 100
    assert taken + rest == 100
    assert codes(told).keys() == {"accepted", "transaction_final", "not_partially_postable"}
    posted = taken + (rest if ended[0].status == "posted" else 0)
    assert tuple((await books.account(wallet)).sums) == (posted, 0, 0, 0)


async def test_an_atomic_batch_with_one_bad_transaction_leaves_no_trace_beside_good_ones(callers: Callers) -> None:
    books = callers.books
    cash, wallet = await books.open(), await books.open()
    good = Draft(move(cash, wallet, 1), "posted")
    bad = Draft([leg(cash, "debit", 2), leg(wallet, "credit", 1)], "posted")
    before = await books.records()
    commands: list[Asked] = []
    for number in range(CALLERS):
        named = [good._replace(external_id=f"{number}-{place}") for place in range(4)]
        if number % 2:
            # At each place in turn; what it would have taken the good ones beside it ask for as well.
            named[number // 2 % 4] = bad
        commands.append(books.batch(named, is_atomic=True, key=key(f"{number}", named)))
    clashing = [books.batch([good, good._replace(external_id="clash"), good], is_atomic=True) for _ in range(5)]

    told = await callers.send([*commands, *clashing])

    assert [code(each) for each in told[:CALLERS]] == ["accepted", "batch_refused"] * (CALLERS // 2)
    assert Counter(code(each) for each in told[CALLERS:]) == {"accepted": 1, "batch_refused": 4}
    assert [each.index for each in told[1:CALLERS:2] if isinstance(each, BatchRefused)] == [
        number // 2 % 4 for number in range(1, CALLERS, 2)
    ]
    posted = 4 * CALLERS // 2 + 3
    assert await books.records() == before + posted
    assert tuple((await books.account(wallet)).sums) == (posted, 0, 0, 0)
    # Neither their external ids nor their keys are taken.
    again = [
        books.batch([good._replace(external_id=f"{number}-{place}") for place in range(4)], is_atomic=True,
                    key=key(f"{number}", "another"))
        for number in range(1, CALLERS, 2)
    ]  # fmt: skip
    assert codes(await callers.send(again)) == {"accepted": CALLERS // 2}


async def test_batches_and_singles_never_overdraw_a_guarded_account_together(callers: Callers) -> None:
    books = callers.books
    cash, wallet, shop = [await books.open() for _ in range(3)]
    await callers.send([books.create(move(cash, wallet, 500))])
    draft = Draft(move(wallet, shop, 7, guards=AVAILABLE), "posted")
    ways = [
        books.batch([draft, draft._replace(status="pending"), draft]),
        books.batch([draft] * 3, is_atomic=True),
        books.create(draft.legs, "pending"),
        books.create(draft.legs),
        books.batch([draft._replace(archives_on_failed_guard=True)] * 2, is_atomic=True),
    ]
    commands = [ways[number % 5] for number in range(CALLERS)]

    told = await callers.send(commands)

    spent = 0
    for answer, (_, command) in zip(told, commands, strict=True):
        if isinstance(answer, LedgerError):
            assert code(answer) in {"balance_lock_failed", "batch_refused"}
        elif isinstance(command, CreateBatch):
            found = [None if isinstance(each, LedgerError) else each.status for each in answer]
            spent += sum(status in {"posted", "pending"} for status in found)
            assert not command.is_atomic or None not in found
        else:
            spent += 1
    assert spent == 71
    sums = (await books.account(wallet)).sums
    assert sums.posted_credits - sums.posted_debits - sums.pending_debits == 3


async def test_one_key_of_a_batch_has_one_effect_and_one_answer(callers: Callers) -> None:
    books = callers.books
    cash, wallet = await books.open(), await books.open()
    good, bad = Draft(move(cash, wallet, 5), "posted"), Draft((), "posted")
    before = await books.records()

    told = await callers.send([books.batch([good, bad, good], key=key("one", "body"))] * CALLERS)

    assert [comparable(each) for each in told] == [comparable(told[0])] * CALLERS
    assert [code(each) for each in told[0]] == ["accepted", "too_few_entries", "accepted"]
    assert await books.records() == before + 2


async def test_one_transaction_is_reversed_once(callers: Callers) -> None:
    books = callers.books
    cash, wallet = await books.open(), await books.open()
    [posted] = await callers.send([books.create(move(cash, wallet, 5))])

    told = await callers.send([books.reverse(id_of(posted.id))] * CALLERS)

    assert codes(told) == {"accepted": 1, "already_reversed": CALLERS - 1}
    assert tuple((await books.account(wallet)).sums) == (5, 5, 0, 0)


async def test_accounts_are_opened_and_discarded_while_groups_are_posted(callers: Callers) -> None:
    books = callers.books
    cash, wallet = await books.open(), await books.open()

    told, opened, discarded = await asyncio.gather(
        callers.send([books.create(move(cash, wallet, 1)) for _ in range(CALLERS)]),
        asyncio.gather(*(books.open() for _ in range(10))),
        asyncio.gather(*(outcome(books.discard(wallet)) for _ in range(10))),
    )

    accepted = codes(told)["accepted"]
    assert len(set(opened)) == 10
    assert codes(discarded).keys() <= {"accepted", "account_not_empty"}
    assert codes(told) == Counter({"accepted": accepted, "account_discarded": CALLERS - accepted})
    assert (await books.account(wallet)).sums.posted_credits == accepted


async def test_a_refused_draft_in_a_group_leaves_no_trace_and_its_neighbours_are_posted(
    database: Database, database_url: str
) -> None:
    books = await Books.begin(database)
    groups = PostingGroups(database, now)
    cash, wallet = await books.open(), await books.open()
    before = await books.records()
    refused = {
        "unbalanced": [leg(cash, "debit", 2), leg(wallet, "credit", 1)],
        "object_not_found": move(cash, id_of(str(cash._replace(sequence=999))), 2),
        "lock_version_mismatch": move(cash, wallet, 2, lock_version=77),
        "balance_lock_failed": move(cash, wallet, 2, guards=AVAILABLE),
    }
    commands = []
    for number, legs in enumerate(refused.values()):
        commands.append(books.create(move(cash, wallet, 1)))
        commands.append(books.create(legs, key=key(f"{number}", "body"), external_id=f"{number}"))

    told = await asyncio.gather(*(outcome(groups.submit(*command)) for command in commands))

    assert [code(each) for each in told[0::2]] == ["accepted"] * 4
    assert [code(each) for each in told[1::2]] == list(refused)
    assert tuple((await books.account(cash)).sums) == (0, 4, 0, 0)
    assert await books.records() == before + 4
    sent_again = [books.create(move(cash, wallet, 1), key=key(f"{n}", "another"), external_id=f"{n}") for n in range(4)]
    told = await asyncio.gather(*(outcome(groups.submit(*command)) for command in sent_again))
    assert [code(each) for each in told] == ["accepted"] * 4
    await groups.close()
    await assert_invariants(database_url)


@pytest.mark.parametrize("order", [1, -1], ids=["the oldest first", "the newest first"])
async def test_external_ids_that_are_handed_on_within_a_group_are_all_handed_on(
    database: Database, database_url: str, order: int
) -> None:
    books = await Books.begin(database)
    groups = PostingGroups(database, now)
    cash, wallet = await books.open(), await books.open()
    held = [
        id_of((await groups.submit(*books.create(move(cash, wallet, 1), external_id=f"{number}"))).id)
        for number in range(5)
    ][::order]
    # Each takes the external id that the one before it has just given up; a unique index may see them in any order.
    names = [f"{number}" for number in range(5)][::order]
    wanted = ["new", *names[:-1]]

    told = await asyncio.gather(
        *(outcome(groups.submit(*books.revise(one, external_id=name))) for one, name in zip(held, wanted, strict=True))
    )

    assert [code(each) for each in told] == ["accepted"] * 5
    assert [each.external_id for each in told if isinstance(each, Transaction)] == wanted
    await groups.close()
    await assert_invariants(database_url)


async def test_a_caller_beyond_the_limit_of_a_lane_is_told_so_and_leaves_nothing(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "WAITING_MAX", 10)
    books = await Books.begin(database)
    groups = PostingGroups(database, now)
    cash, wallet = await books.open(), await books.open()

    told = await asyncio.gather(
        *(
            outcome(groups.submit(*books.create(move(cash, wallet, 1), key=key(f"{number}", "body"))))
            for number in range(15)
        )
    )

    assert [code(each) for each in told] == ["accepted"] * 10 + ["overloaded"] * 5
    assert (await books.account(wallet)).sums.posted_credits == 10
    again = await groups.submit(*books.create(move(cash, wallet, 1), key=key("14", "body")))
    assert again.status == "posted"
    await groups.close()
    await assert_invariants(database_url)


async def test_a_caller_who_goes_away_does_not_take_its_group_with_it(database: Database, database_url: str) -> None:
    books = await Books.begin(database)
    groups = PostingGroups(database, now)
    cash, wallet = await books.open(), await books.open()
    waiting = [asyncio.create_task(groups.submit(*books.create(move(cash, wallet, 1)))) for _ in range(10)]
    await asyncio.sleep(0)
    waiting[0].cancel()

    told = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(told[0], asyncio.CancelledError)
    assert all(isinstance(each, Transaction) for each in told[1:])
    assert (await books.account(wallet)).sums.posted_credits == 10
    await groups.close()
    await assert_invariants(database_url)


async def test_who_still_waits_at_the_close_is_answered_and_who_comes_later_is_not_taken(database: Database) -> None:
    books = await Books.begin(database)
    groups = PostingGroups(database, now)
    cash, wallet = await books.open(), await books.open()
    waiting = [asyncio.create_task(groups.submit(*books.create(move(cash, wallet, 1)))) for _ in range(10)]
    await asyncio.sleep(0)

    await groups.close()

    assert all(waiter.done() and isinstance(waiter.result(), Transaction) for waiter in waiting)
    assert code(await outcome(groups.submit(*books.create(move(cash, wallet, 1))))) == "unavailable"


async def test_a_repeat_that_can_not_be_answered_touches_nobody_else(database: Database, database_url: str) -> None:
    books = await Books.begin(database)
    groups = PostingGroups(database, now)
    cash, wallet = await books.open(), await books.open()

    class Uncountable(list[Draft | LedgerError]):
        """Drafts of which nobody can say how many they are, which is asked where the results are read again."""

        def __len__(self) -> int:
            raise ZeroDivisionError

    draft = Draft(move(cash, wallet, 1), "posted")
    await groups.submit(*books.batch([draft], key=key("k", "body")))
    repeat = books.batch(Uncountable([draft]), key=key("k", "body"))
    neighbours = [books.create(move(cash, wallet, 1)) for _ in range(10)]

    told = await asyncio.gather(*(groups.submit(*command) for command in (repeat, *neighbours)), return_exceptions=True)

    assert isinstance(told[0], ZeroDivisionError)
    assert all(isinstance(each, Transaction) for each in told[1:])
    assert (await books.account(wallet)).sums.posted_credits == 11
    await groups.close()
    await assert_invariants(database_url)

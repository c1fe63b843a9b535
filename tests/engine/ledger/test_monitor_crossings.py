"""Balance monitors: each edge is told once, in the group that crosses it, and what is told is what was."""

import asyncio
import operator
import random
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import pytest

from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.monitors import AlertOperator, MonitoredField, MonitorState
from doppia.accounting.ledger.transactions import Draft, Leg, Transaction
from doppia.accounting.platform.events import Event
from doppia.engine.ledger.monitors import CreateMonitor, DiscardMonitor, UpdateMonitor
from doppia.engine.posting.commands import Asked
from doppia.engine.posting.group import post
from doppia.engine.posting.lanes import PostingGroups
from doppia.engine.posting.writing import NOBODY, Caller, Key
from doppia.proof.kinds import NUMBERS
from doppia.proof.sealing import opened
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import Books, code, id_of, key, leg, move, now, outcome
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

HOLDS = {
    "less_than": operator.lt,
    "less_than_or_equals": operator.le,
    "equals": operator.eq,
    "greater_than_or_equals": operator.ge,
    "greater_than": operator.gt,
}


class Told(NamedTuple):
    """What a record of the log tells of a monitor."""

    event: Event
    triggered: bool
    lock_version: int


async def watch(
    books: Books,
    account: Id,
    field: MonitoredField = "posted_balance_amount",
    compared: AlertOperator = "greater_than_or_equals",
    value: int = 100,
    key: Key | None = None,
) -> MonitorState:
    command = CreateMonitor(ledger=books.ledger, account=account, monitored=field, operator=compared, value=value)
    return await books.engine.perform(Caller(key=key), command)


async def describe(books: Books, monitor: str) -> None:
    command = UpdateMonitor(ledger=books.ledger, target=id_of(monitor), description="low")
    await books.engine.perform(NOBODY, command)


async def drop(books: Books, monitor: str) -> MonitorState:
    return await books.engine.perform(NOBODY, DiscardMonitor(ledger=books.ledger, target=id_of(monitor)))


async def told(books: Books, monitor: str) -> list[Told]:
    """Return what the log tells of a monitor, in order."""
    async with books.database.connection() as connection:
        rows = await connection.fetch(
            "select event, payload, texts from log where ledger_id = $1 and object_sequence = $2 and kind = $3 "
            "order by sequence",
            books.ledger.number, id_of(monitor).sequence, NUMBERS["monitor"],
        )  # fmt: skip
    records = [(Event(event), opened(payload, texts)) for event, payload, texts in rows]
    return [Told(event, record.triggered, record.lock_version) for event, record in records]


async def in_one_group(books: Books, commands: Sequence[Asked]) -> list[str]:
    """Post commands in one database transaction, and return what each is told."""
    outcomes = await post(books.database, now, commands)
    return [code(each) if isinstance(each, (Transaction, list, LedgerError)) else repr(each) for each in outcomes]


async def is_watched(books: Books, account: Id) -> bool:
    async with books.database.connection() as connection:
        watched: bool = await connection.fetchval(
            "select is_monitored from balances where ledger_id = $1 and account_sequence = $2",
            account.ledger, account.sequence,
        )  # fmt: skip
    return watched


async def test_each_edge_is_told_once_also_among_the_transactions_of_one_group(
    database: Database, database_url: str
) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    monitor = (await watch(books, wallet)).fields.id
    amounts = (60, 39, 1, 500, -500, -1, -5, 300, 1)
    legs = [move(cash, wallet, amount) if amount > 0 else move(wallet, cash, -amount) for amount in amounts]

    await in_one_group(books, [books.create(each) for each in legs])

    assert await told(books, monitor) == [
        Told(Event.CREATED, triggered=False, lock_version=0),
        Told(Event.TRIGGERED, triggered=True, lock_version=3),
        Told(Event.RESOLVED, triggered=False, lock_version=6),
        Told(Event.TRIGGERED, triggered=True, lock_version=8),
    ]
    await assert_invariants(database_url)


async def test_a_condition_that_holds_from_the_beginning_is_no_event(database: Database, database_url: str) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    await in_one_group(books, [books.create(move(cash, wallet, 150))])

    made = await watch(books, wallet)
    await in_one_group(books, [books.create(move(cash, wallet, 1)), books.create(move(wallet, cash, 100))])

    assert (made.fields.monitor.is_triggered, made.account.lock_version) == (True, 1)
    assert await told(books, made.fields.id) == [
        Told(Event.CREATED, triggered=True, lock_version=1),
        Told(Event.RESOLVED, triggered=False, lock_version=3),
    ]
    await assert_invariants(database_url)


async def test_a_refused_command_is_told_to_no_monitor(database: Database, database_url: str) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    monitor = (await watch(books, wallet)).fields.id
    unbalanced = [leg(cash, "debit", 500), leg(wallet, "credit", 400)]

    answers = await in_one_group(books, [books.create(unbalanced), books.create(move(cash, wallet, 99))])

    assert answers == ["unbalanced", "accepted"]
    assert [each.event for each in await told(books, monitor)] == [Event.CREATED]
    await assert_invariants(database_url)


@pytest.mark.parametrize("is_atomic", [True, False], ids=["atomic", "each by itself"])
async def test_what_a_batch_crosses_is_told_unless_the_batch_is_undone(
    database: Database, database_url: str, is_atomic: bool
) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    monitor = (await watch(books, wallet)).fields.id

    def batch(*legs: list[Leg]) -> Asked:
        return books.batch([Draft(each, "posted") for each in legs], is_atomic=is_atomic)

    unbalanced = [leg(cash, "debit", 5), leg(wallet, "credit", 4)]
    answers = await in_one_group(
        books,
        [
            batch(move(cash, wallet, 100), move(wallet, cash, 100), move(cash, wallet, 100), unbalanced),
            books.create(move(cash, wallet, 1)),
            batch(move(cash, wallet, 200), move(wallet, cash, 250)),
        ],
    )

    alternating = [Event.TRIGGERED, Event.RESOLVED, Event.TRIGGERED, Event.RESOLVED]
    assert answers == ["batch_refused" if is_atomic else "accepted", "accepted", "accepted"]
    # Atomic, 1 stands before the second batch, else 101.
    expected = alternating[:2] if is_atomic else alternating
    assert [each.event for each in await told(books, monitor)] == [Event.CREATED, *expected]
    await assert_invariants(database_url)


async def test_a_partial_post_is_told_as_the_one_change_that_it_is(database: Database, database_url: str) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(normal_balance="debit"), await books.open()
    [held] = await post(database, now, [books.create(move(cash, wallet, 100), "pending")])
    # Between the two records of a partial post the pending balance is lower than before and after.
    steady = (await watch(books, wallet, "pending_balance_amount", "less_than", 100)).fields.id
    posted = (await watch(books, wallet, "posted_balance_amount", "equals", 40)).fields.id

    assert await in_one_group(books, [books.partial_post(id_of(held.id), move(cash, wallet, 40))]) == ["accepted"]

    assert [each.event for each in await told(books, steady)] == [Event.CREATED]
    assert [each.event for each in await told(books, posted)] == [Event.CREATED, Event.TRIGGERED]
    await assert_invariants(database_url)


async def test_a_hold_that_expires_resolves_what_it_had_triggered(database: Database, database_url: str) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    low = (await watch(books, cash, "available_balance_amount", "less_than", 0)).fields.id
    soon = now()
    later = soon.replace(year=soon.year + 1)
    [held] = await post(database, now, [books.create(move(cash, wallet, 10), "pending", expires_at=later)])

    await post(database, lambda: later, [books.expire(id_of(held.id))])

    assert [each.event for each in await told(books, low)] == [Event.CREATED, Event.TRIGGERED, Event.RESOLVED]
    await assert_invariants(database_url)


async def test_a_discarded_monitor_is_told_nothing_and_the_last_one_leaves_its_account_unwatched(
    database: Database, database_url: str
) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    assert not await is_watched(books, wallet)
    first, second = [(await watch(books, wallet)).fields.id for _ in range(2)]
    assert await is_watched(books, wallet)
    assert not await is_watched(books, cash)

    await drop(books, first)
    await in_one_group(books, [books.create(move(cash, wallet, 100))])
    records = await books.records()
    again = await drop(books, first)

    assert await books.records() == records
    assert again.fields.discarded_at is not None
    assert [each.event for each in await told(books, first)] == [Event.CREATED, Event.DISCARDED]
    assert [each.event for each in await told(books, second)] == [Event.CREATED, Event.TRIGGERED]
    assert await is_watched(books, wallet)
    await drop(books, second)
    assert not await is_watched(books, wallet)
    await in_one_group(books, [books.create(move(wallet, cash, 100))])
    assert [each.event for each in await told(books, second)] == [Event.CREATED, Event.TRIGGERED, Event.DISCARDED]
    assert not (await watch(books, wallet)).fields.monitor.is_triggered
    assert await is_watched(books, wallet)
    await assert_invariants(database_url)


async def test_a_description_changes_no_state(database: Database, database_url: str) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    monitor = (await watch(books, wallet)).fields.id
    await in_one_group(books, [books.create(move(cash, wallet, 100))])

    await describe(books, monitor)
    await in_one_group(books, [books.create(move(wallet, cash, 100))])

    assert await told(books, monitor) == [
        Told(Event.CREATED, triggered=False, lock_version=0),
        Told(Event.TRIGGERED, triggered=True, lock_version=1),
        Told(Event.UPDATED, triggered=True, lock_version=1),
        Told(Event.RESOLVED, triggered=False, lock_version=2),
    ]
    await assert_invariants(database_url)


FIELDS: Sequence[MonitoredField] = get_args(MonitoredField)
OPERATORS: Sequence[AlertOperator] = get_args(AlertOperator)
LARGE = 10**36


async def states(books: Books, account: Id) -> list[tuple[int, int, Sums]]:
    """Return an account's steps in order: the record that made each, its lock_version, and the sums after it."""
    async with books.database.connection() as connection:
        rows = await connection.fetch(
            """
            select entry >> 10, lock_version, posted_credits, posted_debits, pending_credits, pending_debits
              from entries where ledger_id = $1 and account_sequence = $2 and lock_version is not null
            union all
            select sequence, lock_version, posted_credits, posted_debits, pending_credits, pending_debits
              from discards where ledger_id = $1 and account_sequence = $2 and posted_credits is not null
             order by 2
            """,
            account.ledger, account.sequence,
        )  # fmt: skip
    return [(row[0], row[1], Sums(*row[2:])) for row in rows]


def seen(field: MonitoredField, sums: Sums, lock_version: int, *, credit_normal: bool) -> int:
    sign = 1 if credit_normal else -1
    posted = sums.posted_credits - sums.posted_debits
    match field:
        case "posted_balance_amount":
            return sign * posted
        case "pending_balance_amount":
            return sign * (posted + sums.pending_credits - sums.pending_debits)
        case "available_balance_amount":
            return posted - sums.pending_debits if credit_normal else -posted - sums.pending_credits
        case _:
            return lock_version


async def edges(books: Books, account: Id, state: MonitorState, *, credit_normal: bool) -> list[Told]:
    """Return what must be told of a monitor that was created before the account's first step: edge by edge."""
    monitor = state.fields.monitor
    field, compared, value = monitor.field, HOLDS[monitor.operator], monitor.value
    holds = compared(seen(field, NOTHING, 0, credit_normal=credit_normal), value)
    expected = [Told(Event.CREATED, triggered=holds, lock_version=0)]
    # An account is looked at once a record is whole.
    after_record = {record: (version, sums) for record, version, sums in await states(books, account)}
    for version, sums in after_record.values():
        was, holds = holds, compared(seen(field, sums, version, credit_normal=credit_normal), value)
        if holds != was:
            event = Event.TRIGGERED if holds else Event.RESOLVED
            expected.append(Told(event, triggered=holds, lock_version=version))
    return expected


def draw_commands(draw: random.Random, books: Books, accounts: Sequence[Id], transactions: Sequence[Id]) -> list[Asked]:
    """Draw what makes a group: new transactions, and changes and reversals of those there are, each once."""
    commands: dict[Any, Asked] = {}
    for number in range(draw.randint(1, 6)):
        from_, to = draw.sample(accounts, 2)
        legs = move(from_, to, draw.choice([0, *range(1, 6), *range(1, 6), LARGE]))
        target = draw.choice(transactions) if transactions and draw.random() < 0.6 else None
        if target is None:
            commands[number] = books.create(legs, draw.choice(["posted", "pending", "pending"]))
            continue
        kind = draw.random()
        if kind < 0.2:
            commands[target] = books.reverse(target, draw.choice(["posted", "pending"]))
        elif kind < 0.5:
            commands[target] = books.revise(target, legs=legs)
        else:
            commands[target] = books.revise(target, status=draw.choice(["posted", "archived"]))
    return list(commands.values())


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_told_of_a_random_life_is_what_its_accounts_went_through(
    database: Database, database_url: str, seed: int
) -> None:
    draw = random.Random(seed)
    books = await Books.begin(database)
    accounts = [await books.open(normal_balance="credit"), await books.open(normal_balance="debit")]
    made = []
    for place, account in enumerate(accounts):
        for field in FIELDS:
            for compared in OPERATORS:
                value = draw.choice([*range(-6, 7), LARGE, -LARGE, LARGE - 1, 0])
                value = abs(value) % 60 if field == "ledger_account_lock_version" else value
                made.append((place, await watch(books, account, field, compared, value)))
    transactions: list[Id] = []
    for _ in range(30):
        for answer in await post(database, now, draw_commands(draw, books, accounts, transactions)):
            if isinstance(answer, Transaction):
                transactions.append(id_of(answer.id))
            else:
                assert isinstance(answer, LedgerError)

    lengths = []
    for place, monitor in made:
        expected = await edges(books, accounts[place], monitor, credit_normal=place == 0)
        assert await told(books, monitor.fields.id) == expected, monitor.fields.monitor
        lengths.append(len(expected))
    assert sum(length > 3 for length in lengths) > 10
    await assert_invariants(database_url)


async def test_writers_at_once_trigger_and_resolve_in_turn(database: Database, database_url: str) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    other = Database(database_url)
    await other.open()
    services = [PostingGroups(each, now) for each in (database, other)]
    above = await watch(books, wallet, value=1)
    below = await watch(books, wallet, compared="less_than", value=0)
    at_zero = await watch(books, wallet, compared="equals", value=0)

    async def write(number: int) -> None:
        there, back = move(cash, wallet, 3), move(wallet, cash, 3)
        for legs in (there, back, there, back) if number % 2 else (back, there):
            await services[number % 2].submit(*books.create(legs))

    async def watch_for_a_while(number: int) -> None:
        monitor = await watch(books, wallet, "available_balance_amount", "less_than", number)
        await describe(books, monitor.fields.id)
        await drop(books, monitor.fields.id)

    await asyncio.gather(*(write(number) for number in range(50)), *(watch_for_a_while(number) for number in range(10)))
    for groups in services:
        await groups.close()
    await other.close()

    for monitor in (above, below, at_zero):
        expected = await edges(books, wallet, monitor, credit_normal=True)
        assert await told(books, monitor.fields.id) == expected
    # It left zero, and all that was moved was moved back.
    assert len(expected) >= 3
    await assert_invariants(database_url)


async def test_one_idempotency_key_makes_one_monitor_however_often_it_is_sent(
    database: Database, database_url: str
) -> None:
    books = await Books.begin(database)
    wallet = await books.open()
    before = await books.records()

    made = await asyncio.gather(*(watch(books, wallet, key=key("one", "body")) for _ in range(50)))
    refused = await outcome(watch(books, wallet, key=key("one", "another body")))

    assert made == [made[0]] * 50
    assert await books.records() == before + 1
    assert code(refused) == "idempotency_key_reused"
    await assert_invariants(database_url)

"""Account statements against a plain fold of the entries, through random lives: sums, entries, and both later on."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import ORDINAL_BITS, Id
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.ledger.transactions import Leg, Transaction
from doppia.accounting.money import AMOUNT_MAX
from doppia.api.http.request import encode
from doppia.api.ledger.transactions import entry_object
from doppia.engine.ledger.statements import CreateStatement
from doppia.engine.performing import Engine
from doppia.engine.posting.commands import Asked
from doppia.engine.posting.group import post
from doppia.engine.posting.lanes import PostingGroups
from doppia.engine.posting.writing import NOBODY, Caller
from doppia.store.database.connections import Database
from doppia.store.database.listing import Order, Place
from doppia.store.ledger import statements as store
from doppia.store.ledger.entries import EntryInTransaction
from tests.engine.bookkeeping import Books, code, id_of, key, leg, now, outcome
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ORDERS = [Order(time, "entry", ORDINAL_BITS, way) for time in ("created_at", "effective_at") for way in ("asc", "desc")]


class Row(NamedTuple):
    """An entry as it stands in its table; `ended` is the lock_version at which it was discarded."""

    entry: int
    lock_version: int
    created_at: datetime
    effective_at: datetime
    direction: str
    status: str
    amount: int
    ended: int | None


async def rows_of(books: Books, account: Id) -> list[Row]:
    async with books.database.connection() as connection:
        found = await connection.fetch(
            """
            select e.entry, e.lock_version, e.created_at, e.effective_at, e.direction::text, e.status::text, e.amount,
                   d.lock_version
              from entries e
              left join discards d using (ledger_id, entry)
             where e.ledger_id = $1 and e.account_sequence = $2 and e.lock_version is not null
            """,
            account.ledger, account.sequence,
        )  # fmt: skip
    return [Row(*row) for row in found]


def in_force(rows: Sequence[Row], at_version: int) -> list[Row]:
    return [row for row in rows if row.lock_version <= at_version and (row.ended is None or row.ended > at_version)]


def summed(rows: Sequence[Row]) -> Sums:
    total: Counter[tuple[str, str]] = Counter()
    for row in rows:
        total[row.status, row.direction] += row.amount
    parts = (("posted", "credit"), ("posted", "debit"), ("pending", "credit"), ("pending", "debit"))
    return Sums(*(total[part] for part in parts))


def expected_entries(rows: Sequence[Row], statement: Statement, order: Order) -> list[int]:
    lower, upper = statement.effective_at_lower_bound, statement.effective_at_upper_bound
    within = [
        row
        for row in in_force(rows, statement.account.lock_version)
        if lower <= row.effective_at and row.effective_at < upper
    ]
    within.sort(key=lambda row: (getattr(row, order.time), row.lock_version), reverse=order.direction == "desc")
    return [row.entry for row in within]


async def make(books: Books, account: Id, lower: datetime, upper: datetime, clock: Any = now) -> Statement:
    command = CreateStatement(
        ledger=books.ledger, account=account, effective_at_lower_bound=lower, effective_at_upper_bound=upper
    )
    return await Engine(books.database, clock).perform(NOBODY, command)


async def listed(books: Books, statement: Statement, order: Order, per_page: int) -> list[EntryInTransaction]:
    """Read all pages of a statement's entries."""
    found: list[EntryInTransaction] = []
    place = None
    async with books.database.connection() as connection:
        while page := await store.list_entries(connection, statement, [], order, place, per_page):
            found += page
            last = page[-1].entry
            place = Place(getattr(last, order.time), statement.ledger, last.sequence << ORDINAL_BITS | last.ordinal)
    return found


def number(row: EntryInTransaction) -> int:
    return row.entry.sequence << ORDINAL_BITS | row.entry.ordinal


def lasting(rows: Sequence[EntryInTransaction]) -> list[bytes]:
    """Return what each entry is on the wire, without what may change of it later."""
    shown = []
    for row in rows:
        entry = entry_object(row.entry, row.ledger, row.transaction_id, shows_balances=True)
        shown.append(encode([getattr(entry, name) for name in entry.__struct_fields__ if name not in CHANGING]))
    return shown


CHANGING = {"discarded_at", "updated_at", "metadata"}


class Life:
    """A random life of an account: what happens to it, and the times that matter in it."""

    def __init__(self, seed: int, books: Books, accounts: Sequence[Id]) -> None:
        self.draw = random.Random(seed)
        self.books = books
        self.accounts = accounts
        # Later than the ledger's first record, so that this clock decides.
        self.time = now() + timedelta(hours=1)
        self.times = [self.time]
        self.transactions: list[Id] = []

    def clock(self) -> datetime:
        return self.time

    def bound(self) -> datetime:
        """Draw a time at which something may have been recorded or effective, or one just beside it."""
        return self.draw.choice(self.times) + self.draw.choice([-MICROSECOND, timedelta(0), MICROSECOND])

    def effective_at(self) -> datetime | None:
        """Draw when something counts: as it is recorded, said or not, or any time before or after."""
        drawn = self.draw.random()
        if drawn < 0.5:
            return None if drawn < 0.3 else self.time
        away = self.draw.choice([MICROSECOND, timedelta(seconds=1), timedelta(days=1), timedelta(days=4000)])
        found = self.time + self.draw.randint(-5, 5) * away
        self.times.append(found)
        return found

    def legs(self) -> list[Leg]:
        legs = []
        for _ in range(self.draw.choice([1, 2, 90])):
            from_, to = self.draw.sample(self.accounts, 2)
            amount = self.draw.choice([0, 1, 7, AMOUNT_MAX])
            for account, side in ((from_, "debit"), (to, "credit")):
                direction: Any = side
                legs.append(leg(account, direction, amount, effective_at=self.effective_at()))
        return legs

    async def go_on(self) -> None:
        """Post a group, at the time of the last one or some time later."""
        self.time += self.draw.choice([timedelta(0), MICROSECOND, timedelta(seconds=1), timedelta(days=1)])
        self.times.append(self.time)
        commands: dict[Any, Asked] = {}
        for place in range(self.draw.randint(1, 4)):
            target = self.draw.choice(self.transactions) if self.transactions and self.draw.random() < 0.5 else place
            status = self.draw.choice(["pending", "posted"])
            if not isinstance(target, Id):
                commands[place] = self.books.create(self.legs(), status, effective_at=self.effective_at())  # type: ignore[arg-type] # one of the three
            elif self.draw.random() < 0.3:
                commands[target] = self.books.revise(target, legs=self.legs(), status=status)
            else:
                commands[target] = self.books.revise(target, status=self.draw.choice(["posted", "archived"]))
        for answer in await post(self.books.database, self.clock, list(commands.values())):
            if isinstance(answer, Transaction):
                self.transactions.append(id_of(answer.id))
            else:
                assert isinstance(answer, LedgerError)


@pytest.mark.parametrize("seed", range(4))
async def test_a_statement_says_what_a_fold_of_the_entries_says_then_and_ever_after(
    database: Database, database_url: str, seed: int
) -> None:
    books = await Books.begin(database)
    life = Life(seed, books, [await books.open(), await books.open(normal_balance="debit"), await books.open()])
    account = life.accounts[seed % 3]
    made: list[tuple[Statement, list[bytes]]] = []
    for _ in range(30):
        await life.go_on()
        lower, upper = sorted((life.bound(), life.bound()))
        statement = await make(books, account, lower, upper, life.clock)
        made.append((statement, lasting(await listed(books, statement, ORDERS[0], 1000))))

    rows = await rows_of(books, account)
    assert len(rows) > 600
    for statement, then in made:
        known = in_force(rows, statement.account.lock_version)
        before = [
            summed([row for row in known if row.effective_at < bound])
            for bound in (statement.effective_at_lower_bound, statement.effective_at_upper_bound)
        ]
        assert [statement.starting, statement.account.sums] == before
        assert lasting(await listed(books, statement, ORDERS[0], 1000)) == then
        for order in ORDERS:
            per_page = life.draw.choice([1, 3, 100]) if len(then) < 40 else life.draw.choice([17, 100])
            entries = [number(row) for row in await listed(books, statement, order, per_page)]
            assert entries == expected_entries(rows, statement, order), (order, per_page)
        within = summed([row for row in known if row.entry in set(entries)])
        moved = [end - start for start, end in zip(statement.starting, statement.account.sums, strict=True)]
        assert moved == list(within)
    await assert_invariants(database_url)


async def test_statements_made_while_others_post_agree_with_the_version_they_name(
    database: Database, database_url: str
) -> None:
    books = await Books.begin(database)
    cash, wallet = await books.open(), await books.open()
    other = Database(database_url)
    await other.open()
    services = [PostingGroups(each, now) for each in (database, other)]
    begin, end = now() - timedelta(days=1), now() + timedelta(days=1)

    async def write(place: int) -> None:
        early = begin - timedelta(seconds=place % 2)
        for status in ("posted", "pending"):
            legs = [leg(cash, "debit", place), leg(wallet, "credit", place, effective_at=early if place % 3 else None)]
            await services[place % 2].submit(*books.create(legs, status))

    async def state() -> list[Statement]:
        return [await make(books, wallet, begin, end) for _ in range(8)]

    *made, _ = await asyncio.gather(state(), state(), asyncio.gather(*(write(place) for place in range(50))))
    for groups in services:
        await groups.close()
    await other.close()

    statements = [statement for each in made for statement in each]
    assert len({statement.account.lock_version for statement in statements}) > 1
    rows = await rows_of(books, wallet)
    for statement in statements:
        entries = [number(row) for row in await listed(books, statement, ORDERS[0], 100)]
        assert entries == expected_entries(rows, statement, ORDERS[0])
    await assert_invariants(database_url)


async def test_one_idempotency_key_makes_one_statement_however_often_it_is_sent(
    database: Database, database_url: str
) -> None:
    books = await Books.begin(database)
    wallet = await books.open()
    before = await books.records()

    command = CreateStatement(
        ledger=books.ledger, account=wallet, effective_at_lower_bound=BEGIN, effective_at_upper_bound=BEGIN
    )

    async def ask(request: str) -> Statement:
        return await books.engine.perform(Caller(key=key("one", request)), command)

    told = await asyncio.gather(*(ask("body") for _ in range(50)))

    assert told == [told[0]] * 50
    assert await books.records() == before + 1
    assert code(await outcome(ask("another body"))) == "idempotency_key_reused"
    await assert_invariants(database_url)

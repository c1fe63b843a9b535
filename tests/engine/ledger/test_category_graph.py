"""Random charts of accounts: what a category sums to, whom it holds and what is refused, beside a naive reckoning."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias

import pytest

from doppia.accounting.ids import Id
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.categories import LEVELS_MAX, CategoryFields, add_up
from doppia.accounting.ledger.transactions import CategoryGuards, Guard, Transaction
from doppia.accounting.money import Currency
from doppia.engine.ledger.categories import CreateCategory, DiscardCategory, PlaceAccount, PlaceCategory
from doppia.engine.posting.group import post
from doppia.engine.posting.writing import NOBODY
from doppia.store.database.connections import Connection, Database
from doppia.store.database.listing import Filter
from doppia.store.ledger import accounts as account_store
from doppia.store.ledger import categories as store
from doppia.store.ledger.balances import AsOf
from tests.engine.bookkeeping import PHP, PTS, Books, code, id_of, leg, now, outcome
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

STEPS = 250
DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 6)]

Legs: TypeAlias = Sequence[tuple[Id, str, int]]


@dataclass
class Chart:
    """What was accepted, kept as simply as can be."""

    rng: random.Random
    units: dict[Id, Currency] = field(default_factory=dict)
    sums: dict[Id, Sums] = field(default_factory=dict)
    categories: dict[Id, Currency] = field(default_factory=dict)
    discarded: set[Id] = field(default_factory=set)
    edges: set[tuple[Id, Id]] = field(default_factory=set)
    members: set[tuple[Id, Id]] = field(default_factory=set)
    holds: list[tuple[Id, Legs, datetime]] = field(default_factory=list)
    gains: list[tuple[Id, Sums, datetime]] = field(default_factory=list)
    known: list[tuple[datetime, dict[Id, Sums]]] = field(default_factory=list)

    def any_category(self) -> Id:
        return self.rng.choice(list(self.categories))

    def any_account(self) -> Id:
        return self.rng.choice(list(self.units))

    def some(self, unit: Currency) -> list[Id]:
        """Return some open categories of a unit."""
        open_ = [each for each, its in self.categories.items() if its == unit and each not in self.discarded]
        return self.rng.sample(open_, min(len(open_), self.rng.randrange(3)))

    def reached(self, category: Id) -> set[Id]:
        """Return the categories at and below one, by every path."""
        found = {category}
        for parent, child in self.edges:
            if parent == category:
                found |= self.reached(child)
        return found

    def held(self, category: Id) -> set[Id]:
        if category in self.discarded:
            return set()
        reached = self.reached(category)
        return {account for holder, account in self.members if holder in reached}

    def longest(self, category: Id, *, upwards: bool) -> int:
        edges = [(child, parent) for parent, child in self.edges] if upwards else list(self.edges)
        return 1 + max((self.longest(to, upwards=upwards) for from_, to in edges if from_ == category), default=0)

    def refusal(self, parent: Id, child: Id) -> str | None:
        """Return with what code an edge is refused."""
        if {parent, child} & self.discarded:
            return "object_discarded"
        if (parent, child) in self.edges:
            return None
        if self.categories[parent] != self.categories[child]:
            return "currency_mismatch"
        if parent in self.reached(child):
            return "category_cycle"
        if self.longest(parent, upwards=True) + self.longest(child, upwards=False) > LEVELS_MAX:
            return "category_too_deep"
        return None

    def note(self, legs: Legs, status: str, effective_at: datetime, sign: int = 1) -> None:
        for account, side, amount in legs:
            gained = Sums(*(sign * amount if name == f"{status}_{side}s" else 0 for name in Sums._fields))
            self.sums[account] = add_up([self.sums[account], gained])
            self.gains.append((account, gained, effective_at))


@dataclass
class Player:
    """Asks the engine for random changes, and the chart what is to become of them."""

    books: Books
    chart: Chart

    async def open_account(self) -> None:
        unit = self.chart.rng.choice([PHP, PHP, PTS])
        parents = self.chart.some(unit)
        opened = await self.books.open(unit, parents=parents)
        self.chart.units[opened], self.chart.sums[opened] = unit, NOTHING
        self.chart.members |= {(parent, opened) for parent in parents}

    async def open_category(self) -> None:
        unit = self.chart.rng.choice([PHP, PHP, PTS])
        parents = self.chart.some(unit)
        command = CreateCategory(
            ledger=self.books.ledger, name="category", currency=unit, normal_balance="credit", parents=parents
        )
        told = await outcome(self.books.engine.perform(NOBODY, command))
        if any(self.chart.longest(parent, upwards=True) == LEVELS_MAX for parent in parents):
            assert code(told) == "category_too_deep"
            return
        assert isinstance(told, CategoryFields), told
        opened = id_of(told.category.id)
        self.chart.categories[opened] = unit
        self.chart.edges |= {(parent, opened) for parent in parents}

    async def discard(self) -> None:
        category = self.chart.any_category()
        await self.books.engine.perform(NOBODY, DiscardCategory(ledger=self.books.ledger, target=category))
        self.chart.discarded.add(category)
        self.chart.edges -= {edge for edge in self.chart.edges if category in edge}
        self.chart.members -= {member for member in self.chart.members if category in member}

    async def nest(self, *, inside: bool) -> None:
        parent, child = self.chart.any_category(), self.chart.any_category()
        command = PlaceCategory(ledger=self.books.ledger, upper=parent, lower=child, inside=inside)
        call = self.books.engine.perform(NOBODY, command)
        told = code(await outcome(call))
        expected = self.chart.refusal(parent, child)
        if not inside and expected != "object_discarded":
            expected = None
        assert told == (expected or "accepted")
        if expected is None:
            (self.chart.edges.add if inside else self.chart.edges.discard)((parent, child))

    async def place(self, *, inside: bool) -> None:
        category, account = self.chart.any_category(), self.chart.any_account()
        command = PlaceAccount(ledger=self.books.ledger, category=category, account=account, inside=inside)
        call = self.books.engine.perform(NOBODY, command)
        expected = None
        if category in self.chart.discarded:
            expected = "object_discarded"
        elif inside and self.chart.categories[category] != self.chart.units[account]:
            expected = "currency_mismatch"
        assert code(await outcome(call)) == (expected or "accepted")
        if expected is None:
            (self.chart.members.add if inside else self.chart.members.discard)((category, account))

    async def post(self) -> None:
        """Post a group of transactions in one database transaction, one of them under a lock that just holds."""
        commands, accepted = [], []
        for _ in range(self.chart.rng.randrange(1, 5)):
            one = self.chart.any_account()
            same = [each for each, unit in self.chart.units.items() if unit == self.chart.units[one]]
            amount = self.chart.rng.choice([0, 1, 7, 10**36])
            legs = [(one, "debit", amount), (self.chart.rng.choice(same), "credit", amount)]
            status = self.chart.rng.choice(["posted", "pending"])
            day = self.chart.rng.choice(DAYS)
            self.chart.note(legs, status, day)
            locks = []
            for category in self.chart.some(self.chart.units[one]):
                if one in self.chart.held(category):
                    total = add_up(self.chart.sums[each] for each in self.chart.held(category))
                    guard = Guard("posted", "eq", total.posted_credits - total.posted_debits)
                    locks.append(CategoryGuards(category.sequence, str(category), (guard,)))
            asked = [leg(account, side, amount) for account, side, amount in legs]  # type: ignore[arg-type]
            commands.append(
                self.books.create(asked, status, category_guards=tuple(locks), effective_at=day)  # type: ignore[arg-type]
            )
            accepted.append((legs, status, day))
        told = await post(self.books.database, now, commands)
        for answer, (legs, status, day) in zip(told, accepted, strict=True):
            assert isinstance(answer, Transaction), answer
            if status == "pending":
                self.chart.holds.append((id_of(answer.id), legs, day))

    async def resolve(self) -> None:
        if not self.chart.holds:
            return
        hold, legs, day = self.chart.holds.pop(self.chart.rng.randrange(len(self.chart.holds)))
        status = self.chart.rng.choice(["posted", "archived"])
        [answer] = await post(self.books.database, now, [self.books.revise(hold, status=status)])
        assert isinstance(answer, Transaction), answer
        self.chart.note(legs, "pending", day, -1)
        if status == "posted":
            self.chart.note(legs, "posted", day)

    async def compare(self) -> None:
        """Compare all that the ledger says of its categories with the chart."""
        ledgers = [self.books.ledger.number]
        async with self.books.database.connection() as connection:
            found = await store.list_page(connection, ledgers, [], None, 1000)
            assert {id_of(each.category.id) for each in found} == set(self.chart.categories)
            for each in found:
                category = id_of(each.category.id)
                held = self.chart.held(category)
                assert each.sums == add_up(self.chart.sums[account] for account in held)
                by_category = [Filter("ledger_account_category_id", category.sequence)]
                rows = await account_store.list_page(connection, ledgers, by_category, None, 1000)
                assert {id_of(row.account.id) for row in rows} == held
                by_parent = [Filter("parent_ledger_account_category_id", category.sequence)]
                rows_below = await store.list_page(connection, ledgers, by_parent, None, 1000)
                children = {child for parent, child in self.chart.edges if parent == category}
                assert {id_of(row.category.id) for row in rows_below} == children
            await self._compare_in_time(connection)
            for account in self.chart.units:
                by_account = [Filter("ledger_account_id", account.sequence)]
                holders = await store.list_page(connection, ledgers, by_account, None, 1000)
                expected = {each for each in self.chart.categories if account in self.chart.held(each)}
                assert {id_of(row.category.id) for row in holders} == expected

    async def _compare_in_time(self, connection: Connection) -> None:
        """Compare what was effective on a day, and what was known some time ago, by whom categories hold today."""
        chart, ledger = self.chart, self.books.ledger.number
        recorded_at = await connection.fetchval("select recorded_at from ledger_heads where ledger_id = $1", ledger)
        chart.known.append((recorded_at, dict(chart.sums)))
        then, sums_then = chart.rng.choice(chart.known)
        first, last = sorted(chart.rng.choices(DAYS, k=2))
        places = [(ledger, each.sequence) for each in chart.categories]
        as_known = await store.sums_in_time(connection, places, AsOf(recorded_at=then))
        between = await store.sums_in_time(connection, places, AsOf(from_time=first, before_time=last))
        for each in chart.categories:
            held, place = chart.held(each), (ledger, each.sequence)
            assert as_known[place] == add_up(sums_then.get(account, NOTHING) for account in held)
            gained = (sums for account, sums, day in chart.gains if account in held and first <= day < last)
            assert between[place] == add_up(gained)
            kept, folded = await store.recompute(connection, *place)
            assert kept == folded == add_up(chart.sums[account] for account in held)


@pytest.mark.parametrize("seed", range(6))
async def test_a_category_is_the_sum_of_its_distinct_accounts_whatever_happens_to_the_chart(
    database: Database, database_url: str, seed: int
) -> None:
    rng = random.Random(seed)
    player = Player(await Books.begin(database), Chart(rng))
    for _ in range(4):
        await player.open_account()
        await player.open_category()
    moves: dict[Callable[[], Awaitable[None]], int] = {
        player.open_account: 3, player.open_category: 6, player.discard: 1, player.post: 12, player.resolve: 4,
        partial(player.nest, inside=True): 12, partial(player.nest, inside=False): 4,
        partial(player.place, inside=True): 12, partial(player.place, inside=False): 5,
    }  # fmt: skip

    for number in range(STEPS):
        [move] = rng.choices(list(moves), list(moves.values()))
        await move()
        if number % 25 == 24:
            await player.compare()

    assert any(len(player.chart.held(each)) > 1 for each in player.chart.categories), "the charts hold something"
    await assert_invariants(database_url)

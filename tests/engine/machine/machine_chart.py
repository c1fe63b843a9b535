"""Categories: what is nested, placed and refused, and what each sums to, must be as the model says."""

from typing import Final

from hypothesis.stateful import invariant

from doppia.accounting.ledger.categories import CategoryFields
from doppia.engine.ledger.categories import CreateCategory, DiscardCategory, PlaceAccount, PlaceCategory
from doppia.engine.posting.writing import NOBODY
from doppia.store.ledger import categories as store
from tests.engine.bookkeeping import code, id_of, outcome
from tests.engine.machine.machine import SIDES, UNITS, Machine

CATEGORIES_MAX: Final = 9


class ChartMachine(Machine):
    def create_a_category(self) -> None:
        if len(self.categories) >= CATEGORIES_MAX:
            return
        parents, unit, normal_balance = self.draw_categories(), self.random.choice(UNITS), self.random.choice(SIDES)
        command = CreateCategory(
            ledger=self.books.ledger, name="category", currency=unit, normal_balance=normal_balance,
            parents=[self.categories[parent] for parent in parents],
        )  # fmt: skip
        call = self.books.engine.perform(NOBODY, command)
        told = self.run(outcome(call))
        assert code(told) == self.model.chart.create(unit.code, normal_balance, parents)
        if isinstance(told, CategoryFields):
            self.categories.append(id_of(told.category.id))

    def discard_a_category(self) -> None:
        if not self.categories or self.random.randrange(8):
            return  # or there would be no chart
        category = self.random.randrange(len(self.categories))
        command = DiscardCategory(ledger=self.books.ledger, target=self.categories[category])
        self.run(self.books.engine.perform(NOBODY, command))
        self.model.chart.discard(category)

    def change_the_chart(self) -> None:
        for _ in range(self.random.randint(1, 5) if self.categories else 0):
            inside = self.random.randrange(3) > 0
            self.random.choice([self._nest, self._place])(inside=inside)

    def _nest(self, *, inside: bool) -> None:
        chart = self.model.chart
        parent, child = self.random.choices(range(len(self.categories)), k=2)
        if not inside and chart.edges:
            parent, child = self.random.choice(sorted(chart.edges))
        upper, lower = self.categories[parent], self.categories[child]
        command = PlaceCategory(ledger=self.books.ledger, upper=upper, lower=lower, inside=inside)
        call = self.books.engine.perform(NOBODY, command)
        assert code(self.run(outcome(call))) == chart.nest(parent, child, inside=inside)

    def _place(self, *, inside: bool) -> None:
        chart = self.model.chart
        category, number = self.random.randrange(len(self.categories)), self.random.randrange(len(self.accounts))
        if not inside and chart.members:
            category, number = self.random.choice(sorted(chart.members))
        account = self.model.accounts[number]
        command = PlaceAccount(
            ledger=self.books.ledger, category=self.categories[category], account=self.accounts[number], inside=inside
        )
        call = self.books.engine.perform(NOBODY, command)
        assert code(self.run(outcome(call))) == chart.place(
            category, number, account.unit, is_open=account.is_open, inside=inside
        )

    @invariant()
    def every_category_is_the_sum_of_whom_it_reaches(self) -> None:
        if not self.categories:
            return
        stored = {fields.category.sequence: fields for fields in self.run(self._read_categories())}
        for number, known in enumerate(self.categories):
            fields = stored[known.sequence]
            assert fields.category.is_open == self.model.chart.categories[number].is_open
            assert tuple(fields.sums) == self.model.sums(*self.model.chart.held(number))

    async def _read_categories(self) -> list[CategoryFields]:
        async with self.database.connection() as connection:
            return await store.list_page(connection, [self.ledger], [], None, 100)

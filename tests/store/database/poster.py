"""Books full of what a ledger may see: random transactions, effective at any time, and all that may become of holds."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from doppia.accounting.ids import Id
from doppia.accounting.ledger.transactions import Draft, Leg, Status, Transaction
from doppia.engine.posting.commands import Asked
from doppia.engine.posting.group import post
from tests.engine.bookkeeping import Books, id_of, leg

BEGIN: Final = datetime(2026, 3, 1, tzinfo=UTC)
MIDNIGHT: Final = datetime(2026, 2, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

When = Callable[[random.Random, datetime], datetime | None]


def any_time(rng: random.Random, first: int, last: int) -> datetime:
    """Return a time between two years."""
    return datetime(first, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=rng.randrange((last - first) * 31_556_952_000_000)
    )


EFFECTIVE: Final[dict[str, When]] = {
    "when recorded": lambda _, __: None,
    "before": lambda rng, now: now - timedelta(microseconds=rng.randrange(40 * 86_400_000_000)),
    "later": lambda rng, now: now + timedelta(microseconds=rng.randrange(400 * 86_400_000_000)),
    "at one midnight": lambda _, __: MIDNIGHT,
    "in one burst": lambda rng, _: MIDNIGHT + rng.randrange(5_000) * MICROSECOND,
    "over the calendar": lambda rng, _: any_time(rng, 2, 9998),
    "before 1970": lambda rng, _: any_time(rng, 1900, 1970),
}
PATTERNS: Final = {name: [when] for name, when in EFFECTIVE.items()} | {"in all these ways": list(EFFECTIVE.values())}


@dataclass
class Poster:
    """Posts to three accounts, at times of its own, what random numbers say."""

    books: Books
    rng: random.Random
    accounts: Sequence[Id]
    patterns: Sequence[When]
    group_sizes: Sequence[int] = (1, 10, 100, 300, 1_300)
    time: datetime = BEGIN
    holds: list[Transaction] = field(default_factory=list)

    async def run(self, *, steps: int) -> None:
        """Post until the first account has so many steps."""
        while (await self.books.account(self.accounts[0])).lock_version < steps:
            self.time += self.rng.choice([0, 1, 70_000, 3_600_000_000, 200_000_000_000]) * MICROSECOND
            items = [self._draft() for _ in range(self.rng.choice(self.group_sizes))]
            commands: list[Asked] = [self.books.batch(items, is_atomic=True)]
            self.rng.shuffle(self.holds)
            for _ in range(min(len(self.holds), self.rng.choice([0, 5, 50]))):
                commands.append(self.books.revise(id_of(self.holds.pop().id), **self._changes()))
            created, *changed = await post(self.books.database, lambda: self.time, commands)
            assert isinstance(created, list), created
            assert all(isinstance(outcome, Transaction) for outcome in changed), changed
            self.holds += [one for one in created if one.status == "pending"]

    def _draft(self) -> Draft:
        status: Status = self.rng.choice(["posted", "posted", "pending", "pending", "archived"])
        return Draft(self._legs(), status, effective_at=self._when())

    def _legs(self) -> list[Leg]:
        first, second, third = self.accounts
        amount = self.rng.choice([0, 1, 7, 10**36])
        to = self.rng.choice([first, second, second, third])
        legs = [leg(first, "debit", amount, effective_at=self._when() if self.rng.random() < 0.2 else None)]
        legs.append(leg(to, "credit", amount))
        self.rng.shuffle(legs)
        return legs

    def _when(self) -> datetime | None:
        return self.rng.choice(self.patterns)(self.rng, self.time)

    def _changes(self) -> dict[str, Any]:
        return self.rng.choice([
            {"status": "posted"}, {"status": "posted"}, {"status": "archived"},
            {"status": "posted", "legs": self._legs()},
            {"effective_at": self._when() or self.time},
        ])  # fmt: skip

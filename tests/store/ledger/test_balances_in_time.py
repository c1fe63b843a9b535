"""Balances in time are what a fold of the entries says, in whatever order they were written."""

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import uuid4

import asyncpg
import pytest

from doppia.accounting.ids import Id
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import Books
from tests.servers import Server
from tests.store.database.poster import BEGIN, MICROSECOND, MIDNIGHT, PATTERNS, Poster, any_time
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

STEPS: Final = 2_600
"""Of the account, at least: five times 512, and some that are not in its buckets yet."""


class Written(NamedTuple):
    """An entry as it was written, and when it ended, without a word of how sums are kept."""

    lock_version: int
    created_at: datetime
    effective_at: datetime
    sums: Sums
    discarded_at_version: int | None
    discarded_at: datetime | None


@dataclass
class Account:
    """An account whose balances in time are compared with a fold of what was written on it."""

    database: Database
    id: Id
    written: list[Written]
    recorded_at: dict[int, datetime]

    @classmethod
    async def read(cls, database: Database, id_: Id) -> "Account":
        async with database.connection() as connection:
            rows = await connection.fetch(
                "select e.lock_version, e.created_at, e.effective_at, e.status::text, e.direction::text, e.amount,"
                "       d.lock_version, d.discarded_at"
                "  from entries e left join discards d using (ledger_id, entry)"
                " where e.ledger_id = $1 and e.account_sequence = $2 and e.lock_version is not null",
                id_.ledger, id_.sequence,
            )  # fmt: skip
        places = [("posted", "credit"), ("posted", "debit"), ("pending", "credit"), ("pending", "debit")]
        written = [
            Written(
                row[0], row[1], row[2], Sums(*(row[5] if row[3:5] == place else 0 for place in places)), row[6], row[7]
            )
            for row in rows
        ]
        recorded_at = {one.lock_version: one.created_at for one in written}
        recorded_at |= {one.discarded_at_version: one.discarded_at for one in written if one.discarded_at}  # type: ignore[misc] # both are there or neither
        return cls(database, id_, written, recorded_at)

    def folded(self, version: int, before: datetime) -> Sums:
        found = [
            one.sums
            for one in self.written
            if one.lock_version <= version
            and one.effective_at < before
            and (one.discarded_at_version is None or one.discarded_at_version > version)
        ]
        return Sums(*(sum(parts) for parts in zip(NOTHING, *found, strict=True)))

    async def ask(self, function: str, arguments: Sequence[tuple[Any, ...]], kinds: str) -> list[tuple[Any, ...]]:
        marks = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(kinds.split(), 3))
        names = [f"a{place}" for place in range(len(kinds.split()))]
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                f"select f.* from unnest({marks}) with ordinality as a ({', '.join(names)}, place)"
                f" cross join lateral {function}($1, $2, {', '.join(f'a.{name}' for name in names)}) f"
                " order by a.place",
                self.id.ledger, self.id.sequence, *map(list, zip(*arguments, strict=True)),
            )  # fmt: skip
        return [tuple(row) for row in rows]


@pytest.fixture(scope="module", params=PATTERNS)
async def accounts(request: pytest.FixtureRequest, postgres: Server) -> AsyncIterator[list[Account]]:
    """Accounts with entries that are effective in one of the patterns."""
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"create database {name} template template_doppia")
    database = Database(postgres.service_of(name))
    await database.open()
    rng = random.Random(request.param)
    books = await Books.begin(database)
    opened = [await books.open() for _ in range(3)]
    await Poster(books, rng, opened, PATTERNS[request.param]).run(steps=STEPS)
    yield [await Account.read(database, id_) for id_ in opened]
    await assert_invariants(postgres.of(name))
    await database.close()
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


async def test_sums_before_a_time_are_the_fold_of_the_entries_at_every_version(accounts: list[Account]) -> None:
    rng = random.Random(1)
    for account in accounts:
        last = max(account.recorded_at)
        versions = [0, 1, 511, 512, 513, last // 512 * 512 - 1, last // 512 * 512, last]
        times = [one.effective_at for one in rng.sample(account.written, 60)]
        times += [time + MICROSECOND for time in times] + [MIDNIGHT, BEGIN, any_time(rng, 2, 9998)]
        times += [time + timedelta(microseconds=rng.randrange(-(1 << 36), 1 << 36)) for time in times]
        asked = [
            (min(last, rng.choice([*versions, rng.randrange(last + 1), last])), rng.choice(times)) for _ in range(400)
        ]

        answers = await account.ask("sums_before", asked, "bigint timestamptz")

        for (version, before), answer in zip(asked, answers, strict=True):
            assert answer == account.folded(version, before), (version, before)


async def test_sums_at_a_version_are_the_fold_of_the_entries_at_every_version(accounts: list[Account]) -> None:
    end = datetime.max.replace(tzinfo=UTC)
    for account in accounts:
        asked = range(max(account.recorded_at) + 1)

        answers = await account.ask("sums_at_version", [(version,) for version in asked], "bigint")

        for version in random.Random(2).sample(asked, 100):
            assert answers[version] == account.folded(version, end)


async def test_an_account_has_at_each_recorded_time_the_version_of_its_last_step(accounts: list[Account]) -> None:
    for account in accounts:
        known = sorted(set(account.recorded_at.values()))
        times = [BEGIN - timedelta(days=1), *known, *(time - MICROSECOND for time in known), known[-1] + MICROSECOND]

        answers = await account.ask("account_version", [(time,) for time in times], "timestamptz")

        for time, (version,) in zip(times, answers, strict=True):
            assert version == max(
                (n for n, recorded_at in account.recorded_at.items() if recorded_at <= time), default=0
            )

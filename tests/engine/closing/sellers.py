"""A seller's account that is settled against the bank's, and settlements of it in few words."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest

from doppia.accounting.closing.settlements import Settlement
from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id
from doppia.api.closing.settlements import to_object
from doppia.api.http.request import encode
from doppia.engine.closing import settlements, settling
from doppia.engine.posting.lanes import PostingGroups
from doppia.engine.posting.writing import Answer, Clock, Key
from doppia.store.closing import settlements as store
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import Books, id_of, move, now, outcome, read

Json = dict[str, Any]

_ASKED: Final[Json] = {
    "effective_at_upper_bound": None,
    "allows_either_direction": False,
    "skips_transaction": False,
    "description": None,
    "metadata": {},
}


def _told(answer: Answer) -> Json:
    found: Json = read(answer)
    return found


@dataclass
class Seller:
    """A seller's account of a ledger, settled against the bank's."""

    books: Books
    groups: PostingGroups
    account: Id
    bank: Id

    @property
    def database(self) -> Database:
        return self.books.database

    def render(self, settlement: Settlement) -> bytes:
        return encode(to_object(settlement, str(self.books.ledger)))

    async def earn(self, amount: int, status: Any = "posted", **more: Any) -> Json:
        """Post what the seller gets, or a refund where the amount is below 0."""
        legs = move(self.bank, self.account, amount) if amount >= 0 else move(self.account, self.bank, -amount)
        return _told(await self.groups.submit(self.books.create(legs, status, **more)))

    async def earn_often(self, amounts: Sequence[int]) -> None:
        await asyncio.gather(*(self.earn(amount) for amount in amounts))

    async def create(
        self,
        status: Any = "pending",
        *,
        database: Database | None = None,
        clock: Clock = now,
        contra: Id | None = None,
        key: Key | None = None,
        **asked: Any,
    ) -> Answer:
        return await settlements.create(
            database or self.database, clock, self.account, contra or self.bank, None, key, self.render, status=status,
            **{**_ASKED, **asked},
        )  # fmt: skip

    async def sweep(self, status: Any = "pending", **more: Any) -> Json:
        return _told(await self.create(status, **more))

    async def draft(self, *entries: Id) -> Json:
        made = _told(await self.create("drafting"))
        await self.add(made, *entries)
        return made

    async def update(self, settlement: Json, database: Database | None = None, **changes: Any) -> Json:
        target = id_of(settlement["id"])
        return _told(await settlements.update(database or self.database, now, target, None, None, self.render, changes))

    async def add(self, settlement: Json, *entries: Id, database: Database | None = None) -> Answer:
        target = id_of(settlement["id"])
        return await settlements.add_entries(database or self.database, now, target, None, None, entries)

    async def remove(self, settlement: Json, *entries: Id) -> Answer:
        return await settlements.remove_entries(self.database, now, id_of(settlement["id"]), None, None, entries)

    async def get(self, settlement: Json) -> Json:
        async with self.database.connection() as connection:
            found = await store.get(connection, self.books.ledger.ledger, id_of(settlement["id"]).sequence)
        assert found is not None
        return _told(Answer(200, self.render(found)))

    async def entries(self, settlement: Json) -> set[int]:
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "select entry from settled_entries where ledger_id = $1 and settlement_sequence = $2",
                self.books.ledger.ledger, id_of(settlement["id"]).sequence,
            )  # fmt: skip
        return {row[0] for row in rows}

    async def balance(self) -> int:
        sums = (await self.books.account(self.account)).sums
        return sums.posted_credits - sums.posted_debits

    async def all(self) -> list[Settlement]:
        """Return all settlements of the ledger; there are few."""
        async with self.database.connection() as connection:
            return await store.list_page(connection, [self.books.ledger.ledger], [], None, 1000)

    async def mark(self) -> int:
        async with self.database.connection() as connection:
            return (await store.mark(connection, self.account.ledger, self.account.sequence)).swept


def own(transaction: Json, position: int = 1) -> Id:
    return id_of(transaction["ledger_entries"][position]["id"])


def number(entry: Id) -> int:
    return entry.sequence << 10 | entry.ordinal


def amounts(found: Json) -> tuple[str, int | None, str | None]:
    return found["status"], found["amount"], found["settlement_entry_direction"]


@asynccontextmanager
async def begin(database: Database) -> AsyncIterator[Seller]:
    """Lend a seller's account and the bank's, both at zero, in a ledger of their own."""
    books = await Books.begin(database)
    groups = PostingGroups(database, now)
    yield Seller(books, groups, await books.open(), await books.open(normal_balance="debit"))
    await groups.close()


def take_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let five entries be a step of a settlement, and twelve lock versions be looked through at once."""
    for module in (settling, settlements):
        monkeypatch.setattr(module, "ENTRIES_AT_ONCE", 5)
    monkeypatch.setattr(settling, "VERSIONS_AT_ONCE", 12)
    monkeypatch.setattr(settlements, "_VERSIONS_SUMMED_AT_ONCE", 7)


async def refused(call: Awaitable[Any]) -> LedgerError:
    """Return the refusal that a call gets."""
    told = await outcome(call)
    assert isinstance(told, LedgerError), told
    return told

"""A seller's account that is settled against the bank's, and settlements of it in few words."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from doppia.accounting.closing.settlements import Settlement
from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id
from doppia.accounting.ledger.transactions import Transaction
from doppia.engine.closing import settlements, settling
from doppia.engine.closing.settlements import AddEntries, CreateSettlement, RemoveEntries, UpdateSettlement
from doppia.engine.performing import Engine
from doppia.engine.posting.writing import NOBODY, Caller, Clock, Key
from doppia.store.closing import settlements as store
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import Books, id_of, move, now, outcome


@dataclass
class Seller:
    """A seller's account of a ledger, settled against the bank's."""

    books: Books
    account: Id
    bank: Id

    @property
    def database(self) -> Database:
        return self.books.database

    @property
    def engine(self) -> Engine:
        return self.books.engine

    async def earn(self, amount: int, status: Any = "posted", **more: Any) -> Transaction:
        """Post what the seller gets, or a refund where the amount is below 0."""
        legs = move(self.bank, self.account, amount) if amount >= 0 else move(self.account, self.bank, -amount)
        earned: Transaction = await self.engine.perform(*self.books.create(legs, status, **more))
        return earned

    async def earn_often(self, amounts: Sequence[int]) -> None:
        await asyncio.gather(*(self.earn(amount) for amount in amounts))

    async def sweep(
        self,
        status: Any = "pending",
        *,
        database: Database | None = None,
        clock: Clock = now,
        contra: Id | None = None,
        key: Key | None = None,
        **asked: Any,
    ) -> Settlement:
        command = CreateSettlement(
            ledger=self.books.ledger, settled=self.account, contra=contra or self.bank, status=status, **asked
        )
        return await Engine(database or self.database, clock).perform(Caller(key=key), command)

    async def draft(self, *entries: Id) -> Settlement:
        made = await self.sweep("drafting")
        await self.add(made, *entries)
        return made

    async def update(self, settlement: Settlement, database: Database | None = None, **changes: Any) -> Settlement:
        command = UpdateSettlement(ledger=self.books.ledger, target=id_of(settlement.id), **changes)
        return await Engine(database or self.database, now).perform(NOBODY, command)

    async def add(self, settlement: Settlement, *entries: Id, database: Database | None = None) -> None:
        command = AddEntries(ledger=self.books.ledger, target=id_of(settlement.id), entries=entries)
        await Engine(database or self.database, now).perform(NOBODY, command)

    async def remove(self, settlement: Settlement, *entries: Id) -> None:
        command = RemoveEntries(ledger=self.books.ledger, target=id_of(settlement.id), entries=entries)
        await self.engine.perform(NOBODY, command)

    async def get(self, settlement: Settlement) -> Settlement:
        async with self.database.connection() as connection:
            found = await store.get(connection, settlement.ledger, settlement.sequence)
        assert found is not None
        return found

    async def entries(self, settlement: Settlement) -> set[int]:
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "select entry from settled_entries where ledger_id = $1 and settlement_sequence = $2",
                settlement.ledger, settlement.sequence,
            )  # fmt: skip
        return {row[0] for row in rows}

    async def balance(self) -> int:
        sums = (await self.books.account(self.account)).sums
        return sums.posted_credits - sums.posted_debits

    async def all(self) -> list[Settlement]:
        """Return all settlements of the ledger; there are few."""
        async with self.database.connection() as connection:
            return await store.list_page(connection, [self.books.ledger.number], [], None, 1000)

    async def mark(self) -> int:
        async with self.database.connection() as connection:
            return (await store.mark(connection, self.account.ledger, self.account.sequence)).swept


def own(transaction: Transaction, position: int = 1) -> Id:
    entry = transaction.entries[position]
    return Id(int(entry.created_at.timestamp()), id_of(transaction.id).ledger, entry.sequence, entry.ordinal)


def number(entry: Id) -> int:
    return entry.sequence << 10 | entry.ordinal


def moving(settlement: Settlement) -> Id:
    """Return the id of the transaction that moves a settlement's amount."""
    assert settlement.transaction is not None
    return id_of(settlement.transaction[1])


def amounts(found: Settlement) -> tuple[str, int | None, str | None]:
    return found.status, found.amount, found.direction


@asynccontextmanager
async def begin(database: Database) -> AsyncIterator[Seller]:
    """Lend a seller's account and the bank's, both at zero, in a ledger of their own."""
    books = await Books.begin(database)
    yield Seller(books, await books.open(), await books.open(normal_balance="debit"))
    await books.engine.close()


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

"""A ledger of a test's own, and commands on it in few words."""

import hashlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id, LedgerRef, parse_id
from doppia.accounting.ledger.accounts import Account, AccountFields
from doppia.accounting.ledger.balances import Direction
from doppia.accounting.ledger.transaction_life import Revision
from doppia.accounting.ledger.transactions import Draft, Leg, Status, Transaction
from doppia.accounting.money import Currency
from doppia.engine.ledger.accounts import DiscardAccount, OpenAccount
from doppia.engine.ledger.ledgers import CreateLedger
from doppia.engine.performing import Engine
from doppia.engine.platform import keys
from doppia.engine.posting.commands import (
    Asked,
    CreateBatch,
    CreateTransaction,
    ExpireTransaction,
    PostPart,
    ReverseTransaction,
    ReviseTransaction,
)
from doppia.engine.posting.writing import NOBODY, Caller, Key
from doppia.store.database.connections import Database
from doppia.store.ledger import accounts as account_store

PHP = Currency("PHP", 2)
PTS = Currency("PTS", 0)

T = TypeVar("T")


def now() -> datetime:
    return datetime.now(UTC)


def id_of(text: str) -> Id:
    found = parse_id(text)
    assert found is not None
    return found


def key(name: str, request: object) -> Key:
    return Key(hashlib.sha256(name.encode()).digest()[:16], hashlib.sha256(repr(request).encode()).digest()[:16])


async def outcome(call: Awaitable[T]) -> T | LedgerError:
    """Return what a call leaves, or its refusal."""
    try:
        return await call
    except LedgerError as refusal:
        return refusal


def code(told: object) -> str:
    return told.code if isinstance(told, LedgerError) else "accepted"


def comparable(results: Sequence[Transaction | LedgerError]) -> list[object]:
    """Return what became of each transaction of a batch, a refusal as its code and fields, for two are never equal."""
    return [(one.code, one.parameter, one.details()) if isinstance(one, LedgerError) else one for one in results]


@dataclass
class Books:
    """A ledger. Legs name accounts by id."""

    engine: Engine
    ledger: LedgerRef

    @property
    def database(self) -> Database:
        return self.engine.database

    @classmethod
    async def begin(cls, database: Database) -> "Books":
        begun = await keys.begin(database, now)
        async with database.connection() as connection:
            organization = await connection.fetchval("select id from organizations")
        assert begun is None or begun[0].organization == organization
        engine = Engine(database, now)
        ledger = await engine.perform(NOBODY, CreateLedger(organization=organization, name="books"))
        return cls(engine, ledger.ref)

    async def open(self, unit: Currency = PHP, normal_balance: Direction = "credit", parents: Sequence[Id] = ()) -> Id:
        command = OpenAccount(
            ledger=self.ledger, name="account", currency=unit, normal_balance=normal_balance, parents=parents
        )
        return id_of((await self.engine.perform(NOBODY, command)).account.id)

    async def discard(self, account: Id) -> AccountFields:
        return await self.engine.perform(NOBODY, DiscardAccount(ledger=self.ledger, target=account))

    async def account(self, account: Id) -> Account:
        async with self.database.connection() as connection:
            fields = await account_store.get(connection, account.ledger, account.sequence)
        assert fields is not None
        return fields.account

    async def records(self) -> int:
        """Return how many records the log has."""
        async with self.database.connection() as connection:
            found: int = await connection.fetchval(
                "select sequence from ledger_heads where ledger_id = $1", self.ledger.number
            )
        return found

    def create(self, legs: Sequence[Leg], status: Status = "posted", *, key: Key | None = None, **more: Any) -> Asked:
        draft = Draft(legs, status, **more)
        return Asked(Caller(key=key), CreateTransaction(ledger=self.ledger, draft=draft))

    def revise(self, target: Id, *, key: Key | None = None, **changes: Any) -> Asked:
        revision = Revision(**changes)
        return Asked(Caller(key=key), ReviseTransaction(ledger=self.ledger, target=target, revision=revision))

    def reverse(self, target: Id, status: Status = "posted", *, key: Key | None = None, **more: Any) -> Asked:
        draft = Draft((), status, **more)
        return Asked(Caller(key=key), ReverseTransaction(ledger=self.ledger, target=target, draft=draft))

    def partial_post(self, target: Id, legs: Sequence[Leg], *, key: Key | None = None, **more: Any) -> Asked:
        draft = Draft(legs, "posted", **more)
        return Asked(Caller(key=key), PostPart(ledger=self.ledger, target=target, draft=draft))

    def expire(self, target: Id) -> Asked:
        return Asked(NOBODY, ExpireTransaction(ledger=self.ledger, target=target))

    def batch(self, items: Sequence[Draft | LedgerError], *, is_atomic: bool = False, key: Key | None = None) -> Asked:
        return Asked(Caller(key=key), CreateBatch(ledger=self.ledger, items=items, is_atomic=is_atomic))


def leg(account: Id, direction: Direction, amount: int, **more: Any) -> Leg:
    return Leg(account.sequence, str(account), direction, amount, **more)


def move(from_: Id, to: Id, amount: int, **more: Any) -> list[Leg]:
    """Return the legs that debit one account and credit another; what is more is asked of the debited one."""
    return [leg(from_, "debit", amount, **more), leg(to, "credit", amount)]

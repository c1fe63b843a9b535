"""A ledger of a test's own, and commands on it in few words, answered as the wire would answer them."""

import hashlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import msgspec

from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id, parse_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Direction
from doppia.accounting.ledger.transactions import Draft, Leg, Status, Transaction
from doppia.accounting.money import Currency
from doppia.api.http.request import encode
from doppia.api.ledger.transactions import to_object
from doppia.engine.ledger import accounts, ledgers
from doppia.engine.platform import keys
from doppia.engine.posting.commands import Batch, Create, Expire, PartialPost, Reverse, Revise
from doppia.engine.posting.writing import Answer, Key
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


def read(answer: Answer) -> dict[str, Any]:
    return cast("dict[str, Any]", msgspec.json.decode(answer.body))


def results(answer: Answer | LedgerError) -> list[dict[str, Any]]:
    """Read what became of each transaction of a batch: itself, or the code of its refusal as `code`."""
    assert isinstance(answer, Answer), answer
    return cast("list[dict[str, Any]]", msgspec.json.decode(answer.body))


async def outcome(call: Awaitable[T]) -> T | LedgerError:
    """Return what a call answers, or its refusal."""
    try:
        return await call
    except LedgerError as refusal:
        return refusal


def code(told: Answer | LedgerError) -> str:
    return told.code if isinstance(told, LedgerError) else "accepted"


@dataclass
class Books:
    """A ledger. Legs name accounts by id."""

    database: Database
    ledger: Id

    @classmethod
    async def begin(cls, database: Database) -> "Books":
        begun = await keys.begin(database, now)
        async with database.connection() as connection:
            organization = await connection.fetchval("select id from organizations")
        assert begun is None or begun[0].organization == organization
        answer = await ledgers.create(
            database, now, organization, None, None, lambda ledger: encode({"id": ledger.id}),
            name="books", description=None, metadata={},
        )  # fmt: skip
        return cls(database, id_of(read(answer)["id"]))

    async def open(self, unit: Currency = PHP, normal_balance: Direction = "credit", parents: Sequence[Id] = ()) -> Id:
        answer = await accounts.open_(
            self.database, now, self.ledger, None, None, lambda fields: encode({"id": fields.account.id}),
            name="account", currency=unit, normal_balance=normal_balance, parents=parents,
        )  # fmt: skip
        return id_of(read(answer)["id"])

    async def discard(self, account: Id) -> Answer:
        return await accounts.discard(self.database, now, account, None, None, lambda fields: encode(fields.name))

    async def account(self, account: Id) -> Account:
        async with self.database.connection() as connection:
            fields = await account_store.get(connection, account.ledger, account.sequence)
        assert fields is not None
        return fields.account

    async def records(self) -> int:
        """Return how many records the log has."""
        async with self.database.connection() as connection:
            found: int = await connection.fetchval(
                "select sequence from ledger_heads where ledger_id = $1", self.ledger.ledger
            )
        return found

    def _render(self, transaction: Transaction) -> bytes:
        return encode(to_object(transaction, self.ledger.ledger, str(self.ledger)))

    def create(self, legs: Sequence[Leg], status: Status = "posted", *, key: Key | None = None, **more: Any) -> Create:
        draft = Draft(legs, status, **more)
        return Create(ledger=self.ledger, actor=None, key=key, status=201, render=self._render, draft=draft)

    def revise(self, target: Id, *, key: Key | None = None, **changes: Any) -> Revise:
        return Revise(
            ledger=self.ledger, actor=None, key=key, status=200, render=self._render, target=target, changes=changes
        )

    def reverse(self, target: Id, status: Status = "posted", *, key: Key | None = None, **more: Any) -> Reverse:
        draft = Draft((), status, **more)
        return Reverse(
            ledger=self.ledger, actor=None, key=key, status=201, render=self._render, target=target, draft=draft
        )

    def partial_post(self, target: Id, legs: Sequence[Leg], *, key: Key | None = None, **more: Any) -> PartialPost:
        draft = Draft(legs, "posted", **more)
        return PartialPost(
            ledger=self.ledger, actor=None, key=key, status=201, render=self._render, target=target, draft=draft
        )

    def expire(self, target: Id) -> Expire:
        return Expire(ledger=self.ledger, actor=None, key=None, status=200, render=self._render, target=target)

    def batch(self, items: Sequence[Draft | LedgerError], *, is_atomic: bool = False, key: Key | None = None) -> Batch:
        return Batch(
            ledger=self.ledger, actor=None, key=key, status=200, render=self._render_batch, items=items,
            is_atomic=is_atomic,
        )  # fmt: skip

    async def _render_batch(self, told: Sequence[Transaction | LedgerError]) -> bytes:
        return encode(
            [{"code": one.code} if isinstance(one, LedgerError) else msgspec.Raw(self._render(one)) for one in told]
        )


def leg(account: Id, direction: Direction, amount: int, **more: Any) -> Leg:
    return Leg(account.sequence, str(account), direction, amount, **more)


def move(from_: Id, to: Id, amount: int, **more: Any) -> list[Leg]:
    """Return the legs that debit one account and credit another; what is more is asked of the debited one."""
    return [leg(from_, "debit", amount, **more), leg(to, "credit", amount)]

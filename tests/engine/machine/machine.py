"""A ledger on a database of its own beside its model, and its accounts; what else it has, each machine adds."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple, TypeVar
from uuid import uuid4

import asyncpg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from doppia.accounting.ids import Id
from doppia.accounting.ledger.accounts import AccountFields
from doppia.accounting.ledger.balances import Direction
from doppia.accounting.money import Currency
from doppia.accounting.platform.events import Event
from doppia.engine.performing import Engine
from doppia.proof.sealing import opened
from doppia.store.database.connections import Database
from doppia.store.ledger import accounts
from tests.engine.bookkeeping import PHP, PTS, Books, code, now, outcome
from tests.engine.machine.machine_requests import Requests
from tests.engine.machine.model import Model, ModelAccount
from tests.servers import Server
from tests.store.invariants import assert_invariants

T = TypeVar("T")

ACCOUNTS_MAX: Final = 8
UNITS: Final = (PHP, PTS)
SIDES: Final[Sequence[Direction]] = ("credit", "debit")
HOUR: Final = timedelta(hours=1)


class Logged(NamedTuple):
    """A record of the log; `number` is the sequence of the object it is about."""

    number: int
    event: Event
    record: Any


class Machine(RuleBasedStateMachine):
    """What every part of the machine works on. Ids stand in the order in which the model numbers what they name.

    Its steps are the methods that return None and have no arguments. Hypothesis draws which are taken, and one seed for
    all the rest: a long life would use up what it can draw.
    """

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.name = f"t{uuid4().hex}"
        self.model = Model()
        self.accounts: list[Id] = []
        self.transactions: list[Id] = []
        self.categories: list[Id] = []
        self.steps = 0
        # Ahead of the clock that accounts are opened by, so that it alone says what time it is.
        self.began_at = now() + 24 * HOUR
        self.run(self._begin())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _begin(self) -> None:
        connection = await asyncpg.connect(self.server.url)
        await connection.execute(f"create database {self.name} template template_doppia")
        await connection.close()
        self.database = Database(self.server.of(self.name))
        await self.database.open()
        self.engine = Engine(self.database, self.clock)
        self.books = await Books.begin(self.database)

    def clock(self) -> datetime:
        return self.at(self.model.hour)

    def at(self, hour: int) -> datetime:
        return self.began_at + hour * HOUR

    def hour_of(self, time: datetime) -> int:
        return (time - self.began_at) // HOUR

    @property
    def ledger(self) -> int:
        return self.books.ledger.number

    def teardown(self) -> None:
        self.run(self._end())
        self.runner.close()

    async def _end(self) -> None:
        await self.engine.close()
        try:
            await assert_invariants(self.server.of(self.name))
        finally:
            await self.database.close()
            connection = await asyncpg.connect(self.server.url)
            await connection.execute(f"drop database {self.name} with (force)")
            await connection.close()

    @initialize(seed=st.integers(0, 2**32))
    def open_the_first_accounts(self, seed: int) -> None:
        self.random = Random(seed)
        self.requests = Requests(self.random, self.model)
        for unit in UNITS:
            self._open(unit, "credit", [])
            self._open(unit, "debit", [])

    def _open(self, unit: Currency, normal_balance: Direction, parents: list[int]) -> None:
        ids = [self.categories[parent] for parent in parents]
        told = self.run(outcome(self.books.open(unit, normal_balance, ids)))
        refusal = self.model.chart.open_in(len(self.accounts), unit.code, parents)
        if isinstance(told, Id):
            assert refusal == "accepted"
            self.accounts.append(told)
            self.model.accounts.append(ModelAccount(unit.code, normal_balance))
        else:
            assert told.code == refusal

    def draw_categories(self) -> list[int]:
        """Draw up to two categories."""
        numbers = range(len(self.categories))
        return self.random.sample(numbers, min(self.random.randrange(3), len(numbers)))

    def open_an_account(self) -> None:
        if len(self.accounts) < ACCOUNTS_MAX:
            self._open(self.random.choice(UNITS), self.random.choice(SIDES), self.draw_categories())

    def discard_an_account(self) -> None:
        account = self.random.randrange(len(self.accounts))
        if self.random.randrange(5):
            return  # or there would soon be nothing left to write to
        told = self.run(outcome(self.books.discard(self.accounts[account])))
        assert code(told) == self.model.discard(account)

    @invariant()
    def every_account_is_as_the_model_says(self) -> None:
        stored = {fields.account.sequence: fields.account for fields in self.run(self._read_accounts())}
        for number, known in enumerate(self.accounts):
            account = stored[known.sequence]
            assert tuple(account.sums) == self.model.sums(number)
            assert account.lock_version == self.model.accounts[number].lock_version
            assert account.is_open == self.model.accounts[number].is_open

    async def _read_accounts(self) -> list[AccountFields]:
        async with self.database.connection() as connection:
            return await accounts.list_page(connection, [self.ledger], [], None, 100)

    @invariant()
    def the_whole_database_is_sound(self) -> None:
        self.steps += 1
        if self.steps % 25 == 0:
            self.run(assert_invariants(self.server.of(self.name)))

    def log(self, after: int = 0, kinds: tuple[int, ...] = ()) -> list[Logged]:
        """Return the records after one of the log, of some kinds or of all."""
        return self.run(self._read_log(after, kinds))

    async def _read_log(self, after: int, kinds: tuple[int, ...]) -> list[Logged]:
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "select object_sequence, event, payload, texts from log "
                "where ledger_id = $1 and sequence > $2 and (kind = any($3) or $3 = '{}') order by sequence",
                self.ledger, after, list(kinds),
            )  # fmt: skip
        return [Logged(number, Event(event), opened(payload, texts)) for number, event, payload, texts in rows]

"""The engine on a real database against a small model, through random lives of a ledger."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import asyncpg
from bookkeeping import PHP, PTS, Books, code, id_of, key, leg, now, outcome, read
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from invariants import assert_invariants
from model import Model, ModelAccount, ModelLeg, Request

from doppia.accounting.accounts import Account
from doppia.accounting.balances import Direction
from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id
from doppia.accounting.money import AMOUNT_MAX, Currency
from doppia.accounting.transactions import Guard, Leg
from doppia.engine.posting_group import PostingGroups
from doppia.engine.transactions import Command
from doppia.engine.writing import Answer, Key
from doppia.store.database import Database
from servers import Server

T = TypeVar("T")

AMOUNTS = st.one_of(
    st.integers(0, 5), st.integers(0, AMOUNT_MAX), st.sampled_from([2**53 + 1, 2**63, AMOUNT_MAX - 1, AMOUNT_MAX])
)
STATUSES = st.sampled_from(["pending", "pending", "posted", "posted", "archived"])
EXTERNAL_IDS = st.none() | st.sampled_from(["one", "two", "three"])
SIDES = st.sampled_from(["credit", "debit"])
COMPARISONS = st.sampled_from(["gt", "gte", "eq", "not_eq", "lte", "lt"])


class Sent(NamedTuple):
    """An accepted request that came with an idempotency key."""

    key: Key
    request: Request
    answer: Answer


class Ledger(RuleBasedStateMachine):
    """Random commands, alone and several at once; what is refused, and every balance, must be as the model says."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.name = f"t{uuid4().hex}"
        self.model = Model()
        self.accounts: list[Id] = []
        self.transactions: list[Id] = []
        self.sent: list[Sent] = []
        self.steps = 0
        self.run(self._begin())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _begin(self) -> None:
        connection = await asyncpg.connect(self.server.url)
        await connection.execute(f"create database {self.name} template template_doppia")
        await connection.close()
        self.database = Database(self.server.of(self.name))
        await self.database.open()
        self.groups = PostingGroups(self.database, now)
        self.books = await Books.begin(self.database)

    def teardown(self) -> None:
        self.run(self._end())
        self.runner.close()

    async def _end(self) -> None:
        await self.groups.close()
        try:
            await assert_invariants(self.server.of(self.name))
        finally:
            await self.database.close()
            connection = await asyncpg.connect(self.server.url)
            await connection.execute(f"drop database {self.name} with (force)")
            await connection.close()

    @initialize()
    def open_the_first_accounts(self) -> None:
        for unit in (PHP, PTS):
            self._open(unit, "credit")
            self._open(unit, "debit")

    def _open(self, unit: Currency, normal_balance: Direction) -> None:
        self.accounts.append(self.run(self.books.open(unit, normal_balance)))
        self.model.accounts.append(ModelAccount(unit.code, normal_balance))

    @precondition(lambda self: len(self.accounts) < 7)
    @rule(unit=st.sampled_from([PHP, PTS]), normal_balance=SIDES)
    def open_an_account(self, unit: Currency, normal_balance: Direction) -> None:
        self._open(unit, normal_balance)

    @rule(data=st.data())
    def discard_an_account(self, data: st.DataObject) -> None:
        account = data.draw(st.integers(0, len(self.accounts) - 1))
        told = self.run(outcome(self.books.discard(self.accounts[account])))
        assert code(told) == self.model.discard(account)

    @rule(data=st.data(), count=st.integers(1, 5))
    def send_several_at_once(self, data: st.DataObject, count: int) -> None:
        requests: list[Request] = []
        for _ in range(count):
            request = self._draw_request(data)
            # A second change to one transaction would wait for the next group, and the model for no one.
            if request.target is None or request.target not in {other.target for other in requests}:
                requests.append(request)
        keys = [key(uuid4().hex, request) if data.draw(st.booleans()) else None for request in requests]
        told = self._submit(
            [self._command(request, with_key) for request, with_key in zip(requests, keys, strict=True)]
        )
        for request, with_key, answer in zip(requests, keys, told, strict=True):
            expected = self.model.apply(request)
            assert code(answer) == expected, request
            if isinstance(answer, Answer):
                if request.target is None:
                    self.transactions.append(id_of(read(answer)["id"]))
                if with_key is not None:
                    self.sent.append(Sent(with_key, request, answer))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat_a_request_with_its_key(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.sent))
        assert self._submit([self._command(sent.request, sent.key)] * 2) == [sent.answer] * 2

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def send_another_request_with_a_consumed_key(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.sent))
        request = self._draw_request(data)
        reused = key("", (request, "other"))._replace(digest=sent.key.digest)
        assert [code(told) for told in self._submit([self._command(request, reused)])] == ["idempotency_key_reused"]

    @invariant()
    def every_account_is_as_the_model_says(self) -> None:
        for number, account in enumerate(self.run(self._read_accounts())):
            assert tuple(account.sums) == self.model.sums(number)
            assert account.lock_version == self.model.accounts[number].lock_version
            assert account.is_open == self.model.accounts[number].is_open

    @invariant()
    def the_whole_database_is_sound(self) -> None:
        self.steps += 1
        if self.steps % 3 == 0:
            self.run(assert_invariants(self.server.of(self.name)))

    async def _read_accounts(self) -> list[Account]:
        return [await self.books.account(account) for account in self.accounts]

    def _submit(self, commands: list[Command]) -> list[Answer | LedgerError]:
        async def submit() -> list[Answer | LedgerError]:
            return await asyncio.gather(*(outcome(self.groups.submit(command)) for command in commands))

        return self.run(submit())

    def _draw_request(self, data: st.DataObject) -> Request:
        known = st.integers(0, len(self.transactions) - 1)
        kind = data.draw(st.sampled_from(["create", "create", "revise", "revise", "reverse"]))
        external_id = data.draw(EXTERNAL_IDS)
        if kind == "create" or not self.transactions:
            return Request(self._draw_legs(data), data.draw(STATUSES), external_id)
        if kind == "reverse":
            return Request(None, data.draw(STATUSES), external_id, reverses=data.draw(known))
        legs = self._draw_legs(data) if data.draw(st.booleans()) else None
        return Request(legs, data.draw(st.none() | STATUSES), external_id, target=data.draw(known))

    def _draw_legs(self, data: st.DataObject) -> list[ModelLeg]:
        """Draw legs that mostly balance; some name a lock version or guard a balance."""
        legs = []
        for unit in data.draw(st.sampled_from([["PHP"], ["PTS"], ["PHP", "PTS"]])):
            number = [place for place, account in enumerate(self.model.accounts) if account.unit == unit]
            accounts = st.sampled_from(number)
            for _ in range(data.draw(st.integers(1, 2))):
                amount = data.draw(AMOUNTS)
                legs.append(self._draw_locks(data, ModelLeg(data.draw(accounts), "debit", amount)))
                legs.append(self._draw_locks(data, ModelLeg(data.draw(accounts), "credit", amount)))
        spoiled = data.draw(st.integers(0, 19))
        if spoiled == 0:
            legs[0] = legs[0]._replace(amount=legs[0].amount ^ 1)
        elif spoiled == 1:
            legs = [one for one in legs if one.direction == "debit"]
        return legs

    def _draw_locks(self, data: st.DataObject, one: ModelLeg) -> ModelLeg:
        locks = data.draw(st.integers(0, 9))
        if locks == 0:
            version = self.model.accounts[one.account].lock_version
            return one._replace(lock_version=max(0, version - data.draw(st.integers(0, 1))))
        if locks in {1, 2}:
            name = data.draw(st.sampled_from(["pending", "posted", "available"]))
            at = self.model.balance(one.account, name)
            bound = data.draw(st.sampled_from([0, at, at + one.amount, at - one.amount]))
            return one._replace(guards=((name, data.draw(COMPARISONS), bound),))
        return one

    def _command(self, request: Request, with_key: Key | None) -> Command:
        status: Any = request.status
        if request.target is not None:
            changes: dict[str, Any] = {"status": status, "external_id": request.external_id}
            changes = {name: value for name, value in changes.items() if value is not None}
            if request.legs is not None:
                changes["legs"] = [self._leg(one) for one in request.legs]
            return self.books.revise(self.transactions[request.target], key=with_key, **changes)
        if request.reverses is not None:
            target = self.transactions[request.reverses]
            return self.books.reverse(target, status, key=with_key, external_id=request.external_id)
        legs = [self._leg(one) for one in request.legs or ()]
        return self.books.create(legs, status, key=with_key, external_id=request.external_id)

    def _leg(self, one: ModelLeg) -> Leg:
        direction: Any = one.direction
        guards = tuple(Guard(*guard) for guard in one.guards)  # type: ignore[arg-type] # the words of the rules
        return leg(self.accounts[one.account], direction, one.amount, lock_version=one.lock_version, guards=guards)


def test_a_ledger_lives_as_the_model_says(postgres: Server) -> None:
    class OnThisServer(Ledger):
        server = postgres

    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # a shrink would take longer than a test may
            suppress_health_check=list(HealthCheck),
        ),
    )

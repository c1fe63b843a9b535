"""The engine on a real database against a small model, through random lives of a ledger."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import asyncpg
from bookkeeping import PHP, PTS, Books, code, id_of, key, leg, now, outcome, read, results
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
from model import CLEAR, Model, ModelAccount, ModelLeg, ModelTransaction, Request

from doppia.accounting.accounts import Account
from doppia.accounting.balances import Direction
from doppia.accounting.errors import BatchRefused, LedgerError
from doppia.accounting.ids import Id
from doppia.accounting.money import AMOUNT_MAX, Currency
from doppia.accounting.transactions import Draft, Guard, Leg, Transaction
from doppia.engine.expiry import expire_due
from doppia.engine.posting_group import PostingGroups
from doppia.engine.transactions import Command
from doppia.engine.writing import Answer, Key
from doppia.store import transactions
from doppia.store.database import Database
from servers import Server

T = TypeVar("T")

AMOUNTS = st.one_of(
    st.integers(1, 9), st.integers(1, AMOUNT_MAX), st.sampled_from([0, 2**53 + 1, 2**63, AMOUNT_MAX - 1, AMOUNT_MAX])
)
STATUSES = st.sampled_from(["pending", "pending", "posted", "posted", "archived"])
EXTERNAL_IDS = st.none() | st.sampled_from(["one", "two", "three", "four", "five", "six"])
SIDES = st.sampled_from(["credit", "debit"])
COMPARISONS = st.sampled_from(["gt", "gte", "eq", "not_eq", "lte", "lt"])


KINDS = (
    "create", "create", "revise", "revise", "reverse", "partial_post", "partial_post", "expire", "batch",
    "atomic_batch",
)  # fmt: skip
HOUR = timedelta(hours=1)


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
        self.groups = PostingGroups(self.database, self._clock)
        self.books = await Books.begin(self.database)

    def _clock(self) -> datetime:
        return self.began_at + self.model.hour * HOUR

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

    @rule(data=st.data(), chance=st.integers(1, 9))
    def discard_an_account(self, data: st.DataObject, chance: int) -> None:
        if chance != 7:
            return  # or there would soon be nothing left to write to
        account = data.draw(st.integers(0, len(self.accounts) - 1))
        told = self.run(outcome(self.books.discard(self.accounts[account])))
        assert code(told) == self.model.discard(account)

    @rule(data=st.data(), count=st.integers(1, 5))
    def send_several_at_once(self, data: st.DataObject, count: int) -> None:
        self._send(data, count, KINDS)

    @rule(data=st.data(), count=st.integers(1, 3))
    def send_batches_and_singles(self, data: st.DataObject, count: int) -> None:
        self._send(data, count, ("batch", "atomic_batch", "create"))

    @precondition(lambda self: self.transactions)
    @rule(data=st.data(), count=st.integers(1, 4))
    def change_what_is_there(self, data: st.DataObject, count: int) -> None:
        self._send(data, count, ("partial_post", "partial_post", "revise", "reverse", "expire"))

    def _send(self, data: st.DataObject, count: int, kinds: tuple[str, ...]) -> None:
        self.model.hour += data.draw(st.integers(0, 2))
        requests: list[Request] = []
        for _ in range(count):
            request = self._draw_request(data, kinds)
            # A second change to one transaction would wait for the next group, and the model for no one.
            if not (request.rewrites and request.target in {other.target for other in requests if other.rewrites}):
                requests.append(request)
        keys = [key(uuid4().hex, request) if data.draw(st.booleans()) else None for request in requests]
        told = self._submit(
            [self._command(request, with_key) for request, with_key in zip(requests, keys, strict=True)]
        )
        for request, with_key, answer in zip(requests, keys, told, strict=True):
            assert self._told(request, answer) == self.model.apply(request), request
            if isinstance(answer, Answer):
                made = self._made(request, answer)
                self.transactions += made
                if with_key is not None and request.kind != "expire" and (made or not request.items):
                    self.sent.append(Sent(with_key, request, answer))

    @rule(hours=st.integers(0, 3))
    def archive_what_has_expired(self, hours: int) -> None:
        self.model.hour += hours
        self.run(expire_due(self.database, self._clock, self.groups))
        self.model.expire_due()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def send_a_consumed_key_again(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.sent))
        assert self._submit([self._command(sent.request, sent.key)] * 2) == [sent.answer] * 2
        request = self._draw_request(data, kinds=("create", "revise", "reverse", "partial_post", "atomic_batch"))
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
        if self.steps % 5 == 0:
            self.run(assert_invariants(self.server.of(self.name)))
            stored = [self._seen(transaction) for transaction in self.run(self._read_transactions())]
            assert stored == [each.as_stored() for each in self.model.transactions]

    async def _read_accounts(self) -> list[Account]:
        return [await self.books.account(account) for account in self.accounts]

    async def _read_transactions(self) -> list[Transaction]:
        async with self.database.connection() as connection:
            found = await transactions.get(
                connection, self.books.ledger.ledger, [known.sequence for known in self.transactions]
            )
        return [found[known.sequence] for known in self.transactions]

    def _seen(self, transaction: Transaction) -> ModelTransaction:
        """Return a stored transaction as the model has it."""
        number = {known.sequence: place for place, known in enumerate(self.transactions)}
        account = {known.sequence: place for place, known in enumerate(self.accounts)}
        expires_at = transaction.expires_at
        return ModelTransaction(
            transaction.status,
            [ModelLeg(account[e.account.sequence], e.direction, e.amount) for e in transaction.entries],
            transaction.external_id,
            number[transaction.reverses[0]] if transaction.reverses else None,
            (expires_at - self.began_at) // HOUR if expires_at else None,
            number[transaction.partially_posts[0]] if transaction.partially_posts else None,
            transaction.archived_reason,
        )

    def _told(self, request: Request, answer: Answer | LedgerError) -> list[str]:
        """Return what a caller was told, in the words of the model."""
        if isinstance(answer, BatchRefused):
            return ["batch_refused", str(answer.index), answer.refusal["code"]]
        if request.items and isinstance(answer, Answer):
            return [result.get("code", "accepted") for result in results(answer)]
        return [code(answer)]

    def _made(self, request: Request, answer: Answer) -> list[Id]:
        """Return the ids of the transactions that an accepted request has made."""
        if request.items:
            return [id_of(result["id"]) for result in results(answer) if "id" in result]
        return [] if request.kind in {"revise", "expire"} else [id_of(read(answer)["id"])]

    def _submit(self, commands: list[Command]) -> list[Answer | LedgerError]:
        async def submit() -> list[Answer | LedgerError]:
            return await asyncio.gather(*(outcome(self.groups.submit(command)) for command in commands))

        return self.run(submit())

    def _draw_request(self, data: st.DataObject, kinds: tuple[str, ...] = KINDS) -> Request:
        kind: Any = data.draw(st.sampled_from(kinds))
        if kind in {"batch", "atomic_batch"}:
            items = tuple(self._draw_creation(data) for _ in range(data.draw(st.integers(1, 3))))
            return Request(kind, items=items)
        if kind == "create" or not self.transactions:
            return self._draw_creation(data)
        target = data.draw(st.integers(0, len(self.transactions) - 1))
        holds = [number for number, each in enumerate(self.model.transactions) if each.status == "pending"]
        if holds and kind != "reverse" and data.draw(st.integers(0, 4)) > 0:
            target = data.draw(st.sampled_from(holds))
        if kind == "partial_post":
            return Request(kind, self._draw_part(data, self.model.transactions[target].legs), target=target)
        if kind == "expire":
            return Request(kind, target=target)
        external_id = data.draw(EXTERNAL_IDS)
        if kind == "reverse":
            return Request(kind, None, data.draw(STATUSES), external_id, target)
        legs = self._draw_legs(data) if data.draw(st.booleans()) else None
        expires_at = data.draw(st.none() | st.none() | st.just(CLEAR) | self._hours())
        return Request(kind, legs, data.draw(st.none() | STATUSES), external_id, target, expires_at)

    def _draw_creation(self, data: st.DataObject) -> Request:
        status, expires_at = data.draw(STATUSES), None
        if status == "pending" or data.draw(st.integers(0, 19)) == 7:
            expires_at = data.draw(st.none() | self._hours() | self._hours())
        archives = data.draw(st.booleans())
        external_id = data.draw(EXTERNAL_IDS)
        return Request("create", self._draw_legs(data), status, external_id, expires_at=expires_at, archives=archives)

    def _hours(self) -> st.SearchStrategy[int]:
        """Draw an hour that mostly is to come."""
        return st.integers(self.model.hour, self.model.hour + 5)

    def _draw_part(self, data: st.DataObject, held: Sequence[ModelLeg]) -> list[ModelLeg]:
        """Draw legs that mostly take a balanced part of each that is held: they stand in pairs of one amount."""
        legs: list[ModelLeg] = []
        for place, one in enumerate(held):
            if place % 2 == 0 or legs[-1].amount >= one.amount:
                part = data.draw(st.integers(0, 2) | st.integers(0, max(one.amount - 1, 0)))
            legs.append(self._draw_locks(data, ModelLeg(one.account, one.direction, min(part, max(one.amount - 1, 0)))))
        match data.draw(st.integers(0, 19)):
            case 0:
                legs[0] = legs[0]._replace(amount=held[0].amount)
            case 1:
                legs.pop()
            case 2:
                legs.append(legs[0])
            case 3:
                legs.sort(key=lambda one: -one.account)
        return legs

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
        legs = None if request.legs is None else [self._leg(one) for one in request.legs]
        if request.items:
            drafts = [self._draft(item) for item in request.items]
            return self.books.batch(drafts, is_atomic=request.kind == "atomic_batch", key=with_key)
        if request.target is None:
            command = self.books.create((), key=with_key)
            command.draft = self._draft(request)
            return command
        target = self.transactions[request.target]
        match request.kind:
            case "reverse":
                return self.books.reverse(target, status, key=with_key, external_id=request.external_id)
            case "partial_post":
                return self.books.partial_post(target, legs or (), key=with_key)
            case "expire":
                return self.books.expire(target)
        changes = {"status": status, "external_id": request.external_id, "legs": legs}
        changes = {name: value for name, value in changes.items() if value is not None}
        if request.expires_at is not None:
            changes["expires_at"] = self._at(request.expires_at)
        return self.books.revise(target, key=with_key, **changes)

    def _draft(self, request: Request) -> Draft:
        status: Any = request.status
        return Draft(
            [self._leg(one) for one in request.legs or ()],
            status,
            external_id=request.external_id,
            expires_at=self._at(request.expires_at),
            archives_on_lock_failure=request.archives,
        )

    def _at(self, hour: int | None) -> datetime | None:
        return None if hour in (None, CLEAR) else self.began_at + (hour or 0) * HOUR

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

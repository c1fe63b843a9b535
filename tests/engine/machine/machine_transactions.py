"""Transactions, alone and several at once; what is refused, and what is stored of each, must be as the model says."""

import asyncio
from typing import Any, NamedTuple
from uuid import uuid4

from hypothesis.stateful import invariant

from doppia.accounting.errors import BatchRefused, LedgerError
from doppia.accounting.ids import Id
from doppia.accounting.ledger.transactions import CategoryGuards, Draft, Guard, Leg, Transaction
from doppia.accounting.platform.events import Event
from doppia.api.ledger.transactions import to_object
from doppia.engine.background.expiry import expire_due
from doppia.engine.posting.commands import Asked, CreateTransaction
from doppia.engine.posting.writing import Caller, Key
from doppia.proof.kinds import NUMBERS
from doppia.store.ledger import transactions
from tests.engine.bookkeeping import code, id_of, key, leg, outcome
from tests.engine.machine.machine import Machine
from tests.engine.machine.machine_requests import KINDS
from tests.engine.machine.model import ModelTransaction
from tests.engine.machine.model_requests import CLEAR, Guards, GuardsOfCategories, ModelLeg, Request


class Sent(NamedTuple):
    """An accepted request that came with an idempotency key."""

    key: Key
    request: Request
    result: object


class TransactionsMachine(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []

    def send_several_at_once(self) -> None:
        self._send(9, KINDS)

    def send_batches_and_singles(self) -> None:
        self._send(5, ("batch", "atomic_batch", "create"))

    def change_what_is_there(self) -> None:
        self._send(7, ("partial_post", "partial_post", "revise", "reverse", "expire"))

    def post_several_at_once(self) -> None:
        self._send(9, ("posting",))

    def _send(self, count_max: int, kinds: tuple[str, ...]) -> None:
        self.model.hour += self.random.randrange(3)
        requests: list[Request] = []
        for _ in range(self.random.randint(1, count_max)):
            request = self.requests.any(kinds)
            # A second change to one transaction would wait for the next group, and the model for no one.
            if not (request.rewrites and request.target in {other.target for other in requests if other.rewrites}):
                requests.append(request)
        keys = [key(uuid4().hex, request) if self.random.randrange(2) else None for request in requests]
        told = self._submit(
            [self._command(request, with_key) for request, with_key in zip(requests, keys, strict=True)]
        )
        for request, with_key, answer in zip(requests, keys, told, strict=True):
            assert self._told(request, answer) == self.model.apply(request), request
            if not isinstance(answer, LedgerError):
                made = self._made(request, answer)
                self.transactions += made
                if with_key is not None and request.kind != "expire" and (made or not request.items):
                    self.sent.append(Sent(with_key, request, self._shown(answer)))

    def archive_what_has_expired(self) -> None:
        self.model.hour += self.random.randrange(4)
        before = self.run(self.books.records())
        self.run(expire_due(self.engine))
        log = self.log(before, (NUMBERS["transaction"],))
        assert {each.event for each in log} <= {Event.ARCHIVED}
        numbers = {known.sequence: number for number, known in enumerate(self.transactions)}
        self.model.expire_due([numbers[each.number] for each in log])

    def send_a_consumed_key_again(self) -> None:
        if not self.sent:
            return
        sent = self.random.choice(self.sent)
        again = self._submit([self._command(sent.request, sent.key)] * 2)
        assert [self._shown(result) for result in again] == [sent.result] * 2
        kinds = ("create", "revise", "reverse", "partial_post", "atomic_batch")
        request = self.requests.any(kinds)
        reused = key("", (request, "other"))._replace(digest=sent.key.digest)
        assert [code(told) for told in self._submit([self._command(request, reused)])] == ["idempotency_key_reused"]

    @invariant()
    def every_transaction_is_as_the_model_says(self) -> None:
        if self.steps % 5 == 0:
            stored = [self._seen(transaction) for transaction in self.run(self.read_transactions(self.transactions))]
            assert stored == [each.as_stored() for each in self.model.transactions]

    async def read_transactions(self, wanted: list[Id]) -> list[Transaction]:
        async with self.database.connection() as connection:
            found = await transactions.get(connection, self.ledger, [known.sequence for known in wanted])
        return [found[known.sequence] for known in wanted]

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
            self.hour_of(expires_at) if expires_at else None,
            number[transaction.partially_posts[0]] if transaction.partially_posts else None,
            transaction.archived_reason,
            self.hour_of(transaction.effective_at),
            self.settlement_number(transaction.settlement),
        )

    def settlement_number(self, settlement: tuple[int, str] | None) -> int | None:
        """Return the number of the settlement that a transaction belongs to; its machine knows."""
        raise NotImplementedError

    def _told(self, request: Request, answer: Any) -> list[str]:
        """Return what a caller was told, in the words of the model."""
        if isinstance(answer, BatchRefused):
            return ["batch_refused", str(answer.index), answer.refusal["code"]]
        if request.items and not isinstance(answer, LedgerError):
            return [code(result) for result in answer]
        return [code(answer)]

    def _shown(self, result: Any) -> object:
        """Return what a caller can be shown of a result: what only the rules see of accounts, no record tells again."""
        if isinstance(result, list):
            return [self._shown(one) for one in result]
        if isinstance(result, LedgerError):
            return result.code, result.parameter, result.details()
        return to_object(result, self.ledger, self.books.ledger.id, [True] * len(result.entries))

    def _made(self, request: Request, answer: Any) -> list[Id]:
        """Return the ids of the transactions that an accepted request has made."""
        if request.items:
            return [id_of(result.id) for result in answer if isinstance(result, Transaction)]
        return [] if request.kind in {"revise", "expire"} else [id_of(answer.id)]

    def _submit(self, commands: list[Asked]) -> list[Any]:
        async def submit() -> list[Any]:
            return list(await asyncio.gather(*(outcome(self.engine.perform(*asked)) for asked in commands)))

        return self.run(submit())

    def _command(self, request: Request, with_key: Key | None) -> Asked:
        status: Any = request.status
        legs = None if request.legs is None else [self._leg(one) for one in request.legs]
        if request.items:
            drafts = [self._draft(item) for item in request.items]
            return self.books.batch(drafts, is_atomic=request.kind == "atomic_batch", key=with_key)
        if request.target is None:
            command = CreateTransaction(ledger=self.books.ledger, draft=self._draft(request))
            return Asked(Caller(key=with_key), command)
        target = self.transactions[request.target]
        match request.kind:
            case "reverse":
                return self.books.reverse(target, status, key=with_key, external_id=request.external_id)
            case "partial_post":
                return self.books.partial_post(target, legs or (), key=with_key)
            case "expire":
                return self.books.expire(target)
        changes = {"status": status, "external_id": request.external_id, "legs": legs}
        changes["category_guards"] = self._category_guards(request.category_guards) or None
        changes = {name: value for name, value in changes.items() if value is not None}
        if request.expires_at is not None:
            changes["expires_at"] = None if request.expires_at == CLEAR else self.at(request.expires_at)
        return self.books.revise(target, key=with_key, **changes)

    def _draft(self, request: Request) -> Draft:
        status: Any = request.status
        return Draft(
            [self._leg(one) for one in request.legs or ()],
            status,
            external_id=request.external_id,
            effective_at=None if request.effective is None else self.at(request.effective),
            expires_at=None if request.expires_at is None else self.at(request.expires_at),
            category_guards=self._category_guards(request.category_guards),
            archives_on_failed_guard=request.archives,
        )

    def _leg(self, one: ModelLeg) -> Leg:
        direction: Any = one.direction
        guards = self._guards(one.guards)
        return leg(self.accounts[one.account], direction, one.amount, lock_version=one.lock_version, guards=guards)

    def _category_guards(self, locks: GuardsOfCategories) -> tuple[CategoryGuards, ...]:
        ids = [(self.categories[number], guards) for number, guards in locks]
        return tuple(CategoryGuards(id_.sequence, str(id_), self._guards(guards)) for id_, guards in ids)

    def _guards(self, guards: Guards) -> tuple[Guard, ...]:
        return tuple(Guard(*guard) for guard in guards)  # type: ignore[arg-type] # the words of the rules

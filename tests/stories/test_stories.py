"""Every story of this folder, three ways: on the rules alone, on the engine and its database, and over HTTP."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import doppia.stories
from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id, LedgerRef, parse_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import balance
from doppia.accounting.ledger.transaction_life import Revision
from doppia.accounting.ledger.transactions import Draft, Leg, Transaction
from doppia.accounting.revisions import UNCHANGED
from doppia.engine.background.expiry import expire_due
from doppia.engine.background.jobs import Background
from doppia.engine.ledger.accounts import OpenAccount
from doppia.engine.ledger.ledgers import CreateLedger
from doppia.engine.performing import Engine
from doppia.engine.platform import keys
from doppia.engine.posting import commands
from doppia.engine.posting.writing import NOBODY, Caller, Key
from doppia.store.database.connections import Database
from doppia.store.ledger import accounts as stored_accounts
from doppia.store.ledger import transactions as stored_transactions
from doppia.stories.language import BALANCES, AnyAct, Create, Lapse, Reverse, Revise, Story, Take, parse
from doppia.stories.runners import Balances, HttpRunner, Outcome, PureRunner, Runner, play

STORIES = [
    parse(file.stem, file.read_text(encoding="utf-8"))
    for file in sorted(Path(doppia.stories.__path__[0]).glob("*.txt"))
]

every_story = pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])


async def goes_as_told(story: Story, runner: Runner) -> None:
    played = [event async for event, _ in play(story, runner)]
    assert played == list(story.events)


def now() -> datetime:
    return datetime.now(UTC)


class Clock:
    """A clock that goes on by itself, and can be put forward."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def __call__(self) -> datetime:
        return now() + self._ahead

    def forward(self, span: timedelta) -> None:
        self._ahead += span


def own(id_: str) -> Id:
    parsed = parse_id(id_)
    assert parsed is not None, f"{id_} is no id of ours"
    return parsed


class EngineRunner:
    """A ledger in the database, reached by the engine's commands."""

    def __init__(self, engine: Engine, clock: Clock, ledger: LedgerRef) -> None:
        self._engine = engine
        self._clock = clock
        self._ledger = ledger
        self._accounts: dict[str, Id] = {}
        self._transactions: dict[str, Id] = {}
        self._results: dict[str, Transaction] = {}

    async def open(self, account: Account, description: str | None) -> None:
        command = OpenAccount(
            ledger=self._ledger,
            name=account.id,
            currency=account.currency,
            normal_balance=account.normal_balance,
            description=description,
        )
        self._accounts[account.id] = own((await self._engine.perform(NOBODY, command)).account.id)

    async def act(self, event: AnyAct) -> Outcome:
        if isinstance(event, Lapse):
            return await self._lapse(event)
        try:
            result = await self._engine.perform(*self._asked(event))
        except LedgerError as refusal:
            return Outcome(f"refused {refusal.code}", str(refusal))
        if self._results.setdefault(event.key, result) is not result:
            return Outcome("replayed" if self._results[event.key] == result else "replayed with another answer")
        self._transactions[event.handle] = own(result.id)
        return Outcome(result.status)

    async def _lapse(self, event: Lapse) -> Outcome:
        self._clock.forward(event.lasts)
        await expire_due(self._engine)
        async with self._engine.database.connection() as connection:
            id_ = self._transactions[event.handle]
            found = await stored_transactions.get(connection, id_.ledger, [id_.sequence])
        return Outcome(found[id_.sequence].status)

    async def balances(self, account: Account) -> Balances:
        async with self._engine.database.connection() as connection:
            id_ = self._accounts[account.id]
            fields = await stored_accounts.get(connection, id_.ledger, id_.sequence)
        assert fields is not None
        now_ = fields.account
        return {name: balance(name, now_.sums, now_.normal_balance) for name in BALANCES}

    def _asked(self, event: Create | Revise | Reverse | Take) -> commands.Asked:
        ledger = self._ledger
        match event:
            case Create(draft=draft, lasts=lasts):
                expires_at = None if lasts is None else self._clock() + lasts
                request = self._draft(draft)
                draft = request._replace(expires_at=expires_at)
                return _asked(event, request, commands.CreateTransaction(ledger=ledger, draft=draft))
            case Reverse(draft=draft):
                target = self._transactions[event.original]
                return _asked(event, draft, commands.ReverseTransaction(ledger=ledger, target=target, draft=draft))
            case Take(draft=draft):
                target = self._transactions[event.original]
                request = self._draft(draft)
                return _asked(event, request, commands.PostPart(ledger=ledger, target=target, draft=request))
            case Revise():
                revision = self._revision(event.revision)
                target = self._transactions[event.handle]
                command = commands.ReviseTransaction(ledger=ledger, target=target, revision=revision)
                return _asked(event, revision, command)

    def _draft(self, draft: Draft) -> Draft:
        return Draft(self._legs(draft.legs), draft.status, draft.description, metadata=draft.metadata)

    def _revision(self, revision: Revision) -> Revision:
        return revision if revision.legs is UNCHANGED else revision._replace(legs=self._legs(revision.legs))

    def _legs(self, legs: Any) -> list[Leg]:
        ids = [self._accounts[leg.account_id] for leg in legs]
        return [leg._replace(account=id_.sequence, account_id=str(id_)) for leg, id_ in zip(legs, ids, strict=True)]


def _asked(event: AnyAct, request: object, command: commands.TransactionCommand[Transaction]) -> commands.Asked:
    key = Key(hashlib.sha256(event.key.encode()).digest(), hashlib.sha256(repr(request).encode()).digest())
    return commands.Asked(Caller(key=key), command)


@every_story
def test_a_story_goes_as_told_on_the_rules_alone(story: Story) -> None:
    asyncio.run(goes_as_told(story, PureRunner()))


@every_story
@pytest.mark.anyio
async def test_a_story_goes_as_told_on_the_engine(story: Story, database: Database) -> None:
    clock = Clock()
    begun = await keys.begin(database, clock)
    assert begun is not None
    engine = Engine(database, clock)
    command = CreateLedger(organization=begun[0].organization, name=story.name, description=story.title)
    ledger = await engine.perform(NOBODY, command)
    try:
        await goes_as_told(story, EngineRunner(engine, clock, ledger.ref))
    finally:
        await engine.close()


@every_story
@pytest.mark.anyio
async def test_a_story_goes_as_told_over_http(story: Story, running: Any) -> None:
    background = Background()
    background.start(partial(expire_due, running.service.engine))
    try:
        async with running.client() as client:
            runner = HttpRunner(client)
            await runner.begin(story)
            await goes_as_told(story, runner)
    finally:
        await background.stop()

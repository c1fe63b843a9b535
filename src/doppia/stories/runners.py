"""Runners: they play a story on the rules alone, or over HTTP on a server."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

import httpx2

from doppia.accounting.errors import IdempotencyKeyReused, LedgerError
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Balance, BalanceName, balance
from doppia.accounting.ledger.partial_posts import partial_post
from doppia.accounting.ledger.transaction_life import create, expire, is_due, reversal, revise
from doppia.accounting.ledger.transactions import Change, Leg, Transaction
from doppia.accounting.money import format_amount
from doppia.accounting.revisions import UNCHANGED
from doppia.stories.language import BALANCES, AnyAct, AnyEvent, Check, Create, Lapse, Open, Reverse, Revise, Story, Take

Balances = Mapping[BalanceName, Balance]


class ExpectationFailed(Exception):
    """An event of a story had another outcome than the story says; the sentence says where, and which."""


class Outcome(NamedTuple):
    """What an act led to.

    Attributes:
        word: the outcome in the words of the language.
        sentence: the sentence of a refusal; empty where nothing was refused.
    """

    word: str
    sentence: str = ""


class Runner(Protocol):
    """A ledger that a story is played on."""

    async def open(self, account: Account, description: str | None) -> None:
        """Open an account."""

    async def act(self, event: AnyAct) -> Outcome:
        """Do what the event says, under its idempotency key. Where a hold lapses, wait until it has expired."""
        ...

    async def balances(self, account: Account) -> Balances:
        """Return the three balances of an account."""
        ...


async def play(story: Story, runner: Runner) -> AsyncIterator[tuple[AnyEvent, Outcome | None]]:
    """Play a story. Yield each event after it had the outcome that the story says, and the outcome of an act.

    Raises:
        ExpectationFailed: at the first event that has another outcome.
    """
    for event in story.events:
        outcome = None
        match event:
            case Open():
                await runner.open(event.account, event.description)
            case Create() | Revise() | Reverse() | Take() | Lapse():
                outcome = await runner.act(event)
                if outcome.word != event.expected:
                    raise ExpectationFailed(
                        f"{story.name}, line {event.line}: {event.text!r} was to be {event.expected} and was "
                        f"{outcome.word}. {outcome.sentence}".rstrip()
                    )
            case Check():
                _compare(story, event, await runner.balances(event.account))
        yield event, outcome


def _compare(story: Story, check: Check, balances: Balances) -> None:
    for name, expected in check.amounts.items():
        amount = balances[name].amount
        if amount != expected:
            exponent = check.account.currency.exponent
            raise ExpectationFailed(
                f"{story.name}, line {check.line}: the {name} balance of {check.account.id} was to be "
                f"{format_amount(expected, exponent)} and is {format_amount(amount, exponent)}."
            )


class PureRunner:
    """A ledger in memory, kept by the rules alone.

    Its clock goes on by a millisecond with each act, and by the whole time of a hold where it lapses.
    """

    def __init__(self) -> None:
        self._accounts: dict[int, Account] = {}
        self._transactions: dict[str, Transaction] = {}
        self._requests: dict[str, object] = {}
        self._sequence = 0
        self._now = _BEGINNING

    async def open(self, account: Account, _description: str | None) -> None:
        """Open an account."""
        self._accounts[account.sequence] = account

    async def act(self, event: AnyAct) -> Outcome:
        """Decide an event. Only an accepted one consumes its key."""
        request = _asked_by(event)
        if event.key in self._requests:
            if self._requests[event.key] == request:
                return Outcome("replayed")
            return _refused(IdempotencyKeyReused())
        self._sequence += 2  # a partial post writes two records, the other acts one
        self._now += event.lasts if isinstance(event, Lapse) else _MOMENT
        try:
            changes = self._decide(event)
        except LedgerError as refusal:
            return _refused(refusal)
        self._requests[event.key] = request
        for change in changes:
            self._apply(change)
        return Outcome(self._transactions[event.handle].status)

    async def balances(self, account: Account) -> Balances:
        """Return the three balances of an account."""
        now = self._accounts[account.sequence]
        return {name: balance(name, now.sums, now.normal_balance) for name in BALANCES}

    def _decide(self, event: AnyAct) -> Sequence[Change]:
        place: dict[str, Any] = {"sequence": self._sequence, "recorded_at": self._now}
        match event:
            case Create(draft=draft, lasts=lasts):
                draft = draft._replace(expires_at=None if lasts is None else self._now + lasts)
                return [create(draft, self._accounts, id_=event.handle, **place)]
            case Revise():
                return [revise(self._transactions[event.handle], event.revision, self._accounts, **place)]
            case Reverse():
                original = self._transactions[event.original]
                draft = reversal(original, event.draft)
                return [create(draft, self._accounts, id_=event.handle, **place, reverses=original)]
            case Take():
                hold = self._transactions[event.original]
                return partial_post(hold, event.draft, self._accounts, id_=event.handle, **place)
            case Lapse():
                hold = self._transactions[event.handle]
                return [expire(hold, self._accounts, recorded_at=self._now)] if is_due(hold, self._now) else []

    def _apply(self, change: Change) -> None:
        self._accounts |= change.accounts
        transaction = self._transactions[change.transaction.id] = change.transaction
        if transaction.reverses is not None:
            original = self._transactions[transaction.reverses[1]]
            by = None if transaction.status == "archived" else (transaction.sequence, transaction.id)
            self._transactions[original.id] = original._replace(reversed_by=by)


def _asked_by(event: AnyAct) -> object:
    """Return what an act asks for. An act that asks for the same under the same key is a repeat."""
    match event:
        case Revise(revision=revision):
            return revision
        case Lapse():
            return None
        case _:
            return event.draft


_BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MOMENT: Final = timedelta(milliseconds=1)


def _refused(refusal: LedgerError) -> Outcome:
    return Outcome(f"refused {refusal.code}", str(refusal))


class ServerError(Exception):
    """The server did not do what every story needs, or its answer is not Doppia's; the sentence says what was wrong."""


_PATIENCE: Final = timedelta(seconds=15)
"""A story waits this much longer than a hold lasts before it gives up waiting for its end."""


class HttpRunner:
    """A new ledger on a server. The client sends an API key, and has the server's base_url."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client
        self._ledger = ""
        self._accounts: dict[str, str] = {}
        self._transactions: dict[str, str] = {}
        self._answers: dict[str, bytes] = {}
        self._expiries: dict[str, str] = {}

    async def begin(self, story: Story) -> None:
        """Create the ledger, with the name and the title of the story."""
        body = {"name": story.name, "description": story.title}
        self._ledger = (await self._write("/api/ledgers", body))["id"]

    async def open(self, account: Account, description: str | None) -> None:
        """Open an account."""
        body = {
            "name": account.id,
            "description": description,
            "ledger_id": self._ledger,
            "currency": account.currency.code,
            "currency_exponent": account.currency.exponent,
            "normal_balance": account.normal_balance,
        }
        self._accounts[account.id] = (await self._write("/api/ledger_accounts", body))["id"]

    async def act(self, event: AnyAct) -> Outcome:
        """Send an event. An answer is a replay if it has the same bytes as the first answer to its key."""
        if isinstance(event, Lapse):
            return await self._await_end(event)
        method, path, body = self._request(event)
        headers = {"Idempotency-Key": f"{self._ledger}-{event.key}"}
        answer = await self._client.request(method, path, json=body, headers=headers)
        if not answer.is_success:
            refusal = _refusal(answer)
            return refusal._replace(sentence=self._named(refusal.sentence))
        if self._answers.setdefault(event.key, answer.content) is not answer.content:
            same = self._answers[event.key] == answer.content
            return Outcome("replayed" if same else "replayed with another answer")
        transaction = answer.json()
        self._transactions[event.handle] = transaction["id"]
        return Outcome(transaction["status"])

    async def balances(self, account: Account) -> Balances:
        """Return the three balances of an account."""
        answer = await self._client.get(f"/api/ledger_accounts/{self._accounts[account.id]}")
        if not answer.is_success:
            raise ServerError(_refusal(answer).sentence)
        balances = answer.json()["balances"]
        return {
            name: Balance(*(balances[f"{name}_balance"][part] for part in ("credits", "debits", "amount")))
            for name in BALANCES
        }

    async def _await_end(self, event: Lapse) -> Outcome:
        path = f"/api/ledger_transactions/{self._transactions[event.handle]}"
        ends = datetime.now(UTC) + event.lasts + _PATIENCE
        while True:
            answer = await self._client.get(path)
            if not answer.is_success:
                raise ServerError(_refusal(answer).sentence)
            status = answer.json()["status"]
            if status != "pending" or datetime.now(UTC) > ends:
                return Outcome(status)
            await asyncio.sleep(0.1)

    def _named(self, sentence: str) -> str:
        """Return a sentence in which accounts are called by the names that the story gives them."""
        for name, id_ in self._accounts.items():
            sentence = sentence.replace(id_, name)
        return sentence

    async def _write(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = await self._client.post(path, json=body)
        if not answer.is_success:
            raise ServerError(_refusal(answer).sentence)
        return answer.json()

    def _request(self, event: Create | Revise | Reverse | Take) -> tuple[str, str, dict[str, Any]]:
        path = "/api/ledger_transactions"
        match event:
            case Create(draft=draft, lasts=lasts):
                body = self._words(event) | {"status": draft.status}
                if lasts is not None:
                    # A repeat must be the same request, so it names the same time as the first.
                    expires_at = (datetime.now(UTC) + lasts).isoformat()
                    body["expires_at"] = self._expiries.setdefault(event.key, expires_at)
                return "POST", path, body | {"ledger_entries": [self._entry(leg) for leg in draft.legs]}
            case Revise(revision=revision):
                changing = revision.changing()
                body = {
                    name: getattr(revision, name) for name in ("status", "description", "metadata") if name in changing
                }
                if revision.legs is not UNCHANGED:
                    body["ledger_entries"] = [self._entry(leg) for leg in revision.legs]
                return "PATCH", f"{path}/{self._transactions[event.handle]}", body
            case Reverse(draft=draft, original=original):
                body = self._words(event) | {"status": draft.status}
                return "POST", f"{path}/{self._transactions[original]}/reversal", body
            case Take(draft=draft, original=original):
                body = self._words(event) | {"posted_ledger_entries": [self._entry(leg) for leg in draft.legs]}
                return "POST", f"{path}/{self._transactions[original]}/partial_post", body

    def _words(self, event: Create | Reverse | Take) -> dict[str, Any]:
        return {"description": event.draft.description, "metadata": event.draft.metadata}

    def _entry(self, leg: Leg) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "ledger_account_id": self._accounts[leg.account_id],
            "direction": leg.direction,
            "amount": leg.amount,
        }
        if leg.lock_version is not None:
            entry["lock_version"] = leg.lock_version
        for guard in leg.guards:
            entry.setdefault(f"{guard.balance}_balance_amount", {})[guard.comparison] = guard.bound
        return entry


def _refusal(answer: httpx2.Response) -> Outcome:
    try:
        errors = answer.json()["errors"]
        return Outcome(f"refused {errors['refusal']['code']}", errors["message"])
    except (ValueError, KeyError, TypeError) as error:
        request = answer.request
        raise ServerError(
            f"{request.method} {request.url} was answered with {answer.status_code} and no refusal of a ledger's."
        ) from error

"""Posting: a group of commands on one ledger in one database transaction: lock, decide each in order, record.

A refused command leaves no trace and does not touch its neighbours.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from doppia.accounting.errors import BatchRefused, IdempotencyKeyReused, LedgerDiscarded, LedgerError, ObjectNotFound
from doppia.accounting.ids import Id, format_id
from doppia.accounting.partial_posts import partial_post
from doppia.accounting.transaction_life import create, expire, is_due, reversal, revise
from doppia.accounting.transactions import Change, Draft, Transaction
from doppia.engine.books import Books, Needs, accept, read
from doppia.engine.turns import Turns
from doppia.engine.writing import Answer, Clock, Key
from doppia.proof.tree import Frontier
from doppia.store import ledgers, posting, transactions
from doppia.store.database import Database, committing
from doppia.store.ledgers import ConsumedKey, Head
from doppia.store.posting import Group

Outcome: TypeAlias = Answer | Exception
Render: TypeAlias = Callable[[Transaction], bytes]


@dataclass(slots=True, kw_only=True)
class Command:
    """A change asked of a ledger's transactions.

    Attributes:
        ledger: its id, taken apart.
        actor: the 16 bytes of the id of the API key that asks; None where the service itself does.
        key: the caller's idempotency key.
        status: of the answer when it is accepted.
        size_bytes: of the request, which bounds how much goes into one group.
    """

    ledger: Id
    actor: bytes | None
    key: Key | None
    status: int
    size_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class Single(Command):
    """A change about one transaction.

    Attributes:
        render: makes the answer's body.
        keep_answer: whether the body holds what the log record does not yield, such as balances.
    """

    render: Render
    keep_answer: bool = False


@dataclass(slots=True, kw_only=True)
class Create(Single):
    """A new transaction."""

    draft: Draft


@dataclass(slots=True, kw_only=True)
class Revise(Single):
    """A change to a transaction; `changes` as `transaction_life.revise` takes them."""

    target: Id
    changes: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Reverse(Single):
    """The reversal of a transaction; `draft` without legs."""

    target: Id
    draft: Draft


@dataclass(slots=True, kw_only=True)
class PartialPost(Single):
    """A part of a hold, posted; `draft` as `partial_posts.partial_post` takes it."""

    target: Id
    draft: Draft


@dataclass(slots=True, kw_only=True)
class Expire(Single):
    """The end of a hold that is due; one that is not is left as it is."""

    target: Id


@dataclass(slots=True, kw_only=True)
class Batch(Command):
    """Several new transactions, one after the other.

    Attributes:
        items: drafts, and the refusals of those that were none.
        is_atomic: whether one refusal refuses all.
        render: makes the answer's body from what became of each.
    """

    items: Sequence[Draft | LedgerError]
    is_atomic: bool
    render: Callable[[Sequence[Transaction | LedgerError]], Awaitable[bytes]]


REWRITES: Final = (Revise, PartialPost, Expire)
"""Commands of which one group holds at most one for the same transaction."""


class HeadMovedError(Exception):
    """Somebody else wrote to the ledger between reading and recording: nothing was recorded."""


async def post(database: Database, clock: Clock, commands: Sequence[Command]) -> list[Outcome]:
    """Post commands on one ledger in order, and return the answer or the refusal of each.

    At most one of them may rewrite the same transaction.

    Raises:
        Unavailable, Overloaded, OutcomeUnknown: for all of them.
        ConstraintViolatedError: nothing of the group was recorded.
    """
    with suppress(HeadMovedError):
        outcomes = await post_at_once(database, clock, commands)
        if outcomes is not None:
            return outcomes
    return await post_locked(database, clock, commands[0].ledger, lambda: commands)


async def post_locked(
    database: Database, clock: Clock, ledger: Id, take: Callable[[], Sequence[Command]]
) -> list[Outcome]:
    """Post under the lock of the ledger's head. The commands are taken when it is held, at least one.

    Raises what `post` raises.
    """
    async with database.tx() as connection:
        head = await ledgers.lock_head(connection, ledger.ledger)
        commands = take()
        books = await read(connection, ledger.ledger, _needs(commands))
        decided, group = await _decide_all(commands, head, books, clock)
        if group.records:
            await posting.record(connection, group)
    return await _with_replays(database, commands, decided)


async def post_at_once(database: Database, clock: Clock, commands: Sequence[Command]) -> list[Outcome] | None:
    """Read in one statement and record in another, without a lock; None where these commands can't be posted so.

    The head tells whether anybody wrote between the two. Alone in its ledger, a process so spares the round trips that
    begin, lock and commit cost, each behind whatever else it is doing.

    Raises what `post` raises, and:
        HeadMovedError.
    """
    needs = _needs(commands)
    if needs.transactions or needs.categories or needs.entries > posting.ENTRIES_AT_ONCE:
        return None
    ledger = commands[0].ledger.ledger
    async with database.connection_to_write() as connection:
        head, accounts, external_ids, keys = await posting.read_at_once(
            connection, ledger, needs.accounts, needs.external_ids, needs.keys
        )
        if any(account.is_monitored for account in accounts.values()):
            return None
        decided, group = await _decide_all(commands, head, Books(accounts, {}, external_ids, keys), clock)
        if group.records:
            with committing():
                if not await posting.record_unless_moved(connection, group):
                    raise HeadMovedError
    return await _with_replays(database, commands, decided)


async def _decide_all(
    commands: Sequence[Command], head: Head | None, books: Books, clock: Clock
) -> tuple[list[Outcome | ConsumedKey], Group]:
    ledger = commands[0].ledger
    if head is None:
        nothing = Group(ledger.ledger, clock(), 0, Frontier())
        return [ObjectNotFound(object="ledger", id=str(ledger)) for _ in commands], nothing
    group = Group(ledger.ledger, max(clock(), head.recorded_at), head.sequence, head.tree())
    decided: list[Outcome | ConsumedKey] = []
    for command in commands:
        undone = (books.copy(), group.copy()) if isinstance(command, Batch) and command.is_atomic else (books, group)
        try:
            repeated = _consumed(command, books)
            if repeated is None and head.discarded_at is not None:
                raise LedgerDiscarded(ledger_id=str(ledger))
            if repeated is None and isinstance(command, Batch):
                decided.append(await _accept_batch(command, books, group))
            else:
                decided.append(repeated or _accept(command, books, group))
        except LedgerError as refusal:
            books, group = undone
            decided.append(refusal)
    return decided, group


def _needs(commands: Sequence[Command]) -> Needs:
    needs = Needs()
    for command in commands:
        if command.key is not None:
            needs.keys.add(command.key.digest)
        drafts: Sequence[Draft | LedgerError] = ()
        match command:
            case Create(draft=draft):
                drafts = (draft,)
            case Batch(items=items):
                drafts = items
            case Reverse(draft=draft, target=target) | PartialPost(draft=draft, target=target):
                drafts = (draft,)
                needs.transactions.add(target.sequence)
            case Revise(changes=changes, target=target):
                needs.transactions.add(target.sequence)
                locks = changes.get("category_locks") or ()
                external_id = changes.get("external_id")
                drafts = (Draft(changes.get("legs") or (), external_id=external_id, category_locks=locks),)
            case Expire(target=target):
                needs.transactions.add(target.sequence)
        for asked in drafts:
            if isinstance(asked, Draft):
                needs.entries += len(asked.legs)
                needs.accounts.update(leg.account for leg in asked.legs)
                needs.categories.update(lock.category for lock in asked.category_locks)
                if asked.external_id is not None:
                    needs.external_ids.add(asked.external_id)
    return needs


def _accept(command: Command, books: Books, group: Group) -> Answer:
    assert isinstance(command, Single), "batches are accepted by themselves"
    changes = _decide(command, books, group)
    if not changes:
        return Answer(command.status, b"")
    body = command.render(changes[-1].transaction)
    accept(changes, books, group, command.actor)
    yields = changes[-1].wrote_entries and not command.keep_answer
    # The command's last change is its answer, and monitors that it crossed follow it in the log.
    return _answer(command, books, group, body, keep=not yields)


def _answer(command: Command, books: Books, group: Group, body: bytes, *, keep: bool) -> Answer:
    if command.key is not None:
        sequence, _ = group.changes[-1]
        group.keys.append(ConsumedKey(*command.key, sequence, command.status, body if keep else None))
        books.keys[command.key.digest] = group.keys[-1]._replace(answer=body)
    return Answer(command.status, body)


async def _accept_batch(batch: Batch, books: Books, group: Group) -> Answer:
    """Accept the transactions of a batch. Where an atomic one is refused, books and group are to be thrown away.

    Raises:
        BatchRefused: it is atomic, and one is refused.
    """
    before = group.sequence
    told: list[Transaction | LedgerError] = []
    turns = Turns()
    for index, item in enumerate(batch.items):
        await turns.give_way()
        try:
            if isinstance(item, LedgerError):
                raise item
            books.check_external_id(item.external_id, item.status)
            change = _create(batch, item, books, group)
            accept([change], books, group, batch.actor)
            told.append(change.transaction)
        except LedgerError as refusal:
            if batch.is_atomic:
                raise refused_in_batch(index, refusal) from None
            told.append(refusal)
    body = await batch.render(told)
    if group.sequence == before:
        # Nothing of it was accepted, so its key stays free.
        return Answer(batch.status, body)
    return _answer(batch, books, group, body, keep=True)


def refused_in_batch(index: int, refusal: LedgerError) -> BatchRefused:
    """Return the refusal of an atomic batch whose transaction at this place is refused."""
    where = f"ledger_transactions[{index}]"
    return BatchRefused(
        parameter=where if refusal.parameter is None else f"{where}.{refusal.parameter}",
        index=index,
        refusal={"code": refusal.code, "message": str(refusal), **refusal.details()},
    )


def _create(
    command: Command, draft: Draft, books: Books, group: Group, *, reverses: Transaction | None = None
) -> Change:
    return create(
        draft,
        books.accounts,
        id_=_next_id(command, group),
        sequence=group.sequence + 1,
        recorded_at=group.recorded_at,
        chart=books.chart,
        reverses=reverses,
    )


def _next_id(command: Command, group: Group, *, after: int = 0) -> str:
    """Return the id of what the next record creates, or the one that many after it."""
    return format_id(int(group.recorded_at.timestamp()), command.ledger.ledger, group.sequence + 1 + after)


def _decide(command: Single, books: Books, group: Group) -> Sequence[Change]:
    sequence, now = group.sequence + 1, group.recorded_at
    match command:
        case Create(draft=draft):
            books.check_external_id(draft.external_id, draft.status)
            return [_create(command, draft, books, group)]
        case Reverse(draft=draft, target=target):
            reversed_ = books.find(target)
            draft = reversal(reversed_, draft)
            books.check_external_id(draft.external_id, draft.status)
            return [_create(command, draft, books, group, reverses=reversed_)]
        case PartialPost(draft=draft, target=target):
            hold = books.find(target)
            id_ = _next_id(command, group, after=1)
            return partial_post(hold, draft, books.accounts, id_=id_, sequence=sequence, recorded_at=now)
        case Expire(target=target):
            hold = books.find(target)
            return [expire(hold, books.accounts, recorded_at=now)] if is_due(hold, now) else []
        case Revise(changes=changes, target=target):
            transaction = books.find(target)
            change = revise(transaction, changes, books.accounts, sequence=sequence, recorded_at=now, chart=books.chart)
            if "external_id" in changes:
                revised = change.transaction
                books.check_external_id(revised.external_id, revised.status, holder=revised.sequence)
            return [change]
    raise AssertionError(command)


def _consumed(command: Command, books: Books) -> ConsumedKey | None:
    """Return what the command's key was consumed by, None where it is new.

    Raises:
        IdempotencyKeyReused: another request consumed it.
    """
    consumed = None if command.key is None else books.keys.get(command.key.digest)
    if consumed is not None and command.key is not None and consumed.request_digest != command.key.request_digest:
        raise IdempotencyKeyReused
    return consumed


async def _with_replays(
    database: Database, commands: Sequence[Command], decided: Sequence[Outcome | ConsumedKey]
) -> list[Outcome]:
    """Put the first answers in the places of repeated keys; read after the ledger is let go, for they never change.

    The group is committed by then, so nothing here may fail for anyone but the caller who repeats.
    """
    sequences = {
        found.sequence
        for found in decided
        if isinstance(found, ConsumedKey) and found.answer is None and found.sequence is not None
    }
    ledger = commands[0].ledger.ledger
    recorded: dict[tuple[int, int], Transaction] | Exception = {}
    if sequences:
        try:
            async with database.connection() as connection:
                recorded = await transactions.as_recorded(connection, [(ledger, found) for found in sorted(sequences)])
        except Exception as failure:  # noqa: BLE001 - told to those who repeat, and to nobody else
            recorded = failure
    return [
        _replay(command, found, recorded) if isinstance(found, ConsumedKey) else found
        for command, found in zip(commands, decided, strict=True)
    ]


def _replay(
    command: Command, consumed: ConsumedKey, recorded: dict[tuple[int, int], Transaction] | Exception
) -> Outcome:
    if consumed.answer is not None:
        return Answer(consumed.status, consumed.answer)
    if isinstance(recorded, Exception):
        return recorded
    try:
        assert isinstance(command, Single), "a batch keeps its answer"
        assert consumed.sequence is not None, "a key without an answer names the record that yields it"
        return Answer(consumed.status, command.render(recorded[command.ledger.ledger, consumed.sequence]))
    except Exception as failure:  # noqa: BLE001 - as above
        return failure

"""Posting: a group of commands on one ledger, decided in order, each upon what those before it leave, then recorded.

A refused command leaves no trace and does not touch its neighbours.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TypeAlias

from doppia.accounting.errors import BatchRefused, IdempotencyKeyReused, LedgerDiscarded, LedgerError, ObjectNotFound
from doppia.accounting.ids import Id, format_id
from doppia.accounting.ledger.partial_posts import partial_post
from doppia.accounting.ledger.transaction_life import create, expire, is_due, reversal, revise
from doppia.accounting.ledger.transactions import Change, Draft, Transaction
from doppia.engine.posting.books import Books, accept, read
from doppia.engine.posting.commands import (
    Batch,
    Command,
    Create,
    Expire,
    PartialPost,
    Reverse,
    Revise,
    Single,
    needs_of,
)
from doppia.engine.posting.turns import Turns
from doppia.engine.posting.writing import Answer, Clock
from doppia.proof.tree import Frontier
from doppia.store.database.connections import Connection, Database, committing, transaction
from doppia.store.ledger import ledgers
from doppia.store.ledger.ledgers import ConsumedKey, Head
from doppia.store.posting import posting
from doppia.store.posting.groups import Group, parts
from doppia.store.posting.rows import Piece

Outcome: TypeAlias = Answer | ConsumedKey | Exception
"""Of a command: its answer, what consumed the key that it repeats, or why it is refused."""


class HeadMovedError(Exception):
    """Somebody else wrote to the ledger between reading and recording: nothing was recorded."""


@dataclass(slots=True)
class Decided:
    """A group that is decided, and not recorded yet.

    Attributes:
        ends: the tree over the log with the group; the next group begins there.
        pieces: what is to be recorded; made already where it is one, else each as it is asked for.
        is_one_statement: whether it is one piece at most.
    """

    outcomes: list[Outcome]
    group: Group
    ends: Frontier
    pieces: Iterable[Piece]
    is_one_statement: bool


async def post(database: Database, clock: Clock, commands: Sequence[Command]) -> list[Outcome]:
    """Post commands on one ledger in order, and return the outcome of each.

    At most one of them may rewrite the same transaction.

    Raises:
        Unavailable, Overloaded, OutcomeUnknown: for all of them.
        ConstraintViolatedError: nothing of the group was recorded.
    """
    decided = None
    with suppress(HeadMovedError):
        async with database.connection_to_write() as connection:
            decided = await decide(connection, clock, commands)
            if decided is not None:
                await record(connection, decided)
        if decided is not None:
            return decided.outcomes
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
        books = await read(connection, ledger.ledger, needs_of(commands))
        outcomes, group = await _decide_all(commands, head, books, clock)
        if group.records:
            await posting.record(connection, group)
    return outcomes


async def decide(
    connection: Connection, clock: Clock, commands: Sequence[Command], before: Decided | None = None
) -> Decided | None:
    """Decide commands upon what one statement reads, without a lock; None where they can't be decided so.

    Where a group `before` them is under way, they are decided upon what it will leave, and are to be recorded only if
    it was. The head tells whether anybody else wrote meanwhile.

    Raises:
        HeadMovedError: somebody did.
    """
    needs = needs_of(commands)
    if needs.transactions or needs.categories:
        return None
    head, accounts, external_ids, keys = await posting.read_at_once(
        connection, commands[0].ledger.ledger, needs.accounts, needs.external_ids, needs.keys
    )
    if any(account.is_monitored for account in accounts.values()):
        return None
    books = Books(accounts, {}, external_ids, keys)
    if before is not None:
        head = _put_upon(before.group, head, books)
    outcomes, group = await _decide_all(commands, head, books, clock, before.ends if before else None)
    if not group.records:
        return Decided(outcomes, group, group.begins, (), is_one_statement=True)
    first, *others = parts(group)
    if not others:
        # Made now, while the group before is recorded.
        return Decided(outcomes, group, first.ends, [first.piece()], is_one_statement=True)
    pieces = (part.piece() for part in (first, *others))
    return Decided(outcomes, group, others[-1].ends, pieces, is_one_statement=False)


def _put_upon(before: Group, head: Head | None, books: Books) -> Head:
    """Return the head that a group leaves, and let the books be as it leaves them.

    What was read may be of before the group was recorded or of after; either way, what it leaves is the same.
    """
    if head is None or head.sequence not in (before.sequence - len(before.records), before.sequence):
        raise HeadMovedError
    books.accounts |= {number: left for number, left in before.accounts.items() if number in books.accounts}
    books.keys |= {key.digest: key for key in before.keys}
    for _, change in before.changes:
        created = change.transaction
        if created.external_id is not None and created.status != "archived":
            books.external_ids[created.external_id] = (created.sequence, created.id)
    return head._replace(sequence=before.sequence, recorded_at=before.recorded_at)


async def record(connection: Connection, decided: Decided) -> None:
    """Record a decided group, durably.

    Raises what `post` raises, and:
        HeadMovedError: nothing was recorded.
    """
    if not decided.group.records:
        return
    async with nullcontext() if decided.is_one_statement else transaction(connection):
        with committing() if decided.is_one_statement else nullcontext():
            if not await posting.record_unless_moved(connection, decided.pieces):
                raise HeadMovedError


async def _decide_all(
    commands: Sequence[Command], head: Head | None, books: Books, clock: Clock, begins: Frontier | None = None
) -> tuple[list[Outcome], Group]:
    ledger = commands[0].ledger
    if head is None:
        nothing = Group(ledger.ledger, clock(), 0, Frontier())
        return [ObjectNotFound(object="ledger", id=str(ledger)) for _ in commands], nothing
    group = Group(ledger.ledger, max(clock(), head.recorded_at), head.sequence, begins or head.tree())
    decided: list[Outcome] = []
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
    # Refusals are on no record, and with those of crossed monitors between them the records would have to be searched.
    is_whole = not any(isinstance(one, LedgerError) for one in told) and group.sequence - before == len(told)
    return _answer(batch, books, group, body, keep=batch.keep_answer or not is_whole)


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

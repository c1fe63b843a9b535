"""Posting: a group of commands on one ledger, decided in order, each upon what those before it leave, then recorded.

A refused command leaves no trace and does not touch its neighbours.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from doppia.accounting.errors import BatchRefused, IdempotencyKeyReused, LedgerDiscarded, LedgerError, ObjectNotFound
from doppia.accounting.ids import LedgerRef, format_id
from doppia.accounting.ledger.partial_posts import partial_post
from doppia.accounting.ledger.transaction_life import create, expire, is_due, reversal, revise
from doppia.accounting.ledger.transactions import Change, Draft, Transaction
from doppia.accounting.revisions import UNCHANGED
from doppia.engine.posting.books import Books, accept, read
from doppia.engine.posting.commands import (
    Asked,
    CreateBatch,
    CreateTransaction,
    ExpireTransaction,
    PostPart,
    ReverseTransaction,
    ReviseTransaction,
    TransactionCommand,
    needs_of,
)
from doppia.engine.posting.kept import keep, keep_results
from doppia.engine.posting.turns import Turns
from doppia.engine.posting.writing import Caller, Clock
from doppia.proof.tree import Frontier
from doppia.store.database.connections import Connection, Database, committing, transaction
from doppia.store.ledger import ledgers
from doppia.store.ledger.ledgers import ConsumedKey, Head
from doppia.store.posting import posting
from doppia.store.posting.groups import Group, parts
from doppia.store.posting.rows import Piece

Outcome: TypeAlias = Any
"""What becomes of a command: its result, a `ConsumedKey` where it repeats one, or the exception that refuses it."""


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


async def post(database: Database, clock: Clock, asked: Sequence[Asked]) -> list[Outcome]:
    """Post commands on one ledger in order, and return the outcome of each.

    At most one of them may rewrite the same transaction.

    Raises:
        Unavailable, Overloaded, OutcomeUnknown: for all of them.
        ConstraintViolatedError: nothing of the group was recorded.
    """
    decided = None
    with suppress(HeadMovedError):
        async with database.connection_to_write() as connection:
            decided = await decide(connection, clock, asked)
            if decided is not None:
                await record(connection, decided)
        if decided is not None:
            return decided.outcomes
    return await post_locked(database, clock, asked[0].command.ledger, lambda: asked)


async def post_locked(
    database: Database, clock: Clock, ledger: LedgerRef, take: Callable[[], Sequence[Asked]]
) -> list[Outcome]:
    """Post under the lock of the ledger's head. The commands are taken when it is held, at least one.

    Raises what `post` raises.
    """
    async with database.tx() as connection:
        head = await ledgers.lock_head(connection, ledger.number)
        asked = take()
        books = await read(connection, ledger.number, needs_of(asked))
        outcomes, group = await _decide_all(asked, head, books, clock)
        if group.records:
            await posting.record(connection, group)
    return outcomes


async def decide(
    connection: Connection, clock: Clock, asked: Sequence[Asked], before: Decided | None = None
) -> Decided | None:
    """Decide commands upon what one statement reads, without a lock; None where they can't be decided so.

    Where a group `before` them is under way, they are decided upon what it will leave, and are to be recorded only if
    it was. The head tells whether anybody else wrote meanwhile.

    Raises:
        HeadMovedError: somebody did.
    """
    needs = needs_of(asked)
    if needs.transactions or needs.categories:
        return None
    head, accounts, external_ids, keys = await posting.read_at_once(
        connection, asked[0].command.ledger.number, needs.accounts, needs.external_ids, needs.keys
    )
    if any(account.is_monitored for account in accounts.values()):
        return None
    books = Books(accounts, {}, external_ids, keys)
    if before is not None:
        head = _put_upon(before.group, head, books)
    outcomes, group = await _decide_all(asked, head, books, clock, before.ends if before else None)
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
    asked: Sequence[Asked], head: Head | None, books: Books, clock: Clock, begins: Frontier | None = None
) -> tuple[list[Outcome], Group]:
    ledger = asked[0].command.ledger
    if head is None:
        nothing = Group(ledger.number, clock(), 0, Frontier())
        return [ObjectNotFound(object="ledger", id=ledger.id) for _ in asked], nothing
    group = Group(ledger.number, max(clock(), head.recorded_at), head.sequence, begins or head.tree())
    decided: list[Outcome] = []
    for caller, command in asked:
        batch = command if isinstance(command, CreateBatch) else None
        undone = (books.copy(), group.copy()) if batch is not None and batch.is_atomic else (books, group)
        try:
            if (repeated := _consumed(caller, books)) is not None:
                decided.append(repeated)
                continue
            if head.discarded_at is not None:
                raise LedgerDiscarded(ledger_id=ledger.id)
            if batch is not None:
                decided.append(await _accept_batch(caller, batch, books, group))
            else:
                decided.append(_accept(caller, command, books, group))
        except LedgerError as refusal:
            books, group = undone
            decided.append(refusal)
    return decided, group


def _accept(caller: Caller, command: TransactionCommand[Any], books: Books, group: Group) -> Transaction | None:
    changes = _decide(command, books, group)
    if not changes:
        return None
    result = changes[-1].transaction
    accept(changes, books, group, caller.actor_bytes())
    # The command's last change is its result, and monitors that it crossed follow it in the log.
    yields = changes[-1].wrote_entries and not command.keeps_result
    _consume(caller, books, group, None if yields or caller.key is None else keep(result))
    return result


def _consume(caller: Caller, books: Books, group: Group, kept: bytes | None) -> None:
    """Consume the key of a command, if it came with one, by the group's last change."""
    if caller.key is not None:
        sequence, _ = group.changes[-1]
        group.keys.append(ConsumedKey(*caller.key, sequence, kept))
        books.keys[caller.key.digest] = group.keys[-1]


async def _accept_batch(
    caller: Caller, batch: CreateBatch, books: Books, group: Group
) -> list[Transaction | LedgerError]:
    """Accept the transactions of a batch. Where an atomic one is refused, books and group are to be thrown away.

    Raises:
        BatchRefused: it is atomic, and one is refused.
    """
    before = group.sequence
    actor = caller.actor_bytes()
    results: list[Transaction | LedgerError] = []
    turns = Turns()
    for index, item in enumerate(batch.items):
        await turns.give_way()
        try:
            if isinstance(item, LedgerError):
                raise item
            books.check_external_id(item.external_id, item.status)
            change = _create(batch, item, books, group)
            accept([change], books, group, actor)
            results.append(change.transaction)
        except LedgerError as refusal:
            if batch.is_atomic:
                raise refused_in_batch(index, refusal) from None
            results.append(refusal)
    if caller.key is not None and group.sequence > before:  # else nothing of it was accepted, so its key stays free
        # Refusals are on no record, and with those of crossed monitors between them records would have to be searched.
        is_whole = group.sequence - before == len(results) and not any(isinstance(one, LedgerError) for one in results)
        yields = is_whole and not batch.keeps_result
        _consume(caller, books, group, None if yields else await keep_results(results))
    return results


def refused_in_batch(index: int, refusal: LedgerError) -> BatchRefused:
    """Return the refusal of an atomic batch whose transaction at this place is refused."""
    where = f"ledger_transactions[{index}]"
    return BatchRefused(
        parameter=where if refusal.parameter is None else f"{where}.{refusal.parameter}",
        index=index,
        refusal={"code": refusal.code, "message": str(refusal), **refusal.details()},
    )


def _create(
    command: TransactionCommand[Any], draft: Draft, books: Books, group: Group, *, reverses: Transaction | None = None
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


def _next_id(command: TransactionCommand[Any], group: Group, *, after: int = 0) -> str:
    """Return the id of what the next record creates, or the one that many after it."""
    return format_id(int(group.recorded_at.timestamp()), command.ledger.number, group.sequence + 1 + after)


def _decide(command: TransactionCommand[Any], books: Books, group: Group) -> Sequence[Change]:
    sequence, now = group.sequence + 1, group.recorded_at
    match command:
        case CreateTransaction(draft=draft):
            books.check_external_id(draft.external_id, draft.status)
            return [_create(command, draft, books, group)]
        case ReverseTransaction(draft=draft, target=target):
            reversed_ = books.find(target)
            draft = reversal(reversed_, draft)
            books.check_external_id(draft.external_id, draft.status)
            return [_create(command, draft, books, group, reverses=reversed_)]
        case PostPart(draft=draft, target=target):
            hold = books.find(target)
            id_ = _next_id(command, group, after=1)
            return partial_post(hold, draft, books.accounts, id_=id_, sequence=sequence, recorded_at=now)
        case ExpireTransaction(target=target):
            hold = books.find(target)
            return [expire(hold, books.accounts, recorded_at=now)] if is_due(hold, now) else []
        case ReviseTransaction(revision=revision, target=target):
            transaction = books.find(target)
            change = revise(
                transaction, revision, books.accounts, sequence=sequence, recorded_at=now, chart=books.chart
            )
            if revision.external_id is not UNCHANGED:
                revised = change.transaction
                books.check_external_id(revised.external_id, revised.status, holder=revised.sequence)
            return [change]
    raise AssertionError(command)


def _consumed(caller: Caller, books: Books) -> ConsumedKey | None:
    """Return what the caller's key was consumed by, None where it is new.

    Raises:
        IdempotencyKeyReused: another request consumed it.
    """
    consumed = None if caller.key is None else books.keys.get(caller.key.digest)
    if consumed is not None and caller.key is not None and consumed.request_digest != caller.key.request_digest:
        raise IdempotencyKeyReused
    return consumed

"""Posting: a group of commands on one ledger in one database transaction: lock, decide each in order, record.

A refused command leaves no trace and does not touch its neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias

from doppia.accounting.accounts import Account
from doppia.accounting.errors import (
    ExternalIdTaken,
    IdempotencyKeyReused,
    LedgerDiscarded,
    LedgerError,
    ObjectNotFound,
)
from doppia.accounting.ids import Id, format_id
from doppia.accounting.transactions import Change, Draft, Entry, Transaction, create, reversal, revise
from doppia.engine.writing import Answer, Clock, Key
from doppia.proof.records import EntryRecord, TransactionWritten, canonical_bytes, microseconds, moment
from doppia.store import ledgers, posting, transactions
from doppia.store.database import Connection, Database
from doppia.store.ledgers import ConsumedKey
from doppia.store.posting import Group

Outcome: TypeAlias = Answer | Exception


@dataclass(slots=True, kw_only=True)
class Command:
    """A change asked of a ledger's transactions.

    Attributes:
        ledger: its id, taken apart.
        actor: the 16 bytes of the id of the API key that asks.
        key: the caller's idempotency key.
        status: of the answer when it is accepted.
        render: makes the answer's body.
        size_bytes: of the request, which bounds how much goes into one group.
        keep_answer: whether the body holds what the log record does not yield, such as balances.
    """

    ledger: Id
    actor: bytes | None
    key: Key | None
    status: int
    render: Callable[[Transaction], bytes]
    keep_answer: bool = False
    size_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class Create(Command):
    """A new transaction."""

    draft: Draft


@dataclass(slots=True, kw_only=True)
class Revise(Command):
    """A change to a transaction; `changes` as `accounting.transactions.revise` takes them."""

    target: Id
    changes: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Reverse(Command):
    """The reversal of a transaction; `draft` without legs."""

    target: Id
    draft: Draft


@dataclass(slots=True)
class Books:
    """The part of a locked ledger that a group needs, kept up to date while its commands are decided."""

    accounts: dict[int, Account] = field(default_factory=dict)
    transactions: dict[int, Transaction] = field(default_factory=dict)
    external_ids: dict[str, tuple[int, str]] = field(default_factory=dict)
    keys: dict[bytes, ConsumedKey] = field(default_factory=dict)

    def note(self, change: Change) -> None:
        """Let the commands that follow see an accepted change."""
        transaction = change.transaction
        self.accounts |= change.accounts
        before = self.transactions.get(transaction.sequence)
        if before is not None and before.external_id is not None and before.status != "archived":
            self.external_ids.pop(before.external_id, None)
        if transaction.external_id is not None and transaction.status != "archived":
            self.external_ids[transaction.external_id] = (transaction.sequence, transaction.id)
        if transaction.version > 0:
            # Nobody knows the id of one that is created only now; it can be found once it is recorded.
            self.transactions[transaction.sequence] = transaction
        if transaction.reverses is not None and transaction.reverses[0] in self.transactions:
            reversed_ = self.transactions[transaction.reverses[0]]
            by = None if transaction.status == "archived" else (transaction.sequence, transaction.id)
            self.transactions[reversed_.sequence] = replace(reversed_, reversed_by=by)


async def post(database: Database, clock: Clock, commands: Sequence[Command]) -> list[Outcome]:
    """Post commands on one ledger in order, and return the answer or the refusal of each.

    At most one of them may revise the same transaction.

    Raises:
        Unavailable, OutcomeUnknown: for all of them.
        ConstraintViolatedError: nothing of the group was recorded.
    """
    ledger = commands[0].ledger
    async with database.tx() as connection:
        head = await ledgers.lock_head(connection, ledger.ledger)
        if head is None:
            return [ObjectNotFound(object="ledger", id=str(ledger)) for _ in commands]
        books = await _read(connection, ledger.ledger, commands)
        group = Group(ledger.ledger, max(clock(), head.recorded_at), head.sequence)
        decided: list[Outcome | ConsumedKey] = []
        for command in commands:
            try:
                repeated = _consumed(command, books)
                if repeated is None and head.discarded_at is not None:
                    raise LedgerDiscarded(ledger_id=str(ledger))
                decided.append(repeated or _accept(command, books, group))
            except LedgerError as refusal:
                decided.append(refusal)
        if group.records:
            await posting.record(connection, group)
    return await _with_replays(database, commands, decided)


async def _read(connection: Connection, ledger: int, commands: Sequence[Command]) -> Books:
    books = Books()
    digests = {command.key.digest for command in commands if command.key is not None}
    if digests:
        books.keys = await ledgers.consumed_keys(connection, digests)
    targets = {command.target.sequence for command in commands if isinstance(command, Revise | Reverse)}
    if targets:
        books.transactions = await transactions.get(connection, ledger, targets)
    accounts = {entry.account.sequence for found in books.transactions.values() for entry in found.entries}
    external_ids = set()
    for command in commands:
        legs: Sequence[Any] = ()
        match command:
            case Create(draft=draft) | Reverse(draft=draft):
                legs, external_id = draft.legs, draft.external_id
            case Revise(changes=changes):
                legs, external_id = changes.get("legs") or (), changes.get("external_id")
        accounts.update(leg.account for leg in legs)
        if external_id is not None:
            external_ids.add(external_id)
    if accounts:
        books.accounts = await posting.accounts(connection, ledger, accounts)
    if external_ids:
        books.external_ids = await posting.taken_external_ids(connection, ledger, external_ids)
    return books


def _accept(command: Command, books: Books, group: Group) -> Answer:
    sequence = group.sequence + 1
    change = _decide(command, books, sequence, group.recorded_at)
    transaction = change.transaction
    record = _record(change, sequence, group.recorded_at, command.actor)
    body = command.render(transaction)
    group.sequence = sequence
    group.records.append((sequence, transaction.sequence, canonical_bytes(record)))
    group.changes.append((sequence, change))
    group.accounts |= change.accounts
    books.note(change)
    if command.key is not None:
        yields = change.wrote_entries and not command.keep_answer
        group.keys.append(ConsumedKey(*command.key, sequence, command.status, None if yields else body))
        books.keys[command.key.digest] = group.keys[-1]._replace(answer=body)
    return Answer(command.status, body)


def _decide(command: Command, books: Books, sequence: int, now: datetime) -> Change:
    match command:
        case Create(draft=draft):
            _check_external_id(draft.external_id, draft.status, books)
            id_ = format_id(int(now.timestamp()), command.ledger.ledger, sequence)
            return create(draft, books.accounts, id_=id_, sequence=sequence, recorded_at=now)
        case Reverse(draft=draft, target=target):
            reversed_ = _find(books, target)
            draft = reversal(reversed_, draft)
            _check_external_id(draft.external_id, draft.status, books)
            id_ = format_id(int(now.timestamp()), command.ledger.ledger, sequence)
            return create(draft, books.accounts, id_=id_, sequence=sequence, recorded_at=now, reverses=reversed_)
        case Revise(changes=changes, target=target):
            transaction = _find(books, target)
            change = revise(transaction, changes, books.accounts, sequence=sequence, recorded_at=now)
            if "external_id" in changes:
                revised = change.transaction
                _check_external_id(revised.external_id, revised.status, books, holder=revised.sequence)
            return change
    raise AssertionError(command)


def _find(books: Books, target: Id) -> Transaction:
    transaction = books.transactions.get(target.sequence)
    if transaction is None or transaction.id != str(target):
        raise ObjectNotFound(object="ledger_transaction", id=str(target))
    return transaction


def _check_external_id(external_id: str | None, status: str, books: Books, holder: int | None = None) -> None:
    if external_id is None or status == "archived":
        return
    taken = books.external_ids.get(external_id)
    if taken is not None and taken[0] != holder:
        raise ExternalIdTaken(external_id=external_id, taken_by=taken[1])


def _record(change: Change, sequence: int, now: datetime, actor: bytes | None) -> TransactionWritten:
    transaction = change.transaction
    entries = None
    if change.wrote_entries:
        entries = [
            EntryRecord(
                entry.account.sequence,
                int(entry.direction == "credit"),
                str(entry.amount),
                None if entry.status == "archived" else entry.account.lock_version,
                None if entry.effective_at == transaction.effective_at else microseconds(entry.effective_at),
                dict(entry.metadata) or None,
            )
            for entry in transaction.entries
        ]
    return TransactionWritten(
        sequence=sequence,
        recorded_at=microseconds(now),
        actor=actor,
        transaction=transaction.sequence,
        version=transaction.version,
        status=transaction.status,
        effective_at=microseconds(transaction.effective_at),
        posted_at=None if transaction.posted_at is None else microseconds(transaction.posted_at),
        description=transaction.description,
        external_id=transaction.external_id,
        ledgerable_type=transaction.ledgerable_type,
        ledgerable_id=transaction.ledgerable_id,
        archived_reason=transaction.archived_reason,
        partially_posts=None,
        reverses=None if transaction.reverses is None else transaction.reverses[0],
        metadata=dict(transaction.metadata),
        entries=entries,
    )


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
    recorded: dict[int, Transaction] | Exception = {}
    if sequences:
        try:
            async with database.connection() as connection:
                recorded = await _as_recorded(connection, commands[0].ledger.ledger, sorted(sequences))
        except Exception as failure:  # noqa: BLE001 - told to those who repeat, and to nobody else
            recorded = failure
    return [
        _replay(command, found, recorded) if isinstance(found, ConsumedKey) else found
        for command, found in zip(commands, decided, strict=True)
    ]


def _replay(command: Command, consumed: ConsumedKey, recorded: dict[int, Transaction] | Exception) -> Outcome:
    if consumed.answer is not None:
        return Answer(consumed.status, consumed.answer)
    if isinstance(recorded, Exception):
        return recorded
    try:
        assert consumed.sequence is not None, "a key without an answer names the record that yields it"
        return Answer(consumed.status, command.render(recorded[consumed.sequence]))
    except Exception as failure:  # noqa: BLE001 - as above
        return failure


async def _as_recorded(connection: Connection, ledger: int, sequences: Sequence[int]) -> dict[int, Transaction]:
    """Return the transactions as they were when these log records wrote their entries, by sequence of the record."""
    records = await transactions.records(connection, ledger, sequences)
    now = await transactions.get(connection, ledger, {record.transaction for record in records})
    written = await transactions.written_entries(connection, [(ledger, sequence) for sequence in sequences])
    return {
        record.sequence: _at_version(now[record.transaction], record, written[ledger, record.sequence])
        for record in records
    }


def _at_version(now: Transaction, record: TransactionWritten, written: Sequence[Entry]) -> Transaction:
    assert record.entries is not None, "a record without entries keeps its answer"
    recorded_at = moment(record.recorded_at)
    return replace(
        now,
        version=record.version,
        status=record.status,  # type: ignore[arg-type] # the record's status is one of the three
        entries=tuple(
            entry._replace(metadata=told.metadata or {}, updated_at=recorded_at, discarded_at=None)
            for entry, told in zip(written, record.entries, strict=True)
        ),
        description=record.description,
        external_id=record.external_id,
        effective_at=moment(record.effective_at),
        posted_at=None if record.posted_at is None else moment(record.posted_at),
        updated_at=recorded_at,
        metadata=record.metadata,
        ledgerable_type=record.ledgerable_type,
        ledgerable_id=record.ledgerable_id,
        archived_reason=record.archived_reason,
        reversed_by=None,
    )

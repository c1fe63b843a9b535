"""The import of a ledger: its whole log, record by record, in one database transaction.

Nobody sees the ledger before its last record is there and the tree over all of them has the root that the export
names; what ends before that, be it by a wrong line or a lost connection, leaves nothing. Each record is replayed, and
what follows from it is written by the queries that wrote it at first, so that every constraint looks at it again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from doppia.accounting.accounts import Account
from doppia.accounting.balances import NOTHING, Sums
from doppia.accounting.ids import ORDINAL_BITS, Id, format_id, parse_id
from doppia.accounting.transactions import Change, Discard, Entry, Status, Transaction
from doppia.engine.import_subjects import WRITERS, account_of, is_crossing
from doppia.engine.writing import Clock
from doppia.proof.exchange import Header, MalformedLine, from_line, header_from_line
from doppia.proof.records import (
    STATUSES,
    AccountWritten,
    AnyRecord,
    LedgerWritten,
    SettlementWritten,
    TransactionWritten,
    microseconds,
    moment,
)
from doppia.proof.replay import Effects, Ended, Fault, Replay, WrittenEntry
from doppia.proof.tree import Frontier
from doppia.store import imports, ledgers, posting
from doppia.store.database import Connection, ConstraintViolatedError, Database
from doppia.store.groups import ENTRIES_AT_ONCE, Group
from doppia.store.imports import InForce, NotStorableError

_RECORDS_AT_ONCE: Final = 4_000
_CLOCKS_DIFFER_BY_MAX: Final = timedelta(minutes=5)
_ORDINAL_MASK: Final = (1 << ORDINAL_BITS) - 1


class ImportRefusedError(Exception):
    """A file is not imported, and nothing of it is there; the text says why, and names the line."""


class Imported(NamedTuple):
    """A ledger that was imported."""

    ledger_id: str
    name: str
    records: int
    root: bytes


async def import_ledger(
    database: Database, clock: Clock, organization: UUID, actor: UUID | None, lines: Iterable[bytes]
) -> Imported:
    """Import a ledger into an organization.

    Args:
        database: to write to.
        clock: the time, for the organization's log.
        organization: whose the ledger is from now on.
        actor: id of the API key; None from the command line.
        lines: of the export, in order, with or without their ends.

    Raises:
        ImportRefusedError: it is no export, not a whole one, or a record is wrong; the ledger is here or was
            purged; there is no such organization.
    """
    counted = _Lines(lines)
    with counted.refusals():
        async with database.tx() as connection:
            with imports.storing():
                return await _import(connection, clock, organization, actor, counted)


class _Lines:
    """The lines of a file one by one, and which of them are being worked on, for the sentence that refuses one.

    Attributes:
        read: the last one that was read, from 1.
        taken: the last one whose record was taken; the header is one.
        checked: up to which line all constraints have looked.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self.read = 0
        self.taken = self.checked = 1

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = next(self._lines)
        self.read += 1
        return line

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Turn what can be wrong with a line into a sentence that names it.

        Raises:
            ImportRefusedError.
        """
        try:
            yield
        except (Fault, ValueError, OverflowError) as error:
            raise ImportRefusedError(f"Line {self.read} is refused: {error}. Nothing was imported.") from error
        except (ConstraintViolatedError, NotStorableError) as error:
            first, what = self.checked + 1, str(error).partition("\n")[0]
            where = f"Line {first}" if first == self.taken else f"One of the lines {first} to {self.taken}"
            raise ImportRefusedError(f"{where} is refused by the database: {what}. Nothing was imported.") from error


async def _import(
    connection: Connection, clock: Clock, organization: UUID, actor: UUID | None, lines: _Lines
) -> Imported:
    await imports.begin(connection)
    if not await imports.is_organization(connection, organization):
        raise ImportRefusedError(f"There is no organization {organization} on this server.")
    first = next(lines, None)
    if first is None:
        raise ImportRefusedError("The file is empty.")
    header = header_from_line(first)
    target = parse_id(str(header.ledger_id))
    if target is None or str(target) != format_id(target.seconds, target.ledger, 1):
        raise MalformedLine(f"ledger_id: {header.ledger_id} is not the id of a ledger")
    step = _Step(connection, organization, target, lines)
    time = clock()
    latest = microseconds(time + _CLOCKS_DIFFER_BY_MAX)
    for line in lines:
        if step.records == header.records:
            raise MalformedLine(f"the header counts {header.records} records, and this line is one more")
        record = from_line(line)
        if record.recorded_at > latest:
            # What is posted to the ledger later would be dated by it: the times of a log never go back.
            raise MalformedLine(
                f"recorded_at: it is more than {_CLOCKS_DIFFER_BY_MAX} later than it is on this server, "
                f"{time.isoformat()}"
            )
        await step.take(record)
    if step.records < header.records:
        raise ImportRefusedError(
            f"The file ends after line {lines.read}, and its header counts {header.records} records: "
            f"{header.records - step.records} are missing. Nothing was imported."
        )
    return await _conclude(step, header, clock, organization, actor)


async def _conclude(step: "_Step", header: Header, clock: Clock, organization: UUID, actor: UUID | None) -> Imported:
    step.replay.finish()
    await step.settle()
    root = step.tree.root()
    if root != header.root:
        raise ImportRefusedError(
            f"The {header.records} records do not make the root that the header names: at least one of the lines 2 to "
            f"{header.records + 1} has been changed since the export, in a way that the rules of a ledger let pass. "
            "Nothing was imported."
        )
    ledger = await ledgers.get(step.connection, step.ledger)
    assert ledger is not None, "its first record created it"
    payload = {"ledger_id": ledger.id, "name": ledger.name, "records": header.records, "root": root.hex()}
    await ledgers.append_organization(step.connection, organization, clock(), actor, "ledger_imported", payload)
    return Imported(ledger.id, ledger.name, header.records, root)


class _Step:
    """Records that are written together: what a statement takes at once, cut where the service could have stopped.

    Constraints that wait for the end of a database transaction look at what one command did, which later commands may
    change: so they are made to look between commands, and no transaction is changed twice before they have.

    Attributes:
        records: how many were taken.
        group: those that are not written yet, with what the transactions among them change.
        changed: transactions that the constraints have not looked at.
        unsettled: settlements whose transaction was changed by the record before, and that will follow it.
    """

    def __init__(self, connection: Connection, organization: UUID, target: Id, lines: _Lines) -> None:
        self.connection = connection
        self.organization = organization
        self.ledger = target.ledger
        self.target = target
        self.lines = lines
        self.replay = Replay(target.ledger)
        self.tree = Frontier()
        self.records = 0
        self.group = Group(self.ledger, moment(0), 0, self.tree)
        self.entries = 0
        self.changed: set[int] = set()
        self.unsettled: set[int] = set()

    async def take(self, record: AnyRecord) -> None:
        """Take the next record.

        Raises:
            Fault: it does not follow from those before it.
            ImportRefusedError: there is no place for the ledger.
            ConstraintViolatedError: from the database, of this record or one since the constraints last looked.
        """
        if self._begins_command(record) and self._is_due(record):
            await self.settle()
        effects = self.replay.apply(record)
        self.records += 1
        self.lines.taken = self.lines.read
        if self.records == 1:
            await self._create(record)
        elif isinstance(record, TransactionWritten):
            if record.transaction in self.changed:
                await self._write()
            change = await self._change(record, effects)
            self._note(record)
            self.group.changes.append((record.sequence, change))
            self.group.accounts.update(change.accounts)
            self.entries += len(change.transaction.entries)
            self.changed.add(record.transaction)
            if record.settlement is not None and (effects.entries or effects.ended):
                self.unsettled.add(record.settlement)
            return
        else:
            if not _is_apart(record):
                await self._write()
            await WRITERS[type(record)](self.connection, self.ledger, record)
            if isinstance(record, SettlementWritten):
                self.unsettled.discard(record.settlement)
        self._note(record)

    def _begins_command(self, record: AnyRecord) -> bool:
        is_part = isinstance(record, TransactionWritten) and record.partially_posts is not None
        return not self.unsettled and not is_part and not is_crossing(record)

    def _is_due(self, record: AnyRecord) -> bool:
        if isinstance(record, TransactionWritten):
            is_full = self.entries >= ENTRIES_AT_ONCE or len(self.group.records) >= _RECORDS_AT_ONCE
            return is_full or record.transaction in self.changed
        return not _is_apart(record) or len(self.group.records) >= _RECORDS_AT_ONCE

    async def settle(self) -> None:
        """Write what is not written, and let all constraints look."""
        await self._write()
        await imports.check(self.connection)
        self.changed.clear()
        self.lines.checked = self.lines.taken

    async def _write(self) -> None:
        if self.group.records:
            await posting.record(self.connection, self.group)
            self.group = Group(self.ledger, self.group.recorded_at, self.group.sequence, self.tree)
            self.entries = 0

    def _note(self, record: AnyRecord) -> None:
        self.group.append(record)
        self.group.recorded_at = self.group.times[record.sequence] = moment(record.recorded_at)

    async def _create(self, record: AnyRecord) -> None:
        assert isinstance(record, LedgerWritten), "the replay knows how a log begins"
        at = moment(record.recorded_at)
        if (int(at.timestamp()), record.ledger) != (self.target.seconds, self.ledger):
            raise MalformedLine(f"it creates another ledger than {self.target}, which the header names")
        if not await ledgers.create(
            self.connection, self.ledger, self.organization, record.name, record.description, record.metadata, at
        ):
            raise ImportRefusedError(f"Ledger {self.target} is on this server already, or was purged from it.")

    async def _change(self, record: TransactionWritten, effects: Effects) -> Change:
        """Return what a record changes, as the service would record it."""
        at = moment(record.recorded_at)
        status: Status = STATUSES[record.status]
        posted_at = at if status == "posted" else None
        if effects.entries:
            entries = tuple(_entry(written, status, at) for written in effects.entries)
        elif effects.ended:
            entries = tuple(_ended(ended, at) for ended in effects.ended)
        else:
            kept = await imports.in_force(self.connection, self.ledger, record.transaction)
            entries, posted_at = (_kept(kept, at),), kept.posted_at
        discards = [
            Discard(_ended(ended, at), _after(ended.account, ended.lock_version, ended.sums), ended.sums is None)
            for ended in effects.ended
        ]
        states = self.replay.accounts
        return Change(
            _transaction(record, status, at, posted_at, entries),
            {
                number: account_of(number, states[number].lock_version, Sums(*states[number].sums))
                for number in _moved(effects)
            },
            discards,
            wrote_entries=bool(effects.entries),
        )


def _is_apart(record: AnyRecord) -> bool:
    """Say whether what a record says can be written before what the transactions before it changed."""
    return isinstance(record, AccountWritten) or is_crossing(record)


def _moved(effects: Effects) -> set[int]:
    moved = {written.account for written in effects.entries if written.sums is not None}
    return moved.union(ended.account for ended in effects.ended)


def _after(number: int, lock_version: int | None, sums: tuple[int, int, int, int] | None) -> Account:
    return account_of(number, lock_version or 0, NOTHING if sums is None else Sums(*sums))


def _entry(written: WrittenEntry, status: Status, at: datetime) -> Entry:
    return Entry(
        written.number >> ORDINAL_BITS,
        written.number & _ORDINAL_MASK,
        _after(written.account, written.lock_version, written.sums),
        "credit" if written.direction else "debit",
        written.amount,
        status,
        moment(written.effective_at),
        written.metadata or {},
        at,
        at,
    )


def _ended(ended: Ended, at: datetime) -> Entry:
    """Return an entry that a record discards: of it, only its number is written."""
    sequence, ordinal = ended.number >> ORDINAL_BITS, ended.number & _ORDINAL_MASK
    return Entry(sequence, ordinal, account_of(ended.account), "debit", 0, "pending", at, {}, at, at)


def _kept(kept: InForce, at: datetime) -> Entry:
    """Return what stands for entries that stay in force: the record that wrote them."""
    return Entry(kept.entries_sequence, 1, account_of(0), "debit", 0, "pending", at, {}, at, at)


def _transaction(
    record: TransactionWritten, status: Status, at: datetime, posted_at: datetime | None, entries: tuple[Entry, ...]
) -> Transaction:
    return Transaction(
        id="",
        sequence=record.transaction,
        version=record.version,
        status=status,
        entries=entries,
        description=record.description,
        external_id=record.external_id,
        effective_at=at if record.effective_at is None else moment(record.effective_at),
        posted_at=posted_at,
        created_at=at,
        updated_at=at,
        metadata=record.metadata,
        ledgerable_type=record.ledgerable_type,
        ledgerable_id=record.ledgerable_id,
        archived_reason=record.archived_reason,
        reverses=_named(record.reverses),
        expires_at=None if record.expires_at is None else moment(record.expires_at),
        partially_posts=_named(record.partially_posts),
        settlement=_named(record.settlement),
    )


def _named(sequence: int | None) -> tuple[int, str] | None:
    return None if sequence is None else (sequence, "")

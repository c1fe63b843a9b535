"""The import of a ledger: its whole log, record by record, in one database transaction.

Nobody sees the ledger before its last record is there and the tree over all of them has the root that the export
names; what ends before that, be it by a wrong line or a lost connection, leaves nothing. Each record is replayed, and
what follows from it is written by the queries that wrote it at first, so that every constraint looks at it again. While
the database writes some records, those that follow are read and replayed.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from doppia.accounting.errors import OutcomeUnknown, Unavailable
from doppia.accounting.ids import ORDINAL_BITS, Id, format_id, parse_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.transactions import Change, Discard, Entry, Status, Transaction
from doppia.engine.importing.subjects import WRITERS, account_of, is_crossing
from doppia.engine.posting.writing import Clock
from doppia.proof.exchange import Header, MalformedLine, UnreadableFile, from_line, header_from_line
from doppia.proof.kinds import kind_of
from doppia.proof.records import (
    STATUSES,
    AccountWritten,
    LedgerWritten,
    Record,
    SettlementWritten,
    TransactionWritten,
    microseconds,
    moment,
)
from doppia.proof.replay.fold import Effects, Ended, Fault, Replay, WrittenEntry
from doppia.proof.sealing import sealed
from doppia.proof.tree import Frontier
from doppia.store.database.connections import Connection, ConstraintViolatedError, Database
from doppia.store.ledger import ledgers
from doppia.store.log import imports
from doppia.store.log.imports import NotStorableError
from doppia.store.posting import posting
from doppia.store.posting.groups import Group

# Every balance is written once a piece, and what a database transaction writes over stays until its end, in the way of
# all who look for it: the more pieces, the slower each.
_ENTRIES_AT_ONCE: Final = 20_000
_RECORDS_AT_ONCE: Final = 20_000
_RECORDS_A_TURN: Final = 16
_CLOCKS_DIFFER_BY_MAX: Final = timedelta(minutes=5)
_ORDINAL_MASK: Final = (1 << ORDINAL_BITS) - 1


class ImportRefusedError(Exception):
    """A file is not imported; the text says why, names the line, and whether anything of it is there."""


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
        ImportRefusedError: it is no export, not a whole one, or a record is wrong; the ledger is here, was purged, or
            is being imported already; there is no such organization; the database gave up.
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
        written: the last one whose record the database was given.
        checked: up to which line all constraints have looked.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self.read = 0
        self.taken = self.written = self.checked = 1

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
        except UnreadableFile as error:
            raise ImportRefusedError(f"Not all of it can be read: {error}. Nothing was imported.") from error
        except (Fault, ValueError, OverflowError) as error:
            raise ImportRefusedError(f"Line {self.read} is refused: {error}. Nothing was imported.") from error
        except (ConstraintViolatedError, NotStorableError) as error:
            first, (what, _, detail) = self.checked + 1, str(error).partition("\nDETAIL:  ")
            what += f" ({detail.rstrip('.')})" if detail.startswith("Key (") else ""
            where = f"Line {first}" if first == self.written else f"One of the lines {first} to {self.written}"
            raise ImportRefusedError(f"{where} is refused by the database: {what}. Nothing was imported.") from error
        except OutcomeUnknown as error:
            raise ImportRefusedError(
                "The connection to the database was lost while the import was being committed: all of the ledger is "
                "there, or nothing. Import it again: if it is there, that is refused."
            ) from error
        except Unavailable as error:
            raise ImportRefusedError(f"The database gave up: {error.__cause__}. Nothing was imported.") from error


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
    if target is None or not target.ledger or str(target) != format_id(target.seconds, target.ledger, 1):
        raise MalformedLine(f"ledger_id: {header.ledger_id} is not the id of a ledger")
    if not await imports.claim(connection, target.ledger):
        raise ImportRefusedError(f"Ledger {target} is being imported at this moment, by another command.")
    async with _Step(connection, organization, target, lines) as step:
        await _take_all(step, header, clock(), lines)
        await step.conclude(header)
    ledger = await ledgers.get(connection, target.ledger)
    assert ledger is not None, "its first record created it"
    payload = {"ledger_id": ledger.id, "name": ledger.name, "records": header.records, "root": header.root.hex()}
    await ledgers.append_organization(connection, organization, clock(), actor, "ledger_imported", payload)
    return Imported(ledger.id, ledger.name, header.records, header.root)


async def _take_all(step: "_Step", header: Header, time: datetime, lines: _Lines) -> None:
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
        if not step.records % _RECORDS_A_TURN:
            await asyncio.sleep(0)  # what the database is being sent goes on
    if step.records < header.records:
        raise ImportRefusedError(
            f"The file ends after line {lines.read}, and its header counts {header.records} records: "
            f"{header.records - step.records} are missing. Nothing was imported."
        )


class _Step:
    """Records that are written together: what a statement takes at once, cut where the service could have stopped.

    Constraints that wait for the end of a database transaction look at what one command did, which later commands may
    change: so they are made to look between commands, and no transaction is changed twice before they have.

    Attributes:
        records: how many were taken.
        group: those that are not written yet, with what the transactions among them change.
        changed: transactions that the constraints have not looked at.
        unsettled: settlements whose transaction was changed by the record before, and that will follow it.

    On leaving, nothing is under way any more; what the database had against an earlier line goes before what is wrong
    with a later one.
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
        self._under_way: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        if self._under_way is not None and kind is not None and not issubclass(kind, Exception):
            self._under_way.cancel()
            with suppress(Exception, asyncio.CancelledError):
                await self._under_way
        else:
            await self._written()

    async def take(self, record: Record) -> None:
        """Take the next record.

        Raises:
            Fault: it does not follow from those before it.
            ImportRefusedError: there is no place for the ledger.
            ConstraintViolatedError: from the database, of this record or one since the constraints last looked.
        """
        if self._begins_command(record) and self._is_due(record):
            await self.settle()
        elif isinstance(record, TransactionWritten) and record.transaction in self.changed:
            await self._write()
        effects = self.replay.apply(record)
        self.records += 1
        self.lines.taken = self.lines.read
        if self.records == 1:
            await self._create(record)
        elif isinstance(record, TransactionWritten):
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
            await self._written()
            self.lines.written = self.lines.taken
            await WRITERS[kind_of(record).name](self.connection, self.ledger, record)
            if isinstance(record, SettlementWritten):
                self.unsettled.discard(record.settlement)
        self._note(record)

    def _begins_command(self, record: Record) -> bool:
        is_part = isinstance(record, TransactionWritten) and record.partially_posts is not None
        return not self.unsettled and not is_part and not is_crossing(record)

    def _is_due(self, record: Record) -> bool:
        if isinstance(record, TransactionWritten):
            is_full = self.entries >= _ENTRIES_AT_ONCE or len(self.group.records) >= _RECORDS_AT_ONCE
            return is_full or record.transaction in self.changed
        return not _is_apart(record) or len(self.group.records) >= _RECORDS_AT_ONCE

    async def settle(self) -> None:
        """Begin to write what is not written, and to let all constraints look."""
        await self._begin(self._settle(self._taken_group(), self.lines.taken))
        self.changed.clear()

    async def conclude(self, header: Header) -> None:
        """Write what is not written; the last record was taken.

        Raises:
            Fault: the log may not end here.
            ImportRefusedError: the records do not make the root that the header names.
        """
        self.replay.finish()
        await self.settle()
        await self._written()
        if self.tree.root() != header.root:
            raise ImportRefusedError(
                f"The {header.records} records do not make the root that the header names: at least one of the lines 2 "
                f"to {header.records + 1} has been changed since the export, in a way that the rules of a ledger let "
                "pass. Nothing was imported."
            )

    async def _write(self) -> None:
        if self.group.records:
            await self._begin(posting.record(self.connection, self._taken_group(), _ENTRIES_AT_ONCE))

    def _taken_group(self) -> Group:
        group = self.group
        self.group = Group(self.ledger, group.recorded_at, group.sequence, self.tree)
        self.entries = 0
        return group

    async def _settle(self, group: Group, line: int) -> None:
        if group.records:
            await posting.record(self.connection, group, _ENTRIES_AT_ONCE)
        await imports.check(self.connection)
        self.lines.checked = line

    async def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let the database do some work; one after the other, for there is one connection."""
        try:
            await self._written()
        except BaseException:
            work.close()
            raise
        self.lines.written = self.lines.taken
        self._under_way = asyncio.create_task(work)
        await asyncio.sleep(0)

    async def _written(self) -> None:
        """Wait until the database has done what it was given."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            await under_way

    def _note(self, record: Record) -> None:
        self.group.append(record, sealed(record))
        self.group.recorded_at = self.group.times[record.sequence] = moment(record.recorded_at)

    async def _create(self, record: Record) -> None:
        assert isinstance(record, LedgerWritten), "the replay knows how a log begins"
        at = moment(record.recorded_at)
        if (int(at.timestamp()), record.ledger) != (self.target.seconds, self.ledger):
            raise MalformedLine(f"it creates another ledger than {self.target}, which the header names")
        await self._written()
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
        elif record.transaction in self.replay.state.pending:
            in_force = self.replay.state.pending[record.transaction].entries
            entries = (_kept(in_force[0].number >> ORDINAL_BITS, at),)
        else:
            await self._written()
            kept = await imports.in_force(self.connection, self.ledger, record.transaction)
            entries, posted_at = (_kept(kept.entries_sequence, at),), kept.posted_at
        discards = [
            Discard(_ended(ended, at), _after(ended.account, ended.lock_version, ended.sums), ended.sums is None)
            for ended in effects.ended
        ]
        accounts: dict[int, Account] = {}
        if effects.entries and status != "archived":
            accounts = {entry.account.sequence: entry.account for entry in entries}
        # Entries that none succeeds end after the new ones were written, those of an account in their order.
        accounts.update({ended.account.sequence: ended.account for ended in discards if not ended.has_successor})
        return Change(
            _transaction(record, status, at, posted_at, entries),
            accounts,
            discards,
            wrote_entries=bool(effects.entries),
        )


def _is_apart(record: Record) -> bool:
    """Say whether what a record says can be written before what the transactions before it changed."""
    return isinstance(record, AccountWritten) or is_crossing(record)


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


def _kept(sequence: int, at: datetime) -> Entry:
    """Return what stands for entries that stay in force, which the record of this sequence wrote."""
    return Entry(sequence, 1, account_of(0), "debit", 0, "pending", at, {}, at, at)


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

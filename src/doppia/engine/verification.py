"""Whether all that stands in the tables of a ledger follows from its log, and the log from its root.

The log is read in order and folded by the rules; what each record must have written is compared with what its rows say,
and the tree over the records with the head and with the nodes that are kept. The first difference ends it: what comes
after a wrong record means nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from doppia.accounting.ids import ORDINAL_BITS, format_id
from doppia.engine import verification_subjects as subjects
from doppia.engine.verification_rows import Expected, digest, metadata_sentence, wrong_rows
from doppia.proof.checkpoints import Checkpoint
from doppia.proof.records import (
    AnyRecord,
    EntryAnnotated,
    TransactionWritten,
    canonical_bytes,
    kind_of,
    microseconds,
    object_of,
    read_record,
)
from doppia.proof.replay import Effects, Fault, Replay
from doppia.proof.replay_state import State, from_plain, to_plain
from doppia.proof.tree import Frontier, Node, leaf_hash
from doppia.store import verification as store
from doppia.store.database import Connection, Database
from doppia.store.verification import Chunk, Head

RECORDS_AT_ONCE: Final = 2048
"""Whose rows are compared at once: eight nodes of the lowest level that is kept."""

_ORDINALS: Final = 1 << ORDINAL_BITS
_END: Final = 2**63 // _ORDINALS - 1
"""After every record that there can be, and its negative before."""


class Finding(Exception):
    """What is wrong with a ledger, named by id; `sequence` is that of the first wrong record, 0 where it is none."""

    def __init__(self, ledger: str, sequence: int, sentence: str) -> None:
        super().__init__(f"ledger {ledger}: {f'record {sequence}: ' if sequence else ''}{sentence}")
        self.sequence = sequence
        self.sentence = sentence


class Progress(NamedTuple):
    """How far a verification has come: which ledger, how many of its records, and how many it has."""

    ledger: str
    records: int
    entries: int
    total: int


class Kept(msgspec.Struct):
    """What is carried from one record of a ledger to the next, beside the fold.

    Attributes:
        entries: how many were compared.
        created: how many objects of each kind the log created.
        annotated: of entries whose metadata was or may have been replaced: its digest and when, None if it has none.
    """

    size: int = 0
    frontier: list[bytes] = []
    entries: int = 0
    nodes: int = 0
    created: dict[str, int] = {}
    annotated: dict[int, tuple[bytes, int] | None] = {}


class Sessions(NamedTuple):
    """Connections that see the same snapshot: to read along the log, to look things up, and to read whole tables."""

    reading: Connection
    looking: Connection
    summing: Connection


class _Begun(msgspec.Struct):
    """What `Resumed.plain` returned."""

    done: dict[str, str] = {}
    ledger: int | None = None
    state: Any = None
    kept: Any = None


class Resumed:
    """Where a verification ended that is to go on.

    Attributes:
        ledger: number of the ledger that it was at.
        done: of the ledgers that it had verified, by id: where their logs ended, and the root.
    """

    def __init__(self, told: Any = None) -> None:
        """Begin anew, or with what `plain` returned.

        Raises:
            ValueError: it returned something else.
        """
        try:
            begun = msgspec.convert({} if told is None else told, _Begun)
            self.ledger, self.done = begun.ledger, begun.done
            self._kept: tuple[State | None, Kept | None] = None, None
            if self.ledger is not None:
                self._kept = from_plain(begun.state), msgspec.convert(begun.kept, Kept, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error

    def of(self, head: Head) -> tuple[State | None, Kept | None]:
        """Return what was kept of a ledger."""
        return self._kept if head.ledger == self.ledger else (None, None)

    def plain(self, verification: "Verification | None") -> Any:
        """Return what JSON can hold of the verification that is under way, and of those that are done."""
        if verification is None:
            return {"done": self.done}
        return {
            "done": self.done,
            "ledger": verification.state.ledger,
            "state": to_plain(verification.state),
            "kept": msgspec.to_builtins(verification.keep(), str_keys=True),
        }


class Verification:
    """The verification of one ledger, in one snapshot."""

    def __init__(
        self,
        sessions: Sessions,
        head: Head,
        state: State | None = None,
        kept: Kept | None = None,
    ) -> None:
        """Begin with the first record, or go on where another ended that left `state` and `kept`."""
        self._sessions = sessions
        self._head = head
        self.checkpoint: Checkpoint | None = None
        self.id = format_id(int(head.created_at.timestamp()), head.ledger, 1)
        self._replay = Replay(head.ledger, state)
        self.state = self._replay.state
        self._kept = kept or Kept()
        self._tree = Frontier(self._kept.size, list(self._kept.frontier))

    async def run(self) -> AsyncIterator[Progress]:
        """Verify the ledger, and say now and then how far it has come.

        Raises:
            Finding: the first that is wrong.
        """
        if self._kept.size:
            async for progress in self._recognize():
                yield progress
        begin = self._kept.size + 1
        reading = self._read(begin)
        buckets = asyncio.create_task(subjects.wrong_bucket(self._sessions.summing, self._head.ledger))
        try:
            while True:
                chunk, end = await reading, self._end_of(begin)
                if end < _END:
                    reading = self._read(end)
                    await asyncio.sleep(0)  # the server works on the next chunk while this one is compared
                await self._compare(chunk, begin)
                yield Progress(self.id, self._tree.size, self._kept.entries, self._head.sequence)
                if end == _END:
                    break
                begin = end
            await self._finish(buckets)
        finally:
            for task in (reading, buckets):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def _read(self, begin: int) -> "asyncio.Task[Chunk]":
        first = -_END if begin == 1 else begin
        return asyncio.create_task(
            store.chunk(self._sessions.reading, self._head.ledger, first, self._end_of(begin), _ORDINALS)
        )

    def _end_of(self, begin: int) -> int:
        """Return before which record a chunk ends; the last one takes all that there is."""
        end = (begin // RECORDS_AT_ONCE + 1) * RECORDS_AT_ONCE
        return end if end <= self._head.sequence else _END

    def _fail(self, sequence: int, sentence: str) -> NoReturn:
        raise Finding(self.id, sequence, sentence)

    async def _recognize(self) -> AsyncIterator[Progress]:
        """Ask that the log still begins with the records that were verified before, by their hashes alone."""
        tree, size = Frontier(), self._kept.size
        while tree.size < size:
            begin = tree.size + 1
            end = min(begin + 4 * RECORDS_AT_ONCE, size + 1)
            [row] = await store.rows(self._sessions.looking, "payloads", self._head.ledger, begin, end)
            if len(row[0] or ()) != end - begin:
                break
            for payload in row[0]:
                tree.append(leaf_hash(payload))
                self._check_beginning(tree)
            yield Progress(self.id, tree.size, 0, self._head.sequence)
        if tree.hashes != self._tree.hashes:
            self._fail(0, f"the log does not begin with the {size} records that were verified before")

    async def _compare(self, chunk: Chunk, begin: int) -> None:
        """Fold the records of a chunk, and compare what they must have written with what is there."""
        expected = Expected([], [], [], [], [], [], {}, {}, [])
        found: list[tuple[int, str]] = []
        last = _END
        try:
            for place, payload in enumerate(chunk.payloads or ()):
                self._fold(payload, begin + place, (chunk.records or [])[place], expected)
        except Finding as fault:
            last = begin + len(expected.records)
            found.append((last, fault.sentence))
        found += [wrong for wrong in wrong_rows(self.state, self._kept.annotated, chunk, expected) if wrong[0] < last]
        found += await self._wrong_others(expected.others)
        if found:
            self._fail(*min(found))
        await self._compare_nodes(expected.nodes)

    def _fold(self, payload: bytes, sequence: int, row: str, expected: Expected) -> None:
        try:
            record: AnyRecord = read_record(payload)
            if canonical_bytes(record) != payload:
                self._fail(sequence, "its payload is not in canonical bytes")
            recorded_at = store.time(record.recorded_at)
            line = store.record_line(record, object_of(record), kind_of(record), recorded_at)
            effects = self._replay.apply(record)
        except msgspec.DecodeError as error:
            self._fail(sequence, f"its payload is no record: {error}")
        except Fault as fault:
            self._fail(sequence, fault.sentence)
        except (OverflowError, ValueError, AssertionError) as error:
            # Whatever no rule has foreseen: the other ledgers are to be verified all the same.
            self._fail(sequence, f"it holds what no record can: {error}")
        if line != row:
            self._fail(sequence, store.differing(store.RECORD_COLUMNS, line, row))
        expected.nodes.extend(self._tree.append(leaf_hash(payload)))
        self._check_beginning(self._tree)
        expected.records.append(line)
        if type(record) is TransactionWritten:
            self._expect_transaction(record, effects, recorded_at, expected)
        elif type(record) is EntryAnnotated:
            number = record.entry_sequence << ORDINAL_BITS | record.entry_ordinal
            self._kept.annotated[number] = digest(record.metadata), record.recorded_at
        else:
            name = subjects.NAMES.get(type(record))
            if name is not None:
                expected.others.setdefault(name, []).append(record)

    def _check_beginning(self, tree: Frontier) -> None:
        """Ask that the records up to here are those of the checkpoint, if that goes so far."""
        checkpoint = self.checkpoint
        if checkpoint is not None and tree.size == checkpoint.size and tree.root() != checkpoint.root:
            size = checkpoint.size
            self._fail(0, f"its first {size} records are not those of the checkpoint: history was rewritten since")

    def _expect_transaction(
        self, record: TransactionWritten, effects: Effects, recorded_at: str, expected: Expected
    ) -> None:
        sequence, number = record.sequence, record.transaction
        if number == sequence:
            self._kept.created["transactions"] = self._kept.created.get("transactions", 0) + 1
        entries_sequence: int | None = None
        if effects.entries:
            entries_sequence = sequence
            for entry in effects.entries:
                at = entry.effective_at
                effective_at = recorded_at if at == record.recorded_at else store.time(at)
                expected.entries.append(store.entry_line(entry, recorded_at, effective_at))
                if entry.metadata:
                    expected.metadata[entry.number] = entry.metadata, record.recorded_at
            self._kept.entries += len(effects.entries)
        elif effects.ended:
            entries_sequence = effects.ended[0].number >> ORDINAL_BITS
        elif number in self.state.pending:
            entries_sequence = self.state.pending[number].entries[0].number >> ORDINAL_BITS
        expected.discards.extend([store.discard_line(ended, sequence, recorded_at) for ended in effects.ended])
        expected.transactions.append(record)
        expected.newest.append(store.newest_line(record, recorded_at))
        expected.final.append(
            None if entries_sequence is None else store.final_line(record, entries_sequence, recorded_at)
        )

    async def _wrong_others(self, others: Mapping[str, list[AnyRecord]]) -> list[tuple[int, str]]:
        """Compare the rows of other subjects, where a record is the newest about its object."""
        found = []
        for name, records in others.items():
            new = sum(record.sequence == object_of(record) for record in records)
            self._kept.created[name] = self._kept.created.get(name, 0) + new
            by_sequence = {record.sequence: record for record in records}
            rows = await store.rows(self._sessions.looking, name, self._head.ledger, list(by_sequence))
            for row in rows:
                record = by_sequence[row["sequence"]]
                sentence = subjects.difference(record, row)
                if sentence is not None:
                    found.append(
                        (record.sequence, f"{subjects.READ[name]} {self.state.id_of(object_of(record))}: {sentence}")
                    )
        return found

    async def _compare_nodes(self, nodes: list[Node]) -> None:
        """Ask that the nodes which a chunk completed are kept."""
        if not nodes:
            return
        self._kept.nodes += len(nodes)
        rows = await store.rows(
            self._sessions.looking, "nodes", self._head.ledger, [n.level for n in nodes], [n.place for n in nodes]
        )
        kept = {(row[0], row[1]): row[2] for row in rows}
        for level, place, hash_ in nodes:
            if kept.get((level, place)) != hash_:
                first = (place << level) + 1
                self._fail(
                    first, f"this one or one of the records up to {place + 1 << level} is not what the tree was made of"
                )

    async def _finish(self, buckets: "asyncio.Task[tuple[int, str] | None]") -> None:
        """Compare where the log ends, and what can be compared only there."""
        head, state = self._head, self._replay.state
        try:
            self._replay.finish()
        except Fault as fault:
            self._fail(fault.sequence, fault.sentence)
        if state.sequence != head.sequence or microseconds(head.recorded_at) != state.recorded_at:
            self._fail(state.sequence, f"is the last one, and the head says that record {head.sequence} is")
        if (self._tree.root(), self._tree.to_bytes()) != (head.root, head.frontier):
            first = state.sequence // _LEAVES_OF_NODE * _LEAVES_OF_NODE + 1
            self._fail(min(first, state.sequence), "this one or one after it is not what the head's root was made of")
        if self.checkpoint is not None and self.checkpoint.size > state.sequence:
            size = self.checkpoint.size
            self._fail(0, f"it has {state.sequence} records, and had {size} when the checkpoint was made")
        await self._check_annotations()
        bucket = await buckets
        for check in subjects.AT_THE_END:
            found = await check(self._sessions.summing, head.ledger, state)
            if found is not None:
                self._fail(0, found)
        if bucket is not None:
            self._fail(0, f"account {self.state.id_of(bucket[0])}: {bucket[1]}")
        await self._check_counts()

    async def _check_annotations(self) -> None:
        numbers = sorted(self._kept.annotated)
        for begin in range(0, len(numbers), RECORDS_AT_ONCE):
            part = numbers[begin : begin + RECORDS_AT_ONCE]
            rows = await store.rows(self._sessions.looking, "entry_metadata", self._head.ledger, part)
            stored = {row[0]: (digest(row[1]), microseconds(row[2])) for row in rows}
            for number in part:
                if stored.get(number) != self._kept.annotated[number]:
                    self._fail(0, metadata_sentence(self.state, number))

    async def _check_counts(self) -> None:
        [row] = await store.rows(self._sessions.summing, "counts", self._head.ledger)
        expected = {**self._kept.created, "nodes": self._kept.nodes}
        for name, count in row.items():
            if count != expected.get(name, 0):
                strays = await store.rows(self._sessions.summing, "unfounded", self._head.ledger)
                what = f"{strays[0][0]} {self.state.id_of(strays[0][1])}" if strays else f"one of the {name}"
                self._fail(0, f"{what} is there, and no record made it")

    def keep(self) -> Kept:
        """Return what another verification needs, beside `state`, to go on from here."""
        self._kept.size, self._kept.frontier = self._tree.size, list(self._tree.hashes)
        return self._kept


_LEAVES_OF_NODE: Final = 256


async def verify(
    database: Database,
    only: int | None,
    checkpoints: Mapping[str, Checkpoint],
    resumed: Resumed,
) -> AsyncIterator[tuple[Verification | None, Progress | Finding | None]]:
    """Verify one ledger, or all of them, in one snapshot.

    Args:
        database: with all the ledgers.
        only: number of the ledger; None means all.
        checkpoints: by the id of their ledger: its log must still begin with what each stands for.
        resumed: where an earlier verification ended; what is done of this one is noted there, too.

    Yields:
        After each step the verification and how far it has come; a finding ends that of its ledger, None is its good
        end. A finding without a verification is of a ledger that is not there.
    """
    async with (
        store.snapshot(database) as reading,
        store.snapshot(database, await store.export_snapshot(reading)) as looking,
        store.snapshot(database, await store.export_snapshot(reading), of_whole_tables=True) as summing,
    ):
        for row in await store.rows(looking, "without_head", only):
            yield None, Finding(f"number {row[0]}", 0, "has rows, and no head or no row of its own")
        missing = dict(checkpoints)
        for head in await store.heads(looking, only):
            state, kept = resumed.of(head)
            sessions = Sessions(reading, looking, summing)
            verification = Verification(sessions, head, state, kept)
            verification.checkpoint = missing.pop(verification.id, None)
            if resumed.done.get(verification.id) == _seen(head) and verification.checkpoint is None:
                yield verification, None
                continue
            try:
                async for progress in verification.run():
                    yield verification, progress
            except Finding as finding:
                yield verification, finding
            else:
                resumed.done[verification.id] = _seen(head)
                yield verification, None
        for id_ in missing:
            yield None, Finding(id_, 0, "there is a checkpoint of it, and no such ledger")


def _seen(head: Head) -> str:
    return f"{head.sequence} {head.root.hex()}"

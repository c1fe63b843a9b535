"""Whether all that stands in the tables of a ledger follows from its log, and the log from its root.

The log is read in order and folded by the rules; what each record must have written is compared with what its rows say,
and the tree over the records with the head and with the nodes that are kept. The first difference ends it: what comes
after a wrong record means nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final, NamedTuple, NoReturn
from uuid import UUID

from doppia.accounting.ids import format_id
from doppia.engine.verification.end import AT_THE_END, wrong_bucket
from doppia.engine.verification.fold import Fold, check_beginning
from doppia.engine.verification.resume import Kept, Resumed
from doppia.engine.verification.rows import difference, wrong_rows
from doppia.proof.checkpoints import Checkpoint
from doppia.proof.kinds import kind_of
from doppia.proof.records import Record
from doppia.proof.replay.fold import Fault, Replay
from doppia.proof.replay.state import State
from doppia.proof.sealing import opened
from doppia.proof.tree import Frontier, Node, leaf_hash
from doppia.store.database.connections import Connection, Database
from doppia.store.log import verification as store
from doppia.store.log.verification import GREATEST, LEAST, Chunk, Head

RECORDS_AT_ONCE: Final = 2048
"""Whose rows are compared at once: eight nodes of the lowest level that is kept."""

_LEAVES_OF_NODE: Final = 256


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


class Sessions(NamedTuple):
    """Connections that see the same snapshot: to read along the log, to look things up, and to read whole tables."""

    reading: Connection
    looking: Connection
    summing: Connection


class Verification:
    """The verification of one ledger, in one snapshot."""

    def __init__(
        self,
        sessions: Sessions,
        head: Head,
        state: State | None = None,
        kept: Kept | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Begin with the first record, or go on where another ended that left `state` and `kept`."""
        self._sessions = sessions
        self._head = head
        self.id = format_id(head.created_seconds, head.ledger, 1)
        self._fold = Fold(Replay(head.ledger, state), kept or Kept(), checkpoint)
        self._kept = self._fold.kept
        self.state = self._fold.state

    async def run(self) -> AsyncGenerator[Progress, None]:
        """Verify the ledger, and say now and then how far it has come.

        Raises:
            Finding: the first that is wrong.
        """
        begin = self._kept.size + 1
        reading = self._read(begin)
        buckets = asyncio.create_task(wrong_bucket(self._sessions.summing, self._head.ledger))
        try:
            async for progress in self._recognize():
                yield progress
            while True:
                chunk, last = await reading, self._last_of(begin)
                if last < GREATEST:
                    reading = self._read(last + 1)
                    await asyncio.sleep(0)  # the server works on the next chunk while this one is compared
                await self._compare(chunk)
                yield Progress(self.id, self._fold.tree.size, self._kept.entries, self._head.sequence)
                if last == GREATEST:
                    break
                begin = last + 1
            await self._finish(buckets)
        except Fault as fault:
            self._fail(fault.sequence, fault.sentence)
        except store.UnreadableError as error:
            self._fail(0, f"one of its rows holds what can't be read: {error}")
        finally:
            for task in (reading, buckets):
                task.cancel()
            await asyncio.gather(reading, buckets, return_exceptions=True)

    def _read(self, begin: int) -> "asyncio.Task[Chunk]":
        first = LEAST if begin == 1 else begin
        return asyncio.create_task(store.chunk(self._sessions.reading, self._head.ledger, first, self._last_of(begin)))

    def _last_of(self, begin: int) -> int:
        """Return with which record a chunk ends; the last one takes all that there is."""
        last = (begin // RECORDS_AT_ONCE + 1) * RECORDS_AT_ONCE - 1
        return last if last < self._head.sequence else GREATEST

    def _fail(self, sequence: int, sentence: str) -> NoReturn:
        raise Finding(self.id, sequence, sentence)

    async def _recognize(self) -> AsyncIterator[Progress]:
        """Ask that the log still begins with the records that were verified before, by their hashes alone.

        Their texts may have been erased since, and so may be what the rows about them hold.
        """
        tree, size, checkpoint = Frontier(), self._kept.size, self._fold.checkpoint
        self.state.outstanding.clear()
        wrong: Fault | None = None
        while tree.size < size:
            begin = tree.size + 1
            end = min(begin + 4 * RECORDS_AT_ONCE, size + 1)
            if checkpoint is not None and begin <= checkpoint.size < end:
                end = checkpoint.size + 1
            [row] = await store.rows(self._sessions.looking, "payloads", ledger=self._head.ledger, first=begin, end=end)
            if len(row[0] or ()) != end - begin:
                break
            tree, _ = tree.extended([leaf_hash(payload) for payload in row[0]])
            if checkpoint is not None:
                check_beginning(tree, checkpoint)
            for sequence, (payload, texts) in enumerate(zip(*row, strict=True), begin):
                wrong = wrong or self._fold.recognize(sequence, payload, texts)
            yield Progress(self.id, tree.size, 0, self._head.sequence)
        if tree.hashes != self._fold.tree.hashes:
            self._fail(0, f"the log does not begin with the {size} records that were verified before")
        if wrong is not None:
            raise wrong

    async def _compare(self, chunk: Chunk) -> None:
        """Fold the records of a chunk, and compare what they must have written with what is there."""
        begin = self._fold.tree.size + 1
        expected, fault = self._fold.take(chunk)
        end = begin + len(expected.records)
        found = wrong_rows(self.state, self._kept.annotated, chunk, expected)
        found += await self._wrong_others(expected.others)
        found = [wrong for wrong in found if fault is None or wrong[0] < end]
        if found:
            await self._check_columns(end)
            self._fail(*min(found))
        if fault is not None:
            raise fault
        await self._compare_nodes(expected.nodes)

    async def _wrong_others(self, others: Mapping[str, list[Record]]) -> list[tuple[int, str]]:
        """Compare the rows of other subjects, where a record is the newest about its object."""
        found = []
        for name, records in others.items():
            by_sequence = {record.sequence: record for record in records}
            rows = await store.rows(self._sessions.looking, name, ledger=self._head.ledger, records=list(by_sequence))
            for row in rows:
                record = by_sequence[row["sequence"]]
                sentence = difference(record, row)
                if sentence is not None:
                    kind = kind_of(record)
                    found.append((record.sequence, f"{kind.name} {self.state.id_of(kind.about(record))}: {sentence}"))
        return found

    async def _check_columns(self, begin: int) -> None:
        """Ask that the columns of all records from one on are what the records say.

        By them the newest record about an object is known. Where they are wrong, a row can differ from an older one.
        """
        while begin <= self._head.sequence:
            last = begin + RECORDS_AT_ONCE - 1
            [row] = await store.rows(
                self._sessions.looking, "columns", ledger=self._head.ledger, first=begin, last=last
            )
            for payload, line in zip(row["payloads"] or (), row["records"] or (), strict=True):
                try:
                    record = opened(payload, None)
                    told = store.record_line(record, store.time(record.recorded_at))
                except (OverflowError, ValueError):
                    return
                if told != line:
                    self._fail(record.sequence, store.differing(store.RECORD_COLUMNS, told, line))
            begin = last + 1

    async def _compare_nodes(self, nodes: list[Node]) -> None:
        """Ask that the nodes which a chunk completed are kept."""
        if not nodes:
            return
        self._kept.nodes += len(nodes)
        rows = await store.rows(
            self._sessions.looking,
            "nodes",
            ledger=self._head.ledger,
            levels=[node.level for node in nodes],
            places=[node.place for node in nodes],
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
        self._fold.replay.finish()
        self._check_head()
        bucket = await buckets
        for check in AT_THE_END:
            found = await check(self._sessions.summing, self.state, self._kept)
            if found is not None:
                self._fail(0, found)
        if bucket is not None:
            self._fail(0, f"account {self.state.id_of(bucket[0])}: {bucket[1]}")

    def _check_head(self) -> None:
        head, state, tree, checkpoint = self._head, self.state, self._fold.tree, self._fold.checkpoint
        if state.sequence != head.sequence:
            self._fail(state.sequence, f"is the last one, and the head says that record {head.sequence} is")
        recorded_at = store.time(state.recorded_at)
        if recorded_at != head.recorded_at:
            stored, told = store.shown_time(head.recorded_at), store.shown_time(recorded_at)
            self._fail(0, f"its head's recorded_at is {stored} in the table, and {told} by the log")
        if (tree.root(), tree.to_bytes()) != (head.root, head.frontier):
            first = state.sequence // _LEAVES_OF_NODE * _LEAVES_OF_NODE + 1
            self._fail(min(first, state.sequence), "this one or one after it is not what the head's root was made of")
        if checkpoint is not None and checkpoint.size > state.sequence:
            size = checkpoint.size
            self._fail(0, f"it has {state.sequence} records, and had {size} when the checkpoint was made")

    def keep(self) -> Kept:
        """Return what another verification needs, beside `state`, to go on from here."""
        tree = self._fold.tree
        self._kept.size, self._kept.frontier = tree.size, list(tree.hashes)
        return self._kept


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
        for row in await store.rows(looking, "without_head", ledger=only):
            yield None, Finding(f"number {row[0]}", 0, "has rows, and no head or no row of its own")
        missing = dict(checkpoints)
        heads = await store.heads(looking, only)
        owners = await store.owners(looking)
        for head in heads:
            state, kept = resumed.of(head)
            sessions = Sessions(reading, looking, summing)
            id_ = format_id(head.created_seconds, head.ledger, 1)
            checkpoint = missing.pop(id_, None)
            verification = Verification(sessions, head, state, kept, checkpoint)
            if resumed.done.get(id_) == _seen(head) and checkpoint is None:
                yield verification, None
                continue
            try:
                # What can't be read ends the database transaction, or this savepoint in it.
                async with (
                    reading.transaction(), looking.transaction(), summing.transaction(),
                    aclosing(verification.run()) as steps,
                ):  # fmt: skip
                    async for progress in steps:
                        yield verification, progress
                    _check_owner(verification.id, head, owners.get(id_))
            except Finding as finding:
                yield verification, finding
            else:
                resumed.done[verification.id] = _seen(head)
                yield verification, None
        for id_ in missing:
            yield None, Finding(id_, 0, "there is a checkpoint of it, and no such ledger")


def _check_owner(ledger: str, head: Head, owner: UUID | None) -> None:
    if head.organization != owner:
        told = "none created or imported it" if owner is None else f"{owner} did"
        raise Finding(ledger, 0, f"it is organization {head.organization}'s, and by the log of organizations {told}")


def _seen(head: Head) -> str:
    return f"{head.sequence} {head.root.hex()}"

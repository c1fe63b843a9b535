"""The records of a ledger one after the other: each folded by the rules, hashed, and told as the rows it wrote."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from doppia.accounting.ids import ORDINAL_BITS
from doppia.engine.verification.resume import Kept, digest
from doppia.proof.checkpoints import Checkpoint
from doppia.proof.kinds import kind_of
from doppia.proof.records import EntryAnnotated, Record, Redacted, SettledEntries, SettlementWritten, TransactionWritten
from doppia.proof.replay.fold import Effects, Fault, Replay
from doppia.proof.replay.state import State
from doppia.proof.replay.texts import note_missing, redaction
from doppia.proof.sealing import MalformedRecord, check_canonical, opened
from doppia.proof.tree import Frontier, Node, leaf_hash
from doppia.store.log import verification as store
from doppia.store.log.verification import Chunk


class Expected(NamedTuple):
    """What the records of a chunk must have written.

    Attributes:
        records, entries, discards, final, newest: lines of rows; of the last two one for each of `transactions`.
        with_texts: of the transactions those that have texts or metadata, by sequence.
        metadata: of entries by number, and when it was written.
        others: records whose rows are read one by one, by the query that does.
    """

    records: list[str]
    entries: list[str]
    discards: list[str]
    final: list[str | None]
    newest: list[str]
    transactions: list[TransactionWritten]
    with_texts: dict[int, TransactionWritten]
    metadata: dict[int, tuple[dict[str, str], int]]
    others: dict[str, list[Record]]
    nodes: list[Node]


class Fold:
    """A ledger as the records make it that were taken so far."""

    def __init__(self, replay: Replay, kept: Kept, checkpoint: Checkpoint | None) -> None:
        """Begin before the first record, or where another ended that left `kept` and the replay's state."""
        self.replay = replay
        self.state = replay.state
        self.kept = kept
        self.tree = Frontier(kept.size, tuple(kept.frontier))
        self.checkpoint = checkpoint
        self._leaves: list[bytes] = []

    def take(self, chunk: Chunk) -> tuple[Expected, Fault | None]:
        """Fold the records of a chunk; return what they must have written, up to the first that is wrong, and that."""
        expected = Expected([], [], [], [], [], [], {}, {}, {}, [])
        try:
            rows = zip(chunk.payloads or (), chunk.record_texts or (), chunk.records or (), strict=True)
            for payload, texts, row in rows:
                self._take(payload, texts, row, expected)
            self._grow(expected)
        except Fault as fault:
            return expected, fault
        return expected, None

    def recognize(self, sequence: int, payload: bytes, texts: bytes | None) -> Fault | None:
        """Take the texts of a record that was folded before: they may have been erased since. Return what is wrong."""
        try:
            record = opened(payload, texts)
            check_canonical(record, payload, texts)
        except ValueError as error:
            return Fault(sequence, str(error))
        if isinstance(record, TransactionWritten):
            for ordinal, metadata in (record.entry_metadata or {}).items():
                number = sequence << ORDINAL_BITS | ordinal
                if number in self.kept.annotated:
                    self.kept.annotated[number] = digest(metadata), record.recorded_at
        elif isinstance(record, EntryAnnotated):
            _note_annotation(self.state, self.kept, record)
        if getattr(record, "salts", None) is not None:
            note_missing(self.state, record)
        if isinstance(record, Redacted):
            try:
                redaction(self.state, record)
            except Fault as fault:
                return fault
        return None

    def _take(self, payload: bytes, texts: bytes | None, row: str, expected: Expected) -> None:
        sequence = self.tree.size + len(self._leaves) + 1
        try:
            record = opened(payload, texts)
            check_canonical(record, payload, texts)
            recorded_at = store.time(record.recorded_at)
            line = store.record_line(record, recorded_at)
            effects = self.replay.apply(record)
        except MalformedRecord as error:
            raise Fault(sequence, str(error)) from None
        except (OverflowError, ValueError, AssertionError) as error:
            # Whatever no rule has foreseen: the other ledgers are to be verified all the same.
            raise Fault(sequence, f"it holds what no record can: {error}") from None
        if line != row:
            raise Fault(sequence, store.differing(store.RECORD_COLUMNS, line, row))
        self._leaves.append(leaf_hash(payload))
        if self.checkpoint is not None and sequence == self.checkpoint.size:
            self._grow(expected)
            check_beginning(self.tree, self.checkpoint)
        expected.records.append(line)
        if type(record) is TransactionWritten:
            self._expect_transaction(record, effects, recorded_at, expected)
        else:
            self._expect_other(record, expected)

    def _grow(self, expected: Expected) -> None:
        """Let the tree grow by the records that were taken since it last did."""
        self.tree, nodes = self.tree.extended(self._leaves)
        expected.nodes.extend(nodes)
        self._leaves.clear()

    def _expect_transaction(
        self, record: TransactionWritten, effects: Effects, recorded_at: str, expected: Expected
    ) -> None:
        sequence, number, entries = record.sequence, record.transaction, effects.entries
        if number == sequence:
            self.kept.count("transactions")
        entries_sequence: int | None = None
        if entries:
            entries_sequence = sequence
            expected.entries.extend(store.entry_lines(entries, record.recorded_at, recorded_at))
            for entry in entries:
                if entry.metadata:
                    expected.metadata[entry.number] = entry.metadata, record.recorded_at
            self.kept.entries += len(entries)
        elif effects.ended:
            entries_sequence = effects.ended[0].number >> ORDINAL_BITS
        elif number in self.state.pending:
            entries_sequence = self.state.pending[number].entries[0].number >> ORDINAL_BITS
        if effects.ended:
            expected.discards.extend([store.discard_line(ended, sequence, recorded_at) for ended in effects.ended])
        if record.metadata or store.texts_of(record) != store.NO_TEXTS:
            expected.with_texts[sequence] = record
        expected.transactions.append(record)
        expected.newest.append(store.newest_line(record, recorded_at))
        expected.final.append(
            None if entries_sequence is None else store.final_line(record, entries_sequence, recorded_at)
        )

    def _expect_other(self, record: Record, expected: Expected) -> None:
        kind = kind_of(record)
        note = _NOTES.get(kind.name)
        if note is not None:
            note(self.state, self.kept, record)
        if kind.objects is not None:
            if record.sequence == kind.about(record):
                self.kept.count(kind.objects)
            expected.others.setdefault(kind.objects, []).append(record)


def _note_annotation(_: State, kept: Kept, record: EntryAnnotated) -> None:
    number = record.entry_sequence << ORDINAL_BITS | record.entry_ordinal
    kept.annotated[number] = digest(record.metadata), record.recorded_at


def _note_settlement(_: State, kept: Kept, record: SettlementWritten) -> None:
    kept.settlements[record.settlement] = record.recorded_at


def _note_settled_entries(state: State, kept: Kept, record: SettledEntries) -> None:
    if state.settlements[record.settlement].status == "drafting":
        kept.settlements[record.settlement] = record.recorded_at


_NOTES: Final[Mapping[str, Callable[[State, Kept, Any], None]]] = {
    "entry": _note_annotation,
    "settlement": _note_settlement,
    "settled_entries": _note_settled_entries,
}
"""Keep what records of some kinds say beside their rows until the end, when it is compared."""


def check_beginning(tree: Frontier, checkpoint: Checkpoint) -> None:
    """Ask that the records up to here are those of a checkpoint, if it goes so far.

    Raises:
        Fault.
    """
    size = checkpoint.size
    if tree.size == size and tree.root() != checkpoint.root:
        raise Fault(0, f"its first {size} records are not those of the checkpoint: history was rewritten since")

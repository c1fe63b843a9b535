"""What follows from imported records of transactions, as the rows that posting wrote for them at first."""

from collections.abc import Sequence
from datetime import datetime

from doppia.accounting.ledger.transactions import Transaction
from doppia.proof.records import STATUSES, Record, TransactionWritten, moment
from doppia.proof.replay.state import Effects, Ended, WrittenEntry
from doppia.proof.sealing import sealed
from doppia.proof.tree import Frontier, leaf_hash
from doppia.store.posting.rows import NO_SUMS, DiscardRow, EntryColumns, Piece, Rows, log_row, piece_of


class Portion:
    """Records that are not written yet, in order, and the rows that follow from the transactions among them.

    Attributes:
        entries: how many entries are to be written.
    """

    def __init__(self, ledger: int) -> None:
        self.entries = 0
        self._rows = Rows(ledger, moment(0), 0, Frontier())
        self._written: list[WrittenEntry] = []

    @property
    def records(self) -> int:
        """How many records there are."""
        return len(self._rows.records)

    def append(self, record: Record) -> None:
        """Append the next record of the log, with its texts and commitments as another log had them."""
        rows = self._rows
        rows.records.append(log_row(record, sealed(record)))
        rows.sequence = record.sequence
        rows.recorded_at = rows.times[record.sequence] = moment(record.recorded_at)

    def change(
        self, record: TransactionWritten, effects: Effects, entries_sequence: int, posted_at: datetime | None
    ) -> None:
        """Add what a record changed.

        Args:
            record: was appended, or will be next.
            effects: what it did.
            entries_sequence: of the record that wrote the transaction's entries in force.
            posted_at: when the transaction was posted, None where it was not.
        """
        rows, transaction = self._rows, _transaction(record, posted_at)
        if transaction.version == 0:
            rows.created.append(transaction)
        else:
            rows.changed[transaction.sequence] = entries_sequence, transaction
        self._written += effects.entries
        self.entries += len(effects.entries)
        rows.discards += [_discard(ended, record.sequence) for ended in effects.ended]
        # Entries that none succeeds end after the new ones were written, those of an account in their order.
        steps: tuple[WrittenEntry | Ended, ...] = (*effects.entries, *effects.ended)
        for step in steps:
            if step.sums is not None and step.lock_version is not None:
                rows.balances[step.account] = step.lock_version, step.sums

    def piece(self, tree: Frontier) -> tuple[Piece, Frontier]:
        """Return all of it, one record at least, as it is to be recorded after a tree, and the tree with it."""
        rows = self._rows
        rows.entries = _columns(self._written)
        rows.tree, rows.nodes = tree.extended(leaf_hash(row.payload) for row in rows.records)
        return piece_of(rows), rows.tree


def _columns(entries: Sequence[WrittenEntry]) -> EntryColumns:
    return EntryColumns(
        numbers=[entry.number for entry in entries],
        transactions=[entry.transaction for entry in entries],
        accounts=[entry.account for entry in entries],
        lock_versions=[entry.lock_version for entry in entries],
        effective_times=[moment(entry.effective_at) for entry in entries],
        directions=["credit" if entry.direction else "debit" for entry in entries],
        statuses=[STATUSES[entry.status] for entry in entries],
        amounts=[entry.amount for entry in entries],
        sums=[entry.sums or NO_SUMS for entry in entries],
        metadata=[entry.metadata for entry in entries],
    )


def _discard(ended: Ended, sequence: int) -> DiscardRow:
    return DiscardRow(ended.number, sequence, ended.account, ended.lock_version, ended.sums or NO_SUMS)


def _transaction(record: TransactionWritten, posted_at: datetime | None) -> Transaction:
    """Return a transaction as its record has it, without its ids and its entries, which are in no row of it."""
    at = moment(record.recorded_at)
    return Transaction(
        id="",
        sequence=record.transaction,
        version=record.version,
        status=STATUSES[record.status],
        entries=(),
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

"""What a posting group accepted, and the parts in which it is recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple

from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.monitors import Monitor
from doppia.accounting.ledger.transactions import Change, Entry
from doppia.proof.records import Record
from doppia.proof.sealing import seal
from doppia.proof.tree import Frontier, Node, leaf_hash
from doppia.store.ledger.ledgers import ConsumedKey
from doppia.store.log.salts import new_salt
from doppia.store.posting.rows import (
    NO_SUMS,
    DiscardRow,
    EntryColumns,
    NewLogRow,
    Piece,
    Rows,
    columns_of,
    log_row,
    piece_of,
)

ENTRIES_AT_ONCE: Final = 4_000
"""At most this many entries, up to one change more, go into one statement: the event loop stands still while its
arguments are made."""


@dataclass(slots=True)
class Group:
    """What a group accepted, in order.

    Attributes:
        sequence: of the last record.
        begins: the tree over the log where the group begins.
        records: to be appended to the log.
        changes: each with the sequence of its record.
        accounts: all that change, as they stand at the end.
        monitors: those that were triggered or resolved, as they stand at the end, by sequence.
        keys: those consumed.
    """

    ledger: int
    recorded_at: datetime
    sequence: int
    begins: Frontier
    records: list[NewLogRow] = field(default_factory=list)
    changes: list[tuple[int, Change]] = field(default_factory=list)
    accounts: dict[int, Account] = field(default_factory=dict)
    monitors: dict[int, Monitor] = field(default_factory=dict)
    keys: list[ConsumedKey] = field(default_factory=list)

    def copy(self) -> "Group":
        """Return a group that goes its own way from here on."""
        return Group(
            self.ledger,
            self.recorded_at,
            self.sequence,
            self.begins,
            list(self.records),
            list(self.changes),
            dict(self.accounts),
            dict(self.monitors),
            list(self.keys),
        )

    def append(self, record: Record) -> None:
        """Append a record, made with the sequence that follows `sequence`, and seal it."""
        self.sequence += 1
        assert record.sequence == self.sequence, "records follow each other without gaps"
        self.records.append(log_row(record, seal(record, new_salt)))


class Part(NamedTuple):
    """Some of a group's changes with their records, as many as one statement records.

    Attributes:
        group: with no other changes than these.
        ends, nodes: the tree over the log after them, and the nodes that are kept and which their records complete.
        is_last: whether the whole group ends with it.
    """

    group: Group
    ends: Frontier
    nodes: Sequence[Node]
    is_last: bool

    def piece(self) -> Piece:
        """Return the arguments of the statements that record it. While they are made, the event loop stands still."""
        group = self.group
        transactions = [change.transaction for _, change in group.changes]
        rows = Rows(
            ledger=group.ledger,
            recorded_at=group.recorded_at,
            sequence=group.sequence,
            tree=self.ends,
            nodes=self.nodes,
            records=group.records,
            created=[transaction for transaction in transactions if transaction.version == 0],
            changed={
                transaction.sequence: (transaction.entries[0].sequence, transaction)
                for transaction in transactions
                if transaction.version > 0
            },
            entries=_entries(group.changes),
            discards=_discards(group.changes),
            balances={number: (account.lock_version, account.sums) for number, account in group.accounts.items()},
            monitors=group.monitors.values(),
            keys=group.keys,
        )
        return piece_of(rows, is_last=self.is_last)


def parts(group: Group) -> list[Part]:
    """Return parts that, recorded one after the other, record the group.

    Each but the last has as many entries as are recorded at once, up to one change more.
    """
    cuts = [0]
    entries = 0
    for position, (_, change) in enumerate(group.changes):
        # What was posted of a hold goes with what is left of it.
        if entries >= ENTRIES_AT_ONCE and change.transaction.partially_posts is None:
            cuts.append(position)
            entries = 0
        entries += len(change.transaction.entries)
    found = []
    begin = done = group.sequence - len(group.records)
    tree = group.begins
    for first, last in pairwise([*cuts, len(group.changes)]):
        part, is_last = group, last == len(group.changes)
        if len(cuts) > 1:
            changes = group.changes[first:last]
            end = group.sequence if is_last else group.changes[last][0] - 1
            part = replace(
                group,
                sequence=end,
                begins=tree,
                records=group.records[done - begin : end - begin],
                changes=changes,
                accounts={number: account for _, change in changes for number, account in change.accounts.items()},
                monitors=group.monitors if is_last else {},
                keys=group.keys if is_last else [],
            )
            done = end
        tree, nodes = tree.extended([leaf_hash(row.payload) for row in part.records])
        found.append(Part(part, tree, nodes, is_last))
    return found


def _entries(changes: Sequence[tuple[int, Change]]) -> EntryColumns:
    """Return the entries that changes write. Turning rows into columns is what takes no time for each of them."""
    wrote = [(sequence, change.transaction) for sequence, change in changes if change.wrote_entries]
    entries = columns_of(Entry, [entry for _, transaction in wrote for entry in transaction.entries])
    accounts = columns_of(Account, entries.account)
    lock_versions, sums = accounts.lock_version, accounts.sums
    if "archived" in entries.status:
        counts = [status != "archived" for status in entries.status]
        lock_versions = [own if counted else None for own, counted in zip(lock_versions, counts, strict=True)]
        sums = [own if counted else NO_SUMS for own, counted in zip(sums, counts, strict=True)]
    return EntryColumns(
        numbers=[
            sequence << ORDINAL_BITS | entry.ordinal for sequence, transaction in wrote for entry in transaction.entries
        ],
        transactions=[transaction.sequence for _, transaction in wrote for _ in transaction.entries],
        accounts=accounts.sequence,
        lock_versions=lock_versions,
        effective_times=entries.effective_at,
        directions=entries.direction,
        statuses=entries.status,
        amounts=entries.amount,
        sums=sums,
        metadata=entries.metadata,
    )


def _discards(changes: Sequence[tuple[int, Change]]) -> list[DiscardRow]:
    return [
        DiscardRow(
            discard.entry.sequence << ORDINAL_BITS | discard.entry.ordinal,
            sequence,
            discard.account.sequence,
            discard.account.lock_version,
            NO_SUMS if discard.has_successor else discard.account.sums,
        )
        for sequence, change in changes
        for discard in change.discards
    ]

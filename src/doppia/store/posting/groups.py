"""What a posting group accepted, and the arguments of the statement that records it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.monitors import Monitor
from doppia.accounting.ledger.transactions import Change, Transaction
from doppia.proof.kinds import kind_of
from doppia.proof.records import Record
from doppia.proof.sealing import Sealed, seal
from doppia.proof.tree import Frontier, leaf_hash
from doppia.store.ledger.ledgers import ConsumedKey
from doppia.store.log.salts import new_salt

T = TypeVar("T")

_encode_json: Final = msgspec.json.Encoder().encode

ENTRIES_AT_ONCE: Final = 4_000
"""That one statement records, up to one change more: the event loop stands still while its arguments are made."""


class NewLogRow(NamedTuple):
    """A record of the log as it is sealed, the sequence of the object it is about, and the event it is."""

    sequence: int
    object_sequence: int
    kind: int
    event: int
    payload: bytes
    texts: bytes | None


@dataclass(slots=True)
class Group:
    """What a group accepted, in order.

    Attributes:
        tree: over the log, up to where the group began; it grows when the group is recorded.
        records: to be appended to the log.
        changes: each with the sequence of its record.
        accounts: all that change, as they stand at the end.
        monitors: those that were triggered or resolved, as they stand at the end, by sequence.
        keys: those consumed.
        times: of the records, by sequence, where they are not all of `recorded_at`, but of what has been imported.
    """

    ledger: int
    recorded_at: datetime
    sequence: int
    tree: Frontier
    records: list[NewLogRow] = field(default_factory=list)
    changes: list[tuple[int, Change]] = field(default_factory=list)
    accounts: dict[int, Account] = field(default_factory=dict)
    monitors: dict[int, Monitor] = field(default_factory=dict)
    keys: list[ConsumedKey] = field(default_factory=list)
    times: dict[int, datetime] = field(default_factory=dict)

    def copy(self) -> "Group":
        """Return a group that goes its own way from here on."""
        return Group(
            self.ledger,
            self.recorded_at,
            self.sequence,
            self.tree,
            list(self.records),
            list(self.changes),
            dict(self.accounts),
            dict(self.monitors),
            list(self.keys),
            dict(self.times),
        )

    def append(self, record: Record, as_sealed: Sealed | None = None) -> None:
        """Append a record, made with the sequence that follows `sequence`.

        It is sealed with new salts, or is one that another log had at that place, and stays `as_sealed` there.
        """
        self.sequence += 1
        assert record.sequence == self.sequence, "records follow each other without gaps"
        kind = kind_of(record)
        payload, texts = as_sealed or seal(record, new_salt)
        self.records.append(
            NewLogRow(self.sequence, kind.about(record), kind.number, int(record.event), payload, texts)
        )


class Piece(NamedTuple):
    """Some of a group's changes, as the statement that records them takes them.

    Attributes:
        changes: arguments of `record_changes` after the first two; none where nothing changes that was there before.
        columns: arguments of `record` after the first three.
        is_last: whether the group ends with it.
    """

    group: Group
    changes: list[Any]
    columns: list[Any]
    is_last: bool


def pieces(group: Group, entries_at_once: int | None = None) -> Iterator[Piece]:
    """Return pieces that, recorded one after the other, record the group; each is made when it is asked for.

    Each but the last has as many entries as are recorded at once, up to one change more.
    """
    entries_at_once = entries_at_once or ENTRIES_AT_ONCE
    cuts = [0]
    entries = 0
    for position, (_, change) in enumerate(group.changes):
        # What was posted of a hold goes with what is left of it.
        if entries >= entries_at_once and change.transaction.partially_posts is None:
            cuts.append(position)
            entries = 0
        entries += len(change.transaction.entries)
    if len(cuts) == 1:
        yield _piece(group, is_last=True)
        return
    begin = done = group.sequence - len(group.records)
    for first, last in pairwise([*cuts, len(group.changes)]):
        is_last = last == len(group.changes)
        end = group.sequence if is_last else group.changes[last][0] - 1
        changes = group.changes[first:last]
        part = replace(
            group,
            sequence=end,
            records=group.records[done - begin : end - begin],
            changes=changes,
            accounts={number: account for _, change in changes for number, account in change.accounts.items()},
            monitors=group.monitors if is_last else {},
            keys=group.keys if is_last else [],
        )
        done = end
        yield _piece(part, is_last=is_last)


def _piece(group: Group, *, is_last: bool) -> Piece:
    created = [change.transaction for _, change in group.changes if change.transaction.version == 0]
    changed = {
        change.transaction.sequence: change.transaction for _, change in group.changes if change.transaction.version > 0
    }
    begin = group.sequence - len(group.records)
    kept = [node for row in group.records for node in group.tree.append(leaf_hash(row.payload))]
    # Of what is recorded when it happens, and that is nearly all, no time is told but that of the group.
    usual = None if group.times else group.recorded_at
    *of_records, payloads, texts = _columns(group.records, 6)
    *digests, sequences, statuses, answers = _columns(group.keys, 5)
    columns = [
        *map(numbers, of_records),
        payloads,
        *_transaction_columns(created, usual),
        *_entry_columns(group.changes, usual),
        *_balance_columns(group.accounts),
        *_discard_columns(group.changes),
        *digests,
        numbers(sequences),
        numbers(statuses),
        _sparse(answers),
        begin,
        group.tree.root(),
        group.tree.to_bytes(),
        *_columns(kept, 3),
        *_time_columns(group, created),
        _sparse(texts),
    ]
    return Piece(group, _change_columns(list(changed.values()), group.times), columns, is_last)


def _time_columns(group: Group, created: Sequence[Transaction]) -> list[list[datetime]]:
    """Return the times of log records, new transactions, entries, their metadata and discards; where the group has one
    time, that is told once and these are empty.
    """
    times = group.times
    if not times:
        return [[], [], [], [], []]
    wrote = [(times[sequence], change) for sequence, change in group.changes if change.wrote_entries]
    return [
        [times[row.sequence] for row in group.records],
        [times[transaction.sequence] for transaction in created],
        [at for at, change in wrote for _ in change.transaction.entries],
        [at for at, change in wrote for entry in change.transaction.entries if entry.metadata],
        [times[sequence] for sequence, change in group.changes for _ in change.discards],
    ]


def _columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(width)]


# The driver asks of each element of a list whether it is a list itself, which takes longer than all else it does with
# it. So numbers and words go as one text, which is how PostgreSQL reads and writes an array, and what is null in every
# row as an empty list: `unnest` fills it up.


def numbers(values: list[int | None]) -> str:
    """Return an array of numbers as text."""
    return "{" + repr(values)[1:-1].replace("None", "NULL") + "}"


def _words(values: list[str]) -> str:
    return "{" + ",".join(values) + "}"


def _sparse(values: list[T | None]) -> list[T | None]:
    return [] if values.count(None) == len(values) else values


def _json(metadata: Mapping[str, str]) -> str | None:
    return _encode_json(metadata).decode() if metadata else None


def _transaction_columns(transactions: Sequence[Transaction], usual: datetime | None) -> list[str | list[object]]:
    rows = [
        (
            transaction.sequence,
            transaction.status,
            None if transaction.effective_at == usual else transaction.effective_at,
            None if transaction.posted_at == usual else transaction.posted_at,
            transaction.description,
            transaction.external_id,
            transaction.ledgerable_type,
            transaction.ledgerable_id,
            transaction.reverses and transaction.reverses[0],
            _json(transaction.metadata),
            transaction.archived_reason,
            transaction.expires_at,
            transaction.partially_posts and transaction.partially_posts[0],
            transaction.settlement and transaction.settlement[0],
        )
        for transaction in transactions
    ]
    sequences, statuses, *others = _columns(rows, 14)
    return [numbers(sequences), _words(statuses), *map(_sparse, others)]


def _change_columns(transactions: Sequence[Transaction], times: Mapping[int, datetime]) -> list[list[object]]:
    if not transactions:
        return []
    rows = [
        (
            transaction.sequence,
            transaction.entries[0].sequence,
            transaction.status,
            transaction.version,
            transaction.effective_at,
            transaction.posted_at,
            transaction.description,
            transaction.external_id,
            transaction.ledgerable_type,
            transaction.ledgerable_id,
            transaction.archived_reason,
            _json(transaction.metadata),
            transaction.expires_at,
        )
        for transaction in transactions
    ]
    updated = [transaction.updated_at for transaction in transactions] if times else []
    return [*_columns(rows, 13), updated]


_NO_SUMS: Final = (None, None, None, None)


def _entry_columns(changes: Sequence[tuple[int, Change]], usual: datetime | None) -> list[str | list[object]]:
    rows = []
    annotations = []
    for sequence, change in changes:
        if not change.wrote_entries:
            continue
        for entry in change.transaction.entries:
            number = sequence << ORDINAL_BITS | entry.ordinal
            account = entry.account
            counts = entry.status != "archived"
            rows.append(
                (
                    number,
                    change.transaction.sequence,
                    account.sequence,
                    account.lock_version if counts else None,
                    None if entry.effective_at == usual else entry.effective_at,
                    entry.direction,
                    entry.status,
                    entry.amount,
                    *(account.sums if counts else _NO_SUMS),
                )
            )
            if entry.metadata:
                annotations.append((number, _json(entry.metadata)))
    columns = _columns(rows, 12)
    return [
        *map(numbers, columns[:4]),
        _sparse(columns[4]),
        *map(_words, columns[5:7]),
        *map(numbers, columns[7:]),
        *_columns(annotations, 2),
    ]


def _balance_columns(changed: Mapping[int, Account]) -> list[str]:
    rows = [(account.sequence, account.lock_version, *account.sums) for account in changed.values()]
    return [numbers(column) for column in _columns(rows, 6)]


def _discard_columns(changes: Sequence[tuple[int, Change]]) -> list[str]:
    rows = [
        (
            discard.entry.sequence << ORDINAL_BITS | discard.entry.ordinal,
            sequence,
            discard.account.sequence,
            discard.account.lock_version,
            *(_NO_SUMS if discard.has_successor else discard.account.sums),
        )
        for sequence, change in changes
        for discard in change.discards
    ]
    return [numbers(column) for column in _columns(rows, 8)]

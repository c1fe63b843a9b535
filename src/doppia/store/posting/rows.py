"""The rows that one statement records, and its arguments, each under the name of its parameter.

The driver asks of each element of a list whether it is a list itself, which takes longer than all else that it does
with the element. So numbers and words are sent as one text, the way PostgreSQL itself writes an array; a column that
would be null in every row is sent as an empty list, which `unnest` fills up; and a time that all rows share is sent
once. Rows are turned into columns by `zip`, which does so without a step of Python for each of them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.ledger.monitors import Monitor
from doppia.accounting.ledger.transactions import Status, Transaction
from doppia.proof.kinds import kind_of
from doppia.proof.records import Record
from doppia.proof.sealing import Sealed
from doppia.proof.tree import Frontier, Node
from doppia.store.ledger.ledgers import ConsumedKey

T = TypeVar("T")
Row = TypeVar("Row", bound=tuple[Any, ...])

SumsAfter: TypeAlias = tuple[int | None, int | None, int | None, int | None]
"""Posted credits, posted debits, pending credits and pending debits of an account after a step of it."""

NO_SUMS: Final[SumsAfter] = (None, None, None, None)

_encode_json: Final = msgspec.json.Encoder().encode


class NewLogRow(NamedTuple):
    """A record of the log as it is sealed, the sequence of the object it is about, and the event it is."""

    sequence: int
    object_sequence: int
    kind: int
    event: int
    payload: bytes
    texts: bytes | None


def log_row(record: Record, as_sealed: Sealed) -> NewLogRow:
    """Return the row that holds a record."""
    kind = kind_of(record)
    return NewLogRow(record.sequence, kind.about(record), kind.number, int(record.event), *as_sealed)


@dataclass(slots=True, kw_only=True)
class EntryColumns:
    """New entries, by columns of equal length.

    Attributes:
        numbers: the sequence of the record that writes the entry, times 1024, plus the entry's ordinal.
        transactions, accounts: their sequences.
        lock_versions, sums: of the account with the entry; None, or `NO_SUMS`, for one that is written as archived.
    """

    numbers: Sequence[int] = ()
    transactions: Sequence[int] = ()
    accounts: Sequence[int] = ()
    lock_versions: Sequence[int | None] = ()
    effective_times: Sequence[datetime] = ()
    directions: Sequence[str] = ()
    statuses: Sequence[Status] = ()
    amounts: Sequence[int] = ()
    sums: Sequence[SumsAfter] = ()
    metadata: Sequence[Mapping[str, str] | None] = ()


class DiscardRow(NamedTuple):
    """The end of a pending entry.

    Attributes:
        entry: its number.
        sequence: of the record that ends it.
        lock_version, sums: of the account with the end; `NO_SUMS` where a new entry succeeds it and has them.
    """

    entry: int
    sequence: int
    account: int
    lock_version: int
    sums: SumsAfter


@dataclass(slots=True)
class Rows:
    """The rows that one statement records.

    Attributes:
        recorded_at: the time of the ledger's head afterwards, and of all rows if `times` is empty.
        sequence: of the last record; with the number of records it says where the head has to be before.
        tree, nodes: the tree over the log afterwards, and the nodes that are kept and which these records complete.
        changed: each with the sequence of the record that wrote its entries in force.
        balances: of accounts that change, lock version and sums afterwards, by sequence.
        monitors: those that were triggered or resolved.
        times: of the records, by sequence, where they are not all of `recorded_at`, as in an import.
    """

    ledger: int
    recorded_at: datetime
    sequence: int
    tree: Frontier
    nodes: Sequence[Node] = ()
    records: list[NewLogRow] = field(default_factory=list)
    created: list[Transaction] = field(default_factory=list)
    changed: dict[int, tuple[int, Transaction]] = field(default_factory=dict)
    entries: EntryColumns = field(default_factory=EntryColumns)
    discards: list[DiscardRow] = field(default_factory=list)
    balances: dict[int, tuple[int, SumsAfter]] = field(default_factory=dict)
    monitors: Collection[Monitor] = ()
    keys: Sequence[ConsumedKey] = ()
    times: dict[int, datetime] = field(default_factory=dict)


class Piece(NamedTuple):
    """Rows, and the arguments of the statements that record them.

    Attributes:
        changes: arguments of `record_changes`; none where nothing changes that was there before.
        additions: arguments of `record`.
        is_last: whether the group that they are of ends with it.
    """

    rows: Rows
    changes: dict[str, Any]
    additions: dict[str, Any]
    is_last: bool


def piece_of(rows: Rows, *, is_last: bool = True) -> Piece:
    """Return rows with the arguments that tell them."""
    # What is recorded as it happens, and that is nearly all, has one time, which is left out of its rows.
    usual = None if rows.times else rows.recorded_at
    records = columns_of(NewLogRow, rows.records)
    nodes = columns_of(Node, rows.nodes)
    additions = {
        "ledger": rows.ledger,
        "sequence": rows.sequence,
        "recorded_at": rows.recorded_at,
        "head_sequence": rows.sequence - len(rows.records),
        "root": rows.tree.root(),
        "frontier": rows.tree.to_bytes(),
        "node_levels": nodes.level,
        "node_places": nodes.place,
        "node_hashes": nodes.hash,
        "log_sequences": numbers(records.sequence),
        "log_objects": numbers(records.object_sequence),
        "log_kinds": numbers(records.kind),
        "log_events": numbers(records.event),
        "log_payloads": records.payload,
        "log_texts": _sparse(records.texts),
        "log_times": [rows.times[sequence] for sequence in records.sequence] if rows.times else (),
        **_of_created(rows.created, usual),
        **_of_entries(rows.entries, usual, rows.times),
        **_of_balances(rows.balances),
        **_of_discards(rows.discards, rows.times),
        **_of_keys(rows.keys),
    }
    return Piece(rows, _of_changed(rows) if rows.changed else {}, additions, is_last)


def _of_created(transactions: Sequence[Transaction], usual: datetime | None) -> dict[str, Any]:
    columns = columns_of(Transaction, transactions)
    return _of_transactions(columns, usual) | {
        "transaction_reverses": _sparse([other and other[0] for other in columns.reverses]),
        "transaction_partially_posts": _sparse([other and other[0] for other in columns.partially_posts]),
        "transaction_settlements": _sparse([other and other[0] for other in columns.settlement]),
        "transaction_times": columns.created_at if usual is None else (),
    }


def _of_changed(rows: Rows) -> dict[str, Any]:
    columns = columns_of(Transaction, [transaction for _, transaction in rows.changed.values()])
    return _of_transactions(columns, None) | {
        "ledger": rows.ledger,
        "transaction_entries_sequences": numbers([sequence for sequence, _ in rows.changed.values()]),
        "transaction_versions": numbers(columns.version),
        "transaction_updated_times": columns.updated_at,
    }


def _of_transactions(columns: Any, usual: datetime | None) -> dict[str, Any]:
    """Return what is told of a transaction when it is created and when it is changed."""
    return {
        "transaction_sequences": numbers(columns.sequence),
        "transaction_statuses": _words(columns.status),
        "transaction_effective_times": _unusual(columns.effective_at, usual),
        "transaction_posted_times": _unusual(columns.posted_at, usual),
        "transaction_expiry_times": _sparse(columns.expires_at),
        "transaction_descriptions": _sparse(columns.description),
        "transaction_external_ids": _sparse(columns.external_id),
        "transaction_ledgerable_types": _sparse(columns.ledgerable_type),
        "transaction_ledgerable_ids": _sparse(columns.ledgerable_id),
        "transaction_archived_reasons": _sparse(columns.archived_reason),
        "transaction_metadata": _sparse([_json(metadata) for metadata in columns.metadata]),
    }


def _of_entries(entries: EntryColumns, usual: datetime | None, times: Mapping[int, datetime]) -> dict[str, Any]:
    annotated = [
        (number, metadata) for number, metadata in zip(entries.numbers, entries.metadata, strict=True) if metadata
    ]
    return {
        "entry_numbers": numbers(entries.numbers),
        "entry_transactions": numbers(entries.transactions),
        "entry_accounts": numbers(entries.accounts),
        "entry_lock_versions": numbers(entries.lock_versions),
        "entry_effective_times": _unusual(entries.effective_times, usual),
        "entry_directions": _words(entries.directions),
        "entry_statuses": _words(entries.statuses),
        "entry_amounts": numbers(entries.amounts),
        **_of_sums("entry", entries.sums),
        "entry_times": [times[number >> ORDINAL_BITS] for number in entries.numbers] if times else (),
        "annotation_entries": [number for number, _ in annotated],
        "annotation_metadata": [_json(metadata) for _, metadata in annotated],
        "annotation_times": [times[number >> ORDINAL_BITS] for number, _ in annotated] if times else (),
    }


def _of_balances(balances: Mapping[int, tuple[int, SumsAfter]]) -> dict[str, Any]:
    return {
        "balance_accounts": numbers(balances),
        "balance_lock_versions": numbers([lock_version for lock_version, _ in balances.values()]),
        **_of_sums("balance", [sums for _, sums in balances.values()]),
    }


def _of_discards(discards: Sequence[DiscardRow], times: Mapping[int, datetime]) -> dict[str, Any]:
    columns = columns_of(DiscardRow, discards)
    return {
        "discard_entries": numbers(columns.entry),
        "discard_sequences": numbers(columns.sequence),
        "discard_accounts": numbers(columns.account),
        "discard_lock_versions": numbers(columns.lock_version),
        **_of_sums("discard", columns.sums),
        "discard_times": [times[sequence] for sequence in columns.sequence] if times else (),
    }


def _of_keys(keys: Sequence[ConsumedKey]) -> dict[str, Any]:
    columns = columns_of(ConsumedKey, keys)
    return {
        "key_digests": columns.digest,
        "key_request_digests": columns.request_digest,
        "key_sequences": numbers(columns.sequence),
        "key_kept": _sparse(columns.kept),
    }


def _of_sums(kind: str, sums: Sequence[SumsAfter]) -> dict[str, str]:
    posted_credits, posted_debits, pending_credits, pending_debits = zip(*sums, strict=True) if sums else ((),) * 4
    return {
        f"{kind}_posted_credits": numbers(posted_credits),
        f"{kind}_posted_debits": numbers(posted_debits),
        f"{kind}_pending_credits": numbers(pending_credits),
        f"{kind}_pending_debits": numbers(pending_debits),
    }


def columns_of(kind: type[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]) -> Any:
    """Return rows turned into columns: under each field's name the values of that field in all rows."""
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined] # they are named tuples
    return kind(*zip(*rows, strict=True)) if rows else kind(*((),) * len(fields))


def numbers(values: Iterable[int | None]) -> str:
    """Return an array of numbers as the text of it."""
    return "{" + repr([*values])[1:-1].replace("None", "NULL") + "}"


def _words(values: Iterable[str]) -> str:
    """Return an array of words, which need no quotation marks, as the text of it."""
    return "{" + ",".join(values) + "}"


def _sparse(values: Sequence[T | None]) -> Sequence[T | None]:
    """Return the values, or none at all where each is null."""
    return () if values.count(None) == len(values) else values


def _unusual(times: Sequence[datetime | None], usual: datetime | None) -> Sequence[datetime | None]:
    """Return times, with null in place of those that are the usual one."""
    return _sparse([None if at == usual else at for at in times])


def _json(metadata: Mapping[str, str]) -> str | None:
    return _encode_json(metadata).decode() if metadata else None

"""The records of a ledger's log and their canonical bytes.

A record is one MessagePack array: its kind, its position and time, who caused it, then the fields of its kind in the
order of the classes below. MessagePack prefixes every text, array and map with its length, so no two records share
their bytes. To be canonical, every value takes its shortest form, map keys are in order of their bytes, times are
microseconds since 1970 in UTC, and amounts are decimal text, for they outgrow 64 bits. Any MessagePack library reads
them; docs/reference/log.md describes the fields.

The fields of a kind never change, for old bytes must stay canonical; what needs another field is a new kind.

The log alone rebuilds the ledger: what a record does not say (lock versions, running sums, which entries a rewritten
transaction discards) follows from the rules in `doppia.accounting`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """Return an aware time as microseconds since 1970 in UTC."""
    return (time - _EPOCH) // _MICROSECOND


def moment(microseconds_: int) -> datetime:
    """Return the time that `microseconds` made a number of."""
    return _EPOCH + microseconds_ * _MICROSECOND


class Record(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What every record begins with, after its kind.

    Attributes:
        sequence: position in the ledger's log, from 1, without gaps.
        recorded_at: microseconds; never decreases along the log.
        actor: the 16 bytes of the id of the API key that caused it; None where the service itself did.
    """

    sequence: int
    recorded_at: int
    actor: bytes | None


LEDGER_KIND: Final = 1
ACCOUNT_KIND: Final = 2
TRANSACTION_KIND: Final = 3
ENTRY_KIND: Final = 4


class LedgerWritten(Record, tag=LEDGER_KIND, array_like=True, frozen=True, kw_only=True):
    """The ledger was created (the record with sequence 1), changed or discarded."""

    ledger: int
    name: str
    description: str | None
    metadata: dict[str, str]
    discarded: bool


class AccountWritten(Record, tag=ACCOUNT_KIND, array_like=True, frozen=True, kw_only=True):
    """An account was opened (`account` is the record's own sequence), changed or discarded."""

    account: int
    name: str
    description: str | None
    currency: str
    currency_exponent: int
    normal_balance: str
    external_id: str | None
    ledgerable_type: str | None
    ledgerable_id: str | None
    metadata: dict[str, str]
    discarded: bool


class EntryRecord(msgspec.Struct, array_like=True, frozen=True):
    """One entry; its ordinal is its place in the list, from 1.

    `direction` is 0 for debit and 1 for credit; `lock_version` is None for an entry written as archived, which changes
    no account; `effective_at` is None where it is the transaction's.
    """

    account: int
    direction: int
    amount: str
    lock_version: int | None
    effective_at: int | None
    metadata: dict[str, str] | None


class TransactionWritten(Record, tag=TRANSACTION_KIND, array_like=True, frozen=True, kw_only=True):
    """A transaction was created (`transaction` is the record's own sequence) or changed: all its fields as of then.

    `entries` is None where the change kept those in force, or ended them without new ones (an archive).
    """

    transaction: int
    version: int
    status: str
    effective_at: int
    posted_at: int | None
    description: str | None
    external_id: str | None
    ledgerable_type: str | None
    ledgerable_id: str | None
    archived_reason: str | None
    reverses: int | None
    partially_posts: int | None
    metadata: dict[str, str]
    entries: list[EntryRecord] | None


class EntryAnnotated(Record, tag=ENTRY_KIND, array_like=True, frozen=True, kw_only=True):
    """The metadata of an entry was replaced; `entry_sequence` is that of the record that wrote the entry."""

    entry_sequence: int
    entry_ordinal: int
    metadata: dict[str, str]


AnyRecord = LedgerWritten | AccountWritten | TransactionWritten | EntryAnnotated

_encoder: Final = msgspec.msgpack.Encoder(order="sorted")
_decoder: Final = msgspec.msgpack.Decoder(AnyRecord)


def canonical_bytes(record: AnyRecord) -> bytes:
    """Return the bytes that stand for the record in the log, in its hash and in exports."""
    return _encoder.encode(record)


def kind_of(record: AnyRecord) -> int:
    """Return the number of a record's kind, with which its bytes begin."""
    kind = record.__struct_config__.tag
    assert isinstance(kind, int), "every kind is a number"
    return kind


def read_record(payload: bytes) -> Any:
    """Return the record that has these bytes.

    Raises:
        msgspec.DecodeError: they are no record.
    """
    return _decoder.decode(payload)

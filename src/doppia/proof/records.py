"""The records of a ledger's log and their canonical bytes.

A record is one MessagePack array: its kind, its position and time, who caused it, which event it is, then the fields of
its kind in the order of the classes below. MessagePack prefixes every text, array and map with its length, so no two
records share their bytes. To be canonical, every value takes its shortest form, map keys are in order of their bytes,
times are microseconds since 1970 in UTC, and amounts are decimal text, for they outgrow 64 bits. Any MessagePack
library reads them; docs/reference/log.md describes the fields.

The fields of a kind never change, for old bytes must stay canonical; what needs another field is a new kind.

The log alone rebuilds the ledger: what a record does not say (lock versions, running sums, which entries a rewritten
transaction discards) follows from the rules in `doppia.accounting`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

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
        event: what it tells those who follow the ledger, as `accounting.events` numbers it.
    """

    sequence: int
    recorded_at: int
    actor: bytes | None
    event: int


class Origin(NamedTuple):
    """The fields that every record begins with, as `Record` has them."""

    sequence: int
    recorded_at: int
    actor: bytes | None
    event: int


LEDGER_KIND: Final = 1
ACCOUNT_KIND: Final = 2
TRANSACTION_KIND: Final = 3
ENTRY_KIND: Final = 4
CATEGORY_KIND: Final = 5
ACCOUNT_CATEGORIES_KIND: Final = 6
CATEGORY_PARENTS_KIND: Final = 7
MONITOR_KIND: Final = 8
STATEMENT_KIND: Final = 9
SETTLEMENT_KIND: Final = 10
SETTLED_ENTRIES_KIND: Final = 11


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


STATUSES: Final = ("pending", "posted", "archived")


class TransactionWritten(Record, tag=TRANSACTION_KIND, array_like=True, frozen=True, kw_only=True):
    """A transaction was created (`transaction` is the record's own sequence) or changed: all its fields as of then.

    `status` is its place in `STATUSES`. `effective_at` is None where it is `recorded_at`. A posted transaction was
    posted at the time of the record that wrote its entries in force. `entries` is None where the change kept those, or
    ended them without new ones (an archive). `settlement` is that of the settlement whose amount the transaction moves.
    """

    transaction: int
    version: int
    status: int
    effective_at: int | None
    expires_at: int | None
    description: str | None
    external_id: str | None
    ledgerable_type: str | None
    ledgerable_id: str | None
    archived_reason: str | None
    reverses: int | None
    partially_posts: int | None
    settlement: int | None
    metadata: dict[str, str]
    entries: list[EntryRecord] | None


class EntryAnnotated(Record, tag=ENTRY_KIND, array_like=True, frozen=True, kw_only=True):
    """The metadata of an entry was replaced; `entry_sequence` is that of the record that wrote the entry."""

    entry_sequence: int
    entry_ordinal: int
    metadata: dict[str, str]


class CategoryWritten(Record, tag=CATEGORY_KIND, array_like=True, frozen=True, kw_only=True):
    """A category was created (`category` is the record's own sequence), changed, or discarded, which ends its edges."""

    category: int
    name: str
    description: str | None
    currency: str
    currency_exponent: int
    normal_balance: str
    external_id: str | None
    metadata: dict[str, str]
    discarded: bool


class AccountCategories(Record, tag=ACCOUNT_CATEGORIES_KIND, array_like=True, frozen=True, kw_only=True):
    """An account is directly in these categories from now on, in ascending order.

    `category` is the one that it came to or left; None where it was opened in them.
    """

    account: int
    category: int | None
    categories: list[int]


class CategoryParents(Record, tag=CATEGORY_PARENTS_KIND, array_like=True, frozen=True, kw_only=True):
    """A category is directly in these categories from now on, in ascending order."""

    category: int
    parents: list[int]


class MonitorWritten(Record, tag=MONITOR_KIND, array_like=True, frozen=True, kw_only=True):
    """A balance monitor was created (`monitor` is the record's own sequence), changed, crossed or discarded.

    `lock_version` is that of the account with which `triggered` is so; `value` is decimal text.
    """

    monitor: int
    account: int
    field: str
    operator: str
    value: str
    triggered: bool
    lock_version: int
    description: str | None
    metadata: dict[str, str]
    discarded: bool


class StatementWritten(Record, tag=STATEMENT_KIND, array_like=True, frozen=True, kw_only=True):
    """A statement was made of an account as of `lock_version`.

    The sums are decimal texts: posted credits, posted debits, pending credits, pending debits.
    """

    account: int
    lock_version: int
    effective_at_lower_bound: int
    effective_at_upper_bound: int
    starting_sums: list[str]
    ending_sums: list[str]
    description: str | None
    metadata: dict[str, str]


class SettlementWritten(Record, tag=SETTLEMENT_KIND, array_like=True, frozen=True, kw_only=True):
    """A settlement was created (`settlement` is the record's own sequence) or changed: all its fields as of then.

    From the record that says `archiving` or `archived` on, no entry belongs to it. `direction` is 0 for debit and 1 for
    credit; `amount` is decimal text.
    """

    settlement: int
    settled_account: int
    contra_account: int
    status: str
    becomes: str | None
    lock_version: int | None
    effective_at_upper_bound: int | None
    allow_either_direction: bool
    skip_transaction: bool
    transaction: int | None
    amount: str | None
    direction: int | None
    description: str | None
    metadata: dict[str, str]


class SettledEntries(Record, tag=SETTLED_ENTRIES_KIND, array_like=True, frozen=True, kw_only=True):
    """Entries came to a settlement, or left it while it was a draft; each is the sequence of the record that wrote it,
    times 1024, plus its ordinal, in ascending order.
    """

    settlement: int
    added: list[int]
    removed: list[int]


AnyRecord = (
    LedgerWritten
    | AccountWritten
    | TransactionWritten
    | EntryAnnotated
    | CategoryWritten
    | AccountCategories
    | CategoryParents
    | MonitorWritten
    | StatementWritten
    | SettlementWritten
    | SettledEntries
)

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


def object_of(record: AnyRecord) -> int:
    """Return the sequence of the record that created the object which a record is about; 1 is the ledger."""
    match record:
        case TransactionWritten():  # first, for a log is full of them
            return record.transaction
        case LedgerWritten():
            return 1
        case EntryAnnotated():
            return record.entry_sequence
        case AccountCategories():
            return record.account if record.category is None else record.category
        case AccountWritten():
            return record.account
        case CategoryWritten() | CategoryParents():
            return record.category
        case MonitorWritten():
            return record.monitor
        case StatementWritten():
            return record.sequence
        case _:
            return record.settlement


def read_record(payload: bytes) -> Any:
    """Return the record that has these bytes.

    Raises:
        msgspec.DecodeError: they are no record.
    """
    return _decoder.decode(payload)

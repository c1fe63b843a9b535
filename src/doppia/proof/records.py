"""The kinds of records of a ledger's log, and what each of them says.

A record has figures and texts. Its figures are the leaf of the tree over the log and never change: a MessagePack array
of the kind, then the fields of its class in their order, up to the last that is not nil. Its texts, in which people may
be named, are no part of the leaf: it commits to them by a hash, so that they can be erased while every figure, root and
proof holds. `doppia.proof.sealing` makes bytes of a record and a record of bytes; docs/reference/log.md describes both
field by field, and docs/adr/0021 says why.

A kind grows by a field that is appended to its figures, nil by default: bytes that were written before stay canonical,
for a nil at the end of an array is not written. In a class the figures come first, then the texts, then `salts`.

The log alone rebuilds the ledger: what a record does not say (lock versions, running sums, which entries a rewritten
transaction discards) follows from the rules in `doppia.accounting`.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

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

    Kinds with texts have two fields besides their own: `texts`, the hash by which the figures commit to the record's
    own texts, nil where it has none; and `salts`, the random bytes in each block of texts that is there, by the block's
    ordinal. Whoever writes a new record leaves both nil. A record that was read has salts, be they none, if it commits
    to any block; a block without a salt there is gone, and its texts read as erased.

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


class LedgerWritten(Record, tag=1, array_like=True, frozen=True, kw_only=True):
    """The ledger was created (the record with sequence 1), changed or discarded."""

    ledger: int
    discarded: bool
    texts: bytes | None = None

    name: str = ""
    description: str | None = None
    metadata: dict[str, str] = {}
    salts: dict[int, bytes] | None = None


class AccountWritten(Record, tag=2, array_like=True, frozen=True, kw_only=True):
    """An account was opened (`account` is the record's own sequence), changed or discarded."""

    account: int
    currency: str
    currency_exponent: int
    normal_balance: str
    discarded: bool
    texts: bytes | None = None

    name: str = ""
    description: str | None = None
    metadata: dict[str, str] = {}
    external_id: str | None = None
    ledgerable_type: str | None = None
    ledgerable_id: str | None = None
    salts: dict[int, bytes] | None = None


class EntryRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One entry; its ordinal is its place in the list, from 1.

    All four fields are always written. What only some entries have stands in fields of the record, by ordinal.
    `direction` is 0 for debit and 1 for credit; `lock_version` is None for an entry written as archived, which changes
    no account.
    """

    account: int
    direction: int
    amount: str
    lock_version: int | None


STATUSES: Final = ("pending", "posted", "archived")


class TransactionWritten(Record, tag=3, array_like=True, frozen=True, kw_only=True):
    """A transaction was created (`transaction` is the record's own sequence) or changed: all its fields as of then.

    `status` is its place in `STATUSES`. `effective_at` is None where it is `recorded_at`. A posted transaction was
    posted at the time of the record that wrote its entries in force. `entries` is None where the change kept those, or
    ended them without new ones (an archive). `settlement` is that of the settlement whose amount the transaction moves.

    By the ordinals of entries, in ascending order: `effective_times` of those that count at another time than the
    transaction, `entry_metadata` of those that have any, and `entry_texts`, the hashes by which the figures commit to
    that. None stands for an empty one.
    """

    transaction: int
    version: int
    status: int
    entries: list[EntryRecord] | None = None
    texts: bytes | None = None
    effective_at: int | None = None
    entry_texts: dict[int, bytes] | None = None
    effective_times: dict[int, int] | None = None
    expires_at: int | None = None
    settlement: int | None = None
    reverses: int | None = None
    partially_posts: int | None = None
    archived_reason: str | None = None

    description: str | None = None
    metadata: dict[str, str] = {}
    external_id: str | None = None
    ledgerable_type: str | None = None
    ledgerable_id: str | None = None
    entry_metadata: dict[int, dict[str, str]] | None = None
    salts: dict[int, bytes] | None = None


class EntryAnnotated(Record, tag=4, array_like=True, frozen=True, kw_only=True):
    """The metadata of an entry was replaced; `entry_sequence` is that of the record that wrote the entry."""

    entry_sequence: int
    entry_ordinal: int
    texts: bytes | None = None

    metadata: dict[str, str] = {}
    salts: dict[int, bytes] | None = None


class CategoryWritten(Record, tag=5, array_like=True, frozen=True, kw_only=True):
    """A category was created (`category` is the record's own sequence), changed, or discarded, which ends its edges."""

    category: int
    currency: str
    currency_exponent: int
    normal_balance: str
    discarded: bool
    texts: bytes | None = None

    name: str = ""
    description: str | None = None
    metadata: dict[str, str] = {}
    external_id: str | None = None
    salts: dict[int, bytes] | None = None


class AccountCategories(Record, tag=6, array_like=True, frozen=True, kw_only=True):
    """An account is directly in these categories from now on, in ascending order.

    `category` is the one that it came to or left; None where it was opened in them.
    """

    account: int
    categories: list[int]
    category: int | None = None


class CategoryParents(Record, tag=7, array_like=True, frozen=True, kw_only=True):
    """A category is directly in these categories from now on, in ascending order."""

    category: int
    parents: list[int]


class MonitorWritten(Record, tag=8, array_like=True, frozen=True, kw_only=True):
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
    discarded: bool
    texts: bytes | None = None

    description: str | None = None
    metadata: dict[str, str] = {}
    salts: dict[int, bytes] | None = None


class StatementWritten(Record, tag=9, array_like=True, frozen=True, kw_only=True):
    """A statement was made of an account as of `lock_version`.

    The sums are decimal texts: posted credits, posted debits, pending credits, pending debits.
    """

    account: int
    lock_version: int
    effective_at_lower_bound: int
    effective_at_upper_bound: int
    starting_sums: list[str]
    ending_sums: list[str]
    texts: bytes | None = None

    description: str | None = None
    metadata: dict[str, str] = {}
    salts: dict[int, bytes] | None = None


class SettlementWritten(Record, tag=10, array_like=True, frozen=True, kw_only=True):
    """A settlement was created (`settlement` is the record's own sequence) or changed: all its fields as of then.

    From the record that says `archiving` or `archived` on, no entry belongs to it. `direction` is 0 for debit and 1 for
    credit; `amount` is decimal text.
    """

    settlement: int
    settled_account: int
    contra_account: int
    status: str
    allow_either_direction: bool
    skip_transaction: bool
    lock_version: int | None = None
    effective_at_upper_bound: int | None = None
    amount: str | None = None
    direction: int | None = None
    transaction: int | None = None
    texts: bytes | None = None
    becomes: str | None = None

    description: str | None = None
    metadata: dict[str, str] = {}
    salts: dict[int, bytes] | None = None


class SettledEntries(Record, tag=11, array_like=True, frozen=True, kw_only=True):
    """Entries came to a settlement, or left it while it was a draft; each is the sequence of the record that wrote it,
    times 1024, plus its ordinal, in ascending order.
    """

    settlement: int
    added: list[int]
    removed: list[int]


class Redacted(Record, tag=12, array_like=True, frozen=True, kw_only=True):
    """Texts of earlier records were erased.

    `erased` numbers the blocks in ascending order: the sequence of the record, times 1024, plus the ordinal of the
    entry whose metadata it was, or 0 for the record's own texts. `reason` is a text itself.
    """

    erased: list[int]
    texts: bytes | None = None

    reason: str | None = None
    salts: dict[int, bytes] | None = None

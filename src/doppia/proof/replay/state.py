"""What a ledger comes to as its records are folded in order, what a record does, and what is wrong with one."""

from array import array
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import msgspec

from doppia.accounting.ids import ORDINAL_BITS, format_id
from doppia.accounting.ledger.monitors import AlertOperator, MonitoredField
from doppia.proof.records import microseconds

SumsAfter = tuple[int, int, int, int]
"""Posted credits, posted debits, pending credits, pending debits."""


class Fault(Exception):
    """The first record that is wrong.

    Attributes:
        sequence: its place in the log.
        sentence: what is wrong with it, naming by id what it is about.
    """

    def __init__(self, sequence: int, sentence: str) -> None:
        super().__init__(f"record {sequence}: {sentence}")
        self.sequence = sequence
        self.sentence = sentence


class WrittenEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry that a record wrote.

    Attributes:
        number: the record's sequence, times 1024, plus the entry's ordinal in it.
        transaction, account: their sequences.
        lock_version: of the account with the entry; None for one written as archived, which changes nothing.
        effective_at: microseconds.
        direction: 0 is debit, 1 is credit.
        status: its place in `records.STATUSES`.
        sums: of the account after the entry; None where lock_version is.
    """

    number: int
    transaction: int
    account: int
    lock_version: int | None
    effective_at: int
    direction: int
    status: int
    amount: int
    sums: SumsAfter | None
    metadata: dict[str, str] | None


class Ended(NamedTuple):
    """A pending entry that a record discarded.

    Attributes:
        number: of the entry.
        lock_version: of the account with the discard.
        sums: of the account after it; None where a new entry of the same record takes the step, and has them.
    """

    number: int
    account: int
    lock_version: int
    sums: SumsAfter | None


class Effects(msgspec.Struct, frozen=True):
    """What a record did: entries in the order of their ordinals, and ended ones in the order of their numbers."""

    entries: list[WrittenEntry]
    ended: list[Ended]


NO_EFFECTS: Final = Effects([], [])


class AccountState(msgspec.Struct):
    """An account as it stands.

    Attributes:
        unit: its currency and the exponent, as one text.
        sums: posted credits, posted debits, pending credits, pending debits.
        pending_entries: how many are in force.
        categories: those that it is directly in.
    """

    unit: str
    normal_balance: str
    is_open: bool = True
    lock_version: int = 0
    sums: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0, 0])
    pending_entries: int = 0
    categories: list[int] = []


class EntryInForce(NamedTuple):
    """A pending entry: what its end takes back."""

    number: int
    account: int
    direction: int
    amount: int


class PendingTransaction(msgspec.Struct):
    """A transaction that is still pending: what the next change of it is measured against."""

    version: int
    effective_at: int
    expires_at: int | None
    reverses: int | None
    settlement: int | None
    entries: list[EntryInForce]


class CategoryState(msgspec.Struct):
    """A category as it stands: `parents` are those that it is directly in, `children` those directly in it."""

    unit: str
    normal_balance: str
    is_open: bool = True
    parents: list[int] = []
    children: list[int] = []


class MonitorState(msgspec.Struct):
    """A monitor as it stands."""

    account: int
    field: MonitoredField
    operator: AlertOperator
    value: int
    is_triggered: bool
    is_open: bool = True


class SettlementState(msgspec.Struct):
    """A settlement as it stands, and the numbers of its entries."""

    settled_account: int
    contra_account: int
    status: str
    lock_version: int | None
    effective_at_upper_bound: int | None
    transaction: int | None
    amount: str | None
    direction: int | None
    allows_either_direction: bool
    skips_transaction: bool
    entries: set[int]


# What is kept of each record that is past, in one integer: for a transaction that it created the status plus one and
# whether a reversal of it counts; how many entries it wrote; of a transaction it created the newest version, as far as
# the bits reach; when it was recorded, in seconds.
STATUS_MASK: Final = 0b11
REVERSED: Final = 0b100
ENTRIES_SHIFT: Final = 3
ENTRIES_MASK: Final = 1023
VERSION_SHIFT: Final = 13
VERSION_MASK: Final = (1 << 19) - 1
SECONDS_SHIFT: Final = 32

RECORDED_AT_END: Final = 1_000_000 << 64 - SECONDS_SHIFT
"""Before which records are made, in microseconds: ids have no place for later seconds."""

_SEQUENCE_END: Final = 1 << 58 - ORDINAL_BITS
"""Before which records are numbered that ids have a place for."""

_TIME_MIN: Final = microseconds(datetime.min.replace(tzinfo=UTC))
_TIME_MAX: Final = microseconds(datetime.max.replace(tzinfo=UTC))


if TYPE_CHECKING:
    Facts = array[int]
else:
    Facts = array


class State(msgspec.Struct, kw_only=True):
    """A ledger after the records up to `sequence`: eight bytes for each record, and what has not come to its end.

    Attributes:
        ledger: its number.
        recorded_at: of the last record, in microseconds.
        facts: for each record, see above; that of record 0 is nothing.
        pending: transactions by sequence.
        monitors_of: the monitors of an account that are not discarded.
        settled: entries in a settlement, by number.
        touched: monitored accounts that the last command changed, whose crossings are still to come.
        lowered: the hold that the last record rewrote, and what it then held less, by account and direction.
        outstanding: blocks of texts that are gone and that no redaction has named yet, by number.
    """

    ledger: int
    sequence: int = 0
    recorded_at: int = 0
    is_discarded: bool = False
    facts: Facts = msgspec.field(default_factory=lambda: array("Q", [0]))
    accounts: dict[int, AccountState] = {}
    pending: dict[int, PendingTransaction] = {}
    categories: dict[int, CategoryState] = {}
    monitors: dict[int, MonitorState] = {}
    monitors_of: dict[int, list[int]] = {}
    settlements: dict[int, SettlementState] = {}
    settled: dict[int, int] = {}
    touched: list[int] = []
    lowered: tuple[int, dict[str, int]] | None = None
    outstanding: set[int] = set()

    def id_of(self, sequence: int, ordinal: int = 0, created: int = -1) -> str:
        """Return the id of what a record created, be it the newest.

        Where there is no such record, it is that of what says that it was `created` then, in seconds; and the number
        of the record where nothing does.
        """
        if 0 < sequence < len(self.facts):
            created = self.facts[sequence] >> SECONDS_SHIFT
        if not 0 < sequence < _SEQUENCE_END or not 0 <= created < RECORDED_AT_END // 1_000_000:
            return f"number {sequence}"
        return format_id(created, self.ledger, sequence, ordinal)

    def entry_id(self, number: int, created: int = -1) -> str:
        """Return the id of an entry, as `id_of` does."""
        return self.id_of(number >> ORDINAL_BITS, number & (1 << ORDINAL_BITS) - 1, created)

    def is_entry(self, number: int) -> bool:
        """Say whether an entry of this number was written."""
        sequence, ordinal = number >> ORDINAL_BITS, number & (1 << ORDINAL_BITS) - 1
        if not 0 < sequence < len(self.facts):
            return False
        return 0 < ordinal <= self.facts[sequence] >> ENTRIES_SHIFT & ENTRIES_MASK

    def status_of(self, transaction: int) -> int | None:
        """Return the status of a transaction as its place in `records.STATUSES`; None where there is none."""
        known = 0 < transaction < len(self.facts) and self.facts[transaction] & STATUS_MASK
        return known - 1 if known else None

    def check_times(self, whose: str, *times: int | None) -> None:
        """Ask that times, in microseconds, are of the years 1 to 9999, and neither end of them.

        The database's driver takes the ends for minus and plus infinity.

        Raises:
            Fault.
        """
        for time in times:
            if time is not None and not _TIME_MIN < time < _TIME_MAX:
                self.fail(f"{whose} has the time {time}, which is beyond the calendar")

    def fail(self, sentence: str) -> NoReturn:
        """Refuse the record that is being applied.

        Raises:
            Fault.
        """
        raise Fault(self.sequence, sentence)


def to_plain(state: State) -> Any:
    """Return a state as what JSON can hold."""
    return msgspec.to_builtins(state, enc_hook=lambda facts: facts.tobytes().hex(), str_keys=True)


def from_plain(told: Any) -> State:
    """Return the state that `to_plain` told of."""
    return msgspec.convert(told, State, strict=False, dec_hook=lambda _, text: array("Q", bytes.fromhex(text)))

"""The kinds of records, one row each: whatever differs from kind to kind, and is no function of a higher layer.

Exchange, limits, replay, verification, import, events and SQL read this table. A layer that needs a function of its own
for each kind keeps one mapping by the names of the kinds, beside those functions; a test asks that it has them all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from doppia.accounting.ledger.balances import Sums
from doppia.accounting.platform.events import Event
from doppia.proof.records import (
    AccountCategories,
    AccountWritten,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    LedgerWritten,
    MonitorWritten,
    Record,
    Redacted,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
    TransactionWritten,
    moment,
)
from doppia.proof.replay import subjects, texts, transactions
from doppia.proof.replay.state import Effects, State

Column = Callable[[Any], Any]
"""Returns what a column must hold by the newest record about its row."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A kind of record.

    Attributes:
        name: of the kind in lines of an export; in upper case, and `_KIND` behind it, it stands for the number in SQL.
        type: of its records.
        about: returns the sequence of the record that created the object which a record is about; 1 is the ledger.
        replay: folds a record into a ledger, and says what it did to entries; None where it can do nothing to any.
        events: what a record tells on the wire, by its event: the resource, and the event's name.
        texts: fields that are erasable, in the order in which they stand in the record's own block. New ones are
            appended. The metadata of entries stands in blocks of their own.
        objects: what its records create, as the queries and counts of store/log/verification.sql call it; None where
            they create no rows that are counted.
        columns: of the rows that query reads, each with what it must hold; none where rows are compared otherwise.
        number: with which its canonical bytes begin; that of its type.
    """

    name: str
    type: type[Record]
    about: Callable[[Any], int]
    replay: Callable[[State, Any], Effects | None]
    events: Mapping[Event, tuple[str, str]]
    texts: tuple[str, ...] = ()
    objects: str | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    number: int = field(init=False)

    def __post_init__(self) -> None:
        number = self.type.__struct_config__.tag
        assert isinstance(number, int), "every kind has a number"
        object.__setattr__(self, "number", number)


def _of(resource: str, *events: Event) -> dict[Event, tuple[str, str]]:
    """Return events that are told by their own names."""
    return {event: (resource, event.name.lower()) for event in events}


def _same(*names: str) -> dict[str, Column]:
    """Return columns that hold what the record's field of the same name says."""
    return {name: attrgetter(name) for name in names}


def _time(name: str) -> Column:
    """Return a column that holds the time which a field tells in microseconds."""
    return lambda record: None if getattr(record, name) is None else moment(getattr(record, name))


def _discarded_at(record: Any) -> Any:
    return moment(record.recorded_at) if record.discarded else None


_CHANGES: Final = (Event.CREATED, Event.UPDATED, Event.DISCARDED)
_LIFE: Final[dict[str, Column]] = {"discarded_at": _discarded_at, "updated_at": _time("recorded_at")}
_UNIT: Final = ("currency", "currency_exponent", "normal_balance")


def _sums(field_name: str, prefix: str) -> dict[str, Column]:
    """Return the columns of four sums that a record tells as a list of decimal texts."""

    def column(place: int) -> Column:
        return lambda record: int(getattr(record, field_name)[place])

    return {f"{prefix}_{name}": column(place) for place, name in enumerate(Sums._fields)}


KINDS: Final = (
    Kind(
        "ledger",
        LedgerWritten,
        about=lambda _: 1,
        replay=subjects.ledger,
        events=_of("ledger", *_CHANGES),
        texts=("name", "description", "metadata"),
        objects="ledger",
        columns=_same("name", "description", "metadata") | _LIFE,
    ),
    Kind(
        "account",
        AccountWritten,
        about=attrgetter("account"),
        replay=subjects.account,
        events=_of("ledger_account", *_CHANGES),
        texts=("name", "description", "metadata", "external_id", "ledgerable_type", "ledgerable_id"),
        objects="accounts",
        columns=_same(
            "name", "description", *_UNIT, "external_id", "ledgerable_type", "ledgerable_id", "metadata"
        ) | _LIFE,
    ),
    Kind(
        "transaction",
        TransactionWritten,
        about=attrgetter("transaction"),
        replay=transactions.transaction,
        events=_of("ledger_transaction", Event.CREATED, Event.UPDATED, Event.POSTED, Event.ARCHIVED),
        texts=("description", "metadata", "external_id", "ledgerable_type", "ledgerable_id"),
        objects="transactions",
        # Its rows and those of entries are compared hundreds at once: store/log/verification.py.
    ),
    Kind(
        "entry",
        EntryAnnotated,
        about=attrgetter("entry_sequence"),
        replay=subjects.entry_annotated,
        events=_of("ledger_entry", Event.UPDATED),
        texts=("metadata",),
    ),
    Kind(
        "category",
        CategoryWritten,
        about=attrgetter("category"),
        replay=subjects.category,
        events=_of("ledger_account_category", *_CHANGES),
        texts=("name", "description", "metadata", "external_id"),
        objects="categories",
        columns=_same("name", "description", *_UNIT, "external_id", "metadata") | _LIFE,
    ),
    Kind(
        "account_categories",
        AccountCategories,
        about=lambda record: record.account if record.category is None else record.category,
        replay=subjects.account_categories,
        # Where an account comes or goes, the category changes. One that is opened in categories is there from the
        # start, and that it is tells of the account, after that it was created.
        events=_of("ledger_account_category", Event.UPDATED) | {Event.CREATED: ("ledger_account", "updated")},
    ),
    Kind(
        "category_parents",
        CategoryParents,
        about=attrgetter("category"),
        replay=subjects.category_parents,
        events=_of("ledger_account_category", Event.UPDATED),
    ),
    Kind(
        "monitor",
        MonitorWritten,
        about=attrgetter("monitor"),
        replay=subjects.monitor,
        events=_of("ledger_account_balance_monitor", *_CHANGES, Event.TRIGGERED, Event.RESOLVED),
        texts=("description", "metadata"),
        objects="monitors",
        columns=_same("field", "operator", "value", "description", "metadata")
        | {"account_sequence": attrgetter("account"), "is_triggered": attrgetter("triggered")}
        | _LIFE,
    ),
    Kind(
        "statement",
        StatementWritten,
        about=attrgetter("sequence"),
        replay=subjects.statement,
        events=_of("ledger_account_statement", Event.CREATED),
        texts=("description", "metadata"),
        objects="statements",
        columns=_same("lock_version", "description", "metadata")
        | {
            "account_sequence": attrgetter("account"),
            "effective_at_lower_bound": _time("effective_at_lower_bound"),
            "effective_at_upper_bound": _time("effective_at_upper_bound"),
        }
        | _sums("starting_sums", "starting")
        | _sums("ending_sums", "ending")
        | {"is_sum": lambda _: True},
    ),
    Kind(
        "settlement",
        SettlementWritten,
        about=attrgetter("settlement"),
        replay=subjects.settlement,
        events=_of(
            "ledger_account_settlement",
            Event.CREATED,
            Event.UPDATED,
            Event.POSTED,
            Event.FINISH_PROCESSING,
            Event.FINISH_ARCHIVING,
        ),
        texts=("description", "metadata"),
        objects="settlements",
        columns=_same(
            "status", "becomes", "lock_version", "allow_either_direction", "skip_transaction", "direction",
            "description", "metadata",
        )
        | {
            "settled_account_sequence": attrgetter("settled_account"),
            "contra_account_sequence": attrgetter("contra_account"),
            "effective_at_upper_bound": _time("effective_at_upper_bound"),
            "transaction_sequence": attrgetter("transaction"),
            "amount": lambda record: None if record.amount is None else int(record.amount),
        },
    ),
    Kind(
        "settled_entries",
        SettledEntries,
        about=attrgetter("settlement"),
        replay=subjects.settled_entries,
        events=_of("ledger_account_settlement", Event.UPDATED),
    ),
    Kind(
        "redaction",
        Redacted,
        about=attrgetter("sequence"),
        replay=texts.redaction,
        events=_of("ledger_redaction", Event.CREATED),
        texts=("reason",),
    ),
)  # fmt: skip

BY_TYPE: Final[Mapping[Any, Kind]] = {kind.type: kind for kind in KINDS}
BY_NUMBER: Final[Mapping[int, Kind]] = {kind.number: kind for kind in KINDS}
NUMBERS: Final[Mapping[str, int]] = {kind.name: kind.number for kind in KINDS}
"""The number of each kind by its name."""


def kind_of(record: Record) -> Kind:
    """Return the kind of a record."""
    return BY_TYPE[type(record)]

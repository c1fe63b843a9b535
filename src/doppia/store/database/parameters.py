"""What lists may be asked for: each parameter is one row, which the API reads from a query string and the store turns
into SQL.

A row stands in the table of its list, beside the functions that read the list; its condition is the filter of the same
name in the list's `.sql`.
"""

from enum import Enum, auto
from typing import Any, Final, NamedTuple

COMPARISONS: Final = ("gt", "gte", "lt", "lte", "eq")


class Type(Enum):
    """The type of a value. `api/http/lists.py` says how each is written and read."""

    TEXT = auto()
    WORD = auto()
    ID = auto()
    UUID = auto()
    BOOLEAN = auto()
    AMOUNT = auto()
    VERSION = auto()
    TIME = auto()
    DATE = auto()
    METADATA = auto()
    BALANCES = auto()


class Value(NamedTuple):
    """What a parameter takes.

    Attributes:
        type: the type of one value.
        names: the words that are allowed; of an id, the kinds of objects that it may name.
        many: whether the parameter may be repeated, for any of several values; its condition then takes an array.
        comparisons: the comparisons that it takes as NAME[comparison]; its condition then has an {operator}.
    """

    type: Type
    names: tuple[str, ...] = ()
    many: bool = False
    comparisons: tuple[str, ...] = ()


def words(*allowed: str) -> Value:
    """Return the value that is one of these words."""
    return Value(Type.WORD, allowed)


def id_of(*objects: str) -> Value:
    """Return the value that is the id of an object of one of these kinds."""
    return Value(Type.ID, objects)


def several(value: Value) -> Value:
    """Return the value that may be repeated, for any of several."""
    return value._replace(many=True)


TEXT: Final = Value(Type.TEXT)
BOOLEAN: Final = Value(Type.BOOLEAN)
VERSION: Final = Value(Type.VERSION)
METADATA: Final = Value(Type.METADATA)
ANY_UUID: Final = Value(Type.UUID)
MOMENT: Final = Value(Type.TIME)
TIME: Final = MOMENT._replace(comparisons=COMPARISONS)
DATE: Final = Value(Type.DATE, comparisons=COMPARISONS)
VERSIONS: Final = VERSION._replace(comparisons=COMPARISONS)
AMOUNT: Final = Value(Type.AMOUNT, comparisons=COMPARISONS)
BALANCE_AMOUNT: Final = AMOUNT._replace(comparisons=(*COMPARISONS, "not_eq"))
DIRECTION: Final = words("credit", "debit")
STATUS: Final = several(words("pending", "posted", "archived"))
ORDER_BY: Final = words("asc", "desc")._replace(comparisons=("created_at", "effective_at"))
BALANCES: Final = Value(Type.BALANCES)
"""The balances of another time. The API reads them by rules of its own, for each of the forms takes another type."""


class Reach(Enum):
    """Where the rows lie that a condition admits. A walk of a list says beside which of these it may be taken.

    Members:
        FEW: an index has the rows of each value together, and they are few: they are read and sorted in any order.
        LEDGER_INDEX: an index over the ledger has the rows together; they may be many. An account has no such index.
        ALONG_LEDGER: anywhere, and the condition is dear: it is asked of row after row, along the ledger.
        ACCOUNT: along one account.
        EFFECTIVE_TIME: where the bounds of effective_at are, in an index over the ledger or along an account.
        ANYWHERE: anywhere, and the condition is cheap: it is asked of each row that a walk comes by.
        UNSAID: the parameter is no condition on rows, or stands for conditions whose own rows say where theirs lie.
    """

    FEW = auto()
    LEDGER_INDEX = auto()
    ALONG_LEDGER = auto()
    ACCOUNT = auto()
    EFFECTIVE_TIME = auto()
    ANYWHERE = auto()
    UNSAID = auto()


class Plan(Enum):
    """Whether the server may keep one plan for all values of a condition.

    Members:
        KEPT: one plan serves all values.
        BY_VALUE: the value decides by which index a page is best found. A plan that is kept would walk a whole ledger
            for a rare value, so each page is planned anew.
    """

    KEPT = auto()
    BY_VALUE = auto()


class Parameter(NamedTuple):
    """One row: what a list may be asked for, and what that does for how the list is read.

    Attributes:
        name: the name on the wire.
        value: what it takes; None where callers can't ask for it, and the store puts it in the place of another.
        reach: where the rows lie that it admits.
        plan: whether one plan serves all its values.
        conditions: the names of the conditions that it stands for; None stands for the condition of its own name. Of a
            parameter that takes several ids, the last condition compares whole ids, and those before it compare the
            keys that an index has.
        instead_of: name and value of a filter whose place it takes, because there is an index for that value alone.
    """

    name: str
    value: Value | None
    reach: Reach
    plan: Plan
    conditions: tuple[str, ...] | None = None
    instead_of: tuple[str, Any] | None = None

    def condition_names(self) -> tuple[str, ...]:
        """Return the names of the conditions that it stands for."""
        return (self.name,) if self.conditions is None else self.conditions


def unfiltered(name: str, value: Value, *conditions: str) -> Parameter:
    """Return a parameter that is no condition on rows, or that stands for conditions which have rows of their own."""
    return Parameter(name, value, Reach.UNSAID, Plan.KEPT, conditions)

"""The tree of refusals: its root, its branches in the order of precedence, and a drawing of the whole.

    LedgerError
    ├── Unreadable              the request can't be understood
    │   ├── InvalidJson
    │   ├── WrongContentType
    │   ├── BodyTooLarge
    │   └── MethodNotAllowed
    ├── Unauthorized            nobody we know
    │   ├── KeyMissing
    │   └── KeyInvalid
    ├── Forbidden               somebody we know, who may not
    │   └── RoleInsufficient
    ├── Invalid                 understood, but out of shape
    │   ├── ParameterMissing
    │   ├── ParameterUnknown
    │   ├── ParameterInvalid
    │   ├── AmountOutOfRange
    │   ├── InvalidCurrency
    │   ├── InvalidText
    │   ├── MetadataTooLarge
    │   ├── InvalidCursor
    │   ├── TooFewEntries
    │   ├── TooManyEntries
    │   ├── OneSided
    │   ├── MixedLedgers
    │   ├── AmbiguousExternalId
    │   └── TooManyItems
    ├── NotFound                names a thing that isn't there, or isn't the caller's
    │   ├── RouteNotFound
    │   └── ObjectNotFound
    ├── Conflict                at odds with an earlier request
    │   ├── IdempotencyKeyReused
    │   └── ExternalIdTaken
    ├── Refused                 well formed, and a rule says no
    │   ├── LedgerDiscarded
    │   ├── AccountDiscarded
    │   ├── AccountNotEmpty
    │   ├── ObjectDiscarded
    │   ├── PurgeNotConfirmed
    │   ├── TransactionFinal
    │   ├── TransactionExpired
    │   ├── TransactionOfSettlement
    │   ├── NotReversible
    │   ├── AlreadyReversed
    │   ├── NotPartiallyPostable
    │   ├── Unbalanced
    │   ├── LockVersionMismatch
    │   ├── BalanceLockFailed
    │   ├── CategoryLockFailed
    │   ├── CurrencyMismatch
    │   ├── CategoryCycle
    │   ├── CategoryTooDeep
    │   ├── TooManyCategories
    │   ├── TooManyMonitors
    │   ├── SettlementFinal
    │   ├── SettlementNegative
    │   ├── EntryNotSettleable
    │   ├── EntrySettled
    │   ├── BatchRefused
    │   └── NothingToRedact
    └── TryAgain                nothing wrong with the request; the service can't answer now
        ├── Overloaded
        ├── Unavailable
        └── OutcomeUnknown

Within a branch, each rule names the order of its own refusals; see `decide` in accounting/ledger/transactions.py.

A refusal changes nothing: no record is written and no idempotency key is consumed. `OutcomeUnknown` is an exception:
the write may have happened, and a caller learns whether it did by repeating it with the same idempotency key.
"""

from dataclasses import dataclass, fields
from string import Formatter
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(eq_default=False, kw_only_default=True)
@dataclass(eq=False, kw_only=True)
class LedgerError(Exception):
    """The root of all refusals. Each class below it becomes a dataclass by itself, with its fields as named arguments.

    Attributes:
        code: the name of the refusal for programs. It never changes once it is released. A branch of the tree has none.
        message: a sentence for a person that says what was wrong, where, and what would be right; fields stand in it in
            braces. A class whose sentence needs more than that has a `__str__` of its own instead.
        retryable: whether the same request, unchanged, may succeed later.
        nullable: the names of typed fields that `details` gives as None where the value is too long to repeat.
        parameter: the place in the request that is wrong, such as "ledger_entries[1].amount"; None where it is the
            whole request.
    """

    code: ClassVar[str]
    message: ClassVar[str]
    retryable: ClassVar[bool] = False
    nullable: ClassVar[frozenset[str]] = frozenset()
    parameter: str | None = None

    def __init_subclass__(cls, *, code: str = "") -> None:
        super().__init_subclass__()
        dataclass(eq=False, kw_only=True)(cls)
        if code:
            cls.code = code
        # A misspelt field in a message fails here, when the program starts, and not when a caller is refused.
        if "message" in vars(cls):
            named = {name.partition("[")[0] for _, name, _, _ in Formatter().parse(cls.message) if name is not None}
            assert named <= {field.name for field in fields(cls)}, f"{cls.__name__}.message"

    def __str__(self) -> str:
        """Return a sentence for a person that says what was wrong, where, and what would be right."""
        return self.message.format_map(vars(self))

    def details(self) -> dict[str, Any]:
        """Return the typed fields of this refusal, without `parameter`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "parameter"}


class Unreadable(LedgerError):
    """The request can't be understood."""


class Unauthorized(LedgerError):
    """The caller is nobody we know."""


class Forbidden(LedgerError):
    """The caller is known and may not do this."""


class Invalid(LedgerError):
    """The request is understood, but out of shape."""


class NotFound(LedgerError):
    """The request names a thing that isn't there, or isn't the caller's: both are answered alike."""


class Conflict(LedgerError):
    """The request is at odds with an earlier one."""


class Refused(LedgerError):
    """The request is well formed, and a rule says no."""


class TryAgain(LedgerError):
    """The service can't answer now; nothing is wrong with the request."""

    retryable = True


def refusal_of(code: str, values: dict[str, Any]) -> LedgerError:
    """Return the refusal that has this code, with these values of its fields."""
    waiting: list[type[LedgerError]] = [LedgerError]
    while waiting:
        class_ = waiting.pop()
        if vars(class_).get("code") == code:
            return class_(**values)
        waiting += class_.__subclasses__()
    raise AssertionError(f"no refusal has the code {code}")

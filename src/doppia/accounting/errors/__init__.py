"""Every refusal. `tree` draws them all and says what they have in common; the other modules hold them by topic.

Pages and tables that are made from the refusals follow the order of these imports, so it is that of the drawing.
"""

# isort: off
from doppia.accounting.errors.tree import (
    Conflict as Conflict,
    Forbidden as Forbidden,
    Invalid as Invalid,
    LedgerError as LedgerError,
    NotFound as NotFound,
    Refused as Refused,
    TryAgain as TryAgain,
    Unauthorized as Unauthorized,
    Unreadable as Unreadable,
    refusal_of as refusal_of,
)
from doppia.accounting.errors.requests import (
    AmountOutOfRange as AmountOutOfRange,
    BodyTooLarge as BodyTooLarge,
    IdempotencyKeyReused as IdempotencyKeyReused,
    InvalidCurrency as InvalidCurrency,
    InvalidCursor as InvalidCursor,
    InvalidJson as InvalidJson,
    InvalidText as InvalidText,
    KeyInvalid as KeyInvalid,
    KeyMissing as KeyMissing,
    MetadataTooLarge as MetadataTooLarge,
    MethodNotAllowed as MethodNotAllowed,
    ObjectNotFound as ObjectNotFound,
    ParameterInvalid as ParameterInvalid,
    ParameterMissing as ParameterMissing,
    ParameterUnknown as ParameterUnknown,
    RoleInsufficient as RoleInsufficient,
    RouteNotFound as RouteNotFound,
    WrongContentType as WrongContentType,
)
from doppia.accounting.errors.ledger import (
    AccountDiscarded as AccountDiscarded,
    AccountNotEmpty as AccountNotEmpty,
    AlreadyReversed as AlreadyReversed,
    AmbiguousExternalId as AmbiguousExternalId,
    BalanceLockFailed as BalanceLockFailed,
    CategoryCycle as CategoryCycle,
    CategoryLockFailed as CategoryLockFailed,
    CategoryTooDeep as CategoryTooDeep,
    CurrencyMismatch as CurrencyMismatch,
    ExternalIdTaken as ExternalIdTaken,
    LedgerDiscarded as LedgerDiscarded,
    LockVersionMismatch as LockVersionMismatch,
    MixedLedgers as MixedLedgers,
    NotPartiallyPostable as NotPartiallyPostable,
    NotReversible as NotReversible,
    ObjectDiscarded as ObjectDiscarded,
    OneSided as OneSided,
    PurgeNotConfirmed as PurgeNotConfirmed,
    TooFewEntries as TooFewEntries,
    TooManyCategories as TooManyCategories,
    TooManyEntries as TooManyEntries,
    TooManyMonitors as TooManyMonitors,
    TransactionExpired as TransactionExpired,
    TransactionFinal as TransactionFinal,
    TransactionOfSettlement as TransactionOfSettlement,
    Unbalanced as Unbalanced,
)
from doppia.accounting.errors.closing import (
    EntryNotSettleable as EntryNotSettleable,
    EntrySettled as EntrySettled,
    SettlementFinal as SettlementFinal,
    SettlementNegative as SettlementNegative,
)
from doppia.accounting.errors.platform import (
    BatchRefused as BatchRefused,
    NothingToRedact as NothingToRedact,
    OutcomeUnknown as OutcomeUnknown,
    Overloaded as Overloaded,
    TooManyItems as TooManyItems,
    Unavailable as Unavailable,
)

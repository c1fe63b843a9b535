"""Every refusal, as a tree, its branches in order of precedence; `decide` says the exact order of its own.

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
    │   └── BatchRefused
    └── TryAgain                nothing wrong with the request; the service can't answer now
        ├── Overloaded
        ├── Unavailable
        └── OutcomeUnknown

A refusal changes nothing: no record is written, no idempotency key consumed. `OutcomeUnknown` alone is no refusal: the
write may have happened, and repeating it with the same idempotency key tells.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

from doppia.accounting.ids import LedgerId


@dataclass(eq=False, kw_only=True)
class LedgerError(Exception):
    """Root of all refusals.

    Attributes:
        code: stable name for programs; never changes once released.
        parameter: where in the request the trouble is, such as "ledger_entries[1].amount"; None where it is the whole.
        retryable: whether the same request may succeed later, unchanged.
    """

    code: ClassVar[str]
    retryable: ClassVar[bool] = False
    parameter: str | None = None

    def __str__(self) -> str:
        """Say for a person what was wrong, where, and what would be right."""
        return self.code

    def details(self) -> dict[str, Any]:
        """Return the typed fields of this refusal, without `parameter`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "parameter"}


class Unreadable(LedgerError):
    """The request can't be understood."""


@dataclass(eq=False, kw_only=True)
class InvalidJson(Unreadable):
    """The body is no JSON. Send one JSON object in UTF-8."""

    code = "invalid_json"
    reason: str

    def __str__(self) -> str:
        return f"The body is not valid JSON: {self.reason}."


@dataclass(eq=False, kw_only=True)
class WrongContentType(Unreadable):
    """The body is declared as something other than JSON. Send `Content-Type: application/json`."""

    code = "wrong_content_type"
    content_type: str

    def __str__(self) -> str:
        return f"The body is declared as {self.content_type!r}; send it as application/json."


@dataclass(eq=False, kw_only=True)
class BodyTooLarge(Unreadable):
    """The body is over the limit. Split the request."""

    code = "body_too_large"
    size_bytes_max: int

    def __str__(self) -> str:
        return f"The body is larger than {self.size_bytes_max:,} bytes, the limit for one request."


@dataclass(eq=False, kw_only=True)
class MethodNotAllowed(Unreadable):
    """The route exists, but not with this method."""

    code = "method_not_allowed"
    method: str
    allowed: list[str]

    def __str__(self) -> str:
        return f"This route does not take {self.method}; it takes {', '.join(self.allowed)}."


class Unauthorized(LedgerError):
    """The caller is nobody we know."""


class KeyMissing(Unauthorized):
    """No API key came with the request, or none that can be read."""

    code = "key_missing"

    def __str__(self) -> str:
        return (
            "No API key was sent. Send HTTP Basic with organization_id:api_key, Basic with the key as user name, "
            "or 'Authorization: Bearer' with the key."
        )


class KeyInvalid(Unauthorized):
    """The API key is unknown, revoked, or of another organization than the one named."""

    code = "key_invalid"

    def __str__(self) -> str:
        return "The API key is unknown or revoked, or does not belong to the organization named with it."


class Forbidden(LedgerError):
    """The caller is known and may not do this."""


@dataclass(eq=False, kw_only=True)
class RoleInsufficient(Forbidden):
    """The key's role does not allow this. Use a key with the role named."""

    code = "role_insufficient"
    role: str
    role_needed: str

    def __str__(self) -> str:
        return f"This needs a key with the role {self.role_needed!r}; yours has {self.role!r}."


class Invalid(LedgerError):
    """The request is understood, but out of shape."""


@dataclass(eq=False, kw_only=True)
class ParameterMissing(Invalid):
    """A required parameter is missing."""

    code = "parameter_missing"

    def __str__(self) -> str:
        return f"{self.parameter} is required and missing."


@dataclass(eq=False, kw_only=True)
class ParameterUnknown(Invalid):
    """A parameter or filter that this route does not have, most often a misspelling."""

    code = "parameter_unknown"
    suggestion: str | None = None

    def __str__(self) -> str:
        hint = f" Did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{self.parameter} is not a parameter of this route.{hint}"


@dataclass(eq=False, kw_only=True)
class ParameterInvalid(Invalid):
    """A parameter has a value that it can't have."""

    code = "parameter_invalid"
    reason: str

    def __str__(self) -> str:
        return f"{self.parameter or 'The body'} {self.reason}."


@dataclass(eq=False, kw_only=True)
class AmountOutOfRange(Invalid):
    """An amount is below 0 or above 10^36. The direction of an entry carries the sign."""

    code = "amount_out_of_range"
    amount: int

    def details(self) -> dict[str, Any]:
        """Return the amount, or None where it is too long to repeat."""
        return {"amount": self.amount if abs(self.amount) < 10**40 else None}

    def __str__(self) -> str:
        shown = self.details()["amount"] or "a number of more than 40 digits"
        return f"{self.parameter} is {shown}; an amount is a whole number of minor units from 0 to 10^36."


@dataclass(eq=False, kw_only=True)
class InvalidCurrency(Invalid):
    """A currency code or exponent that can't be."""

    code = "invalid_currency"
    currency: str
    reason: str
    parameter: str | None = "currency"

    def __str__(self) -> str:
        return f"The currency {self.currency!r} is refused: {self.reason}."


@dataclass(eq=False, kw_only=True)
class InvalidText(Invalid):
    """A text is too long, or holds a NUL or a lone surrogate, which no database stores."""

    code = "invalid_text"
    reason: str

    def __str__(self) -> str:
        return f"{self.parameter or 'The body'} {self.reason}."


@dataclass(eq=False, kw_only=True)
class MetadataTooLarge(Invalid):
    """Metadata holds too many pairs, or a key or value is too long."""

    code = "metadata_too_large"
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.parameter} {self.reason}; metadata is at most 100 pairs, with keys of up to 100 "
            "and values of up to 1,000 characters."
        )


@dataclass(eq=False, kw_only=True)
class InvalidCursor(Invalid):
    """The cursor is none of ours, or belongs to a list with other filters."""

    code = "invalid_cursor"
    reason: str
    parameter: str | None = "after_cursor"

    def __str__(self) -> str:
        return f"after_cursor {self.reason}; take it from the X-After-Cursor header of a page with the same filters."


class TooFewEntries(Invalid):
    """A transaction without entries."""

    code = "too_few_entries"

    def __str__(self) -> str:
        return "A transaction needs at least one debit and one credit entry; this one has none."


@dataclass(eq=False, kw_only=True)
class TooManyEntries(Invalid):
    """More entries than a transaction may have. Split it, or sum entries on one account."""

    code = "too_many_entries"
    count: int
    count_max: int
    parameter: str | None = "ledger_entries"

    def __str__(self) -> str:
        return f"A transaction has at most {self.count_max:,} entries; this one has {self.count:,}."


@dataclass(eq=False, kw_only=True)
class OneSided(Invalid):
    """All entries stand on one side."""

    code = "one_sided"
    missing: str
    parameter: str | None = "ledger_entries"

    def __str__(self) -> str:
        return f"A transaction needs at least one debit and one credit entry; this one has no {self.missing}."


@dataclass(eq=False, kw_only=True)
class MixedLedgers(Invalid):
    """The entries name accounts of several ledgers. Transactions never cross ledgers."""

    code = "mixed_ledgers"
    ledger_ids: list[LedgerId]
    parameter: str | None = "ledger_entries"

    def __str__(self) -> str:
        return f"All accounts of a transaction belong to one ledger; these belong to {len(self.ledger_ids)}."


@dataclass(eq=False, kw_only=True)
class AmbiguousExternalId(Invalid):
    """Several ledgers of the organization have a transaction with this external_id. Say which by `ledger_id`."""

    code = "ambiguous_external_id"
    external_id: str
    ledger_ids: list[LedgerId]
    parameter: str | None = "ledger_id"

    def __str__(self) -> str:
        return (
            f"The external_id {self.external_id!r} is in use in {len(self.ledger_ids)} ledgers; "
            "say which with the parameter ledger_id."
        )


@dataclass(eq=False, kw_only=True)
class TooManyItems(Invalid):
    """More transactions, or items of a bulk request, than one request may hold. Send several requests."""

    code = "too_many_items"
    count: int
    count_max: int
    parameter: str | None = "ledger_transactions"

    def __str__(self) -> str:
        return f"One request holds at most {self.count_max:,} items; this one has {self.count:,}."


class NotFound(LedgerError):
    """The request names a thing that isn't there, or isn't the caller's: both are answered alike."""


@dataclass(eq=False, kw_only=True)
class RouteNotFound(NotFound):
    """No route has this path."""

    code = "route_not_found"
    path: str

    def __str__(self) -> str:
        return f"There is no route {self.path}; /docs lists them."


@dataclass(eq=False, kw_only=True)
class ObjectNotFound(NotFound):
    """No object of this kind has this id, among those the key may see."""

    code = "object_not_found"
    object: str
    id: str

    def __str__(self) -> str:
        return f"There is no {self.object} with the id {self.id!r} in this organization."


class Conflict(LedgerError):
    """The request is at odds with an earlier one."""


class IdempotencyKeyReused(Conflict):
    """The idempotency key was consumed by a request with another body. Use a new key for a new request."""

    code = "idempotency_key_reused"

    def __str__(self) -> str:
        return "This idempotency key was used before on this route with another body; nothing was done."


@dataclass(eq=False, kw_only=True)
class ExternalIdTaken(Conflict):
    """Another object of the ledger has this external_id."""

    code = "external_id_taken"
    external_id: str
    taken_by: str | None
    parameter: str | None = "external_id"

    def __str__(self) -> str:
        holder = f" by {self.taken_by}" if self.taken_by else ""
        return f"external_id {self.external_id!r} is already used in this ledger{holder}."


class Refused(LedgerError):
    """The request is well formed, and a rule says no."""


@dataclass(eq=False, kw_only=True)
class LedgerDiscarded(Refused):
    """The ledger was discarded: it can be read, and takes nothing more."""

    code = "ledger_discarded"
    ledger_id: LedgerId

    def __str__(self) -> str:
        return f"The ledger {self.ledger_id} is discarded; it can be read, but nothing more is accepted."


@dataclass(eq=False, kw_only=True)
class AccountDiscarded(Refused):
    """An account of the transaction was discarded."""

    code = "account_discarded"
    ledger_account_id: str

    def __str__(self) -> str:
        return f"The ledger account {self.ledger_account_id} is discarded; entries need active accounts."


@dataclass(eq=False, kw_only=True)
class AccountNotEmpty(Refused):
    """Only an account at zero in every balance, with nothing pending, can be discarded."""

    code = "account_not_empty"
    posted: int
    pending_credits: int
    pending_debits: int
    pending_entries: int

    def __str__(self) -> str:
        return (
            f"The account is not empty: its posted balance is {self.posted}, with {self.pending_entries} pending "
            f"entries ({self.pending_credits} of credits, {self.pending_debits} of debits). Bring it to zero and "
            "resolve what is pending first."
        )


@dataclass(eq=False, kw_only=True)
class ObjectDiscarded(Refused):
    """The object was discarded: it can be read, and changes no more."""

    code = "object_discarded"
    object: str
    id: str

    def __str__(self) -> str:
        return f"The {self.object} {self.id} is discarded; it can be read, but it changes no more."


@dataclass(eq=False, kw_only=True)
class PurgeNotConfirmed(Refused):
    """A purge removes a ledger and all its data for good, so it must be confirmed with the ledger's own id."""

    code = "purge_not_confirmed"
    ledger_id: LedgerId
    parameter: str | None = "confirm"

    def __str__(self) -> str:
        return f"A purge removes the ledger and all its data for good; confirm it with confirm={self.ledger_id}."


@dataclass(eq=False, kw_only=True)
class TransactionFinal(Refused):
    """A posted or archived transaction is final. Correct a posted one by a reversal."""

    code = "transaction_final"
    status: str
    changeable: list[str]

    def __str__(self) -> str:
        return (
            f"The transaction is {self.status}, which is final: only {' and '.join(self.changeable)} can change. "
            "A posted transaction is corrected by a reversal."
        )


@dataclass(eq=False, kw_only=True)
class TransactionExpired(Refused):
    """The hold has passed its `expires_at`: the service archives it, and nothing else can be done with it."""

    code = "transaction_expired"
    expires_at: str

    def __str__(self) -> str:
        return (
            f"The transaction expired at {self.expires_at}; what it held is released, and it can't be changed any more."
        )


@dataclass(eq=False, kw_only=True)
class TransactionOfSettlement(Refused):
    """The transaction moves what a settlement gathered. Change the settlement's status, and the transaction follows."""

    code = "transaction_of_settlement"
    ledger_account_settlement_id: str

    def __str__(self) -> str:
        return (
            f"The transaction belongs to the settlement {self.ledger_account_settlement_id}; its status follows the "
            "settlement's, and its entries and times do not change."
        )


@dataclass(eq=False, kw_only=True)
class NotReversible(Refused):
    """Only a posted transaction can be reversed; a pending one is archived instead."""

    code = "not_reversible"
    status: str

    def __str__(self) -> str:
        remedy = "archive it instead" if self.status == "pending" else "it never counted"
        return f"Only a posted transaction can be reversed; this one is {self.status}: {remedy}."


@dataclass(eq=False, kw_only=True)
class AlreadyReversed(Refused):
    """The transaction has a reversal that is not archived."""

    code = "already_reversed"
    reversed_by: str

    def __str__(self) -> str:
        return f"The transaction is already reversed by {self.reversed_by}."


@dataclass(eq=False, kw_only=True)
class NotPartiallyPostable(Refused):
    """A partial post takes a part of every entry of a pending transaction, and leaves a part of each."""

    code = "not_partially_postable"
    reason: str

    def __str__(self) -> str:
        return f"The transaction can't be posted in part: {self.reason}."


@dataclass(eq=False, kw_only=True)
class Unbalanced(Refused):
    """Debits and credits differ in a currency. Each currency balances by itself."""

    code = "unbalanced"
    currency: str
    currency_exponent: int
    debits: int
    credits: int
    parameter: str | None = "ledger_entries"

    def __str__(self) -> str:
        return (
            f"Debits and credits must be equal in each currency; in {self.currency} debits sum to {self.debits} "
            f"and credits to {self.credits}."
        )


@dataclass(eq=False, kw_only=True)
class LockVersionMismatch(Refused):
    """The account has changed since it was read. Read it again and decide anew."""

    code = "lock_version_mismatch"
    ledger_account_id: str
    lock_version: int
    lock_version_expected: int

    def __str__(self) -> str:
        return (
            f"The ledger account {self.ledger_account_id} is at lock_version {self.lock_version}, not at "
            f"{self.lock_version_expected}: it has changed since it was read."
        )


@dataclass(eq=False, kw_only=True)
class BalanceLockFailed(Refused):
    """The transaction would bring a balance to a value that one of its entries forbids."""

    code = "balance_lock_failed"
    ledger_account_id: str
    balance: str
    amount: int
    comparison: str
    bound: int

    def __str__(self) -> str:
        return (
            f"The {self.balance} balance of ledger account {self.ledger_account_id} would be {self.amount}, "
            f"and the entry asks for {self.comparison} {self.bound}."
        )


@dataclass(eq=False, kw_only=True)
class CategoryLockFailed(Refused):
    """The transaction would bring a category's balance to a value that one of its category locks forbids."""

    code = "category_lock_failed"
    ledger_account_category_id: str
    balance: str
    amount: int
    comparison: str
    bound: int

    def __str__(self) -> str:
        return (
            f"The {self.balance} balance of ledger account category {self.ledger_account_category_id} would be "
            f"{self.amount}, and the lock asks for {self.comparison} {self.bound}."
        )


@dataclass(eq=False, kw_only=True)
class CurrencyMismatch(Refused):
    """A category holds accounts and categories of its own currency and exponent alone."""

    code = "currency_mismatch"
    currency: str
    currency_exponent: int
    currency_expected: str
    currency_exponent_expected: int

    def __str__(self) -> str:
        return (
            f"The category is in {self.currency_expected} with exponent {self.currency_exponent_expected}; "
            f"what is in {self.currency} with exponent {self.currency_exponent} can't be part of it."
        )


@dataclass(eq=False, kw_only=True)
class CategoryCycle(Refused):
    """A category can't be below itself."""

    code = "category_cycle"

    def __str__(self) -> str:
        return "The one category is already below the other, or is the same; a category can't be below itself."


@dataclass(eq=False, kw_only=True)
class CategoryTooDeep(Refused):
    """Categories stand at most five deep."""

    code = "category_too_deep"
    levels: int
    levels_max: int

    def __str__(self) -> str:
        return f"Categories stand at most {self.levels_max} deep; these would be {self.levels}."


@dataclass(eq=False, kw_only=True)
class TooManyCategories(Refused):
    """An account is directly in at most 100 categories. Put categories into categories."""

    code = "too_many_categories"
    count_max: int

    def __str__(self) -> str:
        return f"An account is directly in at most {self.count_max} categories; put categories into categories instead."


@dataclass(eq=False, kw_only=True)
class TooManyMonitors(Refused):
    """An account is watched by at most 100 balance monitors. Discard one that is needed no more."""

    code = "too_many_monitors"
    ledger_account_id: str
    count_max: int

    def __str__(self) -> str:
        return (
            f"The account {self.ledger_account_id} is watched by {self.count_max} monitors, as many as it may be; "
            "discard one that is needed no more."
        )


@dataclass(eq=False, kw_only=True)
class SettlementFinal(Refused):
    """The settlement's status doesn't allow this."""

    code = "settlement_final"
    status: str
    reason: str

    def __str__(self) -> str:
        return f"The settlement is {self.status}: {self.reason}."


@dataclass(eq=False, kw_only=True)
class SettlementNegative(Refused):
    """The entries sum to less than nothing. `allow_either_direction` settles a negative balance as well."""

    code = "settlement_negative"
    amount: int

    def __str__(self) -> str:
        return (
            f"The entries to settle sum to {self.amount} on the account's normal side; with allow_either_direction a "
            "negative balance is settled towards zero."
        )


@dataclass(eq=False, kw_only=True)
class EntryNotSettleable(Refused):
    """Only posted entries of the settled account, which no settlement wrote itself, can be settled."""

    code = "entry_not_settleable"
    ledger_entry_id: str
    reason: str

    def __str__(self) -> str:
        return f"The ledger entry {self.ledger_entry_id} can't be settled here: {self.reason}."


@dataclass(eq=False, kw_only=True)
class EntrySettled(Refused):
    """An entry belongs to one settlement at most."""

    code = "entry_settled"
    ledger_entry_id: str
    ledger_account_settlement_id: str

    def __str__(self) -> str:
        return (
            f"The ledger entry {self.ledger_entry_id} already belongs to the settlement "
            f"{self.ledger_account_settlement_id}."
        )


@dataclass(eq=False, kw_only=True)
class BatchRefused(Refused):
    """An atomic batch holds a transaction that is refused, so nothing of it was done."""

    code = "batch_refused"
    index: int
    refusal: dict[str, Any]

    def __str__(self) -> str:
        return f"Nothing of the batch was done, for its transaction {self.index} is refused: {self.refusal['message']}"


class TryAgain(LedgerError):
    """The service can't answer now; nothing is wrong with the request."""

    retryable = True


class Overloaded(TryAgain):
    """More requests wait than the service takes on. Send it again after the time in Retry-After."""

    code = "overloaded"

    def __str__(self) -> str:
        return "More is under way than the service takes on; nothing was done. Send it again in a moment."


class Unavailable(TryAgain):
    """The database can't be reached. Nothing was done. Send it again after the time in Retry-After."""

    code = "unavailable"

    def __str__(self) -> str:
        return "The database can't be reached at the moment; nothing was done. Send it again in a moment."


class OutcomeUnknown(TryAgain):
    """The connection was lost while the write was being committed. Repeat it with the same idempotency key."""

    code = "outcome_unknown"

    def __str__(self) -> str:
        return (
            "The database connection was lost while this write was being committed, so it may or may not have "
            "happened. Repeat it with the same idempotency key: it will happen once."
        )


@cache
def refusals() -> dict[str, type[LedgerError]]:
    """Return the class of each refusal by its code."""
    found: dict[str, type[LedgerError]] = {}
    waiting: list[type[LedgerError]] = [LedgerError]
    while waiting:
        class_ = waiting.pop()
        waiting += class_.__subclasses__()
        if "code" in vars(class_):
            found[class_.code] = class_
    return found


def refusal_of(code: str, fields: dict[str, Any]) -> LedgerError:
    """Return the refusal that has this code and these fields."""
    return refusals()[code](**fields)

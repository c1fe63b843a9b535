"""Refusals of the ledger wing: they are about ledgers, accounts, transactions, categories and monitors."""

from doppia.accounting.errors.tree import Conflict, Invalid, Refused
from doppia.accounting.ids import LedgerId


class TooFewEntries(Invalid, code="too_few_entries"):
    """The transaction has no entries."""

    message = "A transaction needs at least one debit and one credit entry; this one has none."


class TooManyEntries(Invalid, code="too_many_entries"):
    """The transaction has more entries than it may have. Split it, or sum entries on one account."""

    message = "A transaction has at most {count_max:,} entries; this one has {count:,}."
    count: int
    count_max: int
    parameter: str | None = "ledger_entries"


class OneSided(Invalid, code="one_sided"):
    """All entries stand on one side."""

    message = "A transaction needs at least one debit and one credit entry; this one has no {missing}."
    missing: str
    parameter: str | None = "ledger_entries"


class MixedLedgers(Invalid, code="mixed_ledgers"):
    """The entries name accounts of several ledgers. Transactions never cross ledgers."""

    ledger_ids: list[LedgerId]
    parameter: str | None = "ledger_entries"

    def __str__(self) -> str:
        return f"All accounts of a transaction belong to one ledger; these belong to {len(self.ledger_ids)}."


class AmbiguousExternalId(Invalid, code="ambiguous_external_id"):
    """Several ledgers of the organization have a transaction with this external_id. Say which by `ledger_id`."""

    external_id: str
    ledger_ids: list[LedgerId]
    parameter: str | None = "ledger_id"

    def __str__(self) -> str:
        return (
            f"The external_id {self.external_id!r} is in use in {len(self.ledger_ids)} ledgers; "
            "say which with the parameter ledger_id."
        )


class ExternalIdTaken(Conflict, code="external_id_taken"):
    """Another object of the ledger has this external_id."""

    external_id: str
    taken_by: str | None
    parameter: str | None = "external_id"

    def __str__(self) -> str:
        holder = f" by {self.taken_by}" if self.taken_by else ""
        return f"external_id {self.external_id!r} is already used in this ledger{holder}."


class LedgerDiscarded(Refused, code="ledger_discarded"):
    """The ledger was discarded: it can be read, and takes nothing more."""

    message = "The ledger {ledger_id} is discarded; it can be read, but nothing more is accepted."
    ledger_id: LedgerId


class AccountDiscarded(Refused, code="account_discarded"):
    """An account of the transaction was discarded."""

    message = "The ledger account {ledger_account_id} is discarded; entries need active accounts."
    ledger_account_id: str


class AccountNotEmpty(Refused, code="account_not_empty"):
    """Only an account at zero in every balance, with nothing pending, can be discarded."""

    message = (
        "The account is not empty: its posted balance is {posted}, with {pending_entries} pending "
        "entries ({pending_credits} of credits, {pending_debits} of debits). Bring it to zero and "
        "resolve what is pending first."
    )
    posted: int
    pending_credits: int
    pending_debits: int
    pending_entries: int


class ObjectDiscarded(Refused, code="object_discarded"):
    """The object was discarded: it can be read, and changes no more."""

    message = "The {object} {id} is discarded; it can be read, but it changes no more."
    object: str
    id: str


class PurgeNotConfirmed(Refused, code="purge_not_confirmed"):
    """A purge removes a ledger and all its data for good, so it must be confirmed with the ledger's own id."""

    message = "A purge removes the ledger and all its data for good; confirm it with confirm={ledger_id}."
    ledger_id: LedgerId
    parameter: str | None = "confirm"


class TransactionFinal(Refused, code="transaction_final"):
    """A posted or archived transaction is final. Correct a posted one by a reversal."""

    status: str
    changeable: list[str]

    def __str__(self) -> str:
        return (
            f"The transaction is {self.status}, which is final: only {' and '.join(self.changeable)} can change. "
            "A posted transaction is corrected by a reversal."
        )


class TransactionExpired(Refused, code="transaction_expired"):
    """The hold has passed its `expires_at`: the service archives it, and nothing else can be done with it."""

    message = "The transaction expired at {expires_at}; what it held is released, and it can't be changed any more."
    expires_at: str


class TransactionOfSettlement(Refused, code="transaction_of_settlement"):
    """The transaction moves what a settlement gathered. Change the settlement's status, and the transaction follows."""

    message = (
        "The transaction belongs to the settlement {ledger_account_settlement_id}; its status follows the "
        "settlement's, and its entries and times do not change."
    )
    ledger_account_settlement_id: str


class NotReversible(Refused, code="not_reversible"):
    """Only a posted transaction can be reversed; a pending one is archived instead."""

    status: str

    def __str__(self) -> str:
        remedy = "archive it instead" if self.status == "pending" else "it never counted"
        return f"Only a posted transaction can be reversed; this one is {self.status}: {remedy}."


class AlreadyReversed(Refused, code="already_reversed"):
    """The transaction has a reversal that is not archived."""

    message = "The transaction is already reversed by {reversed_by}."
    reversed_by: str


class NotPartiallyPostable(Refused, code="not_partially_postable"):
    """A partial post takes a part of every entry of a pending transaction, and leaves a part of each."""

    message = "The transaction can't be posted in part: {reason}."
    reason: str


class Unbalanced(Refused, code="unbalanced"):
    """Debits and credits differ in a currency. Each currency balances by itself."""

    message = (
        "Debits and credits must be equal in each currency; in {currency} debits sum to {debits} "
        "and credits to {credits}."
    )
    currency: str
    currency_exponent: int
    debits: int
    credits: int
    parameter: str | None = "ledger_entries"


class LockVersionMismatch(Refused, code="lock_version_mismatch"):
    """The account has changed since it was read. Read it again and decide anew."""

    message = (
        "The ledger account {ledger_account_id} is at lock_version {lock_version}, not at "
        "{lock_version_expected}: it has changed since it was read."
    )
    ledger_account_id: str
    lock_version: int
    lock_version_expected: int


class BalanceLockFailed(Refused, code="balance_lock_failed"):
    """The transaction would bring a balance to a value that one of its entries forbids."""

    message = (
        "The {balance} balance of ledger account {ledger_account_id} would be {amount}, "
        "and the entry asks for {comparison} {bound}."
    )
    ledger_account_id: str
    balance: str
    amount: int
    comparison: str
    bound: int


class CategoryLockFailed(Refused, code="category_lock_failed"):
    """The transaction would bring a category's balance to a value that one of its locks on the category forbids."""

    message = (
        "The {balance} balance of ledger account category {ledger_account_category_id} would be "
        "{amount}, and the lock asks for {comparison} {bound}."
    )
    ledger_account_category_id: str
    balance: str
    amount: int
    comparison: str
    bound: int


class CurrencyMismatch(Refused, code="currency_mismatch"):
    """A category holds accounts and categories of its own currency and exponent alone."""

    message = (
        "The category is in {currency_expected} with exponent {currency_exponent_expected}; "
        "what is in {currency} with exponent {currency_exponent} can't be part of it."
    )
    currency: str
    currency_exponent: int
    currency_expected: str
    currency_exponent_expected: int


class CategoryCycle(Refused, code="category_cycle"):
    """A category can't be below itself."""

    message = "The one category is already below the other, or is the same; a category can't be below itself."


class CategoryTooDeep(Refused, code="category_too_deep"):
    """Categories stand at most five deep."""

    message = "Categories stand at most {levels_max} deep; these would be {levels}."
    levels: int
    levels_max: int


class TooManyCategories(Refused, code="too_many_categories"):
    """An account is directly in at most 100 categories. Put categories into categories."""

    message = "An account is directly in at most {count_max} categories; put categories into categories instead."
    count_max: int


class TooManyMonitors(Refused, code="too_many_monitors"):
    """An account is watched by at most 100 balance monitors. Discard one that you need no more."""

    message = (
        "The account {ledger_account_id} is watched by {count_max} monitors, as many as it may be; "
        "discard one that is needed no more."
    )
    ledger_account_id: str
    count_max: int

"""Refusals of the closing wing: they are about settlements."""

from doppia.accounting.errors.tree import Refused


class SettlementFinal(Refused, code="settlement_final"):
    """The settlement's status doesn't allow this."""

    message = "The settlement is {status}: {reason}."
    status: str
    reason: str


class SettlementNegative(Refused, code="settlement_negative"):
    """The entries sum to less than 0 on the account's normal side. Set `allow_either_direction` to settle them."""

    message = (
        "The entries to settle sum to {amount} on the account's normal side; with allow_either_direction a "
        "negative balance is settled towards zero."
    )
    amount: int


class EntryNotSettleable(Refused, code="entry_not_settleable"):
    """Only posted entries of the settled account, which no settlement wrote itself, can be settled."""

    message = "The ledger entry {ledger_entry_id} can't be settled here: {reason}."
    ledger_entry_id: str
    reason: str


class EntrySettled(Refused, code="entry_settled"):
    """An entry belongs to one settlement at most."""

    message = "The ledger entry {ledger_entry_id} already belongs to the settlement {ledger_account_settlement_id}."
    ledger_entry_id: str
    ledger_account_settlement_id: str

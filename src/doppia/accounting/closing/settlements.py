"""Settlements: each gathers entries of one account, and makes a transaction that moves what they sum to.

    drafting ────┬──> pending ──> posted
    processing ──┘       │           │
        │                v           v
        └──────────> archiving ──> archived

An entry is in one settlement at most. The entries of a draft are picked by hand. A sweep is a settlement that is
processing: it gathers all posted entries of the account which are in no settlement, were not written by one, and are
effective before a bound, however old they are. A settlement that is archiving gives up its entries, and an archived one
has none. A posted settlement can only be archived if it moved nothing; otherwise its transaction is corrected by a
reversal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from doppia.accounting.errors import (
    AccountDiscarded,
    AmountOutOfRange,
    EntryNotSettleable,
    ParameterInvalid,
    SettlementFinal,
    SettlementNegative,
)
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import OPPOSITE, Direction
from doppia.accounting.ledger.transactions import ENTRIES_MAX, Draft, Leg, Status
from doppia.accounting.money import AMOUNT_MAX, Currency
from doppia.accounting.revisions import UNCHANGED, Unchanged, chosen, merged

SettlementStatus = Literal["drafting", "processing", "pending", "posted", "archiving", "archived"]
SettledAs = Literal["pending", "posted"]


@dataclass(slots=True, frozen=True)
class Settlement:
    """A settlement with all its fields.

    Attributes:
        id: the id as the API shows it.
        ledger: the number of the ledger.
        sequence: the sequence of the log record that created the settlement; it is unique in the ledger.
        becomes: the status that a processing settlement gets when it has all its entries.
        settled_account: sequence and id of the account whose entries are gathered.
        contra_account: sequence and id of the account that the amount is moved to or from.
        currency: the currency of both accounts.
        normal_balance: the normal side of the settled account.
        lock_version: the settled account's lock version when the sweep began; entries after it are left to later
            sweeps. None for a settlement that was picked by hand.
        searched_lock_version: the lock version up to which the sweep has looked for entries.
        effective_at_upper_bound: entries effective at this time or later are left to later sweeps.
        allows_either_direction: whether entries that sum to less than 0 on the normal side are settled, too.
        skips_transaction: whether the settlement moves nothing.
        transaction: sequence and id of the transaction that moves the amount.
        net: credits less debits of the entries that the settlement has gathered, in minor units.
        amount: the amount that the settlement moves, in minor units; None while it takes entries.
        direction: the side of the entry that settles, on the settled account; None where there is no amount, or it
            is 0.
    """

    id: str
    ledger: int
    sequence: int
    status: SettlementStatus
    becomes: SettledAs | None
    settled_account: tuple[int, str]
    contra_account: tuple[int, str]
    currency: Currency
    normal_balance: Direction
    lock_version: int | None
    searched_lock_version: int | None
    effective_at_upper_bound: datetime | None
    allows_either_direction: bool
    skips_transaction: bool
    transaction: tuple[int, str] | None
    net: int
    amount: int | None
    direction: Direction | None
    description: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime


def new_draft(
    settled: Account,
    contra: Account,
    *,
    id_: str,
    ledger: int,
    sequence: int,
    recorded_at: datetime,
    allows_either_direction: bool,
    skips_transaction: bool,
    description: str | None,
    metadata: Mapping[str, str],
) -> Settlement:
    """Return a settlement that is a draft without entries, as record `sequence` of the log creates it."""
    return Settlement(
        id=id_,
        ledger=ledger,
        sequence=sequence,
        status="drafting",
        becomes=None,
        settled_account=(settled.sequence, settled.id),
        contra_account=(contra.sequence, contra.id),
        currency=settled.currency,
        normal_balance=settled.normal_balance,
        lock_version=None,
        searched_lock_version=None,
        effective_at_upper_bound=None,
        allows_either_direction=allows_either_direction,
        skips_transaction=skips_transaction,
        transaction=None,
        net=0,
        amount=None,
        direction=None,
        description=description,
        metadata=metadata,
        created_at=recorded_at,
        updated_at=recorded_at,
    )


def sweeping(draft: Settlement, becomes: SettledAs, *, after: int, to: int, before: datetime) -> Settlement:
    """Return a new draft as a sweep.

    Args:
        draft: a draft without entries.
        becomes: the status that the settlement gets when the sweep has all entries.
        after: the lock version after which the sweep looks for entries.
        to: the last lock version at which it looks.
        before: the time before which the entries are effective.
    """
    return replace(
        draft,
        status="processing",
        becomes=becomes,
        lock_version=to,
        searched_lock_version=after,
        effective_at_upper_bound=before,
    )


def check_accounts(settled: Account, contra: Account) -> None:
    """Refuse two accounts of which one can't be settled against the other.

    Raises, the first that holds, in this order:
        ParameterInvalid: both are the same account, or their currencies differ.
        AccountDiscarded: of the settled account, then of the contra account.
    """
    if contra.sequence == settled.sequence:
        raise ParameterInvalid(parameter="contra_ledger_account_id", reason="must be another account than the settled")
    if contra.currency != settled.currency:
        raise ParameterInvalid(
            parameter="contra_ledger_account_id",
            reason=f"is in {contra.currency.code} with exponent {contra.currency.exponent}, and the settled account "
            f"in {settled.currency.code} with exponent {settled.currency.exponent}",
        )
    for account, name in ((settled, "settled"), (contra, "contra")):
        if not account.is_open:
            raise AccountDiscarded(ledger_account_id=account.id, parameter=f"{name}_ledger_account_id")


def check_net(net: int, normal_balance: Direction, *, allows_either_direction: bool) -> None:
    """Refuse to settle entries that sum to less than 0 on the account's normal side, unless that is allowed.

    `net` is the credits less the debits of the entries.

    Raises:
        SettlementNegative.
    """
    amount = net if normal_balance == "credit" else -net
    if amount < 0 and not allows_either_direction:
        raise SettlementNegative(amount=amount)


def complete(settlement: Settlement, status: SettledAs, *, recorded_at: datetime) -> Settlement:
    """Return a draft or a sweep with its final amount and its new status.

    The transaction that moves the amount is still to be made, of the draft that `moving_draft` returns.

    Raises, the first that holds, in this order:
        SettlementNegative: the entries sum to less than 0 on the normal side, and the settlement does not allow that.
        AmountOutOfRange: a transaction of 1000 entries can't move so much.
    """
    net = settlement.net
    check_net(net, settlement.normal_balance, allows_either_direction=settlement.allows_either_direction)
    if abs(net) > ENTRIES_MAX // 2 * AMOUNT_MAX:
        raise AmountOutOfRange(parameter="amount", amount=abs(net))
    direction: Direction | None = None
    if net:
        direction = "debit" if net > 0 else "credit"
    return replace(
        settlement, status=status, becomes=None, amount=abs(net), direction=direction, updated_at=recorded_at
    )


def moving_draft(settlement: Settlement) -> Draft | None:
    """Return the draft of the transaction that moves the amount of a settlement; None where nothing is to be moved.

    The draft has one entry on each account, or more where one entry can't hold so large an amount. The settlement is as
    `complete` returned it.
    """
    amount, direction, status = settlement.amount, settlement.direction, settlement.status
    if not amount or direction is None or settlement.skips_transaction:
        return None
    assert status in ("pending", "posted"), "a settlement with an amount was completed"
    parts = [AMOUNT_MAX] * (amount // AMOUNT_MAX)
    if amount % AMOUNT_MAX:
        parts.append(amount % AMOUNT_MAX)
    legs = [Leg(*settlement.settled_account, direction, part) for part in parts]
    legs += [Leg(*settlement.contra_account, OPPOSITE[direction], part) for part in parts]
    of_transaction: Status = status
    return Draft(legs, of_transaction, settlement.description)


def check_status(settlement: Settlement, status: SettlementStatus) -> None:
    """Refuse a status that a settlement can't be given. It can always be given the status that it has.

    Raises:
        SettlementFinal.
    """
    now = settlement.status
    if status == now or (now, status) in _ALLOWED:
        if (now, status) == ("posted", "archived") and settlement.transaction is not None:
            raise SettlementFinal(
                status=now, reason="what it moved is posted for good; it is corrected by reversing its transaction"
            )
        return
    raise SettlementFinal(status=now, reason=_REASONS[now])


_ALLOWED: Final[frozenset[tuple[SettlementStatus, SettlementStatus]]] = frozenset(
    {
        ("drafting", "pending"),
        ("drafting", "posted"),
        ("drafting", "archived"),
        ("pending", "posted"),
        ("pending", "archived"),
        ("posted", "archived"),
        ("archiving", "archived"),
    }
)
"""Its owner may ask that a settlement goes from the first status of a pair to the second."""

_REASONS: Final[Mapping[SettlementStatus, str]] = {
    "drafting": "it can become pending, posted or archived",
    "processing": "its entries are still being gathered; its status can change once that is done",
    "pending": "it can become posted or archived",
    "posted": "it can't become anything else",
    "archiving": "it is being archived, which is final",
    "archived": "this is final",
}


def check_draft(settlement: Settlement) -> None:
    """Refuse a settlement that is no draft.

    Raises:
        SettlementFinal.
    """
    if settlement.status != "drafting":
        raise SettlementFinal(status=settlement.status, reason="only a draft can be changed in this")


def revise(
    settlement: Settlement,
    *,
    description: str | Unchanged | None = UNCHANGED,
    metadata: Mapping[str, str | None] | Unchanged | None = UNCHANGED,
    skips_transaction: bool | Unchanged = UNCHANGED,
    recorded_at: datetime,
) -> Settlement:
    """Change what describes a settlement, whatever its status, and whether a draft will make a transaction.

    Args:
        settlement: the settlement as it stands.
        description: the new description.
        metadata: the pairs to merge in.
        skips_transaction: whether the settlement moves nothing.
        recorded_at: the time of the change.

    Raises, the first that holds, in this order:
        SettlementFinal: `skips_transaction` is to change, and the settlement is no draft.
        MetadataTooLarge: the metadata would hold too many pairs.
    """
    skips = chosen(skips_transaction, settlement.skips_transaction)
    if skips != settlement.skips_transaction:
        check_draft(settlement)
    return replace(
        settlement,
        description=chosen(description, settlement.description),
        metadata=merged(metadata, settlement.metadata),
        skips_transaction=skips,
        updated_at=recorded_at,
    )


def check_entry(
    settlement: Settlement, *, id_: str, account: int, status: Status, is_own: bool, parameter: str
) -> None:
    """Refuse an entry that can't be in a settlement.

    Args:
        settlement: the settlement that the entry is to be put into.
        id_: the entry's id.
        account: the sequence of the entry's account.
        status: the status that the entry was written with.
        is_own: whether a settlement's transaction wrote the entry.
        parameter: where the request names the entry.

    Raises:
        EntryNotSettleable: the entry is on another account, is not posted, or was written by a settlement.
    """
    if account != settlement.settled_account[0]:
        reason = "it is of another account"
    elif status != "posted":
        reason = f"it is {status}, and only posted entries are settled"
    elif is_own:
        reason = "a settlement wrote it, to settle others"
    else:
        return
    raise EntryNotSettleable(ledger_entry_id=id_, reason=reason, parameter=parameter)

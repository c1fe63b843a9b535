"""Settlements: entries of one account, gathered once each, and the transaction that moves what they sum to.

    drafting ────┬──> pending ──> posted
    processing ──┘       │           │
        │                v           v
        └──────────> archiving ──> archived

A draft's entries are picked by hand. A sweep gathers all posted entries of the account that are in no settlement, were
not written by one, and are effective before a bound, however old they are; it is processing until it has them all. From
archiving on no entry belongs to a settlement. A posted one can only be archived if it moved nothing: what was posted is
corrected by a reversal.
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
    """A settlement.

    Attributes:
        id: as the wire shows it.
        ledger: number of its ledger.
        sequence: of the log record that created it; unique in its ledger.
        becomes: what it will be once it is no longer processing.
        settled_account, contra_account: sequence and id.
        currency: of both.
        normal_balance: of the settled account.
        lock_version: of the settled account when it was swept; later entries are left to later sweeps. None for drafts.
        searched_lock_version: how far towards it the sweep has come.
        effective_at_upper_bound: of a sweep; entries effective from then on are left to later sweeps.
        transaction: sequence and id of that which moves the amount.
        net: credits less debits of the entries, whatever its status.
        amount: what it moves; None while it takes entries.
        direction: of the entry that settles, on the settled account; None while there is no amount, or where it is 0.
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
    """Make a draft without entries, as record `sequence` of the log."""
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
    """Make a new draft a sweep of lock versions after one and up to another, effective before a time."""
    return replace(
        draft,
        status="processing",
        becomes=becomes,
        lock_version=to,
        searched_lock_version=after,
        effective_at_upper_bound=before,
    )


def check_accounts(settled: Account, contra: Account) -> None:
    """Ask that one account can be settled against another.

    Raises, the first that holds, in this order:
        ParameterInvalid: they are one account, or in different units.
        AccountDiscarded.
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
    """Ask that entries of this net (credits less debits) may be settled.

    Raises:
        SettlementNegative: they stand on the other side than the account's normal one.
    """
    amount = net if normal_balance == "credit" else -net
    if amount < 0 and not allows_either_direction:
        raise SettlementNegative(amount=amount)


def complete(settlement: Settlement, status: SettledAs, *, recorded_at: datetime) -> Settlement:
    """Settle the entries that a draft or a sweep has gathered; the transaction that moves them is still to be made.

    Raises, the first that holds, in this order:
        SettlementNegative.
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


def moving(settlement: Settlement) -> Draft | None:
    """Return the draft of the transaction that moves what a complete settlement amounts to, None where there is none.

    It has one entry on each account; where the amount is beyond what an entry can hold, as few as can hold it.
    """
    amount, direction, status = settlement.amount, settlement.direction, settlement.status
    if not amount or direction is None or settlement.skips_transaction:
        return None
    assert status in ("pending", "posted"), "it was completed"
    parts = [AMOUNT_MAX] * (amount // AMOUNT_MAX)
    if amount % AMOUNT_MAX:
        parts.append(amount % AMOUNT_MAX)
    legs = [Leg(*settlement.settled_account, direction, part) for part in parts]
    legs += [Leg(*settlement.contra_account, OPPOSITE[direction], part) for part in parts]
    of_transaction: Status = status
    return Draft(legs, of_transaction, settlement.description)


def check_status(settlement: Settlement, status: SettlementStatus) -> None:
    """Ask that a settlement may be given this status; that which it has, or is on its way to, it may.

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
_REASONS: Final[Mapping[SettlementStatus, str]] = {
    "drafting": "it can become pending, posted or archived",
    "processing": "its entries are still being gathered; its status can change once that is done",
    "pending": "it can become posted or archived",
    "posted": "it can't become anything else",
    "archiving": "it is being archived, which is final",
    "archived": "this is final",
}


def check_draft(settlement: Settlement) -> None:
    """Ask that a settlement is a draft.

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
    """Ask that an entry can be in a settlement.

    Args:
        settlement: that which it is to come to.
        id_: of the entry.
        account: sequence of its account.
        status: that it was written with.
        is_own: whether a settlement wrote it.
        parameter: where its id stood.

    Raises:
        EntryNotSettleable.
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

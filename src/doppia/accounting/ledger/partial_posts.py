"""Partial posts: a part of a hold is posted, and the rest stays held."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from doppia.accounting.errors import NotPartiallyPostable, TransactionOfSettlement
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Direction
from doppia.accounting.ledger.transaction_life import check_unexpired, create, entries_of, renewed
from doppia.accounting.ledger.transactions import Change, Draft, Entry, Leg, Transaction, decide


def partial_post(
    transaction: Transaction,
    draft: Draft,
    accounts: Mapping[int, Account],
    *,
    id_: str,
    sequence: int,
    recorded_at: datetime,
) -> tuple[Change, Change]:
    """Take a part of a hold into a posted transaction, as the records `sequence` and `sequence + 1` of the log.

    Args:
        transaction: the hold, with its entries in force.
        draft: the posted part, without guards on categories. For every entry of the hold it has a leg on the same
            account and side, with a lesser amount; where several entries share account and side, the first leg takes
            from the first entry, and so on. Without an `effective_at` it takes the hold's.
        accounts: the accounts of the entries, by sequence.
        id_: the id of the posted transaction.
        sequence: the sequence of the first record.
        recorded_at: the time of both records.

    Returns:
        The change of the hold, which leaves the rest in it, and the posted transaction.

    Raises, the first that holds, in this order:
        NotPartiallyPostable: the transaction is not pending.
        TransactionExpired, TransactionOfSettlement.
        NotPartiallyPostable: the transaction is a reversal; or an entry has no leg, or a leg takes all of its entry or
            more, or has no entry to take from.
        What `decide` raises.
    """
    if transaction.status != "pending":
        raise NotPartiallyPostable(reason=f"it is {transaction.status}, and only a pending one holds anything")
    check_unexpired(transaction, recorded_at)
    if transaction.settlement is not None:
        raise TransactionOfSettlement(ledger_account_settlement_id=transaction.settlement[1])
    if transaction.reverses is not None:
        raise NotPartiallyPostable(reason="it is a reversal, and moves all that the transaction it reverses moved")
    legs = list(draft.legs)
    rest = []
    for entry, position in _pairs(transaction.entries, legs):
        leg = legs[position]
        rest.append(renewed(entry, transaction, transaction.effective_at)._replace(amount=entry.amount - leg.amount))
        legs[position] = leg._replace(effective_at=None if draft.effective_at else entry.effective_at)
    # The part by itself must keep the rules, with the lock versions that the accounts have before either record.
    # Its guards are tested by `create` below, on the balances after both.
    decide("posted", [leg._replace(guards=()) for leg in legs], accounts, transaction.entries)
    left = decide("pending", rest, accounts, transaction.entries)
    hold = transaction._replace(
        version=transaction.version + 1,
        updated_at=recorded_at,
        entries=entries_of(rest, left.steps, "pending", transaction.effective_at, sequence, recorded_at),
    )
    lowered = Change(hold, left.accounts, left.discards, wrote_entries=True)
    posted = create(
        draft._replace(
            legs=[leg._replace(lock_version=None) for leg in legs],
            status="posted",
            effective_at=draft.effective_at or transaction.effective_at,
        ),
        {**accounts, **lowered.accounts},
        id_=id_,
        sequence=sequence + 1,
        recorded_at=recorded_at,
        partially_posts=transaction,
    )
    return lowered, posted


def _pairs(entries: Sequence[Entry], legs: Sequence[Leg]) -> list[tuple[Entry, int]]:
    """Pair each entry of a hold, in order, with the position of the leg that takes from it."""
    waiting: defaultdict[tuple[int, Direction], list[tuple[int, Leg]]] = defaultdict(list)
    for position, leg in enumerate(legs):
        waiting[leg.account, leg.direction].append((position, leg))
    pairs = []
    for entry in entries:
        found = waiting[entry.account.sequence, entry.direction]
        if not found:
            raise NotPartiallyPostable(
                parameter="posted_ledger_entries",
                reason=f"no entry takes from the {entry.direction} of {entry.amount} on {entry.account.id}",
            )
        position, leg = found.pop(0)
        if leg.amount >= entry.amount:
            raise NotPartiallyPostable(
                parameter=f"posted_ledger_entries[{position}].amount",
                reason=f"of {entry.amount} that are held, {leg.amount} is no part; to post all of it, set its status",
            )
        pairs.append((entry, position))
    for position, leg in (rest for found in waiting.values() for rest in found):
        raise NotPartiallyPostable(
            parameter=f"posted_ledger_entries[{position}]",
            reason=f"it holds no {leg.direction} on {leg.account_id} that this entry could take from",
        )
    return pairs

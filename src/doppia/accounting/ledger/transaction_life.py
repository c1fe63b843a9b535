"""The life of a transaction: how it is made, changed and reversed, and how it ends.

    pending ──> posted      final; a posted transaction is corrected by a reversal
       └──────> archived    final; an archived transaction counts in no balance

A pending transaction is a hold. A partial post takes a part of it into a posted transaction and leaves the rest held
(partial_posts.py). A hold that has passed its `expires_at` can only be archived.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from doppia.accounting.errors import (
    AlreadyReversed,
    BalanceLockFailed,
    CategoryLockFailed,
    NotReversible,
    ParameterInvalid,
    TransactionExpired,
    TransactionFinal,
    TransactionOfSettlement,
)
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import OPPOSITE
from doppia.accounting.ledger.categories import NO_CHART, Chart, check_category_guards
from doppia.accounting.ledger.transactions import (
    CategoryGuards,
    Change,
    Draft,
    Effect,
    Entry,
    Leg,
    Status,
    Transaction,
    decide,
    end,
)
from doppia.accounting.revisions import UNCHANGED, Unchanged, chosen, merged

LOCK_FAILURE: Final = "balance_lock_failure"
"""A transaction that was archived because a guard did not hold has this `archived_reason`, in the API's words."""

EXPIRED: Final = "expired"
"""A hold that the service archived because it had passed its `expires_at` has this `archived_reason`."""


def create(
    draft: Draft,
    accounts: Mapping[int, Account],
    *,
    id_: str,
    sequence: int,
    recorded_at: datetime,
    chart: Chart = NO_CHART,
    reverses: Transaction | None = None,
    partially_posts: Transaction | None = None,
    settlement: tuple[int, str] | None = None,
) -> Change:
    """Make a transaction of a draft, as record `sequence` of the log.

    Args:
        draft: what was asked for.
        accounts: the accounts of the draft's legs, by sequence.
        id_: the id of the new transaction.
        sequence: the sequence of the record.
        recorded_at: the time of the record.
        chart: the categories that the draft's guards name.
        reverses: the transaction that the new one reverses.
        partially_posts: the hold that the new transaction takes a part of.
        settlement: sequence and id of the settlement whose amount the new transaction moves.

    Raises, the first that holds, in this order:
        ParameterInvalid: `expires_at` is not after `recorded_at`, or the transaction would not be pending.
        What `decide` raises.
        What `check_category_guards` raises.
    """
    _check_expiry(draft.expires_at, draft.status, recorded_at)
    status, archived_reason = draft.status, None
    try:
        effect = _decide(status, draft.legs, accounts, chart, draft.category_guards)
    except (BalanceLockFailed, CategoryLockFailed):
        if not draft.archives_on_failed_guard:
            raise
        status, archived_reason = "archived", LOCK_FAILURE
        effect = decide(status, draft.legs, accounts)
    effective_at = draft.effective_at or recorded_at
    transaction = Transaction(
        id=id_,
        sequence=sequence,
        version=0,
        status=status,
        entries=entries_of(draft.legs, effect.steps, status, effective_at, sequence, recorded_at),
        description=draft.description,
        external_id=draft.external_id,
        effective_at=effective_at,
        posted_at=recorded_at if status == "posted" else None,
        created_at=recorded_at,
        updated_at=recorded_at,
        metadata=draft.metadata,
        ledgerable_type=draft.ledgerable_type,
        ledgerable_id=draft.ledgerable_id,
        archived_reason=archived_reason,
        reverses=(reverses.sequence, reverses.id) if reverses else None,
        expires_at=draft.expires_at,
        partially_posts=(partially_posts.sequence, partially_posts.id) if partially_posts else None,
        settlement=settlement,
    )
    return Change(transaction, effect.accounts, effect.discards, wrote_entries=True)


def _decide(
    status: Status,
    legs: Sequence[Leg],
    accounts: Mapping[int, Account],
    chart: Chart,
    category_guards: Sequence[CategoryGuards],
    discarded: Sequence[Entry] = (),
) -> Effect:
    effect = decide(status, legs, accounts, discarded)
    if category_guards and status != "archived":
        written = [accounts[leg.account] for leg in legs]
        check_category_guards(category_guards, chart, written, accounts, effect.accounts)
    return effect


def _check_expiry(expires_at: datetime | None, status: Status, recorded_at: datetime) -> None:
    if expires_at is None:
        return
    if status != "pending":
        raise ParameterInvalid(parameter="expires_at", reason="is for pending transactions; this one would be final")
    if expires_at <= recorded_at:
        raise ParameterInvalid(parameter="expires_at", reason="must be in the future")


def entries_of(
    legs: Sequence[Leg],
    steps: Sequence[Account],
    status: Status,
    effective_at: datetime,
    sequence: int,
    recorded_at: datetime,
) -> tuple[Entry, ...]:
    """Make the entries that record `sequence` writes: one of each leg and its account as it stands right after it."""
    return tuple(
        Entry(
            sequence,
            ordinal,
            step,
            leg.direction,
            leg.amount,
            status,
            leg.effective_at or effective_at,
            leg.metadata or {},
            recorded_at,
            recorded_at,
        )
        for ordinal, (leg, step) in enumerate(zip(legs, steps, strict=True), 1)
    )


class Revision(NamedTuple):
    """What is to change of a transaction; a field that is UNCHANGED keeps its value.

    Attributes:
        status: the new status.
        legs: the entries that replace all entries in force.
        effective_at: the new time. It also becomes the time of each entry in force that had the transaction's time.
        category_guards: conditions that must hold after the change; they are not kept. Entries in force are rewritten.
        metadata: the pairs to merge in; a pair whose value is None or "" is removed.
        external_id, description, ledgerable_type, ledgerable_id, expires_at: new values; None clears the field.
    """

    status: Status | Unchanged = UNCHANGED
    legs: Sequence[Leg] | Unchanged = UNCHANGED
    effective_at: datetime | Unchanged = UNCHANGED
    category_guards: tuple[CategoryGuards, ...] | Unchanged = UNCHANGED
    metadata: Mapping[str, str | None] | Unchanged | None = UNCHANGED
    external_id: str | Unchanged | None = UNCHANGED
    description: str | Unchanged | None = UNCHANGED
    ledgerable_type: str | Unchanged | None = UNCHANGED
    ledgerable_id: str | Unchanged | None = UNCHANGED
    expires_at: datetime | Unchanged | None = UNCHANGED

    def changing(self) -> set[str]:
        """Return the names of the fields that are to change."""
        return {name for name, value in zip(self._fields, self, strict=True) if value is not UNCHANGED}


_REWRITING: Final = frozenset({"status", "legs", "effective_at", "category_guards"})
"""A change of one of these fields discards the entries in force and writes new ones."""

_CHANGEABLE: Final[Mapping[Status, Sequence[str]]] = {
    "posted": ("metadata", "external_id"),
    "archived": ("metadata",),
}
"""These fields of a final transaction can still change, by its status."""


def revise(
    transaction: Transaction,
    revision: Revision,
    accounts: Mapping[int, Account],
    *,
    sequence: int,
    recorded_at: datetime,
    chart: Chart = NO_CHART,
    by_settlement: bool = False,
) -> Change:
    """Change a transaction, as record `sequence` of the log.

    Args:
        transaction: the transaction as it stands, with its entries in force.
        revision: what is to change.
        accounts: the accounts of the entries in force and of the new legs, by sequence.
        sequence: the sequence of the record.
        recorded_at: the time of the record.
        chart: the categories that the revision's guards name.
        by_settlement: whether it is the transaction's own settlement that asks.

    Raises, the first that holds, in this order:
        TransactionFinal: the transaction is posted, and more than metadata and external_id is to change; or it is
            archived, and more than metadata is to change.
        TransactionExpired: the transaction is pending and has passed its `expires_at`.
        TransactionOfSettlement: the transaction belongs to a settlement, which does not ask, and what it does to
            accounts or its `expires_at` is to change.
        MetadataTooLarge: with the changes the metadata would hold too many pairs.
        ParameterInvalid: a new `expires_at` is not after `recorded_at`, or the transaction would not be pending with
            it; new entries are given to a reversal, or to a transaction that the same change archives.
        What `decide` raises.
        What `check_category_guards` raises.
    """
    changing = revision.changing()
    _check_changeable(transaction, changing, recorded_at, by_settlement=by_settlement)
    status = chosen(revision.status, transaction.status)
    changed = transaction._replace(
        version=transaction.version + 1,
        updated_at=recorded_at,
        metadata=merged(revision.metadata, transaction.metadata),
        description=chosen(revision.description, transaction.description),
        external_id=chosen(revision.external_id, transaction.external_id),
        ledgerable_type=chosen(revision.ledgerable_type, transaction.ledgerable_type),
        ledgerable_id=chosen(revision.ledgerable_id, transaction.ledgerable_id),
        expires_at=chosen(revision.expires_at, transaction.expires_at),
    )
    _check_expiry(chosen(revision.expires_at, None), status, recorded_at)
    if changing.isdisjoint(_REWRITING):
        return Change(changed, {}, (), wrote_entries=False)
    if transaction.reverses is not None and "legs" in changing:
        raise ParameterInvalid(
            parameter="ledger_entries", reason="of a reversal are those of the transaction it reverses, exchanged"
        )
    effective_at = chosen(revision.effective_at, transaction.effective_at)
    if status == "archived":
        if "legs" in changing:
            raise ParameterInvalid(
                parameter="ledger_entries", reason="can't be replaced in the change that archives the transaction"
            )
        return _archive(changed._replace(effective_at=effective_at), accounts)
    if revision.legs is UNCHANGED:
        legs: Sequence[Leg] = [renewed(entry, transaction, effective_at) for entry in transaction.entries]
    else:
        legs = revision.legs
    effect = _decide(status, legs, accounts, chart, chosen(revision.category_guards, ()), transaction.entries)
    rewritten = changed._replace(
        status=status,
        effective_at=effective_at,
        posted_at=recorded_at if status == "posted" else None,
        entries=entries_of(legs, effect.steps, status, effective_at, sequence, recorded_at),
    )
    return Change(rewritten, effect.accounts, effect.discards, wrote_entries=True)


def _check_changeable(
    transaction: Transaction, changing: set[str], recorded_at: datetime, *, by_settlement: bool
) -> None:
    changeable = _CHANGEABLE.get(transaction.status)
    if changeable is not None and not changing <= set(changeable):
        raise TransactionFinal(status=transaction.status, changeable=list(changeable))
    check_unexpired(transaction, recorded_at)
    if (
        transaction.settlement is not None
        and not by_settlement
        and not changing.isdisjoint({"expires_at", *_REWRITING})
    ):
        raise TransactionOfSettlement(ledger_account_settlement_id=transaction.settlement[1])


def check_unexpired(transaction: Transaction, recorded_at: datetime) -> None:
    """Refuse a hold that has passed its `expires_at`.

    Raises:
        TransactionExpired.
    """
    if is_due(transaction, recorded_at):
        assert transaction.expires_at is not None, "only a transaction with a time to expire is due"
        raise TransactionExpired(expires_at=transaction.expires_at.isoformat())


def _archive(changed: Transaction, accounts: Mapping[int, Account]) -> Change:
    """Archive a pending transaction and discard its entries.

    `changed` is the transaction with all else that changes: its version, the time of the change, new texts.
    """
    ended = end(changed.entries, accounts)
    entries = tuple(
        entry._replace(updated_at=changed.updated_at, discarded_at=changed.updated_at) for entry in changed.entries
    )
    return Change(
        changed._replace(status="archived", entries=entries), ended.accounts, ended.discards, wrote_entries=False
    )


def is_due(transaction: Transaction, recorded_at: datetime) -> bool:
    """Return whether a transaction is pending and has passed its `expires_at`."""
    expires_at = transaction.expires_at
    return transaction.status == "pending" and expires_at is not None and expires_at <= recorded_at


def expire(transaction: Transaction, accounts: Mapping[int, Account], *, recorded_at: datetime) -> Change:
    """Archive a hold that is due, with the reason `EXPIRED`."""
    assert is_due(transaction, recorded_at), "nothing expires before its time"
    expired = transaction._replace(version=transaction.version + 1, updated_at=recorded_at, archived_reason=EXPIRED)
    return _archive(expired, accounts)


def renewed(entry: Entry, transaction: Transaction, effective_at: datetime) -> Leg:
    """Return the leg that asks for an entry in force anew.

    An entry that had the transaction's effective time gets the new one, `effective_at`; any other keeps its own.
    """
    follows = entry.effective_at == transaction.effective_at
    return Leg(
        entry.account.sequence,
        entry.account.id,
        entry.direction,
        entry.amount,
        effective_at=effective_at if follows else entry.effective_at,
        metadata=entry.metadata,
    )


def reversal(transaction: Transaction, draft: Draft) -> Draft:
    """Return the draft of a reversal: the legs are a transaction's entries with the sides exchanged.

    Args:
        transaction: the transaction to reverse, with its entries in force.
        draft: all other fields of the reversal. Without an `effective_at` the reversal and its entries take the times
            of the transaction and its entries.

    Raises, the first that holds, in this order:
        NotReversible: the transaction is not posted.
        AlreadyReversed: the transaction has a reversal that is not archived.
    """
    if transaction.status != "posted":
        raise NotReversible(status=transaction.status)
    if transaction.reversed_by is not None:
        raise AlreadyReversed(reversed_by=transaction.reversed_by[1])
    legs = [
        Leg(
            entry.account.sequence,
            entry.account.id,
            OPPOSITE[entry.direction],
            entry.amount,
            effective_at=entry.effective_at if draft.effective_at is None else None,
        )
        for entry in transaction.entries
    ]
    return draft._replace(legs=legs, effective_at=draft.effective_at or transaction.effective_at)

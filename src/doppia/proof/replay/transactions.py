"""What records about transactions do: the fold of entries into balances, and whether the rules let it."""

from typing import Final

from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.ledger.transaction_life import EXPIRED, LOCK_FAILURE
from doppia.accounting.ledger.transactions import ENTRIES_MAX
from doppia.accounting.money import AMOUNT_MAX
from doppia.accounting.platform.events import Event
from doppia.proof.records import STATUSES, EntryRecord, TransactionWritten
from doppia.proof.replay.state import (
    ENTRIES_SHIFT,
    NO_EFFECTS,
    REVERSED,
    STATUS_MASK,
    VERSION_MASK,
    VERSION_SHIFT,
    Effects,
    Ended,
    EntryInForce,
    PendingTransaction,
    State,
    WrittenEntry,
)

_PENDING, _POSTED, _ARCHIVED = range(3)
_BOTH_SIDES: Final = 0b11


def transaction(state: State, record: TransactionWritten) -> Effects:
    """Create a transaction or change one, and return what that did to entries."""
    sequence, number = record.sequence, record.transaction
    if not 0 <= record.status <= _ARCHIVED:
        state.fail(f"transaction {state.id_of(number)} has status {record.status}, and there is none")
    _check_rare(state, record)
    if number == sequence:
        before = None
        _check_created(state, record)
        state.facts[sequence] |= record.status + 1
    else:
        before = state.pending.get(number)
        if before is None:
            return _describe_final(state, record)
        _check_changed(state, record, before)
        past = state.facts[number] & ~(STATUS_MASK | VERSION_MASK << VERSION_SHIFT)
        state.facts[number] = past | record.status + 1 | (record.version & VERSION_MASK) << VERSION_SHIFT
    effective_at = record.recorded_at if record.effective_at is None else record.effective_at
    if record.entries is None:
        effects = _keep_or_end(state, record, before, effective_at)
    else:
        effects = _write(state, record, record.entries, before, effective_at)
    if record.partially_posts is not None:
        _check_part(state, record, effects)
    state.lowered = None
    if record.status != _PENDING:
        state.pending.pop(number, None)
        if record.status == _ARCHIVED and record.reverses is not None and before is not None:
            state.facts[record.reverses] &= ~REVERSED
    elif record.entries is not None:
        in_force = [EntryInForce(e.number, e.account, e.direction, e.amount) for e in effects.entries]
        if before is not None:
            state.lowered = number, _difference(before.entries, in_force)
        state.pending[number] = PendingTransaction(
            record.version, effective_at, record.expires_at, record.reverses, record.settlement, in_force
        )
    if state.monitors_of:
        touched = {e.account for e in effects.entries} | {e.account for e in effects.ended}
        state.touched += [account for account in touched if account in state.monitors_of]
    return effects


def _check_rare(state: State, record: TransactionWritten) -> None:
    """Ask that times, and what is said of single entries, are such as there may be. Most records have none of them."""
    if record.effective_times is not None or record.entry_texts is not None:
        _check_ordinals(state, record)
    # An id takes a while to make.
    if record.effective_at is not None or record.expires_at is not None:
        whose = f"transaction {state.id_of(record.transaction)}"
        state.check_times(whose, record.effective_at, record.expires_at)


def _check_ordinals(state: State, record: TransactionWritten) -> None:
    """Ask that what is said by ordinals is of entries of the record, in the one order that canonical bytes have."""
    count = len(record.entries or ())
    for name, by_ordinal in (("effective_times", record.effective_times), ("entry_texts", record.entry_texts)):
        if by_ordinal is None:
            continue
        ordinals = [*by_ordinal]
        if not ordinals or ordinals != sorted(ordinals) or not 0 < ordinals[0] <= ordinals[-1] <= count:
            id_ = state.id_of(record.transaction)
            state.fail(f"transaction {id_} has {name} out of order, or of entries that it does not write")


def _check_created(state: State, record: TransactionWritten) -> None:
    if record.version or record.entries is None or record.event != Event.CREATED:
        state.fail(f"transaction {state.id_of(record.sequence)} does not begin as version 0 with its entries")
    if record.archived_reason is not None and (record.archived_reason != LOCK_FAILURE or record.status != _ARCHIVED):
        state.fail(f"transaction {state.id_of(record.sequence)} begins archived for {record.archived_reason!r}")
    if record.expires_at is not None and (
        record.expires_at <= record.recorded_at
        or (record.status != _PENDING and record.archived_reason != LOCK_FAILURE)
    ):
        state.fail(f"transaction {state.id_of(record.sequence)} expires at a time that is no hold's")
    if record.settlement is not None and record.settlement not in state.settlements:
        state.fail(f"transaction {state.id_of(record.sequence)} is of settlement {record.settlement}, which is none")
    reversed_ = record.reverses
    if reversed_ is not None:
        if state.status_of(reversed_) != _POSTED:
            state.fail(
                f"transaction {state.id_of(record.sequence)} reverses {state.id_of(reversed_)}, which is not posted"
            )
        if record.status != _ARCHIVED:
            if state.facts[reversed_] & REVERSED:
                state.fail(f"transaction {state.id_of(reversed_)} is reversed twice")
            state.facts[reversed_] |= REVERSED


def _check_changed(state: State, record: TransactionWritten, before: PendingTransaction) -> None:
    """Ask that a pending transaction may be changed so."""
    id_ = state.id_of(record.transaction)
    if record.version != before.version + 1:
        state.fail(f"transaction {id_} goes from version {before.version} to {record.version}")
    became = (Event.UPDATED, Event.POSTED, Event.ARCHIVED)[record.status]
    if record.event != became:
        state.fail(f"transaction {id_} is {STATUSES[record.status]}, and its event {record.event}")
    if (record.reverses, record.settlement, record.partially_posts) != (before.reverses, before.settlement, None):
        state.fail(f"transaction {id_} comes to reverse, settle or post what it did not")
    is_due = before.expires_at is not None and before.expires_at <= record.recorded_at
    if is_due != (record.archived_reason == EXPIRED) or record.archived_reason not in (None, EXPIRED):
        state.fail(f"transaction {id_} has expired and is changed, or is said to have and has not")
    if record.archived_reason is not None and record.status != _ARCHIVED:
        state.fail(f"transaction {id_} is not archived, and there is a reason why it would be")
    if record.expires_at not in (None, before.expires_at) and (
        record.status != _PENDING or record.expires_at <= record.recorded_at
    ):
        state.fail(f"transaction {id_} is given a time to expire that is no hold's")


def _describe_final(state: State, record: TransactionWritten) -> Effects:
    """Apply a change of how a final transaction is described."""
    number = record.transaction
    id_ = state.id_of(number)
    status = state.status_of(number)
    if status is None:
        state.fail(f"there is no transaction {id_} to change")
    if record.status != status or record.entries is not None or record.event != Event.UPDATED:
        state.fail(f"transaction {id_} is {STATUSES[status]}, which is final")
    version = (state.facts[number] >> VERSION_SHIFT) + 1 & VERSION_MASK
    if record.version & VERSION_MASK != version:
        state.fail(f"transaction {id_} comes to version {record.version}, which does not follow its last")
    state.facts[number] = state.facts[number] & ~(VERSION_MASK << VERSION_SHIFT) | version << VERSION_SHIFT
    state.lowered = None
    return NO_EFFECTS


def _keep_or_end(
    state: State, record: TransactionWritten, before: PendingTransaction | None, effective_at: int
) -> Effects:
    """Keep the entries of a pending transaction, or end them where it is archived."""
    assert before is not None, "one that is created has entries"
    if record.status == _POSTED:
        state.fail(f"transaction {state.id_of(record.transaction)} is posted without entries")
    if record.status == _ARCHIVED:
        ended = [_end(state, entry) for of_account in _by_account(before.entries).values() for entry in of_account]
        return Effects([], sorted(ended))
    if effective_at != before.effective_at:
        state.fail(f"transaction {state.id_of(record.transaction)} moves in time and its entries do not")
    before.version = record.version
    before.expires_at = record.expires_at
    return NO_EFFECTS


def _end(state: State, entry: EntryInForce) -> Ended:
    """End an entry that no new one succeeds: a step of its own."""
    account = state.accounts[entry.account]
    account.sums[3 - entry.direction] -= entry.amount
    account.lock_version += 1
    account.pending_entries -= 1
    pc, pd, nc, nd = account.sums
    return Ended(entry.number, entry.account, account.lock_version, (pc, pd, nc, nd))


def _write(
    state: State,
    record: TransactionWritten,
    entries: list[EntryRecord],
    before: PendingTransaction | None,
    its_time: int,
) -> Effects:
    accounts, status, transaction = state.accounts, record.status, record.transaction
    number = record.sequence << ORDINAL_BITS
    if not 1 < len(entries) <= ENTRIES_MAX:
        state.fail(f"transaction {state.id_of(transaction)} has {len(entries)} entries")
    state.facts[record.sequence] |= len(entries) << ENTRIES_SHIFT
    ending = _by_account(before.entries) if before is not None else {}
    if ending and status == _ARCHIVED:
        state.fail(f"transaction {state.id_of(transaction)} is archived with new entries")
    times, metadata = record.effective_times, record.entry_metadata
    totals: dict[str, int] = {}
    sides = 0
    written: list[WrittenEntry] = []
    ended: list[Ended] = []
    for ordinal, entry in enumerate(entries, 1):
        number += 1
        account = accounts.get(entry.account)
        if account is None or not account.is_open:
            what = "does not exist" if account is None else "is discarded"
            state.fail(f"entry {state.entry_id(number)} is on account {state.id_of(entry.account)}, which {what}")
        amount = _amount(state, entry, number)
        direction = entry.direction
        unit = account.unit
        totals[unit] = totals.get(unit, 0) + (amount if direction else -amount)
        sides |= 1 << direction
        effective_at = its_time
        if times is not None and ordinal in times:
            effective_at = _own_time(state, times[ordinal], number)
        sums = None
        if status == _ARCHIVED:
            if entry.lock_version is not None:
                state.fail(f"entry {state.entry_id(number)} has a lock_version, and is archived")
        else:
            if entry.lock_version != account.lock_version + 1:
                state.fail(
                    f"entry {state.entry_id(number)} has lock_version {entry.lock_version}, and account "
                    f"{state.id_of(entry.account)} comes to {account.lock_version + 1}"
                )
            account.lock_version += 1
            if ending and ending.get(entry.account):
                succeeded = ending[entry.account].pop(0)
                account.sums[3 - succeeded.direction] -= succeeded.amount
                account.pending_entries -= 1
                ended.append(Ended(succeeded.number, entry.account, account.lock_version, None))
            account.sums[(1 if status else 3) - direction] += amount
            account.pending_entries += not status
            pc, pd, nc, nd = account.sums
            sums = pc, pd, nc, nd
        written.append(
            WrittenEntry(
                number, transaction, entry.account, entry.lock_version, effective_at, direction, status, amount,
                sums, None if metadata is None else metadata.get(ordinal),
            )
        )  # fmt: skip
    if sides != _BOTH_SIDES:
        state.fail(f"transaction {state.id_of(transaction)} has debits without credits, or credits without debits")
    _check_balanced(state, transaction, totals)
    if before is not None:
        ended += [_end(state, entry) for of_account in ending.values() for entry in of_account]
        ended.sort()
    return Effects(written, ended)


def _own_time(state: State, effective_at: int, number: int) -> int:
    """Return when an entry counts, where that is not when its transaction does."""
    state.check_times(f"entry {state.entry_id(number)}", effective_at)
    return effective_at


def _check_balanced(state: State, transaction: int, totals: dict[str, int]) -> None:
    """Ask that credits less debits are nothing in each unit."""
    for unit, total in totals.items():
        if total:
            id_, more = state.id_of(transaction), "credits" if total > 0 else "debits"
            state.fail(f"transaction {id_} does not balance: in {unit} {abs(total)} more {more}")


def _amount(state: State, entry: EntryRecord, number: int) -> int:
    text = entry.amount
    amount = int(text) if len(text) <= _DIGITS_MAX and text.isdecimal() else -1
    if str(amount) != text or not 0 <= amount <= AMOUNT_MAX or entry.direction not in (0, 1):
        id_ = state.entry_id(number)
        state.fail(f"entry {id_} has the amount {text[:_DIGITS_MAX]!r} on side {entry.direction}")
    return amount


def _check_part(state: State, record: TransactionWritten, effects: Effects) -> None:
    """Ask that what a posted part takes is what the record before it took from the hold."""
    hold, held_less = state.lowered or (None, {})
    taken: dict[str, int] = {}
    for entry in effects.entries:
        side = f"{entry.account} {entry.direction}"
        taken[side] = taken.get(side, 0) + entry.amount
    if hold != record.partially_posts or record.status != _POSTED or taken != held_less:
        state.fail(f"transaction {state.id_of(record.transaction)} posts what its hold did not lose")


_DIGITS_MAX: Final = len(str(AMOUNT_MAX))


def _by_account(entries: list[EntryInForce]) -> dict[int, list[EntryInForce]]:
    """Return the entries of each account in order, the accounts in the order of their first: so they end."""
    found: dict[int, list[EntryInForce]] = {}
    for entry in entries:
        found.setdefault(entry.account, []).append(entry)
    return found


def _difference(before: list[EntryInForce], after: list[EntryInForce]) -> dict[str, int]:
    """Return what is held less than before, by account and side."""
    less: dict[str, int] = {}
    for sign, entries in ((1, before), (-1, after)):
        for entry in entries:
            side = f"{entry.account} {entry.direction}"
            less[side] = less.get(side, 0) + sign * entry.amount
    return less

"""The fold of a log: what each record does to entries and accounts, and whether the rules let it.

This is `doppia.accounting` from the other side: that decides what is written, this reads what was written, knows
nothing of what was asked for, and takes nothing on trust but the records. What a record says of itself alone and of
what it follows is checked as it is applied. Of transactions that have come to their end eight bytes are kept, so two
things are not checked here that would need all of them: that no external id is there twice, and that a settlement's
amount is what its entries come to.
"""

from collections.abc import Callable
from typing import Any, Final

from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.ledger.transaction_life import EXPIRED, LOCK_FAILURE
from doppia.accounting.ledger.transactions import ENTRIES_MAX
from doppia.accounting.money import AMOUNT_MAX
from doppia.accounting.platform.events import Event
from doppia.proof.exchange import KIND_NAMES
from doppia.proof.limits import check_limits
from doppia.proof.records import (
    STATUSES,
    AccountCategories,
    AccountWritten,
    AnyRecord,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    EntryRecord,
    LedgerWritten,
    MonitorWritten,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
    TransactionWritten,
    object_of,
)
from doppia.proof.replay import subjects
from doppia.proof.replay.state import (
    ENTRIES_SHIFT,
    NO_EFFECTS,
    RECORDED_AT_END,
    REVERSED,
    SECONDS_SHIFT,
    STATUS_MASK,
    VERSION_MASK,
    VERSION_SHIFT,
    AccountState,
    Effects,
    Ended,
    EntryInForce,
    Fault,
    PendingTransaction,
    State,
    WrittenEntry,
)

__all__ = ["Effects", "Ended", "Fault", "Replay", "WrittenEntry"]

_PENDING, _POSTED, _ARCHIVED = range(3)
_BOTH_SIDES: Final = 0b11

_SUBJECTS: Final[dict[type[Any], Callable[[State, Any], None]]] = {
    LedgerWritten: subjects.ledger,
    AccountWritten: subjects.account,
    EntryAnnotated: subjects.entry_annotated,
    CategoryWritten: subjects.category,
    AccountCategories: subjects.account_categories,
    CategoryParents: subjects.category_parents,
    MonitorWritten: subjects.monitor,
    StatementWritten: subjects.statement,
    SettlementWritten: subjects.settlement,
    SettledEntries: subjects.settled_entries,
}


class Replay:
    """A ledger as its records make it, one after the other."""

    def __init__(self, ledger: int, state: State | None = None) -> None:
        """Begin before the first record of the ledger with this number, or where `state` ended."""
        self.state = State(ledger=ledger) if state is None else state

    @property
    def accounts(self) -> dict[int, AccountState]:
        """The accounts by sequence, as they stand."""
        return self.state.accounts

    def apply(self, record: AnyRecord) -> Effects:
        """Fold the next record, and return what it did.

        Raises:
            Fault: it is wrong; the fold can't go on.
        """
        state = self.state
        sequence = record.sequence
        if sequence != state.sequence + 1:
            raise Fault(state.sequence + 1, f"in its place stands record {sequence}")
        state.sequence = sequence
        if record.recorded_at < state.recorded_at:
            state.fail("its time is before that of the record before it")
        if record.recorded_at >= RECORDED_AT_END:
            state.fail(f"its time {record.recorded_at} is later than the id of what it creates can tell")
        if state.is_discarded:
            state.fail("follows the record that discarded the ledger, and nothing may")
        if sequence == 1 and not isinstance(record, LedgerWritten):
            state.fail("a log begins with the record that creates its ledger")
        if state.touched:
            self._follow_up(record)
        state.recorded_at = record.recorded_at
        state.facts.append(record.recorded_at // 1_000_000 << SECONDS_SHIFT)
        try:
            check_limits(record)
        except LedgerError as refusal:
            about = state.id_of(object_of(record), getattr(record, "entry_ordinal", 0))
            state.fail(f"{KIND_NAMES[type(record)]} {about}: {str(refusal).rstrip('.')}")
        if isinstance(record, TransactionWritten):
            return self._transaction(record)
        state.lowered = None
        _SUBJECTS[type(record)](state, record)
        return NO_EFFECTS

    def finish(self) -> None:
        """Ask that the log may end here.

        Raises:
            Fault: what the last record did was to be followed by another.
        """
        if self.state.touched:
            subjects.check_crossings(self.state, None)

    def _follow_up(self, record: AnyRecord) -> None:
        """Ask that the crossings of the last command come next; of a partial post, after both its records."""
        if isinstance(record, TransactionWritten) and record.partially_posts is not None:
            return
        subjects.check_crossings(self.state, record)

    def _transaction(self, record: TransactionWritten) -> Effects:
        state = self.state
        sequence, number = record.sequence, record.transaction
        if not 0 <= record.status <= _ARCHIVED:
            state.fail(f"transaction {state.id_of(number)} has status {record.status}, and there is none")
        self._check_times(record)
        if number == sequence:
            before = None
            self._check_created(record)
            state.facts[sequence] |= record.status + 1
        else:
            before = state.pending.get(number)
            if before is None:
                return self._describe_final(record)
            self._check_changed(record, before)
            past = state.facts[number] & ~(STATUS_MASK | VERSION_MASK << VERSION_SHIFT)
            state.facts[number] = past | record.status + 1 | (record.version & VERSION_MASK) << VERSION_SHIFT
        effective_at = record.recorded_at if record.effective_at is None else record.effective_at
        if record.entries is None:
            effects = self._keep_or_end(record, before, effective_at)
        else:
            effects = self._write(record, record.entries, before, effective_at)
        if record.partially_posts is not None:
            self._check_part(record, effects)
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

    def _check_times(self, record: TransactionWritten) -> None:
        # Most have none, and an id takes a while to make.
        if record.effective_at is not None or record.expires_at is not None:
            whose = f"transaction {self.state.id_of(record.transaction)}"
            self.state.check_times(whose, record.effective_at, record.expires_at)

    def _check_created(self, record: TransactionWritten) -> None:
        state = self.state
        if record.version or record.entries is None or record.event != Event.CREATED:
            state.fail(f"transaction {state.id_of(record.sequence)} does not begin as version 0 with its entries")
        if record.archived_reason is not None and (
            record.archived_reason != LOCK_FAILURE or record.status != _ARCHIVED
        ):
            state.fail(f"transaction {state.id_of(record.sequence)} begins archived for {record.archived_reason!r}")
        if record.expires_at is not None and (
            record.expires_at <= record.recorded_at
            or (record.status != _PENDING and record.archived_reason != LOCK_FAILURE)
        ):
            state.fail(f"transaction {state.id_of(record.sequence)} expires at a time that is no hold's")
        if record.settlement is not None and record.settlement not in state.settlements:
            state.fail(
                f"transaction {state.id_of(record.sequence)} is of settlement {record.settlement}, which is none"
            )
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

    def _check_changed(self, record: TransactionWritten, before: PendingTransaction) -> None:
        """Ask that a pending transaction may be changed so."""
        state = self.state
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

    def _describe_final(self, record: TransactionWritten) -> Effects:
        """Apply a change of how a final transaction is described."""
        state = self.state
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

    def _keep_or_end(self, record: TransactionWritten, before: PendingTransaction | None, effective_at: int) -> Effects:
        """Keep the entries of a pending transaction, or end them where it is archived."""
        assert before is not None, "one that is created has entries"
        state = self.state
        if record.status == _POSTED:
            state.fail(f"transaction {state.id_of(record.transaction)} is posted without entries")
        if record.status == _ARCHIVED:
            ended = [self._end(entry) for of_account in _by_account(before.entries).values() for entry in of_account]
            return Effects([], sorted(ended))
        if effective_at != before.effective_at:
            state.fail(f"transaction {state.id_of(record.transaction)} moves in time and its entries do not")
        before.version = record.version
        before.expires_at = record.expires_at
        return NO_EFFECTS

    def _end(self, entry: EntryInForce) -> Ended:
        """End an entry that no new one succeeds: a step of its own."""
        account = self.state.accounts[entry.account]
        account.sums[3 - entry.direction] -= entry.amount
        account.lock_version += 1
        account.pending_entries -= 1
        pc, pd, nc, nd = account.sums
        return Ended(entry.number, entry.account, account.lock_version, (pc, pd, nc, nd))

    def _write(
        self, record: TransactionWritten, entries: list[EntryRecord], before: PendingTransaction | None, its_time: int
    ) -> Effects:
        state = self.state
        accounts, status, transaction = state.accounts, record.status, record.transaction
        number = record.sequence << ORDINAL_BITS
        if not 1 < len(entries) <= ENTRIES_MAX:
            state.fail(f"transaction {state.id_of(transaction)} has {len(entries)} entries")
        state.facts[record.sequence] |= len(entries) << ENTRIES_SHIFT
        ending = _by_account(before.entries) if before is not None else {}
        if ending and status == _ARCHIVED:
            state.fail(f"transaction {state.id_of(transaction)} is archived with new entries")
        totals: dict[str, int] = {}
        sides = 0
        written: list[WrittenEntry] = []
        ended: list[Ended] = []
        for entry in entries:
            number += 1
            account = accounts.get(entry.account)
            if account is None or not account.is_open:
                what = "does not exist" if account is None else "is discarded"
                state.fail(f"entry {state.entry_id(number)} is on account {state.id_of(entry.account)}, which {what}")
            amount = self._amount(entry, number)
            direction = entry.direction
            unit = account.unit
            totals[unit] = totals.get(unit, 0) + (amount if direction else -amount)
            sides |= 1 << direction
            effective_at = its_time if entry.effective_at is None else self._own_time(entry.effective_at, number)
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
                    sums, entry.metadata,
                )
            )  # fmt: skip
        if sides != _BOTH_SIDES:
            state.fail(f"transaction {state.id_of(transaction)} has debits without credits, or credits without debits")
        self._check_balanced(transaction, totals)
        if before is not None:
            ended += [self._end(entry) for of_account in ending.values() for entry in of_account]
            ended.sort()
        return Effects(written, ended)

    def _own_time(self, effective_at: int, number: int) -> int:
        """Return when an entry counts, where that is not when its transaction does."""
        self.state.check_times(f"entry {self.state.entry_id(number)}", effective_at)
        return effective_at

    def _check_balanced(self, transaction: int, totals: dict[str, int]) -> None:
        """Ask that credits less debits are nothing in each unit."""
        for unit, total in totals.items():
            if total:
                id_, more = self.state.id_of(transaction), "credits" if total > 0 else "debits"
                self.state.fail(f"transaction {id_} does not balance: in {unit} {abs(total)} more {more}")

    def _amount(self, entry: EntryRecord, number: int) -> int:
        text = entry.amount
        amount = int(text) if len(text) <= _DIGITS_MAX and text.isdecimal() else -1
        if str(amount) != text or not 0 <= amount <= AMOUNT_MAX or entry.direction not in (0, 1):
            id_ = self.state.entry_id(number)
            self.state.fail(f"entry {id_} has the amount {text[:_DIGITS_MAX]!r} on side {entry.direction}")
        return amount

    def _check_part(self, record: TransactionWritten, effects: Effects) -> None:
        """Ask that what a posted part takes is what the record before it took from the hold."""
        state = self.state
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

"""What records about anything but transactions do, and whether the rules let them: one function per kind."""

import re
from itertools import pairwise
from typing import Final, cast, get_args

from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Direction, Sums
from doppia.accounting.ledger.categories import CATEGORIES_OF_ACCOUNT_MAX, check_nesting
from doppia.accounting.ledger.monitors import MONITORS_OF_ACCOUNT_MAX, AlertOperator, MonitoredField, condition_holds
from doppia.accounting.money import BOUND_MAX, Currency
from doppia.accounting.platform.events import Event
from doppia.proof.records import (
    STATUSES,
    AccountCategories,
    AccountWritten,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    LedgerWritten,
    MonitorWritten,
    Record,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
)
from doppia.proof.replay.state import AccountState, CategoryState, MonitorState, SettlementState, State

_SIDES: Final = ("credit", "debit")
_FIELDS: Final = get_args(MonitoredField)
_OPERATORS: Final = get_args(AlertOperator)
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,99}", re.ASCII)


def ledger(state: State, record: LedgerWritten) -> None:
    """Create, change or discard the ledger."""
    if record.ledger != state.ledger:
        state.fail(f"is of ledger number {record.ledger}, and the log of {state.ledger}")
    _check_event(state, "ledger", 1, record.event, is_new=record.sequence == 1, is_discarded=record.discarded)
    state.is_discarded = record.discarded


def _check_event(state: State, what: str, number: int, event: int, *, is_new: bool, is_discarded: bool) -> None:
    expected = Event.CREATED if is_new else Event.DISCARDED if is_discarded else Event.UPDATED
    if event != expected or (is_new and is_discarded):
        state.fail(f"{what} {state.id_of(number)} is {expected.name.lower()} and its event {event}")


def account(state: State, record: AccountWritten) -> None:
    """Open, change or discard an account."""
    id_ = state.id_of(record.account)
    unit = f"{record.currency} {record.currency_exponent}"
    is_new = record.account == record.sequence
    _check_event(state, "account", record.account, record.event, is_new=is_new, is_discarded=record.discarded)
    if is_new:
        if record.normal_balance not in _SIDES:
            state.fail(f"account {id_} has the normal balance {record.normal_balance!r}")
        state.accounts[record.account] = AccountState(unit, record.normal_balance)
        return
    found = state.accounts.get(record.account)
    if found is None or not found.is_open:
        state.fail(f"account {id_} is changed and {'does not exist' if found is None else 'is discarded'}")
    if (found.unit, found.normal_balance) != (unit, record.normal_balance):
        state.fail(f"account {id_} comes to be in {unit} and {record.normal_balance}-normal")
    if record.discarded and (found.sums[0] != found.sums[1] or found.pending_entries):
        state.fail(f"account {id_} is discarded, and is not empty")
    found.is_open = not record.discarded


def entry_annotated(state: State, record: EntryAnnotated) -> None:
    """Replace the metadata of an entry."""
    number = record.entry_sequence << ORDINAL_BITS | record.entry_ordinal
    if record.entry_ordinal >> ORDINAL_BITS or not state.is_entry(number):
        state.fail(f"there is no entry {state.entry_id(number)} to annotate")
    if record.event != Event.UPDATED:
        state.fail(f"entry {state.entry_id(number)} is updated and its event {record.event}")


def category(state: State, record: CategoryWritten) -> None:
    """Create, change or discard a category; a discard ends what it is in and what is in it."""
    number = record.category
    id_ = state.id_of(number)
    unit = f"{record.currency} {record.currency_exponent}"
    is_new = number == record.sequence
    _check_event(state, "category", number, record.event, is_new=is_new, is_discarded=record.discarded)
    if is_new:
        if record.normal_balance not in _SIDES:
            state.fail(f"category {id_} has the normal balance {record.normal_balance!r}")
        state.categories[number] = CategoryState(unit, record.normal_balance)
        return
    found = _open_category(state, number, f"category {id_}")
    if (found.unit, found.normal_balance) != (unit, record.normal_balance):
        state.fail(f"category {id_} comes to be in {unit} and {record.normal_balance}-normal")
    if record.discarded:
        for parent in found.parents:
            state.categories[parent].children.remove(number)
        for child in found.children:
            state.categories[child].parents.remove(number)
        found.parents, found.children, found.is_open = [], [], False


def _open_category(state: State, number: int, whose: str) -> CategoryState:
    found = state.categories.get(number)
    if found is None or not found.is_open:
        state.fail(f"{whose} takes category {state.id_of(number)}, which does not exist or is discarded")
    return found


def _check_ascending(state: State, numbers: list[int], whose: str) -> None:
    if any(first >= second for first, second in pairwise(numbers)):
        state.fail(f"{whose} names others twice, or out of order")


def account_categories(state: State, record: AccountCategories) -> None:
    """Put an account into a category, or take it out; one that was just opened into several."""
    found = state.accounts.get(record.account)
    whose = f"account {state.id_of(record.account)}"
    if found is None or not found.is_open:
        state.fail(f"{whose} is put into categories and does not exist or is discarded")
    _check_ascending(state, record.categories, whose)
    if len(record.categories) > CATEGORIES_OF_ACCOUNT_MAX:
        state.fail(f"{whose} is in more than {CATEGORIES_OF_ACCOUNT_MAX} categories")
    for number in record.categories:
        if _open_category(state, number, whose).unit != found.unit:
            state.fail(f"{whose} is in category {state.id_of(number)} of another unit")
    before = {number for number in found.categories if state.categories[number].is_open}
    if record.category is None:
        is_so = record.account == record.sequence - 1 and record.event == Event.CREATED
    else:
        is_so = before ^ {*record.categories} == {record.category} and record.event == Event.UPDATED
    if not is_so:
        state.fail(f"{whose} comes into other categories, or leaves others, than the record names")
    found.categories = record.categories


def category_parents(state: State, record: CategoryParents) -> None:
    """Put a category into others, or take it out."""
    number = record.category
    whose = f"category {state.id_of(number)}"
    found = _open_category(state, number, whose)
    _check_ascending(state, record.parents, whose)
    if record.event != Event.UPDATED:
        state.fail(f"{whose} is updated and its event {record.event}")
    for parent in {*found.parents} - {*record.parents}:
        state.categories[parent].children.remove(number)
    for parent in record.parents:
        upper = _open_category(state, parent, whose)
        if upper.unit != found.unit:
            state.fail(f"{whose} is in category {state.id_of(parent)} of another unit")
        if parent not in found.parents:
            try:
                check_nesting(parent, number, _around(state, parent, number))
            except LedgerError as refusal:
                state.fail(f"{whose} is in category {state.id_of(parent)}: {refusal}")
            upper.children.append(number)
    found.parents = record.parents


def _around(state: State, upper: int, lower: int) -> dict[int, list[int]]:
    """Return the children of each category above one or below another, or either itself."""
    around: dict[int, list[int]] = {}
    waiting = [(upper, True), (lower, False)]
    while waiting:
        number, is_upward = waiting.pop()
        if number not in around:
            found = state.categories[number]
            around[number] = found.children
            waiting += [(other, is_upward) for other in (found.parents if is_upward else found.children)]
    return around


def monitor(state: State, record: MonitorWritten) -> None:
    """Create, change or discard a monitor, or let it be crossed."""
    number = record.monitor
    id_ = state.id_of(number)
    watched = state.accounts.get(record.account)
    is_bound = _INTEGER.fullmatch(record.value) and abs(int(record.value)) <= BOUND_MAX
    if watched is None or not is_bound:
        state.fail(f"monitor {id_} compares account {state.id_of(record.account)} with {record.value!r}")
    if record.field not in _FIELDS or record.operator not in _OPERATORS:
        state.fail(f"monitor {id_} asks whether {record.field!r} is {record.operator!r}, and there is no such question")
    field, operator = cast("MonitoredField", record.field), cast("AlertOperator", record.operator)
    written = MonitorState(
        record.account, field, operator, int(record.value), record.triggered, is_open=not record.discarded
    )
    if number == record.sequence:
        _check_event(state, "monitor", number, record.event, is_new=True, is_discarded=record.discarded)
        watching = state.monitors_of.setdefault(record.account, [])
        if len(watching) >= MONITORS_OF_ACCOUNT_MAX:
            state.fail(f"monitor {id_} is one more than the {MONITORS_OF_ACCOUNT_MAX} that an account may have")
        watching.append(number)
    else:
        before = state.monitors.get(number)
        if before is None or not before.is_open:
            state.fail(f"monitor {id_} is changed and {'does not exist' if before is None else 'is discarded'}")
        same = (before.account, before.field, before.operator, before.value)
        if same != (written.account, written.field, written.operator, written.value):
            state.fail(f"monitor {id_} comes to watch something else")
        expected = Event.DISCARDED if record.discarded else Event.UPDATED
        if before.is_triggered != record.triggered:
            expected = Event.TRIGGERED if record.triggered else Event.RESOLVED
        if record.event != expected:
            state.fail(f"monitor {id_} is {expected.name.lower()} and its event {record.event}")
    if record.lock_version != watched.lock_version or record.triggered != _holds(watched, written):
        state.fail(f"monitor {id_} says of account {state.id_of(record.account)} what is not so")
    state.monitors[number] = written
    if record.discarded:
        remaining = state.monitors_of[record.account]
        remaining.remove(number)
        if not remaining:
            del state.monitors_of[record.account]


def _holds(watched: AccountState, found: MonitorState) -> bool:
    seen = Account(
        "", 0, Currency("", 0), cast("Direction", watched.normal_balance), watched.is_open, watched.lock_version,
        Sums(*watched.sums),
    )  # fmt: skip
    return condition_holds(found.field, found.operator, found.value, seen)


def check_crossings(state: State, record: Record | None) -> None:
    """Ask that the monitors which the last command crossed are told of, before the record that follows it."""
    for number in state.touched:
        for crossed in state.monitors_of.get(number, ()):
            found = state.monitors[crossed]
            if _holds(state.accounts[number], found) != found.is_triggered:
                if isinstance(record, MonitorWritten):
                    return
                state.fail(f"monitor {state.id_of(crossed)} was crossed before, and no record says so")
    state.touched = []


def statement(state: State, record: StatementWritten) -> None:
    """Make a statement of an account."""
    found = state.accounts.get(record.account)
    whose = f"statement {state.id_of(record.sequence)} of account {state.id_of(record.account)}"
    if found is None or record.lock_version != found.lock_version:
        state.fail(f"{whose} is as of lock_version {record.lock_version}, and the account is not there")
    sums = [*record.starting_sums, *record.ending_sums]
    is_whole = len(record.starting_sums) == len(record.ending_sums) == len(Sums._fields)
    if not is_whole or not all(_INTEGER.fullmatch(text) and text[0] != "-" for text in sums):
        state.fail(f"{whose} has other sums than four before and four after")
    if record.effective_at_lower_bound > record.effective_at_upper_bound or record.event != Event.CREATED:
        state.fail(f"{whose} ends before it begins, or has the event {record.event}")
    state.check_times(whose, record.effective_at_lower_bound, record.effective_at_upper_bound)


_NEXT: Final = {
    "drafting": {"drafting", "pending", "posted", "archiving", "archived"},
    "processing": {"processing", "pending", "posted", "archiving", "archived"},
    "pending": {"pending", "posted", "archiving", "archived"},
    "posted": {"posted", "archiving", "archived"},
    "archiving": {"archiving", "archived"},
    "archived": {"archived"},
}
_EVENTS: Final = {
    "drafting": {Event.UPDATED},
    "processing": {Event.UPDATED},
    "pending": {Event.UPDATED, Event.FINISH_PROCESSING},
    "posted": {Event.UPDATED, Event.POSTED, Event.FINISH_PROCESSING},
    "archiving": {Event.UPDATED, Event.FINISH_PROCESSING},
    "archived": {Event.UPDATED, Event.FINISH_PROCESSING, Event.FINISH_ARCHIVING},
}
_STATUS_OF_TRANSACTION: Final = {"archiving": "archived"}


def settlement(state: State, record: SettlementWritten) -> None:
    """Create or change a settlement; from archiving on no entry belongs to it."""
    number = record.settlement
    whose = f"settlement {state.id_of(number)}"
    if number == record.sequence:
        _create_settlement(state, record, whose)
        return
    before = state.settlements.get(number)
    if before is None:
        state.fail(f"{whose} is changed, and does not exist")
    _check_settlement_changed(state, record, before, whose)
    if record.transaction is not None:
        of_transaction = state.status_of(record.transaction)
        expected = _STATUS_OF_TRANSACTION.get(record.status, record.status)
        if of_transaction is None or STATUSES[of_transaction] != expected:
            state.fail(f"{whose} is {record.status}, and transaction {state.id_of(record.transaction)} is not")
    before.status, before.skips_transaction = record.status, record.skip_transaction
    before.transaction, before.amount, before.direction = record.transaction, record.amount, record.direction
    if record.status in ("archiving", "archived"):
        for entry in before.entries:
            del state.settled[entry]
        before.entries = set()


def _check_settlement_changed(state: State, record: SettlementWritten, before: SettlementState, whose: str) -> None:
    if record.status not in _NEXT[before.status]:
        state.fail(f"{whose} goes from {before.status} to {record.status}")
    if record.event not in _EVENTS[record.status]:
        state.fail(f"{whose} comes to be {record.status}, and its event is {record.event}")
    if (before.settled_account, before.contra_account, before.lock_version, before.effective_at_upper_bound) != (
        record.settled_account, record.contra_account, record.lock_version, record.effective_at_upper_bound,
    ):  # fmt: skip
        state.fail(f"{whose} comes to settle something else")
    skips_transaction = record.skip_transaction if before.status == "drafting" else before.skips_transaction
    if (before.allows_either_direction, skips_transaction) != (
        record.allow_either_direction, record.skip_transaction,
    ):  # fmt: skip
        state.fail(f"{whose} comes to be settled in another way")
    is_amount = record.amount is None or (_INTEGER.fullmatch(record.amount) and record.amount[0] != "-")
    if not is_amount or record.direction not in (0, 1, None):
        state.fail(f"{whose} has the amount {record.amount!r} on side {record.direction}")
    settled = (before.transaction, before.amount, before.direction)
    if before.amount is not None and settled != (record.transaction, record.amount, record.direction):
        state.fail(f"{whose} moved {before.amount}, and comes to move something else")


def _create_settlement(state: State, record: SettlementWritten, whose: str) -> None:
    settled, contra = state.accounts.get(record.settled_account), state.accounts.get(record.contra_account)
    if settled is None or contra is None or settled is contra or settled.unit != contra.unit:
        state.fail(f"{whose} is of accounts that are not two of one unit")
    is_begun = record.status in ("drafting", "processing") and record.event == Event.CREATED
    if not is_begun or (record.transaction, record.amount, record.direction) != (None, None, None):
        state.fail(f"{whose} begins as {record.status}, or with an amount")
    if record.lock_version is not None and record.lock_version > settled.lock_version:
        state.fail(f"{whose} is as of a lock_version that its account has not reached")
    state.check_times(whose, record.effective_at_upper_bound)
    state.settlements[record.settlement] = SettlementState(
        record.settled_account, record.contra_account, record.status, record.lock_version,
        record.effective_at_upper_bound, None, None, None, record.allow_either_direction, record.skip_transaction,
        set(),
    )  # fmt: skip


def settled_entries(state: State, record: SettledEntries) -> None:
    """Let entries come to a settlement that is gathering them, or leave a draft."""
    found = state.settlements.get(record.settlement)
    whose = f"settlement {state.id_of(record.settlement)}"
    gathering = ("drafting",) if record.removed else ("drafting", "processing")
    if found is None or found.status not in gathering or record.event != Event.UPDATED:
        state.fail(f"{whose} takes or loses entries, and is not there or not gathering any")
    _check_ascending(state, record.added, whose)
    for entry in record.added:
        if entry in state.settled:
            holder = state.id_of(state.settled[entry])
            state.fail(f"{whose} takes entry {state.entry_id(entry)}, which is in settlement {holder}")
        if not state.is_entry(entry):
            state.fail(f"{whose} takes entry {state.entry_id(entry)}, which does not exist")
        state.settled[entry] = record.settlement
        found.entries.add(entry)
    for entry in record.removed:
        if entry not in found.entries:
            state.fail(f"{whose} loses entry {state.entry_id(entry)}, which is not in it")
        found.entries.remove(entry)
        del state.settled[entry]

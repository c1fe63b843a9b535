"""Records that are no transactions, as an import writes what they say: by the queries that wrote it at first."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from doppia.accounting.closing.settlements import SettledAs, Settlement, SettlementStatus
from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Direction, Sums
from doppia.accounting.ledger.categories import Category
from doppia.accounting.ledger.monitors import AlertOperator, Monitor, MonitoredField
from doppia.accounting.money import Currency
from doppia.accounting.platform.events import Event
from doppia.proof.records import (
    AccountCategories,
    AccountWritten,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    LedgerWritten,
    MonitorWritten,
    Record,
    Redacted,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
    moment,
)
from doppia.store.closing import settlements
from doppia.store.database.connections import Connection
from doppia.store.ledger import accounts, categories, entries, ledgers, monitors, statements
from doppia.store.ledger.accounts import AccountFields
from doppia.store.ledger.categories import CategoryFields
from doppia.store.ledger.ledgers import Ledger
from doppia.store.ledger.monitors import MonitorFields
from doppia.store.ledger.statements import Statement

_ENTRIES_FREED_AT_ONCE: Final = 10_000
_NO_UNIT: Final = Currency("", 0)


def account_of(sequence: int, lock_version: int = 0, sums: Sums = NOTHING) -> Account:
    """Return what is written of an account with an entry: of all else that it is, nothing is asked there."""
    return Account("", sequence, _NO_UNIT, "credit", True, lock_version, sums)


def _side(normal_balance: str) -> Direction:
    return "credit" if normal_balance == "credit" else "debit"


async def _ledger(connection: Connection, ledger: int, record: LedgerWritten) -> None:
    at = moment(record.recorded_at)
    changed = Ledger("", ledger, record.name, record.description, record.metadata, at, at, None)
    await ledgers.update(connection, changed)
    if record.discarded:
        await ledgers.discard(connection, ledger, at)


async def _account(connection: Connection, ledger: int, record: AccountWritten) -> None:
    at = moment(record.recorded_at)
    unit = Currency(record.currency, record.currency_exponent)
    fields = AccountFields(
        account=Account("", record.account, unit, _side(record.normal_balance), True, 0, NOTHING),
        ledger=ledger,
        name=record.name,
        description=record.description,
        external_id=record.external_id,
        ledgerable_type=record.ledgerable_type,
        ledgerable_id=record.ledgerable_id,
        metadata=record.metadata,
        created_at=at,
        updated_at=at,
        discarded_at=None,
    )
    if record.account == record.sequence:
        await accounts.create(connection, fields)
        return
    await accounts.update(connection, fields)
    if record.discarded:
        await accounts.discard(connection, ledger, record.account, at)


async def _entry(connection: Connection, ledger: int, record: EntryAnnotated) -> None:
    number = record.entry_sequence << ORDINAL_BITS | record.entry_ordinal
    await entries.annotate(connection, ledger, number, record.metadata, moment(record.recorded_at))


async def _category(connection: Connection, ledger: int, record: CategoryWritten) -> None:
    at = moment(record.recorded_at)
    unit = Currency(record.currency, record.currency_exponent)
    fields = CategoryFields(
        category=Category("", record.category, unit, _side(record.normal_balance), True),
        ledger=ledger,
        name=record.name,
        description=record.description,
        external_id=record.external_id,
        metadata=record.metadata,
        sums=NOTHING,
        created_at=at,
        updated_at=at,
        discarded_at=None,
    )
    if record.category == record.sequence:
        await categories.create(connection, fields)
        return
    await categories.update(connection, fields)
    if record.discarded:
        await categories.discard(connection, ledger, record.category, at)


async def _account_categories(connection: Connection, ledger: int, record: AccountCategories) -> None:
    await categories.place(connection, ledger, record.account, record.categories, record.sequence)


async def _category_parents(connection: Connection, ledger: int, record: CategoryParents) -> None:
    before = set(await categories.parents(connection, ledger, record.category))
    for upper in before.difference(record.parents):
        await categories.part(connection, ledger, upper, record.category)
    await categories.join(connection, ledger, sorted(set(record.parents) - before), record.category)


async def _monitor(connection: Connection, ledger: int, record: MonitorWritten) -> None:
    at = moment(record.recorded_at)
    value = int(record.value)
    field, operator = cast("MonitoredField", record.field), cast("AlertOperator", record.operator)
    monitor = Monitor(record.monitor, record.account, field, operator, value, record.triggered)
    fields = MonitorFields(monitor, "", ledger, record.description, record.metadata, at, at, at)
    if record.monitor == record.sequence:
        await monitors.create(connection, fields)
    elif is_crossing(record):
        await monitors.trigger(connection, ledger, [monitor], at)
        if record.texts is not None:
            # A crossing changes no text, but its own may be erased and those before it not, or the reverse.
            await monitors.update(connection, fields)
    else:
        await monitors.update(connection, fields)
        if record.discarded:
            await monitors.discard(connection, fields)


def is_crossing(record: Record) -> bool:
    """Say whether a record tells what the change before it did to a monitor, and so belongs to the same command."""
    return isinstance(record, MonitorWritten) and record.event in (Event.TRIGGERED, Event.RESOLVED)


async def _statement(connection: Connection, ledger: int, record: StatementWritten) -> None:
    starting, ending = (Sums(*map(int, told)) for told in (record.starting_sums, record.ending_sums))
    statement = Statement(
        id="",
        ledger=ledger,
        sequence=record.sequence,
        account=account_of(record.account, record.lock_version, ending),
        effective_at_lower_bound=moment(record.effective_at_lower_bound),
        effective_at_upper_bound=moment(record.effective_at_upper_bound),
        starting=starting,
        description=record.description,
        metadata=record.metadata,
        created_at=moment(record.recorded_at),
    )
    await statements.create(connection, statement)


async def _settlement(connection: Connection, ledger: int, record: SettlementWritten) -> None:
    told = _told(ledger, record)
    if record.settlement == record.sequence:
        await settlements.lock_account(connection, ledger, record.settled_account)
        await settlements.create(connection, told)
        return
    before = await settlements.get(connection, ledger, record.settlement)
    assert before is not None, "the replay knows it"
    if before.status == "processing" and told.status != "processing":
        await _note_search(connection, before)
    if told.status in ("archiving", "archived"):
        await settlements.update(connection, replace(told, status="archiving"))
        while not await settlements.free_entries(connection, ledger, record.settlement, _ENTRIES_FREED_AT_ONCE):
            pass
    await settlements.update(connection, told)


def _told(ledger: int, record: SettlementWritten) -> Settlement:
    """Return a settlement as its record has it."""
    at, bound, direction = moment(record.recorded_at), record.effective_at_upper_bound, record.direction
    return Settlement(
        id="",
        ledger=ledger,
        sequence=record.settlement,
        status=cast("SettlementStatus", record.status),
        becomes=cast("SettledAs | None", record.becomes),
        settled_account=(record.settled_account, ""),
        contra_account=(record.contra_account, ""),
        currency=_NO_UNIT,
        normal_balance="credit",
        lock_version=record.lock_version,
        searched_lock_version=None if record.lock_version is None else 0,
        effective_at_upper_bound=None if bound is None else moment(bound),
        allows_either_direction=record.allow_either_direction,
        skips_transaction=record.skip_transaction,
        transaction=None if record.transaction is None else (record.transaction, ""),
        net=0,
        amount=None if record.amount is None else int(record.amount),
        direction=None if direction is None else "credit" if direction else "debit",
        description=record.description,
        metadata=record.metadata,
        created_at=at,
        updated_at=at,
    )


async def _note_search(connection: Connection, sweep: Settlement) -> None:
    """Note that a sweep has looked through its account, and what it left: the log tells only what it found."""
    ledger, account, end = sweep.ledger, sweep.settled_account[0], sweep.lock_version
    assert end is not None, "a sweep ends somewhere"
    swept = (await settlements.mark(connection, ledger, account)).swept
    left = await settlements.unsettled(connection, ledger, account, after=swept, to=end, limit=1)
    clear_to = left[0].lock_version - 1 if left else end
    await settlements.note_search(
        connection, replace(sweep, searched_lock_version=swept), reached=end, clear_to=clear_to
    )


async def _settled_entries(connection: Connection, ledger: int, record: SettledEntries) -> None:
    settlement = await settlements.get(connection, ledger, record.settlement)
    assert settlement is not None, "the replay knows it"
    await settlements.add_entries(connection, settlement, record.added)
    await settlements.remove_entries(connection, ledger, record.settlement, record.removed)
    if settlement.status == "drafting":
        await settlements.update(connection, replace(settlement, updated_at=moment(record.recorded_at)))


async def _redaction(_: Connection, __: int, ___: Redacted) -> None:
    """Write nothing: the records whose texts it erased came without them."""


WRITERS: Final[Mapping[str, Callable[[Connection, int, Any], Awaitable[None]]]] = {
    "ledger": _ledger,
    "account": _account,
    "entry": _entry,
    "category": _category,
    "account_categories": _account_categories,
    "category_parents": _category_parents,
    "monitor": _monitor,
    "statement": _statement,
    "settlement": _settlement,
    "settled_entries": _settled_entries,
    "redaction": _redaction,
}
"""Writes what a record of each kind but a transaction says, to a ledger that has all of the records before it."""

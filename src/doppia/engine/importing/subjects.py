"""Records that are no transactions, as an import writes what they say: by the queries that wrote it at first."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, cast

from doppia.accounting.closing.settlements import SettledAs, Settlement, SettlementStatus
from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.ledger.accounts import Account, AccountFields
from doppia.accounting.ledger.balances import NOTHING, Direction, Sums
from doppia.accounting.ledger.categories import Category, CategoryFields
from doppia.accounting.ledger.ledgers import Ledger
from doppia.accounting.ledger.monitors import AlertOperator, Monitor, MonitoredField, MonitorFields
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.money import Currency
from doppia.accounting.platform.events import Event
from doppia.proof.records import (
    AccountCategories,
    AccountWritten,
    AnyRecord,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    LedgerWritten,
    MonitorWritten,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
    moment,
)
from doppia.store.closing import settlements
from doppia.store.database.connections import Connection
from doppia.store.ledger import accounts, categories, entries, ledgers, monitors, statements

_ENTRIES_FREED_AT_ONCE: Final = 10_000
_NO_UNIT: Final = Currency("", 0)


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
    else:
        await monitors.update(connection, fields)
        if record.discarded:
            await monitors.discard(connection, fields)


def is_crossing(record: AnyRecord) -> bool:
    """Say whether a record tells what the change before it did to a monitor, and so belongs to the same command."""
    return isinstance(record, MonitorWritten) and record.event in (Event.TRIGGERED, Event.RESOLVED)


async def _statement(connection: Connection, ledger: int, record: StatementWritten) -> None:
    starting, ending = (Sums(*map(int, told)) for told in (record.starting_sums, record.ending_sums))
    statement = Statement(
        id="",
        ledger=ledger,
        sequence=record.sequence,
        account=Account("", record.account, _NO_UNIT, "credit", True, record.lock_version, ending),
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


WRITERS: Final[dict[type[Any], Callable[[Connection, int, Any], Awaitable[None]]]] = {
    LedgerWritten: _ledger,
    AccountWritten: _account,
    EntryAnnotated: _entry,
    CategoryWritten: _category,
    AccountCategories: _account_categories,
    CategoryParents: _category_parents,
    MonitorWritten: _monitor,
    StatementWritten: _statement,
    SettlementWritten: _settlement,
    SettledEntries: _settled_entries,
}
"""Of each kind of record but transactions: writes what it says, to a ledger that has all of the records before it."""

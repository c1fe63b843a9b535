"""Records that are no transactions, as an import writes what they say: by the queries that wrote it at first."""

from dataclasses import replace
from typing import Final

from doppia.accounting.closing.settlements import Settlement
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.money import Currency
from doppia.accounting.platform.events import Event
from doppia.engine.posting.recording import write_rows
from doppia.proof.records import (
    MonitorWritten,
    Record,
    SettledEntries,
    SettlementWritten,
    moment,
)
from doppia.store.closing import settlements
from doppia.store.database.connections import Connection

_ENTRIES_FREED_AT_ONCE: Final = 10_000
_NO_UNIT: Final = Currency("", 0)


def account_of(sequence: int, lock_version: int = 0, sums: Sums = NOTHING) -> Account:
    """Return what is written of an account with an entry: of all else that it is, nothing is asked there."""
    return Account("", sequence, _NO_UNIT, "credit", True, lock_version, sums)


def is_crossing(record: Record) -> bool:
    """Say whether a record tells what the change before it did to a monitor, and so belongs to the same command."""
    return isinstance(record, MonitorWritten) and record.event in (Event.TRIGGERED, Event.RESOLVED)


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
    settled, contra = account_of(record.settled_account), account_of(record.contra_account)
    told = settlements.from_record(record, ledger, moment(record.recorded_at), settled, contra, None)
    return replace(told, searched_lock_version=None if record.lock_version is None else 0)


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


async def write(connection: Connection, ledger: int, record: Record) -> None:
    """Write what a record that is no transaction's says, to a ledger that has all of the records before it."""
    match record:
        case SettlementWritten():
            await _settlement(connection, ledger, record)
        case SettledEntries():
            await _settled_entries(connection, ledger, record)
        case _:
            await write_rows(connection, ledger, record)

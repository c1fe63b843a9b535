"""The steps of a settlement: its entries are gathered, they are settled, and it may be archived.

Two locks are taken, in this order:

1. Every account that was ever settled has a row in `settled_accounts`. Whoever changes which of its entries are in
   settlements locks that row.
2. The ledger's head is locked only while records are written. Entries are looked for, added and freed without it, so
   transactions are posted beside a sweep of any size.

A sweep follows the lock versions of its account in steps. Each step is a database transaction of its own, which also
writes how far the sweep has come. The next step goes on from there, in this process or in another.

The row of an account also has a mark, `swept_lock_version`, where a new sweep begins: every posted entry up to that
lock version is in a settlement or was written by one. A step moves the mark forward past entries of which it left none.
This stays true, because new entries have higher lock versions and a posted entry stays posted. Only an entry that
leaves a settlement must be swept again; it leaves under the lock of the account's row, and moves the mark back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from doppia.accounting.closing.settlements import SettledAs, Settlement, check_accounts, complete, moving_draft
from doppia.accounting.errors import AccountDiscarded, AmountOutOfRange, LedgerDiscarded, SettlementNegative, TryAgain
from doppia.accounting.ids import Id, LedgerNumber, LedgerRef, format_id
from doppia.accounting.ledger.transaction_life import Revision, create, revise
from doppia.accounting.ledger.transactions import Status
from doppia.accounting.platform.events import Event
from doppia.engine.posting.books import Needs, accept, read
from doppia.engine.posting.writing import Clock, Writing, begin
from doppia.proof.records import Origin, SettledEntries, microseconds
from doppia.store.closing import settlements
from doppia.store.closing.settlements import Unsettled
from doppia.store.database.connections import Connection, Database
from doppia.store.ledger import ledgers
from doppia.store.posting import posting
from doppia.store.posting.groups import Group

ENTRIES_AT_ONCE: Final = 1_000
"""A step gathers or frees at most this many entries. A sweep that finds fewer is finished before it is answered."""

VERSIONS_AT_ONCE: Final = 20_000
"""A step looks through at most this many lock versions. It may find few entries, as most may be settled already."""

UNFINISHED_AT_ONCE: Final = 100
"""At most this many unfinished settlements are read at once."""


class Found(NamedTuple):
    """The unsettled entries that a step found on an account.

    Attributes:
        reached: the lock version up to which the step looked.
        entries: the unsettled entries up to there, at most `ENTRIES_AT_ONCE`, in the order of lock versions.
    """

    reached: int
    entries: Sequence[Unsettled]

    def before(self, bound: datetime) -> list[int]:
        """Return the numbers of the entries that are effective before a time."""
        return [unsettled.entry for unsettled in self.entries if unsettled.effective_at < bound]

    def clear_to(self, bound: datetime) -> int:
        """Return the lock version up to which no unsettled entry is left, once those before the bound are settled."""
        left = [unsettled.lock_version for unsettled in self.entries if unsettled.effective_at >= bound]
        return left[0] - 1 if left else self.reached


async def look(connection: Connection, ledger: int, account: int, *, after: int, to: int) -> Found:
    """Look for unsettled entries of an account, after one lock version and up to another.

    The account's row is locked. One call looks no further than one step does.
    """
    reached = min(to, after + VERSIONS_AT_ONCE)
    entries = await settlements.unsettled(connection, ledger, account, after=after, to=reached, limit=ENTRIES_AT_ONCE)
    if len(entries) == ENTRIES_AT_ONCE:
        reached = entries[-1].lock_version
    return Found(reached, entries)


async def gather(connection: Connection, settlement: Settlement, found: Found, bound: datetime) -> list[int]:
    """Put the entries found that are effective before the bound into a sweep, and return their numbers.

    The account's row is locked. How far the sweep has come is written as well.
    """
    added = await settlements.add_entries(connection, settlement, found.before(bound))
    await settlements.note_search(connection, settlement, reached=found.reached, clear_to=found.clear_to(bound))
    return added


def group_of(writing: Writing) -> Group:
    """Return an empty group for the records of a write."""
    return Group(writing.ledger.number, writing.now, writing.sequence - 1, writing.tree)


def append_settlement(group: Group, settlement: Settlement, actor: bytes | None, event: Event) -> None:
    """Append the record that writes a settlement as it is."""
    origin = Origin(group.sequence + 1, microseconds(group.recorded_at), actor, event)
    group.append(settlements.record_of(settlement, origin))


def append_entries(
    group: Group, settlement: Settlement, actor: bytes | None, *, added: list[int], removed: list[int]
) -> None:
    """Append the record of the entries that came into a settlement or left it, if there are any."""
    if not added and not removed:
        return
    record = SettledEntries(
        sequence=group.sequence + 1,
        recorded_at=microseconds(group.recorded_at),
        actor=actor,
        event=Event.UPDATED,
        settlement=settlement.sequence,
        added=added,
        removed=removed,
    )
    group.append(record)


async def conclude(
    connection: Connection, group: Group, settlement: Settlement, actor: bytes | None, event: Event
) -> None:
    """Record a group, with the settlement as it now is as its last record."""
    append_settlement(group, settlement, actor, event)
    await posting.record(connection, group)
    await settlements.update(connection, settlement)


async def settle(
    connection: Connection, group: Group, settlement: Settlement, becomes: SettledAs, actor: bytes | None
) -> Settlement:
    """Settle the entries that a settlement has gathered, and return it with its amount and its transaction.

    The account's row and the ledger's head are locked. The transaction is appended to the group.

    Raises:
        SettlementNegative, AmountOutOfRange, AccountDiscarded: the group is unchanged.
    """
    settled = complete(settlement, becomes, recorded_at=group.recorded_at)
    draft = moving_draft(settled)
    if draft is None:
        return settled
    numbers = settlement.settled_account[0], settlement.contra_account[0]
    books = await read(connection, group.ledger, Needs(accounts=set(numbers)))
    check_accounts(*(books.accounts[number] for number in numbers))
    sequence = group.sequence + 1
    change = create(
        draft,
        books.accounts,
        id_=format_id(int(group.recorded_at.timestamp()), group.ledger, sequence),
        sequence=sequence,
        recorded_at=group.recorded_at,
        settlement=(settlement.sequence, settlement.id),
    )
    accept([change], books, group, actor)
    return replace(settled, transaction=(sequence, change.transaction.id))


async def follow(
    connection: Connection, group: Group, settlement: Settlement, status: Status, actor: bytes | None
) -> None:
    """Give a settlement's transaction, if there is one, the status that the settlement gets."""
    if settlement.transaction is None:
        return
    number = settlement.transaction[0]
    books = await read(connection, group.ledger, Needs(transactions={number}))
    change = revise(
        books.transactions[number],
        Revision(status=status),
        books.accounts,
        sequence=group.sequence + 1,
        recorded_at=group.recorded_at,
        by_settlement=True,
    )
    accept([change], books, group, actor)


async def archive(
    connection: Connection, group: Group, settlement: Settlement, actor: bytes | None
) -> tuple[Settlement, Event]:
    """Archive a settlement with its transaction, and free as many entries as one step does.

    The account's row and the ledger's head are locked.

    Returns:
        The settlement, which is archiving if entries are left in it, and the event of this change.
    """
    await follow(connection, group, settlement, "archived", actor)
    archiving = replace(settlement, status="archiving", becomes=None, updated_at=group.recorded_at)
    await settlements.update(connection, archiving)
    if await settlements.free_entries(connection, settlement.ledger, settlement.sequence, ENTRIES_AT_ONCE):
        return replace(archiving, status="archived"), Event.FINISH_ARCHIVING
    return archiving, Event.UPDATED


async def work_off(database: Database, clock: Clock) -> None:
    """Finish all settlements that are processing or archiving, in all ledgers, one step of each in turn.

    After each step this function rests for as long as the step took, so that callers get at least half of what the
    database can do. Several processes may do this at once; the lock of the account's row lets one after the other do a
    step of a settlement.

    Raises:
        TryAgain: the service can't do it now; what is left is still to be done.
    """
    time = asyncio.get_running_loop().time
    failure: Exception | None = None
    last: Id | None = None
    goes_on = False
    while True:
        async with database.connection() as connection:
            unfinished = await settlements.unfinished(connection, last, UNFINISHED_AT_ONCE)
        for target in unfinished:
            began = time()
            try:
                goes_on |= await _step(database, clock, target)
            except TryAgain:
                raise
            except Exception as error:  # noqa: BLE001 - a settlement that fails must not stop the others
                failure = error
            await asyncio.sleep(time() - began)
        if len(unfinished) == UNFINISHED_AT_ONCE:
            last = unfinished[-1]
        elif goes_on:
            last, goes_on = None, False
        else:
            break
    if failure is not None:
        raise failure


async def _step(database: Database, clock: Clock, target: Id) -> bool:
    """Do one step of a settlement, and return whether there was one to do."""
    try:
        async with database.tx() as connection:
            await settlements.lock_account_of(connection, target.ledger, target.sequence)
            settlement = await settlements.get(connection, target.ledger, target.sequence)
            if settlement is None or settlement.status not in ("processing", "archiving"):
                return False
            owner = await ledgers.owner(connection, target.ledger)
            assert owner is not None, "a ledger with a settlement has an owner"
            ledger = LedgerRef(LedgerNumber(target.ledger), owner.ledger_id)
            if settlement.status == "archiving":
                await _free(connection, clock, ledger, settlement)
            elif settlement.searched_lock_version == settlement.lock_version:
                await _finish(connection, clock, ledger, settlement)
            else:
                await _sweep(connection, clock, ledger, settlement)
    except LedgerDiscarded:
        return False
    return True


async def _group(connection: Connection, clock: Clock, ledger: LedgerRef) -> Group:
    """Lock the head of a ledger, and return an empty group for what the service itself writes to the ledger.

    Raises:
        LedgerDiscarded: the ledger takes nothing more.
    """
    writing = await begin(connection, clock, ledger)
    writing.check_open()
    return group_of(writing)


async def _sweep(connection: Connection, clock: Clock, ledger: LedgerRef, settlement: Settlement) -> None:
    """Gather the entries of one step."""
    after, to, bound = settlement.searched_lock_version, settlement.lock_version, settlement.effective_at_upper_bound
    assert after is not None, "a sweep has the lock version that it has come to"
    assert to is not None, "a sweep has the lock version at which it ends"
    assert bound is not None, "a sweep has a bound"
    found = await look(connection, settlement.ledger, settlement.settled_account[0], after=after, to=to)
    added = await gather(connection, settlement, found, bound)
    if added:
        group = await _group(connection, clock, ledger)
        append_entries(group, settlement, None, added=added, removed=[])
        await posting.record(connection, group)


async def _finish(connection: Connection, clock: Clock, ledger: LedgerRef, settlement: Settlement) -> None:
    """Settle a sweep that has all its entries. If its entries can't be settled, it is archived."""
    assert settlement.becomes is not None, "a settlement that is processing has a status to become"
    group = await _group(connection, clock, ledger)
    try:
        settlement = await settle(connection, group, settlement, settlement.becomes, None)
    except (SettlementNegative, AmountOutOfRange, AccountDiscarded):
        settlement, _ = await archive(connection, group, settlement, None)
    await conclude(connection, group, settlement, None, Event.FINISH_PROCESSING)


async def _free(connection: Connection, clock: Clock, ledger: LedgerRef, settlement: Settlement) -> None:
    """Free the entries of one step; with the last of them the settlement is archived."""
    if await settlements.free_entries(connection, ledger.number, settlement.sequence, ENTRIES_AT_ONCE):
        group = await _group(connection, clock, ledger)
        archived = replace(settlement, status="archived", updated_at=group.recorded_at)
        await conclude(connection, group, archived, None, Event.FINISH_ARCHIVING)

"""The steps of a settlement: gather its entries, settle them, archive it; and the work that goes on after an answer.

Whoever changes what is settled of an account first locks that account's row of `settled_accounts`, for this alone, and
only then the ledger's head. So the entries of a settlement are looked for, added and freed without the head, which is
locked to put on record what was done, and no longer than that takes: posting goes on beside a sweep of any size. A
sweep goes along the lock versions of its account in steps, each a database transaction of its own that notes how far it
came. Whoever comes next, in this process or in another, goes on from there.

Where a sweep begins, the account's mark says: every posted entry up to `swept_lock_version` is in a settlement or was
written by one. A step may move the mark on to where it left none, for an entry never comes to be there later: new ones
have higher lock versions, and a posted one stays posted. Only what leaves a settlement is to be swept again; that
happens under the account's lock, too, and moves the mark back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from doppia.accounting.closing.settlements import SettledAs, Settlement, check_accounts, complete, moving
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
"""That a step gathers or frees at most. A sweep that finds less is done before it is answered."""

VERSIONS_AT_ONCE: Final = 20_000
"""That a step looks through at most; most of them may be settled already."""

UNFINISHED_AT_ONCE: Final = 100


class Found(NamedTuple):
    """What a look at an account found.

    Attributes:
        reached: the lock version up to which it looked.
        entries: unsettled ones, at most `ENTRIES_AT_ONCE`, in order.
    """

    reached: int
    entries: Sequence[Unsettled]

    def before(self, bound: datetime) -> list[int]:
        """Return the numbers of those that are effective before a time."""
        return [found.entry for found in self.entries if found.effective_at < bound]

    def clear_to(self, bound: datetime) -> int:
        """Return the lock version up to which nothing unsettled is left, once those before the bound are settled."""
        left = [found.lock_version for found in self.entries if found.effective_at >= bound]
        return left[0] - 1 if left else self.reached


async def look(connection: Connection, ledger: int, account: int, *, after: int, to: int) -> Found:
    """Look for unsettled entries of an account after one lock version, up to another; the account is locked."""
    reached = min(to, after + VERSIONS_AT_ONCE)
    found = await settlements.unsettled(connection, ledger, account, after=after, to=reached, limit=ENTRIES_AT_ONCE)
    if len(found) == ENTRIES_AT_ONCE:
        reached = found[-1].lock_version
    return Found(reached, found)


async def gather(connection: Connection, settlement: Settlement, found: Found, bound: datetime) -> list[int]:
    """Put what a look found before the bound into its sweep, and return it; the account is locked."""
    added = await settlements.add_entries(connection, settlement, found.before(bound))
    await settlements.note_search(connection, settlement, reached=found.reached, clear_to=found.clear_to(bound))
    return added


def group_of(write: Writing) -> Group:
    """Return an empty group for the records of a write."""
    return Group(write.ledger.number, write.now, write.sequence - 1, write.tree)


def note(group: Group, settlement: Settlement, actor: bytes | None, event: Event) -> None:
    """Append the record that writes a settlement as it is."""
    origin = Origin(group.sequence + 1, microseconds(group.recorded_at), actor, event)
    group.append(settlements.record_of(settlement, origin))


def note_entries(
    group: Group, settlement: Settlement, actor: bytes | None, *, added: list[int], removed: list[int]
) -> None:
    """Append the record of entries that came to a settlement or left it, if there are any."""
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
    """Put all that a write did on record, the settlement as it now is last."""
    note(group, settlement, actor, event)
    await posting.record(connection, group)
    await settlements.update(connection, settlement)


async def settle(
    connection: Connection, group: Group, settlement: Settlement, becomes: SettledAs, actor: bytes | None
) -> Settlement:
    """Settle what a settlement has gathered, with its transaction; account and head are locked.

    Raises:
        SettlementNegative, AmountOutOfRange, AccountDiscarded: nothing was done to the group.
    """
    settled = complete(settlement, becomes, recorded_at=group.recorded_at)
    draft = moving(settled)
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
    """Give the transaction of a settlement, if it has one, the status that the settlement gets."""
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
    """Archive a settlement with its transaction, and free entries as one step does; account and head are locked.

    Returns:
        The settlement, archiving where entries are left to be freed, and the event that this is.
    """
    await follow(connection, group, settlement, "archived", actor)
    archiving = replace(settlement, status="archiving", becomes=None, updated_at=group.recorded_at)
    await settlements.update(connection, archiving)
    if await settlements.free_entries(connection, settlement.ledger, settlement.sequence, ENTRIES_AT_ONCE):
        return replace(archiving, status="archived"), Event.FINISH_ARCHIVING
    return archiving, Event.UPDATED


async def work_off(database: Database, clock: Clock) -> None:
    """Do all that is left to do of settlements, in all ledgers, step by step in turns.

    After each step it rests for as long as the step took, so that at least half of what the database can do is left to
    those who wait for an answer. Any number of processes may do so at once: they take turns at a settlement.

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
            except Exception as error:  # noqa: BLE001 - one that can't go on shall not keep the others from it
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
    """Do one step of a settlement's work, and say whether there was one to do."""
    try:
        async with database.tx() as connection:
            await settlements.lock_account_of(connection, target.ledger, target.sequence)
            settlement = await settlements.get(connection, target.ledger, target.sequence)
            if settlement is None or settlement.status not in ("processing", "archiving"):
                return False
            owner = await ledgers.owner(connection, target.ledger)
            assert owner is not None, "its settlement is there"
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
    """Lock the head of a ledger, and return an empty group for what the service itself writes to it.

    Raises:
        LedgerDiscarded: nothing more is written to it.
    """
    writing = await begin(connection, clock, ledger)
    writing.check_open()
    return group_of(writing)


async def _sweep(connection: Connection, clock: Clock, ledger: LedgerRef, settlement: Settlement) -> None:
    """Gather some more entries."""
    after, to, bound = settlement.searched_lock_version, settlement.lock_version, settlement.effective_at_upper_bound
    assert after is not None, "a sweep has come somewhere"
    assert to is not None, "a sweep ends somewhere"
    assert bound is not None, "a sweep has a bound"
    found = await look(connection, settlement.ledger, settlement.settled_account[0], after=after, to=to)
    added = await gather(connection, settlement, found, bound)
    if added:
        group = await _group(connection, clock, ledger)
        note_entries(group, settlement, None, added=added, removed=[])
        await posting.record(connection, group)


async def _finish(connection: Connection, clock: Clock, ledger: LedgerRef, settlement: Settlement) -> None:
    """Settle a sweep that has all its entries. One that comes to what can't be settled is archived."""
    assert settlement.becomes is not None, "it is processing"
    group = await _group(connection, clock, ledger)
    try:
        settlement = await settle(connection, group, settlement, settlement.becomes, None)
    except (SettlementNegative, AmountOutOfRange, AccountDiscarded):
        settlement, _ = await archive(connection, group, settlement, None)
    await conclude(connection, group, settlement, None, Event.FINISH_PROCESSING)


async def _free(connection: Connection, clock: Clock, ledger: LedgerRef, settlement: Settlement) -> None:
    """Free some more entries; with the last of them the settlement is archived."""
    if await settlements.free_entries(connection, ledger.number, settlement.sequence, ENTRIES_AT_ONCE):
        group = await _group(connection, clock, ledger)
        archived = replace(settlement, status="archived", updated_at=group.recorded_at)
        await conclude(connection, group, archived, None, Event.FINISH_ARCHIVING)

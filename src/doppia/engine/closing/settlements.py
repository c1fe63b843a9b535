"""Settlements: create, change, pick the entries of a draft."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from doppia.accounting.closing.settlements import (
    Settlement,
    SettlementStatus,
    check_accounts,
    check_draft,
    check_entry,
    check_net,
    check_status,
    new_draft,
    revise,
    sweeping,
)
from doppia.accounting.errors import EntrySettled, ObjectNotFound
from doppia.accounting.ids import ORDINAL_BITS, Id, format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.platform.events import Event
from doppia.engine.closing.settling import (
    ENTRIES_AT_ONCE,
    Found,
    archive,
    conclude,
    follow,
    gather,
    group_of,
    look,
    note,
    note_entries,
    settle,
)
from doppia.engine.posting.writing import Answer, Clock, Key, Writing, begin, replayed
from doppia.store.closing import settlements
from doppia.store.closing.settlements import EntryFacts
from doppia.store.database.connections import Connection, Database
from doppia.store.ledger import ledgers
from doppia.store.posting import posting
from doppia.store.posting.groups import Group

Render = Callable[[Settlement], bytes]

_TICK: Final = timedelta(microseconds=1)
_VERSIONS_SUMMED_AT_ONCE: Final = 100_000
_VERSIONS_FORESEEN_MAX: Final = 2_000_000
"""Summing up that many takes as long as a caller may wait; of a longer sweep the end tells."""


async def create(
    database: Database,
    clock: Clock,
    settled: Id,
    contra: Id,
    actor: UUID | None,
    key: Key | None,
    render: Render,
    *,
    status: Literal["drafting", "pending", "posted"],
    effective_at_upper_bound: datetime | None,
    allows_either_direction: bool,
    skips_transaction: bool,
    description: str | None,
    metadata: Mapping[str, str],
) -> Answer:
    """Create a draft, or sweep an account. A sweep of more than one step is answered while it is processing.

    Args:
        database: to write to.
        clock: the time.
        settled: the account, of whose ledger the settlement is.
        contra: the account that it is settled against, of the same ledger.
        actor: id of the API key.
        key: the idempotency key.
        render: makes the answer's body.
        status: what it is to be, or to become.
        effective_at_upper_bound: of a sweep; None is the time it is recorded, after that of all before it.
        allows_either_direction: whether a negative sum is settled, too.
        skips_transaction: whether nothing is moved.
        description: of the settlement, and of its transaction.
        metadata: of the settlement.

    Raises, the first that holds, in this order:
        IdempotencyKeyReused, LedgerDiscarded.
        ObjectNotFound: of an account.
        ParameterInvalid, AccountDiscarded: as `check_accounts`.
        SettlementNegative, AmountOutOfRange: as `complete`.
    """
    by = actor.bytes if actor else None
    foreseen = 0
    if status != "drafting" and not allows_either_direction:
        foreseen = await _foresee(database, clock, settled, effective_at_upper_bound)
    async with database.tx() as connection:
        await settlements.lock_account(connection, settled.ledger, settled.sequence)
        mark = await settlements.mark(connection, settled.ledger, settled.sequence)
        ends = {"after": mark.begin, "to": mark.lock_version}
        found = None
        if status != "drafting":
            found = await look(connection, settled.ledger, settled.sequence, **ends)
        write = await begin(connection, clock, settled, key)
        if write.replay is not None:
            return write.replay
        # What was recorded before is effective before, if no other time was named for it: the bound is exclusive.
        write.now += _TICK
        account, other = await _accounts(connection, settled, contra)
        check_net(foreseen, account.normal_balance, allows_either_direction=allows_either_direction)
        settlement = new_draft(
            account,
            other,
            id_=format_id(int(write.now.timestamp()), settled.ledger, write.sequence),
            ledger=settled.ledger,
            sequence=write.sequence,
            recorded_at=write.now,
            allows_either_direction=allows_either_direction,
            skips_transaction=skips_transaction,
            description=description,
            metadata=metadata,
        )
        if status != "drafting":
            settlement = sweeping(settlement, status, before=effective_at_upper_bound or write.now, **ends)
        await settlements.create(connection, settlement)
        group = group_of(write)
        note(group, settlement, by, Event.CREATED)
        if found is not None and found.reached == mark.lock_version and not mark.is_freeing:
            settlement = await _settle_at_once(connection, group, settlement, found, by)
        else:
            await posting.record(connection, group)
        return await write.answer(201, render(settlement))


async def _foresee(database: Database, clock: Clock, settled: Id, bound: datetime | None) -> int:
    """Return credits less debits of what a sweep would settle as things are now; 0 for one of one step, or of many."""
    ledger, number = settled.ledger, settled.sequence
    async with database.connection() as connection:
        mark = await settlements.mark(connection, ledger, number)
        net, after = 0, mark.begin
        if not ENTRIES_AT_ONCE <= mark.lock_version - after <= _VERSIONS_FORESEEN_MAX:
            return 0
        bound = bound or max(clock(), await ledgers.recorded_at(connection, ledger)) + _TICK
        while after < mark.lock_version:
            to = min(mark.lock_version, after + _VERSIONS_SUMMED_AT_ONCE)
            net += await settlements.unsettled_net(connection, ledger, number, after=after, to=to, before_time=bound)
            after = to
    return net


async def _accounts(connection: Connection, settled: Id, contra: Id) -> tuple[Account, Account]:
    """Return the two accounts of a settlement, if one can be settled against the other."""
    _, accounts, _, _ = await posting.read_at_once(
        connection, settled.ledger, [settled.sequence, contra.sequence], (), ()
    )
    for id_, name in ((settled, "settled"), (contra, "contra")):
        if id_.sequence not in accounts or accounts[id_.sequence].id != str(id_):
            raise ObjectNotFound(object="ledger_account", id=str(id_), parameter=f"{name}_ledger_account_id")
    account, other = accounts[settled.sequence], accounts[contra.sequence]
    check_accounts(account, other)
    return account, other


async def _settle_at_once(
    connection: Connection, group: Group, settlement: Settlement, found: Found, actor: bytes | None
) -> Settlement:
    """Do all the steps of a sweep."""
    bound, becomes = settlement.effective_at_upper_bound, settlement.becomes
    assert bound is not None, "a sweep has a bound"
    assert becomes is not None, "it is processing"
    added = await gather(connection, settlement, found, bound)
    note_entries(group, settlement, actor, added=added, removed=[])
    gathered = await settlements.get(connection, settlement.ledger, settlement.sequence)
    assert gathered is not None, "it was created just now"
    settled = await settle(connection, group, gathered, becomes, actor)
    await conclude(connection, group, settled, actor, Event.FINISH_PROCESSING)
    return settled


async def _find(connection: Connection, target: Id) -> Settlement:
    settlement = await settlements.get(connection, target.ledger, target.sequence)
    if settlement is None or settlement.id != str(target):
        raise ObjectNotFound(object="ledger_account_settlement", id=str(target))
    return settlement


async def update(
    database: Database,
    clock: Clock,
    target: Id,
    actor: UUID | None,
    key: Key | None,
    render: Render,
    changes: Mapping[str, Any],
) -> Answer:
    """Change a settlement: `status`, `description`, `metadata` (merged in), `skips_transaction`.

    The transaction of a settlement follows it. One with more entries than a step frees is answered while it is
    archiving.

    Raises, the first that holds, in this order:
        IdempotencyKeyReused, LedgerDiscarded, ObjectNotFound.
        SettlementFinal, MetadataTooLarge: as `check_status` and `revise`.
        SettlementNegative, AmountOutOfRange, AccountDiscarded: a draft can't be settled.
    """
    by = actor.bytes if actor else None
    async with database.tx() as connection:
        await settlements.lock_account_of(connection, target.ledger, target.sequence)
        write = await begin(connection, clock, target, key)
        if write.replay is not None:
            return write.replay
        before = await _find(connection, target)
        status: SettlementStatus = changes.get("status") or before.status
        check_status(before, status)
        settlement, event = revise(before, changes, recorded_at=write.now), Event.UPDATED
        group = group_of(write)
        match before.status, status:
            case "drafting", ("pending" | "posted") as becomes:
                settlement = await settle(connection, group, settlement, becomes, by)
                event = Event.POSTED if becomes == "posted" else Event.UPDATED
            case "pending", "posted":
                await follow(connection, group, settlement, "posted", by)
                settlement, event = replace(settlement, status="posted"), Event.POSTED
            case (("drafting" | "pending" | "posted"), "archived"):
                settlement, event = await archive(connection, group, settlement, by)
        await conclude(connection, group, settlement, by, event)
        return await write.answer(200, render(settlement))


async def add_entries(
    database: Database, clock: Clock, target: Id, actor: UUID | None, key: Key | None, entries: Sequence[Id]
) -> Answer:
    """Put entries of the ledger into a draft, all of them or none; those that are in it stay there.

    Raises, the first that holds, in this order:
        IdempotencyKeyReused.
        ObjectNotFound: of the settlement.
        SettlementFinal: it is no draft.
        ObjectNotFound, EntryNotSettleable, EntrySettled: of an entry, in order.
        LedgerDiscarded.
    """
    numbers = [_number(entry) for entry in entries]
    async with database.tx() as connection:
        draft = await _lock_draft(connection, target, key)
        if isinstance(draft, Answer):
            return draft
        facts = await settlements.entry_facts(connection, target.ledger, numbers)
        holders = await settlements.holders(connection, target.ledger, numbers)
        freed: dict[int, list[int]] = {}
        for position, (entry, number) in enumerate(zip(entries, numbers, strict=True)):
            where = f"ledger_entry_ids[{position}]"
            if not _is_known(entry, facts):
                raise ObjectNotFound(object="ledger_entry", id=str(entry), parameter=where)
            known, holder = facts[number], holders.get(number)
            check_entry(
                draft, id_=str(entry), account=known.account, status=known.status, is_own=known.is_own, parameter=where
            )
            if holder is None or holder.sequence == draft.sequence:
                continue
            if not holder.is_archiving:
                raise EntrySettled(ledger_entry_id=str(entry), ledger_account_settlement_id=holder.id, parameter=where)
            freed.setdefault(holder.sequence, []).append(number)
        for sequence, held in freed.items():
            await settlements.remove_entries(connection, target.ledger, sequence, held)
        added = await settlements.add_entries(connection, draft, numbers)
        write = await begin(connection, clock, target, key)
        return await _answer(write, draft, actor, added=added, removed=[])


async def _lock_draft(connection: Connection, target: Id, key: Key | None) -> Settlement | Answer:
    """Lock what is settled of a draft's account; return the draft, or the answer that a repeated key had.

    Raises, the first that holds, in this order:
        IdempotencyKeyReused.
        ObjectNotFound: of the settlement.
        SettlementFinal: it is no draft.
    """
    await settlements.lock_account_of(connection, target.ledger, target.sequence)
    replay = await replayed(connection, key)
    if replay is not None:
        return replay
    draft = await _find(connection, target)
    check_draft(draft)
    return draft


def _number(entry: Id) -> int:
    return entry.sequence << ORDINAL_BITS | entry.ordinal


def _is_known(entry: Id, facts: Mapping[int, EntryFacts]) -> bool:
    known = facts.get(_number(entry))
    return known is not None and known.seconds == entry.seconds


async def remove_entries(
    database: Database, clock: Clock, target: Id, actor: UUID | None, key: Key | None, entries: Sequence[Id]
) -> Answer:
    """Take entries of the ledger out of a draft; those that are not in it stay where they are.

    Raises, the first that holds, in this order:
        IdempotencyKeyReused.
        ObjectNotFound: of the settlement.
        SettlementFinal: it is no draft.
        LedgerDiscarded.
    """
    async with database.tx() as connection:
        draft = await _lock_draft(connection, target, key)
        if isinstance(draft, Answer):
            return draft
        facts = await settlements.entry_facts(connection, target.ledger, [_number(entry) for entry in entries])
        meant = [_number(entry) for entry in entries if _is_known(entry, facts)]
        removed = await settlements.remove_entries(connection, target.ledger, draft.sequence, meant)
        write = await begin(connection, clock, target, key)
        return await _answer(write, draft, actor, added=[], removed=removed)


async def _answer(
    write: Writing, draft: Settlement, actor: UUID | None, *, added: list[int], removed: list[int]
) -> Answer:
    """Put on record what was picked, and answer with nothing."""
    group = group_of(write)
    note_entries(group, draft, actor.bytes if actor else None, added=added, removed=removed)
    if group.records:
        await posting.record(write.connection, group)
        await settlements.update(write.connection, replace(draft, updated_at=write.now))
    return await write.answer(200, b"")

"""The commands about settlements: create one, change it, and pick the entries of a draft."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal

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
from doppia.accounting.ids import ORDINAL_BITS, Id, LedgerRef
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.platform.events import Event
from doppia.accounting.revisions import UNCHANGED, Unchanged, chosen
from doppia.engine.closing.settling import (
    ENTRIES_AT_ONCE,
    Found,
    append_entries,
    append_settlement,
    archive,
    conclude,
    follow,
    gather,
    group_of,
    look,
    settle,
)
from doppia.engine.posting.writing import Command, Writing
from doppia.store.closing import settlements
from doppia.store.closing.settlements import EntryFacts, Mark
from doppia.store.database.connections import Connection
from doppia.store.ledger import ledgers
from doppia.store.posting import posting
from doppia.store.posting.groups import Group

_TICK: Final = timedelta(microseconds=1)
"""Times have microseconds; this is the smallest step between two of them."""

_VERSIONS_SUMMED_AT_ONCE: Final = 100_000
"""One statement sums the entries of at most this many lock versions."""

_VERSIONS_FORESEEN_MAX: Final = 2_000_000
"""The sum of a sweep over at most this many lock versions is foreseen before it begins.

Summing more would take longer than a caller may wait, so a longer sweep that comes to a negative sum is archived at its
end.
"""


@dataclass(kw_only=True)
class CreateSettlement(Command[Settlement]):
    """Create a draft, or sweep an account. A sweep of more than one step is answered while it is processing.

    Attributes:
        settled: the account whose entries are settled.
        contra: the account that the amount is moved to or from.
        status: "drafting" for a draft, or else the status that a sweep gets when it has all its entries.
        effective_at_upper_bound: a sweep takes entries effective before this time; None means the time at which the
            sweep is recorded, which is later than those of all records before it.
        allows_either_direction: whether a negative sum is settled, too.
        skips_transaction: whether the settlement moves nothing.
        description: the description of the settlement and of its transaction.

    Raises, the first that holds, in this order:
        ObjectNotFound: of an account.
        ParameterInvalid, AccountDiscarded: as `check_accounts` says.
        SettlementNegative, AmountOutOfRange: as `complete` says.
    """

    LOCKS_FIRST: ClassVar[bool] = True

    ledger: LedgerRef
    settled: Id
    contra: Id
    status: Literal["drafting", "pending", "posted"]
    effective_at_upper_bound: datetime | None = None
    allows_either_direction: bool = False
    skips_transaction: bool = False
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    async def lock(self, connection: Connection) -> None:
        """Lock the settled account's row."""
        await settlements.lock_account(connection, self.ledger.number, self.settled.sequence)

    async def look(self, connection: Connection, now: datetime) -> None:
        """Look for the entries of the first step, and foresee the sum of a longer sweep."""
        ledger, account = self.ledger.number, self.settled.sequence
        self._mark = await settlements.mark(connection, ledger, account)
        self._found: Found | None = None
        self._foreseen = 0
        if self.status == "drafting":
            return
        if not self.allows_either_direction:
            self._foreseen = await self._foresee(connection, self._mark, now)
        self._found = await look(connection, ledger, account, after=self._mark.begin, to=self._mark.lock_version)

    async def _foresee(self, connection: Connection, mark: Mark, now: datetime) -> int:
        """Return credits less debits of the entries that a sweep would settle.

        0 is returned where this is not worth its time: the sweep is finished at once, or is too long.
        """
        ledger, number, net, after = self.ledger.number, self.settled.sequence, 0, mark.begin
        if not ENTRIES_AT_ONCE <= mark.lock_version - after <= _VERSIONS_FORESEEN_MAX:
            return 0
        bound = self.effective_at_upper_bound or max(now, await ledgers.recorded_at(connection, ledger)) + _TICK
        while after < mark.lock_version:
            to = min(mark.lock_version, after + _VERSIONS_SUMMED_AT_ONCE)
            net += await settlements.unsettled_net(connection, ledger, number, after=after, to=to, before_time=bound)
            after = to
        return net

    async def carry_out(self, writing: Writing) -> Settlement:
        """Create the settlement, under the lock of the ledger's head, and finish it if one step is enough."""
        # The bound excludes entries effective at the same time. One microsecond later than all records before it, it
        # includes every entry that was recorded before, unless a later effective time was named for it.
        writing.now += _TICK
        mark, found, connection = self._mark, self._found, writing.connection
        account, other = await self._accounts(connection)
        check_net(self._foreseen, account.normal_balance, allows_either_direction=self.allows_either_direction)
        settlement = new_draft(
            account,
            other,
            id_=writing.moment().id(),
            ledger=self.ledger.number,
            sequence=writing.sequence,
            recorded_at=writing.now,
            allows_either_direction=self.allows_either_direction,
            skips_transaction=self.skips_transaction,
            description=self.description,
            metadata=self.metadata,
        )
        if self.status != "drafting":
            bound = self.effective_at_upper_bound or writing.now
            settlement = sweeping(settlement, self.status, after=mark.begin, to=mark.lock_version, before=bound)
        await settlements.create(connection, settlement)
        group = group_of(writing)
        append_settlement(group, settlement, writing.actor, Event.CREATED)
        if found is not None and found.reached == mark.lock_version and not mark.is_freeing:
            settlement = await _settle_at_once(writing, group, settlement, found)
        else:
            await posting.record(connection, group)
        writing.about = group.sequence
        return settlement

    async def _accounts(self, connection: Connection) -> tuple[Account, Account]:
        """Return the two accounts, of which one can be settled against the other."""
        settled, contra = self.settled, self.contra
        _, accounts, _, _ = await posting.read_at_once(
            connection, self.ledger.number, [settled.sequence, contra.sequence], (), ()
        )
        for id_, name in ((settled, "settled"), (contra, "contra")):
            if id_.sequence not in accounts or accounts[id_.sequence].id != str(id_):
                raise ObjectNotFound(object="ledger_account", id=str(id_), parameter=f"{name}_ledger_account_id")
        account, other = accounts[settled.sequence], accounts[contra.sequence]
        check_accounts(account, other)
        return account, other


async def _settle_at_once(writing: Writing, group: Group, settlement: Settlement, found: Found) -> Settlement:
    """Do all the work of a sweep that one step finishes, and return the settlement."""
    connection, actor = writing.connection, writing.actor
    bound, becomes = settlement.effective_at_upper_bound, settlement.becomes
    assert bound is not None, "a sweep has a bound"
    assert becomes is not None, "a settlement that is processing has a status to become"
    added = await gather(connection, settlement, found, bound)
    append_entries(group, settlement, actor, added=added, removed=[])
    gathered = await settlements.get(connection, settlement.ledger, settlement.sequence)
    assert gathered is not None, "it was created just now"
    settled = await settle(connection, group, gathered, becomes, actor)
    await conclude(connection, group, settled, actor, Event.FINISH_PROCESSING)
    return settled


@dataclass(kw_only=True)
class _OfSettlement(Command[Any]):
    """A command about one settlement. The row of its settled account is locked first."""

    LOCKS_FIRST: ClassVar[bool] = True

    ledger: LedgerRef
    target: Id

    async def lock(self, connection: Connection) -> None:
        """Lock the row of the settlement's settled account."""
        await settlements.lock_account_of(connection, self.ledger.number, self.target.sequence)

    async def _find(self, connection: Connection) -> Settlement:
        settlement = await settlements.get(connection, self.ledger.number, self.target.sequence)
        if settlement is None or settlement.id != str(self.target):
            raise ObjectNotFound(object="ledger_account_settlement", id=str(self.target))
        return settlement


@dataclass(kw_only=True)
class UpdateSettlement(_OfSettlement, Command[Settlement]):
    """Change a settlement; metadata is merged in. Its transaction gets the status that the settlement gets.

    If a settlement that is to be archived has more entries than one step frees, it is answered while it is archiving.

    Raises, the first that holds, in this order:
        ObjectNotFound.
        SettlementFinal, MetadataTooLarge: as `check_status` and `revise` say.
        SettlementNegative, AmountOutOfRange, AccountDiscarded: the entries of the draft can't be settled.
    """

    status: SettlementStatus | Unchanged = UNCHANGED
    description: str | Unchanged | None = UNCHANGED
    metadata: Mapping[str, str | None] | Unchanged | None = UNCHANGED
    skips_transaction: bool | Unchanged = UNCHANGED

    async def carry_out(self, writing: Writing) -> Settlement:
        """Change the settlement, under the lock of the ledger's head."""
        connection, actor = writing.connection, writing.actor
        before = await self._find(connection)
        status = chosen(self.status, before.status)
        check_status(before, status)
        event = Event.UPDATED
        settlement = revise(
            before,
            description=self.description,
            metadata=self.metadata,
            skips_transaction=self.skips_transaction,
            recorded_at=writing.now,
        )
        group = group_of(writing)
        match before.status, status:
            case "drafting", ("pending" | "posted") as becomes:
                settlement = await settle(connection, group, settlement, becomes, actor)
                event = Event.POSTED if becomes == "posted" else Event.UPDATED
            case "pending", "posted":
                await follow(connection, group, settlement, "posted", actor)
                settlement, event = replace(settlement, status="posted"), Event.POSTED
            case (("drafting" | "pending" | "posted"), "archived"):
                settlement, event = await archive(connection, group, settlement, actor)
        await conclude(connection, group, settlement, actor, event)
        writing.about = group.sequence
        return settlement


@dataclass(kw_only=True)
class _Pick(_OfSettlement, Command[None]):
    """A command that puts entries into a draft or takes them out. The head is locked only to record what was done."""

    entries: Sequence[Id]

    async def look(self, connection: Connection, now: datetime) -> None:  # noqa: ARG002 - of all commands
        """Put the entries in, or take them out."""
        self._draft = await self._find(connection)
        check_draft(self._draft)
        self._added: list[int] = []
        self._removed: list[int] = []
        await self._pick(connection, self._draft)

    async def _pick(self, connection: Connection, draft: Settlement) -> None:
        raise NotImplementedError

    async def carry_out(self, writing: Writing) -> None:
        """Record which entries came in or left, under the lock of the ledger's head."""
        group = group_of(writing)
        append_entries(group, self._draft, writing.actor, added=self._added, removed=self._removed)
        if group.records:
            await posting.record(writing.connection, group)
            await settlements.update(writing.connection, replace(self._draft, updated_at=writing.now))


@dataclass(kw_only=True)
class AddEntries(_Pick):
    """Put entries of the ledger into a draft, all of them or none. An entry that is in it already stays there.

    Raises, the first that holds, in this order:
        ObjectNotFound: of the settlement.
        SettlementFinal: it is no draft.
        ObjectNotFound, EntryNotSettleable, EntrySettled: of an entry, in order.
        LedgerDiscarded.
    """

    async def _pick(self, connection: Connection, draft: Settlement) -> None:
        ledger = self.ledger.number
        numbers = [_number(entry) for entry in self.entries]
        facts = await settlements.entry_facts(connection, ledger, numbers)
        holders = await settlements.holders(connection, ledger, numbers)
        freed: dict[int, list[int]] = {}
        for position, (entry, number) in enumerate(zip(self.entries, numbers, strict=True)):
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
            await settlements.remove_entries(connection, ledger, sequence, held)
        self._added = await settlements.add_entries(connection, draft, numbers)


@dataclass(kw_only=True)
class RemoveEntries(_Pick):
    """Take entries of the ledger out of a draft. An entry that is not in it stays where it is.

    Raises, the first that holds, in this order:
        ObjectNotFound: of the settlement.
        SettlementFinal: it is no draft.
        LedgerDiscarded.
    """

    async def _pick(self, connection: Connection, draft: Settlement) -> None:
        ledger = self.ledger.number
        facts = await settlements.entry_facts(connection, ledger, [_number(entry) for entry in self.entries])
        meant = [_number(entry) for entry in self.entries if _is_known(entry, facts)]
        self._removed = await settlements.remove_entries(connection, ledger, draft.sequence, meant)


def _number(entry: Id) -> int:
    return entry.sequence << ORDINAL_BITS | entry.ordinal


def _is_known(entry: Id, facts: Mapping[int, EntryFacts]) -> bool:
    known = facts.get(_number(entry))
    return known is not None and known.seconds == entry.seconds

"""Settlements in the database, their entries, and what a sweep asks for."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast, get_args

from doppia.accounting.closing.settlements import SettledAs, Settlement, SettlementStatus
from doppia.accounting.ids import Id, format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.transactions import Status
from doppia.accounting.money import Currency
from doppia.proof.records import Origin, SettlementWritten, microseconds, moment
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Listing, Order, Walk, newest_first
from doppia.store.database.parameters import (
    DIRECTION,
    METADATA,
    TIME,
    Parameter,
    Plan,
    Reach,
    id_of,
    several,
    unfiltered,
    words,
)

_SQL: Final = load_queries("closing/settlements")


def _settlement(row: Any) -> Settlement:
    ledger = row["ledger_id"]

    def linked(name: str, created_at: datetime) -> tuple[int, str]:
        sequence = row[name]
        return sequence, format_id(int(created_at.timestamp()), ledger, sequence)

    return Settlement(
        id=linked("settlement_sequence", row["created_at"])[1],
        ledger=ledger,
        sequence=row["settlement_sequence"],
        status=row["status"],
        becomes=row["becomes"],
        settled_account=linked("settled_account_sequence", row["settled_created_at"]),
        contra_account=linked("contra_account_sequence", row["contra_created_at"]),
        currency=Currency(row["currency"], row["currency_exponent"]),
        normal_balance=row["normal_balance"],
        lock_version=row["lock_version"],
        searched_lock_version=row["searched_lock_version"],
        effective_at_upper_bound=row["effective_at_upper_bound"],
        allows_either_direction=row["allow_either_direction"],
        skips_transaction=row["skip_transaction"],
        transaction=(
            None
            if row["transaction_sequence"] is None
            else linked("transaction_sequence", row["transaction_created_at"])
        ),
        net=row["net"],
        amount=row["amount"],
        direction=row["direction"],
        description=row["description"],
        metadata=row["metadata"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def get(connection: Connection, ledger: int, sequence: int) -> Settlement | None:
    """Return a settlement."""
    found = await list_page(connection, [ledger], [Filter("id", [sequence])], None, 1)
    return found[0] if found else None


PARAMETERS: Final = (
    Parameter("id", several(id_of("ledger_account_settlement")), Reach.FEW, Plan.KEPT, ("id", "id_exact")),
    unfiltered("ledger_id", id_of("ledger")),
    Parameter("ledger_transaction_id", id_of("ledger_transaction"), Reach.FEW, Plan.KEPT, ("transaction",)),
    Parameter("settled_ledger_account_id", id_of("ledger_account"), Reach.ACCOUNT, Plan.KEPT, ("settled_account",)),
    Parameter("settlement_entry_direction", DIRECTION, Reach.ANYWHERE, Plan.KEPT, ("direction",)),
    Parameter("status", several(words(*get_args(SettlementStatus))), Reach.ANYWHERE, Plan.KEPT),
    Parameter("created_at", TIME, Reach.ANYWHERE, Plan.KEPT),
    Parameter("updated_at", TIME, Reach.ANYWHERE, Plan.BY_VALUE),
    Parameter("metadata", METADATA, Reach.LEDGER_INDEX, Plan.BY_VALUE),
)
LIST: Final = Listing(
    "closing/settlements",
    PARAMETERS,
    walks=(Walk("by_filters", ("settlements_pkey",)),),
    newest_first=Order("created_at", "settlement_sequence", 0, "desc"),
)
list_page: Final = newest_first(LIST, _settlement)


async def create(connection: Connection, settlement: Settlement) -> None:
    """Create a settlement that takes entries from now on; the ledger's head is locked."""
    await _SQL["create"].execute(
        connection,
        ledger=settlement.ledger,
        settlement=settlement.sequence,
        settled_account=settlement.settled_account[0],
        contra_account=settlement.contra_account[0],
        status=settlement.status,
        becomes=settlement.becomes,
        lock_version=settlement.lock_version,
        searched_lock_version=settlement.searched_lock_version,
        effective_at_upper_bound=settlement.effective_at_upper_bound,
        allow_either_direction=settlement.allows_either_direction,
        skip_transaction=settlement.skips_transaction,
        description=settlement.description,
        metadata=dict(settlement.metadata),
        created_at=settlement.created_at,
    )


async def update(connection: Connection, settlement: Settlement) -> None:
    """Write a settlement's changed fields; the ledger's head is locked."""
    await _SQL["update"].execute(
        connection,
        ledger=settlement.ledger,
        settlement=settlement.sequence,
        status=settlement.status,
        becomes=settlement.becomes,
        skip_transaction=settlement.skips_transaction,
        transaction=settlement.transaction and settlement.transaction[0],
        amount=settlement.amount,
        direction=settlement.direction,
        description=settlement.description,
        metadata=dict(settlement.metadata),
        updated_at=settlement.updated_at,
    )


async def lock_account(connection: Connection, ledger: int, account: int) -> None:
    """Lock what is settled of an account until the database transaction ends, before the ledger's head is locked."""
    await _SQL["lock_account"].execute(connection, ledger=ledger, account=account)


async def lock_account_of(connection: Connection, ledger: int, sequence: int) -> None:
    """Lock what is settled of a settlement's account, in the same way; there may be no such settlement."""
    await _SQL["lock_account_of"].execute(connection, ledger=ledger, settlement=sequence)


async def lock_accounts(connection: Connection, ledger: int) -> None:
    """Lock what is settled of all accounts of a ledger, in the same way."""
    await _SQL["lock_accounts"].execute(connection, ledger=ledger)


class Mark(NamedTuple):
    """Where a sweep of an account begins, and where it ends.

    Attributes:
        swept: lock version up to which no posted entry is left that could be settled.
        lock_version: of the account.
        is_freeing: whether an archived settlement's entries are still to be freed.
    """

    swept: int
    lock_version: int
    is_freeing: bool

    @property
    def begin(self) -> int:
        """The lock version after which a sweep begins; what is still to be freed may lie before the mark."""
        return 0 if self.is_freeing else self.swept


async def mark(connection: Connection, ledger: int, account: int) -> Mark:
    """Return where a sweep of an account begins and ends; of an account that is not there, at nothing."""
    row = await _SQL["mark"].fetchrow(connection, ledger=ledger, account=account)
    return Mark(*row) if row else Mark(0, 0, is_freeing=False)


class Unsettled(NamedTuple):
    """A posted entry, by its number, that is in no settlement and was not written by one."""

    entry: int
    lock_version: int
    effective_at: datetime


async def unsettled(
    connection: Connection, ledger: int, account: int, *, after: int, to: int, limit: int
) -> list[Unsettled]:
    """Return the first of an account's unsettled entries after one lock version, up to another."""
    rows = await _SQL["unsettled"].fetch(connection, ledger=ledger, account=account, after=after, to=to, limit=limit)
    return [Unsettled(*row) for row in rows]


async def unsettled_net(
    connection: Connection, ledger: int, account: int, *, after: int, to: int, before_time: datetime
) -> int:
    """Return credits less debits of those among them that are effective before a time."""
    net: int = await _SQL["unsettled_net"].fetchval(
        connection, ledger=ledger, account=account, after=after, to=to, before_time=before_time
    )
    return net


async def note_search(connection: Connection, settlement: Settlement, *, reached: int, clear_to: int) -> None:
    """Note that a sweep has looked on, and move its account's mark; the account is locked since before it looked.

    Args:
        connection: of the same database transaction in which the entries found were added.
        settlement: as it was before.
        reached: lock version up to which it has looked.
        clear_to: up to which it left nothing unsettled.
    """
    await _SQL["note_search"].execute(
        connection,
        ledger=settlement.ledger,
        settlement=settlement.sequence,
        account=settlement.settled_account[0],
        searched=settlement.searched_lock_version,
        reached=reached,
        clear_to=clear_to,
    )


async def add_entries(connection: Connection, settlement: Settlement, entries: Sequence[int]) -> list[int]:
    """Put those of the entries that are in no settlement into this one, and return them; the account is locked."""
    rows = await _SQL["add_entries"].fetch(
        connection, ledger=settlement.ledger, settlement=settlement.sequence, entries=entries
    )
    return sorted(row[0] for row in rows)


async def remove_entries(connection: Connection, ledger: int, sequence: int, entries: Sequence[int]) -> list[int]:
    """Take those of the entries that are in a settlement out of it, and return them; the account is locked."""
    rows = await _SQL["remove_entries"].fetch(connection, ledger=ledger, settlement=sequence, entries=entries)
    return sorted(row[0] for row in rows)


async def free_entries(connection: Connection, ledger: int, sequence: int, limit: int) -> bool:
    """Free some entries of a settlement that is archiving, and say whether it has none left; the account is locked."""
    await _SQL["free_entries"].execute(connection, ledger=ledger, settlement=sequence, limit=limit)
    return not await _SQL["has_entries"].fetchval(connection, ledger=ledger, settlement=sequence)


class Holder(NamedTuple):
    """The settlement that holds an entry: its sequence and id, and whether it is archiving and so has let go of it."""

    sequence: int
    id: str
    is_archiving: bool


async def holders(connection: Connection, ledger: int, entries: Sequence[int]) -> dict[int, Holder]:
    """Return which of the entries are in which settlement; with the account locked this can't change."""
    rows = await _SQL["holders"].fetch(connection, ledger=ledger, entries=entries)
    return {
        row[0]: Holder(row[1], format_id(int(row[2].timestamp()), ledger, row[1]), row[3] == "archiving")
        for row in rows
    }


class EntryFacts(NamedTuple):
    """What never changes of an entry: seconds of its creation, account, status, and whether a settlement wrote it."""

    seconds: int
    account: int
    status: Status
    is_own: bool


async def entry_facts(connection: Connection, ledger: int, entries: Sequence[int]) -> dict[int, EntryFacts]:
    """Return what is to be known of entries before they are picked, of those that exist."""
    rows = await _SQL["entries"].fetch(connection, ledger=ledger, entries=entries)
    return {row[0]: EntryFacts(int(row[1].timestamp()), *row[2:]) for row in rows}


async def unfinished(connection: Connection, after: Id | None, limit: int) -> list[Id]:
    """Return settlements, of whichever ledger, whose entries are to be gathered or freed now, after one of them."""
    rows: Iterable[Any] = await _SQL["unfinished"].fetch(
        connection,
        limit=limit,
        after_ledger=0 if after is None else after.ledger,
        after_settlement=0 if after is None else after.sequence,
    )
    return [Id(int(row[2].timestamp()), row[0], row[1], 0) for row in rows]


def record_of(settlement: Settlement, origin: Origin) -> SettlementWritten:
    """Return the record that writes a settlement as it is."""
    bound, direction = settlement.effective_at_upper_bound, settlement.direction
    return SettlementWritten(
        **origin._asdict(),
        settlement=settlement.sequence,
        settled_account=settlement.settled_account[0],
        contra_account=settlement.contra_account[0],
        status=settlement.status,
        becomes=settlement.becomes,
        lock_version=settlement.lock_version,
        effective_at_upper_bound=None if bound is None else microseconds(bound),
        allow_either_direction=settlement.allows_either_direction,
        skip_transaction=settlement.skips_transaction,
        transaction=settlement.transaction and settlement.transaction[0],
        amount=None if settlement.amount is None else str(settlement.amount),
        direction=None if direction is None else int(direction == "credit"),
        description=settlement.description,
        metadata=dict(settlement.metadata),
    )


def from_record(
    record: SettlementWritten,
    ledger: int,
    created_at: datetime,
    settled: Account,
    contra: Account,
    transaction_id: str | None,
) -> Settlement:
    """Return the settlement that a record writes, without what records do not say: its net, and how far it searched."""
    bound, direction = record.effective_at_upper_bound, record.direction
    return Settlement(
        id=format_id(int(created_at.timestamp()), ledger, record.settlement),
        ledger=ledger,
        sequence=record.settlement,
        status=cast("SettlementStatus", record.status),
        becomes=cast("SettledAs | None", record.becomes),
        settled_account=(settled.sequence, settled.id),
        contra_account=(contra.sequence, contra.id),
        currency=settled.currency,
        normal_balance=settled.normal_balance,
        lock_version=record.lock_version,
        searched_lock_version=None,
        effective_at_upper_bound=None if bound is None else moment(bound),
        allows_either_direction=record.allow_either_direction,
        skips_transaction=record.skip_transaction,
        transaction=None if record.transaction is None else (record.transaction, transaction_id or ""),
        net=0,
        amount=None if record.amount is None else int(record.amount),
        direction=None if direction is None else "credit" if direction else "debit",
        description=record.description,
        metadata=record.metadata,
        created_at=created_at,
        updated_at=moment(record.recorded_at),
    )

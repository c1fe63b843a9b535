"""Balance monitors in the database."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, cast

from doppia.accounting.ids import format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.ledger.monitors import AlertOperator, Monitor, MonitoredField, MonitorFields, MonitorState
from doppia.accounting.money import Currency
from doppia.accounting.platform.events import Event
from doppia.proof.records import MonitorWritten, Origin, moment
from doppia.store.database.connections import Connection, load_queries
from doppia.store.database.listing import Filter, Listing, Order, Walk, newest_first
from doppia.store.database.parameters import BOOLEAN, METADATA, Parameter, Plan, Reach, id_of, several

_SQL: Final = load_queries("ledger/monitors")


def _fields(row: Any) -> MonitorFields:
    ledger, sequence, created_at = row["ledger_id"], row["monitor_sequence"], row["created_at"]
    return MonitorFields(
        Monitor(sequence, row["account_sequence"], row["field"], row["operator"], row["value"], row["is_triggered"]),
        format_id(int(created_at.timestamp()), ledger, sequence),
        ledger,
        row["description"],
        row["metadata"],
        created_at,
        row["updated_at"],
        row["discarded_at"],
    )


def _state(row: Any) -> MonitorState:
    account = Account(
        format_id(int(row["account_created_at"].timestamp()), row["ledger_id"], row["account_sequence"]),
        row["account_sequence"],
        Currency(row["currency"], row["currency_exponent"]),
        row["normal_balance"],
        row["is_open"],
        row["lock_version"],
        Sums(row["posted_credits"], row["posted_debits"], row["pending_credits"], row["pending_debits"]),
    )
    return MonitorState(_fields(row), account)


async def get(connection: Connection, ledger: int, sequence: int) -> MonitorState | None:
    """Return a monitor."""
    found = await list_page(connection, [ledger], [Filter("id", [sequence])], None, 1)
    return found[0] if found else None


PARAMETERS: Final = (
    Parameter("id", several(id_of("ledger_account_balance_monitor")), Reach.FEW, Plan.KEPT, ("id", "id_exact")),
    Parameter("ledger_account_id", id_of("ledger_account"), Reach.ACCOUNT, Plan.KEPT),
    Parameter("discarded", BOOLEAN, Reach.ANYWHERE, Plan.KEPT),
    Parameter("metadata", METADATA, Reach.LEDGER_INDEX, Plan.BY_VALUE),
)
LIST: Final = Listing(
    "ledger/monitors",
    PARAMETERS,
    walks=(Walk("by_filters", ("balance_monitors_pkey",)),),
    newest_first=Order("created_at", "monitor_sequence", 0, "desc"),
)
list_page: Final = newest_first(LIST, _state)


async def of_accounts(connection: Connection, ledger: int, accounts: Iterable[int]) -> dict[int, list[MonitorFields]]:
    """Return the monitors of accounts that are not discarded, by sequence of the account."""
    found: dict[int, list[MonitorFields]] = {}
    for row in await _SQL["of_accounts"].fetch(connection, ledger=ledger, accounts=list(accounts)):
        fields = _fields(row)
        found.setdefault(fields.monitor.account, []).append(fields)
    return found


async def trigger(connection: Connection, ledger: int, monitors: Iterable[Monitor], updated_at: datetime) -> None:
    """Write which monitors are triggered from now on and which are no longer; the ledger's head is locked."""
    states = {monitor.sequence: monitor.is_triggered for monitor in monitors}
    await _SQL["trigger"].execute(
        connection, ledger=ledger, monitors=list(states), states=list(states.values()), updated_at=updated_at
    )


def record_of(fields: MonitorFields, lock_version: int, origin: Origin) -> MonitorWritten:
    """Return the record that writes a monitor as it is at its account's `lock_version`."""
    monitor = fields.monitor
    return MonitorWritten(
        **origin._asdict(),
        monitor=monitor.sequence,
        account=monitor.account,
        field=monitor.field,
        operator=monitor.operator,
        value=str(monitor.value),
        triggered=monitor.is_triggered,
        lock_version=lock_version,
        description=fields.description,
        metadata=dict(fields.metadata),
        discarded=fields.discarded_at is not None,
    )


def from_record(record: MonitorWritten, ledger: int, created_at: datetime) -> MonitorFields:
    """Return the monitor that a record writes."""
    recorded_at = moment(record.recorded_at)
    field, operator = cast("MonitoredField", record.field), cast("AlertOperator", record.operator)
    return MonitorFields(
        monitor=Monitor(record.monitor, record.account, field, operator, int(record.value), record.triggered),
        id=format_id(int(created_at.timestamp()), ledger, record.monitor),
        ledger=ledger,
        description=record.description,
        metadata=record.metadata,
        created_at=created_at,
        updated_at=recorded_at,
        discarded_at=recorded_at if record.discarded else None,
    )


async def write(connection: Connection, ledger: int, record: MonitorWritten) -> None:
    """Write what a record says of a monitor; the ledger's head is locked.

    Its account is watched from its first monitor on, and no longer once it has no other.
    """
    at, sequence = moment(record.recorded_at), record.monitor
    is_crossing = record.event in (Event.TRIGGERED, Event.RESOLVED)
    if is_crossing:
        await _SQL["trigger"].execute(
            connection, ledger=ledger, monitors=[sequence], states=[record.triggered], updated_at=at
        )
    if sequence == record.sequence:
        await _SQL["create"].execute(
            connection,
            ledger=ledger,
            monitor=sequence,
            account=record.account,
            field=record.field,
            operator=record.operator,
            value=int(record.value),
            is_triggered=record.triggered,
            description=record.description,
            metadata=record.metadata,
            created_at=at,
        )
    elif not is_crossing or record.texts is not None:
        # A crossing changes no text, but its own may be erased where those before it are not, or the reverse.
        await _SQL["update"].execute(
            connection,
            ledger=ledger,
            monitor=sequence,
            description=record.description,
            metadata=record.metadata,
            updated_at=at,
        )
    if record.discarded:
        await _SQL["discard"].execute(connection, ledger=ledger, monitor=sequence, discarded_at=at)
    if record.discarded or sequence == record.sequence:
        await _SQL["watch"].execute(connection, ledger=ledger, account=record.account)

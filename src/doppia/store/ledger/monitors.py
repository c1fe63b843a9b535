"""Balance monitors in the database."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from doppia.accounting.ids import format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.ledger.monitors import Monitor, MonitorFields, MonitorState
from doppia.accounting.money import Currency
from doppia.store.database.connections import Connection, load_filters, load_queries
from doppia.store.database.listing import Filter, Order, Place, compose

_SQL: Final = load_queries("ledger/monitors")
_FILTERS: Final = load_filters("ledger/monitors")


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


async def list_page(
    connection: Connection,
    ledgers: Sequence[int],
    filters: Sequence[Filter],
    after: Place | None,
    limit: int,
) -> list[MonitorState]:
    """Return a page of monitors, the newest first."""
    order = Order("created_at", "monitor_sequence", 0, "desc")
    query, arguments = compose(
        _SQL["list"].text, _FILTERS, filters, ledgers=ledgers, order=order, after=after, limit=limit
    )
    return [_state(row) for row in await connection.fetch(query, *arguments)]


async def create(connection: Connection, fields: MonitorFields) -> None:
    """Create a monitor and let its account be watched; the ledger's head is locked."""
    monitor = fields.monitor
    await _SQL["create"].execute(
        connection,
        ledger=fields.ledger,
        monitor=monitor.sequence,
        account=monitor.account,
        field=monitor.field,
        operator=monitor.operator,
        value=monitor.value,
        is_triggered=monitor.is_triggered,
        description=fields.description,
        metadata=dict(fields.metadata),
        created_at=fields.created_at,
    )
    await _SQL["watch"].execute(connection, ledger=fields.ledger, account=monitor.account)


async def update(connection: Connection, fields: MonitorFields) -> None:
    """Write a monitor's description and metadata; the ledger's head is locked."""
    await _SQL["update"].execute(
        connection,
        ledger=fields.ledger,
        monitor=fields.monitor.sequence,
        description=fields.description,
        metadata=dict(fields.metadata),
        updated_at=fields.updated_at,
    )


async def discard(connection: Connection, fields: MonitorFields) -> None:
    """Discard a monitor; its account is watched no longer once it has no other. The ledger's head is locked."""
    monitor = fields.monitor
    await _SQL["discard"].execute(
        connection, ledger=fields.ledger, monitor=monitor.sequence, discarded_at=fields.discarded_at
    )
    await _SQL["watch"].execute(connection, ledger=fields.ledger, account=monitor.account)


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

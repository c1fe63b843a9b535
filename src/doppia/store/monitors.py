"""Balance monitors in the database."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from doppia.accounting.ids import format_id
from doppia.accounting.monitors import Monitor
from doppia.store.database import Connection, load_queries

_SQL: Final = load_queries("monitors")


class MonitorFields(NamedTuple):
    """A monitor with all its fields; `monitor` is what the rules see of it."""

    monitor: Monitor
    id: str
    ledger: int
    description: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    discarded_at: datetime | None


def _fields(row: Any) -> MonitorFields:
    ledger, sequence, account, field, operator, value, is_triggered, *rest = row
    created_at = rest[2]
    return MonitorFields(
        Monitor(sequence, account, field, operator, value, is_triggered),
        format_id(int(created_at.timestamp()), ledger, sequence),
        ledger,
        *rest,
    )


async def of_accounts(connection: Connection, ledger: int, accounts: Iterable[int]) -> dict[int, list[MonitorFields]]:
    """Return the monitors of accounts that are not discarded, by sequence of the account."""
    found: dict[int, list[MonitorFields]] = {}
    for row in await connection.fetch(_SQL["of_accounts"], ledger, list(accounts)):
        fields = _fields(row)
        found.setdefault(fields.monitor.account, []).append(fields)
    return found


async def trigger(connection: Connection, ledger: int, monitors: Iterable[Monitor], updated_at: datetime) -> None:
    """Write which monitors are triggered from now on and which are no longer; the ledger's head is locked."""
    states = [(monitor.sequence, monitor.is_triggered) for monitor in monitors]
    await connection.execute(
        _SQL["trigger"], ledger, [sequence for sequence, _ in states], [state for _, state in states], updated_at
    )

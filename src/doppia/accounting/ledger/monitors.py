"""Balance monitors: a condition on an account, triggered when it comes to hold and resolved when it ceases to."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple, assert_never

from doppia.accounting.errors import TooManyMonitors
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import balance

MONITORS_OF_ACCOUNT_MAX: Final = 100

MonitoredField = Literal[
    "available_balance_amount", "pending_balance_amount", "posted_balance_amount", "ledger_account_lock_version"
]
AlertOperator = Literal["less_than", "less_than_or_equals", "equals", "greater_than_or_equals", "greater_than"]


class Monitor(NamedTuple):
    """A monitor as the rules see it. `sequence` and `account` are sequences in the ledger's log."""

    sequence: int
    account: int
    field: MonitoredField
    operator: AlertOperator
    value: int
    is_triggered: bool


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


class MonitorState(NamedTuple):
    """A monitor, and its account as it stands at the same moment."""

    fields: MonitorFields
    account: Account


def observed(field: MonitoredField, account: Account) -> int:
    """Return what a monitor of this field sees of an account."""
    match field:
        case "ledger_account_lock_version":
            return account.lock_version
        case "available_balance_amount":
            return balance("available", account.sums, account.normal_balance).amount
        case "pending_balance_amount":
            return balance("pending", account.sums, account.normal_balance).amount
        case "posted_balance_amount":
            return balance("posted", account.sums, account.normal_balance).amount
        case _:
            assert_never(field)


def condition_holds(field: MonitoredField, operator: AlertOperator, value: int, account: Account) -> bool:
    """Say whether the condition holds for an account."""
    amount = observed(field, account)
    match operator:
        case "less_than":
            return amount < value
        case "less_than_or_equals":
            return amount <= value
        case "equals":
            return amount == value
        case "greater_than_or_equals":
            return amount >= value
        case "greater_than":
            return amount > value
        case _:
            assert_never(operator)


def check_room(watching: int, account: Account) -> None:
    """Ask that an account which so many monitors watch may be watched by another: each is looked at by every posting.

    Raises:
        TooManyMonitors.
    """
    if watching >= MONITORS_OF_ACCOUNT_MAX:
        raise TooManyMonitors(
            parameter="ledger_account_id", ledger_account_id=account.id, count_max=MONITORS_OF_ACCOUNT_MAX
        )


def crossed(monitors: Iterable[Monitor], account: Account) -> list[Monitor]:
    """Return those monitors of an account whose condition has come to hold or ceased to, in their new state."""
    changed = []
    for monitor in monitors:
        is_triggered = condition_holds(monitor.field, monitor.operator, monitor.value, account)
        if is_triggered != monitor.is_triggered:
            changed.append(monitor._replace(is_triggered=is_triggered))
    return changed

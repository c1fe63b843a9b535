"""Balance monitors: each has a condition on an account.

A monitor is triggered when its condition comes to hold, and resolved when the condition ceases to hold.
"""

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
    """A monitor as the rules see it.

    Attributes:
        sequence: the sequence of the log record that created the monitor.
        account: the sequence of the account that the monitor watches.
        value: what the field is compared with: minor units, or a lock version.
        is_triggered: whether the condition held after the account's last step.
    """

    sequence: int
    account: int
    field: MonitoredField
    operator: AlertOperator
    value: int
    is_triggered: bool


class MonitorFields(NamedTuple):
    """A monitor with all its fields.

    Attributes:
        monitor: the monitor as the rules see it.
        ledger: the number of the monitor's ledger.
    """

    monitor: Monitor
    id: str
    ledger: int
    description: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    discarded_at: datetime | None


class MonitorState(NamedTuple):
    """A monitor, with its account as it stands at the same moment."""

    fields: MonitorFields
    account: Account


def observed(field: MonitoredField, account: Account) -> int:
    """Return the value of a field of an account: a lock version, or a balance in minor units."""
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
    """Return whether a monitor's condition holds for an account."""
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
    """Refuse another monitor of an account that is watched by as many as it may be.

    The limit is there because every transaction on the account tests the conditions of all its monitors.

    Raises:
        TooManyMonitors.
    """
    if watching >= MONITORS_OF_ACCOUNT_MAX:
        raise TooManyMonitors(
            parameter="ledger_account_id", ledger_account_id=account.id, count_max=MONITORS_OF_ACCOUNT_MAX
        )


def crossed(monitors: Iterable[Monitor], account: Account) -> list[Monitor]:
    """Return, of an account's monitors, those whose condition has come to hold or ceased to hold, in their new state.

    `account` is the account after its last step.
    """
    changed = []
    for monitor in monitors:
        is_triggered = condition_holds(monitor.field, monitor.operator, monitor.value, account)
        if is_triggered != monitor.is_triggered:
            changed.append(monitor._replace(is_triggered=is_triggered))
    return changed

"""Balance monitors as the model has them: each looks at its account after every command that is accepted."""

import dataclasses
import operator
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "less_than": operator.lt, "less_than_or_equals": operator.le, "equals": operator.eq,
    "greater_than_or_equals": operator.ge, "greater_than": operator.gt,
}  # fmt: skip
LOCK_VERSION: Final = "ledger_account_lock_version"
FIELDS: Final = ("posted_balance_amount", "pending_balance_amount", "available_balance_amount", LOCK_VERSION)


class Told(NamedTuple):
    """What the log tells of a monitor: what happened to it, its state then, and its account's lock_version."""

    event: str
    is_triggered: bool
    lock_version: int


@dataclasses.dataclass
class ModelMonitor:
    account: int
    field: str
    operator: str
    value: int
    is_triggered: bool
    is_open: bool = True
    told: list[Told] = dataclasses.field(default_factory=list)

    def tell(self, event: str, lock_version: int) -> None:
        self.told.append(Told(event, self.is_triggered, lock_version))

    def holds(self, amount: int) -> bool:
        return COMPARISONS[self.operator](amount, self.value)

    def look(self, amount: int, lock_version: int) -> None:
        if self.is_open and self.holds(amount) != self.is_triggered:
            self.is_triggered = not self.is_triggered
            self.tell("triggered" if self.is_triggered else "resolved", lock_version)

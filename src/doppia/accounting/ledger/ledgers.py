"""Ledgers: each is a set of books, and no transaction crosses from one to another."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from doppia.accounting.ids import LedgerId, LedgerNumber, LedgerRef


class Ledger(NamedTuple):
    """A ledger with all its fields. `id` is what the API shows, `number` is what the tables have."""

    id: LedgerId
    number: LedgerNumber
    name: str
    description: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    discarded_at: datetime | None

    @property
    def ref(self) -> LedgerRef:
        """The ledger as commands name it."""
        return LedgerRef(self.number, self.id)

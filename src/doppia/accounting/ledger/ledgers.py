"""Ledgers: sets of books that no transaction crosses."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from doppia.accounting.ids import LedgerId, LedgerNumber, LedgerRef


class Ledger(NamedTuple):
    """A ledger's own fields. `id` as the wire shows it, `number` as the tables do."""

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
        """What names the ledger in a command."""
        return LedgerRef(self.number, self.id)

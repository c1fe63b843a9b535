"""Ledgers: sets of books that no transaction crosses."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple


class Ledger(NamedTuple):
    """A ledger's own fields. `id` as the wire shows it, `number` as the tables do."""

    id: str
    number: int
    name: str
    description: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    discarded_at: datetime | None

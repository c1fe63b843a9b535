"""Redactions: texts of a ledger that were erased for good, while every amount stays."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

OBJECTS_MAX: Final = 1_000
"""One redaction erases the texts of at most so many objects, so that nobody waits long for the ledger meanwhile."""


class Redaction(NamedTuple):
    """A redaction, as its record tells it.

    Attributes:
        sequence: position of the record in the ledger's log.
        erased: the texts that it erased: of each the sequence of the record that they were in, and the ordinal of the
            entry whose metadata they were, 0 for the record's own.
    """

    id: str
    ledger: int
    sequence: int
    erased: Sequence[tuple[int, int]]
    reason: str | None
    created_at: datetime

"""Redactions in the database: what one is, and the erasing of texts in the log."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from doppia.accounting.ids import ORDINAL_BITS, format_id
from doppia.proof.records import Redacted, moment
from doppia.store.database.connections import Connection, load_queries

_SQL: Final = load_queries("platform/redactions")


class Redaction(NamedTuple):
    """A redaction, as its record tells it.

    Attributes:
        erased: the texts that it erased: of each the sequence of the record that they were in, and the ordinal of the
            entry whose metadata they were, 0 for the record's own.
    """

    id: str
    ledger: int
    erased: Sequence[tuple[int, int]]
    reason: str | None
    created_at: datetime


def from_record(record: Redacted, ledger: int) -> Redaction:
    """Return the redaction that a record is."""
    created_at = moment(record.recorded_at)
    erased = [(number >> ORDINAL_BITS, number & (1 << ORDINAL_BITS) - 1) for number in record.erased]
    id_ = format_id(int(created_at.timestamp()), ledger, record.sequence)
    return Redaction(id_, ledger, erased, record.reason, created_at)


async def erase(connection: Connection, ledger: int, numbers: Sequence[int]) -> None:
    """Erase texts in a ledger's log for good; its head is locked, and the record that says so is its last.

    Args:
        connection: in the database transaction that appended the record.
        ledger: its number.
        numbers: those that the record names; each the sequence of a record, times 1024, plus an ordinal.

    Raises:
        ConstraintViolatedError: one of them is not there, or the last record is no redaction; nothing is erased.
    """
    await connection.execute(_SQL["erase"], ledger, list(numbers))

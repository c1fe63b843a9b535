"""Redactions in the database: what is to be erased, and the erasing."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from doppia.accounting.ids import ORDINAL_BITS, format_id
from doppia.accounting.platform.redactions import Redaction
from doppia.proof.records import Redacted, moment
from doppia.proof.sealing import opened
from doppia.store.database.connections import Connection, load_queries

_SQL: Final = load_queries("platform/redactions")

ROWS_OF: Final = ("transaction", "account", "category", "monitor", "statement", "settlement", "entry")
"""The kinds whose rows hold texts."""


def from_record(record: Redacted, ledger: int) -> Redaction:
    """Return the redaction that a record is."""
    created_at = moment(record.recorded_at)
    return Redaction(
        id=format_id(int(created_at.timestamp()), ledger, record.sequence),
        ledger=ledger,
        sequence=record.sequence,
        erased=[(number >> ORDINAL_BITS, number & (1 << ORDINAL_BITS) - 1) for number in record.erased],
        reason=record.reason,
        created_at=created_at,
    )


async def matching(
    connection: Connection, ledger: int, metadata: Mapping[str, str], limit: int
) -> list[tuple[str, int]]:
    """Return kind and number of what has all these pairs in its metadata, at most so many of each kind."""
    rows = await _SQL["matching"].fetch(connection, ledger=ledger, metadata=dict(metadata), limit=limit)
    return [(row[0], row[1]) for row in rows]


async def records(connection: Connection, ledger: int, sequences: Sequence[int]) -> list[Any]:
    """Return the records that have these sequences, and those about what they created, in order."""
    rows = await _SQL["records"].fetch(connection, ledger=ledger, sequences=sequences)
    return [opened(payload, texts) for _, payload, texts in rows]


async def erase(connection: Connection, ledger: int, numbers: Sequence[int]) -> None:
    """Erase texts in a ledger's log for good; its head is locked, and the record that says so is its last.

    Args:
        connection: in the database transaction that appended the record.
        ledger: its number.
        numbers: those that the record names; each the sequence of a record, times 1024, plus an ordinal.

    Raises:
        ConstraintViolatedError: one of them is not there, or the last record is no redaction; nothing is erased.
    """
    await _SQL["erase"].execute(connection, ledger=ledger, texts=list(numbers))


async def erase_rows(connection: Connection, ledger: int, numbers: Mapping[str, Sequence[int]]) -> None:
    """Erase the texts in rows, by their kind; the ledger's head is locked, and its last record is a redaction."""
    by_kind = {kind: list(numbers.get(kind, ())) for kind in ROWS_OF}
    await _SQL["erase_rows"].execute(connection, ledger=ledger, **by_kind)


class KeptObject(NamedTuple):
    """What an idempotency key keeps of an object, by a record about it."""

    digest: bytes
    sequence: int
    kept: bytes


async def kept_objects(connection: Connection, ledger: int, first: int) -> list[KeptObject]:
    """Return what the keys of a ledger keep, by the records from one on."""
    return [KeptObject(*row) for row in await _SQL["kept"].fetch(connection, ledger=ledger, first=first)]


async def rewrite_kept(connection: Connection, ledger: int, kept: Mapping[bytes, bytes]) -> None:
    """Let keys, by digest, keep these objects instead; the ledger's head is locked, its last record is a redaction."""
    if kept:
        await _SQL["rewrite_kept"].execute(connection, ledger=ledger, digests=list(kept), kept=list(kept.values()))


async def forget_bulk_items(
    connection: Connection, ledger: int, ids: Sequence[str], metadata: Mapping[str, str] | None
) -> None:
    """Forget what results of bulk requests hold of these objects, and of items that were sent with such metadata."""
    uuids = [UUID(id_) for id_ in ids]
    with_metadata = None if metadata is None else dict(metadata)
    await _SQL["forget_bulk_items"].execute(connection, ledger=ledger, ids=uuids, metadata=with_metadata)

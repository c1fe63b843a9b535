"""Redactions over HTTP, as events tell of them."""

from typing import Literal

from msgspec import Struct

from doppia.api.http.wire import Object, UuidText
from doppia.store.platform.redactions import Redaction


class ErasedTexts(Struct, kw_only=True):
    """Texts that were erased: those of a log record, or with an `ordinal` the metadata of an entry that it wrote."""

    sequence: int
    ordinal: int | None


class RedactionObject(Object, kw_only=True):
    """Texts of a ledger were erased for good. What they were about stays, and so does every amount."""

    object: Literal["ledger_redaction"] = "ledger_redaction"
    ledger_id: UuidText
    reason: str | None
    erased: list[ErasedTexts]


def to_object(redaction: Redaction, ledger_id: str) -> RedactionObject:
    """Return a redaction as the wire shows it."""
    return RedactionObject(
        id=redaction.id,
        ledger_id=ledger_id,
        reason=redaction.reason,
        erased=[ErasedTexts(sequence=sequence, ordinal=ordinal or None) for sequence, ordinal in redaction.erased],
        created_at=redaction.created_at,
        updated_at=redaction.created_at,
    )

"""Redactions over HTTP: texts of a ledger erased for good."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta, Struct

from doppia.accounting.errors import ObjectNotFound, ParameterInvalid
from doppia.accounting.platform.redactions import OBJECTS_MAX, Redaction
from doppia.accounting.texts import NAME_LENGTH_MAX
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import Metadata, Object, UuidText, new_metadata, parse_object_id
from doppia.engine.platform.redactions import WIRE_NAMES, RedactTexts, Target

Ids = Annotated[list[UuidText], Meta(max_length=OBJECTS_MAX)]
Reason = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH_MAX)]


class RedactionCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to redact: objects by id, and with `metadata` whatever has all these pairs, up to 1,000 objects at once.

    `reason` stays in the log; it should name nobody.
    """

    ledger_transaction_ids: Ids | None = None
    ledger_entry_ids: Ids | None = None
    ledger_account_ids: Ids | None = None
    ledger_account_category_ids: Ids | None = None
    ledger_account_balance_monitor_ids: Ids | None = None
    ledger_account_statement_ids: Ids | None = None
    ledger_account_settlement_ids: Ids | None = None
    metadata: Metadata | None = None
    reason: Reason | None = None

    example: ClassVar[Mapping[str, Any]] = {
        "metadata": {"customer": "4711"},
        "reason": "erasure request 2026-17",
    }


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


_CREATE: Final = BodyDecoder(RedactionCreate)


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


async def create(request: Request) -> Reply:
    """Erase the texts of objects of a ledger, in all their versions and wherever they are kept; amounts stay."""
    body = request.decode(_CREATE)
    id_ = await request.find(request.path["id"], "ledger")
    ledger = request.scope.ledger(id_.ledger)
    command = RedactTexts(
        ledger=ledger,
        targets=_targets(body, id_.ledger),
        metadata=new_metadata(body.metadata),
        reason=body.reason,
    )
    if not command.targets and not command.metadata:
        raise ParameterInvalid(parameter="metadata", reason="is empty, and no ids say what to redact")
    return Reply(201, encode(to_object(await request.perform(command, body), ledger.id)))


def _targets(body: RedactionCreate, ledger: int) -> Sequence[Target]:
    """Return the objects that a body names.

    Raises:
        ObjectNotFound: one can't be, or is of another ledger.
    """
    targets = []
    for kind, wire_name in WIRE_NAMES.items():
        for position, text in enumerate(getattr(body, f"{wire_name}_ids") or ()):
            where = f"{wire_name}_ids[{position}]"
            id_ = parse_object_id(text, wire_name, where)
            if id_.ledger != ledger:
                raise ObjectNotFound(object=wire_name, id=text, parameter=where)
            targets.append(Target(kind, id_, where))
    return targets

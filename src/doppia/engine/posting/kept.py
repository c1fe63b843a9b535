"""What a key keeps of the object that its command left, as JSON, so that a repeated request is answered alike.

Only what the log does not yield is kept. A refusal among the results of a batch is kept by its code and its fields.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

import msgspec
from msgspec import Struct

from doppia.accounting.errors import LedgerError, refusal_of
from doppia.accounting.ledger.transactions import Transaction
from doppia.engine.posting.turns import Turns


class _Refused(Struct):
    """A refusal, from which it can be made again."""

    code: str
    fields: dict[str, Any]


_encoder: Final = msgspec.json.Encoder()
_transactions: Final = msgspec.json.Decoder(list[Transaction | _Refused])


def keep(object_: Any) -> bytes:
    """Return what is kept of an object."""
    return _encoder.encode(object_)


def kept(bytes_: bytes, type_: Any) -> Any:
    """Return the object of this type of which `keep` returned these bytes."""
    return msgspec.json.decode(bytes_, type=type_)


def keep_refusal(refusal: LedgerError) -> bytes:
    """Return what is kept of a refusal."""
    return _encoder.encode(_refused(refusal))


def keep_fault() -> bytes:
    """Return what is kept where a fault of ours stands in place of a refusal."""
    return _encoder.encode(_Refused("", {}))


def kept_refusal(bytes_: bytes) -> LedgerError | None:
    """Return the refusal of which `keep_refusal` returned these bytes; None for what `keep_fault` returned."""
    found = msgspec.json.decode(bytes_, type=_Refused)
    return refusal_of(found.code, found.fields) if found.code else None


def _refused(refusal: LedgerError) -> _Refused:
    return _Refused(refusal.code, {field.name: getattr(refusal, field.name) for field in fields(refusal)})


async def keep_results(results: Sequence[Transaction | LedgerError]) -> bytes:
    """Return what is kept of what became of each transaction of a batch; others have their turns meanwhile."""
    body, turns = bytearray(b"["), Turns()
    for result in results:
        await turns.give_way()
        if isinstance(result, LedgerError):
            _encoder.encode_into(_refused(result), body, -1)
        else:
            _encoder.encode_into(result, body, -1)
        body += b","
    if results:
        del body[-1:]
    return bytes(body + b"]")


def kept_results(bytes_: bytes) -> list[Transaction | LedgerError]:
    """Return the results of which `keep_results` returned these bytes."""
    return [
        refusal_of(found.code, found.fields) if isinstance(found, _Refused) else found
        for found in _transactions.decode(bytes_)
    ]

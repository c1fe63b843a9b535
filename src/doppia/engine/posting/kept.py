"""A key keeps, as JSON, the object that its command left, so that a repeated request gets the same answer.

An object that can be read from the log again is not kept. A refusal among the results of a batch is kept as its code
and its fields.
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
    """A refusal as it is kept. Its code is empty where a fault of ours stands in place of a refusal."""

    code: str
    fields: dict[str, Any]


_encoder: Final = msgspec.json.Encoder()
_transactions: Final = msgspec.json.Decoder(list[Transaction | _Refused])


def keep(object_: Any) -> bytes:
    """Return the bytes in which an object is kept."""
    return _encoder.encode(object_)


def kept(bytes_: bytes, type_: Any) -> Any:
    """Return the object, of this type, that `keep` wrote as these bytes."""
    return msgspec.json.decode(bytes_, type=type_)


def keep_refusal(refusal: LedgerError) -> bytes:
    """Return the bytes in which a refusal is kept."""
    return _encoder.encode(_refused(refusal))


def keep_fault() -> bytes:
    """Return the bytes that are kept where a fault of ours stands in place of a refusal."""
    return _encoder.encode(_Refused("", {}))


def kept_refusal(bytes_: bytes) -> LedgerError | None:
    """Return the refusal that `keep_refusal` wrote as these bytes; None for the bytes of `keep_fault`."""
    found = msgspec.json.decode(bytes_, type=_Refused)
    return refusal_of(found.code, found.fields) if found.code else None


def _refused(refusal: LedgerError) -> _Refused:
    return _Refused(refusal.code, {field.name: getattr(refusal, field.name) for field in fields(refusal)})


async def keep_results(results: Sequence[Transaction | LedgerError]) -> bytes:
    """Return the bytes in which the results of a batch are kept. The event loop serves others in between."""
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
    """Return the results that `keep_results` wrote as these bytes."""
    return [
        refusal_of(found.code, found.fields) if isinstance(found, _Refused) else found
        for found in _transactions.decode(bytes_)
    ]

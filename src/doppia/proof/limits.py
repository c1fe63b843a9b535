"""What the values of a record may be, by the limits that hold for what callers send: whoever made it, and whenever.

Not among them is what ISO 4217 says of a code, for that changes and a log does not; nor how large a request may be.
"""

from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec

from doppia.accounting.errors import InvalidText, ParameterInvalid
from doppia.accounting.money import Currency, check_unit_form
from doppia.accounting.texts import (
    EXTERNAL_ID_LENGTH_MAX,
    LEDGERABLE_LENGTH_MAX,
    NAME_LENGTH_MAX,
    check_metadata,
    check_text,
)
from doppia.proof.records import AccountWritten, AnyRecord, CategoryWritten, TransactionWritten

_ACTOR_BYTES: Final = 16
_LENGTHS: Final = {
    "name": (1, NAME_LENGTH_MAX),
    "description": (0, NAME_LENGTH_MAX),
    "external_id": (1, EXTERNAL_ID_LENGTH_MAX),
    "ledgerable_type": (1, LEDGERABLE_LENGTH_MAX),
    "ledgerable_id": (1, LEDGERABLE_LENGTH_MAX),
}
_NAMES: Final = {kind: [field.name for field in msgspec.structs.fields(kind)] for kind in get_args(AnyRecord)}
_TEXTS: Final[dict[type[Any], list[tuple[str, int, int]]]] = {
    kind: [(name, *_LENGTHS[name]) for name in names if name in _LENGTHS] for kind, names in _NAMES.items()
}
_WITH_METADATA: Final = {kind for kind, names in _NAMES.items() if "metadata" in names}


def check_limits(record: AnyRecord) -> None:
    """Ask that each value of a record is one that there may be, as far as the record alone can tell.

    Raises:
        ParameterInvalid, InvalidText, MetadataTooLarge, InvalidCurrency: for the first that is not; `parameter` names
            the field.
    """
    kind = type(record)
    if record.actor is not None and len(record.actor) != _ACTOR_BYTES:
        raise ParameterInvalid(parameter="actor", reason=f"has {len(record.actor)} bytes, and an id of a key has 16")
    for name, shortest, longest in _TEXTS[kind]:
        text = getattr(record, name)
        if text is None:
            continue
        if not shortest <= len(check_text(text, name)) <= longest:
            raise InvalidText(
                parameter=name, reason=f"has {len(text)} characters, and may have {shortest} to {longest:,}"
            )
    if kind in _WITH_METADATA:
        _check_metadata(record.metadata, "metadata")  # type: ignore[union-attr] # those kinds have it
    if isinstance(record, TransactionWritten):
        for position, entry in enumerate(record.entries or ()):
            if entry.metadata:
                _check_metadata(entry.metadata, f"entries[{position}].metadata")
    elif isinstance(record, AccountWritten | CategoryWritten):
        check_unit_form(Currency(record.currency, record.currency_exponent))


def _check_metadata(metadata: Mapping[str, str], parameter: str) -> None:
    check_metadata(metadata, parameter)
    for key, value in metadata.items():
        check_text(key, parameter)
        if not check_text(value, parameter):
            raise ParameterInvalid(parameter=parameter, reason=f"has an empty value under {key!r}, which is none")

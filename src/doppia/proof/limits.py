"""What the values of a record may be, by the limits that hold for what callers send: whoever made it, and whenever.

Not among them is what ISO 4217 says of a code, for that changes and a log does not; nor how large a request may be.
"""

from typing import Any, Final, get_args

import msgspec

from doppia.accounting.errors import ParameterInvalid
from doppia.accounting.money import Currency, check_currency_form
from doppia.accounting.texts import TEXT_FIELDS, check_length, check_metadata_texts
from doppia.proof.records import AccountWritten, AnyRecord, CategoryWritten, TransactionWritten

_ACTOR_BYTES: Final = 16
_NAMES: Final = {kind: [field.name for field in msgspec.structs.fields(kind)] for kind in get_args(AnyRecord)}
_TEXTS: Final[dict[type[Any], list[str]]] = {
    kind: [name for name in names if name in TEXT_FIELDS] for kind, names in _NAMES.items()
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
    for name in _TEXTS[kind]:
        text = getattr(record, name)
        if text is not None:
            check_length(text, name)
    if kind in _WITH_METADATA:
        check_metadata_texts(record.metadata, "metadata")  # type: ignore[union-attr] # those kinds have it
    if isinstance(record, TransactionWritten):
        for position, entry in enumerate(record.entries or ()):
            if entry.metadata:
                check_metadata_texts(entry.metadata, f"entries[{position}].metadata")
    elif isinstance(record, AccountWritten | CategoryWritten):
        check_currency_form(Currency(record.currency, record.currency_exponent))

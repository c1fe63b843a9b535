"""What the values of a record may be, by the limits that hold for what callers send: whoever made it, and whenever.

Not among them is what ISO 4217 says of a code, for that changes and a log does not; nor how large a request may be.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from doppia.accounting.errors import InvalidText, ParameterInvalid
from doppia.accounting.money import Currency, check_unit_form
from doppia.accounting.texts import (
    EXTERNAL_ID_LENGTH_MAX,
    LEDGERABLE_LENGTH_MAX,
    NAME_LENGTH_MAX,
    check_metadata,
    check_text,
)
from doppia.proof.sealing import FORMS
from doppia.proof.tree import HASH_BYTES

_ACTOR_BYTES: Final = 16
_LENGTHS: Final = {
    "name": (1, NAME_LENGTH_MAX),
    "description": (0, NAME_LENGTH_MAX),
    "external_id": (1, EXTERNAL_ID_LENGTH_MAX),
    "ledgerable_type": (1, LEDGERABLE_LENGTH_MAX),
    "ledgerable_id": (1, LEDGERABLE_LENGTH_MAX),
    "reason": (1, NAME_LENGTH_MAX),
}

_WITH_UNIT: Final = frozenset(type_ for type_, form in FORMS.items() if "currency" in form.figures)


def check_limits(record: Any) -> None:
    """Ask that each value of a record is one that there may be, as far as the record alone can tell.

    Raises:
        ParameterInvalid, InvalidText, MetadataTooLarge, InvalidCurrency: for the first that is not; `parameter` names
            the field.
    """
    kind = type(record)
    form = FORMS[kind]
    if record.actor is not None and len(record.actor) != _ACTOR_BYTES:
        raise ParameterInvalid(parameter="actor", reason=f"has {len(record.actor)} bytes, and an id of a key has 16")
    texts = form.texts_of(record)
    if texts != form.no_texts:
        _check_texts(zip(form.kind.texts, texts, strict=True))
    if form.own is not None and record.texts is not None:
        _check_hash(record.texts, "texts")
    if form.entries is not None:
        for ordinal, hash_ in (record.entry_texts or {}).items():
            _check_hash(hash_, f"entry_texts[{ordinal}]")
        for ordinal, metadata in (record.entry_metadata or {}).items():
            _check_metadata(metadata, f"entries[{ordinal - 1}].metadata")
    if kind in _WITH_UNIT:
        check_unit_form(Currency(record.currency, record.currency_exponent))


def _check_texts(texts: Iterable[tuple[str, Any]]) -> None:
    for name, text in texts:
        if name == "metadata":
            _check_metadata(text, name)
        elif text is not None:
            shortest, longest = _LENGTHS[name]
            if not shortest <= len(check_text(text, name)) <= longest:
                raise InvalidText(
                    parameter=name, reason=f"has {len(text)} characters, and may have {shortest} to {longest:,}"
                )


def _check_hash(hash_: bytes, parameter: str) -> None:
    if len(hash_) != HASH_BYTES:
        raise ParameterInvalid(parameter=parameter, reason=f"has {len(hash_)} bytes, and a hash has {HASH_BYTES}")


def _check_metadata(metadata: Mapping[str, str], parameter: str) -> None:
    check_metadata(metadata, parameter)
    for key, value in metadata.items():
        check_text(key, parameter)
        if not check_text(value, parameter):
            raise ParameterInvalid(parameter=parameter, reason=f"has an empty value under {key!r}, which is none")

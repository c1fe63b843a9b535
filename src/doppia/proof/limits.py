"""What the values of a record may be, by the limits that hold for what callers send: whoever made it, and whenever.

Not among them is what ISO 4217 says of a code, for that changes and a log does not; nor how large a request may be.
"""

from collections.abc import Iterable
from typing import Any, Final

from doppia.accounting.errors import ParameterInvalid
from doppia.accounting.money import Currency, check_currency_form
from doppia.accounting.texts import check_length, check_metadata_texts
from doppia.proof.sealing import FORMS
from doppia.proof.tree import HASH_BYTES

_ACTOR_BYTES: Final = 16
_WITH_CURRENCY: Final = frozenset(type_ for type_, form in FORMS.items() if "currency" in form.figures)


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
    if form.entries is not None and (record.entry_texts is not None or record.entry_metadata is not None):
        for ordinal, hash_ in (record.entry_texts or {}).items():
            _check_hash(hash_, f"entry_texts[{ordinal}]")
        for ordinal, metadata in (record.entry_metadata or {}).items():
            check_metadata_texts(metadata, f"entries[{ordinal - 1}].metadata")
    if kind in _WITH_CURRENCY:
        check_currency_form(Currency(record.currency, record.currency_exponent))


def _check_texts(texts: Iterable[tuple[str, Any]]) -> None:
    for name, text in texts:
        if text is None:
            continue
        if name == "metadata":
            check_metadata_texts(text, name)
        else:
            check_length(text, name)


def _check_hash(hash_: bytes, parameter: str) -> None:
    if len(hash_) != HASH_BYTES:
        raise ParameterInvalid(parameter=parameter, reason=f"has {len(hash_)} bytes, and a hash has {HASH_BYTES}")

"""Texts that callers send: how long they may be, and which of them a database can store."""

from collections.abc import Mapping
from typing import Final

from doppia.accounting.errors import InvalidText, MetadataTooLarge, ParameterInvalid

NAME_LENGTH_MAX: Final = 1000
"""A name or a description has at most this many characters."""

EXTERNAL_ID_LENGTH_MAX: Final = 180

LEDGERABLE_LENGTH_MAX: Final = 100
"""A `ledgerable_type` or `ledgerable_id` has at most this many characters.

Together they name the thing in the caller's system that an account or a transaction stands for.
"""

METADATA_PAIRS_MAX: Final = 100
METADATA_KEY_LENGTH_MAX: Final = 100
METADATA_VALUE_LENGTH_MAX: Final = 1000


def check_text(text: str, parameter: str | None) -> str:
    """Return a text that a database can store, as it is.

    Raises:
        InvalidText: the text holds a NUL, or a surrogate that stands alone.
    """
    if "\x00" in text:
        raise InvalidText(parameter=parameter, reason="holds a NUL character (U+0000), which can't be stored")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidText(parameter=parameter, reason="holds half of a surrogate pair, which is no character") from None
    return text


_LENGTHS: Final = {
    "name": (1, NAME_LENGTH_MAX),
    "description": (0, NAME_LENGTH_MAX),
    "external_id": (1, EXTERNAL_ID_LENGTH_MAX),
    "ledgerable_type": (1, LEDGERABLE_LENGTH_MAX),
    "ledgerable_id": (1, LEDGERABLE_LENGTH_MAX),
    "reason": (1, NAME_LENGTH_MAX),
}
"""These are the least and the most characters that a text may have, by the name of its field."""


def check_length(text: str, field: str) -> None:
    """Refuse a text that is longer or shorter than its field allows, or that can't be stored.

    Raises:
        InvalidText.
    """
    shortest, longest = _LENGTHS[field]
    if not shortest <= len(check_text(text, field)) <= longest:
        raise InvalidText(parameter=field, reason=f"has {len(text)} characters, and may have {shortest} to {longest:,}")


def check_metadata_texts(metadata: Mapping[str, str], parameter: str = "metadata") -> None:
    """Refuse metadata of a new object that is too large, can't be stored, or has an empty value.

    An empty value stands for a pair that is removed, which a new object does not have.

    Raises, the first that holds, in this order:
        MetadataTooLarge: there are too many pairs, or a key or a value is too long.
        InvalidText: of a key or a value.
        ParameterInvalid: a value is empty.
    """
    check_metadata(metadata, parameter)
    for key, value in metadata.items():
        check_text(key, parameter)
        if not check_text(value, parameter):
            raise ParameterInvalid(parameter=parameter, reason=f"has an empty value under {key!r}, which is none")


def check_metadata(metadata: Mapping[str, str | None], parameter: str = "metadata") -> Mapping[str, str | None]:
    """Return metadata that is within its limits, as it is.

    Raises:
        MetadataTooLarge: there are too many pairs, or a key or a value is too long, or a key is empty.
    """
    if len(metadata) > METADATA_PAIRS_MAX:
        raise MetadataTooLarge(parameter=parameter, reason=f"holds {len(metadata)} pairs")
    for key, value in metadata.items():
        if not key or len(key) > METADATA_KEY_LENGTH_MAX:
            raise MetadataTooLarge(
                parameter=parameter, reason=f"has a key of {len(key)} characters" if key else "has an empty key"
            )
        if value is not None and len(value) > METADATA_VALUE_LENGTH_MAX:
            raise MetadataTooLarge(parameter=f"{parameter}.{key}", reason=f"has a value of {len(value)} characters")
    return metadata


def merge_metadata(metadata: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return metadata with changes merged in, sorted by key; a pair whose new value is None or "" is removed.

    Raises:
        MetadataTooLarge: the result has too many pairs.
    """
    merged = {key: value for key, value in sorted({**metadata, **changes}.items()) if value}
    if len(merged) > METADATA_PAIRS_MAX:
        raise MetadataTooLarge(parameter="metadata", reason=f"would hold {len(merged)} pairs")
    return merged

"""Texts of callers: how long they may be, and which of them a database can store."""

from collections.abc import Mapping
from typing import Final

from doppia.accounting.errors import InvalidText, MetadataTooLarge, ParameterInvalid

NAME_LENGTH_MAX: Final = 1000
"""Of names and descriptions."""
EXTERNAL_ID_LENGTH_MAX: Final = 180
LEDGERABLE_LENGTH_MAX: Final = 100
"""Of the type and the id of what something stands for in the caller's system."""
METADATA_PAIRS_MAX: Final = 100
METADATA_KEY_LENGTH_MAX: Final = 100
METADATA_VALUE_LENGTH_MAX: Final = 1000


def check_text(text: str, parameter: str | None) -> str:
    """Return the text, if a database can store it.

    Raises:
        InvalidText: it holds a NUL, or a surrogate that stands alone.
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
"""The least and the most characters of each text, by the name of its field."""


def check_length(text: str, field: str) -> None:
    """Ask that a text is as long as its field allows, and can be stored.

    Raises:
        InvalidText.
    """
    shortest, longest = _LENGTHS[field]
    if not shortest <= len(check_text(text, field)) <= longest:
        raise InvalidText(parameter=field, reason=f"has {len(text)} characters, and may have {shortest} to {longest:,}")


def check_metadata_texts(metadata: Mapping[str, str], parameter: str = "metadata") -> None:
    """Ask that metadata is within its limits, can be stored, and has no empty value, which would be none.

    Raises:
        MetadataTooLarge, InvalidText, ParameterInvalid.
    """
    check_metadata(metadata, parameter)
    for key, value in metadata.items():
        check_text(key, parameter)
        if not check_text(value, parameter):
            raise ParameterInvalid(parameter=parameter, reason=f"has an empty value under {key!r}, which is none")


def check_metadata(metadata: Mapping[str, str | None], parameter: str = "metadata") -> Mapping[str, str | None]:
    """Return the metadata, if it is within its limits.

    Raises:
        MetadataTooLarge: too many pairs, or a key or value too long.
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
    """Return `metadata` with `changes` merged in; a key whose new value is None or "" is removed.

    Raises:
        MetadataTooLarge: what results has too many pairs.
    """
    merged = {key: value for key, value in sorted({**metadata, **changes}.items()) if value}
    if len(merged) > METADATA_PAIRS_MAX:
        raise MetadataTooLarge(parameter="metadata", reason=f"would hold {len(merged)} pairs")
    return merged

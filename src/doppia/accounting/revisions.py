"""What a change says of each field of an object: a new value, or that the field keeps the one it has."""

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeVar

from doppia.accounting.texts import merge_metadata

T = TypeVar("T")


class Unchanged(Enum):
    """The type of `UNCHANGED`. None can't take its place, because None clears a field."""

    # A number, because no field that can change holds one: as JSON, UNCHANGED is then told apart from every new value.
    UNCHANGED = 0


UNCHANGED: Final = Unchanged.UNCHANGED
"""This stands where a field keeps its value."""


def chosen(asked: T | Unchanged, before: T) -> T:
    """Return the value of a field after a change: what was asked for, or `before` where nothing was."""
    return before if asked is UNCHANGED else asked


def merged(asked: Mapping[str, str | None] | Unchanged | None, before: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata after a change: `before` with what was asked for merged in.

    A pair whose new value is None or "" is removed. None in place of all pairs asks for nothing.

    Raises:
        MetadataTooLarge: the result has too many pairs.
    """
    return merge_metadata(before, {} if asked is None or asked is UNCHANGED else asked)

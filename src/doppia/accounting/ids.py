"""Ids: each is a UUID that names its ledger and the log record that created the object.

An id is a UUID of version 8 (RFC 9562). Its parts are these, most significant bits first; see docs/adr/0004.

    32 bits   the seconds since 1970 at which the object was created
    32 bits   the number of the ledger, in pieces of 16, 12 and 4 bits around the version and the variant of the UUID
    48 bits   the sequence of the log record that created the object
    10 bits   the ordinal: 0 for the object itself, n for the n-th entry that the record wrote, 1022 for the version of
              a transaction that the record made, 1023 for the event that the record is

So an id names its ledger before any database is asked. The record's sequence makes it unique without randomness. Ids of
one ledger that are sorted as text are sorted by time.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple, NewType

LEDGER_NUMBER_MAX: Final = 2**32 - 1
ORDINAL_BITS: Final = 10
VERSION_ORDINAL: Final = 1022
EVENT_ORDINAL: Final = 1023

_ANY_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_UUID: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-8([0-9a-f]{3})-([89ab][0-9a-f]{3})-([0-9a-f]{12})", re.ASCII)


LedgerNumber = NewType("LedgerNumber", int)
"""This number stands for a ledger in the tables. Who has a LedgerNumber may see that ledger."""

LedgerId = NewType("LedgerId", str)
"""This is a ledger's own id as the API shows it. The id of an object in the ledger is no LedgerId."""


class LedgerRef(NamedTuple):
    """A ledger that the caller may see: its number in the tables, and its id as the API shows it."""

    number: LedgerNumber
    id: LedgerId


class Id(NamedTuple):
    """An object's id, taken apart.

    Attributes:
        seconds: the seconds since 1970, UTC, at which the object was created.
        ledger: the number of the ledger that the id names. Whether the caller may see that ledger is not known.
        sequence: the sequence of the log record that created the object.
        ordinal: which of the objects of that record the id names; 0 is the object that the record is about.
    """

    seconds: int
    ledger: int
    sequence: int
    ordinal: int

    def __str__(self) -> str:
        return format_id(self.seconds, self.ledger, self.sequence, self.ordinal)


def format_id(seconds: int, ledger: int, sequence: int, ordinal: int = 0) -> str:
    """Return an id as a UUID in lower case."""
    high, low = _beginning(seconds, ledger)
    digits = f"{low | sequence << ORDINAL_BITS | ordinal:016x}"
    return f"{high}{digits[:4]}-{digits[4:]}"


def ledger_id(seconds: int, number: int) -> LedgerId:
    """Return the id of a ledger that was created at this second."""
    return LedgerId(format_id(seconds, number, 1))


@lru_cache(maxsize=1024)  # ids of one ledger and one second begin alike
def _beginning(seconds: int, ledger: int) -> tuple[str, int]:
    """Return the high half of an id as text, and the bits of its low half that hold the variant and the ledger."""
    return f"{seconds:08x}-{ledger >> 16:04x}-8{ledger >> 4 & 0xFFF:03x}-", 1 << 63 | (ledger & 0xF) << 58


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID with its hyphens, of any version."""
    return _ANY_UUID.fullmatch(text) is not None


def parse_id(text: str) -> Id | None:
    """Return an id taken apart, in upper or lower case; None where the text has not the form of our ids."""
    return _parse(text) if len(text) == _LENGTH else None


_LENGTH: Final = 36


@lru_cache(maxsize=16_384)  # callers name the same accounts again and again
def _parse(text: str) -> Id | None:
    match = _UUID.fullmatch(text if text.islower() else text.lower())
    if match is None:
        return None
    seconds, ledger_high, ledger_middle, low_high, low_low = (int(group, 16) for group in match.groups())
    low = low_high << 48 | low_low
    return Id(
        seconds,
        ledger_high << 16 | ledger_middle << 4 | low >> 58 & 0xF,
        low >> ORDINAL_BITS & (1 << 48) - 1,
        low & (1 << ORDINAL_BITS) - 1,
    )

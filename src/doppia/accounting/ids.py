"""Ids: UUIDs in order of time that carry their ledger and the place in its log where they were born.

The layout is a UUID of version 8 (RFC 9562), most significant bits first; see docs/adr/0004.

    32 bits   seconds since 1970 at which the object was created
    32 bits   number of the ledger, of which 16 + 12 + 4 bits stand around the version and the variant
    48 bits   sequence of the log record that created the object
    10 bits   0 for the object itself, n for the n-th entry that the record wrote, 1022 for the version of a
              transaction that the record made, 1023 for the event that it is

So an id names its ledger before any database is asked, the record's sequence makes it unique without randomness, and
sorting ids of a ledger as text sorts them by time.
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
"""A ledger's number, which stands for it in the tables, of a ledger that the caller may see."""

LedgerId = NewType("LedgerId", str)
"""A ledger's own id as the API shows it; no other object's id will do where it is asked for."""


class LedgerRef(NamedTuple):
    """A ledger that the caller may see: its number in the tables, and its id as the API shows it."""

    number: LedgerNumber
    id: LedgerId


class Id(NamedTuple):
    """An object's id taken apart. `seconds` since 1970, UTC; `ledger` is the number of whichever ledger it names."""

    seconds: int
    ledger: int
    sequence: int
    ordinal: int

    def __str__(self) -> str:
        return format_id(self.seconds, self.ledger, self.sequence, self.ordinal)


def format_id(seconds: int, ledger: int, sequence: int, ordinal: int = 0) -> str:
    """Write an id as a lower-case UUID."""
    high, low = _beginning(seconds, ledger)
    digits = f"{low | sequence << ORDINAL_BITS | ordinal:016x}"
    return f"{high}{digits[:4]}-{digits[4:]}"


def ledger_id(seconds: int, number: int) -> LedgerId:
    """Write the id of a ledger that was created at this second."""
    return LedgerId(format_id(seconds, number, 1))


@lru_cache(maxsize=1024)  # what is written together begins alike
def _beginning(seconds: int, ledger: int) -> tuple[str, int]:
    """Return the text of the high half of an id, and the bits of its low half that are the ledger's."""
    return f"{seconds:08x}-{ledger >> 16:04x}-8{ledger >> 4 & 0xFFF:03x}-", 1 << 63 | (ledger & 0xF) << 58


def is_uuid(text: str) -> bool:
    """Say whether `text` is a UUID with its hyphens, of ours or not."""
    return _ANY_UUID.fullmatch(text) is not None


def parse_id(text: str) -> Id | None:
    """Take an id apart; None when `text` is no id of ours, whatever its letters' case."""
    return _parse(text) if len(text) == _LENGTH else None


_LENGTH: Final = 36


@lru_cache(maxsize=16_384)  # the same accounts are named again and again
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

"""Events: what each record of a log tells those who follow the ledger."""

from enum import IntEnum


class Event(IntEnum):
    """What happened to the object that a record is about. The numbers are stored and never change."""

    CREATED = 1
    UPDATED = 2
    DISCARDED = 3
    POSTED = 4
    ARCHIVED = 5
    TRIGGERED = 6
    RESOLVED = 7
    FINISH_PROCESSING = 8
    FINISH_ARCHIVING = 9

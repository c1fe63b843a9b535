"""Events: each record of a log is one event for those who follow the ledger."""

from enum import IntEnum


class Event(IntEnum):
    """What happened to the object that a record is about. Records store these numbers, so they never change."""

    CREATED = 1
    UPDATED = 2
    DISCARDED = 3
    POSTED = 4
    ARCHIVED = 5
    TRIGGERED = 6
    RESOLVED = 7
    FINISH_PROCESSING = 8
    FINISH_ARCHIVING = 9

"""Texts that are gone: each was erased by a record that says so, and no record says so of one that is still there."""

from typing import Any

from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.platform.events import Event
from doppia.proof.records import Redacted
from doppia.proof.replay.state import Fault, State


def note_missing(state: State, record: Any) -> None:
    """Note which blocks of texts that a record commits to are gone; such a record has its `salts`, be they none."""
    first = record.sequence << ORDINAL_BITS
    if record.texts is not None and 0 not in record.salts:
        state.outstanding.add(first)
    for ordinal in getattr(record, "entry_texts", None) or ():
        if ordinal not in record.salts:
            state.outstanding.add(first | ordinal)


def redaction(state: State, record: Redacted) -> None:
    """Let texts of earlier records be erased, as a redaction says.

    Raises:
        Fault: it says so of texts that are still there, or that no record before it had.
    """
    if record.event != Event.CREATED or not record.erased:
        raise Fault(
            record.sequence, f"the redaction erases {len(record.erased)} texts, and its event is {record.event}"
        )
    if record.erased != sorted(record.erased):
        raise Fault(record.sequence, "the redaction names texts out of order")
    for number in record.erased:
        # Its own may be gone as well, and a later one says so.
        if number not in state.outstanding or number >> ORDINAL_BITS == record.sequence:
            raise Fault(record.sequence, f"{_whose(state, number)} are said to be erased, and are not")
        state.outstanding.remove(number)


def check_all_told(state: State) -> None:
    """Ask that no texts are gone that no redaction names.

    Raises:
        Fault: of the first record whose texts are.
    """
    if state.outstanding:
        number = min(state.outstanding)
        raise Fault(number >> ORDINAL_BITS, f"{_whose(state, number)} are gone, and no redaction says so")


def _whose(state: State, number: int) -> str:
    """Name the texts of a block: those of a record, or of an entry."""
    sequence, ordinal = number >> ORDINAL_BITS, number & (1 << ORDINAL_BITS) - 1
    return f"the texts of entry {state.entry_id(number)}" if ordinal else f"the texts of record {sequence}"

"""Texts that are gone: each was erased by a record that says so, and no record says so of one that is still there."""

from typing import Any

from doppia.accounting.ids import ORDINAL_BITS
from doppia.accounting.platform.events import Event
from doppia.proof.records import Redacted
from doppia.proof.replay.state import Fault, State


def take_texts(state: State, record: Any) -> None:
    """Note which texts of a record are gone, and which of those before it the record says to be erased.

    Raises:
        Fault: it says so of texts that are still there, or that no record before it had.
    """
    if isinstance(record, Redacted):
        for number in record.erased:
            if number not in state.outstanding:
                raise Fault(record.sequence, f"{_whose(state, number)} are said to be erased, and are not")
            state.outstanding.remove(number)
    salts = getattr(record, "salts", None) or ()
    first = record.sequence << ORDINAL_BITS
    if getattr(record, "texts", None) is not None and 0 not in salts:
        state.outstanding.add(first)
    for ordinal in getattr(record, "entry_texts", None) or ():
        if ordinal not in salts:
            state.outstanding.add(first | ordinal)


def redaction(state: State, record: Redacted) -> None:
    """Let texts of earlier records be erased, as a redaction says; `take_texts` has looked at which."""
    if record.event != Event.CREATED or not record.erased:
        state.fail(f"the redaction erases {len(record.erased)} texts, and its event is {record.event}")
    if record.erased != sorted(record.erased):
        state.fail("the redaction names texts out of order")


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

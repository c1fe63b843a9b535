"""The fold of a log: what each record does to entries and accounts, and whether the rules let it.

This is `doppia.accounting` from the other side: that decides what is written, this reads what was written, knows
nothing of what was asked for, and takes nothing on trust but the records. What a record says of itself alone and of
what it follows is checked as it is applied. Of transactions that have come to their end eight bytes are kept, so two
things are not checked here that would need all of them: that no external id is there twice, and that a settlement's
amount is what its entries come to.
"""

from typing import Any

from doppia.accounting.errors import LedgerError
from doppia.proof.kinds import BY_TYPE
from doppia.proof.limits import check_limits
from doppia.proof.records import LedgerWritten, Record, Redacted, TransactionWritten
from doppia.proof.replay import subjects, texts
from doppia.proof.replay.state import (
    NO_EFFECTS,
    RECORDED_AT_END,
    SECONDS_SHIFT,
    AccountState,
    Effects,
    Ended,
    Fault,
    State,
    WrittenEntry,
)

__all__ = ["Effects", "Ended", "Fault", "Replay", "WrittenEntry"]


class Replay:
    """A ledger as its records make it, one after the other."""

    def __init__(self, ledger: int, state: State | None = None) -> None:
        """Begin before the first record of the ledger with this number, or where `state` ended."""
        self.state = State(ledger=ledger) if state is None else state

    @property
    def accounts(self) -> dict[int, AccountState]:
        """The accounts by sequence, as they stand."""
        return self.state.accounts

    def apply(self, record: Any) -> Effects:
        """Fold the next record, and return what it did.

        Raises:
            Fault: it is wrong; the fold can't go on.
        """
        state = self.state
        sequence = record.sequence
        if sequence != state.sequence + 1:
            raise Fault(state.sequence + 1, f"in its place stands record {sequence}")
        state.sequence = sequence
        if record.recorded_at < state.recorded_at:
            state.fail("its time is before that of the record before it")
        if record.recorded_at >= RECORDED_AT_END:
            state.fail(f"its time {record.recorded_at} is later than the id of what it creates can tell")
        if state.is_discarded and not isinstance(record, Redacted):
            state.fail("follows the record that discarded the ledger, and nothing may")
        if sequence == 1 and not isinstance(record, LedgerWritten):
            state.fail("a log begins with the record that creates its ledger")
        if state.touched:
            self._follow_up(record)
        state.recorded_at = record.recorded_at
        state.facts.append(record.recorded_at // 1_000_000 << SECONDS_SHIFT)
        kind = BY_TYPE[type(record)]
        try:
            check_limits(record)
        except LedgerError as refusal:
            about = state.id_of(kind.about(record), getattr(record, "entry_ordinal", 0))
            state.fail(f"{kind.name} {about}: {str(refusal).rstrip('.')}")
        if kind.texts and record.salts is not None:
            texts.note_missing(state, record)
        effects = kind.replay(state, record)
        if effects is None:
            state.lowered = None
            return NO_EFFECTS
        return effects

    def finish(self) -> None:
        """Ask that the log may end here.

        Raises:
            Fault: what the last record did was to be followed by another, or texts are gone that no record says to be
                erased.
        """
        if self.state.touched:
            subjects.check_crossings(self.state, None)
        texts.check_all_told(self.state)

    def _follow_up(self, record: Record) -> None:
        """Ask that the crossings of the last command come next; of a partial post, after both its records."""
        if isinstance(record, TransactionWritten) and record.partially_posts is not None:
            return
        subjects.check_crossings(self.state, record)

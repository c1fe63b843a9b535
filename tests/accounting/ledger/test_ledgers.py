"""A ledger is named by its number and its id."""

from datetime import UTC, datetime

from doppia.accounting.ids import LedgerNumber, LedgerRef, ledger_id
from doppia.accounting.ledger.ledgers import Ledger

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def test_commands_name_a_ledger_by_its_number_and_its_id() -> None:
    id_ = ledger_id(5, 7)
    ledger = Ledger(id_, LedgerNumber(7), "books", None, {}, MONDAY, MONDAY, None)

    assert ledger.ref == LedgerRef(LedgerNumber(7), id_)

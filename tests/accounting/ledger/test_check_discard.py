"""When an account may be discarded."""

import pytest

from doppia.accounting.errors import AccountNotEmpty
from doppia.accounting.ledger.accounts import check_discard
from doppia.accounting.ledger.balances import Direction, Sums
from tests.accounting.ledger.books import account


def test_an_account_that_was_never_used_may_go() -> None:
    check_discard(account(1), pending_entries=0)


def test_an_account_may_go_once_its_credits_and_debits_are_equal() -> None:
    check_discard(account(1, sums=Sums(500, 500, 0, 0)), pending_entries=0)


@pytest.mark.parametrize(("normal_balance", "posted"), [("credit", 200), ("debit", -200)])
def test_an_account_that_holds_value_stays(normal_balance: Direction, posted: int) -> None:
    held = account(1, normal_balance=normal_balance, sums=Sums(500, 300, 0, 0))
    with pytest.raises(AccountNotEmpty) as refusal:
        check_discard(held, pending_entries=0)
    assert refusal.value.details() == {
        "posted": posted,
        "pending_credits": 0,
        "pending_debits": 0,
        "pending_entries": 0,
    }


def test_pending_entries_that_cancel_out_keep_an_account() -> None:
    with pytest.raises(AccountNotEmpty) as refusal:
        check_discard(account(1, sums=Sums(0, 0, 70, 70)), pending_entries=2)
    assert (refusal.value.posted, refusal.value.pending_credits, refusal.value.pending_debits) == (0, 70, 70)


def test_a_pending_entry_of_amount_0_keeps_an_account() -> None:
    with pytest.raises(AccountNotEmpty) as refusal:
        check_discard(account(1), pending_entries=1)
    assert refusal.value.pending_entries == 1

"""The four sums and the three balances that they answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.accounting.ledger.balances import NOTHING, BalanceName, Direction, Sums, balance
from doppia.accounting.money import AMOUNT_MAX

amounts = st.integers(0, AMOUNT_MAX)
all_sums = st.builds(Sums, amounts, amounts, amounts, amounts)
directions = st.sampled_from(["credit", "debit"])
names = st.sampled_from(["posted", "pending", "available"])


@pytest.mark.parametrize(
    ("name", "normal_balance", "expected"),
    [
        ("posted", "credit", (1000, 300, 700)),
        ("posted", "debit", (1000, 300, -700)),
        ("pending", "credit", (1050, 307, 743)),
        ("pending", "debit", (1050, 307, -743)),
        ("available", "credit", (1000, 307, 693)),
        ("available", "debit", (1050, 300, -750)),
    ],
)
def test_each_balance_adds_its_own_sums(
    name: BalanceName, normal_balance: Direction, expected: tuple[int, int, int]
) -> None:
    sums = Sums(posted_credits=1000, posted_debits=300, pending_credits=50, pending_debits=7)
    assert balance(name, sums, normal_balance) == expected


@given(names, directions)
def test_an_unused_account_stands_at_zero(name: BalanceName, normal_balance: Direction) -> None:
    assert balance(name, NOTHING, normal_balance) == (0, 0, 0)


@given(all_sums, names)
def test_the_normal_side_only_turns_the_sign_of_posted_and_pending(sums: Sums, name: BalanceName) -> None:
    as_credit, as_debit = balance(name, sums, "credit"), balance(name, sums, "debit")
    if name != "available":
        assert as_credit == as_debit._replace(amount=-as_debit.amount)
    assert as_credit.amount == as_credit.credits - as_credit.debits
    assert as_debit.amount == as_debit.debits - as_debit.credits


@given(all_sums, directions)
def test_available_is_never_more_than_posted_or_pending(sums: Sums, normal_balance: Direction) -> None:
    """What waits to leave is taken off at once; what waits to arrive does not count yet."""
    available = balance("available", sums, normal_balance).amount
    assert available <= balance("posted", sums, normal_balance).amount
    assert available <= balance("pending", sums, normal_balance).amount


@given(all_sums, directions)
def test_without_pending_entries_the_three_balances_agree(sums: Sums, normal_balance: Direction) -> None:
    settled = sums._replace(pending_credits=0, pending_debits=0)
    posted = balance("posted", settled, normal_balance)
    assert balance("pending", settled, normal_balance) == posted
    assert balance("available", settled, normal_balance) == posted

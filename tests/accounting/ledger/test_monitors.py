"""When the condition of a balance monitor holds, and which monitors have crossed."""

import operator
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.accounting.errors import TooManyMonitors
from doppia.accounting.ledger.balances import Direction, Sums, balance
from doppia.accounting.ledger.monitors import (
    MONITORS_OF_ACCOUNT_MAX,
    AlertOperator,
    Monitor,
    MonitoredField,
    check_room,
    condition_holds,
    crossed,
    observed,
)
from tests.accounting.ledger.books import account

SUMS = Sums(posted_credits=1000, posted_debits=400, pending_credits=70, pending_debits=9)
SEEN: dict[Direction, dict[MonitoredField, int]] = {
    "credit": {
        "posted_balance_amount": 600,
        "pending_balance_amount": 661,
        "available_balance_amount": 591,
        "ledger_account_lock_version": 12,
    },
    "debit": {
        "posted_balance_amount": -600,
        "pending_balance_amount": -661,
        "available_balance_amount": -670,
        "ledger_account_lock_version": 12,
    },
}
HOLDS = {
    "less_than": operator.lt,
    "less_than_or_equals": operator.le,
    "equals": operator.eq,
    "greater_than_or_equals": operator.ge,
    "greater_than": operator.gt,
}
FIELDS = list(get_args(MonitoredField))
OPERATORS = list(get_args(AlertOperator))


def monitor(
    name: MonitoredField, compared: AlertOperator, value: int, *, is_triggered: bool, sequence: int = 5
) -> Monitor:
    return Monitor(sequence, 2, name, compared, value, is_triggered)


@pytest.mark.parametrize("normal_balance", SEEN)
@pytest.mark.parametrize("field", FIELDS)
def test_a_monitor_sees_a_balance_on_its_accounts_normal_side_or_the_lock_version(
    normal_balance: Direction, field: MonitoredField
) -> None:
    watched = account(2, normal_balance=normal_balance, lock_version=12, sums=SUMS)

    assert observed(field, watched) == SEEN[normal_balance][field]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("compared", OPERATORS)
def test_a_condition_compares_what_is_seen_with_its_value(field: MonitoredField, compared: AlertOperator) -> None:
    watched = account(2, normal_balance="credit", lock_version=12, sums=SUMS)
    seen = SEEN["credit"][field]

    for value in (seen - 1, seen, seen + 1):
        assert condition_holds(field, compared, value, watched) == HOLDS[compared](seen, value)


amounts = st.integers(0, 10**40)


@given(
    sums=st.builds(Sums, amounts, amounts, amounts, amounts),
    normal_balance=st.sampled_from(["credit", "debit"]),
    field=st.sampled_from(FIELDS),
    compared=st.sampled_from(OPERATORS),
    value=st.integers(-(10**45), 10**45),
)
def test_a_condition_says_of_any_account_what_its_balance_says(
    sums: Sums, normal_balance: Direction, field: MonitoredField, compared: AlertOperator, value: int
) -> None:
    watched = account(2, normal_balance=normal_balance, lock_version=sums.posted_credits % 1000, sums=sums)
    seen = {
        "posted_balance_amount": balance("posted", sums, normal_balance).amount,
        "pending_balance_amount": balance("pending", sums, normal_balance).amount,
        "available_balance_amount": balance("available", sums, normal_balance).amount,
        "ledger_account_lock_version": watched.lock_version,
    }[field]

    assert condition_holds(field, compared, value, watched) == HOLDS[compared](seen, value)


def test_a_monitor_crosses_when_its_condition_comes_to_hold_and_when_it_ceases_to() -> None:
    low = account(2, sums=Sums(10, 0, 0, 0))
    high = account(2, sums=Sums(100, 0, 0, 0))
    rests = monitor("posted_balance_amount", "greater_than", 50, is_triggered=False)
    rings = rests._replace(is_triggered=True)

    assert crossed([rests], high) == [rings]
    assert crossed([rings], low) == [rests]


def test_a_monitor_whose_state_stays_as_it_is_does_not_cross() -> None:
    low = account(2, sums=Sums(10, 0, 0, 0))
    high = account(2, sums=Sums(100, 0, 0, 0))
    rests = monitor("posted_balance_amount", "greater_than", 50, is_triggered=False)

    assert crossed([rests], low) == []
    assert crossed([rests._replace(is_triggered=True)], high) == []
    assert crossed([], high) == []


def test_of_several_monitors_each_crosses_by_itself_and_in_order() -> None:
    watched = account(2, lock_version=3, sums=Sums(100, 0, 0, 40))
    monitors = [
        monitor("available_balance_amount", "less_than", 100, is_triggered=False, sequence=9),
        monitor("posted_balance_amount", "equals", 100, is_triggered=True, sequence=5),
        monitor("ledger_account_lock_version", "less_than_or_equals", 2, is_triggered=True, sequence=7),
    ]

    assert [(each.sequence, each.is_triggered) for each in crossed(monitors, watched)] == [(9, True), (7, False)]


def test_an_account_has_room_for_a_hundred_monitors() -> None:
    check_room(MONITORS_OF_ACCOUNT_MAX - 1, account(2))
    with pytest.raises(TooManyMonitors) as refusal:
        check_room(MONITORS_OF_ACCOUNT_MAX, account(2))
    assert (refusal.value.ledger_account_id, refusal.value.count_max) == (account(2).id, 100)

"""What a set of legs does to its accounts, and every reason why it is refused."""

from typing import Any

import pytest

from doppia.accounting.errors import (
    AccountDiscarded,
    AmountOutOfRange,
    BalanceLockFailed,
    LedgerError,
    LockVersionMismatch,
    ObjectNotFound,
    OneSided,
    TooFewEntries,
    TooManyEntries,
    Unbalanced,
)
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.transactions import ENTRIES_MAX, Comparison, Guard, Leg, decide, holds
from doppia.accounting.money import AMOUNT_MAX, Currency
from tests.accounting.ledger.books import PHP, PTS, account, chart, credit, debit

CASH = account(1, normal_balance="debit")
WALLET = account(2)
FEES = account(3)
BOOKS = chart(CASH, WALLET, FEES)


def refusal_of(legs: list[Leg], accounts: dict[int, Account]) -> LedgerError:
    with pytest.raises(LedgerError) as refusal:
        decide("posted", legs, accounts)
    return refusal.value


def test_a_payment_debits_the_cash_and_credits_wallet_and_fees() -> None:
    effect = decide("posted", [debit(1, 100000), credit(2, 96500), credit(3, 3500)], BOOKS)
    assert effect.accounts == {
        1: CASH._replace(lock_version=1, sums=Sums(0, 100000, 0, 0)),
        2: WALLET._replace(lock_version=1, sums=Sums(96500, 0, 0, 0)),
        3: FEES._replace(lock_version=1, sums=Sums(3500, 0, 0, 0)),
    }
    assert effect.steps == [effect.accounts[1], effect.accounts[2], effect.accounts[3]]
    assert effect.discards == []


def test_a_pending_transaction_moves_the_pending_sums_alone() -> None:
    effect = decide("pending", [debit(1, 500), credit(2, 500)], BOOKS)
    assert effect.accounts[1].sums == Sums(0, 0, 0, 500)
    assert effect.accounts[2].sums == Sums(0, 0, 500, 0)


def test_entries_written_as_archived_change_no_account() -> None:
    read = WALLET._replace(lock_version=4, sums=Sums(900, 0, 0, 0))
    effect = decide("archived", [debit(1, 500), credit(2, 500)], chart(CASH, read))
    assert effect.accounts == {}
    assert effect.steps == [CASH, read]
    assert effect.discards == []


def test_an_account_may_stand_on_both_sides_and_steps_once_for_each_leg() -> None:
    effect = decide("posted", [debit(2, 700), credit(2, 500), credit(2, 200)], BOOKS)
    assert [(step.lock_version, step.sums) for step in effect.steps] == [
        (1, Sums(0, 700, 0, 0)),
        (2, Sums(500, 700, 0, 0)),
        (3, Sums(700, 700, 0, 0)),
    ]
    assert effect.accounts == {2: effect.steps[2]}


def test_an_entry_of_amount_0_is_an_entry_all_the_same() -> None:
    effect = decide("posted", [debit(1, 0), credit(2, 0)], BOOKS)
    assert effect.accounts == {1: CASH._replace(lock_version=1), 2: WALLET._replace(lock_version=1)}


def test_the_largest_amounts_add_up_exactly() -> None:
    rich = WALLET._replace(sums=Sums(AMOUNT_MAX, 0, 0, 0))
    effect = decide(
        "posted", [debit(1, AMOUNT_MAX), debit(1, 1), credit(2, 1), credit(2, AMOUNT_MAX)], chart(CASH, rich)
    )
    assert effect.accounts[1].sums == Sums(0, 10**36 + 1, 0, 0)
    assert effect.accounts[2].sums == Sums(2 * 10**36 + 1, 0, 0, 0)


def test_each_currency_balances_by_itself() -> None:
    points, liability = account(4, unit=PTS, normal_balance="debit"), account(5, unit=PTS)
    accounts = BOOKS | chart(points, liability)
    both = [debit(1, 1000), credit(2, 1000), debit(4, 10), credit(5, 10)]
    assert len(decide("posted", both, accounts).accounts) == 4

    refusal = refusal_of([debit(1, 1000), credit(2, 1010), debit(4, 20), credit(5, 10)], accounts)
    assert isinstance(refusal, Unbalanced)
    assert refusal.details() == {"currency": "PHP", "currency_exponent": 2, "debits": 1000, "credits": 1010}


def test_one_code_with_two_exponents_is_two_units() -> None:
    fine = account(4, unit=Currency("PTS", 2))
    refusal = refusal_of([debit(5, 100), credit(4, 100)], chart(fine, account(5, unit=PTS)))
    assert isinstance(refusal, Unbalanced)
    assert refusal.details() == {"currency": "PTS", "currency_exponent": 0, "debits": 100, "credits": 0}


def test_a_transaction_takes_1000_entries() -> None:
    legs = [debit(1, 1), credit(2, 1)] * (ENTRIES_MAX // 2)
    effect = decide("posted", legs, BOOKS)
    assert effect.accounts[1] == CASH._replace(lock_version=500, sums=Sums(0, 500, 0, 0))
    assert effect.accounts[2] == WALLET._replace(lock_version=500, sums=Sums(500, 0, 0, 0))


# A request that breaks every rule at once, put right one rule at a time, is answered with the refusals in order.
SHUT = account(4, is_open=False)
FORBIDS = {"lock_version": 9, "guards": (Guard("posted", "lt", 0),)}
LADDER: list[tuple[list[Leg], dict[int, Account], type[LedgerError], dict[str, Any]]] = [
    ([], {}, TooFewEntries, {"parameter": "ledger_entries"}),
    (
        [debit(9, -1, **FORBIDS)] * (ENTRIES_MAX + 1),
        chart(SHUT),
        TooManyEntries,
        {"count": 1001, "count_max": 1000, "parameter": "ledger_entries"},
    ),
    (
        [debit(4, 1, **FORBIDS), debit(9, -1, **FORBIDS)],
        chart(SHUT),
        AmountOutOfRange,
        {"amount": -1, "parameter": "ledger_entries[1].amount"},
    ),
    (
        [debit(4, 1, **FORBIDS), debit(9, AMOUNT_MAX + 1, **FORBIDS)],
        chart(SHUT),
        AmountOutOfRange,
        {"amount": 10**36 + 1, "parameter": "ledger_entries[1].amount"},
    ),
    ([debit(4, 1, **FORBIDS), debit(9, 1, **FORBIDS)], chart(SHUT), OneSided, {"missing": "credit"}),
    ([credit(4, 1, **FORBIDS), credit(9, 1, **FORBIDS)], chart(SHUT), OneSided, {"missing": "debit"}),
    (
        [debit(4, 1, **FORBIDS), credit(9, 2, **FORBIDS)],
        chart(SHUT),
        ObjectNotFound,
        {"object": "ledger_account", "id": "account-9", "parameter": "ledger_entries[1].ledger_account_id"},
    ),
    (
        [debit(2, 1, **FORBIDS), credit(4, 2, **FORBIDS)],
        chart(WALLET, SHUT),
        AccountDiscarded,
        {"ledger_account_id": "account-4", "parameter": "ledger_entries[1].ledger_account_id"},
    ),
    ([debit(2, 1, **FORBIDS), credit(3, 2, **FORBIDS)], BOOKS, Unbalanced, {"debits": 1, "credits": 2}),
    (
        [debit(2, 1, guards=FORBIDS["guards"]), credit(3, 1, **FORBIDS)],
        BOOKS,
        LockVersionMismatch,
        {"ledger_account_id": "account-3", "lock_version": 0, "lock_version_expected": 9},
    ),
    (
        [debit(2, 1), credit(3, 1, lock_version=0, guards=FORBIDS["guards"])],
        BOOKS,
        BalanceLockFailed,
        {
            "ledger_account_id": "account-3",
            "balance": "posted",
            "amount": 1,
            "comparison": "lt",
            "bound": 0,
            "parameter": "ledger_entries[1].posted_balance_amount",
        },
    ),
]


@pytest.mark.parametrize(("legs", "accounts", "kind", "said"), LADDER, ids=lambda value: getattr(value, "__name__", ""))
def test_the_first_rule_that_is_broken_answers(
    legs: list[Leg], accounts: dict[int, Account], kind: type[LedgerError], said: dict[str, Any]
) -> None:
    refusal = refusal_of(legs, accounts)
    assert type(refusal) is kind
    assert {name: getattr(refusal, name) for name in said} == said


def test_an_id_that_names_the_place_of_an_account_without_being_its_id_is_not_found() -> None:
    stranger = credit(2, 1)._replace(account_id="account-2-of-another-time")
    refusal = refusal_of([debit(1, 1), stranger], BOOKS)
    assert isinstance(refusal, ObjectNotFound)
    assert refusal.id == "account-2-of-another-time"


def test_a_refusal_leaves_the_accounts_as_they_were() -> None:
    before = dict(BOOKS)
    refusal_of([debit(2, 1), credit(3, 1, guards=(Guard("posted", "lt", 0),))], BOOKS)
    assert before == BOOKS


def test_a_lock_version_is_that_before_the_transaction_for_every_leg_of_the_account() -> None:
    read = WALLET._replace(lock_version=7)
    accounts = chart(CASH, read)
    decide("posted", [debit(1, 2), credit(2, 1, lock_version=7), credit(2, 1, lock_version=7)], accounts)
    refusal = refusal_of([debit(1, 2), credit(2, 1, lock_version=7), credit(2, 1, lock_version=8)], accounts)
    assert isinstance(refusal, LockVersionMismatch)
    assert (refusal.lock_version, refusal.lock_version_expected) == (7, 8)


def test_a_lock_version_is_asked_for_archived_entries_too_and_a_guard_is_not() -> None:
    with pytest.raises(LockVersionMismatch):
        decide("archived", [debit(1, 1), credit(2, 1, lock_version=1)], BOOKS)
    decide("archived", [debit(1, 1), credit(2, 1, guards=(Guard("posted", "lt", 0),))], BOOKS)


def test_a_guard_is_tested_after_the_whole_transaction_and_not_after_its_leg() -> None:
    never_below_zero = (Guard("available", "gte", 0),)
    passing_below = [debit(2, 500, guards=never_below_zero), credit(3, 500), debit(1, 500), credit(2, 500)]
    effect = decide("posted", passing_below, BOOKS)
    assert effect.steps[0].sums == Sums(0, 500, 0, 0)
    assert effect.accounts[2].sums == Sums(500, 500, 0, 0)


def test_a_guard_on_available_counts_what_others_hold() -> None:
    holding = WALLET._replace(sums=Sums(1000, 0, 0, 400))
    guards = (Guard("posted", "gte", 0), Guard("available", "gte", 0))
    decide("posted", [debit(2, 600, guards=guards), credit(3, 600)], chart(holding, FEES))
    refusal = refusal_of([debit(2, 601, guards=guards), credit(3, 601)], chart(holding, FEES))
    assert isinstance(refusal, BalanceLockFailed)
    assert (refusal.balance, refusal.amount, refusal.bound) == ("available", -1, 0)
    assert refusal.parameter == "ledger_entries[0].available_balance_amount"


def test_a_guard_reads_the_balance_from_the_normal_side_of_its_account() -> None:
    at_least_0 = (Guard("posted", "gte", 0),)
    decide("posted", [debit(1, 5, guards=at_least_0), credit(2, 5, guards=at_least_0)], BOOKS)
    refusal = refusal_of([credit(1, 5, guards=at_least_0), debit(2, 5)], BOOKS)
    assert isinstance(refusal, BalanceLockFailed)
    assert refusal.amount == -5


@pytest.mark.parametrize(
    ("comparison", "below", "same", "above"),
    [
        ("gt", False, False, True),
        ("gte", False, True, True),
        ("eq", False, True, False),
        ("not_eq", True, False, True),
        ("lte", True, True, False),
        ("lt", True, False, False),
    ],
)
def test_each_comparison_means_what_it_says(comparison: Comparison, *, below: bool, same: bool, above: bool) -> None:
    bound = 10**36
    assert holds(bound - 1, comparison, bound) is below
    assert holds(bound, comparison, bound) is same
    assert holds(bound + 1, comparison, bound) is above


def test_the_same_currency_by_value_is_the_same_unit() -> None:
    twin = account(4, unit=Currency(*PHP))
    assert decide("posted", [debit(1, 5), credit(4, 5)], chart(CASH, twin)).accounts[4].sums == Sums(5, 0, 0, 0)
    assert Sums(0, 0, 0, 0) == NOTHING

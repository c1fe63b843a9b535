"""An amount split by weights: the parts are the whole (I15)."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.accounting.errors import AmountOutOfRange, ParameterInvalid
from doppia.accounting.ledger.allocations import WEIGHTS_MAX, Rounding, allocate
from doppia.accounting.money import AMOUNT_MAX

amounts = st.one_of(st.integers(0, 100), st.integers(0, AMOUNT_MAX))
any_weights = st.one_of(
    st.lists(st.integers(0, 5), min_size=1, max_size=30), st.lists(st.integers(0, AMOUNT_MAX), min_size=1, max_size=30)
).filter(any)
roundings: st.SearchStrategy[Rounding] = st.sampled_from(["first", "largest_remainder"])


@pytest.mark.parametrize(
    ("amount", "weights", "first", "largest_remainder"),
    [
        (100, [1, 1, 1], [34, 33, 33], [34, 33, 33]),
        (101, [1, 1, 1], [34, 34, 33], [34, 34, 33]),
        (100, [50, 30, 20], [50, 30, 20], [50, 30, 20]),
        (5, [50, 50], [3, 2], [3, 2]),
        (10, [1, 2, 3], [2, 3, 5], [2, 3, 5]),
        (100, [15, 35, 51], [15, 35, 50], [15, 35, 50]),
        (7, [10, 10, 79], [1, 1, 5], [1, 1, 5]),
        (10, [1, 2, 4], [2, 3, 5], [1, 3, 6]),
        (10, [0, 1, 0, 2], [0, 4, 0, 6], [0, 3, 0, 7]),
        (1, [0, 0, 3, 3], [0, 0, 1, 0], [0, 0, 1, 0]),
        (0, [1, 2], [0, 0], [0, 0]),
        (9, [4], [9], [9]),
    ],
)
def test_the_units_left_over_go_where_the_rule_says(
    amount: int, weights: list[int], first: list[int], largest_remainder: list[int]
) -> None:
    assert allocate(amount, weights) == first
    assert allocate(amount, weights, "first") == first
    assert allocate(amount, weights, "largest_remainder") == largest_remainder


@given(amounts, any_weights, roundings)
def test_the_parts_sum_to_the_whole(amount: int, weights: list[int], rounding: Rounding) -> None:
    assert sum(allocate(amount, weights, rounding)) == amount


@given(amounts, any_weights, roundings)
def test_each_part_is_less_than_a_unit_from_its_exact_share_or_one_above_it(
    amount: int, weights: list[int], rounding: Rounding
) -> None:
    for part, weight in zip(allocate(amount, weights, rounding), weights, strict=True):
        exact = Fraction(amount * weight, sum(weights))
        assert -1 < part - exact <= 1
        if rounding == "largest_remainder":
            assert part - exact < 1
        if weight == 0:
            assert part == 0


@given(amounts, any_weights)
def test_no_split_is_nearer_to_the_exact_shares_than_that_by_the_largest_remainder(
    amount: int, weights: list[int]
) -> None:
    parts = allocate(amount, weights, "largest_remainder")
    lost = [Fraction(amount * weight, sum(weights)) - part for part, weight in zip(parts, weights, strict=True)]

    assert max(lost) - min(lost) <= 1


@given(amounts, any_weights)
def test_the_first_parts_take_one_unit_each_and_the_later_ones_none(amount: int, weights: list[int]) -> None:
    gained = [
        part - amount * weight // sum(weights)
        for part, weight in zip(allocate(amount, weights), weights, strict=True)
        if weight > 0
    ]

    assert gained == sorted(gained, reverse=True)
    assert set(gained) <= {0, 1}


@given(amounts, any_weights, roundings, st.integers(1, 1000))
def test_only_the_proportion_of_the_weights_counts(
    amount: int, weights: list[int], rounding: Rounding, factor: int
) -> None:
    small = [weight % 10**30 for weight in weights]
    if any(small):
        assert allocate(amount, [weight * factor for weight in small], rounding) == allocate(amount, small, rounding)


def test_the_largest_amount_is_split_exactly() -> None:
    assert allocate(10**36, [1, 1, 1]) == [(10**36 - 1) // 3 + 1, (10**36 - 1) // 3, (10**36 - 1) // 3]
    assert allocate(10**36, [10**36] * WEIGHTS_MAX) == [10**33] * WEIGHTS_MAX


@pytest.mark.parametrize("amount", [-1, 10**36 + 1])
def test_an_amount_out_of_range_is_refused(amount: int) -> None:
    with pytest.raises(AmountOutOfRange) as refusal:
        allocate(amount, [1])
    assert (refusal.value.parameter, refusal.value.amount) == ("amount", amount)


@pytest.mark.parametrize(
    ("weights", "parameter", "reason"),
    [
        ([], "weights", "must hold at least one weight above 0"),
        ([0, 0], "weights", "must hold at least one weight above 0"),
        ([1, -1], "weights[1]", "must be a whole number from 0 to 10^36"),
        ([10**36 + 1], "weights[0]", "must be a whole number from 0 to 10^36"),
        ([1] * 1001, "weights", "holds 1,001 weights; at most 1,000 are taken"),
    ],
    ids=["none", "all zero", "negative", "too large", "too many"],
)
def test_weights_that_can_not_be_are_refused(weights: list[int], parameter: str, reason: str) -> None:
    with pytest.raises(ParameterInvalid) as refusal:
        allocate(1, weights)
    assert refusal.value.parameter == parameter
    assert reason in refusal.value.reason

"""The chart of accounts: what may stand where, what a category sums to, and locks on it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.accounting.errors import (
    CategoryCycle,
    CategoryLockFailed,
    CategoryTooDeep,
    CurrencyMismatch,
    LedgerError,
    ObjectNotFound,
    ParameterInvalid,
    TooManyCategories,
)
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Direction, Sums
from doppia.accounting.ledger.categories import (
    CATEGORIES_OF_ACCOUNT_MAX,
    LEVELS_MAX,
    Category,
    Chart,
    add_up,
    below,
    check_categories_of_account,
    check_category_guards,
    check_currency,
    check_nesting,
    draw_chart,
    gained_after,
)
from doppia.accounting.ledger.transactions import CategoryGuards, Guard
from doppia.accounting.money import Currency
from tests.accounting.ledger.books import PHP, PTS, account

WHERE = "ledger_account_category_balance_locks"


def category(sequence: int, *sets: int, side: Direction = "credit", is_open: bool = True) -> Category:
    return Category(f"category-{sequence}", sequence, PHP, side, is_open, frozenset(sets))


def lock(sequence: int, *guards: Guard) -> CategoryGuards:
    return CategoryGuards(sequence, f"category-{sequence}", guards)


def standing(sequence: int, category_set: int | None, *sums: int) -> Account:
    return account(sequence, sums=Sums(*sums) if sums else NOTHING)._replace(category_set=category_set)


def test_sums_are_added_up_side_by_side() -> None:
    assert add_up([]) == NOTHING
    assert add_up([Sums(1, 2, 3, 4), Sums(10, 20, 30, 40), Sums(10**36, 0, 0, 0)]) == Sums(10**36 + 11, 22, 33, 44)


# Category 50 holds the sets 100 and 200, of which account 1 is in the first; account 2 is in no category.
CATEGORIES = (
    category(50, 100, 200),
    category(51, 200),
    category(52, 100, 200, is_open=False),
    category(53, 100, side="debit"),
    category(54),
)
TOTALS = {
    50: Sums(80, 10, 0, 5),
    51: Sums(50, 10, 0, 5),
    52: Sums(80, 10, 0, 5),
    53: Sums(30, 0, 0, 0),
    54: NOTHING,
}


def drawn() -> Chart:
    return draw_chart(CATEGORIES, TOTALS)


def test_a_chart_begins_with_what_was_there_and_nothing_gained() -> None:
    chart = drawn()

    assert (chart.categories, chart.totals) == ({each.sequence: each for each in CATEGORIES}, TOTALS)
    assert set(chart.gained.values()) == {NOTHING}
    assert {key: set(sets) for key, sets in chart.holders.items()} == {
        100: {frozenset({100, 200}), frozenset({100})}, 200: {frozenset({100, 200}), frozenset({200})},
    }  # fmt: skip


def test_categories_of_the_same_sets_gain_together() -> None:
    chart = draw_chart([category(number, 100, 200) for number in range(1000)], dict.fromkeys(range(1000), NOTHING))

    assert len(chart.gained) == 1
    assert {id(each.sets) for each in chart.categories.values()} == {id(sets) for sets in chart.gained}


def test_a_category_gains_or_loses_what_accounts_in_its_sets_do_and_nothing_of_others() -> None:
    sets = {1: 100, 2: 100, 3: 200, 4: 300, 5: None}
    before = {number: standing(number, set_, 10, 0, 5, 0) for number, set_ in sets.items()}
    after = [
        before[1]._replace(sums=Sums(12, 0, 0, 0)),
        before[2]._replace(sums=Sums(10, 1, 5, 0)),
        before[3]._replace(sums=Sums(10, 0, 9, 2)),
        before[4]._replace(sums=Sums(99, 0, 5, 0)),
        before[5]._replace(sums=Sums(99, 0, 5, 0)),
    ]
    chart = drawn()

    assert gained_after(chart, before, after) == {
        frozenset({100, 200}): Sums(2, 1, -1, 2), frozenset({100}): Sums(2, 1, -5, 0),
        frozenset({200}): Sums(0, 0, 4, 2),
    }  # fmt: skip
    assert set(chart.gained.values()) == {NOTHING}

    chart.gained.update(gained_after(chart, before, after[:1]))
    assert gained_after(chart, before, after[1:2]) == {
        frozenset({100, 200}): Sums(2, 1, -5, 0), frozenset({100}): Sums(2, 1, -5, 0),
    }  # fmt: skip
    assert gained_after(chart, before, []) == {}


@given(
    st.lists(st.frozensets(st.integers(0, 6)), min_size=1, max_size=8),
    st.lists(st.one_of(st.none(), st.integers(0, 6)), min_size=1, max_size=8),
    st.lists(st.dictionaries(st.integers(0, 7), st.tuples(*[st.integers(-9, 9)] * 4), max_size=4), max_size=6),
)
def test_totals_and_gains_are_the_sum_of_each_account_once_after_any_changes(
    held: list[frozenset[int]], membership: list[int | None], changes: list[dict[int, tuple[int, int, int, int]]]
) -> None:
    accounts = {number: standing(number, set_, 50, 50, 50, 50) for number, set_ in enumerate(membership)}

    def total(sets: frozenset[int]) -> Sums:
        return add_up(each.sums for each in accounts.values() if each.category_set in sets)

    categories = [category(number, *sets) for number, sets in enumerate(held)]
    chart = draw_chart(categories, {each.sequence: total(each.sets) for each in categories})
    for change in changes:
        after = {
            number: accounts[number]._replace(sums=add_up([accounts[number].sums, Sums(*gain)]))
            for number, gain in change.items()
            if number in accounts
        }
        chart.gained.update(gained_after(chart, accounts, after.values()))
        accounts |= after

    for each in categories:
        assert add_up([chart.totals[each.sequence], chart.gained[each.sets]]) == total(each.sets)


BEFORE = {1: standing(1, 100, 30, 0, 0, 0), 2: standing(2, None)}
AFTER = {1: BEFORE[1]._replace(sums=Sums(30, 8, 0, 0)), 2: BEFORE[2]._replace(sums=Sums(8, 0, 0, 0))}


def check(*locks: CategoryGuards) -> None:
    check_category_guards(locks, drawn(), list(BEFORE.values()), BEFORE, AFTER)


@pytest.mark.parametrize(
    ("number", "guard", "amount"),
    [
        # 80 credited; 10 debited before, 8 now, 5 more on their way.
        (50, Guard("posted", "eq", 62), 62),
        (50, Guard("pending", "eq", 57), 57),
        (50, Guard("available", "eq", 57), 57),
        (53, Guard("posted", "eq", -22), -22),
    ],
)
def test_a_lock_tests_the_balance_of_all_accounts_after_the_transaction(number: int, guard: Guard, amount: int) -> None:
    check(lock(number, guard))

    with pytest.raises(CategoryLockFailed) as refusal:
        check(lock(53), lock(number, guard._replace(comparison="not_eq"), guard))

    assert refusal.value.parameter == f"{WHERE}[1].{guard.balance}_balance_amount"
    assert refusal.value.details() == {
        "ledger_account_category_id": f"category-{number}", "balance": guard.balance, "amount": amount,
        "comparison": "not_eq", "bound": amount,
    }  # fmt: skip


def test_a_lock_sees_what_the_changes_before_have_added() -> None:
    chart, guard = drawn(), Guard("posted", "eq", 62)
    first = {1: BEFORE[1]._replace(sums=Sums(31, 2, 0, 0))}
    chart.gained.update(gained_after(chart, BEFORE, first.values()))
    then = {1: AFTER[1]._replace(sums=Sums(31, 10, 0, 0)), 2: AFTER[2]}

    check_category_guards([lock(50, guard._replace(bound=61))], chart, list(BEFORE.values()), BEFORE | first, then)


def test_two_accounts_of_one_set_both_count() -> None:
    before = {1: BEFORE[1], 3: standing(3, 100, 5, 5, 0, 0)}
    after = {1: AFTER[1], 3: standing(3, 100, 9, 5, 0, 0)}

    check_category_guards([lock(50, Guard("posted", "eq", 66))], drawn(), list(before.values()), before, after)


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        pytest.param(lock(99), ObjectNotFound, id="not there"),
        pytest.param(CategoryGuards(50, "category-5O", ()), ObjectNotFound, id="of another id"),
        pytest.param(lock(52), ObjectNotFound, id="discarded"),
        pytest.param(lock(51), ParameterInvalid, id="without an account that is written"),
        pytest.param(lock(54), ParameterInvalid, id="without accounts"),
    ],
)
def test_a_lock_that_would_guard_nothing_is_refused(wrong: CategoryGuards, kind: type[LedgerError]) -> None:
    with pytest.raises(kind) as refusal:
        check(lock(50), wrong, lock(50, Guard("posted", "gt", 10**9)))

    assert refusal.value.parameter == f"{WHERE}[1].ledger_account_category_id"


def test_a_transaction_without_locks_asks_nothing() -> None:
    check()


@pytest.mark.parametrize("unit", [PTS, Currency("PHP", 3)], ids=["another code", "another exponent"])
def test_what_comes_into_a_category_is_in_its_unit(unit: Currency) -> None:
    check_currency(PHP, category(50))

    with pytest.raises(CurrencyMismatch) as refusal:
        check_currency(unit, category(50), "here")

    assert refusal.value.parameter == "here"
    assert refusal.value.details() == {
        "currency": unit.code, "currency_exponent": unit.exponent, "currency_expected": "PHP",
        "currency_exponent_expected": 2,
    }  # fmt: skip


def test_an_account_is_directly_in_so_many_categories_and_no_more() -> None:
    check_categories_of_account(CATEGORIES_OF_ACCOUNT_MAX)

    with pytest.raises(TooManyCategories):
        check_categories_of_account(CATEGORIES_OF_ACCOUNT_MAX + 1)


CHAIN = {1: [2], 2: [3], 11: [12], 12: [13], 10: [11], 20: [12, 13]}


def test_below_is_what_any_path_leads_to() -> None:
    assert below(10, CHAIN) == {10, 11, 12, 13}
    assert below(20, CHAIN) == {20, 12, 13}
    assert below(13, CHAIN) == {13}


@pytest.mark.parametrize(("parent", "child"), [(1, 1), (2, 1), (3, 1), (13, 20), (12, 10)])
def test_a_category_does_not_come_below_itself(parent: int, child: int) -> None:
    with pytest.raises(CategoryCycle):
        check_nesting(parent, child, CHAIN)


@pytest.mark.parametrize(("parent", "child", "levels"), [(3, 11, 6), (3, 10, 7), (13, 1, 7), (2, 10, 6)])
def test_categories_stand_no_deeper_than_five_levels(parent: int, child: int, levels: int) -> None:
    with pytest.raises(CategoryTooDeep) as refusal:
        check_nesting(parent, child, CHAIN)

    assert (refusal.value.levels, refusal.value.levels_max) == (levels, LEVELS_MAX)


@pytest.mark.parametrize(("parent", "child"), [(2, 11), (1, 10), (3, 12), (3, 13), (13, 3), (30, 10), (1, 3), (99, 98)])
def test_categories_stand_as_deep_as_five_levels(parent: int, child: int) -> None:
    check_nesting(parent, child, CHAIN)


def test_a_graph_with_a_million_paths_is_measured_by_its_levels() -> None:
    layers = [range(number * 100, number * 100 + 100) for number in range(LEVELS_MAX)]
    children = {upper: list(lower) for each, lower in pairwise(layers) for upper in each}

    check_nesting(0, 401, children)
    with pytest.raises(CategoryTooDeep):
        check_nesting(1000, 0, children)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40))
def test_whatever_is_nested_in_any_order_stands_within_five_levels_and_without_a_cycle(
    wanted: list[tuple[int, int]],
) -> None:
    children: dict[int, list[int]] = {}
    for parent, child in wanted:
        try:
            check_nesting(parent, child, children)
        except (CategoryCycle, CategoryTooDeep):
            continue
        children.setdefault(parent, []).append(child)

    def paths(category: int) -> list[list[int]]:
        return [[category]] + [[category, *path] for child in children.get(category, ()) for path in paths(child)]

    for each in range(10):
        for path in paths(each):
            assert len(path) <= LEVELS_MAX
            assert len(set(path)) == len(path)

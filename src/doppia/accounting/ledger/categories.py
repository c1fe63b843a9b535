"""Categories: the chart of accounts, and what the accounts of a category sum to.

Accounts and categories may be in several categories, which form a graph without cycles, at most five deep. Accounts
that are directly in exactly the same categories make up one category set. A category's balances are those of
all sets that hold it or a category below it, so that an account counts once, however many paths lead to it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import add, sub
from typing import Final, NamedTuple

from doppia.accounting.errors import (
    CategoryCycle,
    CategoryLockFailed,
    CategoryTooDeep,
    CurrencyMismatch,
    ObjectNotFound,
    ParameterInvalid,
    TooManyCategories,
)
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Direction, Sums, balance
from doppia.accounting.ledger.transactions import CategoryLock, holds
from doppia.accounting.money import Currency

LEVELS_MAX: Final = 5
CATEGORIES_OF_ACCOUNT_MAX: Final = 100


class Category(NamedTuple):
    """A category as the rules see it.

    Attributes:
        id: as the wire shows it.
        sequence: position in the ledger's log at which it was created.
        sets: of the category sets that a change may touch, those whose accounts are in it, directly or through
            categories below it.
    """

    id: str
    sequence: int
    currency: Currency
    normal_balance: Direction
    is_open: bool
    sets: frozenset[int] = frozenset()


class CategoryFields(NamedTuple):
    """A category with all its fields; `category` is what the rules see of it, `sums` are those of its accounts."""

    category: Category
    ledger: int
    name: str
    description: str | None
    external_id: str | None
    metadata: Mapping[str, str]
    sums: Sums
    created_at: datetime
    updated_at: datetime
    discarded_at: datetime | None


class Chart(NamedTuple):
    """The part of a chart of accounts that changes need, one after the other.

    Attributes:
        categories: by sequence.
        totals: what all accounts of a category summed to before the first change, by its sequence.
        gained: what the changes so far have added to that, by the sets that a category holds. Categories that hold the
            same sets gain the same, so it is kept once for them, however many they are.
        holders: for each set the keys of `gained` that have it.
    """

    categories: Mapping[int, Category]
    totals: Mapping[int, Sums]
    gained: dict[frozenset[int], Sums]
    holders: Mapping[int, Sequence[frozenset[int]]]


NO_CHART: Final = Chart({}, {}, {}, {})


def draw_chart(categories: Iterable[Category], totals: Mapping[int, Sums]) -> Chart:
    """Return the chart of categories and what their accounts sum to, before any change."""
    found: dict[int, Category] = {}
    same: dict[frozenset[int], frozenset[int]] = {}
    for category in categories:
        # Sets that are the same object are found in `gained` without being compared.
        found[category.sequence] = category._replace(sets=same.setdefault(category.sets, category.sets))
    holders: dict[int, list[frozenset[int]]] = {}
    for sets in same:
        for category_set in sets:
            holders.setdefault(category_set, []).append(sets)
    return Chart(found, totals, dict.fromkeys(same, NOTHING), holders)


def add_up(sums: Iterable[Sums]) -> Sums:
    """Return the sums of all of them together."""
    return Sums(*map(sum, zip(NOTHING, *sums, strict=True)))


def _gains(before: Mapping[int, Account], after: Iterable[Account]) -> dict[int, Sums]:
    """Return what category sets gain, once accounts stand as in `after` rather than as in `before`."""
    gains: dict[int, Sums] = {}
    for account in after:
        if account.category_set is not None:
            gain = Sums(*map(sub, account.sums, before[account.sequence].sums))
            gains[account.category_set] = Sums(*map(add, gains.get(account.category_set, NOTHING), gain))
    return gains


def gained_after(chart: Chart, before: Mapping[int, Account], after: Iterable[Account]) -> dict[frozenset[int], Sums]:
    """Return what changes in `chart.gained`, once accounts stand as in `after` rather than as in `before`."""
    changed: dict[frozenset[int], Sums] = {}
    for category_set, gain in _gains(before, after).items():
        for sets in chart.holders.get(category_set, ()):
            changed[sets] = Sums(*map(add, changed.get(sets) or chart.gained[sets], gain))
    return changed


def check_category_locks(
    locks: Sequence[CategoryLock],
    chart: Chart,
    written: Sequence[Account],
    before: Mapping[int, Account],
    after: Mapping[int, Account],
) -> None:
    """Test the category locks of a transaction on the balances after it.

    Args:
        locks: in order.
        chart: with every category that a lock names, as it stands before the transaction.
        written: the accounts of its entries.
        before: all its accounts as they stand before it, by sequence.
        after: those that it changes, as they stand afterwards.

    Raises, the first that holds, in this order:
        ObjectNotFound: there is no such category.
        ParameterInvalid: the category holds no account that the transaction writes, so the lock would guard nothing.
        CategoryLockFailed.
    """
    gains = _gains(before, after.values())
    for position, lock in enumerate(locks):
        where = f"ledger_account_category_balance_locks[{position}]"
        category = chart.categories.get(lock.category)
        if category is None or category.id != lock.category_id or not category.is_open:
            raise ObjectNotFound(
                object="ledger_account_category",
                id=lock.category_id,
                parameter=f"{where}.ledger_account_category_id",
            )
        if not any(account.category_set in category.sets for account in written):
            raise ParameterInvalid(
                parameter=f"{where}.ledger_account_category_id", reason="holds no account that the transaction writes"
            )
        own = [gain for category_set, gain in gains.items() if category_set in category.sets]
        total = add_up([chart.totals[category.sequence], chart.gained[category.sets], *own])
        for guard in lock.guards:
            amount = balance(guard.balance, total, category.normal_balance).amount
            if not holds(amount, guard.comparison, guard.bound):
                raise CategoryLockFailed(
                    parameter=f"{where}.{guard.balance}_balance_amount",
                    ledger_account_category_id=category.id,
                    balance=guard.balance,
                    amount=amount,
                    comparison=guard.comparison,
                    bound=guard.bound,
                )


def check_unit(unit: Currency, category: Category, parameter: str | None = None) -> None:
    """Ask that what comes into a category is in its currency; `parameter` is where the request names the category.

    Raises:
        CurrencyMismatch.
    """
    if unit != category.currency:
        raise CurrencyMismatch(
            parameter=parameter,
            currency=unit.code,
            currency_exponent=unit.exponent,
            currency_expected=category.currency.code,
            currency_exponent_expected=category.currency.exponent,
        )


def check_categories_of_account(count: int) -> None:
    """Ask that an account is not directly in too many categories.

    Raises:
        TooManyCategories.
    """
    if count > CATEGORIES_OF_ACCOUNT_MAX:
        raise TooManyCategories(count_max=CATEGORIES_OF_ACCOUNT_MAX)


def check_nesting(parent: int, child: int, children: Mapping[int, Iterable[int]]) -> None:
    """Ask that a category may come directly below another.

    Args:
        parent: sequence of the one.
        child: sequence of the other.
        children: the sequences of those directly below each category that is above the one or below the other, or
            either itself.

    Raises, the first that holds, in this order:
        CategoryCycle: `parent` is `child`, or below it.
        CategoryTooDeep: more than five levels would stand on one path.
    """
    if parent in below(child, children):
        raise CategoryCycle
    parents: dict[int, list[int]] = {}
    for upper, lowers in children.items():
        for lower in lowers:
            parents.setdefault(lower, []).append(upper)
    levels = _height(parent, parents) + _height(child, children)
    if levels > LEVELS_MAX:
        raise CategoryTooDeep(levels=levels, levels_max=LEVELS_MAX)


def below(category: int, children: Mapping[int, Iterable[int]]) -> set[int]:
    """Return a category with all that are below it, at any depth."""
    reached, waiting = {category}, [category]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in reached:
                reached.add(child)
                waiting.append(child)
    return reached


def _height(category: int, next_: Mapping[int, Iterable[int]]) -> int:
    """Return how many levels the longest path from a category has, itself included."""
    levels, reached = 0, {category}
    while reached:
        levels += 1
        reached = {other for each in reached for other in next_.get(each, ())}
    return levels

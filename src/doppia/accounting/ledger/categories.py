"""Categories: they form the chart of accounts, and have the balances of the accounts in them.

An account or a category may be in several categories. Categories form a graph without cycles, at most five levels deep.
Accounts that are directly in exactly the same categories make up one category set. A category's balances are summed
over all sets whose accounts are in it or in a category below it. Each account is in one set, so it counts once, however
many paths lead to it.
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
from doppia.accounting.ledger.transactions import CategoryGuards, holds
from doppia.accounting.money import Currency

LEVELS_MAX: Final = 5
CATEGORIES_OF_ACCOUNT_MAX: Final = 100
"""An account is directly in no more categories than this."""


class Category(NamedTuple):
    """A category as the rules see it.

    Attributes:
        id: the id as the API shows it.
        sequence: the sequence of the log record that created the category.
        is_open: whether the category can hold anything; a discarded one can't.
        sets: those category sets whose accounts are in the category, directly or through categories below it. Only
            sets that the change at hand may touch have to be among them.
    """

    id: str
    sequence: int
    currency: Currency
    normal_balance: Direction
    is_open: bool
    sets: frozenset[int] = frozenset()


class CategoryFields(NamedTuple):
    """A category with all its fields.

    Attributes:
        category: the category as the rules see it.
        ledger: the number of the category's ledger.
        sums: the sums over all accounts in the category, directly or not.
    """

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
    """The part of a chart of accounts that several changes need, which are decided one after the other.

    Attributes:
        categories: the categories, by sequence.
        totals: for each category, by its sequence, the sums over all its accounts before the first change.
        gained: what the changes so far have added to the totals, by the sets of a category. Categories with the same
            sets gain the same, so it is kept once for all of them.
        holders: for each category set, the keys of `gained` that contain it.
    """

    categories: Mapping[int, Category]
    totals: Mapping[int, Sums]
    gained: dict[frozenset[int], Sums]
    holders: Mapping[int, Sequence[frozenset[int]]]


NO_CHART: Final = Chart({}, {}, {}, {})
"""This is the chart for changes that have no guards on categories."""


def draw_chart(categories: Iterable[Category], totals: Mapping[int, Sums]) -> Chart:
    """Return the chart of these categories before any change; `totals` are the sums over the accounts of each."""
    found: dict[int, Category] = {}
    same: dict[frozenset[int], frozenset[int]] = {}
    for category in categories:
        # Where equal sets are one object, looking them up in `gained` takes no comparison of their members.
        found[category.sequence] = category._replace(sets=same.setdefault(category.sets, category.sets))
    holders: dict[int, list[frozenset[int]]] = {}
    for sets in same:
        for category_set in sets:
            holders.setdefault(category_set, []).append(sets)
    return Chart(found, totals, dict.fromkeys(same, NOTHING), holders)


def add_up(sums: Iterable[Sums]) -> Sums:
    """Return one Sums that adds up all the given ones."""
    return Sums(*map(sum, zip(NOTHING, *sums, strict=True)))


def _gains(before: Mapping[int, Account], after: Iterable[Account]) -> dict[int, Sums]:
    """Return what each category set gains when its accounts change from `before` to `after`."""
    gains: dict[int, Sums] = {}
    for account in after:
        if account.category_set is not None:
            gain = Sums(*map(sub, account.sums, before[account.sequence].sums))
            gains[account.category_set] = Sums(*map(add, gains.get(account.category_set, NOTHING), gain))
    return gains


def gained_after(chart: Chart, before: Mapping[int, Account], after: Iterable[Account]) -> dict[frozenset[int], Sums]:
    """Return the items of `chart.gained` that change when accounts change from `before` to `after`."""
    changed: dict[frozenset[int], Sums] = {}
    for category_set, gain in _gains(before, after).items():
        for sets in chart.holders.get(category_set, ()):
            changed[sets] = Sums(*map(add, changed.get(sets) or chart.gained[sets], gain))
    return changed


def check_category_guards(
    category_guards: Sequence[CategoryGuards],
    chart: Chart,
    written: Sequence[Account],
    before: Mapping[int, Account],
    after: Mapping[int, Account],
) -> None:
    """Test a transaction's guards on categories against the balances after the transaction.

    The guards are tested in order. For each category:

    1. The category exists and is not discarded.
    2. It holds at least one account that the transaction writes; otherwise its guards could not protect anything.
    3. Its balances are its total, what earlier changes have added to that, and what this transaction adds. All guards
       hold for them.

    Args:
        category_guards: the guards, by category.
        chart: the chart as it stands before the transaction, with every category that is named.
        written: the accounts of the transaction's entries.
        before: all accounts of the transaction, by sequence, as they stand before it.
        after: the accounts that the transaction changes, by sequence, as they stand after it.

    Raises, for the first category that is refused:
        ObjectNotFound: of step 1.
        ParameterInvalid: of step 2.
        CategoryLockFailed: of step 3.
    """
    gains = _gains(before, after.values())
    for position, asked in enumerate(category_guards):
        where = f"ledger_account_category_balance_locks[{position}]"
        category = chart.categories.get(asked.category)
        if category is None or category.id != asked.category_id or not category.is_open:
            raise ObjectNotFound(
                object="ledger_account_category",
                id=asked.category_id,
                parameter=f"{where}.ledger_account_category_id",
            )
        if not any(account.category_set in category.sets for account in written):
            raise ParameterInvalid(
                parameter=f"{where}.ledger_account_category_id", reason="holds no account that the transaction writes"
            )
        own = [gain for category_set, gain in gains.items() if category_set in category.sets]
        total = add_up([chart.totals[category.sequence], chart.gained[category.sets], *own])
        for guard in asked.guards:
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


def check_currency(currency: Currency, category: Category, parameter: str | None = None) -> None:
    """Refuse what is in another currency than the category that it is to be in.

    `parameter` is where the request names the category.

    Raises:
        CurrencyMismatch.
    """
    if currency != category.currency:
        raise CurrencyMismatch(
            parameter=parameter,
            currency=currency.code,
            currency_exponent=currency.exponent,
            currency_expected=category.currency.code,
            currency_exponent_expected=category.currency.exponent,
        )


def check_categories_of_account(count: int) -> None:
    """Refuse to have an account directly in more than `CATEGORIES_OF_ACCOUNT_MAX` categories.

    Raises:
        TooManyCategories.
    """
    if count > CATEGORIES_OF_ACCOUNT_MAX:
        raise TooManyCategories(count_max=CATEGORIES_OF_ACCOUNT_MAX)


def check_nesting(parent: int, child: int, children: Mapping[int, Iterable[int]]) -> None:
    """Refuse to put a category directly below another where the graph of categories does not allow it.

    Args:
        parent: the sequence of the upper category.
        child: the sequence of the lower category.
        children: for the parent and each category above it, and for the child and each category below it, the
            sequences of the categories directly below.

    Raises, the first that holds, in this order:
        CategoryCycle: the parent is the child itself, or below it.
        CategoryTooDeep: one path would have more than five levels.
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
    """Return a category and all categories below it, at any depth."""
    reached, waiting = {category}, [category]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in reached:
                reached.add(child)
                waiting.append(child)
    return reached


def _height(category: int, next_: Mapping[int, Iterable[int]]) -> int:
    """Return how many levels the longest path from a category has; the category itself is the first."""
    levels, reached = 0, {category}
    while reached:
        levels += 1
        reached = {other for each in reached for other in next_.get(each, ())}
    return levels

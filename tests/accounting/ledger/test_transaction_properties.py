"""What holds for every transaction, whatever its legs: found by search, not by example."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.accounting.errors import BalanceLockFailed, OneSided, Unbalanced
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, BalanceName, Sums, balance
from doppia.accounting.ledger.transaction_life import Revision, create, expire, reversal, revise
from doppia.accounting.ledger.transactions import Change, Comparison, Draft, Entry, Guard, Leg, Status, decide, holds
from doppia.accounting.money import AMOUNT_MAX, Currency
from tests.accounting.ledger.books import PHP, PTS, account, chart

NOW = datetime(2026, 3, 2, tzinfo=UTC)
BOOKS = chart(
    account(1, normal_balance="debit"),
    account(2, sums=Sums(500, 200, 40, 10), lock_version=7),
    account(3, sums=Sums(10**36, 3, 0, 0), lock_version=2),
    account(4, unit=PTS, normal_balance="debit"),
    account(5, unit=PTS),
)
UNITS = {PHP: [1, 2, 3], PTS: [4, 5]}
BALANCES: tuple[BalanceName, ...] = ("posted", "pending", "available")
COMPARISONS: tuple[Comparison, ...] = ("gt", "gte", "eq", "not_eq", "lte", "lt")

amounts = st.one_of(st.integers(0, 100), st.integers(0, AMOUNT_MAX))
written: st.SearchStrategy[Status] = st.sampled_from(["pending", "posted"])
any_leg = st.builds(
    lambda sequence, direction, amount: Leg(sequence, f"account-{sequence}", direction, amount),
    st.integers(1, 5),
    st.sampled_from(["credit", "debit"]),
    st.integers(0, 3),
)


@st.composite
def balanced_legs(draw: st.DrawFn) -> list[Leg]:
    """Legs that balance in each unit, in any order, often with one account on several of them."""
    pairs = draw(st.lists(st.tuples(st.sampled_from(list(UNITS)), amounts, st.data()), min_size=1, max_size=4))
    legs = []
    for unit, amount, data in pairs:
        debited, credited = (data.draw(st.sampled_from(UNITS[unit])) for _ in range(2))
        legs += [
            Leg(debited, f"account-{debited}", "debit", amount),
            Leg(credited, f"account-{credited}", "credit", amount),
        ]
    return draw(st.permutations(legs))


def created(status: Status, legs: Sequence[Leg], accounts: Mapping[int, Account] = BOOKS) -> Change:
    return create(Draft(legs, status), accounts, id_="transaction-10", sequence=10, recorded_at=NOW)


def after(change: Change, accounts: Mapping[int, Account] = BOOKS) -> dict[int, Account]:
    return {**accounts, **change.accounts}


def all_sums(accounts: Mapping[int, Account]) -> dict[int, Sums]:
    return {sequence: each.sums for sequence, each in accounts.items()}


def folded(accounts: Mapping[int, Account], entries: Sequence[Leg | Entry], status: Status) -> dict[int, Sums]:
    """The sums of the accounts with the entries added one by one: the slow, plain way."""
    sums = all_sums(accounts)
    for entry in entries:
        sequence = entry.account if isinstance(entry, Leg) else entry.account.sequence
        name = f"{status}_{entry.direction}s"
        sums[sequence] = sums[sequence]._replace(**{name: getattr(sums[sequence], name) + entry.amount})
    return sums


@given(balanced_legs(), written)
def test_the_sums_afterwards_are_the_fold_of_the_legs(legs: list[Leg], status: Status) -> None:
    assert all_sums(after(created(status, legs))) == folded(BOOKS, legs, status)


@given(balanced_legs(), written)
def test_debits_equal_credits_in_each_unit_and_status(legs: list[Leg], status: Status) -> None:
    empty = {sequence: each._replace(sums=NOTHING) for sequence, each in BOOKS.items()}
    totals: dict[Currency, Sums] = dict.fromkeys(UNITS, NOTHING)
    for each in after(created(status, legs, empty), empty).values():
        totals[each.currency] = Sums(*map(sum, zip(totals[each.currency], each.sums, strict=True)))
    for total in totals.values():
        assert total.posted_credits == total.posted_debits
        assert total.pending_credits == total.pending_debits


@given(balanced_legs(), written)
def test_each_entry_is_one_step_of_its_account_and_no_other_account_moves(legs: list[Leg], status: Status) -> None:
    change = created(status, legs)
    count = Counter(leg.account for leg in legs)
    assert change.accounts.keys() == count.keys()
    seen = dict(BOOKS)
    for leg, entry in zip(legs, change.transaction.entries, strict=True):
        before = seen[leg.account]
        assert entry.account.lock_version == before.lock_version + 1
        assert sum(entry.account.sums) - sum(before.sums) == leg.amount
        seen[leg.account] = entry.account
    assert change.accounts == {sequence: seen[sequence] for sequence in count}


@given(st.lists(any_leg, min_size=1, max_size=6), written)
def test_legs_are_refused_as_unbalanced_exactly_when_a_unit_does_not_balance(legs: list[Leg], status: Status) -> None:
    net: Counter[Currency] = Counter()
    for leg in legs:
        net[BOOKS[leg.account].currency] += leg.amount if leg.direction == "credit" else -leg.amount
    two_sided = len({leg.direction for leg in legs}) == 2
    if two_sided and not any(net.values()):
        decide(status, legs, BOOKS)
    else:
        with pytest.raises(Unbalanced if two_sided else OneSided) as refusal:
            decide(status, legs, BOOKS)
        if isinstance(refusal.value, Unbalanced):
            unit = Currency(refusal.value.currency, refusal.value.currency_exponent)
            assert net[unit] == refusal.value.credits - refusal.value.debits != 0


@given(
    balanced_legs(),
    written,
    st.builds(
        Guard,
        st.sampled_from(BALANCES),
        st.sampled_from(COMPARISONS),
        st.integers(-(10**37), 10**37) | st.integers(-200, 700),
    ),
    st.data(),
)
def test_a_guard_refuses_exactly_when_the_balance_afterwards_breaks_it(
    legs: list[Leg], status: Status, guard: Guard, data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(legs) - 1))
    each = after(created(status, legs))[legs[position].account]
    amount = balance(guard.balance, each.sums, each.normal_balance).amount
    guarded = list(legs)
    guarded[position] = legs[position]._replace(guards=(guard,))
    if holds(amount, guard.comparison, guard.bound):
        assert decide(status, guarded, BOOKS) == decide(status, legs, BOOKS)
    else:
        with pytest.raises(BalanceLockFailed) as refusal:
            decide(status, guarded, BOOKS)
        assert (refusal.value.amount, refusal.value.ledger_account_id) == (amount, each.id)


@given(balanced_legs())
def test_archiving_a_pending_transaction_brings_every_sum_back(legs: list[Leg]) -> None:
    held = created("pending", legs)
    archived = revise(held.transaction, Revision(status="archived"), after(held), sequence=11, recorded_at=NOW)
    assert all_sums(after(archived, after(held))) == all_sums(BOOKS)
    grown = {s: archived.accounts[s].lock_version - BOOKS[s].lock_version for s in archived.accounts}
    assert grown == {sequence: 2 * count for sequence, count in Counter(leg.account for leg in legs).items()}


@given(balanced_legs())
def test_a_hold_that_expires_leaves_the_accounts_as_one_that_is_archived_does(legs: list[Leg]) -> None:
    later = NOW + timedelta(days=1)
    held = create(Draft(legs, "pending", expires_at=later), BOOKS, id_="hold", sequence=10, recorded_at=NOW)
    expired = expire(held.transaction, after(held), recorded_at=later)
    archived = revise(held.transaction, Revision(status="archived"), after(held), sequence=11, recorded_at=NOW)
    assert expired.accounts == archived.accounts
    assert all_sums(after(expired, after(held))) == all_sums(BOOKS)


@given(balanced_legs(), written, st.integers(-1, 1))
def test_a_transaction_that_archives_on_a_lock_failure_is_never_refused_for_one_and_moves_all_or_nothing(
    legs: list[Leg], status: Status, beyond: int
) -> None:
    each = after(created(status, legs))[legs[0].account]
    amount = balance("available", each.sums, each.normal_balance).amount
    guarded = [legs[0]._replace(guards=(Guard("available", "gte", amount + beyond),)), *legs[1:]]
    draft = Draft(guarded, status, archives_on_failed_guard=True)
    change = create(draft, BOOKS, id_="transaction-10", sequence=10, recorded_at=NOW)
    if beyond > 0:
        assert (change.transaction.status, change.accounts) == ("archived", {})
    else:
        assert (change.transaction.status, change.accounts) == (status, created(status, legs).accounts)


@given(balanced_legs(), balanced_legs(), written)
def test_replacing_the_entries_leads_where_the_new_ones_would_have_led_alone(
    old: list[Leg], new: list[Leg], status: Status
) -> None:
    held = created("pending", old)
    change = revise(held.transaction, Revision(status=status, legs=new), after(held), sequence=11, recorded_at=NOW)
    assert all_sums(after(change, after(held))) == folded(BOOKS, new, status)


@given(balanced_legs(), balanced_legs(), written)
def test_discards_and_successors_pair_off_on_each_account_in_order(
    old: list[Leg], new: list[Leg], status: Status
) -> None:
    held = created("pending", old)
    change = revise(held.transaction, Revision(status=status, legs=new), after(held), sequence=11, recorded_at=NOW)
    assert [discard.entry for discard in change.discards] == list(held.transaction.entries)
    for sequence in BOOKS:
        ends = [discard for discard in change.discards if discard.entry.account.sequence == sequence]
        steps = [entry.account for entry in change.transaction.entries if entry.account.sequence == sequence]
        pairs = min(len(ends), len(steps))
        assert [discard.has_successor for discard in ends] == [True] * pairs + [False] * (len(ends) - pairs)
        assert [discard.account for discard in ends[:pairs]] == steps[:pairs]
        path = steps + [discard.account for discard in ends[pairs:]]
        start = after(held)[sequence].lock_version
        assert [step.lock_version for step in path] == list(range(start + 1, start + len(path) + 1))
        assert after(change, after(held))[sequence] == (path[-1] if path else after(held)[sequence])
        assert all(total >= 0 for step in path for total in step.sums)


@given(balanced_legs())
def test_a_reversal_brings_every_posted_balance_back(legs: list[Leg]) -> None:
    posted = created("posted", legs)
    draft = reversal(posted.transaction, Draft((), "posted"))
    undone = create(draft, after(posted), id_="transaction-12", sequence=12, recorded_at=NOW)
    for sequence, each in after(undone, after(posted)).items():
        before = BOOKS[sequence]
        for name in BALANCES:
            restored = balance(name, each.sums, each.normal_balance).amount
            assert restored == balance(name, before.sums, before.normal_balance).amount
    assert [leg._replace(effective_at=None) for leg in reversal(undone.transaction, Draft(())).legs] == [
        leg._replace(account_id=BOOKS[leg.account].id, effective_at=None) for leg in legs
    ]


@given(balanced_legs(), written)
def test_deciding_changes_nothing_it_was_given(legs: list[Leg], status: Status) -> None:
    books, asked = dict(BOOKS), list(legs)
    assert decide(status, legs, BOOKS) == decide(status, legs, BOOKS)
    assert (books, asked) == (BOOKS, legs)

"""A hold that is posted in parts: what is taken, what is left, and what can't be taken."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.accounting.errors import (
    AccountDiscarded,
    AmountOutOfRange,
    BalanceLockFailed,
    LockVersionMismatch,
    NotPartiallyPostable,
    ObjectNotFound,
    TransactionExpired,
    TransactionOfSettlement,
    Unbalanced,
)
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.ledger.partial_posts import partial_post
from doppia.accounting.ledger.transaction_life import Revision, create, expire, reversal, revise
from doppia.accounting.ledger.transactions import Change, Draft, Entry, Guard, Leg, Status, Transaction
from doppia.accounting.money import AMOUNT_MAX
from tests.accounting.ledger.books import PTS, account, chart, credit, debit

MONDAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)
WEDNESDAY = MONDAY + timedelta(days=2)
BOOKS = chart(
    account(1, normal_balance="debit"),
    account(2),
    account(3),
    account(4, unit=PTS, normal_balance="debit"),
    account(5, unit=PTS),
)
HOLD = (debit(1, 1000), credit(2, 900), credit(3, 100))

Standing = dict[int, tuple[int, Sums]]


def created(legs: Sequence[Leg] = HOLD, status: Status = "pending", **fields: Any) -> Change:
    return create(Draft(legs, status, **fields), BOOKS, id_="hold", sequence=10, recorded_at=MONDAY)


def after(*changes: Change) -> dict[int, Account]:
    accounts = dict(BOOKS)
    for change in changes:
        accounts |= change.accounts
    return accounts


def posted(
    hold: Transaction,
    legs: Sequence[Leg],
    accounts: Mapping[int, Account],
    *,
    sequence: int = 11,
    recorded_at: datetime = TUESDAY,
    **fields: Any,
) -> tuple[Change, Change]:
    draft = Draft(legs, "posted", **fields)
    return partial_post(hold, draft, accounts, id_=f"part-{sequence}", sequence=sequence, recorded_at=recorded_at)


def lines(entries: Sequence[Entry]) -> list[tuple[int, int, int, str, int, str]]:
    return [(e.sequence, e.ordinal, e.account.sequence, e.direction, e.amount, e.status) for e in entries]


def standing(*changes: Change) -> Standing:
    moved = set().union(*(change.accounts for change in changes))
    return {sequence: (each.lock_version, each.sums) for sequence, each in after(*changes).items() if sequence in moved}


def refused(hold: Change, *legs: Leg) -> NotPartiallyPostable:
    with pytest.raises(NotPartiallyPostable) as refusal:
        posted(hold.transaction, legs, after(hold))
    return refusal.value


class TestPartAndRest:
    def test_the_part_is_posted_and_the_rest_stays_held(self) -> None:
        held = created()
        left, part = posted(held.transaction, [debit(1, 300), credit(2, 280), credit(3, 20)], after(held))
        assert lines(left.transaction.entries) == [
            (11, 1, 1, "debit", 700, "pending"),
            (11, 2, 2, "credit", 620, "pending"),
            (11, 3, 3, "credit", 80, "pending"),
        ]
        assert lines(part.transaction.entries) == [
            (12, 1, 1, "debit", 300, "posted"),
            (12, 2, 2, "credit", 280, "posted"),
            (12, 3, 3, "credit", 20, "posted"),
        ]
        assert standing(held, left, part) == {
            1: (3, Sums(0, 300, 0, 700)),
            2: (3, Sums(280, 0, 620, 0)),
            3: (3, Sums(20, 0, 80, 0)),
        }

    def test_the_hold_is_a_version_on_and_otherwise_as_it_was(self) -> None:
        held = created(
            description="a hold", external_id="hold-1", metadata={"a": "1"}, expires_at=WEDNESDAY, effective_at=MONDAY
        )
        left, _ = posted(held.transaction, [debit(1, 2), credit(2, 1), credit(3, 1)], after(held))
        assert left.wrote_entries
        assert left.transaction == held.transaction._replace(
            version=1, updated_at=TUESDAY, entries=left.transaction.entries
        )
        assert [discard.entry for discard in left.discards] == list(held.transaction.entries)
        assert all(discard.has_successor for discard in left.discards)

    def test_the_part_is_a_transaction_of_its_own_that_names_its_hold(self) -> None:
        held = created(description="a hold", external_id="hold-1", metadata={"a": "1"}, ledgerable_type="order")
        _, part = posted(
            held.transaction,
            [debit(1, 2), credit(2, 1), credit(3, 1)],
            after(held),
            description="a part",
            metadata={"b": "2"},
        )
        made = part.transaction
        assert (made.id, made.sequence, made.version, made.status) == ("part-11", 12, 0, "posted")
        assert made.partially_posts == (10, "hold")
        assert (made.created_at, made.updated_at, made.posted_at) == (TUESDAY, TUESDAY, TUESDAY)
        assert (made.description, made.metadata, made.external_id) == ("a part", {"b": "2"}, None)
        assert (made.ledgerable_type, made.expires_at, made.reverses) == (None, None, None)
        assert (list(part.discards), part.wrote_entries) == ([], True)

    def test_the_part_counts_when_the_hold_does_and_each_entry_when_its_own_did(self) -> None:
        held = created([debit(1, 10), credit(2, 10, effective_at=WEDNESDAY)], effective_at=MONDAY)
        left, part = posted(held.transaction, [debit(1, 1), credit(2, 1)], after(held))
        for transaction in (left.transaction, part.transaction):
            assert transaction.effective_at == MONDAY
            assert [entry.effective_at for entry in transaction.entries] == [MONDAY, WEDNESDAY]

    def test_a_part_with_a_time_of_its_own_counts_then_with_all_its_entries(self) -> None:
        held = created([debit(1, 10), credit(2, 10, effective_at=WEDNESDAY)], effective_at=MONDAY)
        left, part = posted(held.transaction, [debit(1, 1), credit(2, 1)], after(held), effective_at=TUESDAY)
        assert part.transaction.effective_at == TUESDAY
        assert [entry.effective_at for entry in part.transaction.entries] == [TUESDAY, TUESDAY]
        assert [entry.effective_at for entry in left.transaction.entries] == [MONDAY, WEDNESDAY]

    def test_the_rest_keeps_the_metadata_of_its_entries_and_the_part_has_its_own(self) -> None:
        held = created([debit(1, 10, metadata={"line": "1"}), credit(2, 10)])
        left, part = posted(held.transaction, [debit(1, 1), credit(2, 1, metadata={"new": "2"})], after(held))
        assert [entry.metadata for entry in left.transaction.entries] == [{"line": "1"}, {}]
        assert [entry.metadata for entry in part.transaction.entries] == [{}, {"new": "2"}]

    def test_the_entries_of_the_part_stand_in_the_order_they_were_asked_for_in(self) -> None:
        held = created()
        left, part = posted(held.transaction, [credit(3, 1), debit(1, 6), credit(2, 5)], after(held))
        assert [entry.account.sequence for entry in part.transaction.entries] == [3, 1, 2]
        assert [(entry.account.sequence, entry.amount) for entry in left.transaction.entries] == [
            (1, 994),
            (2, 895),
            (3, 99),
        ]

    def test_entries_that_share_account_and_side_are_taken_from_in_order(self) -> None:
        held = created([debit(1, 10), credit(2, 3), debit(1, 20), credit(2, 27)])
        left, _ = posted(held.transaction, [credit(2, 2), debit(1, 9), credit(2, 20), debit(1, 13)], after(held))
        assert [entry.amount for entry in left.transaction.entries] == [1, 1, 7, 7]

    def test_both_sides_of_one_account_are_taken_from_apart(self) -> None:
        held = created([debit(2, 10), credit(2, 10)])
        left, part = posted(held.transaction, [credit(2, 4), debit(2, 4)], after(held))
        assert standing(held, left, part)[2] == (6, Sums(4, 4, 6, 6))

    def test_nothing_of_an_entry_is_a_part_of_it(self) -> None:
        held = created()
        left, _ = posted(held.transaction, [debit(1, 5), credit(2, 5), credit(3, 0)], after(held))
        assert [entry.amount for entry in left.transaction.entries] == [995, 895, 100]

    def test_the_largest_hold_is_taken_to_its_last_unit(self) -> None:
        held = created([debit(1, AMOUNT_MAX), credit(2, AMOUNT_MAX)])
        left, part = posted(held.transaction, [debit(1, AMOUNT_MAX - 1), credit(2, AMOUNT_MAX - 1)], after(held))
        assert standing(held, left, part)[2] == (3, Sums(AMOUNT_MAX - 1, 0, 1, 0))

    def test_a_hold_in_two_units_is_posted_in_part_in_both(self) -> None:
        held = created([debit(1, 10), credit(2, 10), debit(4, 7), credit(5, 7)])
        left, part = posted(held.transaction, [debit(1, 9), credit(2, 9), debit(4, 1), credit(5, 1)], after(held))
        assert standing(held, left, part)[5] == (3, Sums(1, 0, 6, 0))

    def test_the_rest_is_posted_or_archived_like_any_hold(self) -> None:
        held = created(expires_at=WEDNESDAY)
        left, part = posted(held.transaction, [debit(1, 300), credit(2, 280), credit(3, 20)], after(held))
        accounts = after(held, left, part)
        whole = revise(left.transaction, Revision(status="posted"), accounts, sequence=13, recorded_at=TUESDAY)
        assert standing(held, left, part, whole)[1] == (4, Sums(0, 1000, 0, 0))
        for ended in (
            revise(left.transaction, Revision(status="archived"), accounts, sequence=13, recorded_at=TUESDAY),
            expire(left.transaction, accounts, recorded_at=WEDNESDAY),
        ):
            assert standing(held, left, part, ended)[1] == (4, Sums(0, 300, 0, 0))

    def test_what_is_given_is_not_changed(self) -> None:
        held = created()
        accounts, legs = after(held), [debit(1, 2), credit(2, 1), credit(3, 1)]
        posted(held.transaction, legs, accounts)
        assert (accounts, legs) == (after(held), [debit(1, 2), credit(2, 1), credit(3, 1)])


class TestLocks:
    def test_a_guard_looks_at_the_balances_when_part_and_rest_are_both_written(self) -> None:
        held = created()
        legs = [debit(1, 300), credit(2, 280), credit(3, 20)]

        def guarded(name: Any, bound: int) -> list[Leg]:
            return [legs[0], legs[1]._replace(guards=(Guard(name, "eq", bound),)), legs[2]]

        posted(held.transaction, guarded("posted", 280), after(held))
        posted(held.transaction, guarded("pending", 900), after(held))
        posted(held.transaction, guarded("available", 280), after(held))
        with pytest.raises(BalanceLockFailed) as refusal:
            posted(held.transaction, guarded("posted", 281), after(held))
        assert refusal.value.parameter == "ledger_entries[1].posted_balance_amount"
        assert refusal.value.amount == 280

    def test_a_lock_version_is_that_of_the_account_before_anything_is_taken(self) -> None:
        held = created()
        posted(held.transaction, [debit(1, 2, lock_version=1), credit(2, 1, lock_version=1), credit(3, 1)], after(held))
        for stale in (0, 2):
            with pytest.raises(LockVersionMismatch) as refusal:
                posted(held.transaction, [debit(1, 2), credit(2, 1, lock_version=stale), credit(3, 1)], after(held))
            assert (refusal.value.lock_version, refusal.value.lock_version_expected) == (1, stale)
            assert refusal.value.parameter == "ledger_entries[1].lock_version"


class TestRefusals:
    @pytest.mark.parametrize("status", ["posted", "archived"])
    def test_only_a_pending_transaction_holds_anything(self, status: Status) -> None:
        refusal = refused(created(status=status), debit(1, 2), credit(2, 1), credit(3, 1))
        assert (refusal.parameter, status in refusal.reason) == (None, True)

    def test_a_hold_that_has_expired_is_not_posted(self) -> None:
        held = created(expires_at=TUESDAY)
        legs = [debit(1, 2), credit(2, 1), credit(3, 1)]
        posted(held.transaction, legs, after(held), recorded_at=TUESDAY - timedelta(microseconds=1))
        with pytest.raises(TransactionExpired) as refusal:
            posted(held.transaction, legs, after(held), recorded_at=TUESDAY)
        assert refusal.value.expires_at == TUESDAY.isoformat()

    def test_what_a_settlement_moves_is_not_posted_in_part(self) -> None:
        held = created()
        hold = held.transaction._replace(settlement=(7, "settlement-7"))
        with pytest.raises(TransactionOfSettlement) as refusal:
            posted(hold, [debit(1, 2), credit(2, 1), credit(3, 1)], after(held))
        assert refusal.value.ledger_account_settlement_id == "settlement-7"

    def test_a_pending_reversal_is_not_posted_in_part(self) -> None:
        # The part would be none of the original's reversal, and what is archived then could be reversed once more.
        original = created(status="posted")
        undoing = create(
            reversal(original.transaction, Draft((), "pending")),
            after(original),
            id_="reversal",
            sequence=11,
            recorded_at=MONDAY,
            reverses=original.transaction,
        )
        with pytest.raises(NotPartiallyPostable, match="reversal"):
            posted(undoing.transaction, [credit(1, 2), debit(2, 1), debit(3, 1)], after(original, undoing), sequence=12)

    def test_an_entry_that_nothing_is_taken_from_refuses_the_post(self) -> None:
        held = created()
        assert refused(held, debit(1, 5), credit(2, 5)).parameter == "posted_ledger_entries"
        assert refused(held).parameter == "posted_ledger_entries"
        # On the right account and the wrong side.
        assert "account-3" in refused(held, debit(1, 5), credit(2, 5), debit(3, 1)).reason

    @pytest.mark.parametrize("amount", [100, 101, AMOUNT_MAX + 1])
    def test_all_of_an_entry_or_more_is_no_part(self, amount: int) -> None:
        refusal = refused(created(), debit(1, 500), credit(2, 400), credit(3, amount))
        assert refusal.parameter == "posted_ledger_entries[2].amount"
        assert str(amount) in refusal.reason

    def test_of_an_entry_of_nothing_there_is_no_part(self) -> None:
        held = created([debit(1, 5), credit(2, 5), credit(3, 0)])
        assert refused(held, debit(1, 1), credit(2, 1), credit(3, 0)).parameter == "posted_ledger_entries[2].amount"

    def test_a_leg_that_takes_from_nothing_refuses_the_post(self) -> None:
        legs = [debit(1, 300), credit(2, 280), credit(3, 10)]
        assert refused(created(), *legs, credit(3, 10)).parameter == "posted_ledger_entries[3]"
        assert refused(created(), debit(5, 1), *legs).parameter == "posted_ledger_entries[0]"

    def test_a_part_that_does_not_balance_is_refused(self) -> None:
        held = created()
        with pytest.raises(Unbalanced) as refusal:
            posted(held.transaction, [debit(1, 300), credit(2, 280), credit(3, 21)], after(held))
        assert (refusal.value.debits, refusal.value.credits) == (300, 301)

    def test_a_part_that_balances_over_two_units_and_in_neither_is_refused(self) -> None:
        held = created([debit(1, 10), credit(2, 10), debit(4, 10), credit(5, 10)])
        with pytest.raises(Unbalanced):
            posted(held.transaction, [debit(1, 3), credit(2, 4), debit(4, 4), credit(5, 3)], after(held))

    def test_a_part_below_nothing_is_refused(self) -> None:
        held = created()
        with pytest.raises(AmountOutOfRange) as refusal:
            posted(held.transaction, [debit(1, 5), credit(2, 6), credit(3, -1)], after(held))
        assert refusal.value.parameter == "ledger_entries[2].amount"

    def test_an_account_that_is_named_by_another_id_is_not_found(self) -> None:
        held = created()
        with pytest.raises(ObjectNotFound):
            posted(held.transaction, [debit(1, 2)._replace(account_id="x"), credit(2, 1), credit(3, 1)], after(held))

    def test_a_discarded_account_takes_no_part(self) -> None:
        held = created()
        accounts = after(held)
        accounts[2] = accounts[2]._replace(is_open=False)
        with pytest.raises(AccountDiscarded):
            posted(held.transaction, [debit(1, 2), credit(2, 1), credit(3, 1)], accounts)


@st.composite
def captured_hold(draw: st.DrawFn) -> tuple[list[Leg], list[list[Leg]], list[int]]:
    """A hold, and parts of it that leave something of each entry; legs of the parts stand in the order of the last."""
    units = {1: [1, 2, 3], 2: [4, 5]}
    amounts = st.one_of(st.integers(1, 5), st.integers(1, AMOUNT_MAX))
    pairs = []
    for unit in draw(st.lists(st.sampled_from([1, 2]), min_size=1, max_size=3)):
        debited, credited = (draw(st.sampled_from(units[unit])) for _ in range(2))
        pairs.append((debited, credited, draw(amounts)))
    parts: list[list[Leg]] = []
    rest = [amount for *_, amount in pairs]
    for _ in range(draw(st.integers(1, 4))):
        taken = [draw(st.one_of(st.just(left - 1), st.just(0), st.integers(0, left - 1))) for left in rest]
        rest = [left - part for left, part in zip(rest, taken, strict=True)]
        parts.append(_both_sides(pairs, taken))
    hold = _both_sides(pairs, [amount for *_, amount in pairs])
    return hold, parts, draw(st.permutations(range(len(hold))))


def _both_sides(pairs: Sequence[tuple[int, int, int]], amounts: Sequence[int]) -> list[Leg]:
    legs = []
    for (debited, credited, _), amount in zip(pairs, amounts, strict=True):
        legs += [debit(debited, amount), credit(credited, amount)]
    return legs


@given(captured_hold())
def test_parts_and_rest_are_what_was_held_whatever_the_parts(
    case: tuple[list[Leg], list[list[Leg]], list[int]],
) -> None:
    """I7: nothing is captured beyond what is held, and nothing is lost between part and rest."""
    legs, parts, order = case
    held = created(legs)
    changes = [held]
    hold = held.transaction
    captured: Counter[tuple[int, str]] = Counter()
    for number, part_legs in enumerate(parts):
        # Legs that share account and side keep their order, for they meet the entries in it.
        part_legs.sort(key=lambda leg: [legs[place].account for place in order].index(leg.account))
        left, part = posted(hold, part_legs, after(*changes), sequence=11 + 2 * number)
        assert part.transaction.partially_posts == (held.transaction.sequence, held.transaction.id)
        changes += [left, part]
        hold = left.transaction
        for entry in part.transaction.entries:
            captured[entry.account.sequence, entry.direction] += entry.amount
    rest: Counter[tuple[int, str]] = Counter()
    for entry in hold.entries:
        rest[entry.account.sequence, entry.direction] += entry.amount
    whole: Counter[tuple[int, str]] = Counter()
    for leg in legs:
        whole[leg.account, leg.direction] += leg.amount
    assert captured + rest == whole
    assert all(captured[place] < amount for place, amount in whole.items())
    for sequence, each in after(*changes).items():
        assert each.sums == Sums(
            captured[sequence, "credit"],
            captured[sequence, "debit"],
            rest[sequence, "credit"],
            rest[sequence, "debit"],
        )
        entries_on_it = sum(leg.account == sequence for leg in legs)
        assert each.lock_version == entries_on_it * (1 + 2 * len(parts))
    archived = revise(hold, Revision(status="archived"), after(*changes), sequence=99, recorded_at=TUESDAY)
    for sequence, each in after(*changes, archived).items():
        assert each.sums == Sums(captured[sequence, "credit"], captured[sequence, "debit"], 0, 0)


@given(captured_hold(), st.data())
def test_a_part_of_all_or_more_is_refused_whichever_entry_it_is(
    case: tuple[list[Leg], list[list[Leg]], list[int]], data: st.DataObject
) -> None:
    legs, parts, _ = case
    held = created(legs)
    place = data.draw(st.integers(0, len(legs) - 1))
    greedy = list(parts[0])
    greedy[place] = greedy[place]._replace(amount=legs[place].amount + data.draw(st.integers(0, 3)))
    with pytest.raises(NotPartiallyPostable):
        posted(held.transaction, greedy, after(held))

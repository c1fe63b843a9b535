"""Settlements that are done at once: sweeps, drafts, and what becomes of them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from doppia.accounting.errors import SettlementNegative
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import code, id_of, leg, move, now, outcome
from tests.engine.closing.sellers import Seller, amounts, begin, moving, number, own, refused
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio


@pytest.fixture
async def seller(database: Database, database_url: str) -> AsyncIterator[Seller]:
    async with begin(database) as made:
        yield made
    await assert_invariants(database_url)


class TestSweep:
    async def test_all_that_is_posted_is_settled_and_brought_to_zero_when_the_settlement_is_posted(
        self, seller: Seller
    ) -> None:
        gathered = [await seller.earn(100), await seller.earn(-30), await seller.earn(0)]
        await seller.earn(1000, "pending")
        await seller.earn(1000, "archived")

        swept = await seller.sweep()

        assert amounts(swept) == ("pending", 70, "debit")
        assert await seller.entries(swept) == {
            number(own(gathered[0])),
            number(own(gathered[1], 0)),
            number(own(gathered[2])),
        }
        assert await seller.balance() == 70
        assert amounts(await seller.update(swept, status="posted")) == ("posted", 70, "debit")
        assert await seller.balance() == 0

    async def test_its_own_entry_is_never_swept(self, seller: Seller) -> None:
        await seller.earn(100)
        await seller.sweep("posted")

        again = await seller.sweep("posted")

        assert amounts(again) == ("posted", 0, None)
        assert again.transaction is None

    async def test_a_late_entry_that_is_effective_long_ago_is_swept_by_the_next(self, seller: Seller) -> None:
        await seller.earn(100)
        await seller.sweep("posted")
        late = await seller.earn(7, effective_at=datetime(2020, 1, 1, tzinfo=UTC))

        swept = await seller.sweep("posted")

        assert amounts(swept) == ("posted", 7, "debit")
        assert await seller.entries(swept) == {number(own(late))}

    async def test_the_bound_is_exclusive_and_what_lies_beyond_is_left_to_the_next(self, seller: Seller) -> None:
        noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        for microseconds, amount in ((0, 1), (-1, 2), (1, 4)):
            await seller.earn(amount, effective_at=noon + timedelta(microseconds=microseconds))

        assert amounts(await seller.sweep("posted", effective_at_upper_bound=noon)) == ("posted", 2, "debit")
        assert amounts(await seller.sweep("posted")) == ("posted", 5, "debit")

    async def test_what_takes_effect_later_is_left_until_then(self, seller: Seller) -> None:
        later = now() + timedelta(days=1)
        await seller.earn(8, effective_at=later)
        await seller.earn(1)

        assert amounts(await seller.sweep("posted")) == ("posted", 1, "debit")
        bound = later + timedelta(microseconds=1)
        assert amounts(await seller.sweep("posted", effective_at_upper_bound=bound)) == ("posted", 8, "debit")

    async def test_what_was_recorded_before_is_swept_even_by_a_clock_that_runs_behind(self, seller: Seller) -> None:
        await seller.earn(5)

        swept = await seller.sweep(clock=lambda: datetime(2020, 1, 1, tzinfo=UTC))

        assert amounts(swept) == ("pending", 5, "debit")
        assert swept.effective_at_upper_bound == swept.created_at

    async def test_less_than_nothing_is_refused_without_a_trace_unless_either_direction_is_allowed(
        self, seller: Seller
    ) -> None:
        await seller.earn(-30)
        before = await seller.books.records()

        refusal = await refused(seller.sweep())

        assert isinstance(refusal, SettlementNegative)
        assert refusal.amount == -30
        assert await seller.books.records() == before
        assert amounts(await seller.sweep("posted", allows_either_direction=True)) == ("posted", 30, "credit")
        assert await seller.balance() == 0

    async def test_a_debit_normal_account_is_settled_by_credits(self, seller: Seller) -> None:
        await seller.earn(40)
        mirrored = Seller(seller.books, seller.bank, seller.account)

        assert amounts(await mirrored.sweep("posted")) == ("posted", 40, "credit")
        assert tuple((await seller.books.account(seller.bank)).sums) == (40, 40, 0, 0)

    async def test_nothing_is_moved_where_the_transaction_is_skipped(self, seller: Seller) -> None:
        await seller.earn(40)

        swept = await seller.sweep("posted", skips_transaction=True)

        assert amounts(swept) == ("posted", 40, "debit")
        assert swept.transaction is None
        assert await seller.balance() == 40
        assert amounts(await seller.sweep("posted")) == ("posted", 0, None)

    async def test_the_reversal_of_what_was_settled_is_settled_in_turn(self, seller: Seller) -> None:
        await seller.earn(40)
        swept = await seller.sweep("posted")
        await seller.engine.perform(*seller.books.reverse(moving(swept)))
        assert await seller.balance() == 40

        assert amounts(await seller.sweep("posted")) == ("posted", 40, "debit")

    async def test_a_hold_that_is_posted_is_swept_with_its_new_entry_and_one_of_another_account_is_not(
        self, seller: Seller
    ) -> None:
        held = await seller.earn(40, "pending")
        assert amounts(await seller.sweep()) == ("pending", 0, None)
        other = await seller.books.open()
        await seller.engine.perform(*seller.books.create(move(seller.bank, other, 9)))
        await seller.engine.perform(*seller.books.revise(id_of(held.id), status="posted"))

        assert amounts(await seller.sweep()) == ("pending", 40, "debit")

    async def test_more_than_one_entry_can_hold_is_moved_by_several(self, seller: Seller) -> None:
        for _ in range(3):
            await seller.earn(10**36)

        swept = await seller.sweep("posted")

        assert amounts(swept) == ("posted", 3 * 10**36, "debit")
        assert await seller.balance() == 0

    async def test_nobody_but_the_settlement_changes_the_status_of_its_transaction(self, seller: Seller) -> None:
        await seller.earn(40)
        transaction = moving(await seller.sweep())

        told = await outcome(seller.engine.perform(*seller.books.revise(transaction, status="archived")))

        assert code(told) == "transaction_of_settlement"

    async def test_the_mark_of_the_account_goes_on_with_each_sweep_and_stops_before_what_is_left(
        self, seller: Seller
    ) -> None:
        await seller.earn(1)
        await seller.earn(2)
        await seller.sweep("posted")
        assert await seller.mark() == 2  # the settlement's own entry is the third
        await seller.earn(4, effective_at=now() + timedelta(days=1))
        await seller.earn(8)
        await seller.sweep("posted")
        assert await seller.mark() == 3
        assert amounts(await seller.sweep("posted")) == ("posted", 0, None)


class TestArchive:
    async def test_entries_are_free_and_the_hold_is_released(self, seller: Seller) -> None:
        await seller.earn(40)
        swept = await seller.sweep()
        assert (await seller.books.account(seller.account)).sums.pending_debits == 40

        archived = await seller.update(swept, status="archived")

        assert amounts(archived) == ("archived", 40, "debit")
        assert await seller.entries(swept) == set()
        assert tuple((await seller.books.account(seller.account)).sums) == (40, 0, 0, 0)
        assert await seller.mark() == 0
        assert amounts(await seller.sweep()) == ("pending", 40, "debit")

    async def test_a_posted_one_is_archived_only_if_nothing_was_moved(self, seller: Seller) -> None:
        await seller.earn(40)
        skipped = await seller.sweep("posted", skips_transaction=True)
        assert amounts(await seller.update(skipped, status="archived")) == ("archived", 40, "debit")
        moved = await seller.sweep("posted")

        told = await refused(seller.update(moved, status="archived"))

        assert told.code == "settlement_final"
        nothing = await seller.sweep("posted")
        assert (await seller.update(nothing, status="archived")).status == "archived"


class TestDraft:
    async def test_what_is_picked_is_settled_whenever_it_is_effective(self, seller: Seller) -> None:
        chosen = await seller.earn(5, effective_at=now() + timedelta(days=9))
        left = await seller.earn(9)
        draft = await seller.draft(own(chosen), own(chosen))
        assert amounts(draft) == ("drafting", None, None)
        assert draft.effective_at_upper_bound is None

        assert amounts(await seller.update(draft, status="pending")) == ("pending", 5, "debit")
        swept = await seller.sweep()
        assert await seller.entries(swept) == {number(own(left))}

    async def test_what_is_removed_is_free(self, seller: Seller) -> None:
        one, other = await seller.earn(5), await seller.earn(9)
        draft = await seller.draft(own(one), own(other))

        await seller.remove(draft, own(one))
        assert amounts(await seller.sweep()) == ("pending", 5, "debit")
        assert amounts(await seller.update(draft, status="posted")) == ("posted", 9, "debit")

    async def test_adding_what_is_there_or_removing_what_is_not_changes_nothing(self, seller: Seller) -> None:
        one, other = await seller.earn(5), await seller.earn(9)
        draft = await seller.draft(own(one))
        swept = await seller.sweep()
        before = await seller.books.records()

        stranger = own(one)._replace(seconds=own(one).seconds - 1)
        nowhere = own(one)._replace(sequence=10**6)
        await seller.add(draft, own(one))
        await seller.add(draft)
        await seller.remove(draft, own(other), stranger, nowhere)
        await seller.remove(draft)

        assert await seller.books.records() == before
        assert await seller.entries(draft) == {number(own(one))}
        assert await seller.entries(swept) == {number(own(other))}

    async def test_of_several_entries_all_are_added_or_none(self, seller: Seller) -> None:
        free, held = await seller.earn(5), await seller.earn(9, "pending")
        settled = await seller.earn(7)
        own_entry = moving(await seller.update(await seller.draft(own(settled)), status="posted"))
        draft = await seller.draft()
        before = await seller.books.records()
        bad = {
            "entry_settled": own(settled),
            "entry_not_settleable": own(held),
            "object_not_found": own(free)._replace(sequence=10**6),
        }
        bad |= {f"entry_not_settleable {n}": own_entry._replace(ordinal=n) for n in (1, 2)}

        for expected, entry in bad.items():
            told = await refused(seller.add(draft, own(free), entry))
            assert (told.code, told.parameter) == (expected.split()[0], "ledger_entry_ids[1]")

        assert await seller.books.records() == before
        assert await seller.entries(draft) == set()

    async def test_a_draft_is_left_once(self, seller: Seller) -> None:
        earned = await seller.earn(5)
        draft = await seller.draft(own(earned))
        await seller.update(draft, status="pending")

        for change in (seller.add(draft, own(earned)), seller.remove(draft, own(earned))):
            told = await refused(change)
            assert told.code == "settlement_final"

    async def test_a_draft_that_came_to_less_than_nothing_stays_a_draft(self, seller: Seller) -> None:
        refund = await seller.earn(-5)
        draft = await seller.draft(own(refund, 0))

        told = await refused(seller.update(draft, status="posted", description="x"))

        assert isinstance(told, SettlementNegative)
        assert (await seller.get(draft)).description is None
        more = await seller.earn(6)
        await seller.add(draft, own(more))
        assert amounts(await seller.update(draft, status="posted")) == ("posted", 1, "debit")

    async def test_a_draft_without_entries_comes_to_nothing_and_a_given_up_one_frees_them(self, seller: Seller) -> None:
        earned = await seller.earn(5)
        empty, given_up = await seller.draft(), await seller.draft(own(earned))

        assert amounts(await seller.update(empty, status="posted")) == ("posted", 0, None)
        assert amounts(await seller.update(given_up, status="archived")) == ("archived", None, None)
        assert amounts(await seller.sweep()) == ("pending", 5, "debit")

    async def test_whether_a_transaction_is_made_can_be_changed_in_a_draft(self, seller: Seller) -> None:
        earned = await seller.earn(5)
        draft = await seller.draft(own(earned))

        settled = await seller.update(draft, status="posted", skips_transaction=True)

        assert settled.skips_transaction
        assert settled.transaction is None
        assert amounts(settled) == ("posted", 5, "debit")

    async def test_ten_thousand_entries_are_picked_at_once(self, seller: Seller) -> None:
        legs = [leg(seller.account, "credit", 1) for _ in range(999)]
        made = [
            await seller.engine.perform(*seller.books.create([leg(seller.bank, "debit", 999), *legs]))
            for _ in range(10)
        ]
        draft = await seller.draft(*(own(each, position) for each in made for position in range(1, 1000)))

        assert amounts(await seller.update(draft, status="posted")) == ("posted", 9990, "debit")

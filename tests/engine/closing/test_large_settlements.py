"""Settlements that are done in steps: large sweeps, large archives, and work left half done."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from doppia.accounting.errors import SettlementNegative
from doppia.accounting.ids import Id
from doppia.engine.closing import settlements, settling
from doppia.engine.closing.settling import work_off
from doppia.engine.ledger.ledgers import DiscardLedger
from doppia.engine.posting.writing import NOBODY
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import id_of, key, leg, move, now
from tests.engine.closing.sellers import Seller, amounts, begin, number, own, refused, take_small_steps
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio


@pytest.fixture
async def seller(database: Database, database_url: str) -> AsyncIterator[Seller]:
    async with begin(database) as made:
        yield made
    await assert_invariants(database_url)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    take_small_steps(monkeypatch)


@pytest.mark.usefixtures("small_steps")
class TestLargeSweep:
    async def test_it_is_answered_while_it_is_processing_and_settled_in_the_background(self, seller: Seller) -> None:
        await seller.earn_often(range(1, 34))

        swept = await seller.sweep("posted")
        assert amounts(swept) == ("processing", None, None)
        later = await seller.earn(1000)
        await work_off(seller.database, now)

        assert amounts(await seller.get(swept)) == ("posted", sum(range(1, 34)), "debit")
        assert number(own(later)) not in await seller.entries(swept)
        assert await seller.mark() == 33
        assert await seller.balance() == 1000

    async def test_what_is_settled_already_lies_in_its_way_for_no_longer_than_it_takes_to_look(
        self, seller: Seller
    ) -> None:
        future = now() + timedelta(days=1)
        await seller.earn(1, effective_at=future)
        await seller.earn_often([1] * 40)
        first = await seller.sweep("posted")
        await work_off(seller.database, now)
        await seller.earn(2)
        assert amounts(await seller.get(first)) == ("posted", 40, "debit")
        assert await seller.mark() == 0

        second = await seller.sweep("posted")
        await work_off(seller.database, now)

        assert amounts(await seller.get(second)) == ("posted", 2, "debit")

    async def test_a_negative_one_is_refused_before_anything_is_recorded(self, seller: Seller) -> None:
        await seller.earn_often([-2] * 20)
        before = await seller.books.records()

        refusal = await refused(seller.sweep())

        assert isinstance(refusal, SettlementNegative)
        assert refusal.amount == -40
        assert await seller.books.records() == before
        either = await seller.sweep(allows_either_direction=True)
        await work_off(seller.database, now)
        assert amounts(await seller.get(either)) == ("pending", 40, "credit")

    async def test_what_was_recorded_before_is_foreseen_even_by_a_clock_that_runs_behind(self, seller: Seller) -> None:
        await seller.earn_often([-1] * 10)
        behind = now()
        await seller.earn_often([2] * 10)

        swept = await seller.sweep(clock=lambda: behind)
        await work_off(seller.database, now)

        assert amounts(await seller.get(swept)) == ("pending", 10, "debit")

    async def test_a_negative_one_that_is_too_long_to_be_foreseen_is_archived(
        self, seller: Seller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settlements, "_VERSIONS_FORESEEN_MAX", 11)
        await seller.earn_often([-2] * 12)

        swept = await seller.sweep()
        await work_off(seller.database, now)

        assert amounts(await seller.get(swept)) == ("archived", None, None)

    @pytest.mark.parametrize("entries", [3, 8], ids=["in one step", "in several steps"])
    async def test_one_that_turns_negative_on_the_way_is_archived_and_frees_its_entries(
        self, seller: Seller, entries: int
    ) -> None:
        earned = [await seller.earn(100) for _ in range(10)]
        for _ in range(entries):
            await seller.earn(-1)
        swept = await seller.sweep()
        # A draft takes all that made it positive before the sweep gets there.
        await seller.draft(*(own(each) for each in earned))

        await work_off(seller.database, now)

        assert amounts(await seller.get(swept)) == ("archived", None, None)
        assert await seller.entries(swept) == set()
        either = await seller.sweep(allows_either_direction=True)
        await work_off(seller.database, now)
        assert amounts(await seller.get(either)) == ("pending", entries, "credit")

    async def test_one_whose_contra_account_is_discarded_on_the_way_is_archived(self, seller: Seller) -> None:
        await seller.earn_often([1] * 12)
        other = await seller.books.open()
        swept = await seller.sweep(contra=other)
        await seller.books.discard(other)

        await work_off(seller.database, now)

        assert amounts(await seller.get(swept)) == ("archived", None, None)
        assert await seller.mark() == 0

    async def test_a_repeated_key_is_answered_as_before_though_what_is_left_is_negative(self, seller: Seller) -> None:
        await seller.earn_often([1] * 12)
        first = await seller.sweep("posted", key=key("one", "body"))
        await work_off(seller.database, now)
        await seller.earn_often([-1] * 12)

        assert await seller.sweep("posted", key=key("one", "body")) == first

    async def test_a_sweep_while_another_goes_on_takes_what_is_left(self, seller: Seller) -> None:
        await seller.earn_often([1] * 30)
        one = await seller.sweep("posted")
        await seller.earn_often([2] * 30)
        other = await seller.sweep("posted")

        await work_off(seller.database, now)

        found = [await seller.get(each) for each in (one, other)]
        assert sum(each.amount or 0 for each in found) == 90
        assert await seller.balance() == 0

    async def test_its_description_can_be_changed_on_the_way_and_its_status_can_not(self, seller: Seller) -> None:
        await seller.earn_often([1] * 12)
        swept = await seller.sweep()

        changed = await seller.update(swept, description="March", metadata={"run": "7"})
        told = await refused(seller.update(swept, status="archived"))
        await work_off(seller.database, now)

        assert (changed.status, changed.description) == ("processing", "March")
        assert told.code == "settlement_final"
        done = await seller.get(swept)
        assert (done.status, done.description, done.metadata) == ("pending", "March", {"run": "7"})

    async def test_in_a_ledger_that_is_discarded_it_stays_as_it_is(self, seller: Seller) -> None:
        await seller.earn_often([1] * 12)
        swept = await seller.sweep()
        await seller.engine.perform(NOBODY, DiscardLedger(ledger=seller.books.ledger))
        before = await seller.books.records()

        await work_off(seller.database, now)

        assert (await seller.get(swept)).status == "processing"
        assert await seller.books.records() == before


@pytest.mark.usefixtures("small_steps")
class TestArchive:
    async def test_a_large_one_is_answered_while_it_is_archiving_and_what_is_swept_meanwhile_waits_for_it(
        self, seller: Seller
    ) -> None:
        await seller.earn_often([1] * 33)
        first = await seller.sweep()
        await work_off(seller.database, now)

        archiving = await seller.update(first, status="archived")
        assert amounts(archiving) == ("archiving", 33, "debit")
        assert (await seller.books.account(seller.account)).sums.pending_debits == 0
        assert (await seller.update(first, status="archived")).status == "archiving"
        second = await seller.sweep()
        await work_off(seller.database, now)

        assert (await seller.get(first)).status == "archived"
        assert amounts(await seller.get(second)) == ("pending", 33, "debit")

    async def test_what_is_still_to_be_freed_can_be_picked(self, seller: Seller) -> None:
        earned = [await seller.earn(1) for _ in range(20)]
        swept = await seller.sweep()
        await work_off(seller.database, now)
        await seller.update(swept, status="archived")

        draft = await seller.draft(*(own(each) for each in earned[10:]))
        await work_off(seller.database, now)

        assert (await seller.get(swept)).status == "archived"
        assert amounts(await seller.update(draft, status="posted")) == ("posted", 10, "debit")


@pytest.mark.usefixtures("small_steps")
class TestWorkLeftHalfDone:
    @pytest.mark.parametrize("steps", range(1, 10))
    async def test_what_one_process_leaves_another_finishes(
        self, seller: Seller, database_url: str, steps: int
    ) -> None:
        """A process that dies does so between two steps, or within one, which then has not happened."""
        await seller.earn_often([1] * 33)
        swept = await seller.sweep("posted")
        for _ in range(steps):
            await settling._step(seller.database, now, id_of(swept.id))
        dying = Database(database_url)
        await dying.open()
        task = asyncio.create_task(settling._step(dying, now, id_of(swept.id)))
        await asyncio.sleep(0.001 * steps)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await dying.close()
        await assert_invariants(database_url)

        await work_off(seller.database, now)

        assert amounts(await seller.get(swept)) == ("posted", 33, "debit")

    async def test_an_archive_left_half_done_is_finished(self, seller: Seller, database_url: str) -> None:
        await seller.earn_often([1] * 33)
        swept = await seller.sweep()
        await work_off(seller.database, now)
        await seller.update(swept, status="archived")
        await settling._step(seller.database, now, id_of(swept.id))
        await assert_invariants(database_url)
        other = Database(database_url)
        await other.open()

        await work_off(other, now)

        assert (await seller.get(swept)).status == "archived"
        await other.close()

    @pytest.mark.parametrize("at_once", [1, 2, 100])
    async def test_one_that_can_not_go_on_does_not_keep_the_others_from_it(
        self, seller: Seller, monkeypatch: pytest.MonkeyPatch, at_once: int
    ) -> None:
        monkeypatch.setattr(settling, "UNFINISHED_AT_ONCE", at_once)
        await seller.earn_often([1] * 12)
        stuck = await seller.sweep("posted")
        other = Seller(seller.books, await seller.books.open(), seller.bank)
        await other.earn_often([1] * 12)
        swept = await other.sweep("posted")
        step = settling._step

        async def fails_on_the_first(database: Database, clock: Any, target: Id) -> bool:
            if str(target) == stuck.id:
                raise ZeroDivisionError
            return await step(database, clock, target)

        monkeypatch.setattr(settling, "_step", fails_on_the_first)
        with pytest.raises(ZeroDivisionError):
            await work_off(seller.database, now)

        assert amounts(await other.get(swept)) == ("posted", 12, "debit")
        monkeypatch.setattr(settling, "_step", step)
        await work_off(seller.database, now)
        assert amounts(await seller.get(stuck)) == ("posted", 12, "debit")


async def test_twenty_thousand_entries_settle_beside_posting(seller: Seller) -> None:
    legs = [leg(seller.account, "credit", 1) for _ in range(999)]
    for _ in range(20):
        await seller.engine.perform(*seller.books.create([leg(seller.bank, "debit", 999), *legs]))
    other = await seller.books.open()

    swept = await seller.sweep("posted")
    working = asyncio.create_task(work_off(seller.database, now))
    posted = 0
    while not working.done():
        await seller.engine.perform(*seller.books.create(move(seller.bank, other, 1)))
        posted += 1
    await working

    assert amounts(await seller.get(swept)) == ("posted", 19_980, "debit")
    # Between any two steps of the sweep somebody could post.
    assert posted >= 20

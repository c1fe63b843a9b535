"""A transaction from its creation over its changes to its reversal."""

from typing import Any

import pytest

from doppia.accounting.errors import (
    AlreadyReversed,
    BalanceLockFailed,
    LockVersionMismatch,
    NotReversible,
    ParameterInvalid,
    TransactionFinal,
    Unbalanced,
)
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.transaction_life import Revision, create, reversal, revise
from doppia.accounting.ledger.transactions import Draft, Guard, Status
from tests.accounting.ledger.books import chart, credit, debit
from tests.accounting.ledger.lives import (
    CASH,
    FEES,
    MONDAY,
    PAYMENT,
    TUESDAY,
    WALLET,
    WEDNESDAY,
    created,
    lines,
    revised,
    standing,
)


class TestCreate:
    def test_a_posted_transaction_is_posted_when_it_is_recorded(self) -> None:
        transaction = created("posted").transaction
        assert (transaction.id, transaction.sequence, transaction.version) == ("transaction-10", 10, 0)
        assert transaction.status == "posted"
        times = (transaction.effective_at, transaction.posted_at, transaction.created_at, transaction.updated_at)
        assert times == (MONDAY, MONDAY, MONDAY, MONDAY)
        assert lines(transaction) == [
            (10, 1, 1, "debit", 1000, "posted"),
            (10, 2, 2, "credit", 965, "posted"),
            (10, 3, 3, "credit", 35, "posted"),
        ]

    @pytest.mark.parametrize("status", ["pending", "archived"])
    def test_what_is_not_posted_has_no_time_of_posting(self, status: Status) -> None:
        assert created(status).transaction.posted_at is None

    def test_a_draft_is_pending_unless_it_says_otherwise(self) -> None:
        assert Draft(PAYMENT).status == "pending"

    def test_the_words_of_the_draft_are_kept(self) -> None:
        words: dict[str, Any] = {
            "description": "March rent",
            "external_id": "rent-3",
            "ledgerable_type": "payment_order",
            "ledgerable_id": "order-9",
            "metadata": {"tenant": "7"},
        }
        transaction = created("pending", **words).transaction
        assert {name: getattr(transaction, name) for name in words} == words
        assert (transaction.reverses, transaction.reversed_by, transaction.archived_reason) == (None, None, None)

    def test_entries_count_when_the_transaction_does_unless_they_say_otherwise(self) -> None:
        entries = created(
            "posted", debit(1, 5), credit(2, 5, effective_at=WEDNESDAY, metadata={"line": "2"}), effective_at=TUESDAY
        ).transaction.entries
        assert [(entry.effective_at, entry.metadata) for entry in entries] == [
            (TUESDAY, {}),
            (WEDNESDAY, {"line": "2"}),
        ]
        assert all((entry.created_at, entry.discarded_at) == (MONDAY, None) for entry in entries)

    def test_the_accounts_change_and_nothing_is_discarded(self) -> None:
        change = created("posted")
        assert standing(change) == {
            1: (1, Sums(0, 1000, 0, 0)),
            2: (1, Sums(965, 0, 0, 0)),
            3: (1, Sums(35, 0, 0, 0)),
        }
        assert (list(change.discards), change.wrote_entries) == ([], True)

    def test_an_archived_transaction_has_entries_and_changes_no_account(self) -> None:
        change = created("archived")
        assert change.accounts == {}
        assert [entry.account for entry in change.transaction.entries] == [CASH, WALLET, FEES]
        assert change.wrote_entries

    def test_what_the_rules_refuse_is_not_created(self) -> None:
        with pytest.raises(Unbalanced):
            created("posted", debit(1, 2), credit(2, 1))


class TestRevise:
    def test_posting_writes_the_same_entries_anew_as_posted(self) -> None:
        held = created("pending", metadata={"a": "1"}, description="a hold")
        posted = revised(held, status="posted")
        transaction = posted.transaction
        assert (transaction.status, transaction.version, transaction.description) == ("posted", 1, "a hold")
        assert (transaction.created_at, transaction.updated_at, transaction.posted_at) == (MONDAY, TUESDAY, TUESDAY)
        assert transaction.effective_at == MONDAY
        assert lines(transaction) == [
            (11, 1, 1, "debit", 1000, "posted"),
            (11, 2, 2, "credit", 965, "posted"),
            (11, 3, 3, "credit", 35, "posted"),
        ]
        assert standing(posted) == {
            1: (2, Sums(0, 1000, 0, 0)),
            2: (2, Sums(965, 0, 0, 0)),
            3: (2, Sums(35, 0, 0, 0)),
        }
        assert [discard.entry for discard in posted.discards] == list(held.transaction.entries)
        assert all(discard.has_successor for discard in posted.discards)
        assert posted.wrote_entries

    def test_posting_less_than_was_held_frees_the_rest(self) -> None:
        held = created("pending", debit(2, 1000), credit(3, 1000))
        posted = revised(held, status="posted", legs=[debit(2, 600), credit(3, 600)])
        assert standing(posted) == {2: (2, Sums(0, 600, 0, 0)), 3: (2, Sums(600, 0, 0, 0))}

    def test_archiving_ends_the_entries_and_keeps_them_to_be_read(self) -> None:
        held = created("pending")
        archived = revised(held, status="archived")
        assert standing(archived) == {1: (2, NOTHING), 2: (2, NOTHING), 3: (2, NOTHING)}
        assert lines(archived.transaction) == lines(held.transaction)
        assert {entry.discarded_at for entry in archived.transaction.entries} == {TUESDAY}
        assert [(discard.entry.ordinal, discard.has_successor) for discard in archived.discards] == [
            (1, False),
            (2, False),
            (3, False),
        ]
        assert [discard.account for discard in archived.discards] == list(archived.accounts.values())
        assert (archived.transaction.status, archived.transaction.posted_at) == ("archived", None)
        assert not archived.wrote_entries

    def test_archiving_steps_an_account_once_for_each_entry_it_had(self) -> None:
        held = created("pending", debit(2, 700), credit(2, 700))
        archived = revised(held, status="archived")
        assert [(discard.account.lock_version, discard.account.sums) for discard in archived.discards] == [
            (3, Sums(0, 0, 700, 0)),
            (4, NOTHING),
        ]
        assert archived.accounts == {2: archived.discards[1].account}

    def test_new_entries_and_an_archive_do_not_go_together(self) -> None:
        with pytest.raises(ParameterInvalid) as refusal:
            revised(created("pending"), status="archived", legs=[debit(1, 1), credit(2, 1)])
        assert refusal.value.parameter == "ledger_entries"

    def test_a_discarded_entry_is_succeeded_by_the_next_new_one_on_its_account(self) -> None:
        held = created("pending", debit(2, 10), debit(2, 20), credit(1, 30))
        change = revised(held, legs=[credit(3, 7), debit(2, 5), credit(3, 1), debit(2, 2), debit(2, 1)])
        first, second, third = change.discards
        entries = change.transaction.entries
        assert [discard.entry for discard in change.discards] == list(held.transaction.entries)
        assert (first.has_successor, first.account) == (True, entries[1].account)
        assert (second.has_successor, second.account) == (True, entries[3].account)
        assert (third.has_successor, third.account) == (False, change.accounts[1])
        assert [(entry.account.sequence, entry.account.lock_version) for entry in entries] == [
            (3, 1),
            (2, 3),
            (3, 2),
            (2, 4),
            (2, 5),
        ]
        assert [entry.account.sums.pending_debits for entry in entries if entry.account.sequence == 2] == [25, 7, 8]
        assert standing(change) == {
            1: (2, NOTHING),
            2: (5, Sums(0, 0, 0, 8)),
            3: (2, Sums(0, 0, 8, 0)),
        }

    def test_entries_left_without_a_successor_end_after_the_new_ones(self) -> None:
        held = created("pending", debit(2, 10), debit(2, 20), credit(1, 30))
        change = revised(held, legs=[debit(2, 5), credit(1, 5)])
        assert [(d.account.lock_version, d.has_successor) for d in change.discards] == [
            (3, True),
            (4, False),
            (2, True),
        ]
        assert change.discards[1].account == change.accounts[2]
        assert change.accounts[2].sums == Sums(0, 0, 0, 5)

    def test_a_new_leg_may_ask_for_the_lock_version_that_the_pending_one_left(self) -> None:
        held = created("pending")
        revised(held, status="posted", legs=[debit(1, 5, lock_version=1), credit(2, 5, lock_version=1)])
        with pytest.raises(LockVersionMismatch):
            revised(held, status="posted", legs=[debit(1, 5, lock_version=2), credit(2, 5)])

    def test_a_guard_on_a_change_does_not_count_what_the_change_ends(self) -> None:
        never_below_zero = (Guard("available", "gte", 0),)
        funded = chart(CASH, WALLET._replace(sums=Sums(1000, 0, 0, 0)), FEES)
        held = created("pending", debit(2, 800), credit(3, 800), accounts=funded)
        revised(held, funded, legs=[debit(2, 1000, guards=never_below_zero), credit(3, 1000)])
        with pytest.raises(BalanceLockFailed) as refusal:
            revised(held, funded, legs=[debit(2, 1001, guards=never_below_zero), credit(3, 1001)])
        assert refusal.value.amount == -1

    def test_entries_that_are_written_again_keep_their_metadata_and_drop_their_locks(self) -> None:
        held = created("pending", debit(1, 5, lock_version=0, metadata={"line": "1"}), credit(2, 5))
        posted = revised(held, status="posted").transaction
        assert [entry.metadata for entry in posted.entries] == [{"line": "1"}, {}]

    def test_moving_a_transaction_in_time_takes_along_the_entries_that_stood_with_it(self) -> None:
        held = created("pending", debit(1, 5), credit(2, 5, effective_at=WEDNESDAY))
        moved = revised(held, effective_at=TUESDAY)
        assert moved.transaction.effective_at == TUESDAY
        assert [entry.effective_at for entry in moved.transaction.entries] == [TUESDAY, WEDNESDAY]
        assert moved.transaction.status == "pending"
        assert moved.wrote_entries
        assert standing(moved) == {1: (2, Sums(0, 0, 0, 5)), 2: (2, Sums(0, 0, 5, 0))}

    def test_a_time_given_with_an_archive_is_kept(self) -> None:
        assert (
            revised(created("pending"), status="archived", effective_at=WEDNESDAY).transaction.effective_at == WEDNESDAY
        )

    def test_words_alone_leave_entries_and_accounts_alone(self) -> None:
        held = created("pending", description="old", metadata={"keep": "1", "drop": "2"})
        words: dict[str, Any] = {
            "description": None,
            "external_id": "new",
            "ledgerable_type": "return",
            "ledgerable_id": "return-1",
        }
        change = revised(held, **words, metadata={"drop": None, "add": "3"})
        assert {name: getattr(change.transaction, name) for name in words} == words
        assert change.transaction.metadata == {"keep": "1", "add": "3"}
        assert change.transaction.entries == held.transaction.entries
        assert (change.transaction.version, change.transaction.updated_at) == (1, TUESDAY)
        assert (change.accounts, list(change.discards), change.wrote_entries) == ({}, [], False)

    @pytest.mark.parametrize(
        "name", ["description", "effective_at", "status", "legs", "ledgerable_type", "ledgerable_id", "expires_at"]
    )
    @pytest.mark.parametrize(
        ("status", "changeable"), [("posted", ["metadata", "external_id"]), ("archived", ["metadata"])]
    )
    def test_a_final_transaction_is_final(self, status: Status, changeable: list[str], name: str) -> None:
        changes: dict[str, Any] = {name: None, "metadata": {"a": "1"}}
        with pytest.raises(TransactionFinal) as refusal:
            revised(created(status), **changes)
        assert refusal.value.details() == {"status": status, "changeable": changeable}

    def test_a_final_transaction_still_takes_metadata(self) -> None:
        for status in ("posted", "archived"):
            change = revised(created(status), metadata={"a": "1"})
            assert (change.transaction.metadata, change.transaction.version) == ({"a": "1"}, 1)
            assert (change.accounts, change.wrote_entries) == ({}, False)

    def test_an_external_id_may_be_given_once_posted_but_not_once_archived(self) -> None:
        assert revised(created("posted"), external_id="late").transaction.external_id == "late"
        with pytest.raises(TransactionFinal):
            revised(created("archived"), external_id="late")

    def test_that_it_is_final_is_said_before_what_else_is_wrong(self) -> None:
        with pytest.raises(TransactionFinal):
            revised(created("posted"), status="archived", legs=[])

    def test_new_entries_are_held_against_the_rules(self) -> None:
        with pytest.raises(Unbalanced):
            revised(created("pending"), legs=[debit(1, 2), credit(2, 1)])


class TestReversal:
    def test_a_reversal_exchanges_the_sides_and_takes_the_time_of_the_original(self) -> None:
        original = created("posted", effective_at=TUESDAY).transaction
        draft = reversal(original, Draft((), "posted", description="sent back", metadata={"why": "fraud"}))
        assert [leg._replace(effective_at=None) for leg in draft.legs] == [credit(1, 1000), debit(2, 965), debit(3, 35)]
        assert {leg.effective_at for leg in draft.legs} == {TUESDAY}
        assert (draft.effective_at, draft.description, draft.metadata) == (TUESDAY, "sent back", {"why": "fraud"})
        assert draft.status == "posted"

    def test_a_reversal_may_be_pending_and_count_at_another_time(self) -> None:
        draft = reversal(created("posted").transaction, Draft((), "pending", effective_at=WEDNESDAY))
        assert (draft.status, draft.effective_at) == ("pending", WEDNESDAY)

    def test_a_reversal_names_what_it_reverses_and_brings_the_balances_back(self) -> None:
        posted = created("posted")
        draft = reversal(posted.transaction, Draft((), "posted"))
        undone = create(
            draft, posted.accounts, id_="transaction-12", sequence=12, recorded_at=TUESDAY, reverses=posted.transaction
        )
        assert undone.transaction.reverses == (10, "transaction-10")
        assert standing(undone) == {
            1: (2, Sums(1000, 1000, 0, 0)),
            2: (2, Sums(965, 965, 0, 0)),
            3: (2, Sums(35, 35, 0, 0)),
        }

    def test_a_pending_reversal_keeps_the_entries_that_reverse(self) -> None:
        posted = created("posted")
        held = create(
            reversal(posted.transaction, Draft((), "pending")),
            posted.accounts,
            id_="transaction-12",
            sequence=12,
            recorded_at=TUESDAY,
            reverses=posted.transaction,
        )
        with pytest.raises(ParameterInvalid, match="of a reversal"):
            revise(
                held.transaction,
                Revision(legs=[credit(1, 5), debit(2, 5)]),
                {**posted.accounts, **held.accounts},
                sequence=13,
                recorded_at=TUESDAY,
            )

    @pytest.mark.parametrize("status", ["pending", "archived"])
    def test_only_a_posted_transaction_is_reversed(self, status: Status) -> None:
        with pytest.raises(NotReversible) as refusal:
            reversal(created(status).transaction, Draft(()))
        assert refusal.value.status == status

    def test_a_second_reversal_is_refused_with_the_first_one_named(self) -> None:
        original = created("posted").transaction
        reversed_once = original._replace(reversed_by=(12, "transaction-12"))
        with pytest.raises(AlreadyReversed) as refusal:
            reversal(reversed_once, Draft(()))
        assert refusal.value.reversed_by == "transaction-12"

"""How a transaction ends though its owner did not end it: a failed lock, its time, its settlement."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from doppia.accounting.errors import (
    BalanceLockFailed,
    CategoryLockFailed,
    LedgerError,
    LockVersionMismatch,
    ParameterInvalid,
    TransactionExpired,
    TransactionFinal,
    TransactionOfSettlement,
    Unbalanced,
)
from doppia.accounting.ledger.balances import NOTHING, Sums
from doppia.accounting.ledger.categories import Category, draw_chart
from doppia.accounting.ledger.transaction_life import EXPIRED, LOCK_FAILURE, create, expire, is_due
from doppia.accounting.ledger.transactions import CategoryGuards, Change, Draft, Guard, Leg, Status
from tests.accounting.ledger.books import chart, credit, debit
from tests.accounting.ledger.lives import (
    BOOKS,
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


class TestArchivedOnLockFailure:
    NEVER_BELOW_ZERO = (Guard("available", "gte", 0),)
    LEGS = (debit(2, 5, guards=NEVER_BELOW_ZERO, metadata={"line": "1"}), credit(3, 5))

    @pytest.mark.parametrize("status", ["pending", "posted"])
    def test_a_failed_lock_is_kept_as_an_archived_transaction_that_says_why(self, status: Status) -> None:
        change = created(status, *self.LEGS, archives_on_failed_guard=True, external_id="x", expires_at=None)
        transaction = change.transaction
        assert (transaction.status, transaction.archived_reason) == ("archived", LOCK_FAILURE)
        assert (transaction.posted_at, transaction.external_id, transaction.version) == (None, "x", 0)
        assert lines(transaction) == [(10, 1, 2, "debit", 5, "archived"), (10, 2, 3, "credit", 5, "archived")]
        assert [entry.account for entry in transaction.entries] == [WALLET, FEES]
        assert transaction.entries[0].metadata == {"line": "1"}
        assert (change.accounts, list(change.discards), change.wrote_entries) == ({}, [], True)

    def test_what_passes_its_locks_is_created_as_asked(self) -> None:
        funded = chart(CASH, WALLET._replace(sums=Sums(5, 0, 0, 0)), FEES)
        change = created("posted", *self.LEGS, accounts=funded, archives_on_failed_guard=True)
        assert (change.transaction.status, change.transaction.archived_reason) == ("posted", None)

    def test_a_failed_category_lock_is_kept_as_well(self) -> None:
        in_set = chart(CASH, WALLET._replace(category_set=77), FEES)
        category = Category("category-6", 6, WALLET.currency, "credit", is_open=True, sets=frozenset({77}))
        books = draw_chart([category], {6: NOTHING})
        lock = CategoryGuards(6, "category-6", self.NEVER_BELOW_ZERO)
        draft = Draft([debit(2, 5), credit(3, 5)], "posted", category_guards=(lock,))
        place: dict[str, Any] = {"id_": "transaction-10", "sequence": 10, "recorded_at": MONDAY, "chart": books}
        with pytest.raises(CategoryLockFailed):
            create(draft, in_set, **place)
        kept = create(draft._replace(archives_on_failed_guard=True), in_set, **place).transaction
        assert (kept.status, kept.archived_reason) == ("archived", LOCK_FAILURE)

    def test_a_failed_lock_refuses_the_transaction_that_does_not_ask_to_be_kept(self) -> None:
        with pytest.raises(BalanceLockFailed):
            created("posted", *self.LEGS)

    @pytest.mark.parametrize(
        ("legs", "refusal"),
        [
            pytest.param((debit(2, 5, lock_version=1), credit(3, 5)), LockVersionMismatch, id="a stale lock_version"),
            pytest.param((debit(2, 5), credit(3, 6)), Unbalanced, id="unbalanced"),
        ],
    )
    def test_nothing_but_a_failed_balance_lock_is_kept(self, legs: tuple[Leg, ...], refusal: type[LedgerError]) -> None:
        with pytest.raises(refusal):
            created("posted", *legs, archives_on_failed_guard=True)


class TestExpiry:
    INSTANT = timedelta(microseconds=1)

    def test_a_hold_expires_when_it_says_and_not_before(self) -> None:
        hold = created("pending", expires_at=TUESDAY).transaction
        assert hold.expires_at == TUESDAY
        assert [is_due(hold, at) for at in (TUESDAY - self.INSTANT, TUESDAY, WEDNESDAY)] == [False, True, True]

    def test_what_never_expires_or_is_final_is_never_due(self) -> None:
        held = created("pending", expires_at=TUESDAY)
        for change in (
            created("pending"),
            created("posted"),
            revised(held, recorded_at=TUESDAY - self.INSTANT, status="posted"),
            revised(held, recorded_at=TUESDAY - self.INSTANT, status="archived"),
        ):
            assert not is_due(change.transaction, WEDNESDAY)

    def test_it_is_archived_with_the_reason_and_its_entries_are_ended(self) -> None:
        held = created("pending", expires_at=TUESDAY, external_id="x", description="a hold")
        expired = expire(held.transaction, held.accounts, recorded_at=WEDNESDAY)
        transaction = expired.transaction
        assert (transaction.status, transaction.archived_reason, transaction.version) == ("archived", EXPIRED, 1)
        assert (transaction.updated_at, transaction.posted_at) == (WEDNESDAY, None)
        assert (transaction.expires_at, transaction.external_id, transaction.description) == (TUESDAY, "x", "a hold")
        assert standing(expired) == {1: (2, NOTHING), 2: (2, NOTHING), 3: (2, NOTHING)}
        assert {entry.discarded_at for entry in transaction.entries} == {WEDNESDAY}
        assert not expired.wrote_entries

    def test_nothing_expires_before_its_time(self) -> None:
        held = created("pending", expires_at=TUESDAY)
        with pytest.raises(AssertionError, match="before its time"):
            expire(held.transaction, held.accounts, recorded_at=TUESDAY - self.INSTANT)

    @pytest.mark.parametrize("expires_at", [MONDAY, MONDAY - timedelta(days=9)], ids=["now", "in the past"])
    def test_a_hold_is_not_made_to_have_expired(self, expires_at: datetime) -> None:
        with pytest.raises(ParameterInvalid, match="future") as refusal:
            created("pending", expires_at=expires_at)
        assert refusal.value.parameter == "expires_at"
        created("pending", expires_at=MONDAY + self.INSTANT)

    @pytest.mark.parametrize("status", ["posted", "archived"])
    def test_what_is_final_from_the_start_does_not_expire(self, status: Status) -> None:
        with pytest.raises(ParameterInvalid, match="for pending transactions"):
            created(status, expires_at=TUESDAY)

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({"status": "posted"}, id="posted"),
            pytest.param({"status": "archived"}, id="archived"),
            pytest.param({"legs": [debit(1, 1), credit(2, 1)]}, id="new entries"),
            pytest.param({"expires_at": WEDNESDAY}, id="a later expiry"),
            pytest.param({"expires_at": None}, id="no expiry"),
            pytest.param({"metadata": {"a": "1"}}, id="metadata"),
        ],
    )
    def test_a_hold_that_has_expired_takes_no_change(self, changes: dict[str, Any]) -> None:
        held = created("pending", expires_at=TUESDAY)
        revised(held, recorded_at=TUESDAY - self.INSTANT, **{"metadata": {}, **changes})
        with pytest.raises(TransactionExpired) as refusal:
            revised(held, recorded_at=TUESDAY, **changes)
        assert refusal.value.expires_at == TUESDAY.isoformat()

    def test_the_time_can_be_moved_given_and_taken_away_without_new_entries(self) -> None:
        held = created("pending", expires_at=WEDNESDAY)
        later = WEDNESDAY + timedelta(days=1)
        for change, expected in (
            (revised(held, expires_at=later), later),
            (revised(held, expires_at=None), None),
            (revised(created("pending"), expires_at=later), later),
            (revised(held, description="another"), WEDNESDAY),
            (revised(held, legs=[debit(1, 1), credit(2, 1)]), WEDNESDAY),
            (revised(held, status="posted"), WEDNESDAY),
        ):
            assert change.transaction.expires_at == expected
        assert not revised(held, expires_at=later).wrote_entries

    @pytest.mark.parametrize("status", ["posted", "archived"])
    def test_a_change_that_makes_it_final_takes_no_expiry_beside_it(self, status: Status) -> None:
        held = created("pending")
        with pytest.raises(ParameterInvalid, match="for pending transactions"):
            revised(held, status=status, expires_at=WEDNESDAY)
        assert revised(created("pending", expires_at=WEDNESDAY), status=status, expires_at=None).transaction

    def test_a_change_does_not_let_it_expire_at_once(self) -> None:
        with pytest.raises(ParameterInvalid, match="future"):
            revised(created("pending"), expires_at=TUESDAY)


class TestSettlement:
    def settled(self, status: Status = "pending") -> Change:
        change = create(
            Draft(PAYMENT, status),
            BOOKS,
            id_="transaction-10",
            sequence=10,
            recorded_at=MONDAY,
            settlement=(7, "settlement-7"),
        )
        assert change.transaction.settlement == (7, "settlement-7")
        return change

    @pytest.mark.parametrize(
        "changes",
        [
            {"status": "posted"},
            {"status": "archived"},
            {"legs": [debit(1, 1), credit(2, 1)]},
            {"effective_at": TUESDAY},
            {"expires_at": WEDNESDAY},
            {"category_guards": ()},
            {"description": "x", "status": "pending"},
        ],
        ids=", ".join,
    )
    def test_what_a_settlement_moves_changes_with_the_settlement_alone(self, changes: dict[str, Any]) -> None:
        held = self.settled()
        with pytest.raises(TransactionOfSettlement) as refusal:
            revised(held, **changes)
        assert refusal.value.ledger_account_settlement_id == "settlement-7"
        if "expires_at" not in changes:
            assert revised(held, by_settlement=True, **changes).transaction.settlement == (7, "settlement-7")

    def test_words_of_it_are_its_owners(self) -> None:
        assert revised(self.settled(), description="x", metadata={"a": "1"}).transaction.description == "x"
        assert revised(self.settled("posted"), metadata={"a": "1"}).transaction.metadata == {"a": "1"}

    def test_that_it_is_final_is_said_first(self) -> None:
        with pytest.raises(TransactionFinal):
            revised(self.settled("posted"), status="archived")

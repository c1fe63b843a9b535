"""What a settlement amounts to, what its transaction moves, and what may become of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, get_args

import pytest

from doppia.accounting.closing.settlements import (
    SettledAs,
    Settlement,
    SettlementStatus,
    check_accounts,
    check_draft,
    check_entry,
    check_status,
    complete,
    moving_draft,
    new_draft,
    revise,
    sweeping,
)
from doppia.accounting.errors import (
    AccountDiscarded,
    AmountOutOfRange,
    EntryNotSettleable,
    LedgerError,
    MetadataTooLarge,
    ParameterInvalid,
    SettlementFinal,
    SettlementNegative,
)
from doppia.accounting.ledger.transactions import decide
from tests.accounting.ledger.books import PHP, PTS, account

MONDAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)
SELLER, BANK = account(1), account(2, normal_balance="debit")
DRAFT = Settlement(
    id="settlement-9",
    ledger=7,
    sequence=9,
    status="drafting",
    becomes=None,
    settled_account=(SELLER.sequence, SELLER.id),
    contra_account=(BANK.sequence, BANK.id),
    currency=PHP,
    normal_balance="credit",
    lock_version=None,
    searched_lock_version=None,
    effective_at_upper_bound=None,
    allows_either_direction=False,
    skips_transaction=False,
    transaction=None,
    net=0,
    amount=None,
    direction=None,
    description="March",
    metadata={"run": "1"},
    created_at=MONDAY,
    updated_at=MONDAY,
)


def completed(net: int, status: SettledAs = "pending", **fields: Any) -> Settlement:
    return complete(replace(DRAFT, net=net, **fields), status, recorded_at=TUESDAY)


class TestBegin:
    def test_a_new_draft_is_of_its_accounts_and_has_gathered_nothing(self) -> None:
        begun = new_draft(
            SELLER, BANK, id_="settlement-9", ledger=7, sequence=9, recorded_at=MONDAY, allows_either_direction=False,
            skips_transaction=False, description="March", metadata={"run": "1"},
        )  # fmt: skip
        assert begun == DRAFT

    def test_a_sweep_knows_what_it_becomes_and_where_it_ends(self) -> None:
        swept = sweeping(DRAFT, "posted", after=3, to=8, before=TUESDAY)
        assert (swept.status, swept.becomes) == ("processing", "posted")
        assert (swept.searched_lock_version, swept.lock_version, swept.effective_at_upper_bound) == (3, 8, TUESDAY)


class TestAccounts:
    def test_two_open_accounts_in_one_unit_can_be_settled(self) -> None:
        check_accounts(SELLER, BANK)

    @pytest.mark.parametrize(
        ("contra", "reason"),
        [
            pytest.param(SELLER, "another account", id="itself"),
            pytest.param(account(2, unit=PTS), "PTS with exponent 0, .* PHP with exponent 2", id="another unit"),
        ],
    )
    def test_an_account_is_settled_against_another_of_its_unit(self, contra: Any, reason: str) -> None:
        with pytest.raises(ParameterInvalid, match=reason) as refusal:
            check_accounts(SELLER, contra)
        assert refusal.value.parameter == "contra_ledger_account_id"

    @pytest.mark.parametrize("name", ["settled", "contra"])
    def test_neither_may_be_discarded(self, name: str) -> None:
        closed = {"settled": SELLER, "contra": BANK}
        closed[name] = closed[name]._replace(is_open=False)
        with pytest.raises(AccountDiscarded) as refusal:
            check_accounts(**closed)
        assert refusal.value.parameter == f"{name}_ledger_account_id"
        assert refusal.value.ledger_account_id == closed[name].id


class TestAmount:
    def test_what_stands_on_the_normal_side_is_settled_from_the_other(self) -> None:
        settled = completed(70, "posted")
        assert (settled.status, settled.amount, settled.direction) == ("posted", 70, "debit")
        assert settled.updated_at == TUESDAY
        of_debits = completed(-70, normal_balance="debit")
        assert (of_debits.status, of_debits.amount, of_debits.direction) == ("pending", 70, "credit")

    @pytest.mark.parametrize(("net", "side"), [(-70, "credit"), (70, "debit")])
    def test_less_than_nothing_is_settled_only_where_either_direction_is_allowed(self, net: int, side: Any) -> None:
        with pytest.raises(SettlementNegative) as refusal:
            completed(net, normal_balance=side)
        assert refusal.value.amount == -70
        settled = completed(net, normal_balance=side, allows_either_direction=True)
        assert (settled.amount, settled.direction) == (70, side)

    def test_a_sweep_that_is_complete_is_no_longer_about_to_become_anything(self) -> None:
        assert completed(5, status="pending", becomes="posted").becomes is None

    def test_nothing_is_settled_without_a_transaction(self) -> None:
        settled = completed(0)
        assert (settled.amount, settled.direction, moving_draft(settled)) == (0, None, None)

    def test_the_transaction_can_be_left_out(self) -> None:
        settled = completed(70, skips_transaction=True)
        assert (settled.amount, settled.direction, moving_draft(settled)) == (70, "debit", None)

    def test_a_draft_moves_nothing(self) -> None:
        assert moving_draft(DRAFT) is None

    @pytest.mark.parametrize("status", get_args(SettledAs))
    @pytest.mark.parametrize(
        ("net", "parts"),
        [
            (1, [1]),
            (10**36, [10**36]),
            (10**36 + 1, [10**36, 1]),
            (-2 * 10**36, [10**36, 10**36]),
            (500 * 10**36, [10**36] * 500),
        ],
    )
    def test_the_transaction_moves_the_amount_in_as_few_entries_as_hold_it(
        self, status: SettledAs, net: int, parts: list[int]
    ) -> None:
        draft = moving_draft(completed(net, status, allows_either_direction=True))
        assert draft is not None
        assert (draft.status, draft.description) == (status, "March")
        there, back = ("debit", "credit") if net > 0 else ("credit", "debit")
        legs = [(leg.account, leg.account_id, leg.direction, leg.amount) for leg in draft.legs]
        assert legs == [(1, "account-1", there, part) for part in parts] + [
            (2, "account-2", back, part) for part in parts
        ]
        moved = decide(status, draft.legs, {1: SELLER, 2: BANK}).accounts[1].sums
        assert sum(moved) == abs(net)

    def test_more_than_a_transaction_can_hold_is_not_settled(self) -> None:
        with pytest.raises(AmountOutOfRange):
            completed(500 * 10**36 + 1)


ALLOWED = {
    ("drafting", "pending"), ("drafting", "posted"), ("drafting", "archived"), ("pending", "posted"),
    ("pending", "archived"), ("posted", "archived"), ("archiving", "archived"),
}  # fmt: skip
STATUSES = get_args(SettlementStatus)


class TestStatus:
    @pytest.mark.parametrize(("now", "then"), list(product(STATUSES, ("pending", "posted", "archived"))))
    def test_a_settlement_goes_forward_and_stays_where_it_is(
        self, now: SettlementStatus, then: SettlementStatus
    ) -> None:
        settlement = replace(DRAFT, status=now)
        if now == then or (now, then) in ALLOWED:
            check_status(settlement, then)
            return
        with pytest.raises(SettlementFinal) as refusal:
            check_status(settlement, then)
        assert refusal.value.status == now

    def test_what_a_posted_one_moved_stays_moved(self) -> None:
        settlement = replace(DRAFT, status="posted", transaction=(10, "transaction-10"))
        with pytest.raises(SettlementFinal, match="reversing its transaction"):
            check_status(settlement, "archived")

    @pytest.mark.parametrize("status", STATUSES)
    def test_only_a_draft_is_picked_by_hand(self, status: SettlementStatus) -> None:
        settlement = replace(DRAFT, status=status)
        if status == "drafting":
            check_draft(settlement)
            return
        with pytest.raises(SettlementFinal):
            check_draft(settlement)


class TestRevise:
    def test_what_is_not_named_stays(self) -> None:
        assert revise(DRAFT, recorded_at=TUESDAY) == replace(DRAFT, updated_at=TUESDAY)

    def test_description_and_metadata_change_in_every_status(self) -> None:
        for status in STATUSES:
            pairs = {"run": None, "by": "Ana"}
            changed = revise(replace(DRAFT, status=status), description=None, metadata=pairs, recorded_at=TUESDAY)
            assert (changed.description, changed.metadata, changed.status) == (None, {"by": "Ana"}, status)

    def test_too_much_metadata_is_refused(self) -> None:
        with pytest.raises(MetadataTooLarge):
            revise(DRAFT, metadata={f"{number}": "x" for number in range(100)}, recorded_at=TUESDAY)

    def test_whether_a_transaction_is_made_is_open_while_it_is_a_draft(self) -> None:
        assert revise(DRAFT, skips_transaction=True, recorded_at=TUESDAY).skips_transaction
        posted = replace(DRAFT, status="posted")
        assert not revise(posted, skips_transaction=False, recorded_at=TUESDAY).skips_transaction
        with pytest.raises(SettlementFinal):
            revise(posted, skips_transaction=True, recorded_at=TUESDAY)


class TestEntry:
    def test_a_posted_entry_of_the_account_can_be_settled(self) -> None:
        check_entry(DRAFT, id_="entry", account=1, status="posted", is_own=False, parameter="where")

    @pytest.mark.parametrize(
        ("facts", "reason"),
        [
            ({"account": 2}, "another account"),
            ({"status": "pending"}, "it is pending"),
            ({"status": "archived"}, "it is archived"),
            ({"is_own": True}, "a settlement wrote it"),
        ],
        ids=["account", "pending", "archived", "own"],
    )
    def test_no_other_can(self, facts: dict[str, Any], reason: str) -> None:
        with pytest.raises(EntryNotSettleable, match=reason) as refusal:
            check_entry(
                DRAFT, id_="entry", parameter="where", **{"account": 1, "status": "posted", "is_own": False, **facts}
            )
        told: LedgerError = refusal.value
        assert (told.parameter, refusal.value.ledger_entry_id) == ("where", "entry")

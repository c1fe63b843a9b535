"""What the rows of an object must hold, by the newest record about it."""

from typing import Any

import msgspec

from doppia.accounting.platform.events import Event
from doppia.proof.kinds import BY_NUMBER, KINDS, kind_of
from doppia.proof.records import moment
from tests.proof.test_records import ACCOUNT, LEDGER, MEMBERSHIP, RECORDED_AT, RECORDS, SETTLEMENT, STATEMENT


def columns_of(record: Any) -> dict[str, Any]:
    return {name: column(record) for name, column in kind_of(record).columns.items()}


def test_texts_and_figures_stand_in_columns_and_a_discard_has_the_time_of_its_record() -> None:
    columns = columns_of(ACCOUNT)
    assert {name: columns[name] for name in kind_of(ACCOUNT).texts} == {
        "name": "Maria", "description": "wallet", "metadata": {}, "external_id": "m-1", "ledgerable_type": None,
        "ledgerable_id": None,
    }  # fmt: skip
    assert (columns["discarded_at"], columns["updated_at"]) == (None, moment(RECORDED_AT))
    discarded = msgspec.structs.replace(LEDGER, discarded=True)
    assert columns_of(discarded)["discarded_at"] == moment(RECORDED_AT)


def test_amounts_and_times_stand_in_columns_as_such() -> None:
    columns = columns_of(STATEMENT)
    assert columns["effective_at_upper_bound"] == moment(RECORDED_AT)
    assert [columns[f"ending_{name}"] for name in ("posted_credits", "pending_debits")] == [1, 4]
    assert columns_of(SETTLEMENT)["amount"] == 7
    draft = columns_of(msgspec.structs.replace(SETTLEMENT, amount=None, effective_at_upper_bound=None))
    assert (draft["amount"], draft["effective_at_upper_bound"]) == (None, None)


def test_every_text_of_an_object_with_columns_is_compared() -> None:
    for kind in KINDS:
        assert not kind.columns or {*kind.texts} <= {*kind.columns}


def test_a_record_is_about_the_object_that_it_says() -> None:
    assert [kind_of(record).about(record) for record in RECORDS] == [1, 2, 3, 3, 5, 5, 8, 8, 9, 10, 10, 12]
    assert kind_of(MEMBERSHIP).about(msgspec.structs.replace(MEMBERSHIP, category=None)) == 2
    assert [BY_NUMBER[kind.number] for kind in KINDS] == [*KINDS]


def test_an_account_that_is_opened_in_categories_is_told_of_as_an_account_that_is_updated() -> None:
    assert kind_of(MEMBERSHIP).events == {
        Event.UPDATED: ("ledger_account_category", "updated"), Event.CREATED: ("ledger_account", "updated"),
    }  # fmt: skip

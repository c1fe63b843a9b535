"""A list's tables and its SQL fit each other, and what is composed of them names each value once."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from doppia.store.database.listing import Filter, Listing, Order, Page, Place, Walk, _kept_text, fill, number
from doppia.store.database.parameters import TEXT, TIME, Parameter, Plan, Reach, id_of, unfiltered
from doppia.store.ledger import entries, ledgers, monitors, transactions

AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST: Final = Order("created_at", "monitor_sequence", 0, "desc")
WALKS: Final = (Walk("by_filters", ("balance_monitors_pkey",)),)


def test_a_row_that_does_not_say_what_it_does_for_the_walk_is_none() -> None:
    row: Any = Parameter
    for facts in ((), (Reach.FEW,), (Plan.KEPT,)):
        with pytest.raises(TypeError):
            row("external_id", TEXT, *facts)


def test_a_filter_without_a_row_stops_the_program_when_it_starts() -> None:
    with pytest.raises(AssertionError, match="metadata"):
        Listing("ledger/monitors", monitors.PARAMETERS[:-1], WALKS, NEWEST)


def test_a_filter_can_not_be_passed_over_by_a_row_that_leaves_its_facts_to_others() -> None:
    lazy = unfiltered("metadata", TEXT, "metadata")
    with pytest.raises(AssertionError, match="metadata"):
        Listing("ledger/monitors", (*monitors.PARAMETERS[:-1], lazy), WALKS, NEWEST)


def test_a_row_without_a_filter_stops_the_program_when_it_starts() -> None:
    rows = (*monitors.PARAMETERS, Parameter("description", TEXT, Reach.ANYWHERE, Plan.KEPT))
    with pytest.raises(AssertionError, match="description"):
        Listing("ledger/monitors", rows, WALKS, NEWEST)


@pytest.mark.parametrize(
    "changed",
    [
        Parameter("ledger_account_id", TIME, Reach.ACCOUNT, Plan.KEPT),
        Parameter("ledger_account_id", id_of("ledger_account")._replace(comparisons=("gt",)), Reach.FEW, Plan.KEPT),
    ],
)
def test_a_row_takes_comparisons_as_its_condition_does(changed: Parameter) -> None:
    rows = [changed if row.name == changed.name else row for row in monitors.PARAMETERS]
    with pytest.raises(AssertionError, match="ledger_account_id"):
        Listing("ledger/monitors", rows, WALKS, NEWEST)


def test_a_template_is_filled_as_a_whole() -> None:
    assert fill("select '{}' from {table} {where}", {"table": "t", "where": "{x}"}) == "select '{}' from t {x}"
    with pytest.raises(KeyError):
        fill("{nothing}", {})


@pytest.mark.parametrize(
    ("text", "numbered", "names"),
    [
        ("a = :a and b = :b", "a = $1 and b = $2", ("a", "b")),
        ("a = :b::bigint and :a > :b", "a = $1::bigint and $2 > $1", ("b", "a")),
        ("(:many::bigint[])[1:2] || 'a: b'", "($1::bigint[])[1:2] || 'a: b'", ("many",)),
        ("a::text = :a_2 or :a", "a::text = $1 or $2", ("a_2", "a")),
    ],
)
def test_names_are_numbered_in_their_order_and_casts_are_no_names(text: str, numbered: str, names: Any) -> None:
    assert number(text) == (numbered, names)


def test_names_are_numbered_behind_the_numbers_that_are_there() -> None:
    assert number("a = $1 and b = $2 and c = :c", after=2) == ("a = $1 and b = $2 and c = $3", ("c",))


def test_filters_of_one_name_keep_their_values_apart() -> None:
    filters = [Filter("amount", 5, "gte"), Filter("amount", 9, "lt"), Filter("status", ["posted"])]
    page = Page([7], filters, transactions.LIST.newest_first, Place(AT, 7, 40), 26)
    query, arguments = transactions.LIST.compose(transactions.LIST.walks[-1], page)

    def argument(before: str) -> Any:
        _, _, after = query.partition(before)
        assert after.startswith("$"), before
        return arguments[int(after[1 : after.index(":")]) - 1]

    assert argument(" << 10) >= ") == 5
    assert argument(" << 10) < ") == 9
    assert argument("t.status = any(") == ["posted"]
    assert argument("(transaction_sequence < ") == 40
    assert len(arguments) == len(set(map(str, arguments)))


def test_pages_that_differ_in_their_values_alone_are_one_statement() -> None:
    order = entries.LIST.newest_first
    pages = [
        Page([ledger], [Filter("amount", amount, "gte")], order, Place(AT, ledger, key), limit)
        for ledger, amount, key, limit in ((7, 5, 40, 26), (8, 6, 50, 11))
    ]
    walk = entries.LIST.walks[-1]
    assert len({entries.LIST.compose(walk, page)[0] for page in pages}) == 1
    assert entries.LIST.compose(walk, pages[0])[1] != entries.LIST.compose(walk, pages[1])[1]


def test_a_page_of_very_many_filters_is_composed_and_its_text_is_not_kept() -> None:
    order, walk = transactions.LIST.newest_first, transactions.LIST.walks[-1]
    filters = [Filter("amount", amount, "gte") for amount in range(400)]
    kept = _kept_text.cache_info()
    query, arguments = transactions.LIST.compose(walk, Page([7], filters, order, None, 26))
    assert query.count("::numeric") == 400
    assert arguments == [[7], *range(400), 26]
    assert _kept_text.cache_info() == kept


def test_a_plan_is_kept_unless_a_value_decides_by_which_index_a_page_is_found() -> None:
    order, walk = ledgers.LIST.newest_first, ledgers.LIST.walks[-1]
    kept, _ = ledgers.LIST.compose(walk, Page([7], [Filter("discarded", value=True)], order, None, 26))
    planned, _ = ledgers.LIST.compose(walk, Page([7], [Filter("metadata", {"a": "b"})], order, None, 26))
    assert "unnest(array[" in kept
    assert "unnest(array[" not in planned

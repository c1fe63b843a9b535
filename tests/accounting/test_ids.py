"""Ids carry their ledger and their place in its log."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.accounting.ids import LEDGER_NUMBER_MAX, ORDINAL_BITS, Id, format_id, is_uuid, ledger_id, parse_id

parts = st.builds(
    Id,
    seconds=st.integers(0, 2**32 - 1),
    ledger=st.integers(0, LEDGER_NUMBER_MAX),
    sequence=st.integers(0, 2**48 - 1),
    ordinal=st.integers(0, 2**ORDINAL_BITS - 1),
)


def test_the_layout_is_the_one_that_the_module_describes() -> None:
    assert format_id(0x66A1B2C3, 0xDEADBEEF, 0x123456789ABC, 5) == "66a1b2c3-dead-8bee-bc48-d159e26af005"
    assert format_id(0, 0, 0) == "00000000-0000-8000-8000-000000000000"
    assert format_id(2**32 - 1, 2**32 - 1, 2**48 - 1, 1023) == "ffffffff-ffff-8fff-bfff-ffffffffffff"


@given(parts)
def test_an_id_comes_apart_into_what_it_was_made_of(id_: Id) -> None:
    assert parse_id(str(id_)) == id_
    assert parse_id(str(id_).upper()) == id_


@given(parts)
def test_an_id_is_a_uuid_of_version_8(id_: Id) -> None:
    as_uuid = uuid.UUID(str(id_))
    assert as_uuid.version == 8
    assert as_uuid.variant == uuid.RFC_4122
    assert str(as_uuid) == str(id_)


@given(parts, parts)
def test_ids_of_a_ledger_sort_as_text_by_time_then_place(one: Id, other: Id) -> None:
    other = other._replace(ledger=one.ledger)
    assert (str(one) < str(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "account-1",
        "66a1b2c3-dead-4bee-bc48-d159e26af005",
        "66a1b2c3-dead-8bee-cc48-d159e26af005",
        "66a1b2c3-dead-8bee-bc48-d159e26af00",
        "66a1b2c3-dead-8bee-bc48-d159e26af0055",
        "66a1b2c3dead8beebc48d159e26af005",
        "{66a1b2c3-dead-8bee-bc48-d159e26af005}",
        "66a1b2c3-dead-8bee-bc48-d159e26af005\n",
        "66a1b2g3-dead-8bee-bc48-d159e26af005",
        "٦6a1b2c3-dead-8bee-bc48-d159e26af005",
    ],
)
def test_what_is_no_id_of_ours_is_none(text: str) -> None:
    assert parse_id(text) is None


@given(st.text(max_size=40))
def test_any_text_at_all_is_an_id_or_none(text: str) -> None:
    id_ = parse_id(text)
    assert id_ is None or str(id_) == text.lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("66a1b2c3-dead-4bee-bc48-d159e26af005", True),
        ("66A1B2C3-DEAD-8BEE-BC48-D159E26AF005", True),
        ("66a1b2c3-dead-8bee-bc48-d159e26af00", False),
        ("66a1b2c3dead8beebc48d159e26af005", False),
        ("66a1b2c3-dead-8bee-bc48-d159e26af005\n", False),
        ("٦6a1b2c3-dead-8bee-bc48-d159e26af005", False),
        ("external-id", False),
    ],
)
def test_a_uuid_need_not_be_one_of_ours(text: str, expected: bool) -> None:
    assert is_uuid(text) is expected


def test_the_id_of_a_ledger_is_that_of_the_first_record_of_its_log() -> None:
    assert ledger_id(5, 7) == format_id(5, 7, 1)

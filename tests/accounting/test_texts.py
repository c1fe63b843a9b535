"""What texts of callers may be."""

import pytest

from doppia.accounting.errors import InvalidText, MetadataTooLarge
from doppia.accounting.texts import (
    METADATA_KEY_LENGTH_MAX,
    METADATA_PAIRS_MAX,
    METADATA_VALUE_LENGTH_MAX,
    check_metadata,
    check_text,
    merge_metadata,
)


def test_any_text_that_a_database_stores_is_taken_as_it_is() -> None:
    for text in ("", "Zürich", "\n\t\x7f", "😀", "\uffff"):
        assert check_text(text, "name") is text


@pytest.mark.parametrize(("text", "reason"), [("a\0b", "NUL"), ("a\ud800", "surrogate"), ("\udfff", "surrogate")])
def test_a_text_that_no_database_stores_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidText, match=reason) as refusal:
        check_text(text, "name")
    assert refusal.value.parameter == "name"


def test_metadata_within_its_limits_is_taken_as_it_is() -> None:
    metadata = {f"{number:0{METADATA_KEY_LENGTH_MAX}}": "x" * METADATA_VALUE_LENGTH_MAX for number in range(99)}
    for within in ({}, {"a": ""}, {"a": None}, {**metadata, "a": None}):
        assert check_metadata(within) is within
    assert len(metadata) + 1 == METADATA_PAIRS_MAX


@pytest.mark.parametrize(
    ("metadata", "parameter", "reason"),
    [
        ({str(number): "x" for number in range(101)}, "m", "holds 101 pairs"),
        ({"": "x"}, "m", "has an empty key"),
        ({"k" * 101: "x"}, "m", "has a key of 101 characters"),
        ({"k": "x" * 1001}, "m.k", "has a value of 1001 characters"),
    ],
    ids=["pairs", "no key", "key", "value"],
)
def test_metadata_beyond_its_limits_is_refused(metadata: dict[str, str | None], parameter: str, reason: str) -> None:
    with pytest.raises(MetadataTooLarge) as refusal:
        check_metadata(metadata, "m")
    assert (refusal.value.parameter, refusal.value.reason) == (parameter, reason)


def test_metadata_is_merged_and_an_empty_value_removes_its_key() -> None:
    before = {"a": "1", "b": "2", "c": "3"}
    assert merge_metadata(before, {"a": "9", "b": None, "c": "", "d": "4", "e": None}) == {"a": "9", "d": "4"}
    assert merge_metadata(before, {}) == before
    assert before == {"a": "1", "b": "2", "c": "3"}


def test_merged_metadata_holds_at_most_a_hundred_pairs() -> None:
    full = {f"key {number}": "value" for number in range(100)}
    assert len(merge_metadata(full, {"key 0": None, "another": "value"})) == 100
    with pytest.raises(MetadataTooLarge, match="101 pairs"):
        merge_metadata(full, {"another": "value"})

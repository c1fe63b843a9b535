"""A change names a new value of a field, or leaves the field as it is."""

import msgspec
import pytest

from doppia.accounting.ledger.transaction_life import Revision
from doppia.accounting.revisions import UNCHANGED, chosen, merged


def test_a_field_that_is_left_out_keeps_its_value_and_one_that_is_cleared_does_not() -> None:
    assert chosen(UNCHANGED, "before") == "before"
    assert chosen("after", "before") == "after"
    assert chosen(None, "before") is None


@pytest.mark.parametrize("asked", [UNCHANGED, None, {}])
def test_metadata_of_which_nothing_is_to_change_stays(asked: None) -> None:
    assert merged(asked, {"a": "1"}) == {"a": "1"}


def test_pairs_are_merged_in_and_those_that_are_emptied_are_removed() -> None:
    assert merged({"b": None, "c": "", "d": "4"}, {"a": "1", "b": "2", "c": "3"}) == {"a": "1", "d": "4"}


def test_a_revision_names_what_it_changes_and_clearing_a_field_is_a_change() -> None:
    assert Revision().changing() == set()
    assert Revision(description=None, legs=()).changing() == {"description", "legs"}


def test_no_text_is_taken_for_a_field_that_keeps_its_value() -> None:
    revisions = [Revision(), *(Revision(description=text) for text in (None, "", "0", "unchanged", "UNCHANGED"))]

    assert len({msgspec.json.encode(revision) for revision in revisions}) == len(revisions)

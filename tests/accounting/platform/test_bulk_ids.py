"""Ids of bulk requests and results."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from doppia.accounting.platform.bulk import ERROR, RANDOM_BITS, bulk_id, low_bits_of, result_id, split_id

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

times = st.integers(0, 250_000_000_000_000_000).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds))
randoms = st.integers(0, 2**RANDOM_BITS - 1)
ordinals = st.integers(1, 10_000)


@given(times, randoms)
def test_an_id_is_a_uuid_of_version_7_and_holds_the_time(created_at: datetime, random: int) -> None:
    id_ = bulk_id(created_at, random << 16)

    assert (id_.version, id_.variant) == (7, "specified in RFC 4122")
    assert id_.int >> 80 == (created_at - EPOCH) // timedelta(milliseconds=1)


@given(times, randoms, st.integers(1, 10**9), randoms)
def test_what_was_created_later_has_a_greater_id(created_at: datetime, one: int, later: int, other: int) -> None:
    after = created_at + timedelta(microseconds=later)
    assert bulk_id(created_at, one << 16 | 0xFFFF) < bulk_id(after, other << 16)


@given(times, randoms, ordinals)
def test_the_id_of_a_result_leads_to_its_request_and_is_told_apart_from_that_of_its_error(
    created_at: datetime, random: int, ordinal: int
) -> None:
    request_id = bulk_id(created_at, random << 16)
    id_ = result_id(request_id, ordinal)

    assert split_id(request_id) == (request_id, 0)
    assert split_id(id_) == (request_id, ordinal)
    assert split_id(result_id(request_id, ERROR + ordinal)) == (request_id, ERROR + ordinal)
    assert bulk_id(created_at, low_bits_of(id_)) == id_


def test_a_time_before_1970_makes_an_id_too() -> None:
    assert bulk_id(datetime(1, 1, 2, tzinfo=UTC), 0).version == 7

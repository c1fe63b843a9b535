"""Amounts split by weights over HTTP."""

from typing import Any

import pytest

from tests.api.over_http import Books, Refusal, refusal

pytestmark = pytest.mark.anyio


async def test_the_units_left_over_go_to_the_first_parts_unless_asked_otherwise(books: Books) -> None:
    body = {"amount": 10, "weights": [1, 2, 4]}

    for rounding, parts in ((None, [2, 3, 5]), ("first", [2, 3, 5]), ("largest_remainder", [1, 3, 6])):
        answer = await books.post("/allocations", body if rounding is None else {**body, "rounding": rounding})
        assert answer.status_code == 200
        assert answer.json() == {"parts": parts}


async def test_nothing_is_written_and_a_key_that_may_only_read_is_enough(books: Books) -> None:
    before = await books.state()
    books.client.auth = (str(books.organization_id), await books.key("read"))
    with_key = await books.state()

    for amount in (100, 200):
        answer = await books.post("/allocations", {"amount": amount, "weights": [1]}, key="the same")
        assert answer.json() == {"parts": [amount]}

    assert await books.state() == with_key
    assert {name for name in before if before[name] != with_key[name]} == {"api_keys", "organization_log"}


async def test_the_largest_amount_is_split_exactly(books: Books) -> None:
    answer = await books.post("/allocations", {"amount": 10**36, "weights": [10**36, 10**36, 10**36]})

    third = (10**36 - 1) // 3
    assert answer.text == f'{{"parts":[{third + 1},{third},{third}]}}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, Refusal(422, "parameter_missing", "amount")),
        ({"amount": 1}, Refusal(422, "parameter_missing", "weights")),
        ({"amount": 1, "weights": []}, Refusal(422, "parameter_invalid", "weights")),
        ({"amount": 1, "weights": [0]}, Refusal(422, "parameter_invalid", "weights")),
        ({"amount": 1, "weights": [1] * 1001}, Refusal(422, "parameter_invalid", "weights")),
        ({"amount": 1, "weights": [1, -1]}, Refusal(422, "parameter_invalid", "weights[1]")),
        ({"amount": 1, "weights": [10**36 + 1]}, Refusal(422, "parameter_invalid", "weights[0]")),
        ({"amount": 1, "weights": [0.5]}, Refusal(422, "parameter_invalid", "weights[0]")),
        ({"amount": 1, "weights": ["1"]}, Refusal(422, "parameter_invalid", "weights[0]")),
        ({"amount": 1, "weights": 1}, Refusal(422, "parameter_invalid", "weights")),
        ({"amount": -1, "weights": [1]}, Refusal(422, "amount_out_of_range", "amount")),
        ({"amount": 10**36 + 1, "weights": [1]}, Refusal(422, "amount_out_of_range", "amount")),
        ({"amount": 1.5, "weights": [1]}, Refusal(422, "parameter_invalid", "amount")),
        ({"amount": "1", "weights": [1]}, Refusal(422, "parameter_invalid", "amount")),
        ({"amount": None, "weights": [1]}, Refusal(422, "parameter_invalid", "amount")),
        ({"amount": 1, "weights": [1], "rounding": "up"}, Refusal(422, "parameter_invalid", "rounding")),
        ({"amount": 1, "weights": [1], "round": "first"}, Refusal(422, "parameter_unknown", "round")),
        ([1], Refusal(422, "parameter_invalid", None)),
    ],
    ids=lambda value: "" if isinstance(value, Refusal) else str(value)[:40],
)
async def test_what_can_not_be_split_is_refused(books: Books, body: Any, expected: Refusal) -> None:
    assert refusal(await books.post("/allocations", body)) == expected

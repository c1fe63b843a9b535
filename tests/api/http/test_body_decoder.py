"""Each form of message that msgspec has for a body out of shape, and what we make of it."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from doppia.accounting.errors import InvalidJson, LedgerError, ParameterInvalid, ParameterMissing, ParameterUnknown
from doppia.api.http.request import BodyDecoder

ADVICE = f"msgspec {msgspec.__version__} words its messages anew: see `_explain` in src/doppia/api/http/request.py"

Short = Annotated[str, Meta(max_length=2)]


class Part(Struct, forbid_unknown_fields=True):
    side: Literal["debit", "credit"]
    number: Annotated[int, Meta(ge=0, le=9)] = 0


class Whole(Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=3)]
    number: int | None = None
    is_on: bool = False
    code: Annotated[str, Meta(pattern="^x")] = "x"
    parts: Annotated[list[Part], Meta(min_length=1, max_length=2)] = []
    pairs: dict[str, str | None] = {}
    short_keys: dict[Short, str] = {}


DECODER = BodyDecoder(Whole)


def refusal(body: bytes) -> LedgerError:
    with pytest.raises(LedgerError) as raised:
        DECODER.decode(body)
    return raised.value


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (b"{}", "name"),
        (b"", "name"),
        (b'{"name": "a", "parts": [{"side": "debit"}, {}]}', "parts[1].side"),
    ],
)
def test_a_missing_field_is_named(body: bytes, parameter: str) -> None:
    told = refusal(body)

    assert isinstance(told, ParameterMissing), ADVICE
    assert told.parameter == parameter


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (b'{"name": "a", "nmae": 1}', "nmae"),
        (b'{"name": "a", "parts": [{"side": "debit", "sied": 1}]}', "parts[0].sied"),
        (b'{"name": "a", "a\\nb": 1}', "a\nb"),
        (b'{"name": "a", "`": 1}', "`"),
        (b'{"name": "a", "x - at `$.name`": 1}', "x - at `$.name`"),
        (b'{"name": "a", "' + b"x" * 5_000 + b'": 1}', "x" * 200),
    ],
)
def test_an_unknown_field_is_named(body: bytes, parameter: str) -> None:
    told = refusal(body)

    assert isinstance(told, ParameterUnknown), ADVICE
    assert told.parameter == parameter


@pytest.mark.parametrize(
    ("body", "parameter", "reason"),
    [
        (b'{"name": 5}', "name", "expected `str`, got `int`"),
        (b'{"name": "a", "number": 1.5}', "number", "expected `int | null`, got `float`"),
        (b'{"name": "a", "number": 1' + b"0" * 5_000 + b"}", "number", "integer value out of range"),
        (b'{"name": "a", "is_on": "yes"}', "is_on", "expected `bool`, got `str`"),
        (b'{"name": ""}', "name", "expected `str` of length >= 1"),
        (b'{"name": "abcd"}', "name", "expected `str` of length <= 3"),
        (b'{"name": "a", "code": "y"}', "code", "expected `str` matching regex '^x'"),
        (b'{"name": "a", "parts": []}', "parts", "expected `array` of length >= 1"),
        (b'{"name": "a", "parts": [{"side": "left"}]}', "parts[0].side", "invalid enum value 'left'"),
        (b'{"name": "a", "parts": [{"side": "` - at `$.x"}]}', "parts[0].side", "invalid enum value '` - at `$.x'"),
        (b'{"name": "a", "parts": [{"side": "debit", "number": 10}]}', "parts[0].number", "expected `int` <= 9"),
        (b'{"name": "a", "parts": [{"side": "debit", "number": -1}]}', "parts[0].number", "expected `int` >= 0"),
        (b'{"name": "a", "parts": [null]}', "parts[0]", "expected `object`, got `null`"),
        (b'{"name": "a", "pairs": {"k": 5}}', "pairs[...]", "expected `str | null`, got `int`"),
        (b'{"name": "a", "short_keys": {"abc": ""}}', "short_keys", "expected `str` of length <= 2"),
        (b"[]", None, "expected `object`, got `array`"),
    ],
)
def test_a_value_that_can_not_be_is_named_with_what_would_be_right(
    body: bytes, parameter: str | None, reason: str
) -> None:
    told = refusal(body)

    assert isinstance(told, ParameterInvalid), ADVICE
    assert (told.parameter, told.reason) == (parameter, f"is not as it should be: {reason}"), ADVICE


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "Input data was truncated"),
        (b'{"name": "a"} x', "JSON is malformed: trailing characters (byte 15)"),
        (b'{"name": "a\nb"}', "JSON is malformed: invalid character (byte 11)"),
        (b'{"name": "\\x"}', "JSON is malformed: invalid escape character in string (byte 12)"),
        (b'{"name": "\xff"}', "it is not UTF-8, or nested too deeply"),
    ],
)
def test_what_is_no_json_is_told_why(body: bytes, reason: str) -> None:
    told = refusal(body)

    assert isinstance(told, InvalidJson), ADVICE
    assert told.reason == reason, ADVICE


def test_a_body_that_is_nested_too_deeply_is_told_so() -> None:
    with pytest.raises(InvalidJson, match="nested too deeply"):
        BodyDecoder(dict[str, Any]).decode(b'{"a":' * 100_000)

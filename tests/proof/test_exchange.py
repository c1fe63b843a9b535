"""What leaves a server as lines of JSON comes back as the same canonical bytes, and nothing else comes in."""

import base64
import re
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.proof.exchange import (
    KIND_NAMES,
    MalformedLine,
    from_line,
    header_from_line,
    header_of,
    header_to_line,
    to_line,
)
from doppia.proof.records import AnyRecord, EntryRecord, canonical_bytes
from tests.proof.test_records import ACTOR, BY_TYPE, PINNED, RECORDED_AT, TRANSACTION

HEADER = header_of(UUID("0191e0f0-7c00-7abc-8def-000000000001"), 2**63 - 1, bytes(range(32)))

INTEGER_EXTREMES = (-(2**63), -(2**53) - 1, -1, 0, 1, 2**53 + 1, 2**63 - 1)
TEXT_EXTREMES = (
    "",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "e\u0301",  # the same to the eye as the next
    "\u00e9",
    "\ufb01\u212b",
    "\u0627\u202e\u2066",
    '\u2028\u2029\r\n\t\\"/',
    "\x00\x1f\x7f",
    "\ufeff\uffff\U0010ffff",
    str(10**36),
    "-" + "9" * 45,
)

_integers = st.sampled_from(INTEGER_EXTREMES) | st.integers(-(2**63), 2**63 - 1)
_texts = st.sampled_from(TEXT_EXTREMES) | st.text(max_size=12)
_metadata = st.dictionaries(_texts, _texts, max_size=4)
_any_bytes = st.binary(max_size=20)
_FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    int: _integers,
    int | None: st.none() | _integers,
    str: _texts,
    str | None: st.none() | _texts,
    bool: st.booleans(),
    bytes | None: st.none() | _any_bytes,
    dict[str, str]: _metadata,
    dict[str, str] | None: st.none() | _metadata,
    list[str]: st.lists(_texts, max_size=4),
    list[int]: st.lists(_integers, max_size=4),
}


def _any_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{field.name: _FIELDS[field.type] for field in msgspec.structs.fields(kind)})


_FIELDS[list[EntryRecord] | None] = st.none() | st.lists(_any_of(EntryRecord), max_size=3)


def _plain(record: AnyRecord) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(to_line(record))
    return plain


def test_every_type_of_field_that_a_record_has_is_tried() -> None:
    assert set(_FIELDS) == set(BY_TYPE)
    assert set(KIND_NAMES) == set(get_args(AnyRecord))


@pytest.mark.parametrize("kind", get_args(AnyRecord), ids=list(KIND_NAMES.values()))
@given(data=st.data())
def test_a_record_comes_back_from_its_line_with_the_same_canonical_bytes(kind: type[Any], data: st.DataObject) -> None:
    record = data.draw(_any_of(kind))
    line = to_line(record)
    assert b"\n" not in line
    assert canonical_bytes(from_line(line)) == canonical_bytes(record)
    assert to_line(from_line(line)) == line


@given(data=st.data())
def test_neither_the_order_of_keys_nor_spaces_nor_escapes_change_the_canonical_bytes(data: st.DataObject) -> None:
    record = data.draw(st.one_of([_any_of(kind) for kind in get_args(AnyRecord)]))
    shuffled = dict(data.draw(st.permutations(list(_plain(record).items()))))
    spaced = msgspec.json.format(msgspec.json.encode(shuffled), indent=2)
    assert canonical_bytes(from_line(spaced)) == canonical_bytes(record)
    escaped = "".join(character if character < "\x80" else _escape(character) for character in spaced.decode())
    assert canonical_bytes(from_line(escaped.encode())) == canonical_bytes(record)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


@pytest.mark.parametrize("text", TEXT_EXTREMES, ids=range(len(TEXT_EXTREMES)))
def test_texts_come_back_code_point_by_code_point(text: str) -> None:
    told = msgspec.structs.replace(TRANSACTION, description=text, metadata={text: text})
    read = from_line(to_line(told))
    assert read == told


def test_a_line_says_the_fields_by_name_and_its_kind_first() -> None:
    for record, _ in PINNED:
        plain = _plain(record)
        names = [field.name for field in msgspec.structs.fields(record)]
        assert list(plain) == ["kind", *names]
        assert plain["kind"] == KIND_NAMES[type(record)]
        assert plain["recorded_at"] == RECORDED_AT
        assert plain["actor"] in {None, base64.b64encode(ACTOR).decode()}
    entries = _plain(TRANSACTION)["entries"]
    assert [entry["amount"] for entry in entries] == [str(10**36)] * 2
    assert list(entries[0]) == ["account", "direction", "amount", "lock_version", "effective_at", "metadata"]


def test_the_keys_of_metadata_stand_in_order_whatever_order_they_came_in() -> None:
    told = [
        msgspec.structs.replace(TRANSACTION, metadata=metadata) for metadata in ({"b": "", "a": ""}, {"a": "", "b": ""})
    ]
    assert to_line(told[0]) == to_line(told[1])


MALFORMED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "Input data was truncated"),
    "cut off": (to_line(TRANSACTION)[:-1], "truncated"),
    "more than one": (to_line(TRANSACTION) * 2, "trailing characters"),
    "an object in an object in an object": (b'{"kind":' + b"[" * 100_000, "nested too deeply"),
    "no object": (b"[]", "Expected `object`"),
    "no kind": (b'{"sequence":1}', "missing required field `kind`"),
    "another kind": (to_line(TRANSACTION).replace(b'"kind":"transaction"', b'"kind":"wish"'), "kind: Invalid value"),
    "no field": (to_line(TRANSACTION).replace(b'"version":0,', b""), "missing required field `version`"),
    "another field": (to_line(TRANSACTION).replace(b'"version":0,', b'"version":0,"mood":1,'), "unknown field `mood`"),
    "a number for a text": (
        to_line(TRANSACTION).replace(b'"amount":"%d"' % 10**36, b'"amount":5', 1),
        re.escape("entries[0].amount: Expected `str`, got `int`"),
    ),
    "an integer without a place": (
        to_line(TRANSACTION).replace(b'"version":0', b'"version":%d' % 2**63),
        "version: Expected `int` <=",
    ),
    "an integer far from any place": (
        to_line(TRANSACTION).replace(b'"version":0', b'"version":' + b"1" * 4000),
        "version: ",
    ),
    "no whole number": (to_line(TRANSACTION).replace(b'"version":0', b'"version":0.5'), "version: Expected `int`"),
    "no base64": (to_line(TRANSACTION).replace(b'"actor":null', b'"actor":"!"'), "actor: Invalid base64"),
    "no UTF-8": (to_line(TRANSACTION).replace(b'"order"', b'"\xff"'), "not UTF-8"),
    "half a character": (to_line(TRANSACTION).replace(b'"order"', b'"\\ud800"'), "surrogate"),
}


@pytest.mark.parametrize(("line", "finding"), MALFORMED.values(), ids=MALFORMED)
def test_a_line_that_stands_for_no_record_is_refused_with_what_is_wrong(line: bytes, finding: str) -> None:
    with pytest.raises(MalformedLine, match=finding):
        from_line(line)


def test_a_header_comes_back_from_its_line() -> None:
    assert header_from_line(header_to_line(HEADER)) == HEADER
    assert list(msgspec.json.decode(header_to_line(HEADER))) == ["format", "version", "ledger_id", "records", "root"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "ledger"),
        ("version", 2),
        ("ledger_id", "7"),
        ("records", 0),
        ("records", 2**63),
        ("root", "AAAA"),
        ("root", None),
    ],
)
def test_a_header_of_another_kind_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    plain = msgspec.json.decode(header_to_line(HEADER))
    with pytest.raises(MalformedLine, match=f"^{field}: "):
        header_from_line(msgspec.json.encode({**plain, field: value}))

"""What leaves a server as lines of JSON comes back as the same canonical bytes, and nothing else comes in."""

import base64
import re
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.proof.exchange import (
    MalformedLine,
    from_line,
    header_from_line,
    header_of,
    header_to_line,
    to_line,
)
from doppia.proof.kinds import KINDS, Kind
from doppia.proof.records import EntryRecord, Record
from doppia.proof.sealing import FORMS, opened, seal, sealed
from tests.proof.test_records import (
    ACTOR,
    ANNOTATION,
    BY_TYPE,
    RECORDED_AT,
    RECORDS,
    TRANSACTION,
    any_of,
    as_written,
    in_order,
    salt,
)

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
    dict[int, int] | None: in_order(_integers),
    dict[int, dict[str, str]] | None: in_order(st.dictionaries(_texts, _texts, min_size=1, max_size=4)),
    list[str]: st.lists(_texts, max_size=4),
    list[int]: st.lists(_integers, max_size=4),
}
_FIELDS[list[EntryRecord] | None] = st.none() | st.lists(any_of(EntryRecord, _FIELDS), max_size=3)

WRITTEN = [as_written(record) for record in RECORDS]
LINE = to_line(as_written(TRANSACTION))


def _plain(record: Record) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(to_line(record))
    return plain


def test_every_type_of_field_that_a_record_has_is_tried() -> None:
    assert set(_FIELDS) == set(BY_TYPE)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(data=st.data())
def test_a_record_comes_back_from_its_line_with_the_same_bytes(kind: Kind, data: st.DataObject) -> None:
    payload, texts = seal(data.draw(any_of(kind.type, _FIELDS)), salt)
    record = opened(payload, texts)
    line = to_line(record)
    assert b"\n" not in line
    assert from_line(line) == record
    assert sealed(from_line(line)) == (payload, texts)
    assert to_line(from_line(line)) == line


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(data=st.data())
def test_a_record_whose_texts_were_erased_comes_back_with_the_same_payload(kind: Kind, data: st.DataObject) -> None:
    payload, _ = seal(data.draw(any_of(kind.type, _FIELDS)), salt)
    record = opened(payload, None)
    line = to_line(record)
    assert from_line(line) == record
    assert sealed(from_line(line)) == (payload, None)
    assert to_line(from_line(line)) == line
    assert b'"salt"' not in line


@given(data=st.data())
def test_neither_the_order_of_keys_nor_spaces_nor_escapes_change_the_bytes(data: st.DataObject) -> None:
    payload, texts = seal(data.draw(st.one_of([any_of(kind.type, _FIELDS) for kind in KINDS])), salt)
    shuffled = _shuffled(_plain(opened(payload, texts)), data)
    spaced = msgspec.json.format(msgspec.json.encode(shuffled), indent=2)
    assert sealed(from_line(spaced)) == (payload, texts)
    escaped = "".join(character if character < "\x80" else _escape(character) for character in spaced.decode())
    assert sealed(from_line(escaped.encode())) == (payload, texts)


def _shuffled(plain: Any, data: st.DataObject) -> Any:
    if not isinstance(plain, dict):
        return plain
    return {name: _shuffled(value, data) for name, value in data.draw(st.permutations(list(plain.items())))}


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


@pytest.mark.parametrize("text", TEXT_EXTREMES, ids=range(len(TEXT_EXTREMES)))
def test_texts_come_back_code_point_by_code_point(text: str) -> None:
    told = as_written(msgspec.structs.replace(TRANSACTION, description=text, metadata={text: text}))
    assert from_line(to_line(told)) == told


def test_a_line_says_the_figures_by_name_and_its_kind_first_and_leaves_out_what_is_nil() -> None:
    for record, kind in zip(WRITTEN, KINDS, strict=True):
        plain = _plain(record)
        required = {field.name for field in msgspec.structs.fields(kind.type) if field.required}
        figures = FORMS[kind.type].figures
        assert list(plain) == [
            "kind", *(name for name in figures if name in required or getattr(record, name) is not None)
        ]  # fmt: skip
        assert plain["kind"] == kind.name
        assert plain["recorded_at"] == RECORDED_AT
        assert plain["actor"] in {None, base64.b64encode(ACTOR).decode()}
    entries = _plain(WRITTEN[2])["entries"]
    assert [entry["amount"] for entry in entries] == [str(10**36)] * 2
    assert list(entries[0]) == ["account", "direction", "amount", "lock_version"]


def test_a_line_says_texts_by_name_with_their_salt_and_once_they_are_erased_the_commitment_alone() -> None:
    written = as_written(TRANSACTION)
    plain = _plain(written)
    assert plain["texts"] == {"salt": base64.b64encode(salt()).decode(), "metadata": {"order": "9"}}
    assert plain["entry_texts"] == {"2": {"salt": base64.b64encode(salt()).decode(), "metadata": {"line": "2"}}}
    assert plain["effective_times"] == {"2": RECORDED_AT - 5}
    plain = _plain(opened(seal(TRANSACTION, salt)[0], None))
    assert plain["texts"] == {"commitment": base64.b64encode(written.texts).decode()}
    assert plain["entry_texts"] == {"2": {"commitment": base64.b64encode(written.entry_texts[2]).decode()}}


def test_the_keys_of_metadata_stand_in_order_whatever_order_they_came_in() -> None:
    told = [
        as_written(msgspec.structs.replace(TRANSACTION, metadata=metadata))
        for metadata in ({"b": "", "a": ""}, {"a": "", "b": ""})
    ]
    assert to_line(told[0]) == to_line(told[1])


def _with_texts(**texts: object) -> bytes:
    return msgspec.json.encode({**_plain(as_written(ANNOTATION)), "texts": texts})


MALFORMED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "Input data was truncated"),
    "cut off": (LINE[:-1], "truncated"),
    "more than one": (LINE * 2, "trailing characters"),
    "an object in an object in an object": (b'{"kind":' + b"[" * 100_000, "nested too deeply"),
    "no object": (b"[]", "Expected `object`"),
    "no kind": (b'{"sequence":1}', "missing required field `kind`"),
    "another kind": (LINE.replace(b'"kind":"transaction"', b'"kind":"wish"'), "kind: Invalid value"),
    "no field": (LINE.replace(b'"version":0,', b""), "missing required field `version`"),
    "another field": (LINE.replace(b'"version":0,', b'"version":0,"mood":1,'), "unknown field `mood`"),
    "a number for a text": (
        LINE.replace(b'"amount":"%d"' % 10**36, b'"amount":5', 1),
        re.escape("entries[0].amount: Expected `str`, got `int`"),
    ),
    "an integer without a place": (
        LINE.replace(b'"version":0', b'"version":%d' % 2**63),
        "version: Expected `int` <=",
    ),
    "an integer far from any place": (
        LINE.replace(b'"version":0', b'"version":' + b"1" * 4000),
        "version: ",
    ),
    "neither texts nor a commitment": (_with_texts(), "^texts: there is a salt with texts, or else the commitment"),
    "both texts and a commitment": (
        _with_texts(salt=bytes(16), metadata={"a": "b"}, commitment=bytes(32)),
        "^texts: there is a salt with texts",
    ),
    "texts without a salt": (_with_texts(metadata={"a": "b"}, commitment=bytes(32)), "^texts: there is a salt"),
    "a salt without texts": (_with_texts(salt=bytes(16), metadata={}), "^texts: there is a salt with texts"),
    "a salt that is too short": (_with_texts(salt=bytes(15), metadata={"a": "b"}), "^texts.salt: Expected `bytes`"),
    "a commitment that is too long": (_with_texts(commitment=bytes(33)), "^texts.commitment: Expected `bytes`"),
    "a text that the kind has not": (_with_texts(salt=bytes(16), name="a"), "texts: .* unknown field `name`"),
    "texts of an entry without a salt": (
        LINE.replace(b'"entry_texts":{"2":{', b'"entry_texts":{"2":{},"1":{'),
        "^entry_texts.2: there is a salt",
    ),
    "an ordinal that is none": (LINE.replace(b'"entry_texts":{"2"', b'"entry_texts":{"x"'), "entry_texts"),
    "a time by an ordinal without a place": (
        LINE.replace(b'"effective_times":{"2"', b'"effective_times":{"%d"' % 2**63),
        "effective_times",
    ),
    "no whole number": (LINE.replace(b'"version":0', b'"version":0.5'), "version: Expected `int`"),
    "no base64": (LINE.replace(b'"actor":null', b'"actor":"!"'), "actor: Invalid base64"),
    "no UTF-8": (LINE.replace(b'"order"', b'"\xff"'), "not UTF-8"),
    "half a character": (LINE.replace(b'"order"', b'"\\ud800"'), "surrogate"),
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

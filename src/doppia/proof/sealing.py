"""Records as bytes: the figures of each in canonical form, its texts in blocks beside them, and back.

The payload of a record is its figures: one MessagePack array of the kind and the fields in order, cut behind the last
that is not nil. Every value takes its shortest form, times are microseconds since 1970 in UTC, amounts are decimal
text, for they outgrow 64 bits, and maps stand in ascending order of their keys. MessagePack prefixes every text, array
and map with its length, so no two records share a payload. The payload is the leaf of the tree over the log.

A block is what can be erased by itself: 16 random bytes, the salt, and the MessagePack array of some texts, cut behind
the last that is there. The payload commits to it by its SHA-256; without the salt, nobody can tell from that hash
whether a text was the one that he guesses. Block 0 holds the texts of the record itself, block n the metadata of its
n-th entry. The blocks of a record are one MessagePack map from ordinals to bytes, in ascending order; it is no part of
the leaf.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from operator import attrgetter, or_
from typing import Any, Final, TypeAlias

import msgspec

from doppia.proof.kinds import BY_NUMBER, KINDS, Kind

SALT_BYTES: Final = 16
OWN: Final = 0
"""The ordinal of the block that holds the texts of the record itself."""

REDACTED: Final = "[redacted]"
"""This is read in the place of a text that was erased."""

ERASED_METADATA: Final = {"redacted": REDACTED}

_EMPTY_BLOCK_BYTES: Final = SALT_BYTES + 1
"""Of a block without texts: their array takes one byte."""

_SHORT_ARRAY_MAX: Final = 15
"""An array of more elements has a header of three bytes, one of fewer a header of one."""

_METADATA: Final = dict[str, str]


class MalformedRecord(ValueError):
    """Bytes are no record in canonical form, or its texts are not those that it commits to; the sentence says which."""


Sealed: TypeAlias = tuple[bytes, bytes | None]
"""A record as the log holds it: its payload, and its blocks as one map; None where it has none, or none is left."""


@dataclass(frozen=True, slots=True)
class Form:
    """How records of a kind become bytes.

    Attributes:
        figures: names of the fields in the payload, in order.
        figures_of: returns their values.
        usual_of: returns the values of those before the commitment to texts; of most records the others are nil.
        rest_of: returns what follows the usual figures, but for the salts.
        no_rest: what `rest_of` returns where there is nothing more.
        texts_of: returns the record's own texts.
        no_texts: what `texts_of` returns where there are none.
        own: place of the commitment to these among the figures; None where records of the kind have no texts.
        entries: place of the commitments to the metadata of entries; None where records of the kind have no entries.
        usual: what a payload begins with that has the usual figures alone.
        longest: a payload that has more elements than its kind has fields sorts behind these bytes.
        erased: what is read in the place of the record's own texts.
        decode: returns the record's own texts from the array in their block.
    """

    kind: Kind
    figures: tuple[str, ...]
    figures_of: Callable[[Any], tuple[Any, ...]]
    usual_of: Callable[[Any], tuple[Any, ...]]
    rest_of: Callable[[Any], tuple[Any, ...]]
    no_rest: tuple[Any, ...]
    texts_of: Callable[[Any], tuple[Any, ...]]
    no_texts: tuple[Any, ...]
    own: int | None
    entries: int | None
    usual: bytes
    longest: bytes
    erased: Mapping[str, Any]
    decode: Callable[[bytes], dict[str, Any]]


def _form(kind: Kind) -> Form:
    types = {field.name: field.type for field in msgspec.structs.fields(kind.type)}
    figures = tuple(name for name in types if name not in (*kind.texts, "entry_metadata", "salts"))
    assert figures == tuple(types)[: len(figures)], "the figures of a record come first"
    own = figures.index("texts") if kind.texts else None
    usual = figures[:own]
    rest = tuple(name for name in types if name not in (*usual, "salts"))
    return Form(
        kind=kind,
        figures=figures,
        figures_of=_values(figures),
        usual_of=_values(usual),
        rest_of=_values(rest),
        no_rest=tuple(_nothing(types[name]) for name in rest),
        texts_of=_values(kind.texts),
        no_texts=tuple(_nothing(types[name]) for name in kind.texts),
        own=own,
        entries=figures.index("entry_texts") if "entry_texts" in figures else None,
        usual=_header(len(usual) + 1),
        longest=_header(len(figures) + 1) + b"\xff\xff",
        erased={name: _erased(name, types[name]) for name in kind.texts},
        decode=_texts_decoder([(name, types[name], _default(kind, name)) for name in kind.texts]),
    )


def _header(elements: int) -> bytes:
    """Return the bytes with which an array of so many elements begins."""
    return bytes([0x90 | elements] if elements <= _SHORT_ARRAY_MAX else [0xDC, 0, elements])


def _values(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what returns the values of these fields of a record."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda record: tuple(getattr(record, name) for name in names)


def _default(kind: Kind, name: str) -> Any:
    """Return what a text is in a record that has none."""
    (field,) = [field for field in msgspec.structs.fields(kind.type) if field.name == name]
    return {} if field.type == _METADATA else field.default


def _nothing(type_: Any) -> Any:
    return {} if type_ == _METADATA else None


def _erased(name: str, type_: Any) -> Any:
    if type_ == _METADATA:
        return ERASED_METADATA
    # No two objects have the same external id, so one that is erased reads as none.
    return None if name == "external_id" else REDACTED


def _texts_decoder(texts: Sequence[tuple[str, Any, Any]]) -> Callable[[bytes], dict[str, Any]]:
    """Return what reads an array of texts; those that it does not reach are what they are in a record without any."""
    decode = msgspec.msgpack.Decoder(
        msgspec.defstruct("Texts", texts, array_like=True, forbid_unknown_fields=True)
    ).decode
    return lambda array: msgspec.structs.asdict(decode(array))


FORMS: Final[Mapping[Any, Form]] = {kind.type: _form(kind) for kind in KINDS}

_encode: Final = msgspec.msgpack.Encoder().encode
_encode_texts: Final = msgspec.msgpack.Encoder(order="sorted").encode
_decode: Final[Callable[[bytes], Any]] = msgspec.msgpack.Decoder(reduce(or_, FORMS)).decode
_decode_blocks: Final = msgspec.msgpack.Decoder(dict[int, bytes]).decode
_decode_metadata: Final = _texts_decoder([("metadata", _METADATA, {})])


def block_of(salt: bytes, texts: Sequence[Any]) -> bytes:
    """Return the block of some texts; None and empty metadata are none, and at the end are left out."""
    end = len(texts)
    while end and not texts[end - 1] and texts[end - 1] != "":
        end -= 1
    return salt + _encode_texts(texts[:end])


def commitment_to(block: bytes) -> bytes:
    """Return the hash by which a payload commits to a block."""
    return sha256(block).digest()


def seal(record: Any, new_salt: Callable[[], bytes]) -> Sealed:
    """Return what the log will hold of a new record, which commits to nothing yet.

    Args:
        record: what is to be written.
        new_salt: returns 16 random bytes; called once for each block.
    """
    form = FORMS[type(record)]
    if form.rest_of(record) == form.no_rest:
        return _payload(form.kind, form.usual_of(record)), None
    figures = [*form.figures_of(record)]
    blocks: dict[int, bytes] = {}
    texts = form.texts_of(record)
    if texts != form.no_texts:
        assert form.own is not None, "it has texts"
        blocks[OWN] = block_of(new_salt(), texts)
        figures[form.own] = commitment_to(blocks[OWN])
    if form.entries is not None and record.entry_metadata is not None:
        metadata = record.entry_metadata
        of_entries = {ordinal: block_of(new_salt(), [metadata[ordinal]]) for ordinal in sorted(metadata)}
        figures[form.entries] = {ordinal: commitment_to(block) for ordinal, block in of_entries.items()}
        blocks |= of_entries
    return _payload(form.kind, figures), _encode(blocks) if blocks else None


def _payload(kind: Kind, figures: Sequence[Any]) -> bytes:
    if figures[-1] is None:
        end = len(figures) - 1
        while figures[end - 1] is None:
            end -= 1
        figures = figures[:end]
    return _encode((kind.number, *figures))


def payload_of(record: Any) -> bytes:
    """Return the payload of a record that commits to its texts already, as one that was read does."""
    form = FORMS[type(record)]
    return _payload(form.kind, form.figures_of(record))


def sealed(record: Any) -> Sealed:
    """Return what the log holds of a record that commits to its texts already."""
    blocks = blocks_of(record)
    return payload_of(record), _encode(blocks) if blocks else None


def blocks_of(record: Any) -> dict[int, bytes]:
    """Return the blocks of a record that are there, by ordinal."""
    form = FORMS[type(record)]
    salts: Mapping[int, bytes] = (None if form.own is None else record.salts) or {}
    return {
        ordinal: block_of(salt, form.texts_of(record) if ordinal == OWN else [record.entry_metadata[ordinal]])
        for ordinal, salt in salts.items()
    }


def opened(payload: bytes, texts: bytes | None) -> Any:
    """Return the record that the log holds so; where a block is gone, its texts read as erased.

    Raises:
        MalformedRecord: it is none.
    """
    try:
        record = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedRecord(_too_long(payload) or f"its payload is no record: {error}") from None
    form = FORMS[type(record)]
    if texts is None and payload.startswith(form.usual):
        return record
    if payload > form.longest:
        raise MalformedRecord(_too_long(payload) or "its payload is not in canonical bytes")
    if texts is None and (
        form.own is None or (record.texts is None and (form.entries is None or record.entry_texts is None))
    ):
        return record
    return _with_texts(record, form, texts)


def _too_long(payload: bytes) -> str | None:
    """Say that a payload has more fields than its kind has here, if that is so."""
    try:
        plain = msgspec.msgpack.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    kind = BY_NUMBER.get(plain[0]) if isinstance(plain, list) and plain and isinstance(plain[0], int) else None
    elements = 0 if kind is None else len(FORMS[kind.type].figures) + 1
    if kind is None or len(plain) <= elements:
        return None
    return f"its payload has {len(plain)} elements, and this program knows {elements} of kind {kind.number}"


def _with_texts(record: Any, form: Form, texts: bytes | None) -> Any:
    """Return a record with the texts of its blocks, and with what stands for those that are gone."""
    try:
        blocks = {} if texts is None else _decode_blocks(texts)
        told: dict[str, Any] = {}
        salts: dict[int, bytes] = {}
        if form.own is not None and record.texts is not None:
            block = blocks.pop(OWN, None)
            if block is None:
                told |= form.erased
            else:
                salts[OWN] = block[:SALT_BYTES]
                told |= form.decode(block[SALT_BYTES:])
        if form.entries is not None and record.entry_texts is not None:
            told["entry_metadata"] = metadata = {}
            for ordinal in record.entry_texts:
                block = blocks.pop(ordinal, None)
                if block is None:
                    metadata[ordinal] = ERASED_METADATA
                else:
                    salts[ordinal] = block[:SALT_BYTES]
                    metadata[ordinal] = _decode_metadata(block[SALT_BYTES:])["metadata"]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedRecord(f"its texts can't be read: {error}") from None
    if blocks:
        raise MalformedRecord(f"it has a block of texts with the ordinal {min(blocks)}, and does not commit to it")
    return msgspec.structs.replace(record, salts=salts, **told) if salts or told else record


def check_canonical(record: Any, payload: bytes, texts: bytes | None) -> None:
    """Ask that a record which was opened from these bytes can have no others, and has the texts that it commits to.

    Raises:
        MalformedRecord: the first of these that is not so.
    """
    form = FORMS[type(record)]
    # An array of that length has nothing behind them, and most have it.
    figures = form.usual_of if payload.startswith(form.usual) else form.figures_of
    if _payload(form.kind, figures(record)) != payload:
        raise MalformedRecord("its payload is not in canonical bytes")
    if texts is None:
        return
    blocks = blocks_of(record)
    for ordinal, block in blocks.items():
        committed = record.texts if ordinal == OWN else record.entry_texts[ordinal]
        if commitment_to(block) != committed:
            whose = "its texts are" if ordinal == OWN else f"the metadata of its entry {ordinal} is"
            raise MalformedRecord(f"{whose} not what it commits to")
        if len(block) == _EMPTY_BLOCK_BYTES:
            raise MalformedRecord("it commits to texts, and its block has none")
    if not blocks or _encode(blocks) != texts:
        raise MalformedRecord("its texts are not in canonical bytes")

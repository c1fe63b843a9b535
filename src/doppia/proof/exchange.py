"""Records as lines of JSON, in which a ledger leaves one server and comes to another.

An export is a header on a line of its own, then a line per record of the log, in order. A line has the names of the
fields where the canonical bytes have their places, and says the same: times are microseconds, amounts are text, bytes
are base64, and what is nil is left out. Where the bytes commit to texts, the line has these with their salt, and once
they were erased the commitment alone. So the canonical bytes, and with them the hashes, follow from the lines; neither
the order of the keys in a line nor the spaces between them matter.
"""

import operator
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec

from doppia.proof.records import EntryRecord
from doppia.proof.sealing import ERASED_METADATA, FORMS, OWN, SALT_BYTES, Form, block_of, commitment_to
from doppia.proof.tree import HASH_BYTES

LINE_BYTES_MAX: Final = 80_000_000
"""Of a line with its end.

A record says what one request did: at most 25 million bytes of JSON, the largest body that is taken, besides what was
there before, which is 660,000 bytes of metadata at most, and 500 bytes for each of 1,000 entries that no request need
say. Whoever writes all that is not ASCII in escapes takes up to three times as many. Longer is only what is written
again after its entries were annotated one by one with far more than a request could have said; no export has that.
"""

_FORMAT: Final = "doppia-ledger"
_VERSION: Final = 1


class MalformedLine(ValueError):
    """A line is no header and no record; the text says what is wrong with it, and in which field."""


class UnreadableFile(ValueError):
    """A file has no next line that could be read; the text says why, and where."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an export begins with.

    Attributes:
        ledger_id: as the API shows it.
        records: how many lines follow.
        root: of the tree over all of them.
    """

    format: Literal["doppia-ledger"]
    version: Literal[1]
    ledger_id: UUID
    records: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    root: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


def header_of(ledger_id: UUID, records: int, root: bytes) -> Header:
    """Return the header of an export."""
    return Header(_FORMAT, _VERSION, ledger_id, records, root)


class _Beginning(msgspec.Struct, frozen=True):
    """What a header of any version has."""

    format: str = ""
    version: int = 0


# What one field may hold; canonical bytes have no place for larger integers.
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Salt = Annotated[bytes, msgspec.Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
_Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


def _named(name: str, fields: Iterable[Any], kind: str | None = None) -> Any:
    """Return a struct whose fields are told by name; one that is nil by default is left out where it is."""
    return msgspec.defstruct(
        name, fields, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag=kind,
        tag_field="kind" if kind else None,
    )  # fmt: skip


def _texts(fields: Iterable[tuple[str, Any]]) -> Any:
    """Return how texts are told: with their salt, or once they are erased, as the hash that the record commits to."""
    optional = [("salt", _Salt), ("commitment", _Hash), *fields]
    return _named("Texts", [(name, type_ | None, None) for name, type_ in optional])


_Entry: Final[Any] = _named(
    "Entry", [("account", _Integer), ("direction", _Integer), ("amount", str), ("lock_version", _Integer | None)]
)
_EntryTexts: Final[Any] = _texts([("metadata", dict[str, str])])
_TYPES: Final[dict[Any, Any]] = {
    int: _Integer,
    int | None: _Integer | None,
    list[int]: list[_Integer],
    dict[int, int] | None: dict[_Integer, _Integer] | None,
    dict[int, bytes] | None: dict[_Integer, _EntryTexts] | None,
    list[EntryRecord] | None: list[_Entry] | None,
}


class _Line(NamedTuple):
    """How records of a kind are told as lines: the form of their bytes, that of the line, and that of their texts."""

    form: Form
    line: Any
    texts: Any


def _line_of(form: Form) -> _Line:
    found = {field.name: field for field in msgspec.structs.fields(form.kind.type)}
    texts = _texts([(name, found[name].type) for name in form.kind.texts])
    types = {name: texts | None if name == "texts" else _TYPES.get(f.type, f.type) for name, f in found.items()}
    fields = [(name, types[name], *(() if found[name].required else (None,))) for name in form.figures]
    return _Line(form, _named(form.kind.type.__name__, fields, form.kind.name), texts)


_LINES: Final[dict[Any, _Line]] = {type_: _line_of(form) for type_, form in FORMS.items()}
_FORMS: Final[dict[Any, Form]] = {told.line: told.form for told in _LINES.values()}

_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(reduce(operator.or_, _FORMS))
_header_decoder: Final = msgspec.json.Decoder(Header)
_beginning_decoder: Final = msgspec.json.Decoder(_Beginning)


def to_line(record: Any) -> bytes:
    """Return the line that stands in an export for a record that commits to its texts, without its end."""
    form, line, texts = _LINES[type(record)]
    told = dict(zip(form.figures, form.figures_of(record), strict=True))
    if told.get("entries") is not None:
        told["entries"] = [_Entry(**msgspec.structs.asdict(entry)) for entry in told["entries"]]
    if told.get("texts") is not None:
        own = zip(form.kind.texts, form.texts_of(record), strict=True)
        told["texts"] = _told(texts, record.salts.get(OWN), told["texts"], own)
    if told.get("entry_texts") is not None:
        told["entry_texts"] = {
            ordinal: _told(
                _EntryTexts, record.salts.get(ordinal), hash_, [("metadata", record.entry_metadata[ordinal])]
            )
            for ordinal, hash_ in told["entry_texts"].items()
        }
    return _encoder.encode(line(**told))


def _told(type_: Any, salt: bytes | None, commitment: bytes, texts: Iterable[tuple[str, Any]]) -> Any:
    if salt is None:
        return type_(commitment=commitment)
    # The keys of metadata stand in one order, whatever order they came in.
    in_order = {name: dict(sorted(text.items())) if isinstance(text, dict) else text for name, text in texts}
    return type_(salt=salt, **{name: None if text == {} else text for name, text in in_order.items()})


def from_line(line: bytes) -> Any:
    """Return the record that a line stands for, with the commitments that follow from it.

    Raises:
        MalformedLine: it stands for none.
    """
    told = _read(_decoder, line)
    form = _FORMS[type(told)]
    # The keys of a map have one order in the bytes, and any in the line.
    fields: dict[str, Any] = {
        name: dict(sorted(value.items())) if isinstance(value, dict) else value
        for name, value in zip(form.figures, form.figures_of(told), strict=True)
    }
    salts: dict[int, bytes] = {}
    if fields.get("entries") is not None:
        fields["entries"] = [EntryRecord(e.account, e.direction, e.amount, e.lock_version) for e in told.entries]
    if fields.get("texts") is not None:
        read, fields["texts"] = _read_texts(told.texts, form.kind.texts, OWN, salts, "texts")
        fields |= form.erased if read is None else read
    if fields.get("entry_texts") is not None:
        metadata = fields["entry_metadata"] = {}
        for ordinal, of_entry in fields["entry_texts"].items():
            where = f"entry_texts.{ordinal}"
            read, fields["entry_texts"][ordinal] = _read_texts(of_entry, ("metadata",), ordinal, salts, where)
            metadata |= {ordinal: ERASED_METADATA if read is None else read["metadata"]}
    if fields.get("texts") is not None or fields.get("entry_texts") is not None:
        fields["salts"] = salts
    return form.kind.type(**fields)


def _read_texts(
    told: Any, names: Sequence[str], ordinal: int, salts: dict[int, bytes], where: str
) -> tuple[dict[str, Any] | None, bytes]:
    """Return the texts of a block, None where they were erased, and the commitment to it; note its salt.

    Raises:
        MalformedLine: it has neither, or both.
    """
    texts = {name: text for name in names if (text := getattr(told, name)) not in (None, {})}
    if (told.salt is None) == (told.commitment is None) or (told.salt is None) == bool(texts):
        raise MalformedLine(f"{where}: there is a salt with texts, or else the commitment to those that were erased")
    if told.salt is None:
        return None, told.commitment
    salts[ordinal] = told.salt
    in_order = [texts.get(name, {} if name == "metadata" else None) for name in names]
    return texts, commitment_to(block_of(told.salt, in_order))


def header_to_line(header: Header) -> bytes:
    """Return the line that an export begins with, without its end."""
    return _encoder.encode(header)


def header_from_line(line: bytes) -> Header:
    """Return the header that a line stands for.

    Raises:
        MalformedLine: it stands for none, or for one of another version.
    """
    beginning = _read(_beginning_decoder, line)
    if beginning.format != _FORMAT:
        raise MalformedLine(f"format: it is no {_FORMAT}, and so no export of ours")
    if beginning.version != _VERSION:
        raise MalformedLine(
            f"version: it is {beginning.version}, and this program reads {_VERSION}: take the one that wrote it"
        )
    header: Header = _read(_header_decoder, line)
    return header


def _read(decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:
    try:
        return decoder.decode(line)
    except UnicodeDecodeError as error:
        raise MalformedLine("It has a text that is not UTF-8") from error
    except RecursionError as error:
        raise MalformedLine("It is nested too deeply") from error
    except msgspec.DecodeError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise MalformedLine(f"{where.rstrip('`')}: {what}" if where else what) from error

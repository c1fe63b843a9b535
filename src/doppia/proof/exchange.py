"""Records as lines of JSON, in which a ledger leaves one server and comes to another.

An export is a header on a line of its own, then a line per record of the log, in order. A line has the names of the
fields where the canonical bytes have their places, and says the same: times are microseconds, amounts are text, bytes
are base64. So the canonical bytes, and with them the hashes, follow from the lines; neither the order of the keys in a
line nor the spaces between them matter.
"""

import operator
from functools import reduce
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

from doppia.proof.records import (
    AccountCategories,
    AccountWritten,
    AnyRecord,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    EntryRecord,
    LedgerWritten,
    MonitorWritten,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
    TransactionWritten,
)

KIND_NAMES: Final[dict[type[AnyRecord], str]] = {
    LedgerWritten: "ledger",
    AccountWritten: "account",
    TransactionWritten: "transaction",
    EntryAnnotated: "entry",
    CategoryWritten: "category",
    AccountCategories: "account_categories",
    CategoryParents: "category_parents",
    MonitorWritten: "monitor",
    StatementWritten: "statement",
    SettlementWritten: "settlement",
    SettledEntries: "settled_entries",
}
"""What each kind of record is called in a line."""

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


def _named(record: type[Any], others: dict[Any, Any], kind: str | None = None) -> type[msgspec.Struct]:
    """Return a struct with the fields of a record, by name instead of by place."""
    fields = [(field.name, others.get(field.type, field.type)) for field in msgspec.structs.fields(record)]
    tag_field = "kind" if kind else None
    return msgspec.defstruct(
        record.__name__, fields, frozen=True, forbid_unknown_fields=True, tag=kind, tag_field=tag_field
    )


_INTEGERS: Final[dict[Any, Any]] = {int: _Integer, int | None: _Integer | None, list[int]: list[_Integer]}
_Entry: Final[Any] = _named(EntryRecord, _INTEGERS)
_FIELDS: Final[dict[Any, Any]] = {**_INTEGERS, list[EntryRecord] | None: list[_Entry] | None}
_LINES: Final[dict[type[Any], Any]] = {record: _named(record, _FIELDS, name) for record, name in KIND_NAMES.items()}
_RECORDS: Final[dict[Any, Any]] = {line: record for record, line in _LINES.items()}

_encoder: Final = msgspec.json.Encoder(order="deterministic")
_decoder: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(reduce(operator.or_, _RECORDS))
_header_decoder: Final = msgspec.json.Decoder(Header)
_beginning_decoder: Final = msgspec.json.Decoder(_Beginning)


def to_line(record: AnyRecord) -> bytes:
    """Return the line that stands for the record in an export, without its end."""
    return _encoder.encode(msgspec.convert(record, _LINES[type(record)], from_attributes=True))


def from_line(line: bytes) -> AnyRecord:
    """Return the record that a line stands for.

    Raises:
        MalformedLine: it stands for none.
    """
    told = _read(_decoder, line)
    record: AnyRecord = msgspec.convert(told, _RECORDS[type(told)], from_attributes=True)
    return record


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

"""The queries of lists: how parameters are written and read, and cursors.

What a list may be asked for stands in the store, a row for each parameter; here is how each type of value is written
and read. A cursor holds a digest of the list it belongs to and the place of the page's last row. Used with other
filters it is refused, never silently wrong.
"""

import base64
import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec

from doppia.accounting.errors import InvalidCursor, ObjectNotFound, ParameterInvalid, ParameterUnknown
from doppia.accounting.ids import ORDINAL_BITS, Id, is_uuid
from doppia.accounting.money import BOUND_MAX
from doppia.accounting.texts import check_text
from doppia.api.http.wire import LOCK_VERSION_MAX, parse_date, parse_object_id, parse_time
from doppia.proof.records import microseconds, moment
from doppia.store.database.listing import Filter, Place
from doppia.store.database.parameters import Parameter, Type

PER_PAGE_DEFAULT: Final = 25
PER_PAGE_MAX: Final = 100
QUERY_FIELDS_MAX: Final = 400


class ListQuery(NamedTuple):
    """A list that was asked for.

    Attributes:
        filters: the conditions on its rows, for the store.
        values: the values of parameters without a comparison, by name, as they were read.
        compared: the parameters with a comparison that are no conditions on rows.
    """

    filters: list[Filter]
    values: dict[str, Any]
    compared: list[Filter]
    after: Place | None
    per_page: int
    digest: bytes


class Kind(NamedTuple):
    """How a parameter is written: how a value is read, and which of the forms NAME, NAME[], NAME[x] it takes.

    Attributes:
        read: takes text and parameter and returns a value, or raises.
        many: whether it may be repeated, as NAME[] or NAME; the value is then a list.
        comparisons: the comparisons that it takes as NAME[comparison].
        schema: the schema of one value, for the OpenAPI document.
        schemas: the schemas of a value by comparison, where they differ.
        conditions: the names of the store's conditions that it stands for.
    """

    read: Callable[[str, str], Any]
    many: bool = False
    comparisons: tuple[str, ...] = ()
    schema: Mapping[str, Any] = {"type": "string"}
    schemas: Mapping[str, Mapping[str, Any]] = {}
    conditions: tuple[str, ...] = ()


def _text(text: str, parameter: str) -> str:
    return check_text(text, parameter)


def _integer(text: str, parameter: str) -> int:
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= len(str(BOUND_MAX)):
        number = int(text)
        if abs(number) <= BOUND_MAX:
            return number
    raise ParameterInvalid(parameter=parameter, reason="must be a whole number from -10^45 to 10^45")


def _version(text: str, parameter: str) -> int:
    number = _integer(text, parameter)
    if not 0 <= number <= LOCK_VERSION_MAX:
        raise ParameterInvalid(parameter=parameter, reason="must be a version, a whole number from 0")
    return number


def _boolean(text: str, parameter: str) -> bool:
    if text not in {"true", "false"}:
        raise ParameterInvalid(parameter=parameter, reason="must be true or false")
    return text == "true"


def _day(text: str, parameter: str) -> date:
    """Read a day. Clients that take dates and times alike send a time, which stands for its day in UTC."""
    try:
        return parse_time(text, parameter).date()
    except ParameterInvalid:
        return parse_date(text, parameter)


def _uuid(text: str, parameter: str) -> UUID:
    if not is_uuid(text):
        raise ParameterInvalid(parameter=parameter, reason="must be a UUID")
    return UUID(text)


def _words(*allowed: str) -> Kind:
    """Return the kind of parameter that is one of these words."""

    def read(text: str, parameter: str) -> str:
        if text not in allowed:
            raise ParameterInvalid(parameter=parameter, reason=f"must be one of {', '.join(allowed)}")
        return text

    return Kind(read, schema={"type": "string", "enum": list(allowed)})


def id_kind(*objects: str) -> Kind:
    """Return the kind of parameter that is the id of an object of one of these types."""

    def read(text: str, parameter: str) -> Id:
        for object_ in objects:
            try:
                return parse_object_id(text, object_, parameter)
            except ObjectNotFound:
                if not is_uuid(text):
                    raise ParameterInvalid(parameter=parameter, reason="must be a UUID") from None
        return _NO_ID

    return Kind(read, schema=UUID_SCHEMA)


_NO_ID: Final = Id(0, 0, 0, 0)
"""Stands for a UUID that no object of the kind asked for can have; no organization owns ledger 0."""


UUID_SCHEMA: Final = {"type": "string", "format": "uuid"}

TEXT: Final = Kind(_text)
BOOLEAN: Final = Kind(_boolean, schema={"type": "boolean"})
AMOUNT: Final = Kind(_integer, schema={"type": "integer", "minimum": -BOUND_MAX, "maximum": BOUND_MAX})
VERSION: Final = Kind(_version, schema={"type": "integer", "minimum": 0, "maximum": LOCK_VERSION_MAX})
TIME: Final = Kind(parse_time, schema={"type": "string", "format": "date-time"})
DATE: Final = Kind(_day, schema={"type": "string", "format": "date"})
METADATA: Final = Kind(_text, conditions=("metadata",))

_KINDS: Final = {
    Type.TEXT: TEXT,
    Type.UUID: Kind(_uuid, schema=UUID_SCHEMA),
    Type.BOOLEAN: BOOLEAN,
    Type.AMOUNT: AMOUNT,
    Type.VERSION: VERSION,
    Type.TIME: TIME,
    Type.DATE: DATE,
}


def kinds_of(parameters: Iterable[Parameter], balances: Kind | None = None) -> dict[str, Kind]:
    """Return how a list's parameters are written, by name; `balances` says it of the balances of other times."""
    kinds = {}
    for row in parameters:
        if row.value is None:
            continue
        match row.value.type:
            case Type.METADATA:
                kinds[row.name] = METADATA
                continue
            case Type.BALANCES:
                assert balances is not None, "a list with balances of other times says how they are written"
                kinds[row.name] = balances
                continue
            case Type.WORD:
                kind = _words(*row.value.names)
            case Type.ID:
                kind = id_kind(*row.value.names)
            case other:
                kind = _KINDS[other]
        kinds[row.name] = kind._replace(
            many=row.value.many, comparisons=row.value.comparisons, conditions=row.condition_names()
        )
    return kinds


def parse_query(query_string: bytes) -> list[tuple[str, str]]:
    """Return names and values of a query string, in order.

    Raises:
        ParameterInvalid: it can't be read.
    """
    try:
        return parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX
        )
    except ValueError:
        raise ParameterInvalid(
            parameter="query", reason=f"must be UTF-8, percent-encoded, with at most {QUERY_FIELDS_MAX} parameters"
        ) from None


def parse_list(query_string: bytes, route: str, kinds: Mapping[str, Kind], *, paged: bool = True) -> ListQuery:
    """Read a list's query, or with `paged` False the parameters of another route.

    Args:
        query_string: as it came.
        route: name of the list, so that a cursor of another one is not taken for its own.
        kinds: the filters it has.
        paged: whether it takes per_page and after_cursor.

    Raises:
        ParameterUnknown: a parameter that it does not have.
        ParameterInvalid, InvalidText, ObjectNotFound: a value that can't be.
        InvalidCursor: a cursor that is not of this list.
    """
    values: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    compared: list[Filter] = []
    cursor, per_page = None, PER_PAGE_DEFAULT
    plain = []
    for name, text in parse_query(query_string):
        if paged and name == "after_cursor":
            cursor = text
            continue
        if paged and name == "per_page":
            per_page = _per_page(text)
            continue
        plain.append((name, text))
        base, _, rest = name.partition("[")
        kind = kinds.get(base)
        argument = rest.removesuffix("]") if rest.endswith("]") else None
        if kind is None or (rest and argument is None):
            raise _unknown(name, [*kinds, *(_PAGING if paged else ())])
        if kind is METADATA:
            metadata[_metadata_key(argument, name)] = check_text(text, name)
        elif kind.comparisons:
            if argument not in kind.comparisons:
                raise _badly_compared(name, base, kind)
            compared.append(Filter(base, kind.read(text, name), argument))
        elif kind.many and not argument:
            values.setdefault(base, []).append(kind.read(text, name))
        elif not rest:
            if base in values:
                raise ParameterInvalid(parameter=name, reason="is given twice")
            values[base] = kind.read(text, name)
        else:
            raise _unknown(name, list(kinds))
    if metadata:
        values["metadata"] = metadata
    digest = hashlib.sha256(msgspec.json.encode([route, sorted(plain)])).digest()[:8]
    after = _read_cursor(cursor, digest) if cursor is not None else None
    filters, others = _conditions(kinds, compared, values)
    return ListQuery(filters, values, others, after, per_page, digest)


def _conditions(
    kinds: Mapping[str, Kind], compared: Sequence[Filter], values: Mapping[str, Any]
) -> tuple[list[Filter], list[Filter]]:
    """Return the store's conditions that a query asks for, and those of its comparisons that are none."""
    filters, others = [], []
    for found in compared:
        names = kinds[found.name].conditions
        if not names:
            others.append(found)
        for name in names:
            filters += _on_times(found._replace(name=name))
    for parameter, kind in kinds.items():
        if parameter in values:
            filters += _plain_conditions(kind.conditions, values[parameter])
    return filters, others


def _plain_conditions(names: Sequence[str], value: Any) -> list[Filter]:
    """Return the conditions of these names, for a value that is not compared.

    Of several ids, the last condition compares them whole, over several ledgers; those before it take the keys that an
    index has.
    """
    if isinstance(value, Id):
        return [Filter(name, value.sequence) for name in names]
    if isinstance(value, list) and isinstance(value[0], Id):
        keys = [id_.sequence << ORDINAL_BITS | id_.ordinal if id_.ordinal else id_.sequence for id_ in value]
        exact = [f"{id_.ledger}.{id_.sequence}.{id_.seconds}.{id_.ordinal}" for id_ in value]
        *by_key, whole = names
        return [*(Filter(name, keys) for name in by_key), Filter(whole, exact)]
    return [Filter(name, value) for name in names]


def _metadata_key(argument: str | None, name: str) -> str:
    if not argument:
        raise ParameterInvalid(parameter=name[:100], reason="is written metadata[KEY]=VALUE")
    return check_text(argument, "metadata")


def _on_times(found: Filter) -> list[Filter]:
    """Say a comparison of dates in UTC by times."""
    if not isinstance(found.value, date) or isinstance(found.value, datetime):
        return [found]
    begins = datetime(found.value.year, found.value.month, found.value.day, tzinfo=UTC)
    try:
        ends = begins + timedelta(days=1)
    except OverflowError:
        ends = datetime.max.replace(tzinfo=UTC)
    at = found.name
    match found.comparison:
        case "eq":
            return [Filter(at, begins, "gte"), Filter(at, ends, "lt")]
        case "gt":
            return [Filter(at, ends, "gte")]
        case "lte":
            return [Filter(at, ends, "lt")]
        case _:
            return [Filter(at, begins, found.comparison)]


def _per_page(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= PER_PAGE_MAX:  # noqa: PLR2004
        return int(text)
    raise ParameterInvalid(parameter="per_page", reason=f"must be a whole number from 1 to {PER_PAGE_MAX}")


_PAGING: Final = ("per_page", "after_cursor")


def _unknown(name: str, known: Sequence[str]) -> ParameterUnknown:
    near = difflib.get_close_matches(name.partition("[")[0], known, n=1)
    return ParameterUnknown(parameter=name[:100], suggestion=near[0] if near else None)


def _badly_compared(name: str, base: str, kind: Kind) -> ParameterInvalid:
    forms = ", ".join(f"{base}[{comparison}]" for comparison in kind.comparisons)
    return ParameterInvalid(parameter=name[:100], reason=f"is not a form of this filter; write {forms}")


class _Cursor(msgspec.Struct, array_like=True):
    digest: bytes
    time: int
    ledger: int
    key: int


def _read_cursor(text: str, digest: bytes) -> Place:
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.msgpack.decode(packed, type=_Cursor)
        place = Place(moment(cursor.time), cursor.ledger, cursor.key)
    except (ValueError, OverflowError):
        raise InvalidCursor(reason="is none of ours") from None
    if not (0 <= place.ledger < 1 << 32 and 0 <= place.key < 1 << 62):
        raise InvalidCursor(reason="is none of ours")
    if cursor.digest != digest:
        raise InvalidCursor(reason="belongs to a list with other filters")
    return place


def write_cursor(digest: bytes, last: Place) -> str:
    """Return the cursor of the page after the row at this place."""
    packed = msgspec.msgpack.encode([digest, microseconds(last.time), last.ledger, last.key])
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

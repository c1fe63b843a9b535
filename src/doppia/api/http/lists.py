"""Lists: their filters, their pages and their cursors.

A cursor holds a digest of the list it belongs to and the place of the page's last row. Used with other filters it is
refused, never silently wrong.
"""

import base64
import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec

from doppia.accounting.errors import InvalidCursor, ObjectNotFound, ParameterInvalid, ParameterUnknown
from doppia.accounting.ids import ORDINAL_BITS, Id, is_uuid
from doppia.accounting.money import BOUND_MAX
from doppia.accounting.texts import check_text
from doppia.api.http.wire import LOCK_VERSION_MAX, parse_date, parse_object_id, parse_time
from doppia.proof.records import microseconds, moment
from doppia.store.database.listing import Filter, Order, Place

PER_PAGE_DEFAULT: Final = 25
PER_PAGE_MAX: Final = 100
QUERY_FIELDS_MAX: Final = 400
COMPARISONS: Final = ("gt", "gte", "lt", "lte", "eq")

T = TypeVar("T")


class ListQuery(NamedTuple):
    """A list that was asked for.

    Attributes:
        filters: for the store.
        values: of the parameters that take no comparison, by name, as they were read.
    """

    filters: list[Filter]
    values: dict[str, Any]
    after: Place | None
    per_page: int
    digest: bytes


class Kind(NamedTuple):
    """How a filter is written: how a value is read, and which of the forms NAME, NAME[], NAME[x] it takes.

    Attributes:
        read: takes text and parameter and returns a value, or raises.
        many: whether it may be repeated, as NAME[] or NAME; the value is then a list.
        comparisons: that it takes as NAME[comparison].
        schema: of one value, for the OpenAPI document.
        schemas: of a value by comparison, where they differ.
    """

    read: Callable[[str, str], Any]
    many: bool = False
    comparisons: tuple[str, ...] = ()
    schema: Mapping[str, Any] = {"type": "string"}
    schemas: Mapping[str, Mapping[str, Any]] = {}


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


def words(*allowed: str, many: bool = False) -> Kind:
    """Return the filter kind of one of these words, or of several."""

    def read(text: str, parameter: str) -> str:
        if text not in allowed:
            raise ParameterInvalid(parameter=parameter, reason=f"must be one of {', '.join(allowed)}")
        return text

    return Kind(read, many=many, schema={"type": "string", "enum": list(allowed)})


def _id_of(kind: str) -> Callable[[str, str], Id]:
    def read(text: str, parameter: str) -> Id:
        try:
            return parse_object_id(text, kind, parameter)
        except ObjectNotFound:
            if not is_uuid(text):
                raise ParameterInvalid(parameter=parameter, reason="must be a UUID") from None
            return _NO_ID

    return read


_NO_ID: Final = Id(0, 0, 0, 0)
"""Stands for a UUID that no object of the kind asked for can have; no organization owns ledger 0."""


def named_ledgers(query: ListQuery) -> set[int] | None:
    """Return the ledgers that every id of the query allows, None when it has none: ids name their ledgers."""
    named: set[int] | None = None
    for value in query.values.values():
        ids = value if isinstance(value, list) else [value]
        ledgers = {id_.ledger for id_ in ids if isinstance(id_, Id)}
        if ledgers:
            named = ledgers if named is None else named & ledgers
    return named


def id_filters(query: ListQuery) -> list[Filter]:
    """Return the conditions of the filter `id`: one for the index, one that is exact over several ledgers."""
    if "id" not in query.values:
        return []
    ids = query.values["id"]
    keys = [id_.sequence << ORDINAL_BITS | id_.ordinal if id_.ordinal else id_.sequence for id_ in ids]
    exact = [f"{id_.ledger}.{id_.sequence}.{id_.seconds}.{id_.ordinal}" for id_ in ids]
    return [Filter("id", keys), Filter("id_exact", exact)]


UUID_SCHEMA: Final = {"type": "string", "format": "uuid"}
_TIME_SCHEMA: Final = {"type": "string", "format": "date-time"}

TEXT: Final = Kind(_text)
TEXTS: Final = Kind(_text, many=True)
BOOLEAN: Final = Kind(_boolean, schema={"type": "boolean"})
_VERSION_SCHEMA: Final = {"type": "integer", "minimum": 0, "maximum": LOCK_VERSION_MAX}
AMOUNT: Final = Kind(
    _integer, comparisons=COMPARISONS, schema={"type": "integer", "minimum": -BOUND_MAX, "maximum": BOUND_MAX}
)
BALANCE_AMOUNT: Final = AMOUNT._replace(comparisons=(*COMPARISONS, "not_eq"))
VERSION: Final = Kind(_version, schema=_VERSION_SCHEMA)
VERSIONS: Final = Kind(_version, comparisons=COMPARISONS, schema=_VERSION_SCHEMA)
TIME: Final = Kind(parse_time, comparisons=COMPARISONS, schema=_TIME_SCHEMA)
DATE: Final = Kind(_day, comparisons=COMPARISONS, schema={"type": "string", "format": "date"})
METADATA: Final = Kind(_text)
ORDER_BY: Final = words("asc", "desc")._replace(comparisons=("created_at", "effective_at"))
DIRECTION: Final = words("credit", "debit")
STATUS: Final = words("pending", "posted", "archived", many=True)


def id_kind(kind: str, *, many: bool = False) -> Kind:
    """Return the filter kind of an id, or of several, of objects of this type."""
    return Kind(_id_of(kind), many=many, schema=UUID_SCHEMA)


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
    filters = [part for found in compared for part in _on_times(found)]
    return ListQuery(filters, values, after, per_page, digest)


def _metadata_key(argument: str | None, name: str) -> str:
    if not argument:
        raise ParameterInvalid(parameter=name[:100], reason="is written metadata[KEY]=VALUE")
    return check_text(argument, "metadata")


def _on_times(found: Filter) -> list[Filter]:
    """Say a comparison of dates in UTC by times."""
    if not isinstance(found.value, date) or isinstance(found.value, datetime) or found.comparison not in COMPARISONS:
        return [found]
    begins = datetime(found.value.year, found.value.month, found.value.day, tzinfo=UTC)
    try:
        ends = begins + timedelta(days=1)
    except OverflowError:
        ends = datetime.max.replace(tzinfo=UTC)
    at = found.name.replace("_date", "_at")
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


def order_of(query: ListQuery, key: str, key_shift: int) -> Order:
    """Return the order a list was asked for, newest first where it was not.

    Raises:
        ParameterInvalid: two orders at once.
    """
    orders = [found for found in query.filters if found.name == "order_by"]
    if len(orders) > 1:
        raise ParameterInvalid(parameter="order_by", reason="takes one field only")
    if not orders:
        return Order("created_at", key, key_shift, "desc")
    return Order(orders[0].comparison, key, key_shift, orders[0].value)


def page_headers(
    query: ListQuery, rows: Sequence[T], place: Callable[[T], Place]
) -> tuple[Sequence[T], dict[str, str]]:
    """Return the rows of the page and its headers; one row more than asked for tells that there is a next page."""
    headers = {"X-Per-Page": str(query.per_page)}
    if len(rows) > query.per_page:
        rows = rows[: query.per_page]
        time, ledger, key = place(rows[-1])
        packed = msgspec.msgpack.encode([query.digest, microseconds(time), ledger, key])
        headers["X-After-Cursor"] = base64.urlsafe_b64encode(packed).rstrip(b"=").decode()
    return rows, headers


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

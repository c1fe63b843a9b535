"""Lists: which rows they have, how each may be walked, and the query of a page.

A list may span ledgers, so each query takes the newest rows of every ledger by an index and merges them. The rows of a
ledger stand in the order of their sequence, which is that of their time; across ledgers time decides, then the ledger.

The SQL of a list stands in its `.sql`: templates, whose {slots} are filled with SQL, and conditions, in which :value is
the value of the filter. Two tables stand beside the functions that read the list: rows of `Parameter` say what it may
be asked for, and rows of `Walk` how its rows may be found.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeVar

from doppia.store.database.connections import Connection, load_parts
from doppia.store.database.parameters import Parameter, Plan, Reach

T = TypeVar("T")

NO_VALUES: Final[Mapping[str, Any]] = {}
_OPERATORS: Final = {"gt": ">", "gte": ">=", "eq": "=", "not_eq": "<>", "lte": "<=", "lt": "<"}


class Filter(NamedTuple):
    """A condition that a list is asked with: its name, the value, and the comparison of the column with the value."""

    name: str
    value: Any = None
    comparison: str = "eq"


class Place(NamedTuple):
    """A row's place in the order: its time, its ledger, and its key in the ledger."""

    time: datetime
    ledger: int
    key: int


class Order(NamedTuple):
    """How a list is sorted.

    Attributes:
        time: the column of the time that sorts; `created_at`, or another that has an index with the key.
        key: the column that makes rows of a ledger distinct.
        key_shift: how many bits the key has below the sequence of the log record that created the row; None where the
            key is no such sequence.
        direction: the direction of both columns.
    """

    time: str
    key: str
    key_shift: int | None
    direction: Literal["asc", "desc"]


class Page(NamedTuple):
    """A page that is asked for: at most `limit` rows of ledgers, beginning behind the row at the place `after`."""

    ledgers: Sequence[int]
    filters: Sequence[Filter]
    order: Order
    after: Place | None
    limit: int

    def value(self, name: str) -> Any:
        """Return the value of the last filter of this name; None where there is none."""
        return next((found.value for found in reversed(self.filters) if found.name == name), None)

    def has(self, name: str) -> bool:
        """Say whether there is a filter of this name."""
        return any(found.name == name for found in self.filters)

    def without(self, name: str) -> Sequence[Filter]:
        """Return the filters but for those of this name."""
        return [found for found in self.filters if found.name != name]


class Stream(NamedTuple):
    """A part of a list's rows of one ledger, which an index has in the list's order; a row may be in several.

    Attributes:
        name: its name, by which the conditions of later streams may refer to its rows.
        filters: the filters that hold for its rows, beside those of the page.
        order: the columns by which an index has its rows in order.
        through: the name of the template that fills the slot {through} of its query; "" where that stays empty.
    """

    name: str
    filters: Sequence[Filter]
    order: tuple[str, ...]
    through: str = ""


Parts = tuple[Sequence[Filter], Sequence[Stream]]
"""The filters that hold for every row of a page, and the streams that are read apart and merged, if any."""


def _whole(page: Page) -> Parts:
    return page.filters, ()


class Walk(NamedTuple):
    """A way to find the rows of a page: one row of a list's table. The first of them that allows a page is taken.

    Attributes:
        name: the walk's name.
        indexes: the indexes along which it finds its rows.
        template: name of the template of its query.
        needs: name of the filter without which it can't be taken; None where it needs none.
        time: the column by which it has the rows in order; None where it sorts them, in any order.
        within: name of the filter that has to bound the page at both ends; None where it needs no bounds.
        beside: the reaches of filters beside which it is taken. Beside another reach it would go past too many rows.
        is_worthwhile: asks the database whether it pays; None where it always does.
        parts: says the page's filters in the conditions that its indexes have.
    """

    name: str
    indexes: tuple[str, ...]
    template: str = "list"
    needs: str | None = None
    time: str | None = None
    within: str | None = None
    beside: frozenset[Reach] = frozenset(Reach)
    is_worthwhile: Callable[[Connection, Page], Awaitable[bool]] | None = None
    parts: Callable[[Page], Parts] = _whole


class Listing:
    """A list: what it may be asked for, how it may be walked, and its SQL.

    Every `-- filter:` of its `.sql` has a row, and every row has its filters. A `-- condition:` has none: the parts of
    walks are made of these, and callers can't ask for them.

    Attributes:
        walks: in the order in which they are tried; the last may always be taken.
        newest_first: the order of pages that ask for no other.
    """

    def __init__(
        self,
        module: str,
        parameters: Sequence[Parameter],
        walks: Sequence[Walk],
        newest_first: Order,
        conditions: str | None = None,
    ) -> None:
        """Read `store/<module>.sql`; the filters and conditions from another module's, if one is given."""
        self.walks, self.newest_first = walks, newest_first
        self._module = module
        self._templates = load_parts(module, "template")
        filters = load_parts(conditions or module, "filter")
        self._conditions = {**filters, **load_parts(conditions or module, "condition")}
        said = [row for row in parameters if row.reach is not Reach.UNSAID]
        self._rows = {name: row for row in said for name in row.condition_names()}
        self._instead = [(row.instead_of, Filter(row.name)) for row in parameters if row.instead_of is not None]
        assert self._rows.keys() == filters.keys(), f"{module}: {sorted(self._rows.keys() ^ filters.keys())}"
        for name, row in self._rows.items():
            compares = "{operator}" in filters[name]
            assert row.value is None or compares == bool(row.value.comparisons), f"{module}: {name}"

    async def fetch(self, connection: Connection, page: Page, values: Mapping[str, Any] = NO_VALUES) -> Sequence[Any]:
        """Return the rows of a page; `values` are what its query names besides the filters."""
        query, arguments = await self.query(connection, page, values)
        rows: Sequence[Any] = await connection.fetch(query, *arguments)
        return rows

    async def query(
        self, connection: Connection, page: Page, values: Mapping[str, Any] = NO_VALUES
    ) -> tuple[str, list[Any]]:
        """Return the query of a page and its arguments; the connection tells what the choice of a walk hangs on."""
        page = page._replace(filters=self.replaced(page.filters))
        return self.compose(await self.choose(connection, page), page, values)

    def replaced(self, filters: Iterable[Filter]) -> list[Filter]:
        """Return the filters, those whose value has an index of its own said by the condition that the index has."""
        return [next((to for of, to in self._instead if of == (found.name, found.value)), found) for found in filters]

    async def choose(self, connection: Connection, page: Page) -> Walk:
        """Return the walk by which the rows of a page are found."""
        reaches = {self._rows[found.name].reach for found in page.filters}
        for walk in self.walks:
            if (
                (walk.needs is None or page.has(walk.needs))
                and walk.time in {None, page.order.time}
                and (walk.within is None or _is_bounded(page.filters, walk.within))
                and reaches <= walk.beside
                and (walk.is_worthwhile is None or await walk.is_worthwhile(connection, page))
            ):
                return walk
        raise AssertionError(page)

    def compose(self, walk: Walk, page: Page, values: Mapping[str, Any] = NO_VALUES) -> tuple[str, list[Any]]:
        """Return the query of a page by one of the walks, and its arguments.

        The server keeps a plan for all arguments only if it takes it for as good as one for those at hand. It does not
        unless it knows about how many rows are asked for, and of how many ledgers; and planning a page takes longer
        than reading it. So the text says so where one plan is good for all values of the filters.
        """
        filters, streams = walk.parts(page)
        keeps_plan = all(self._rows[found.name].plan is Plan.KEPT for found in filters)
        shape = _Shape(
            walk.template,
            _without_values(filters),
            tuple(stream._replace(filters=_without_values(stream.filters)) for stream in streams),
            page.order,
            page.after is not None,
            len(page.ledgers) == 1,
            next((limit for limit in _LIMITS if page.limit <= limit), None) if keeps_plan else None,
        )
        every = [*filters, *(found for stream in streams for found in stream.filters)]
        text, names = (_kept_text if len(every) <= _KEPT_FILTERS_MAX else _text)(self, shape)
        named = {name: found.value for name, found in zip(_names(every), every, strict=True)}
        named |= values
        named |= {"ledgers": list(page.ledgers), "limit": page.limit}
        if page.after is not None:
            named["after_time"], named["after_ledger"], named["after_key"] = page.after
        return text, [named[name] for name in names]

    def template(self, name: str) -> str:
        """Return the template of this name."""
        return self._templates[name]

    def first_line(self, template: str) -> str:
        """Return the comment by which the server's statistics tell this list's query."""
        return f"-- {self._module.rpartition('/')[2]}.{template}\n"

    def where(self, filters: Iterable[Filter], names: Iterator[str]) -> str:
        """Return filters as SQL that follows other conditions; `names` are those of their values, in order."""
        return "".join(f" and ({self._condition(found, next(names))})" for found in filters)

    def _condition(self, found: Filter, name: str) -> str:
        text = self._conditions[found.name].replace("{operator}", _OPERATORS[found.comparison])
        return text.replace(":value", f":{name}")


def _is_bounded(filters: Sequence[Filter], name: str) -> bool:
    given = {found.comparison for found in filters if found.name == name}
    return not given.isdisjoint({"gt", "gte", "eq"}) and not given.isdisjoint({"lt", "lte", "eq"})


def newest_first(
    listing: Listing, of_row: Callable[[Any], T]
) -> Callable[[Connection, Sequence[int], Sequence[Filter], Place | None, int], Awaitable[list[T]]]:
    """Return a function that reads pages of a list with one order; `of_row` makes its results from rows."""

    async def list_page(
        connection: Connection, ledgers: Sequence[int], filters: Sequence[Filter], after: Place | None, limit: int
    ) -> list[T]:
        """Return a page, the newest first."""
        page = Page(ledgers, filters, listing.newest_first, after, limit)
        return [of_row(row) for row in await listing.fetch(connection, page)]

    return list_page


_LIMITS: Final = (26, 101)
"""The limits that a text may name: those of a page of 25 and of 100 objects, each with the row that tells whether there
is a next page. They are few because each text is a prepared statement of its own in each session.
"""


class _Shape(NamedTuple):
    """What the text of a page's query depends on. Its filters have no values: pages of one shape are one statement.

    Attributes:
        goes_on: whether the page begins behind a place.
        single: whether the page is of one ledger.
        limit: the limit of the page's parts where the text says it, and then that there is one ledger; else None.
    """

    template: str
    filters: tuple[Filter, ...]
    streams: tuple[Stream, ...]
    order: Order
    goes_on: bool
    single: bool
    limit: int | None


def _without_values(filters: Sequence[Filter]) -> tuple[Filter, ...]:
    return tuple(Filter(found.name, None, found.comparison) for found in filters)


def _names(filters: Iterable[Filter]) -> Iterator[str]:
    """Return the names of filters' values in a query, by which its template may speak of them as well.

    They are the names of the filters; where one recurs, its place among them is added.
    """
    seen = set()
    for position, found in enumerate(filters):
        yield found.name if found.name not in seen else f"{found.name}_{position}"
        seen.add(found.name)


def _text(listing: Listing, shape: _Shape) -> tuple[str, tuple[str, ...]]:
    """Return the text of a query, with numbers, and the names of its arguments in their order.

    The slots of a template are {ledgers}, the ledgers as a table; {where}, the filters and the place, {order} and
    {limit}, inside the part for one ledger, which may be a template of its own in the slot {rows}; and {merge}, the
    order at the end.
    """
    names = _names([*shape.filters, *(found for stream in shape.streams for found in stream.filters)])
    time, key, direction = shape.order.time, shape.order.key, shape.order.direction
    where = listing.where(shape.filters, names)
    slots = {
        "ledgers": "unnest(:ledgers::bigint[])",
        "limit": ":limit" if shape.limit is None else str(shape.limit),
        "where": where + _beyond(shape.order, single=shape.single) if shape.goes_on else where,
        "order": _sorted((key,) if time == "created_at" else (time, key), direction),
        "merge": _sorted((time, "ledger_id", key), direction),
        "through": "",
    }
    if shape.single and shape.limit is not None:
        slots["ledgers"] = "unnest(array[(:ledgers::bigint[])[1]])"
    template = listing.template(shape.template)
    if "{rows}" in template:
        rows = _merged(listing, shape, slots, names) if shape.streams else fill(listing.template("rows"), slots)
        slots["rows"] = rows
    return number(listing.first_line(shape.template) + fill(template, slots))


_KEPT_FILTERS_MAX: Final = 24
"""The number of filters, those of all streams counted, up to which a text is kept. Longer texts are rare and large."""
_kept_text: Final = lru_cache(maxsize=512)(_text)


def _sorted(columns: Sequence[str], direction: str) -> str:
    return ", ".join(f"{column} {direction}" for column in columns)


def _merged(listing: Listing, shape: _Shape, slots: Mapping[str, str], names: Iterator[str]) -> str:
    """Return the query of the rows of streams, merged in the order of the page, each once."""
    parts = []
    for stream in shape.streams:
        own = {
            "where": slots["where"] + listing.where(stream.filters, names),
            "order": _sorted(stream.order, shape.order.direction),
            "through": listing.template(stream.through) if stream.through else "",
        }
        parts.append(f"{stream.name} as materialized ({fill(listing.template('rows'), {**slots, **own})})")
    union = " union ".join(f"select * from {stream.name}" for stream in shape.streams)  # noqa: S608 - names of ours
    return f"with {', '.join(parts)} select * from ({union}) s order by {slots['order']} limit {slots['limit']}"  # noqa: S608 - as above


def _beyond(order: Order, *, single: bool) -> str:
    """Return the SQL by which rows lie beyond the place :after_time, :after_ledger, :after_key."""
    time, ledger, key = ":after_time::timestamptz", ":after_ledger::bigint", ":after_key::bigint"
    sign = "<" if order.direction == "desc" else ">"
    row = f"({order.time}, ledger_id, {order.key}) {sign} ({time}, {ledger}, {key})"
    if order.time != "created_at":
        if single:
            return f" and (({order.time}, {order.key}) {sign} ({time}, {key}))"
        # Said again by the index's own columns, which lets it start at the place.
        return f" and ({order.time} {sign}= {time} and {row})"
    if order.key_shift is None:
        return f" and ({row})"
    if single:
        return f" and ({order.key} {sign} {key})"
    if order.direction == "desc":
        bound = f"log_position(g.ledger_id, {time}) + 1"
        return f" and ({order.key} < ({bound}) << {order.key_shift}) and ({row})"
    bound = f"log_position(g.ledger_id, {time} - interval '1 microsecond')"
    return f" and ({order.key} >= ({bound}) << {order.key_shift}) and ({row})"


_SLOT: Final = re.compile(r"\{(\w+)\}")
_NAME: Final = re.compile(r"(?<![:\w]):([a-z]\w*)")


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Return a template with its {slots} filled; a slot that is not there is a KeyError."""
    return _SLOT.sub(lambda found: slots[found[1]], template)


def number(text: str, after: int = 0) -> tuple[str, tuple[str, ...]]:
    """Return a query whose :names are numbered as the server wants them, and the names in that order.

    The numbers follow `after`, up to which the text has some already.
    """
    places: dict[str, int] = {}

    def place(found: re.Match[str]) -> str:
        return f"${places.setdefault(found[1], after + len(places) + 1)}"

    return _NAME.sub(place, text), tuple(places)

"""Pages of a list: composes a named query from filters that stand beside it, an order and a place to go on from.

A list may span ledgers, so each query takes the newest rows of every ledger by an index and merges them. The rows of a
ledger stand in the order of their sequence, which is that of their time; across ledgers time decides, then the ledger.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from doppia.proof.records import microseconds

Fragments = Mapping[str, str]
Bound = tuple[int, str]
"""A time in microseconds since 1970, and on which side of it: after it, "gt", or until it, "lte"."""

_HANGS_ON_VALUE: Final = frozenset({"metadata", "ledgerable_id", "updated_at"})
"""Filters whose value decides by which index a page is best found: one plan for frequent and rare ones would walk a
whole ledger for the rare."""

_OPERATORS: Final = {"gt": ">", "gte": ">=", "eq": "=", "not_eq": "<>", "lte": "<=", "lt": "<"}


class Filter(NamedTuple):
    """A condition: the fragment of this name, with the comparison where it takes one, and the value."""

    name: str
    value: Any
    comparison: str = "eq"


class Place(NamedTuple):
    """A row's place in the order: its time, its ledger, and its key in the ledger."""

    time: datetime
    ledger: int
    key: int


class Order(NamedTuple):
    """How a list is sorted.

    Attributes:
        time: column of the time that sorts; `created_at`, or another that has an index with the key.
        key: column that makes rows of a ledger distinct.
        key_shift: how many bits the key has below the sequence of the log record that created the row; None where the
            key is no such sequence.
        direction: of both.
    """

    time: str
    key: str
    key_shift: int | None
    direction: Literal["asc", "desc"]


class Stream(NamedTuple):
    """A part of a list's rows of one ledger, which an index has in the list's order; a row may be in several.

    Attributes:
        name: by which conditions of the streams that follow may speak of its rows.
        filters: beside those of the list.
        order: the columns that sort it.
        through: what its query joins at the mark /* through */.
    """

    name: str
    filters: Sequence[Filter]
    order: Sequence[str]
    through: str = ""


def compose(
    query: str,
    fragments: Fragments,
    filters: Sequence[Filter],
    *,
    ledgers: Sequence[int],
    order: Order,
    after: Place | None,
    limit: int,
    streams: Sequence[Stream] = (),
) -> tuple[str, list[Any]]:
    """Return the text of a page's query and its arguments.

    Args:
        query: with the marks /* where */ and /* order */ inside its part for one ledger and /* merge */ at its end;
            $1 takes the ledgers, $2 the limit. Where there are streams, the part stands between two marks /* part */.
        fragments: conditions by filter name, each with {value} where its value goes, and {is} where its comparison.
        filters: all of which hold for each row.
        ledgers: to list from.
        order: of the rows.
        after: the place of the last row of the page before.
        limit: rows at most.
        streams: which are to be read apart and merged; none where one index has the rows in order.
    """
    arguments: list[Any] = [list(ledgers), limit]
    conditions = [condition(fragments, found, arguments) for found in filters]
    if after is not None:
        marks = [_mark(part, arguments) for part in after]
        conditions += _beyond(order, marks, single=len(ledgers) == 1)
    where = "".join(f" and ({one})" for one in conditions)
    by_time = [] if order.time == "created_at" else [order.time]
    inner = ", ".join(f"{column} {order.direction}" for column in [*by_time, order.key])
    outer = ", ".join(f"{column} {order.direction}" for column in [order.time, "ledger_id", order.key])
    if streams:
        query = _merged(query, where, fragments, streams, order, arguments)
    text = query.replace("/* where */", where).replace("/* order */", inner).replace("/* merge */", outer)
    if not any(found.name in _HANGS_ON_VALUE for found in filters):
        text = _planned_once(text, limit, single=len(ledgers) == 1)
    return text, arguments


_LIMITS: Final = (26, 101)
"""What a page's parts are limited to: few texts for all sizes, for each has a statement of its own in each session."""


def _planned_once(text: str, limit: int, *, single: bool) -> str:
    """Return a page's query with about how many rows it is of, and that they are of one ledger if so, in the text.

    The server keeps a plan for all arguments only if it takes it for as good as one for those at hand. Without knowing
    how many rows are asked for it never does, and planning a page takes longer than reading it.
    """
    bound = next((bound for bound in _LIMITS if limit <= bound), None)
    if bound is None:
        return text
    if single:
        text = text.replace("unnest($1::bigint[])", "unnest(array[($1::bigint[])[1]])")
    parts, _, end = text.rpartition("limit $2")
    return f"{parts.replace('limit $2', f'limit {bound}')}limit $2{end}"


def _merged(
    query: str, where: str, fragments: Fragments, streams: Sequence[Stream], order: Order, arguments: list[Any]
) -> str:
    """Return a page's query with the part for one ledger once for each stream."""
    head, part, tail = query.split("/* part */")
    parts = []
    for stream in streams:
        own = "".join(f" and ({condition(fragments, found, arguments)})" for found in stream.filters)
        text = part.replace("/* through */", stream.through).replace("/* where */", where + own)
        columns = ", ".join(f"{column} {order.direction}" for column in stream.order)
        parts.append(f"{stream.name} as materialized ({text.replace('/* order */', columns)})")
    rows = " union ".join(f"select * from {stream.name}" for stream in streams)  # noqa: S608 - names of ours
    merged = f"with {', '.join(parts)} select * from ({rows}) s order by /* order */ limit $2"  # noqa: S608 - as above
    return head + merged + tail


def condition(fragments: Fragments, found: Filter, arguments: list[Any]) -> str:
    """Return a filter's condition, its value appended to the arguments."""
    text = fragments[found.name].replace("{is}", _OPERATORS[found.comparison])
    return text.replace("{value}", _mark(found.value, arguments))


def by_microseconds(time: datetime, comparison: str) -> list[Bound]:
    """Say a comparison with a time by "gt" and "lte" alone: the places that a search along what was recorded finds."""
    at = microseconds(time)
    lower = [(at - (comparison != "gt"), "gt")] if comparison in {"gt", "gte", "eq"} else []
    upper = [(at - (comparison == "lt"), "lte")] if comparison in {"lt", "lte", "eq"} else []
    return lower + upper


def window_of(filters: Sequence[Filter]) -> list[Bound]:
    """Return what a list's filters say of effective_at."""
    return [bound for found in filters if found.name == "effective_at" for bound in by_microseconds(*found[1:])]


def is_closed(window: Sequence[Bound]) -> bool:
    """Say whether a window has a beginning and an end."""
    return {comparison for _, comparison in window} == {"gt", "lte"}


def by_effective_time(window: Sequence[Bound], order: Order, after: Place | None, limit: int) -> list[Stream]:
    """Return the streams of a list of whole ledgers in the order of effective_at, or in another within a closed window.

    Rows that are effective when they were recorded stand along the ledger; the displaced ones have an index. In the
    order of effective_at, where these fill a page, the others are not looked for beyond it; in another, these are
    sorted. No index has the sum, lest one be walked for the order that it offers.
    """
    desc = order.direction == "desc"
    page = [] if after is None else by_microseconds(after.time, "lte" if desc else "gte")
    bounds = [Filter("recorded_in_ledger", at, comparison) for at, comparison in [*window, *page]]
    in_place = [Filter("in_place", value=True), *bounds]
    sorted_by: tuple[str, ...] = (f"{order.key} + 0",)
    if order.time == "effective_at":
        in_place.append(Filter(f"{'since' if desc else 'until'}_displaced_in_ledger", limit))
        sorted_by = ("effective_at", order.key)
    displaced = Stream("displaced", [Filter("displaced", value=True)], sorted_by)
    return [displaced, Stream("in_place", in_place, (order.key,))]


def _mark(value: Any, arguments: list[Any]) -> str:
    arguments.append(value)
    return f"${len(arguments)}"


def _beyond(order: Order, marks: Sequence[str], *, single: bool) -> list[str]:
    time, ledger, key = (
        f"{mark}::{kind}" for mark, kind in zip(marks, ("timestamptz", "bigint", "bigint"), strict=True)
    )
    sign = "<" if order.direction == "desc" else ">"
    if order.time != "created_at":
        row = f"({order.time}, ledger_id, {order.key}) {sign} ({time}, {ledger}, {key})"
        # Said again by the index's own columns, which lets it start at the place.
        near = f"{order.time} {sign}= {time}"
        return [
            f"({order.time}, {order.key}) {sign} ({time}, {key}) and {ledger} > 0" if single else f"{near} and {row}"
        ]
    row = f"(created_at, ledger_id, {order.key}) {sign} ({time}, {ledger}, {key})"
    if order.key_shift is None:
        return [row]
    if single:
        return [f"{order.key} {sign} {key} and {time} is not null and {ledger} > 0"]
    if order.direction == "desc":
        bound = f"log_position(g.ledger_id, {time}) + 1"
        return [f"{order.key} < ({bound}) << {order.key_shift}", row]
    bound = f"log_position(g.ledger_id, {time} - interval '1 microsecond')"
    return [f"{order.key} >= ({bound}) << {order.key_shift}", row]

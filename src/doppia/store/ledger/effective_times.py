"""Lists by effective_at: how entries and transactions of a window of times are found in what was recorded."""

from collections.abc import Sequence
from datetime import datetime

from doppia.proof.records import microseconds
from doppia.store.database.listing import Filter, Page, Parts, Stream

Bound = tuple[int, str]
"""A time in microseconds since 1970, and on which side of it: after it, "gt", or until it, "lte"."""


def by_microseconds(time: datetime, comparison: str) -> list[Bound]:
    """Say a comparison with a time by "gt" and "lte" alone: the places that a search along what was recorded finds."""
    at = microseconds(time)
    lower = [(at - (comparison != "gt"), "gt")] if comparison in {"gt", "gte", "eq"} else []
    upper = [(at - (comparison == "lt"), "lte")] if comparison in {"lt", "lte", "eq"} else []
    return lower + upper


def window_of(filters: Sequence[Filter]) -> list[Bound]:
    """Return what a list's filters say of effective_at."""
    return [bound for found in filters if found.name == "effective_at" for bound in by_microseconds(*found[1:])]


def beyond(page: Page) -> list[Bound]:
    """Return what the place that a page goes on from says of the time that sorts it, which may be that place's own."""
    if page.after is None:
        return []
    return by_microseconds(page.after.time, "lte" if page.order.direction == "desc" else "gte")


def along_ledger(page: Page) -> Parts:
    """Return the parts of a page of whole ledgers in the order of effective_at, or in another within a closed window.

    Rows that are effective when they were recorded stand along the ledger; the displaced ones have an index. In the
    order of effective_at, where these fill a page, the others are not looked for beyond it; in another, these are
    sorted. No index has the sum, lest one be walked for the order that it offers.
    """
    order = page.order
    bounds = [
        Filter("recorded_in_ledger", at, comparison) for at, comparison in [*window_of(page.filters), *beyond(page)]
    ]
    in_place = [Filter("in_place"), *bounds]
    sorted_by: tuple[str, ...] = (f"{order.key} + 0",)
    if order.time == "effective_at":
        end = "since" if order.direction == "desc" else "until"
        in_place.append(Filter(f"{end}_displaced_in_ledger", page.limit))
        sorted_by = ("effective_at", order.key)
    displaced = Stream("displaced", [Filter("displaced")], sorted_by)
    return page.filters, [displaced, Stream("in_place", in_place, (order.key,))]

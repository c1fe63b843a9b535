"""Events over HTTP: what happened in ledgers, read from their logs."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast, get_args

from msgspec import to_builtins

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ids import EVENT_ORDINAL, ORDINAL_BITS, format_id
from doppia.api.closing import settlements
from doppia.api.http.lists import ListQuery, kinds_of, parse_list
from doppia.api.http.pages import answer_page, ledgers_of
from doppia.api.http.request import Reply, Request, encode
from doppia.api.http.wire import Object, Time, UuidText
from doppia.api.ledger import accounts, categories, ledgers, monitors, statements, transactions
from doppia.api.platform import redactions
from doppia.proof.kinds import KINDS
from doppia.store.database.listing import Filter
from doppia.store.database.parameters import MOMENT, id_of, several, unfiltered, words
from doppia.store.log.log import about, happening
from doppia.store.platform import events as store
from doppia.store.platform.events import RecordedEvent
from doppia.store.scopes import Scope

Resource = Literal[
    "ledger",
    "ledger_account",
    "ledger_account_balance_monitor",
    "ledger_account_category",
    "ledger_account_settlement",
    "ledger_account_statement",
    "ledger_entry",
    "ledger_redaction",
    "ledger_transaction",
]
EventName = Literal[
    "created",
    "updated",
    "discarded",
    "posted",
    "archived",
    "triggered",
    "resolved",
    "finish_processing",
    "finish_archiving",
]


class EventObject(Object, kw_only=True):
    """An event: a change to a ledger or to something in it. `data` is the object as the change left it.

    In place of the balances and the lock_version of an account or a category stand its currency and exponent.
    """

    object: Literal["event"] = "event"
    resource: Resource
    event_name: EventName
    event_time: Time
    entity_id: UuidText
    data: dict[str, Any]


_HAPPENINGS: Final[Mapping[int, tuple[Resource, EventName]]] = {
    happening(kind.number, event): cast("tuple[Resource, EventName]", told)
    for kind in KINDS
    for event, told in kind.events.items()
}
"""Resource and event_name of each kind of record and event."""

_OF_ENTRIES: Final = {number for number, (resource, _) in _HAPPENINGS.items() if resource == "ledger_entry"}


FILTERS: Final = kinds_of(
    (
        unfiltered("id", several(id_of("event")), "id", "id_exact"),
        unfiltered("ledger_id", id_of("ledger")),
        unfiltered("resource", words(*get_args(Resource))),
        # An id of the form that all objects have but entries, or that of an entry.
        unfiltered("entity_id", id_of("ledger", "ledger_entry")),
        unfiltered("event_name", words(*get_args(EventName))),
        unfiltered("event_time_start", MOMENT, "from_time"),
        unfiltered("event_time_end", MOMENT, "to_time"),
    )
)


OBJECTS: Final[Mapping[Resource, Callable[[Any, int, str], Object]]] = {
    "ledger": lambda found, *_: ledgers.to_object(found),
    "ledger_account": lambda found, _, ledger_id: accounts.to_object(found, ledger_id),
    "ledger_account_balance_monitor": lambda found, *_: monitors.to_object(found),
    "ledger_account_category": lambda found, _, ledger_id: categories.to_object(found, ledger_id),
    "ledger_account_settlement": lambda found, _, ledger_id: settlements.to_object(found, ledger_id),
    "ledger_account_statement": lambda found, _, ledger_id: statements.to_object(found, ledger_id),
    "ledger_entry": lambda found, ledger, _: transactions.entry_object(
        found.entry, ledger, found.transaction_id, shows_balances=False
    ),
    "ledger_redaction": lambda found, _, ledger_id: redactions.to_object(found, ledger_id),
    "ledger_transaction": transactions.to_object,
}
"""Returns what an event of each resource is about as the wire shows it, were it not for what the record does not say.

It takes the object, the ledger's number, and the ledger's id.
"""


def to_object(found: RecordedEvent, scope: Scope) -> EventObject:
    """Return an event as the wire shows it."""
    row = found.row
    resource, event_name = _HAPPENINGS[happening(row.kind, row.event)]
    object_ = OBJECTS[resource](found.object, row.ledger, scope.ledger_id(row.ledger))
    data = to_builtins(object_)
    data.pop("lock_version", None)
    if (balances := data.pop("balances", None)) is not None:
        data |= {name: balances["posted_balance"][name] for name in ("currency", "currency_exponent")}
    return EventObject(
        id=format_id(int(row.recorded_at.timestamp()), row.ledger, row.sequence, EVENT_ORDINAL),
        created_at=row.recorded_at,
        updated_at=row.recorded_at,
        resource=resource,
        event_name=event_name,
        event_time=row.recorded_at,
        entity_id=object_.id,
        data=data,
    )


async def get(request: Request) -> Reply:
    """Get an event."""
    id_ = await request.find(request.path["id"], "event")
    filters = [Filter("id", [id_.sequence << ORDINAL_BITS])]
    async with request.scope.connection() as connection:
        page = await store.list_page(connection, [id_.ledger], filters, None, 1)
    found = [event for event in (to_object(row, request.scope) for row in page) if event.id == str(id_)]
    if not found:
        raise ObjectNotFound(object="event", id=request.path["id"])
    return Reply(200, encode(found[0]))


def _happenings(values: Mapping[str, Any]) -> set[int] | None:
    """Return the kinds of records and events that are asked for; None where all are."""
    asked = {
        number
        for number, (resource, event_name) in _HAPPENINGS.items()
        if values.get("resource", resource) == resource and values.get("event_name", event_name) == event_name
    }
    if "entity_id" in values:
        # Those of an entry are found among those of the record that wrote it, and are not about its transaction.
        return asked & _OF_ENTRIES if values["entity_id"].ordinal else asked - _OF_ENTRIES
    return None if values.keys().isdisjoint({"resource", "event_name"}) else asked


def _filters(query: ListQuery) -> list[Filter]:
    values = query.values
    filters = query.filters
    if (happenings := _happenings(values)) is not None:
        filters = [*filters, Filter("happening", sorted(happenings))]
    if "entity_id" in values:
        filters = [*filters, *about(values["entity_id"])]
    return filters


async def list_(request: Request) -> Reply:
    """List events, the newest first."""
    query = parse_list(request.query, "events", FILTERS)
    query = query._replace(filters=_filters(query))
    return await answer_page(
        request,
        query,
        await ledgers_of(request, query),
        store.list_page,
        lambda found: found.row.place,
        lambda found: to_object(found, request.scope),
    )

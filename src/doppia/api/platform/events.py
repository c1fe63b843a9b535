"""Events over HTTP: what happened in ledgers, read from their logs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, assert_never, cast, get_args

from msgspec import to_builtins

from doppia.accounting.closing.settlements import Settlement
from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ids import EVENT_ORDINAL, ORDINAL_BITS, format_id
from doppia.accounting.ledger.accounts import AccountFields
from doppia.accounting.ledger.categories import CategoryFields
from doppia.accounting.ledger.ledgers import Ledger
from doppia.accounting.ledger.monitors import MonitorState
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.ledger.transactions import Transaction
from doppia.accounting.platform.events import Event
from doppia.api.closing import settlements
from doppia.api.http.lists import ListQuery, kinds_of, parse_list
from doppia.api.http.pages import answer_page, ledgers_of
from doppia.api.http.request import Reply, Request, Service, encode
from doppia.api.http.wire import Object, Time, UuidText
from doppia.api.ledger import accounts, categories, ledgers, monitors, statements, transactions
from doppia.proof import records
from doppia.store.database.listing import Filter
from doppia.store.database.parameters import MOMENT, id_of, several, unfiltered, words
from doppia.store.ledger.entries import EntryInTransaction
from doppia.store.log.log import about, happening
from doppia.store.platform import events as store
from doppia.store.platform.events import RecordedEvent

Resource = Literal[
    "ledger",
    "ledger_account",
    "ledger_account_balance_monitor",
    "ledger_account_category",
    "ledger_account_settlement",
    "ledger_account_statement",
    "ledger_entry",
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


_CHANGES: Final = (Event.CREATED, Event.UPDATED, Event.DISCARDED)
_RECORDS: Final[Sequence[tuple[Resource, int, Sequence[Event]]]] = (
    ("ledger", records.LEDGER_KIND, _CHANGES),
    ("ledger_account", records.ACCOUNT_KIND, _CHANGES),
    ("ledger_transaction", records.TRANSACTION_KIND, (Event.CREATED, Event.UPDATED, Event.POSTED, Event.ARCHIVED)),
    ("ledger_entry", records.ENTRY_KIND, (Event.UPDATED,)),
    ("ledger_account_category", records.CATEGORY_KIND, _CHANGES),
    ("ledger_account_category", records.CATEGORY_PARENTS_KIND, (Event.UPDATED,)),
    # Where an account comes or goes, the category changes; one that is opened in categories is there from the start.
    ("ledger_account_category", records.ACCOUNT_CATEGORIES_KIND, (Event.UPDATED,)),
    ("ledger_account", records.ACCOUNT_CATEGORIES_KIND, (Event.CREATED,)),
    ("ledger_account_balance_monitor", records.MONITOR_KIND, (*_CHANGES, Event.TRIGGERED, Event.RESOLVED)),
    ("ledger_account_statement", records.STATEMENT_KIND, (Event.CREATED,)),
    (
        "ledger_account_settlement",
        records.SETTLEMENT_KIND,
        (Event.CREATED, Event.UPDATED, Event.POSTED, Event.FINISH_PROCESSING, Event.FINISH_ARCHIVING),
    ),
    ("ledger_account_settlement", records.SETTLED_ENTRIES_KIND, (Event.UPDATED,)),
)


def _name(kind: int, event: int) -> EventName:
    # That an account was opened in categories is told after that it was created.
    return cast("EventName", "updated" if kind == records.ACCOUNT_CATEGORIES_KIND else Event(event).name.lower())


_HAPPENINGS: Final[Mapping[int, tuple[Resource, EventName]]] = {
    happening(kind, event): (resource, _name(kind, event)) for resource, kind, events in _RECORDS for event in events
}
"""Resource and event_name of each kind of record and event."""

_OF_ENTRIES: Final = {happening(records.ENTRY_KIND, Event.UPDATED)}


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


def _object(found: RecordedEvent, service: Service) -> Object:
    """Return what an event is about as the wire shows it, were it not for what the record does not say."""
    ledger, object_ = found.row.ledger, found.object
    ledger_id = service.ledger_id(ledger)
    match object_:
        case Ledger():
            return ledgers.to_object(object_)
        case AccountFields():
            return accounts.to_object(object_, ledger_id)
        case Transaction():
            return transactions.to_object(object_, ledger, ledger_id)
        case EntryInTransaction():
            return transactions.entry_object(object_.entry, ledger, object_.transaction_id, shows_balances=False)
        case CategoryFields():
            return categories.to_object(object_, ledger_id)
        case MonitorState():
            return monitors.to_object(object_)
        case Statement():
            return statements.to_object(object_, ledger_id)
        case Settlement():
            return settlements.to_object(object_, ledger_id)
        case _:
            assert_never(object_)


def to_object(found: RecordedEvent, service: Service) -> EventObject:
    """Return an event as the wire shows it."""
    row, object_ = found.row, _object(found, service)
    data = to_builtins(object_)
    data.pop("lock_version", None)
    if (balances := data.pop("balances", None)) is not None:
        data |= {name: balances["posted_balance"][name] for name in ("currency", "currency_exponent")}
    return EventObject(
        id=format_id(int(row.recorded_at.timestamp()), row.ledger, row.sequence, EVENT_ORDINAL),
        created_at=row.recorded_at,
        updated_at=row.recorded_at,
        resource=cast("Resource", object_.object),
        event_name=_name(row.kind, row.event),
        event_time=row.recorded_at,
        entity_id=object_.id,
        data=data,
    )


async def get(request: Request) -> Reply:
    """Get an event."""
    service = request.service
    id_ = await service.find(request.principal, request.path["id"], "event")
    filters = [Filter("id", [id_.sequence << ORDINAL_BITS])]
    async with service.database.connection() as connection:
        page = await store.list_page(connection, [id_.ledger], filters, None, 1)
    found = [event for event in (to_object(row, service) for row in page) if event.id == str(id_)]
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
        lambda found: to_object(found, request.service),
    )

"""Bulk requests over HTTP: many writes sent at once, answered when they are kept, done afterwards."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Meta, Raw, Struct

from doppia.accounting.errors import InvalidJson, ObjectNotFound, ParameterInvalid, TooManyItems
from doppia.accounting.ids import LedgerId, is_uuid, parse_id
from doppia.accounting.platform.bulk import Action, BulkRequest, Resource, low_bits_of, result_id, split_id
from doppia.api.http.errors import ErrorDetail
from doppia.api.http.lists import kinds_of, parse_list
from doppia.api.http.pages import answer_page, page_headers
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import Metadata, Object, UuidText, in_order, new_metadata
from doppia.api.ledger.accounts import AccountObject
from doppia.api.ledger.drafts import TransactionCreate
from doppia.api.ledger.transactions import TransactionObject
from doppia.api.platform.bulk_items import entity_of, error_of
from doppia.engine.platform.bulk import AcceptBulkRequest
from doppia.store.database.listing import Place
from doppia.store.platform import bulk as store
from doppia.store.platform.bulk import BulkResult, Item

RESOURCES_MAX: Final = 10_000

Count = Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": RESOURCES_MAX})]


class BulkRequestCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Writes to be done, each by itself: bodies to create, bodies to update with the `id` of each, or ids to delete."""

    example: ClassVar = {
        "action_type": "create",
        "resource_type": "ledger_transaction",
        "resources": [TransactionCreate.example],
    }

    action_type: Action
    resource_type: Resource
    resources: Annotated[list[dict[str, Any]], Meta(extra_json_schema={"minItems": 1, "maxItems": RESOURCES_MAX})]
    metadata: Metadata | None = None


class _RawBulkRequest(Struct, forbid_unknown_fields=True):
    """A bulk request whose items stay JSON: each is decoded when it is done, so that one out of shape fails alone."""

    action_type: Action
    resource_type: str
    resources: list[Raw]
    metadata: Metadata | None = None


class BulkRequestObject(Object, kw_only=True):
    """A bulk request, and how far it is."""

    object: Literal["bulk_request"] = "bulk_request"
    action_type: Action
    resource_type: Resource
    status: Literal["pending", "processing", "completed"]
    total_resource_count: Count
    success_result_count: Count
    failed_result_count: Count
    metadata: dict[str, str]


class BulkErrorObject(Object, kw_only=True):
    """Why an item of a bulk request failed."""

    object: Literal["bulk_error"] = "bulk_error"
    request_errors: list[ErrorDetail]


ENTITIES: Final = (TransactionObject, AccountObject, BulkErrorObject)
"""The types that the `entity` of a result may have; its schema names them."""
_ENTITY: Final = {
    "anyOf": [{"$ref": f"#/components/schemas/{type_.__name__}"} for type_ in ENTITIES] + [{"type": "null"}]
}


class BulkResultObject(Object, kw_only=True):
    """What became of an item. `index` is its place in the request's resources, from 0.

    `entity` is the object as the item left it, or a bulk_error; null while the item is pending. Once the ledger is
    purged, `entity` and `request_params` are null as well.
    """

    object: Literal["bulk_result"] = "bulk_result"
    request_id: UuidText
    request_type: Literal["bulk_request"] = "bulk_request"
    index: Count
    status: Literal["pending", "successful", "failed"]
    request_params: dict[str, Any] | None
    entity_type: Literal["ledger_transaction", "ledger_account", "bulk_error"]
    entity_id: UuidText | None
    entity: Annotated[Any, Meta(extra_json_schema=_ENTITY)]


_CREATE: Final = BodyDecoder(_RawBulkRequest)


_RESOURCES: Final = get_args(Resource)
REQUEST_FILTERS: Final = kinds_of(store.REQUEST_PARAMETERS)
RESULT_FILTERS: Final = kinds_of(store.RESULT_PARAMETERS)


async def create(request: Request) -> Reply:
    """Send up to 10,000 writes at once; they are kept when this is answered, and done right after."""
    body = request.decode(_CREATE)
    items = _items(request, body)
    command = AcceptBulkRequest(
        organization=request.principal.organization,
        action_type=body.action_type,
        resource_type=body.resource_type,  # type: ignore[arg-type] # one that is offered, says _items
        items=items,
        metadata=new_metadata(body.metadata),
    )
    accepted = await request.perform(command, hashlib.sha256(request.body).hexdigest())
    request.service.background.wake()
    return Reply(201, encode(_request_object(accepted)))


def _items(request: Request, body: _RawBulkRequest) -> list[Item]:
    """Return the items, which are JSON objects of whatever content.

    Raises:
        ParameterInvalid: of a resource type that is not offered; no item, or one that is no object.
        TooManyItems, InvalidJson.
    """
    if body.resource_type not in _RESOURCES:
        raise ParameterInvalid(parameter="resource_type", reason=f"must be one of {', '.join(_RESOURCES)}")
    if not body.resources:
        raise ParameterInvalid(parameter="resources", reason="must hold at least one item")
    if len(body.resources) > RESOURCES_MAX:
        raise TooManyItems(parameter="resources", count=len(body.resources), count_max=RESOURCES_MAX)
    try:
        # The decoder has passed over the items without reading their texts, and they are shown again in the results.
        request.body.decode()
    except UnicodeDecodeError:
        raise InvalidJson(reason="it is not UTF-8") from None
    items = []
    for position, raw in enumerate(body.resources):
        params = bytes(raw)
        if not params.startswith(b"{"):
            raise ParameterInvalid(parameter=f"resources[{position}]", reason="must be an object")
        items.append(_item(params))
    return items


_IDS: Final = re.compile(
    rb'"(?:id|ledger_id|ledger_account_id|ledger_account_category_id|ledger_account_category_ids)"'
    rb'\s*:\s*\[?((?:\s*"[0-9a-fA-F-]{36}"\s*,?)+)'
)
_UUID: Final = re.compile(rb"[0-9a-fA-F-]{36}")


class _Named(Struct):
    id: str = ""


_decode_named: Final = msgspec.json.Decoder(_Named).decode


def _item(params: bytes) -> Item:
    """Return an item with all that it names its ledgers by, also where it can't be read and is refused for that."""
    texts = [text.decode() for found in _IDS.findall(params) for text in _UUID.findall(found)]
    ledgers = {id_.ledger for text in texts if (id_ := parse_id(text)) is not None}
    try:
        named = _decode_named(params).id
    except msgspec.MsgspecError:
        named = ""
    return Item(params, sorted(ledgers), named if named and parse_id(named) is None else None)


def _request_object(request: BulkRequest) -> BulkRequestObject:
    return BulkRequestObject(
        id=str(request.id),
        action_type=request.action_type,
        resource_type=request.resource_type,
        status=request.status,
        total_resource_count=request.resources,
        success_result_count=request.succeeded,
        failed_result_count=request.failed,
        metadata=in_order(request.metadata),
        created_at=request.created_at,
        updated_at=request.updated_at,
    )


async def _shown(request: Request, results: Sequence[BulkResult]) -> list[BulkResultObject]:
    """Return results as the wire shows them."""
    entities = [parse_id(str(result.entity_id)) for result in results if result.entity_type != "bulk_error"]
    numbers = {id_.ledger for id_ in entities if id_ is not None}
    owned = await request.scope.ledgers(numbers)
    ledger_ids: dict[int, LedgerId] = {ledger: request.scope.ledger_id(ledger) for ledger in owned}
    return [_result_object(result, ledger_ids) for result in results]


def _result_object(result: BulkResult, ledger_ids: Mapping[int, LedgerId]) -> BulkResultObject:
    entity: Any = None
    if result.entity is not None and result.entity_type == "bulk_error":
        entity = BulkErrorObject(
            id=str(result.entity_id),
            created_at=result.updated_at,
            updated_at=result.updated_at,
            request_errors=[error_of(result)],
        )
    elif result.entity is not None:
        entity = entity_of(result, ledger_ids)
    return BulkResultObject(
        id=str(result_id(result.request_id, result.ordinal)),
        request_id=str(result.request_id),
        index=result.ordinal - 1,
        status=result.status,
        # They are JSON already, and go out as they came in.
        request_params=None if result.params is None else Raw(result.params),  # type: ignore[arg-type]
        entity_type=result.entity_type,  # type: ignore[arg-type] # one of these words, says the table
        entity_id=None if result.entity_id is None else str(result.entity_id),
        entity=entity,
        created_at=result.created_at,
        updated_at=result.updated_at,
    )


def _asked_id(request: Request, kind: str) -> UUID:
    text = request.path["id"]
    if not is_uuid(text):
        raise ObjectNotFound(object=kind, id=text[:100])
    return UUID(text)


async def get(request: Request) -> Reply:
    """Get a bulk request, and how far it is."""
    id_ = _asked_id(request, "bulk_request")
    async with request.scope.connection() as connection:
        found = await store.get_request(connection, request.principal.organization, id_)
    if found is None:
        raise ObjectNotFound(object="bulk_request", id=str(id_))
    return Reply(200, encode(_request_object(found)))


async def list_(request: Request) -> Reply:
    """List bulk requests, the newest first."""
    return await answer_page(
        request,
        parse_list(request.query, "bulk_requests", REQUEST_FILTERS),
        request.principal.organization,
        store.list_requests,
        lambda row: Place(row.created_at, 0, low_bits_of(row.id)),
        _request_object,
    )


async def get_result(request: Request) -> Reply:
    """Get what became of an item of a bulk request."""
    id_ = _asked_id(request, "bulk_result")
    request_id, ordinal = split_id(id_)
    async with request.scope.connection() as connection:
        found = await store.get_result(connection, request.principal.organization, request_id, ordinal)
    if found is None:
        raise ObjectNotFound(object="bulk_result", id=str(id_))
    return Reply(200, encode((await _shown(request, [found]))[0]))


async def list_results(request: Request) -> Reply:
    """List what became of items, the newest request first, and of it the last item."""
    query = parse_list(request.query, "bulk_results", RESULT_FILTERS)
    async with request.scope.connection() as connection:
        rows = await store.list_results(
            connection, request.principal.organization, query.filters, query.after, query.per_page + 1
        )
    page, headers = page_headers(
        query, rows, lambda row: Place(row.created_at, 0, low_bits_of(result_id(row.request_id, row.ordinal)))
    )
    return Reply(200, encode(await _shown(request, page)), headers)

"""Bulk requests worked off, in the background of the service.

Each item is done by the very handler that does it when it comes alone, under an idempotency key that no caller can
send: what is done again after a crash happens once, and has the same result.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Raw, Struct

from doppia.accounting.errors import KeyInvalid, LedgerError, ParameterInvalid, ParameterUnknown, TryAgain
from doppia.accounting.ids import parse_id
from doppia.accounting.platform.bulk import ERROR, Action, BulkRequest, Resource, result_id
from doppia.api.http.errors import ErrorDetail, error_detail, internal_error
from doppia.api.http.request import BodyDecoder, Reply, Request, Service, encode
from doppia.api.ledger import accounts, transactions
from doppia.api.platform.bulk import BulkErrorObject
from doppia.engine.platform import bulk as engine
from doppia.store.platform import bulk as store
from doppia.store.platform.bulk import Told
from doppia.store.platform.organizations import Principal

AT_ONCE: Final = 64
"""Items under way together: enough to be posted in groups, few beside what others send."""

_ROUTE: Final = "bulk_requests"
"""Stands for the route in the idempotency keys of items; no route is called so."""

_log = structlog.get_logger()


async def work_off(service: Service) -> None:
    """Do what is left to do of all bulk requests, unless another process is at it.

    Those of one organization are done one after the other, and organizations take turns.

    Raises:
        TryAgain: the service could not answer an item; it and what waits behind it is done by the next call.
    """
    async with service.database.connection() as connection:
        if not await store.unfinished(connection) or not await store.claim(connection):
            return
        try:
            await _take_turns(service)
        finally:
            await store.release(connection)


async def _take_turns(service: Service) -> None:
    left: set[UUID] = set()
    troubles: list[TryAgain] = []
    while True:
        async with service.database.connection() as connection:
            turns = [
                (request, Principal(request.key_id, request.organization, role) if role else None)
                for request, role in await store.unfinished(connection)
                if request.organization not in left
            ]
        if not turns:
            break
        for request, principal in turns:
            done = await _take_turn(service, request, principal)
            met = [one for one in done if isinstance(one, TryAgain)]
            troubles += met
            if met or not done:
                # Where nothing is pending, another process that was cut off from its claim is telling the last of it.
                left.add(request.organization)
    if troubles:
        raise troubles[0]


async def _take_turn(service: Service, request: BulkRequest, principal: Principal | None) -> list[Told | TryAgain]:
    """Do the next items of a bulk request, and tell what became of them.

    Args:
        service: the service.
        request: one that is not completed.
        principal: in whose name; None where the key is revoked.
    """
    async with service.database.connection() as connection:
        items = await store.pending(connection, request, AT_ONCE)
    do = partial(_do, service, principal, request)
    if request.resource_type == "ledger_transaction":
        done = await asyncio.gather(*(do(ordinal, params) for ordinal, params in items))
    else:
        # Accounts are written one at a time; more at once would only wait for each other, each with a connection.
        done = [await do(ordinal, params) for ordinal, params in items]
    told = [one for one in done if isinstance(one, Told)]
    if told:
        await engine.tell(service.database, service.clock, request, told)
    return done


async def _do(
    service: Service, principal: Principal | None, request: BulkRequest, ordinal: int, params: bytes | None
) -> Told | TryAgain:
    """Do one item; return what to tell of it, or the trouble that kept it from being done."""
    try:
        if params is None:
            where = f"resources[{ordinal - 1}]"
            raise ParameterInvalid(parameter=where, reason="is forgotten, for its ledger was purged before it was done")
        if principal is None:
            raise KeyInvalid
        path, body = _apart(request, params)
        key = f"{request.id} {ordinal}"
        asked = Request(service, principal, _ROUTE, path, b"", "application/json", key, body)
        answer = await _HANDLERS[request.action_type, request.resource_type](asked)
    except TryAgain as trouble:
        return trouble
    except LedgerError as refusal:
        return _failed(service, request, ordinal, error_detail(refusal)[1])
    except Exception:  # noqa: BLE001 - whatever it is, the item gets a result and the log the rest
        _log.exception("an item of a bulk request failed", bulk_request=str(request.id), index=ordinal - 1)
        return _failed(service, request, ordinal, internal_error())
    made = _MADE.decode(answer.body).id
    id_ = parse_id(made)
    assert id_ is not None, "transactions and accounts have ids of a ledger"
    return Told(ordinal, id_.ledger, "successful", request.resource_type, UUID(made), answer.body)


_HANDLERS: Final[Mapping[tuple[Action, Resource], Callable[[Request], Awaitable[Reply]]]] = {
    ("create", "ledger_transaction"): transactions.create,
    ("update", "ledger_transaction"): transactions.update,
    ("delete", "ledger_transaction"): transactions.update,
    ("create", "ledger_account"): accounts.create,
    ("update", "ledger_account"): accounts.update,
    ("delete", "ledger_account"): accounts.delete,
}
_ARCHIVE: Final = b'{"status":"archived"}'


class _Named(Struct):
    """Where an item says what it is about."""

    id: str


_NAMED: Final = BodyDecoder(_Named)
_FIELDS: Final = BodyDecoder(dict[str, Raw])
_MADE: Final = msgspec.json.Decoder(_Named)


def _apart(request: BulkRequest, params: bytes) -> tuple[Mapping[str, str], bytes]:
    """Return the parameters of the path and the body that an item has when it comes alone.

    Raises:
        ParameterMissing, ParameterInvalid: it has no id.
        ParameterUnknown: one to delete has more.
    """
    if request.action_type == "create":
        return {}, params
    path = {"id": _NAMED.decode(params).id}
    rest = {name: value for name, value in _FIELDS.decode(params).items() if name != "id"}
    if request.action_type == "update":
        return path, encode(rest)
    if rest:
        raise ParameterUnknown(parameter=next(iter(rest))[:200])
    return path, _ARCHIVE if request.resource_type == "ledger_transaction" else b""


def _failed(service: Service, request: BulkRequest, ordinal: int, detail: ErrorDetail) -> Told:
    id_, now = result_id(request.id, ERROR + ordinal), service.clock()
    error = BulkErrorObject(id=str(id_), created_at=now, updated_at=now, request_errors=[detail])
    return Told(ordinal, None, "failed", "bulk_error", id_, encode(error))

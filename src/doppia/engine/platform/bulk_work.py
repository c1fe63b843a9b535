"""The background work on bulk requests: their items are done.

Each item is a command. It is performed in the name of the API key that sent the request, under an idempotency key that
no caller can send. So an item that is done again after a crash has one effect and one result.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog

from doppia.accounting.errors import KeyInvalid, LedgerError, ParameterInvalid, TryAgain
from doppia.accounting.ids import parse_id
from doppia.accounting.ledger.accounts import AccountFields
from doppia.accounting.ledger.transactions import Transaction
from doppia.accounting.platform.bulk import ERROR, BulkRequest, result_id
from doppia.engine.performing import Engine
from doppia.engine.platform.bulk import store_results
from doppia.engine.posting.kept import keep, keep_fault, keep_refusal
from doppia.engine.posting.writing import Caller, Command
from doppia.store.platform import bulk as store
from doppia.store.platform.bulk import Told
from doppia.store.platform.organizations import Principal

AT_ONCE: Final = 64
"""At most this many items are under way at once: enough to be posted in groups, and few beside what callers send."""

_log = structlog.get_logger()


class Item(NamedTuple):
    """An item of a bulk request, as it was sent, and who sent it.

    Attributes:
        principal: the API key in whose name the item is done.
        ordinal: the item's place in the request, from 1.
        params: the item as it was sent, in JSON.
    """

    principal: Principal
    request: BulkRequest
    ordinal: int
    params: bytes


Reader = Callable[[Item], Awaitable[tuple[Caller, Command[Any]]]]
"""A reader returns the command that an item asks for, and its caller. It raises LedgerError for a malformed item."""


async def work_off(engine: Engine, read: Reader) -> None:
    """Do all items of bulk requests that are left to do, unless another process does so.

    The requests of one organization are done one after the other, and organizations take turns.

    Raises:
        TryAgain: the service could not answer an item. That item and those after it are left for the next call.
    """
    async with engine.database.connection() as connection:
        if not await store.unfinished(connection) or not await store.claim(connection):
            return
        try:
            await _take_turns(engine, read)
        finally:
            await store.release(connection)


async def _take_turns(engine: Engine, read: Reader) -> None:
    left: set[UUID] = set()
    troubles: list[TryAgain] = []
    while True:
        async with engine.database.connection() as connection:
            turns = [
                (request, Principal(request.key_id, request.organization, role) if role else None)
                for request, role in await store.unfinished(connection)
                if request.organization not in left
            ]
        if not turns:
            break
        for request, principal in turns:
            done = await _take_turn(engine, read, request, principal)
            met = [one for one in done if isinstance(one, TryAgain)]
            troubles += met
            if met or not done:
                # No item is pending where another process, which lost its claim, is storing the last results.
                left.add(request.organization)
    if troubles:
        raise troubles[0]


async def _take_turn(
    engine: Engine, read: Reader, request: BulkRequest, principal: Principal | None
) -> list[Told | TryAgain]:
    """Do the next items of a bulk request, and store and return their results.

    Args:
        engine: the engine that performs the items.
        read: what makes a command of an item.
        request: a request that is not completed.
        principal: the API key in whose name the items are done; None where it is revoked.
    """
    async with engine.database.connection() as connection:
        items = await store.pending(connection, request, AT_ONCE)
    do = partial(_do, engine, read, request, principal)
    if request.resource_type == "ledger_transaction":
        done = await asyncio.gather(*(do(ordinal, params) for ordinal, params in items))
    else:
        # Accounts are written one at a time; more at once would only wait for each other, each with a connection.
        done = [await do(ordinal, params) for ordinal, params in items]
    results = [one for one in done if isinstance(one, Told)]
    if results:
        await store_results(engine.database, engine.clock, request, results)
    return done


async def _do(
    engine: Engine, read: Reader, request: BulkRequest, principal: Principal | None, ordinal: int, params: bytes | None
) -> Told | TryAgain:
    """Do one item. Return its result, or the reason why the service can't do it now."""
    failed = partial(Told, ordinal, None, "failed", "bulk_error", result_id(request.id, ERROR + ordinal))
    try:
        if params is None:
            where = f"resources[{ordinal - 1}]"
            raise ParameterInvalid(parameter=where, reason="is forgotten, for its ledger was purged before it was done")
        if principal is None:
            raise KeyInvalid
        caller, command = await read(Item(principal, request, ordinal, params))
        made: AccountFields | Transaction = await engine.perform(caller, command)
    except TryAgain as trouble:
        return trouble
    except LedgerError as refusal:
        return failed(keep_refusal(refusal))
    except Exception:  # noqa: BLE001 - the item gets a result, whatever the fault is, and the log says more
        _log.exception("an item of a bulk request failed", bulk_request=str(request.id), index=ordinal - 1)
        return failed(keep_fault())
    id_ = parse_id(made.account.id if isinstance(made, AccountFields) else made.id)
    assert id_ is not None, "transactions and accounts have ids of a ledger"
    return Told(ordinal, id_.ledger, "successful", request.resource_type, UUID(str(id_)), keep(made))

"""Balance monitors: create, update, discard. What triggers and resolves them stands in `books`."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from doppia.accounting.errors import AccountDiscarded, ObjectDiscarded, ObjectNotFound
from doppia.accounting.ids import Id, format_id
from doppia.accounting.ledger.monitors import (
    AlertOperator,
    Monitor,
    MonitoredField,
    MonitorFields,
    MonitorState,
    check_room,
    condition_holds,
)
from doppia.accounting.platform.events import Event
from doppia.accounting.texts import merge_metadata
from doppia.engine.posting.books import monitor_record
from doppia.engine.posting.writing import Answer, Clock, Key, Writing, writing
from doppia.proof.records import microseconds
from doppia.store.database.connections import Database
from doppia.store.ledger import accounts, monitors

Render = Callable[[MonitorState], bytes]


async def create(
    database: Database,
    clock: Clock,
    account_id: Id,
    actor: UUID | None,
    key: Key | None,
    render: Render,
    *,
    field: MonitoredField,
    operator: AlertOperator,
    value: int,
    description: str | None,
    metadata: Mapping[str, str],
) -> Answer:
    """Create a monitor of an account. It starts triggered, without an event that says so, where its condition holds.

    Raises:
        IdempotencyKeyReused, LedgerDiscarded.
        ObjectNotFound: of the account.
        AccountDiscarded: nothing will happen to it any more.
        TooManyMonitors: as `check_room`.
    """
    async with writing(database, clock, account_id, key) as write:
        if write.replay is not None:
            return write.replay
        found = await accounts.get(write.connection, account_id.ledger, account_id.sequence)
        if found is None or found.account.id != str(account_id):
            raise ObjectNotFound(object="ledger_account", id=str(account_id), parameter="ledger_account_id")
        account = found.account
        if not account.is_open:
            raise AccountDiscarded(ledger_account_id=account.id, parameter="ledger_account_id")
        watching = await monitors.of_accounts(write.connection, account_id.ledger, [account.sequence])
        check_room(len(watching.get(account.sequence, ())), account)
        is_triggered = condition_holds(field, operator, value, account)
        created = MonitorFields(
            monitor=Monitor(write.sequence, account.sequence, field, operator, value, is_triggered),
            id=format_id(int(write.now.timestamp()), account_id.ledger, write.sequence),
            ledger=account_id.ledger,
            description=description,
            metadata=metadata,
            created_at=write.now,
            updated_at=write.now,
            discarded_at=None,
        )
        await monitors.create(write.connection, created)
        return await _conclude(write, MonitorState(created, account), actor, Event.CREATED, 201, render)


async def _conclude(
    write: Writing, state: MonitorState, actor: UUID | None, event: Event, status: int, render: Render
) -> Answer:
    record = monitor_record(
        state.fields,
        state.account.lock_version,
        write.sequence,
        microseconds(write.now),
        actor.bytes if actor else None,
        event,
    )
    await write.append(record)
    return await write.answer(status, render(state))


async def _find(write: Writing, target: Id) -> MonitorState:
    found = await monitors.get(write.connection, target.ledger, target.sequence)
    if found is None or found.fields.id != str(target):
        raise ObjectNotFound(object="ledger_account_balance_monitor", id=str(target))
    return found


async def update(
    database: Database,
    clock: Clock,
    target: Id,
    actor: UUID | None,
    key: Key | None,
    render: Render,
    changes: Mapping[str, Any],
) -> Answer:
    """Change a monitor's description or metadata; metadata is merged in.

    Raises:
        IdempotencyKeyReused, LedgerDiscarded, ObjectNotFound, ObjectDiscarded, MetadataTooLarge.
    """
    async with writing(database, clock, target, key) as write:
        if write.replay is not None:
            return write.replay
        fields, account = await _find(write, target)
        if fields.discarded_at is not None:
            raise ObjectDiscarded(object="ledger_account_balance_monitor", id=fields.id)
        fields = fields._replace(
            description=changes.get("description", fields.description),
            metadata=merge_metadata(fields.metadata, changes.get("metadata") or {}),
            updated_at=write.now,
        )
        await monitors.update(write.connection, fields)
        return await _conclude(write, MonitorState(fields, account), actor, Event.UPDATED, 200, render)


async def discard(
    database: Database, clock: Clock, target: Id, actor: UUID | None, key: Key | None, render: Render
) -> Answer:
    """Discard a monitor: it is never triggered or resolved again. Discarding it again changes nothing.

    Raises:
        IdempotencyKeyReused, LedgerDiscarded, ObjectNotFound.
    """
    async with writing(database, clock, target, key) as write:
        if write.replay is not None:
            return write.replay
        fields, account = await _find(write, target)
        if fields.discarded_at is not None:
            return await write.answer(200, render(MonitorState(fields, account)))
        fields = fields._replace(discarded_at=write.now, updated_at=write.now)
        await monitors.discard(write.connection, fields)
        return await _conclude(write, MonitorState(fields, account), actor, Event.DISCARDED, 200, render)

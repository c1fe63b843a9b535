"""Accounts: open, update, discard."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from doppia.accounting.errors import AccountDiscarded, ExternalIdTaken, ObjectNotFound
from doppia.accounting.ids import Id, format_id
from doppia.accounting.ledger.accounts import Account, AccountFields, check_discard
from doppia.accounting.ledger.balances import NOTHING, Direction
from doppia.accounting.money import Currency
from doppia.accounting.platform.events import Event
from doppia.accounting.texts import merge_metadata
from doppia.engine.ledger import categories
from doppia.engine.posting.writing import Answer, Clock, Key, Writing, writing
from doppia.proof.records import AccountWritten, microseconds
from doppia.store.database.connections import Database
from doppia.store.ledger import accounts

Render = Callable[[AccountFields], bytes]


async def open_(
    database: Database,
    clock: Clock,
    ledger: Id,
    actor: UUID | None,
    key: Key | None,
    render: Render,
    *,
    name: str,
    currency: Currency,
    normal_balance: Direction,
    description: str | None = None,
    external_id: str | None = None,
    ledgerable_type: str | None = None,
    ledgerable_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
    parents: Sequence[Id] = (),
) -> Answer:
    """Open an account at zero, directly in the categories `parents`.

    Raises:
        ObjectNotFound: of the ledger.
        IdempotencyKeyReused, LedgerDiscarded.
        ExternalIdTaken: an active account of the ledger has the external id.
        ObjectNotFound, ObjectDiscarded, CurrencyMismatch: of a category, the first that is refused.
        TooManyCategories.
    """
    async with writing(database, clock, ledger, key) as write:
        if write.replay is not None:
            return write.replay
        await _check_external_id(write, external_id)
        id_ = format_id(int(write.now.timestamp()), ledger.ledger, write.sequence)
        opened = AccountFields(
            account=Account(id_, write.sequence, currency, normal_balance, True, 0, NOTHING),
            ledger=ledger.ledger,
            name=name,
            description=description,
            external_id=external_id,
            ledgerable_type=ledgerable_type,
            ledgerable_id=ledgerable_id,
            metadata=metadata or {},
            created_at=write.now,
            updated_at=write.now,
            discarded_at=None,
        )
        await accounts.create(write.connection, opened)
        await write.append(_record(opened, write.sequence, actor, Event.CREATED))
        await categories.open_in(write, opened.account, parents, actor)
        return await write.answer(201, render(opened))


async def _check_external_id(write: Writing, external_id: str | None) -> None:
    if external_id is None:
        return
    holder = await accounts.external_id_holder(write.connection, write.ledger, external_id)
    if holder is not None:
        raise ExternalIdTaken(external_id=external_id, taken_by=holder[1])


def _record(fields: AccountFields, sequence: int, actor: UUID | None, event: Event) -> AccountWritten:
    account = fields.account
    return AccountWritten(
        sequence=sequence,
        recorded_at=microseconds(fields.updated_at),
        actor=actor.bytes if actor else None,
        event=event,
        account=account.sequence,
        name=fields.name,
        description=fields.description,
        currency=account.currency.code,
        currency_exponent=account.currency.exponent,
        normal_balance=account.normal_balance,
        external_id=fields.external_id,
        ledgerable_type=fields.ledgerable_type,
        ledgerable_id=fields.ledgerable_id,
        metadata=dict(fields.metadata),
        discarded=fields.discarded_at is not None,
    )


async def _find(write: Writing, target: Id) -> AccountFields:
    fields = await accounts.get(write.connection, target.ledger, target.sequence)
    if fields is None or fields.account.id != str(target):
        raise ObjectNotFound(object="ledger_account", id=str(target))
    return fields


async def update(
    database: Database,
    clock: Clock,
    target: Id,
    actor: UUID | None,
    key: Key | None,
    render: Render,
    changes: Mapping[str, Any],
) -> Answer:
    """Change an account's name, description, external_id or metadata; metadata is merged in.

    Raises:
        ObjectNotFound, IdempotencyKeyReused, LedgerDiscarded, AccountDiscarded, ExternalIdTaken, MetadataTooLarge.
    """
    async with writing(database, clock, target, key) as write:
        if write.replay is not None:
            return write.replay
        fields = await _find(write, target)
        if fields.discarded_at is not None:
            raise AccountDiscarded(ledger_account_id=fields.account.id)
        external_id = changes.get("external_id", fields.external_id)
        if external_id != fields.external_id:
            await _check_external_id(write, external_id)
        fields = fields._replace(
            name=changes.get("name", fields.name),
            description=changes.get("description", fields.description),
            external_id=external_id,
            metadata=merge_metadata(fields.metadata, changes.get("metadata") or {}),
            updated_at=write.now,
        )
        await accounts.update(write.connection, fields)
        await write.append(_record(fields, write.sequence, actor, Event.UPDATED))
        return await write.answer(200, render(fields))


async def discard(
    database: Database, clock: Clock, target: Id, actor: UUID | None, key: Key | None, render: Render
) -> Answer:
    """Discard an account that is at zero with nothing pending. Discarding it again changes nothing.

    Raises:
        ObjectNotFound, IdempotencyKeyReused, LedgerDiscarded, AccountNotEmpty.
    """
    async with writing(database, clock, target, key) as write:
        if write.replay is not None:
            return write.replay
        fields = await _find(write, target)
        if fields.discarded_at is None:
            pending = await accounts.count_pending_entries(write.connection, target.ledger, target.sequence)
            check_discard(fields.account, pending_entries=pending)
            fields = fields._replace(discarded_at=write.now, updated_at=write.now)
            await accounts.discard(write.connection, target.ledger, target.sequence, write.now)
            await write.append(_record(fields, write.sequence, actor, Event.DISCARDED))
        return await write.answer(200, render(fields))

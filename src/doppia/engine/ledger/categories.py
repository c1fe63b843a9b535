"""Categories: create, update, discard; accounts and other categories come to them and leave them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from doppia.accounting.errors import AccountDiscarded, ExternalIdTaken, ObjectDiscarded, ObjectNotFound
from doppia.accounting.ids import Id, format_id
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, Direction
from doppia.accounting.ledger.categories import (
    Category,
    CategoryFields,
    check_categories_of_account,
    check_nesting,
    check_unit,
)
from doppia.accounting.money import Currency
from doppia.accounting.platform.events import Event
from doppia.accounting.texts import merge_metadata
from doppia.engine.posting.writing import Answer, Clock, Key, Writing, writing
from doppia.proof.records import AccountCategories, CategoryParents, CategoryWritten, microseconds
from doppia.store.database.connections import Database
from doppia.store.ledger import categories as store

Render = Callable[[CategoryFields], bytes]

KIND = "ledger_account_category"


async def create(
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
    parents: Sequence[Id] = (),
    metadata: Mapping[str, str] | None = None,
) -> Answer:
    """Create a category, directly below others where `parents` names them.

    Raises:
        ObjectNotFound: of the ledger.
        IdempotencyKeyReused, LedgerDiscarded.
        ExternalIdTaken: a category of the ledger has the external id.
        ObjectNotFound, ObjectDiscarded, CurrencyMismatch: of a parent, the first that is refused.
        CategoryTooDeep.
    """
    async with writing(database, clock, ledger, key) as write:
        if write.replay is not None:
            return write.replay
        await _check_external_id(write, external_id)
        uppers = await _named(write, parents, currency)
        id_ = format_id(int(write.now.timestamp()), write.ledger, write.sequence)
        created = CategoryFields(
            category=Category(id_, write.sequence, currency, normal_balance, True),
            ledger=write.ledger,
            name=name,
            description=description,
            external_id=external_id,
            metadata=metadata or {},
            sums=NOTHING,
            created_at=write.now,
            updated_at=write.now,
            discarded_at=None,
        )
        await store.create(write.connection, created)
        await write.append(_record(created, write.sequence, actor, Event.CREATED))
        if uppers:
            await _join(write, uppers, created.category.sequence, [], actor)
        return await write.answer(201, render(created))


async def _check_external_id(write: Writing, external_id: str | None) -> None:
    if external_id is None:
        return
    holder = await store.external_id_holder(write.connection, write.ledger, external_id)
    if holder is not None:
        raise ExternalIdTaken(external_id=external_id, taken_by=holder[1])


def _record(fields: CategoryFields, sequence: int, actor: UUID | None, event: Event) -> CategoryWritten:
    category = fields.category
    return CategoryWritten(
        sequence=sequence,
        recorded_at=microseconds(fields.updated_at),
        actor=actor.bytes if actor else None,
        event=event,
        category=category.sequence,
        name=fields.name,
        description=fields.description,
        currency=category.currency.code,
        currency_exponent=category.currency.exponent,
        normal_balance=category.normal_balance,
        external_id=fields.external_id,
        metadata=dict(fields.metadata),
        discarded=fields.discarded_at is not None,
    )


def _check_open(category: Category | None, target: Id, parameter: str | None = None) -> Category:
    """Return the category that was found for an id.

    Raises:
        ObjectNotFound, ObjectDiscarded.
    """
    if category is None or category.id != str(target):
        raise ObjectNotFound(object=KIND, id=str(target), parameter=parameter)
    if not category.is_open:
        raise ObjectDiscarded(object=KIND, id=category.id, parameter=parameter)
    return category


async def _named(write: Writing, ids: Sequence[Id], unit: Currency) -> list[int]:
    """Return the categories that `ledger_account_category_ids` names for something of this unit, in ascending order.

    Raises:
        ObjectNotFound, ObjectDiscarded, CurrencyMismatch: of the first that is refused.
    """
    found = await store.find(write.connection, write.ledger, {id_.sequence for id_ in ids}) if ids else {}
    for position, id_ in enumerate(ids):
        where = f"ledger_account_category_ids[{position}]"
        check_unit(unit, _check_open(found.get(id_.sequence), id_, where), where)
    return sorted(found)


async def open_in(write: Writing, account: Account, categories: Sequence[Id], actor: UUID | None) -> None:
    """Put an account that the same write has just opened into categories.

    Raises:
        ObjectNotFound, ObjectDiscarded, CurrencyMismatch: of the first that is refused.
        TooManyCategories.
    """
    named = await _named(write, categories, account.currency)
    if named:
        await _place(write, account.sequence, None, named, actor)


async def _place(
    write: Writing, account: int, category: int | None, categories: Sequence[int], actor: UUID | None
) -> None:
    check_categories_of_account(len(categories))
    await store.place(write.connection, write.ledger, account, categories, write.sequence)
    record = AccountCategories(
        sequence=write.sequence,
        recorded_at=microseconds(write.now),
        actor=actor.bytes if actor else None,
        # It is the category that changed; of an account that was opened in them, the account.
        event=Event.CREATED if category is None else Event.UPDATED,
        account=account,
        category=category,
        categories=list(categories),
    )
    await write.append(record)


async def _join(write: Writing, uppers: Sequence[int], lower: int, parents: Sequence[int], actor: UUID | None) -> None:
    """Put a category directly below others, besides the `parents` it has."""
    children = await store.children_around(write.connection, write.ledger, uppers, lower)
    for upper in uppers:
        check_nesting(upper, lower, children)
    await store.join(write.connection, write.ledger, uppers, lower)
    await _append_parents(write, lower, sorted([*parents, *uppers]), actor)


async def _append_parents(write: Writing, category: int, parents: list[int], actor: UUID | None) -> None:
    record = CategoryParents(
        sequence=write.sequence,
        recorded_at=microseconds(write.now),
        actor=actor.bytes if actor else None,
        event=Event.UPDATED,
        category=category,
        parents=parents,
    )
    await write.append(record)


async def _find(write: Writing, target: Id) -> CategoryFields:
    fields = await store.get(write.connection, write.ledger, target.sequence)
    if fields is None or fields.category.id != str(target):
        raise ObjectNotFound(object=KIND, id=str(target))
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
    """Change a category's name, description, external_id or metadata; metadata is merged in.

    Raises:
        ObjectNotFound, IdempotencyKeyReused, LedgerDiscarded, ObjectDiscarded, ExternalIdTaken, MetadataTooLarge.
    """
    async with writing(database, clock, target, key) as write:
        if write.replay is not None:
            return write.replay
        fields = await _find(write, target)
        _check_open(fields.category, target)
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
        await store.update(write.connection, fields)
        await write.append(_record(fields, write.sequence, actor, Event.UPDATED))
        return await write.answer(200, render(fields))


async def discard(
    database: Database, clock: Clock, target: Id, actor: UUID | None, key: Key | None, render: Render
) -> Answer:
    """Discard a category: from now on it holds nothing and is in nothing. Discarding it again changes nothing.

    Raises:
        ObjectNotFound, IdempotencyKeyReused, LedgerDiscarded.
    """
    async with writing(database, clock, target, key) as write:
        if write.replay is not None:
            return write.replay
        fields = await _find(write, target)
        if fields.discarded_at is None:
            fields = fields._replace(sums=NOTHING, discarded_at=write.now, updated_at=write.now)
            await store.discard(write.connection, write.ledger, target.sequence, write.now)
            await write.append(_record(fields, write.sequence, actor, Event.DISCARDED))
        return await write.answer(200, render(fields))


async def place_account(
    database: Database, clock: Clock, target: Id, member: Id, actor: UUID | None, key: Key | None, *, inside: bool
) -> Answer:
    """Put an account directly into a category of the same ledger, or take it out. If it is so already, nothing changes.

    Raises:
        IdempotencyKeyReused, LedgerDiscarded.
        ObjectNotFound, ObjectDiscarded: of the category.
        ObjectNotFound, AccountDiscarded: of the account.
        CurrencyMismatch, TooManyCategories.
    """
    async with writing(database, clock, target, key) as write:
        if write.replay is not None:
            return write.replay
        found = await store.find(write.connection, write.ledger, [target.sequence])
        category = _check_open(found.get(target.sequence), target)
        account = await store.member(write.connection, write.ledger, member.sequence)
        if account is None or account.id != str(member):
            raise ObjectNotFound(object="ledger_account", id=str(member), parameter="ledger_account_id")
        if not account.is_open:
            raise AccountDiscarded(ledger_account_id=account.id, parameter="ledger_account_id")
        if (category.sequence in account.categories) is not inside:
            if inside:
                check_unit(account.currency, category)
            changed = sorted({*account.categories} ^ {category.sequence})
            await _place(write, member.sequence, category.sequence, changed, actor)
        return await write.answer(200, b"")


async def place_category(
    database: Database, clock: Clock, target: Id, member: Id, actor: UUID | None, key: Key | None, *, inside: bool
) -> Answer:
    """Put a category directly into another of the same ledger, or take it out. If it is so already, nothing changes.

    Raises:
        IdempotencyKeyReused, LedgerDiscarded.
        ObjectNotFound, ObjectDiscarded: of the upper one, then of the lower one.
        CurrencyMismatch, CategoryCycle, CategoryTooDeep.
    """
    async with writing(database, clock, target, key) as write:
        if write.replay is not None:
            return write.replay
        found = await store.find(write.connection, write.ledger, [target.sequence, member.sequence])
        upper = _check_open(found.get(target.sequence), target)
        lower = _check_open(found.get(member.sequence), member, "sub_category_id")
        parents = await store.parents(write.connection, write.ledger, lower.sequence)
        if inside and upper.sequence not in parents:
            check_unit(lower.currency, upper)
            await _join(write, [upper.sequence], lower.sequence, parents, actor)
        elif not inside and upper.sequence in parents:
            await store.part(write.connection, write.ledger, upper.sequence, lower.sequence)
            await _append_parents(write, lower.sequence, sorted({*parents} - {upper.sequence}), actor)
        return await write.answer(200, b"")

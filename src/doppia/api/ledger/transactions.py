"""Ledger transactions over HTTP."""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from functools import partial
from typing import Any, Final, Literal, Protocol

from doppia.accounting.errors import AmbiguousExternalId, LedgerError, ObjectNotFound
from doppia.accounting.ids import Id, LedgerRef, format_id, parse_id
from doppia.accounting.ledger.transactions import Draft, Entry, Transaction
from doppia.api.http.lists import id_kind, kinds_of, parse_list
from doppia.api.http.pages import answer_page, ledgers_of, order_of
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import (
    Amount,
    AmountText,
    BalancesObject,
    CurrencyExponent,
    LockVersion,
    Object,
    Time,
    UuidText,
    balances,
    in_order,
    new_metadata,
)
from doppia.api.ledger.drafts import (
    PartialPostCreate,
    ReversalCreate,
    StatusText,
    TransactionCreate,
    TransactionUpdate,
    read_create,
    read_effective_at,
    read_legs,
    read_update,
)
from doppia.engine.posting.commands import CreateTransaction, PostPart, ReverseTransaction, ReviseTransaction
from doppia.store.database.listing import Place
from doppia.store.ledger import transactions as store


class EntryObject(Object, kw_only=True):
    """An entry: one leg of a transaction. `status` is the transaction's when the entry was written."""

    object: Literal["ledger_entry"] = "ledger_entry"
    ledger_account_id: UuidText
    ledger_account_currency: str
    ledger_account_currency_exponent: CurrencyExponent
    ledger_account_lock_version: LockVersion | None
    ledger_transaction_id: UuidText
    direction: Literal["credit", "debit"]
    amount: Amount
    amount_string: AmountText
    status: StatusText
    effective_at: Time
    resulting_ledger_account_balances: BalancesObject | None
    metadata: dict[str, str]
    discarded_at: Time | None


class TransactionObject(Object, kw_only=True):
    """A transaction: a balanced set of entries, accepted or refused as a whole."""

    object: Literal["ledger_transaction"] = "ledger_transaction"
    ledger_id: UuidText
    status: StatusText
    description: str | None
    external_id: str | None
    effective_at: Time
    effective_date: date
    posted_at: Time | None
    archived_reason: str | None
    ledgerable_type: str | None
    ledgerable_id: str | None
    reverses_ledger_transaction_id: UuidText | None
    reversed_by_ledger_transaction_id: UuidText | None
    partially_posts_ledger_transaction_id: UuidText | None
    expires_at: Time | None
    metadata: dict[str, str]
    ledger_entries: list[EntryObject]


_CREATE: Final = BodyDecoder(TransactionCreate)
_UPDATE: Final = BodyDecoder(TransactionUpdate)
_REVERSAL: Final = BodyDecoder(ReversalCreate)
_PARTIAL_POST: Final = BodyDecoder(PartialPostCreate)

GET_PARAMETERS: Final = {"ledger_id": id_kind("ledger")}
FILTERS: Final = kinds_of(store.PARAMETERS)


def entry_object(entry: Entry, ledger: int, transaction_id: str, *, shows_balances: bool) -> EntryObject:
    """Return an entry as the wire shows it."""
    account = entry.account
    counts = entry.status != "archived"
    return EntryObject(
        id=format_id(int(entry.created_at.timestamp()), ledger, entry.sequence, entry.ordinal),
        created_at=entry.created_at,
        updated_at=entry.updated_at,
        ledger_account_id=account.id,
        ledger_account_currency=account.currency.code,
        ledger_account_currency_exponent=account.currency.exponent,
        ledger_account_lock_version=account.lock_version if counts else None,
        ledger_transaction_id=transaction_id,
        direction=entry.direction,
        amount=entry.amount,
        amount_string=str(entry.amount),
        status=entry.status,
        effective_at=entry.effective_at,
        resulting_ledger_account_balances=balances(account) if shows_balances and counts else None,
        metadata=in_order(entry.metadata),
        discarded_at=entry.discarded_at,
    )


def to_object(transaction: Transaction, ledger: int, ledger_id: str, shows: Sequence[bool] = ()) -> TransactionObject:
    """Return a transaction as the wire shows it.

    Args:
        transaction: with its entries in force.
        ledger: its number.
        ledger_id: its id.
        shows: for each entry whether its resulting balances are shown; none are when empty.
    """
    shown = shows or [False] * len(transaction.entries)
    return TransactionObject(
        id=transaction.id,
        ledger_id=ledger_id,
        status=transaction.status,
        description=transaction.description,
        external_id=transaction.external_id,
        effective_at=transaction.effective_at,
        effective_date=transaction.effective_at.date(),
        posted_at=transaction.posted_at,
        archived_reason=transaction.archived_reason,
        ledgerable_type=transaction.ledgerable_type,
        ledgerable_id=transaction.ledgerable_id,
        reverses_ledger_transaction_id=transaction.reverses and transaction.reverses[1],
        reversed_by_ledger_transaction_id=transaction.reversed_by and transaction.reversed_by[1],
        partially_posts_ledger_transaction_id=transaction.partially_posts and transaction.partially_posts[1],
        expires_at=transaction.expires_at,
        metadata=in_order(transaction.metadata),
        created_at=transaction.created_at,
        updated_at=transaction.updated_at,
        ledger_entries=[
            entry_object(entry, ledger, transaction.id, shows_balances=show)
            for entry, show in zip(transaction.entries, shown, strict=True)
        ],
    )


class _Shows(Protocol):
    """An entry of a request, which says whether its account's resulting balances are to be shown."""

    show_resulting_ledger_account_balances: bool | None


def shows_of(entries: Iterable[_Shows]) -> list[bool]:
    """Return whose resulting balances a request asks to be shown; nothing where it asks for none."""
    shows = [bool(entry.show_resulting_ledger_account_balances) for entry in entries]
    return shows if any(shows) else []


def _reply(status: int, transaction: Transaction, ledger: LedgerRef, shows: Sequence[bool] = ()) -> Reply:
    return Reply(status, encode(to_object(transaction, ledger.number, ledger.id, shows)))


async def read_creation(request: Request) -> tuple[CreateTransaction, TransactionCreate]:
    """Return the transaction that a request asks to create, and what its idempotency key stands for."""
    body = request.decode(_CREATE)
    draft, account = await read_create(request, body)
    command = CreateTransaction(
        ledger=request.scope.ledger(account.ledger),
        size_bytes=len(request.body),
        keeps_result=bool(shows_of(body.ledger_entries)),
        draft=draft,
    )
    return command, body


async def create(request: Request) -> Reply:
    """Create a transaction."""
    command, body = await read_creation(request)
    created = await request.perform(command, body)
    return _reply(201, created, command.ledger, shows_of(body.ledger_entries))


async def _target(request: Request, ledger: Id | None = None) -> Id:
    """Return the id of the transaction that a path names, by its id or by its external_id.

    An external_id means the pending or posted transaction that has it, else the newest archived one.

    Raises:
        ObjectNotFound.
        AmbiguousExternalId: transactions of several ledgers have it, and `ledger` says not which.
    """
    text = request.path["id"]
    if parse_id(text) is not None:
        return await request.find(text, "ledger_transaction")
    holders: list[Id] = []
    if "\x00" not in text:  # which no external_id holds, and no database takes
        ledgers = await request.scope.ledgers(None if ledger is None else {ledger.ledger})
        async with request.scope.connection() as connection:
            holders = await store.by_external_id(connection, ledgers, text)
    if not holders:
        raise ObjectNotFound(object="ledger_transaction", id=text[:200])
    if len(holders) > 1:
        ids = [request.scope.ledger_id(holder.ledger) for holder in holders]
        raise AmbiguousExternalId(external_id=text[:200], ledger_ids=ids)
    return holders[0]


async def get(request: Request) -> Reply:
    """Get a transaction with its entries, by its id or its external_id."""
    query = parse_list(request.query, "ledger_transaction", GET_PARAMETERS, paged=False)
    id_ = await _target(request, query.values.get("ledger_id"))
    async with request.scope.connection() as connection:
        found = (await store.get(connection, id_.ledger, [id_.sequence])).get(id_.sequence)
    if found is None or found.id != str(id_):
        raise ObjectNotFound(object="ledger_transaction", id=request.path["id"])
    return Reply(200, encode(to_object(found, id_.ledger, request.scope.ledger_id(id_.ledger))))


async def list_(request: Request) -> Reply:
    """List transactions, the newest first unless order_by says otherwise."""
    query = parse_list(request.query, "ledger_transactions", FILTERS)
    order = order_of(query, store.LIST.newest_first)

    def place(row: tuple[int, Transaction]) -> Place:
        ledger, transaction = row
        time = transaction.created_at if order.time == "created_at" else transaction.effective_at
        return Place(time, ledger, transaction.sequence)

    return await answer_page(
        request,
        query,
        await ledgers_of(request, query),
        partial(store.list_page, order=order),
        place,
        lambda row: to_object(row[1], row[0], request.scope.ledger_id(row[0])),
    )


async def _target_of_change(request: Request, ledger: Id | None, said: Any) -> Id:
    """Return the id of the transaction that a change names, as `_target` does.

    A change that is repeated means the transaction that it changed: it may have taken the external_id away by which it
    names it, and another may have that by now. So the key is looked for after the name.

    Raises what `_target` raises, and IdempotencyKeyReused.
    """
    if parse_id(request.path["id"]) is not None:
        return await _target(request, ledger)
    target: Id | None = None
    missing: LedgerError | None = None
    try:
        target = await _target(request, ledger)
    except (ObjectNotFound, AmbiguousExternalId) as refusal:
        missing = refusal
    repeated = await request.service.engine.repeated(request.caller(said), Transaction)
    if repeated is not None:
        return await request.find(repeated.id, "ledger_transaction")
    if target is None:
        assert missing is not None, "one of both is there"
        raise missing
    return target


async def read_revision(request: Request) -> tuple[ReviseTransaction, Any]:
    """Return the change that a request asks for, and what its idempotency key stands for.

    The request names the transaction by its id or its external_id.
    """
    body = request.decode(_UPDATE)
    query = parse_list(request.query, "ledger_transaction", GET_PARAMETERS, paged=False)
    named = query.values.get("ledger_id")
    said = body if named is None else [str(named), body]
    target = await _target_of_change(request, named, said)
    command = ReviseTransaction(
        ledger=request.scope.ledger(target.ledger),
        size_bytes=len(request.body),
        keeps_result=bool(shows_of(body.ledger_entries or ())) or parse_id(request.path["id"]) is None,
        target=target,
        revision=await read_update(request, body, target),
    )
    return command, said


async def update(request: Request) -> Reply:
    """Update a transaction, named by its id or its external_id."""
    command, said = await read_revision(request)
    body = said if isinstance(said, TransactionUpdate) else said[1]
    return _reply(200, await request.perform(command, said), command.ledger, shows_of(body.ledger_entries or ()))


async def reverse(request: Request) -> Reply:
    """Reverse a posted transaction."""
    body = request.decode(_REVERSAL)
    target = await request.find(request.path["id"], "ledger_transaction")
    draft = Draft(
        (),
        body.status or "posted",
        body.description,
        body.external_id,
        read_effective_at(body.effective_at),
        body.ledgerable_type,
        body.ledgerable_id,
        new_metadata(body.metadata),
    )
    ledger = request.scope.ledger(target.ledger)
    command = ReverseTransaction(ledger=ledger, size_bytes=len(request.body), target=target, draft=draft)
    return _reply(201, await request.perform(command, body), ledger)


async def partial_post(request: Request) -> Reply:
    """Post a part of a pending transaction; the rest stays pending."""
    body = request.decode(_PARTIAL_POST)
    target = await request.find(request.path["id"], "ledger_transaction")
    field = "posted_ledger_entries"
    legs = (
        (await read_legs(request, body.posted_ledger_entries, target, field))[0] if body.posted_ledger_entries else []
    )
    draft = Draft(
        legs,
        "posted",
        body.description,
        effective_at=read_effective_at(body.effective_at),
        metadata=new_metadata(body.metadata),
    )
    ledger, shows = request.scope.ledger(target.ledger), shows_of(body.posted_ledger_entries)
    command = PostPart(
        ledger=ledger, size_bytes=len(request.body), keeps_result=bool(shows), target=target, draft=draft
    )
    try:
        posted = await request.perform(command, body)
    except LedgerError as refusal:
        if refusal.parameter is not None:
            # The rules call the entries of any transaction by one name.
            refusal.parameter = re.sub("^ledger_entries", field, refusal.parameter)
        raise
    return _reply(201, posted, ledger, shows)

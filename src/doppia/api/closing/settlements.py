"""Ledger account settlements over HTTP."""

from typing import Annotated, ClassVar, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from doppia.accounting.closing.settlements import Settlement, SettlementStatus
from doppia.accounting.errors import EntryNotSettleable, MixedLedgers, ObjectNotFound
from doppia.accounting.ids import Id
from doppia.accounting.texts import check_metadata
from doppia.api.http.lists import kinds_of
from doppia.api.http.pages import answer_list
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import (
    CurrencyExponent,
    Description,
    Metadata,
    Object,
    Sum,
    Time,
    TimeText,
    UuidText,
    given,
    in_order,
    new_metadata,
    parse_time,
)
from doppia.engine.closing.settlements import AddEntries, CreateSettlement, RemoveEntries, UpdateSettlement
from doppia.store.closing import settlements as store
from doppia.store.database.listing import Place

_KIND: Final = "ledger_account_settlement"

ENTRIES_PICKED_MAX: Final = 10_000


class SettlementCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A settlement to create: a sweep of all posted entries of an account that are not settled yet, or a draft."""

    example: ClassVar = {
        "settled_ledger_account_id": "65a1b2c3-0000-8000-8400-000000000c00",
        "contra_ledger_account_id": "65a1b2c3-0000-8000-8400-000000000800",
        "effective_at_upper_bound": "2026-04-01T00:00:00Z",
    }

    settled_ledger_account_id: UuidText
    contra_ledger_account_id: UuidText
    status: Literal["pending", "posted", "drafting"] | None = None
    effective_at_upper_bound: TimeText | None = None
    allow_either_direction: bool | None = None
    skip_settlement_ledger_transaction: bool | None = None
    description: Description | None = None
    metadata: Metadata | None = None


class SettlementUpdate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of a settlement; metadata is merged in, and a key set to null or "" is removed."""

    example: ClassVar = {"status": "posted"}

    status: Literal["pending", "posted", "archived"] | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    skip_settlement_ledger_transaction: bool | UnsetType | None = UNSET


class SettlementEntries(Struct, forbid_unknown_fields=True):
    """Entries to add to a draft, or to remove from it."""

    example: ClassVar = {"ledger_entry_ids": ["65a1b2c3-0000-8000-8400-000000001002"]}

    ledger_entry_ids: Annotated[list[UuidText], Meta(max_length=ENTRIES_PICKED_MAX)] | None


class SettlementObject(Object, kw_only=True):
    """A settlement: entries of an account, each in one settlement at most, and the transaction that moves their sum.

    `amount` is null while entries are gathered or picked; `settlement_entry_direction` is that of the entry that moves
    it, on the settled account.
    """

    object: Literal["ledger_account_settlement"] = "ledger_account_settlement"
    ledger_id: UuidText
    description: str | None
    status: SettlementStatus
    settled_ledger_account_id: UuidText
    contra_ledger_account_id: UuidText
    effective_at_upper_bound: Time | None
    allow_either_direction: bool
    skip_settlement_ledger_transaction: bool
    ledger_transaction_id: UuidText | None
    amount: Sum | None
    amount_string: str | None
    settlement_entry_direction: Literal["credit", "debit"] | None
    currency: str
    currency_exponent: CurrencyExponent
    metadata: dict[str, str]


_CREATE: Final = BodyDecoder(SettlementCreate)
_UPDATE: Final = BodyDecoder(SettlementUpdate)
_ENTRIES: Final = BodyDecoder(SettlementEntries)

FILTERS: Final = kinds_of(store.PARAMETERS)


def to_object(settlement: Settlement, ledger_id: str) -> SettlementObject:
    """Return a settlement as the wire shows it."""
    return SettlementObject(
        id=settlement.id,
        ledger_id=ledger_id,
        description=settlement.description,
        status=settlement.status,
        settled_ledger_account_id=settlement.settled_account[1],
        contra_ledger_account_id=settlement.contra_account[1],
        effective_at_upper_bound=settlement.effective_at_upper_bound,
        allow_either_direction=settlement.allows_either_direction,
        skip_settlement_ledger_transaction=settlement.skips_transaction,
        ledger_transaction_id=settlement.transaction and settlement.transaction[1],
        amount=settlement.amount,
        amount_string=None if settlement.amount is None else str(settlement.amount),
        settlement_entry_direction=settlement.direction,
        currency=settlement.currency.code,
        currency_exponent=settlement.currency.exponent,
        metadata=in_order(settlement.metadata),
        created_at=settlement.created_at,
        updated_at=settlement.updated_at,
    )


async def create(request: Request) -> Reply:
    """Create a settlement of an account. A large sweep is answered while it is processing."""
    body = request.decode(_CREATE)
    service = request.service
    bound = body.effective_at_upper_bound
    bound_time = None if bound is None else parse_time(bound, "effective_at_upper_bound")
    metadata = new_metadata(body.metadata)
    settled = await request.find(body.settled_ledger_account_id, "ledger_account", "settled_ledger_account_id")
    contra = await request.find(body.contra_ledger_account_id, "ledger_account", "contra_ledger_account_id")
    ledger = request.scope.ledger(settled.ledger)
    if contra.ledger != settled.ledger:
        raise MixedLedgers(
            ledger_ids=[ledger.id, request.scope.ledger_id(contra.ledger)], parameter="contra_ledger_account_id"
        )
    command = CreateSettlement(
        ledger=ledger,
        settled=settled,
        contra=contra,
        status=body.status or "pending",
        effective_at_upper_bound=bound_time,
        allows_either_direction=bool(body.allow_either_direction),
        skips_transaction=bool(body.skip_settlement_ledger_transaction),
        description=body.description,
        metadata=metadata,
    )
    created = await request.perform(command, body)
    service.background.wake()
    return Reply(201, encode(to_object(created, ledger.id)))


async def get(request: Request) -> Reply:
    """Get a settlement."""
    id_ = await request.find(request.path["id"], _KIND)
    async with request.scope.connection() as connection:
        found = await store.get(connection, id_.ledger, id_.sequence)
    if found is None or found.id != str(id_):
        raise ObjectNotFound(object=_KIND, id=request.path["id"])
    return Reply(200, encode(to_object(found, request.scope.ledger_id(id_.ledger))))


async def list_(request: Request) -> Reply:
    """List settlements, the newest first."""
    return await answer_list(
        request,
        "ledger_account_settlements",
        FILTERS,
        store.list_page,
        lambda row: Place(row.created_at, row.ledger, row.sequence),
        lambda row: to_object(row, request.scope.ledger_id(row.ledger)),
    )


async def update(request: Request) -> Reply:
    """Update a settlement; its transaction follows its status."""
    body = request.decode(_UPDATE)
    service = request.service
    id_ = await request.find(request.path["id"], _KIND)
    changes = given(body, "status", "description", "metadata")
    if body.skip_settlement_ledger_transaction is not UNSET:
        changes["skips_transaction"] = bool(body.skip_settlement_ledger_transaction)
    check_metadata(changes.get("metadata") or {})
    command = UpdateSettlement(ledger=request.scope.ledger(id_.ledger), target=id_, **changes)
    updated = await request.perform(command, body)
    service.background.wake()
    return Reply(200, encode(to_object(updated, command.ledger.id)))


async def add_entries(request: Request) -> Reply:
    """Add entries to a draft, all of them or none."""
    return await _pick(request, AddEntries)


async def remove_entries(request: Request) -> Reply:
    """Remove entries from a draft."""
    return await _pick(request, RemoveEntries)


async def _pick(request: Request, command: type[AddEntries | RemoveEntries]) -> Reply:
    body = request.decode(_ENTRIES)
    target = await request.find(request.path["id"], _KIND)
    entries: list[Id] = []
    for position, text in enumerate(body.ledger_entry_ids or ()):
        where = f"ledger_entry_ids[{position}]"
        entry = await request.find(text, "ledger_entry", where)
        if entry.ledger == target.ledger:
            entries.append(entry)
        elif command is AddEntries:
            raise EntryNotSettleable(ledger_entry_id=text, reason="it is of another ledger", parameter=where)
    await request.perform(command(ledger=request.scope.ledger(target.ledger), target=target, entries=entries), body)
    return Reply(200, b"")

"""Ledger accounts over HTTP."""

from functools import partial
from typing import ClassVar, Final, Literal

from msgspec import UNSET, Struct, UnsetType

from doppia.accounting.errors import ObjectNotFound, ParameterInvalid
from doppia.accounting.ids import Id
from doppia.accounting.ledger.accounts import AccountFields
from doppia.accounting.money import currency
from doppia.accounting.texts import check_metadata
from doppia.api.http.lists import BOOLEAN, kinds_of, parse_list
from doppia.api.http.pages import answer_page, ledgers_of
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import (
    BalancesObject,
    CategoryIds,
    CurrencyCode,
    CurrencyExponent,
    Description,
    ExternalId,
    LedgerableText,
    LockVersion,
    Metadata,
    Name,
    Object,
    Time,
    UuidText,
    balances,
    given,
    in_order,
    new_metadata,
)
from doppia.api.ledger.balances import OF_ACCOUNT, OF_ACCOUNTS, BalancesAsked, VerifiedObject, read_balances
from doppia.api.ledger.categories import read_parents
from doppia.engine.ledger.accounts import DiscardAccount, OpenAccount, UpdateAccount
from doppia.store.database.listing import Place
from doppia.store.ledger import accounts as store
from doppia.store.ledger.balances import recompute


class AccountCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An account to open. A currency that is not of ISO 4217 is a custom unit and needs its exponent."""

    example: ClassVar = {
        "name": "Wallet of Ana",
        "ledger_id": "65a1b2c3-0000-8000-8400-000000000400",
        "currency": "PHP",
        "normal_balance": "credit",
        "external_id": "wallet-ana",
    }

    name: Name
    ledger_id: UuidText
    currency: CurrencyCode
    normal_balance: Literal["credit", "debit"]
    currency_exponent: CurrencyExponent | None = None
    description: Description | None = None
    external_id: ExternalId | None = None
    ledgerable_type: LedgerableText | None = None
    ledgerable_id: LedgerableText | None = None
    ledger_account_category_ids: CategoryIds | None = None
    metadata: Metadata | None = None


class AccountUpdate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of an account; metadata is merged in, and a key set to null or "" is removed."""

    example: ClassVar = {"metadata": {"tier": "gold"}}

    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    external_id: ExternalId | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class AccountObject(Object, kw_only=True):
    """An account: where value stands. `lock_version` grows with each change of its balances."""

    object: Literal["ledger_account"] = "ledger_account"
    ledger_id: UuidText
    name: str
    description: str | None
    normal_balance: Literal["credit", "debit"]
    lock_version: LockVersion
    external_id: str | None
    ledgerable_type: str | None
    ledgerable_id: str | None
    balances: BalancesObject
    metadata: dict[str, str]
    discarded_at: Time | None
    verified: VerifiedObject | UnsetType = UNSET


_CREATE: Final = BodyDecoder(AccountCreate)
_UPDATE: Final = BodyDecoder(AccountUpdate)

GET_PARAMETERS: Final = {"balances": OF_ACCOUNT, "verify": BOOLEAN}
FILTERS: Final = kinds_of(store.PARAMETERS, balances=OF_ACCOUNTS)


def to_object(fields: AccountFields, ledger_id: str, asked: BalancesAsked | None = None) -> AccountObject:
    """Return an account as the wire shows it, with the balances that were asked for."""
    account = fields.as_of or fields.account
    return AccountObject(
        id=account.id,
        ledger_id=ledger_id,
        name=fields.name,
        description=fields.description,
        normal_balance=account.normal_balance,
        lock_version=account.lock_version,
        external_id=fields.external_id,
        ledgerable_type=fields.ledgerable_type,
        ledgerable_id=fields.ledgerable_id,
        balances=asked.show(account.sums, account.normal_balance, account.currency) if asked else balances(account),
        metadata=in_order(fields.metadata),
        created_at=fields.created_at,
        updated_at=fields.updated_at,
        discarded_at=fields.discarded_at,
    )


async def read_opening(request: Request) -> tuple[OpenAccount, AccountCreate]:
    """Return the account that a request asks to open, and what its idempotency key stands for."""
    body = request.decode(_CREATE)
    unit = currency(body.currency, body.currency_exponent)
    metadata = new_metadata(body.metadata)
    ledger = await request.find(body.ledger_id, "ledger", "ledger_id")
    command = OpenAccount(
        ledger=request.scope.ledger(ledger.ledger),
        name=body.name,
        currency=unit,
        normal_balance=body.normal_balance,
        description=body.description,
        external_id=body.external_id,
        ledgerable_type=body.ledgerable_type,
        ledgerable_id=body.ledgerable_id,
        metadata=metadata,
        parents=read_parents(body.ledger_account_category_ids, ledger),
    )
    return command, body


async def create(request: Request) -> Reply:
    """Open an account."""
    command, said = await read_opening(request)
    return Reply(201, encode(to_object(await request.perform(command, said), command.ledger.id)))


def _found(fields: AccountFields | None, id_: Id, request: Request) -> AccountFields:
    if fields is None or fields.account.id != str(id_):
        raise ObjectNotFound(object="ledger_account", id=request.path["id"])
    return fields


async def get(request: Request) -> Reply:
    """Get an account with its balances, now or at another time; recomputed from its entries with verify=true."""
    if not request.query:
        id_ = await request.find(request.path["id"], "ledger_account")
        current = await request.scope.account(id_)
        return Reply(200, encode(to_object(_found(current, id_, request), request.scope.ledger_id(id_.ledger))))
    query = parse_list(request.query, "ledger_account", GET_PARAMETERS, paged=False)
    asked = read_balances(query, request.now())
    id_ = await request.find(request.path["id"], "ledger_account")
    async with request.scope.connection() as connection:
        stored = await store.get(connection, id_.ledger, id_.sequence, asked and asked.as_of)
        fields = _found(stored, id_, request)
        account = fields.account
        if asked and (asked.as_of.lock_version or 0) > account.lock_version:
            reason = f"is beyond the account's lock_version, which is {account.lock_version}"
            raise ParameterInvalid(parameter="balances[as_of_lock_version]", reason=reason)
        found = to_object(fields, request.scope.ledger_id(id_.ledger), asked)
        if query.values.get("verify"):
            recomputed = await recompute(connection, id_.ledger, id_.sequence)
            found.verified = VerifiedObject(recomputed.holds, balances(account._replace(sums=recomputed.sums)))
    return Reply(200, encode(found))


async def list_(request: Request) -> Reply:
    """List accounts, the newest first, with their balances now or at another time."""
    query = parse_list(request.query, "ledger_accounts", FILTERS)
    asked = read_balances(query, request.now())
    return await answer_page(
        request,
        query,
        await ledgers_of(request, query),
        partial(store.list_page, as_of=asked and asked.as_of),
        lambda row: Place(row.created_at, row.ledger, row.account.sequence),
        lambda row: to_object(row, request.scope.ledger_id(row.ledger), asked),
    )


async def read_change(request: Request) -> tuple[UpdateAccount, AccountUpdate]:
    """Return the change of an account that a request asks for, and what its idempotency key stands for."""
    body = request.decode(_UPDATE)
    id_ = await request.find(request.path["id"], "ledger_account")
    changes = given(body, "name", "description", "external_id", "metadata")
    check_metadata(changes.get("metadata") or {})
    return UpdateAccount(ledger=request.scope.ledger(id_.ledger), target=id_, **changes), body


async def update(request: Request) -> Reply:
    """Update an account."""
    command, said = await read_change(request)
    return Reply(200, encode(to_object(await request.perform(command, said), command.ledger.id)))


async def read_discard(request: Request) -> tuple[DiscardAccount, None]:
    """Return the discard of an account that a request asks for, and what its idempotency key stands for."""
    id_ = await request.find(request.path["id"], "ledger_account")
    return DiscardAccount(ledger=request.scope.ledger(id_.ledger), target=id_), None


async def delete(request: Request) -> Reply:
    """Discard an account that is at zero with nothing pending."""
    command, said = await read_discard(request)
    return Reply(200, encode(to_object(await request.perform(command, said), command.ledger.id)))

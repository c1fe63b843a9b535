"""Account statements over HTTP: made, and read."""

from typing import ClassVar, Final, Literal

from msgspec import Struct

from doppia.accounting.errors import ObjectNotFound, ParameterInvalid
from doppia.accounting.ledger.statements import Statement
from doppia.api.http.lists import kinds_of
from doppia.api.http.pages import answer_list
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import (
    BalancesObject,
    Description,
    LockVersion,
    Metadata,
    Object,
    Time,
    TimeText,
    UuidText,
    balances,
    in_order,
    new_metadata,
    parse_time,
)
from doppia.engine.ledger.statements import CreateStatement
from doppia.store.database.listing import Place
from doppia.store.ledger import statements as store

_KIND: Final = "ledger_account_statement"


class StatementCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A statement to make: of what is effective from the lower bound on, before the upper bound."""

    example: ClassVar = {
        "ledger_account_id": "65a1b2c3-0000-8000-8400-000000000800",
        "effective_at_lower_bound": "2026-03-01T00:00:00Z",
        "effective_at_upper_bound": "2026-04-01T00:00:00Z",
        "description": "March",
    }

    ledger_account_id: UuidText
    effective_at_lower_bound: TimeText
    effective_at_upper_bound: TimeText
    description: Description | None = None
    metadata: Metadata | None = None


class StatementObject(Object, kw_only=True):
    """A statement: what an account did between two times, as it was known at one lock_version; it never changes."""

    object: Literal["ledger_account_statement"] = "ledger_account_statement"
    ledger_id: UuidText
    ledger_account_id: UuidText
    description: str | None
    effective_at_lower_bound: Time
    effective_at_upper_bound: Time
    ledger_account_lock_version: LockVersion
    ledger_account_normal_balance: Literal["credit", "debit"]
    starting_balance: BalancesObject
    ending_balance: BalancesObject
    metadata: dict[str, str]


_CREATE: Final = BodyDecoder(StatementCreate)

FILTERS: Final = kinds_of(store.PARAMETERS)


def to_object(statement: Statement, ledger_id: str) -> StatementObject:
    """Return a statement as the wire shows it."""
    account = statement.account
    return StatementObject(
        id=statement.id,
        ledger_id=ledger_id,
        ledger_account_id=account.id,
        description=statement.description,
        effective_at_lower_bound=statement.effective_at_lower_bound,
        effective_at_upper_bound=statement.effective_at_upper_bound,
        ledger_account_lock_version=account.lock_version,
        ledger_account_normal_balance=account.normal_balance,
        starting_balance=balances(account._replace(sums=statement.starting)),
        ending_balance=balances(account),
        metadata=in_order(statement.metadata),
        created_at=statement.created_at,
        updated_at=statement.created_at,
    )


async def create(request: Request) -> Reply:
    """Make a statement of an account."""
    body = request.decode(_CREATE)
    lower = parse_time(body.effective_at_lower_bound, "effective_at_lower_bound")
    upper = parse_time(body.effective_at_upper_bound, "effective_at_upper_bound")
    if upper < lower:
        raise ParameterInvalid(
            parameter="effective_at_upper_bound", reason="is before effective_at_lower_bound; it may not be"
        )
    metadata = new_metadata(body.metadata)
    account = await request.find(body.ledger_account_id, "ledger_account", "ledger_account_id")
    command = CreateStatement(
        ledger=request.scope.ledger(account.ledger),
        account=account,
        effective_at_lower_bound=lower,
        effective_at_upper_bound=upper,
        description=body.description,
        metadata=metadata,
    )
    return Reply(201, encode(to_object(await request.perform(command, body), command.ledger.id)))


async def get(request: Request) -> Reply:
    """Get a statement."""
    id_ = await request.find(request.path["id"], _KIND)
    async with request.scope.connection() as connection:
        statement = await store.get(connection, id_.ledger, id_.sequence)
    if statement is None or statement.id != str(id_):
        raise ObjectNotFound(object=_KIND, id=request.path["id"])
    return Reply(200, encode(to_object(statement, request.scope.ledger_id(id_.ledger))))


async def list_(request: Request) -> Reply:
    """List statements, the newest first."""
    return await answer_list(
        request,
        "ledger_account_statements",
        FILTERS,
        store.list_page,
        lambda row: Place(row.created_at, row.ledger, row.sequence),
        lambda row: to_object(row, request.scope.ledger_id(row.ledger)),
    )

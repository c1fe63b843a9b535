"""Items of bulk requests: the commands that they ask for, and what became of them as the wire shows it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from doppia.accounting.errors import ParameterUnknown
from doppia.accounting.ids import LedgerId, parse_id
from doppia.accounting.ledger.accounts import AccountFields
from doppia.accounting.ledger.transactions import Transaction
from doppia.accounting.platform.bulk import Action, BulkRequest, Resource
from doppia.api.http.errors import ErrorDetail, error_detail, internal_error
from doppia.api.http.request import BodyDecoder, Request, Service, encode
from doppia.api.ledger import accounts, transactions
from doppia.engine.platform.bulk_work import Item, Reader
from doppia.engine.posting.kept import kept, kept_refusal
from doppia.engine.posting.writing import Caller, Command
from doppia.store.platform.bulk import BulkResult

_ROUTE: Final = "bulk_requests"
"""Stands for the route in the idempotency keys of items; no route is called so."""

_READERS: Final[Mapping[tuple[Action, Resource], Callable[[Request], Awaitable[tuple[Command[Any], Any]]]]] = {
    ("create", "ledger_transaction"): transactions.read_creation,
    ("update", "ledger_transaction"): transactions.read_revision,
    ("delete", "ledger_transaction"): transactions.read_revision,
    ("create", "ledger_account"): accounts.read_opening,
    ("update", "ledger_account"): accounts.read_change,
    ("delete", "ledger_account"): accounts.read_discard,
}
_ARCHIVE: Final = b'{"status":"archived"}'


class _Named(Struct):
    """Where an item says what it is about."""

    id: str


_NAMED: Final = BodyDecoder(_Named)
_FIELDS: Final = BodyDecoder(dict[str, Raw])


def reader(service: Service) -> Reader:
    """Return what makes commands of the items of bulk requests."""

    async def read(item: Item) -> tuple[Caller, Command[Any]]:
        path, body = _apart(item.request, item.params)
        key = f"{item.request.id} {item.ordinal}"
        asked = Request(service, item.principal, _ROUTE, path, b"", "application/json", key, body)
        command, said = await _READERS[item.request.action_type, item.request.resource_type](asked)
        return asked.caller(said), command

    return read


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


class _Entry(Struct):
    show_resulting_ledger_account_balances: bool | None = None


class _Shows(Struct):
    """Where an item says whose balances its result shows."""

    ledger_entries: list[_Entry] | None = None


_decode_shows: Final = msgspec.json.Decoder(_Shows).decode


def entity_of(
    result: BulkResult, ledger_ids: Mapping[int, LedgerId]
) -> accounts.AccountObject | transactions.TransactionObject:
    """Return the account or transaction that an item left, as the wire shows it."""
    assert result.entity is not None, "it is there"
    assert result.params is not None, "both are there, or neither"
    id_ = parse_id(str(result.entity_id))
    assert id_ is not None, "it is one of ours"
    if result.entity_type == "ledger_account":
        return accounts.to_object(kept(result.entity, AccountFields), ledger_ids[id_.ledger])
    shows = transactions.shows_of(_decode_shows(result.params).ledger_entries or ())
    transaction: Transaction = kept(result.entity, Transaction)
    return transactions.to_object(transaction, id_.ledger, ledger_ids[id_.ledger], shows)


def error_of(result: BulkResult) -> ErrorDetail:
    """Return why an item failed, as the wire shows it."""
    assert result.entity is not None, "it is there"
    refusal = kept_refusal(result.entity)
    return internal_error() if refusal is None else error_detail(refusal)[1]

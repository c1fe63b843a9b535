"""The routes, as one table; the server and the OpenAPI document are both made from it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from doppia.api import accounts, batches, drafts, entries, ledgers, operations, transactions
from doppia.api.pagination import Kind
from doppia.api.request import Reply, Request
from doppia.store.organizations import Role

PREFIXES: Final = ("/api", "/v1")
"""One table under two prefixes: Modern Treasury's clients call the first, PayMongo's base path is the second."""

Handler = Callable[[Request], Awaitable[Reply]]


class ApiRoute(NamedTuple):
    """One route.

    Attributes:
        role: that the caller's key needs at least.
        body: type that the request's body is decoded into; None where it takes none.
        answer: type of a success's body.
        status: of a success.
        filters: query parameters; of a list, besides per_page and after_cursor.
        is_list: whether the answer is a page of `answer`.
    """

    method: str
    path: str
    handler: Handler
    role: Role
    answer: Any
    body: Any = None
    status: int = 200
    filters: Mapping[str, Kind] = {}
    is_list: bool = False


# The order is that of matching: what is called most stands first.
ROUTES: Final = (
    ApiRoute(
        "POST", "/ledger_transactions", transactions.create, "write", transactions.TransactionObject,
        drafts.TransactionCreate, 201,
    ),
    ApiRoute(
        "GET", "/ledger_transactions", transactions.list_, "read", transactions.TransactionObject,
        filters=transactions.FILTERS, is_list=True,
    ),
    ApiRoute(
        "POST", "/ledger_transactions/batch", batches.create, "write", batches.BatchObject, batches.BatchCreate,
        filters=batches.PARAMETERS,
    ),
    ApiRoute("GET", "/ledger_accounts/{id}", accounts.get, "read", accounts.AccountObject),
    ApiRoute(
        "PATCH", "/ledger_accounts/{id}", accounts.update, "write", accounts.AccountObject, accounts.AccountUpdate
    ),
    ApiRoute("DELETE", "/ledger_accounts/{id}", accounts.delete, "write", accounts.AccountObject),
    ApiRoute(
        "GET", "/ledger_transactions/{id}", transactions.get, "read", transactions.TransactionObject,
        filters=transactions.GET_PARAMETERS,
    ),
    ApiRoute(
        "PATCH", "/ledger_transactions/{id}", transactions.update, "write", transactions.TransactionObject,
        drafts.TransactionUpdate, filters=transactions.GET_PARAMETERS,
    ),
    ApiRoute(
        "POST", "/ledger_transactions/{id}/reversal", transactions.reverse, "write", transactions.TransactionObject,
        drafts.ReversalCreate, 201,
    ),
    ApiRoute(
        "POST", "/ledger_transactions/{id}/partial_post", transactions.partial_post, "write",
        transactions.TransactionObject, drafts.PartialPostCreate, 201,
    ),
    ApiRoute(
        "GET", "/ledger_entries", entries.list_, "read", transactions.EntryObject,
        filters=entries.FILTERS, is_list=True,
    ),
    ApiRoute("GET", "/ledger_entries/{id}", entries.get, "read", transactions.EntryObject, filters=entries.GET_FILTERS),
    ApiRoute("PATCH", "/ledger_entries/{id}", entries.update, "write", transactions.EntryObject, entries.EntryUpdate),
    ApiRoute(
        "POST", "/ledger_accounts", accounts.create, "write", accounts.AccountObject, accounts.AccountCreate, 201
    ),
    ApiRoute(
        "GET", "/ledger_accounts", accounts.list_, "read", accounts.AccountObject,
        filters=accounts.FILTERS, is_list=True,
    ),
    ApiRoute("POST", "/ledgers", ledgers.create, "write", ledgers.LedgerObject, ledgers.LedgerCreate, 201),
    ApiRoute(
        "GET", "/ledgers", ledgers.list_, "read", ledgers.LedgerObject, filters=ledgers.FILTERS, is_list=True
    ),
    ApiRoute("GET", "/ledgers/{id}", ledgers.get, "read", ledgers.LedgerObject),
    ApiRoute("PATCH", "/ledgers/{id}", ledgers.update, "write", ledgers.LedgerObject, ledgers.LedgerUpdate),
    ApiRoute(
        "DELETE", "/ledgers/{id}", ledgers.delete, "write", ledgers.LedgerObject, filters=ledgers.DELETE_PARAMETERS
    ),
    ApiRoute("GET", "/ping", operations.ping, "read", operations.Ping),
)  # fmt: skip

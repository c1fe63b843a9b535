"""The routes, as one table; the server and the OpenAPI document are both made from it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from doppia.api.closing import settlements
from doppia.api.http.lists import Kind
from doppia.api.http.request import Reply, Request
from doppia.api.ledger import (
    accounts,
    allocations,
    batches,
    categories,
    drafts,
    entries,
    ledgers,
    monitors,
    statements,
    transactions,
    versions,
)
from doppia.api.platform import bulk, events, operations, proofs, redactions
from doppia.store.platform.organizations import Role

PREFIXES: Final = ("/api", "/v1")
"""One table under two prefixes: Modern Treasury's clients call the first, PayMongo's base path is the second."""

SERVICE_TAG: Final = "Service"
"""The tag of routes about the service itself, which stand last on the reference page."""

Handler = Callable[[Request], Awaitable[Reply]]


class ApiRoute(NamedTuple):
    """One route.

    Attributes:
        role: the lowest role whose keys may call it.
        body: the type that the request's body is decoded into, with an `example`; None where the route takes no body.
        answer: the type of a success's body; None where it has none.
        status: the HTTP status of a success.
        filters: the query parameters; those of a list come besides per_page and after_cursor.
        is_list: whether the answer is a page of `answer`.
        media_type: the media type of the answer.
        other_bodies: the media types that the body may have besides JSON, each with what such a body holds.
        takes_external_id: whether `{id}` may be an external_id as well.
        refers_to: types that the schema of `answer` names without holding them.
        tag: the heading in the reference; where it is empty, the first segment of the path is.
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
    media_type: str = "application/json"
    other_bodies: Mapping[str, str] = {}
    takes_external_id: bool = False
    refers_to: tuple[Any, ...] = ()
    tag: str = ""


# The order is that of the OpenAPI document. It decides nothing about which route a request finds.
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
        filters=batches.PARAMETERS, other_bodies=batches.OTHER_BODIES,
    ),
    ApiRoute(
        "GET", "/ledger_accounts/{id}", accounts.get, "read", accounts.AccountObject, filters=accounts.GET_PARAMETERS
    ),
    ApiRoute(
        "PATCH", "/ledger_accounts/{id}", accounts.update, "write", accounts.AccountObject, accounts.AccountUpdate
    ),
    ApiRoute("DELETE", "/ledger_accounts/{id}", accounts.delete, "write", accounts.AccountObject),
    ApiRoute(
        "GET", "/ledger_transactions/{id}", transactions.get, "read", transactions.TransactionObject,
        filters=transactions.GET_PARAMETERS, takes_external_id=True,
    ),
    ApiRoute(
        "PATCH", "/ledger_transactions/{id}", transactions.update, "write", transactions.TransactionObject,
        drafts.TransactionUpdate, filters=transactions.GET_PARAMETERS, takes_external_id=True,
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
        "GET", "/ledger_transactions/{id}/versions", versions.list_of_transaction, "read", versions.VersionObject,
        filters=versions.OF_TRANSACTION_FILTERS, is_list=True,
    ),
    ApiRoute(
        "GET", "/ledger_transaction_versions", versions.list_, "read", versions.VersionObject,
        filters=versions.FILTERS, is_list=True,
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
    ApiRoute(
        "GET", "/ledgers/{id}/log", proofs.read_log, "read", proofs.LogObject, filters=proofs.LOG_PARAMETERS,
    ),
    ApiRoute(
        "POST", "/ledgers/{id}/redactions", redactions.create, "admin", redactions.RedactionObject,
        redactions.RedactionCreate, 201,
    ),
    ApiRoute("GET", "/ledgers/{id}/checkpoint", proofs.checkpoint, "read", str, media_type=proofs.NOTE),
    ApiRoute(
        "GET", "/ledgers/{id}/proofs/inclusion", proofs.inclusion, "read", proofs.InclusionProofObject,
        filters=proofs.INCLUSION_PARAMETERS,
    ),
    ApiRoute(
        "GET", "/ledgers/{id}/proofs/consistency", proofs.consistency, "read", proofs.ConsistencyProofObject,
        filters=proofs.CONSISTENCY_PARAMETERS,
    ),
    ApiRoute(
        "POST", "/ledger_account_categories", categories.create, "write", categories.CategoryObject,
        categories.CategoryCreate, 201,
    ),
    ApiRoute(
        "GET", "/ledger_account_categories", categories.list_, "read", categories.CategoryObject,
        filters=categories.FILTERS, is_list=True,
    ),
    ApiRoute(
        "GET", "/ledger_account_categories/{id}", categories.get, "read", categories.CategoryObject,
        filters=categories.GET_PARAMETERS,
    ),
    ApiRoute(
        "PATCH", "/ledger_account_categories/{id}", categories.update, "write", categories.CategoryObject,
        categories.CategoryUpdate,
    ),
    ApiRoute("DELETE", "/ledger_account_categories/{id}", categories.delete, "write", categories.CategoryObject),
    ApiRoute(
        "PUT", "/ledger_account_categories/{id}/ledger_accounts/{ledger_account_id}", categories.add_account, "write",
        None,
    ),
    ApiRoute(
        "DELETE", "/ledger_account_categories/{id}/ledger_accounts/{ledger_account_id}", categories.remove_account,
        "write", None,
    ),
    ApiRoute(
        "PUT", "/ledger_account_categories/{id}/ledger_account_categories/{sub_category_id}", categories.add_category,
        "write", None,
    ),
    ApiRoute(
        "DELETE", "/ledger_account_categories/{id}/ledger_account_categories/{sub_category_id}",
        categories.remove_category, "write", None,
    ),
    ApiRoute(
        "POST", "/bulk_requests", bulk.create, "write", bulk.BulkRequestObject, bulk.BulkRequestCreate, 201
    ),
    ApiRoute(
        "GET", "/bulk_requests", bulk.list_, "read", bulk.BulkRequestObject, filters=bulk.REQUEST_FILTERS, is_list=True
    ),
    ApiRoute("GET", "/bulk_requests/{id}", bulk.get, "read", bulk.BulkRequestObject),
    ApiRoute(
        "GET", "/bulk_results", bulk.list_results, "read", bulk.BulkResultObject,
        filters=bulk.RESULT_FILTERS, is_list=True, refers_to=bulk.ENTITIES,
    ),
    ApiRoute(
        "GET", "/bulk_results/{id}", bulk.get_result, "read", bulk.BulkResultObject, refers_to=bulk.ENTITIES
    ),
    ApiRoute(
        "POST", "/allocations", allocations.create, "read", allocations.AllocationObject, allocations.AllocationCreate
    ),
    ApiRoute(
        "POST", "/ledger_account_balance_monitors", monitors.create, "write", monitors.MonitorObject,
        monitors.MonitorCreate, 201,
    ),
    ApiRoute(
        "GET", "/ledger_account_balance_monitors", monitors.list_, "read", monitors.MonitorObject,
        filters=monitors.FILTERS, is_list=True,
    ),
    ApiRoute("GET", "/ledger_account_balance_monitors/{id}", monitors.get, "read", monitors.MonitorObject),
    ApiRoute(
        "PATCH", "/ledger_account_balance_monitors/{id}", monitors.update, "write", monitors.MonitorObject,
        monitors.MonitorUpdate,
    ),
    ApiRoute("DELETE", "/ledger_account_balance_monitors/{id}", monitors.delete, "write", monitors.MonitorObject),
    ApiRoute(
        "POST", "/ledger_account_statements", statements.create, "write", statements.StatementObject,
        statements.StatementCreate, 201,
    ),
    ApiRoute(
        "GET", "/ledger_account_statements", statements.list_, "read", statements.StatementObject,
        filters=statements.FILTERS, is_list=True,
    ),
    ApiRoute("GET", "/ledger_account_statements/{id}", statements.get, "read", statements.StatementObject),
    ApiRoute(
        "POST", "/ledger_account_settlements", settlements.create, "write", settlements.SettlementObject,
        settlements.SettlementCreate, 201,
    ),
    ApiRoute(
        "GET", "/ledger_account_settlements", settlements.list_, "read", settlements.SettlementObject,
        filters=settlements.FILTERS, is_list=True,
    ),
    ApiRoute("GET", "/ledger_account_settlements/{id}", settlements.get, "read", settlements.SettlementObject),
    ApiRoute(
        "PATCH", "/ledger_account_settlements/{id}", settlements.update, "write", settlements.SettlementObject,
        settlements.SettlementUpdate,
    ),
    ApiRoute(
        "PATCH", "/ledger_account_settlements/{id}/ledger_entries", settlements.add_entries, "write", None,
        settlements.SettlementEntries,
    ),
    ApiRoute(
        "DELETE", "/ledger_account_settlements/{id}/ledger_entries", settlements.remove_entries, "write", None,
        settlements.SettlementEntries,
    ),
    ApiRoute("GET", "/events", events.list_, "read", events.EventObject, filters=events.FILTERS, is_list=True),
    ApiRoute("GET", "/events/{id}", events.get, "read", events.EventObject),
    ApiRoute("GET", "/ping", operations.ping, "read", operations.Ping, tag=SERVICE_TAG),
)  # fmt: skip

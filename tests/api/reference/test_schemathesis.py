"""Requests made up from the OpenAPI document, in its shape and out of it: every answer is one that it describes."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from uuid import uuid4

import asyncpg
import msgspec
import pytest
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from doppia.api.app import create_app
from doppia.api.http.auth import Authenticator
from doppia.api.http.protocol import Application
from doppia.api.http.request import Service
from doppia.api.routes import ROUTES, ApiRoute
from doppia.engine.performing import Engine
from doppia.engine.platform import keys
from doppia.store.database.connections import Database
from tests.api.over_http import now
from tests.api.platform.bulk_books import work_off
from tests.servers import CHECKPOINT_KEYS

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SETTINGS: Final = settings(
    max_examples=15, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
UUID: Final = {"type": "string", "format": "uuid"}
NOBODYS_ID: Final = "65a1b2c3-0000-8000-8400-000000000400"
ANSWERS: Final = [route.answer for route in ROUTES if route.answer not in {None, str}]
KINDS: Final = {
    field.default
    for answer in ANSWERS
    for field in msgspec.structs.fields(answer)
    if field.name == "object" and "id" in answer.__struct_fields__
}
"""Of all objects with an id that a route answers with."""


@asynccontextmanager
async def serving(postgres: Any) -> AsyncIterator[tuple[Service, tuple[str, str]]]:
    """Run the service over a database of its own; lend it with an admin's credentials."""
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"create database {name} template template_doppia")
    database = Database(postgres.service_of(name))
    await database.open()
    begun = await keys.begin(database, now)
    assert begun is not None
    engine = Engine(database, now)
    service = Service(engine, Authenticator(database), CHECKPOINT_KEYS)
    service.background.start(partial(work_off, service))
    yield service, (str(begun[0].organization), begun[1])
    await service.background.stop()
    await engine.close()
    await database.close()
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


def reached_from_elsewhere(app: Application, portal: BlockingPortal) -> asgi.ASGIApp:
    """Return an application that may be called in any event loop and runs in the portal's, where its database is."""

    async def call(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        assert scope["type"] == "http", "there is no lifespan to take part in"
        asked = await receive()
        answered: list[asgi.Message] = []

        async def ask() -> asgi.Message:
            return asked

        async def answer(message: Any) -> None:
            answered.append(message)

        await asyncio.wrap_future(portal.start_task_soon(app, scope, ask, answer))
        for message in answered:
            await send(message)

    return call


@pytest.fixture(scope="module")
def session(postgres: Any) -> Iterator[asgi.ASGIClient]:
    """A session with the service in this process, with the admin's key."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(postgres)) as (service, credentials),
        asgi.get_client(reached_from_elsewhere(create_app(service), portal)) as opened,
    ):
        opened.auth = credentials
        yield opened


Living = dict[str, list[str]]
"""Ids of objects that are there, by the name of their kind, such as ledger_account."""

PLURALS: Final = {"categories": "category", "entries": "entry"}


def kind_in(path: str) -> str:
    """Return the kind of object that stands behind the first segment of a path."""
    segment = path.split("/")[2]
    for plural, singular in PLURALS.items():
        segment = segment.replace(plural, singular)
    return segment.removesuffix("s")


def load(session: asgi.ASGIClient, living: Living) -> Any:
    """Return the served document for schemathesis, made stricter: answers hold no field that it doesn't name.

    Ids that requests are made up with are those of objects that are there, and one that nobody has.
    """
    document = msgspec.json.decode(session.get("/openapi.json").content)
    for schema in document["components"]["schemas"].values():
        if "additionalProperties" in schema:
            schema["properties"] = {name: aimed(name, each, living) for name, each in schema["properties"].items()}
        for closed in schema.get("oneOf", [schema]):
            closed["additionalProperties"] = False
    for path, item in document["paths"].items():
        for operation in item.values() if path.startswith("/api/") else ():
            for parameter in operation["parameters"]:
                if "schema" in parameter:
                    base = parameter["name"].partition("[")[0]
                    of_version = parameter["in"] == "query" and path.endswith("/versions")
                    kind = "ledger_transaction_version" if of_version else kind_in(path)
                    name = f"{kind}_id" if base == "id" else base
                    parameter["schema"] = aimed(name, parameter["schema"], living)
    document["paths"] = {path: item for path, item in document["paths"].items() if not path.startswith("/v1/")}
    return schemathesis.openapi.from_dict(document)


def aimed(name: str, schema: dict[str, Any], living: Living) -> dict[str, Any]:
    """Return the schema of what is called `name`; where it is an id, as that of an object that is there or of none."""
    if "items" in schema:
        return {**schema, "items": aimed(name.removesuffix("s"), schema["items"], living)}
    if "anyOf" in schema:
        return {**schema, "anyOf": [aimed(name, each, living) for each in schema["anyOf"]]}
    if schema == UUID:
        # settled_ledger_account_id and sub_category_id name their kinds by the end, or with the beginning left out.
        told = name.removesuffix("_id")
        if told == "entity":
            return {"enum": [*(id_ for ids in living.values() for id_ in ids), NOBODYS_ID]}
        kinds = [kind for kind in living if told.endswith(kind) or kind.endswith(told.removeprefix("sub_"))]
        return {"enum": [*(living[max(kinds, key=len)] if kinds else ()), NOBODYS_ID]}
    return schema


def seed(session: asgi.ASGIClient) -> Living:
    """Write one ledger with all that can be in it; each answer is checked as the made-up ones are."""
    living: Living = defaultdict(list)
    strict = load(session, living)

    def call(method: str, path: str, body: Any = None, **parameters: str) -> Any:
        sent = {} if body is None else {"body": body, "media_type": "application/json"}
        case = strict[path][method].Case(**sent, path_parameters=parameters or None)
        answer = case.call_and_validate(session=session, checks=CHECKS)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json() if answer.content else None

    def make(path: str, body: dict[str, Any], **parameters: str) -> str:
        made = call("POST", path, body, **parameters)
        living[made["object"]].append(made["id"])
        return str(made["id"])

    ledger = make("/api/ledgers", {"name": "books", "metadata": {"region": "PH"}})
    unit = {"ledger_id": ledger, "currency": "GOLD", "currency_exponent": 18}
    for name, side in (("cash", "debit"), ("wallet", "credit"), ("unused", "credit")):
        make("/api/ledger_accounts", {**unit, "name": name, "normal_balance": side})
    cash, wallet, unused = living["ledger_account"]
    chart(call, make, unit, wallet, unused)
    condition = {"field": "posted_balance_amount", "operator": "greater_than", "value": 10**36}
    make("/api/ledger_account_balance_monitors", {"ledger_account_id": wallet, "alert_condition": condition})
    legs: dict[int, list[dict[str, Any]]] = {
        amount: [
            {"ledger_account_id": account, "direction": side, "amount": amount} for account, side in
            ((cash, "debit"), (wallet, "credit"))
        ]
        for amount in (10**36, 7, 3, 1, 0)
    }  # fmt: skip
    for status, amount in (("posted", 10**36), ("pending", 7), ("archived", 0), ("posted", 1)):
        shown = [{**leg, "show_resulting_ledger_account_balances": True} for leg in legs[amount]]
        transaction = call("POST", "/api/ledger_transactions", {"status": status, "ledger_entries": shown})
        living["ledger_transaction"].append(transaction["id"])
        living["ledger_entry"] += [entry["id"] for entry in transaction["ledger_entries"]]
    largest, hold, _, _ = living["ledger_transaction"]
    make("/api/ledger_transactions/{id}/partial_post", {"posted_ledger_entries": legs[3]}, id=hold)
    make("/api/ledger_transactions/{id}/reversal", {}, id=largest)
    batch = {"atomic": True, "ledger_transactions": [{"ledger_entries": legs[1]}]}
    (result,) = call("POST", "/api/ledger_transactions/batch", batch)["results"]
    living["ledger_transaction"].append(result["ledger_transaction"]["id"])
    bounds = {"effective_at_lower_bound": "2020-01-01T00:00:00Z", "effective_at_upper_bound": "2100-01-01T00:00:00Z"}
    make("/api/ledger_account_statements", {"ledger_account_id": wallet, **bounds})
    settle(call, make, wallet, cash, living["ledger_entry"][1])
    make("/api/ledgers/{id}/redactions", {"ledger_account_ids": [unused], "reason": "asked for"}, id=ledger)
    requested = [{"name": "made in bulk", "normal_balance": "debit", **unit}, {"name": "", **unit}]
    bulk = {"action_type": "create", "resource_type": "ledger_account", "resources": requested}
    request = make("/api/bulk_requests", bulk)
    while call("GET", "/api/bulk_requests/{id}", id=request)["status"] != "completed":
        time.sleep(0.02)
    for path in ("/api/bulk_results", "/api/events", "/api/ledger_transaction_versions"):
        for row in call("GET", path)[:5]:
            living[row["object"]].append(row["id"])
    assert set(living) == KINDS
    return living


def chart(call: Any, make: Any, unit: dict[str, Any], wallet: str, unused: str) -> None:
    """Draw a category with a category and an account in it, which holds an account of its own."""
    body = {**unit, "name": "what we owe", "normal_balance": "credit"}
    path = "/api/ledger_account_categories"
    upper, lower, other = (make(path, body) for _ in range(3))
    call("PUT", f"{path}/{{id}}/ledger_account_categories/{{sub_category_id}}", id=upper, sub_category_id=lower)
    call("PUT", f"{path}/{{id}}/ledger_accounts/{{ledger_account_id}}", id=lower, ledger_account_id=wallet)
    for method in ("PUT", "DELETE"):
        call(method, f"{path}/{{id}}/ledger_accounts/{{ledger_account_id}}", id=other, ledger_account_id=unused)


def settle(call: Any, make: Any, wallet: str, cash: str, entry: str) -> None:
    """Draft a settlement of one entry, and sweep the rest."""
    accounts = {"settled_ledger_account_id": wallet, "contra_ledger_account_id": cash}
    path = "/api/ledger_account_settlements"
    draft = make(path, {**accounts, "status": "drafting"})
    call("PATCH", f"{path}/{{id}}/ledger_entries", {"ledger_entry_ids": [entry]}, id=draft)
    make(path, {**accounts, "allow_either_direction": True})


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["in shape", "out of shape"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_answer_is_one_that_the_document_describes(
    session: asgi.ASGIClient, route: ApiRoute, mode: GenerationMode
) -> None:
    operation = load(session, seed(session))[f"/api{route.path}"][route.method]
    if mode is GenerationMode.NEGATIVE and not operation.definition.raw["parameters"]:
        mode = GenerationMode.POSITIVE  # what takes nothing has no shape to be out of

    @SETTINGS
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Case[Any]) -> None:
        case.call_and_validate(session=session, checks=CHECKS)

    check()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"])
def test_the_open_routes_answer_as_described_without_a_key(session: asgi.ASGIClient, path: str) -> None:
    case = load(session, {})[path]["GET"].Case()

    with asgi.get_client(session.app) as stranger:
        case.call_and_validate(session=stranger, checks=CHECKS)

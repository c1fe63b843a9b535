"""Requests made up from the OpenAPI document, in its shape and out of it: every answer is one that it describes."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import asyncpg
import msgspec
import pytest
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, settings
from over_http import now
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import ASGIApp

from doppia.api.app import create_app
from doppia.api.auth import Authenticator
from doppia.api.request import Service
from doppia.api.routes import ROUTES, ApiRoute
from doppia.engine import keys
from doppia.engine.posting_group import PostingGroups
from doppia.store.database import Database

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


@asynccontextmanager
async def serving(postgres: Any) -> AsyncIterator[tuple[Service, tuple[str, str]]]:
    """Run the service over a database of its own; lend it with an admin's credentials."""
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"create database {name} template template_doppia")
    database = Database(postgres.of(name))
    await database.open()
    begun = await keys.begin(database, now)
    assert begun is not None
    groups = PostingGroups(database, now)
    yield Service(database, groups, now, Authenticator(database)), (str(begun[0].organization), begun[1])
    await groups.close()
    await database.close()
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


def reached_from_elsewhere(app: ASGIApp, portal: BlockingPortal) -> asgi.ASGIApp:
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
                    name = f"{kind_in(path)}_id" if base == "id" else base
                    parameter["schema"] = aimed(name, parameter["schema"], living)
    document["paths"] = {path: item for path, item in document["paths"].items() if not path.startswith("/v1/")}
    return schemathesis.openapi.from_dict(document)


def aimed(name: str, schema: dict[str, Any], living: Living) -> dict[str, Any]:
    """Return the schema of what is called `name`; where it is an id, as that of an object that is there or of none."""
    if "items" in schema:
        return {**schema, "items": aimed(name.removesuffix("s"), schema["items"], living)}
    if schema == UUID:
        # settled_ledger_account_id and sub_category_id name their kinds by the end, or with the beginning left out.
        told = name.removesuffix("_id")
        kinds = [kind for kind in living if told.endswith(kind) or kind.endswith(told.removeprefix("sub_"))]
        return {"enum": [*(living[max(kinds, key=len)] if kinds else ()), NOBODYS_ID]}
    return schema


def seed(session: asgi.ASGIClient) -> Living:
    """Write one ledger with all that can be in it; each answer is checked as the made-up ones are."""
    living: Living = defaultdict(list)
    strict = load(session, living)

    def post(path: str, body: dict[str, Any], **path_parameters: str) -> Any:
        case = strict[path]["POST"].Case(
            body=body, media_type="application/json", path_parameters=path_parameters or None
        )
        answer = case.call_and_validate(session=session, checks=CHECKS)
        assert answer.status_code == 201, answer.text
        return answer.json()

    ledger = post("/api/ledgers", {"name": "books", "metadata": {"region": "PH"}})
    living["ledger"].append(ledger["id"])
    for name, side in (("cash", "debit"), ("wallet", "credit"), ("unused", "credit")):
        account = {"name": name, "ledger_id": ledger["id"], "currency": "GOLD", "normal_balance": side}
        living["ledger_account"].append(post("/api/ledger_accounts", {**account, "currency_exponent": 18})["id"])
    for status, amount in (("posted", 10**36), ("pending", 7), ("archived", 0), ("posted", 1)):
        legs = [
            {"ledger_account_id": account, "direction": side, "amount": amount,
             "show_resulting_ledger_account_balances": True}
            for account, side in zip(living["ledger_account"], ("debit", "credit"), strict=False)
        ]  # fmt: skip
        transaction = post("/api/ledger_transactions", {"status": status, "ledger_entries": legs})
        living["ledger_transaction"].append(transaction["id"])
        living["ledger_entry"] += [entry["id"] for entry in transaction["ledger_entries"]]
    reversal = post("/api/ledger_transactions/{id}/reversal", {}, id=living["ledger_transaction"][0])
    living["ledger_transaction"].append(reversal["id"])
    return living


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

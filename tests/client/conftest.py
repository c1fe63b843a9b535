"""The official client of Modern Treasury against the service at a port of this machine, as a user would run both."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import UUID, uuid4

import asyncpg
import pytest
import uvicorn
from modern_treasury import AsyncModernTreasury

from doppia.api.app import create_app
from doppia.api.http.auth import Authenticator
from doppia.api.http.protocol import BoundedHttpProtocol
from doppia.api.http.request import Service
from doppia.engine.performing import Engine
from doppia.engine.platform import keys
from doppia.store.database.connections import Database
from doppia.store.platform import organizations
from tests.servers import CHECKPOINT_KEYS


class Server(Protocol):
    """What the fixture `postgres` lends."""

    url: str

    def of(self, database: str) -> str: ...

    def service_of(self, database: str) -> str: ...


class Served(NamedTuple):
    """The service, and where it listens."""

    service: Service
    base_url: str


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
async def served(postgres: Server) -> AsyncIterator[Served]:
    """The service over a database that the tests of a module share."""
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"create database {name} template template_doppia")
    database = Database(postgres.service_of(name))
    await database.open()
    service = Service(Engine(database, now), Authenticator(database), CHECKPOINT_KEYS)
    # The event loop turns Nagle's delay off only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    config = uvicorn.Config(create_app(service), http=BoundedHttpProtocol, lifespan="off", ws="none", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield Served(service, f"http://127.0.0.1:{listener.getsockname()[1]}")
    server.should_exit = True
    await serving
    await service.engine.close()
    await database.close()
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.fixture
async def organization(served: Served) -> UUID:
    """An organization of this test's own."""
    id_ = uuid4()
    async with served.service.engine.database.tx() as connection:
        await organizations.create(connection, id_, "an organization", now())
    return id_


@pytest.fixture
async def treasury(served: Served, organization: UUID) -> AsyncIterator[AsyncModernTreasury]:
    """The client, with nothing changed but its base URL; answers that are not of its types are errors."""
    _, api_key = await keys.create(served.service.engine.database, now, organization, name="admin", role="admin")
    async with AsyncModernTreasury(
        base_url=served.base_url,
        organization_id=str(organization),
        api_key=api_key,
        _strict_response_validation=True,
    ) as client:
        yield client


@pytest.fixture
async def reader_key(served: Served, organization: UUID) -> str:
    """A key of the organization that may only read."""
    return (await keys.create(served.service.engine.database, now, organization, name="reader", role="read"))[1]

"""The service over HTTP in process: one database for a module's tests, an organization of its own for each test."""

from collections.abc import AsyncIterator
from typing import Protocol
from uuid import uuid4

import asyncpg
import pytest

from doppia.api.http.auth import Authenticator
from doppia.api.http.request import Service
from doppia.engine.performing import Engine
from doppia.store.database.connections import Database
from tests.api.over_http import Books, found_organization, now
from tests.servers import CHECKPOINT_KEYS


class Server(Protocol):
    """What the fixture `postgres` lends."""

    url: str

    def of(self, database: str) -> str: ...

    def service_of(self, database: str) -> str: ...


@pytest.fixture(scope="module")
async def service(postgres: Server) -> AsyncIterator[Service]:
    """The service over a database that the tests of a module share."""
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"create database {name} template template_doppia")
    database = Database(postgres.service_of(name))
    await database.open()
    engine = Engine(database, now)
    yield Service(engine, Authenticator(database), CHECKPOINT_KEYS)
    await engine.close()
    await database.close()
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.fixture
async def superuser(postgres: Server, service: Service) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the service's database as one who has it in his hands."""
    async with service.engine.database.connection() as connection:
        name = await connection.fetchval("select current_database()")
    opened = await asyncpg.connect(postgres.of(name), server_settings={"search_path": "doppia"})
    yield opened
    await opened.close()


@pytest.fixture
async def books(service: Service) -> AsyncIterator[Books]:
    """The books of an organization of this test's own."""
    made = await found_organization(service)
    async with made.client:
        yield made


@pytest.fixture
async def others(service: Service) -> AsyncIterator[Books]:
    """The books of another organization."""
    made = await found_organization(service)
    async with made.client:
        yield made

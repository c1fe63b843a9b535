"""What tests share: a PostgreSQL server for each worker, a database of its own for each test, the service over it.

The server is the embedded one. With DOPPIA_TEST_POSTGRES=DIR it is the one whose programs stand in DIR, such as
/usr/lib/postgresql/15/bin, run as the same unprivileged user.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from doppia.api.app import create_app
from doppia.api.http.auth import Authenticator
from doppia.api.http.request import Service
from doppia.engine.performing import Engine
from doppia.engine.platform import keys
from doppia.store.database.connections import Database
from doppia.store.database.migrate import migrate
from doppia.store.embedded.server import service_url
from tests.servers import CHECKPOINT_KEYS, Server, embedded, system


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server for this worker, with a migrated database "template" to clone."""
    programs = os.environ.get("DOPPIA_TEST_POSTGRES")
    with asyncio.Runner() as runner:
        if programs:
            servers = system(Path(programs))
            server = next(servers)
        else:
            manager = embedded()
            server = runner.run(manager.__aenter__())
        try:
            runner.run(_make_template(server))
            yield server
        finally:
            if programs:
                next(servers, None)
            else:
                runner.run(manager.__aexit__(None, None, None))


async def _make_template(server: Server) -> None:
    connection = await asyncpg.connect(server.url)
    await connection.execute("create database template_doppia owner doppia_owner")
    await connection.close()
    await migrate(server.owner_of("template_doppia"), service_url=server.service_of("template_doppia"))


@pytest.fixture
async def database_url(postgres: Server) -> AsyncIterator[str]:
    """The URL of a migrated database of this test's own, as the server's superuser."""
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"create database {name} template template_doppia")
    yield postgres.of(name)
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The opened database of this test, as the service's role."""
    opened = Database(service_url(database_url))
    await opened.open()
    yield opened
    await opened.close()


@dataclass
class Running:
    """The service in this process, with the credentials of its first organization."""

    service: Service
    organization_id: str
    api_key: str

    def client(self, api_key: str | None = None, base_url: str = "http://doppia.test") -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=create_app(self.service))
        return httpx2.AsyncClient(
            transport=transport, base_url=base_url, auth=(self.organization_id, api_key or self.api_key), timeout=60
        )


@pytest.fixture
async def running(database: Database) -> AsyncIterator[Running]:
    """The service over this test's database."""
    begun = await keys.begin(database, now)
    assert begun is not None
    engine = Engine(database, now)
    service = Service(engine, Authenticator(database), CHECKPOINT_KEYS)
    yield Running(service, str(begun[0].organization), begun[1])
    await engine.close()


@pytest.fixture
async def client(running: Running) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client of the service, in process, with the admin's key."""
    async with running.client() as opened:
        yield opened

"""How a command reaches the database: the user's by URL, or the embedded one, started for the while if need be."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from doppia.settings import Settings
from doppia.store import organizations
from doppia.store.database import Database
from doppia.store.embedded import EmbeddedServer, running_url
from doppia.store.migrate import migrate

Data = Annotated[str | None, Parameter(help="Data folder; also DOPPIA_DATA.")]
Url = Annotated[str | None, Parameter(help="URL of your own PostgreSQL; also DOPPIA_DATABASE_URL.")]


def now() -> datetime:
    """Return the time, for the engine."""
    return datetime.now(UTC)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Database]:
    """Lend the opened database, its schema up to date.

    Raises:
        EmbeddedError, SchemaError, DatabaseUrlError, Unavailable.
    """
    url = settings.database_url or running_url(settings.data_folder)
    server = None
    if url is None:
        server = EmbeddedServer(settings.data_folder, user=settings.database_user)
        await server.start()
        url = server.url
    try:
        async with opened(url) as database:
            yield database
    finally:
        if server is not None:
            await server.stop()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """Lend the database at a URL, its schema up to date.

    Raises:
        SchemaError, DatabaseUrlError, Unavailable.
    """
    await migrate(url)
    database = Database(url)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def only_organization(database: Database) -> UUID:
    """Return the organization that the installation began with; the program ends where there is none yet."""
    async with database.connection() as connection:
        organization = await organizations.first(connection)
    if organization is None:
        sys.exit("There is no organization yet: start the service once with `doppia serve`.")
    return organization

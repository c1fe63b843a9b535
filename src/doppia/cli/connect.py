"""How a command reaches the database: the user's by URL, or the embedded one, which it starts if it does not run."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from doppia.settings import Settings
from doppia.store.database.connections import Database
from doppia.store.database.migrate import migrate
from doppia.store.embedded.server import EmbeddedServer, owner_url, running_url, service_url
from doppia.store.platform import organizations

Data = Annotated[str | None, Parameter(help="Data folder; also DOPPIA_DATA.")]
Url = Annotated[str | None, Parameter(help="URL of your own PostgreSQL; also DOPPIA_DATABASE_URL.")]


def now() -> datetime:
    """Return the present time: the clock of the program, which is passed to what needs one."""
    return datetime.now(UTC)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Database]:
    """Yield the database, opened, with its schema up to date.

    Raises:
        EmbeddedError, SchemaError, DatabaseUrlError, Unavailable.
    """
    if settings.database_url is not None:
        async with opened(settings.database_url, settings.owner_database_url) as database:
            yield database
        return
    url = running_url(settings.data_folder)
    server = None
    if url is None:
        server = EmbeddedServer(settings.data_folder, user=settings.database_user)
        await server.start()
        url = server.url
    try:
        async with opened(service_url(url), owner_url(url)) as database:
            yield database
    finally:
        if server is not None:
            await server.stop()


@asynccontextmanager
async def opened(url: str, owner_url: str | None) -> AsyncIterator[Database]:
    """Yield the database at a URL, opened, with its schema up to date.

    Args:
        url: the database, for the service's role.
        owner_url: the same database, for the role that owns the schema; None where that is the service's role.

    Raises:
        SchemaError, DatabaseUrlError, Unavailable.
    """
    if owner_url is None:
        await migrate(url)
    else:
        await migrate(owner_url, service_url=url)
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

"""How a program comes to an open database: the user's by URL, or the embedded one, started for the while if need be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from doppia.settings import Settings
from doppia.store.database.connections import Database
from doppia.store.database.migrate import migrate
from doppia.store.embedded.server import EmbeddedServer, owner_url, running_url, service_url


def now() -> datetime:
    """Return the time, for the engine."""
    return datetime.now(UTC)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Database]:
    """Lend the opened database, its schema up to date; an embedded server that runs already is used as it is.

    Raises:
        EmbeddedError, SchemaError, DatabaseUrlError, Unavailable.
    """
    url = None if settings.database_url is not None else running_url(settings.data_folder)
    if url is not None:
        async with opened(service_url(url), owner_url(url)) as database:
            yield database
        return
    async with database_urls(settings) as (service, owner), opened(service, owner) as database:
        yield database


@asynccontextmanager
async def database_urls(chosen: Settings) -> AsyncIterator[tuple[str, str | None]]:
    """Lend the service's and the owner's URLs of the database: the user's, or those of the embedded server.

    The embedded server runs meanwhile, and is started again whenever it dies.
    """
    if chosen.database_url is not None:
        yield chosen.database_url, chosen.owner_database_url
        return
    server = EmbeddedServer(chosen.data_folder, user=chosen.database_user)
    await server.start()
    watching = asyncio.create_task(server.watch())
    try:
        yield service_url(server.url), owner_url(server.url)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await server.stop()


@asynccontextmanager
async def opened(url: str, owner_url: str | None) -> AsyncIterator[Database]:
    """Lend the database at a URL, its schema up to date; `owner_url` is None where the same role owns the schema.

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

"""How a command reaches the database: the user's by URL, or the embedded one, started for the while if need be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doppia.settings import Settings
from doppia.store.database import Database
from doppia.store.embedded import EmbeddedServer, running_url
from doppia.store.migrate import migrate


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

"""Opening the database: the user's own one by its URL, or the embedded one, which is started if it does not run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from doppia.settings import Settings
from doppia.store.database.connections import Database
from doppia.store.database.migrate import migrate
from doppia.store.embedded.server import EmbeddedServer, owner_url, running_url, service_url


def now() -> datetime:
    """Return the time in UTC. This is the clock that is passed to the engine."""
    return datetime.now(UTC)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Database]:
    """Lend the open database that the settings name, with its schema up to date.

    An embedded server that another process runs is used and not stopped afterwards.

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
    """Lend two URLs of the database: that of the service's role, and that of the schema's owner.

    The second is None where one role is both. Where the settings name no database, the embedded server runs meanwhile,
    and is started again whenever it dies.

    Raises:
        EmbeddedError: the embedded server can't run.
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
    """Lend the open database at a URL, with its schema up to date.

    `owner_url` is None where the role of the first URL owns the schema.

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

"""Organizations and their API keys in the database."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

import asyncpg
import structlog

from doppia.store.database.connections import CONNECT_TIMEOUT_SECONDS, Connection, load_queries, session_settings

_SQL: Final = load_queries("platform/organizations")
_log = structlog.get_logger()

Role = Literal["read", "write", "admin"]


class Principal(NamedTuple):
    """Who asks: an API key, its organization and its role."""

    key_id: UUID
    organization: UUID
    role: Role


class KeyFields(NamedTuple):
    """An API key's fields; the key itself is nowhere."""

    id: UUID
    organization: UUID
    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None


async def first(connection: Connection) -> UUID | None:
    """Return the organization that the installation began with, or None before there is one."""
    found: UUID | None = await _SQL["only"].fetchval(connection)
    return found


async def lock_bootstrap(connection: Connection) -> None:
    """Keep other processes from creating the first organization until the database transaction ends."""
    await _SQL["lock_bootstrap"].execute(connection)


async def create(connection: Connection, id_: UUID, name: str, created_at: datetime) -> None:
    """Create an organization."""
    await _SQL["create"].execute(connection, id=id_, name=name, created_at=created_at)


async def create_key(connection: Connection, fields: KeyFields, digest: bytes) -> None:
    """Store a key by the SHA-256 of its text."""
    await _SQL["create_key"].execute(
        connection,
        id=fields.id,
        organization=fields.organization,
        name=fields.name,
        role=fields.role,
        digest=digest,
        created_at=fields.created_at,
    )


async def find_key(connection: Connection, digest: bytes) -> Principal | None:
    """Return whose key has this digest, or None when none has or it is revoked."""
    row = await _SQL["find_key"].fetchrow(connection, digest=digest)
    return Principal(*row) if row else None


async def keys(connection: Connection, organization: UUID) -> list[KeyFields]:
    """Return all keys of an organization, the oldest first."""
    return [KeyFields(*row) for row in await _SQL["keys"].fetch(connection, organization=organization)]


async def revoke_key(connection: Connection, organization: UUID, id_: UUID, revoked_at: datetime) -> bool:
    """Revoke a key, and let every process know at the commit. False when it is unknown or revoked already."""
    revoked = await _SQL["revoke_key"].fetchval(connection, organization=organization, id=id_, revoked_at=revoked_at)
    if revoked is not None:
        await _SQL["announce_revocation"].execute(connection)
    return revoked is not None


async def listen_for_revocations(url: str, forget: Callable[[bool], None]) -> None:
    """Call `forget` at each revocation of a key, by whichever process; runs until it is cancelled.

    Args:
        url: of the database.
        forget: takes whether revocations are being heard: called with True when listening begins and at each
            revocation, with False when the connection is lost.
    """
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_SECONDS, server_settings=session_settings())
            lost = asyncio.Event()
            connection.add_termination_listener(lambda *_, lost=lost: lost.set())
            await connection.add_listener("doppia_keys", lambda *_: forget(True))
            forget(True)
            try:
                await lost.wait()
            finally:
                forget(False)
                connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            _log.info("waiting to hear of revoked keys")
        await asyncio.sleep(1)

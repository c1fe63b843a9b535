"""Organizations and API keys: the first of each, then create and revoke."""

import hashlib
import secrets
from datetime import datetime
from uuid import UUID

import uuid_utils.compat

from doppia.engine.posting.writing import Clock
from doppia.store.database.connections import Connection, Database
from doppia.store.ledger import ledgers
from doppia.store.platform import organizations
from doppia.store.platform.organizations import KeyFields, Role


def key_digest(api_key: str) -> bytes:
    """Return what is stored of a key. It holds 256 random bits, so that a plain hash can't be guessed back."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogateescape")).digest()


async def begin(database: Database, clock: Clock) -> tuple[KeyFields, str] | None:
    """Create the organization of a new installation where there is none, and its admin key; None when it has a key.

    Returns:
        the key's fields, and the key, which is not kept.
    """
    async with database.tx() as connection:
        organization = await _first(connection, clock)
        if await organizations.keys(connection, organization):
            return None
        return await _create(connection, clock(), organization, name="admin", role="admin")


async def first_organization(database: Database, clock: Clock) -> UUID:
    """Return the organization of an installation, which is created without a key where there is none."""
    async with database.tx() as connection:
        return await _first(connection, clock)


async def _first(connection: Connection, clock: Clock) -> UUID:
    await organizations.lock_bootstrap(connection)
    found = await organizations.first(connection)
    if found is None:
        found = uuid_utils.compat.uuid7()
        await organizations.create(connection, found, "first organization", clock())
    return found


async def create(
    database: Database, clock: Clock, organization: UUID, *, name: str, role: Role
) -> tuple[KeyFields, str]:
    """Create an API key.

    Returns:
        its fields, and the key, which is not kept.
    """
    async with database.tx() as connection:
        return await _create(connection, clock(), organization, name=name, role=role)


async def _create(
    connection: Connection, now: datetime, organization: UUID, *, name: str, role: Role
) -> tuple[KeyFields, str]:
    api_key = f"doppia_{secrets.token_urlsafe(32)}"
    fields = KeyFields(uuid_utils.compat.uuid7(), organization, name, role, now, None)
    await organizations.create_key(connection, fields, key_digest(api_key))
    payload = {"key_id": str(fields.id), "name": name, "role": role}
    await ledgers.append_organization(connection, organization, now, None, "key_created", payload)
    return fields, api_key


async def revoke(database: Database, clock: Clock, organization: UUID, key_id: UUID) -> bool:
    """Revoke a key at once, in every process. False when it is unknown or revoked already."""
    now = clock()
    async with database.tx() as connection:
        revoked = await organizations.revoke_key(connection, organization, key_id, now)
        if revoked:
            await ledgers.append_organization(
                connection, organization, now, None, "key_revoked", {"key_id": str(key_id)}
            )
        return revoked

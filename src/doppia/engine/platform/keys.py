"""Organizations and API keys: a new installation gets the first of each; then keys are created and revoked."""

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
    """Return what is stored of an API key. A plain hash is safe, because a key holds 256 random bits."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogateescape")).digest()


async def begin(database: Database, clock: Clock) -> tuple[KeyFields, str] | None:
    """Create the first admin key of an installation, and its organization if there is none.

    Returns:
        The fields of the key and the key itself, which is not stored; None where the organization had a key already.
    """
    async with database.tx() as connection:
        organization = await _first(connection, clock)
        if await organizations.keys(connection, organization):
            return None
        return await _create(connection, clock(), organization, name="admin", role="admin")


async def first_organization(database: Database, clock: Clock) -> UUID:
    """Return the first organization of an installation. If there is none, it is created, without a key."""
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
        The fields of the key and the key itself, which is not stored.
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
    """Revoke a key, at once and in every process. Return False where it is unknown or revoked already."""
    now = clock()
    async with database.tx() as connection:
        revoked = await organizations.revoke_key(connection, organization, key_id, now)
        if revoked:
            await ledgers.append_organization(
                connection, organization, now, None, "key_revoked", {"key_id": str(key_id)}
            )
        return revoked

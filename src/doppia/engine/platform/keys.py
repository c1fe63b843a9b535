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
    """Create the organization of a new installation with an admin key; None when it has begun before.

    Returns:
        the key's fields, and the key, which is not kept.
    """
    async with database.tx() as connection:
        await organizations.lock_bootstrap(connection)
        if await organizations.first(connection) is not None:
            return None
        organization = uuid_utils.compat.uuid7()
        now = clock()
        await organizations.create(connection, organization, "first organization", now)
        return await _create(connection, now, organization, name="admin", role="admin")


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

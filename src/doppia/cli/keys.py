"""`doppia keys`: create, list and revoke API keys."""

import asyncio
import json
import sys
from typing import Annotated
from uuid import UUID

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from doppia import settings
from doppia.cli.connect import Data, Url, only_organization
from doppia.engine.platform import keys as engine
from doppia.opening import connected, now
from doppia.store.platform import organizations
from doppia.store.platform.organizations import KeyFields, Role

app = App(name="keys", help="Create, list and revoke API keys.")


@app.command
def create(
    *,
    name: str,
    role: Role,
    data: Data = None,
    database_url: Url = None,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False,
) -> None:
    """Create an API key and print it: it is shown this once and kept nowhere.

    Args:
        name: what the key is for.
        role: read lets it look, write lets it post, admin lets it purge ledgers and erase texts as well.
    """

    async def run() -> tuple[KeyFields, str]:
        async with connected(settings.load({"data": data, "database_url": database_url})) as database:
            organization = await only_organization(database)
            return await engine.create(database, now, organization, name=name, role=role)

    fields, api_key = asyncio.run(run())
    shown = {
        "id": str(fields.id),
        "name": fields.name,
        "role": fields.role,
        "organization_id": str(fields.organization),
        "api_key": api_key,
    }
    if json_:
        print(json.dumps(shown))
        return
    for label, value in shown.items():
        print(f"{label:16} {value}")


@app.command(name="list")
def list_(*, data: Data = None, database_url: Url = None) -> None:
    """List the keys with their names, their roles and when they were revoked. The keys themselves are kept nowhere."""

    async def run() -> list[KeyFields]:
        async with connected(settings.load({"data": data, "database_url": database_url})) as database:
            organization = await only_organization(database)
            async with database.connection() as connection:
                return await organizations.keys(connection, organization)

    table = Table(box=None)
    table.add_column("id", no_wrap=True)
    for heading in ("name", "role", "created", "revoked"):
        table.add_column(heading)
    for fields in asyncio.run(run()):
        revoked = fields.revoked_at.date().isoformat() if fields.revoked_at else ""
        table.add_row(str(fields.id), fields.name, fields.role, fields.created_at.date().isoformat(), revoked)
    Console().print(table)


@app.command
def revoke(key_id: UUID, *, data: Data = None, database_url: Url = None) -> None:
    """Revoke a key at once, in every process of the service.

    Args:
        key_id: the key's id, as `doppia keys list` shows it.
    """

    async def run() -> bool:
        async with connected(settings.load({"data": data, "database_url": database_url})) as database:
            return await engine.revoke(database, now, await only_organization(database), key_id)

    if not asyncio.run(run()):
        sys.exit(f"There is no active key with the id {key_id}.")
    print(f"Revoked {key_id}.")

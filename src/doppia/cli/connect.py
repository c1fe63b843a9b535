"""What commands that need the database have in common: their parameters, and the organization they are about."""

import sys
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from doppia.store.database.connections import Database
from doppia.store.platform import organizations

Data = Annotated[str | None, Parameter(help="Data folder; also DOPPIA_DATA.")]
Url = Annotated[str | None, Parameter(help="URL of your own PostgreSQL; also DOPPIA_DATABASE_URL.")]


async def only_organization(database: Database) -> UUID:
    """Return the organization that the installation began with; the program ends where there is none yet."""
    async with database.connection() as connection:
        organization = await organizations.first(connection)
    if organization is None:
        sys.exit("There is no organization yet: start the service once with `doppia serve`.")
    return organization

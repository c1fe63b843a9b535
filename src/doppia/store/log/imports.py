"""What only an import asks of the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from doppia.store.database.connections import Connection, load_queries

_SQL: Final = load_queries("log/imports")


class NotStorableError(Exception):
    """The database has no place for a value, such as a text with the character NUL; the text says for which."""


@contextmanager
def storing() -> Iterator[None]:
    """Surround writes of values that nobody has looked at.

    Raises:
        NotStorableError: the database has no place for one.
    """
    try:
        yield
    except (asyncpg.DataError, asyncpg.ProgramLimitExceededError) as error:
        raise NotStorableError(str(error)) from error


class InForce(NamedTuple):
    """Which record wrote a transaction's entries in force, and when it was posted."""

    entries_sequence: int
    posted_at: datetime | None


async def begin(connection: Connection) -> None:
    """Let the database transaction take as long as the import does."""
    await _SQL["begin"].execute(connection)


async def claim(connection: Connection, ledger: int) -> bool:
    """Keep others from importing a ledger at the same time; False where another does so already."""
    claimed: bool = await _SQL["claim"].fetchval(connection, ledger=ledger)
    return claimed


async def is_organization(connection: Connection, organization: UUID) -> bool:
    """Say whether there is such an organization."""
    found: bool = await _SQL["is_organization"].fetchval(connection, organization=organization)
    return found


async def check(connection: Connection) -> None:
    """Let the constraints that wait for the end of the database transaction look at what was written so far."""
    await _SQL["check"].execute(connection)


async def in_force(connection: Connection, ledger: int, transaction: int) -> InForce:
    """Return what a transaction's record does not repeat when it keeps its entries; there is such a transaction."""
    row = await _SQL["in_force"].fetchrow(connection, ledger=ledger, transaction=transaction)
    return InForce(*row)

"""Brings the schema of a database to this program's version: numbered SQL files, applied in order, never back.

And gives the service's role its grants, where another role owns the schema.
"""

import hashlib
from importlib.resources import files
from typing import Final

import asyncpg
import structlog

from doppia.store.database.connections import faults, load_queries, session_settings, url_faults

_LOCK: Final = 0x646F70706961
"""Key of the advisory lock under which one process at a time migrates: "doppia" in ASCII."""

_SQL: Final = load_queries("database/migrate")
_GRANTS: Final = load_queries("database/grants")["grants"].text.split(";\n")

_log = structlog.get_logger()


class SchemaError(Exception):
    """The database's schema is not one that this program can bring up to date; the text says why."""


def migrations() -> list[tuple[int, str, str]]:
    """Return the migrations in order: number, file name, text."""
    folder = files("doppia.store").joinpath("migrations")
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    return [(int(name[:4]), name, folder.joinpath(name).read_text(encoding="utf-8")) for name in names]


async def migrate(url: str, *, service_url: str | None = None) -> None:
    """Apply what is missing, each migration in a database transaction of its own; safe to call from several processes.

    Args:
        url: of the database, as the role that owns the schema or is to own it. Any role will do where nothing is
            missing.
        service_url: of the same database, as the role that is given the service's grants; None where it needs none.

    Raises:
        SchemaError: an applied migration was changed since, the database is of a newer program, or it is older than
            PostgreSQL 15.
        Unavailable: the database can't be reached.
        DatabaseUrlError: it refuses us, or the URL is malformed.
    """
    with faults(), url_faults():
        settings = session_settings() | {"statement_timeout": "0", "citus.enable_unsafe_triggers": "on"}
        connection = await asyncpg.connect(url, timeout=5, server_settings=settings)
        try:
            if connection.get_server_version().major < 15:  # noqa: PLR2004 - the oldest supported, as the text says
                raise SchemaError(
                    f"The database is PostgreSQL {connection.get_server_version().major}; 15 or newer is needed."
                )
            await _SQL["take_lock"].execute(connection, lock=_LOCK)
            await _apply_missing(connection)
            if service_url is not None:
                await _grant(connection, service_url)
        finally:
            await connection.close()


async def _grant(connection: asyncpg.Connection, service_url: str) -> None:
    service = await asyncpg.connect(service_url, timeout=5)
    try:
        role = await _SQL["quoted_role"].fetchval(service)
    finally:
        await service.close()
    if role == await _SQL["quoted_role"].fetchval(connection):
        return
    async with connection.transaction():  # so that the service never stands without grants
        for statement in _GRANTS:
            await connection.execute(statement.replace("$1", role))


async def _apply_missing(connection: asyncpg.Connection) -> None:
    if not await _SQL["table_exists"].fetchval(connection):
        await _SQL["create_schema"].execute(connection)
        await _SQL["create_table"].execute(connection)
    applied = {row["number"]: row["sha256"] for row in await _SQL["applied"].fetch(connection)}
    known = migrations()
    if newer := applied.keys() - {number for number, _, _ in known}:
        raise SchemaError(
            f"The database has migration {max(newer)}, which this program does not know: it was used by a newer "
            "version of Doppia. Run that version, or restore a backup made before the upgrade."
        )
    for number, name, text in known:
        digest = hashlib.sha256(text.encode()).hexdigest()
        if number in applied:
            if applied[number] != digest:
                raise SchemaError(
                    f"Migration {name} was applied to this database with another text than this program has; "
                    "the two do not belong together."
                )
            continue
        async with connection.transaction():
            await connection.execute(text)
            await _SQL["mark_applied"].execute(connection, number=number, name=name, sha256=digest)
        _log.info("migration applied", migration=name)

"""Make the exports that every later version must verify, import and export again: python -m tests.proof.make_fixtures.

They stand in tests/proof/fixtures. From now on they never change: whoever has an old export holds us to these bytes.
What grows later gets another file beside them. This script may be run once more only while nobody has an export yet.
"""

import asyncio
import gzip
from pathlib import Path
from typing import Final
from uuid import uuid4

import asyncpg

from doppia.accounting.ids import LedgerId, LedgerNumber, LedgerRef, parse_id
from doppia.api.http.auth import Authenticator
from doppia.api.http.request import Service
from doppia.cli.exports import export_ledger
from doppia.engine.performing import Engine
from doppia.store.database.connections import Database
from doppia.store.database.migrate import migrate
from tests.api.over_http import Books, Json, found_organization, now
from tests.api.whole_books import live
from tests.redacting import committed, redact
from tests.servers import CHECKPOINT_KEYS, embedded

FOLDER: Final = Path(__file__).parent / "fixtures"


async def main() -> None:
    """Make a ledger in which everything happened, and another of which every third text was erased."""
    async with embedded() as server:
        connection = await asyncpg.connect(server.url)
        name = f"t{uuid4().hex}"
        await connection.execute(f"create database {name} owner doppia_owner")
        await connection.close()
        await migrate(server.owner_of(name), service_url=server.service_of(name))
        database = Database(server.service_of(name))
        await database.open()
        engine = Engine(database, now)
        books = await found_organization(Service(engine, Authenticator(database), CHECKPOINT_KEYS))
        async with books.client:
            await _keep("whole", books, await live(books))
            ledger = await live(books)
            superuser = await asyncpg.connect(server.of(name), server_settings={"search_path": "doppia"})
            await _erase(books, superuser, ledger)
            await superuser.close()
            await _keep("redacted", books, ledger)
        await engine.close()
        await database.close()
    (FOLDER / "checkpoint.keys").write_text("".join(f"{key.verifier}\n" for key in CHECKPOINT_KEYS), encoding="utf-8")


async def _erase(books: Books, superuser: asyncpg.Connection, ledger: Json) -> None:
    """Erase every third text, then the reason that was given for it, and let the ledger go on."""
    id_ = parse_id(ledger["id"])
    assert id_ is not None
    ref = LedgerRef(LedgerNumber(id_.ledger), LedgerId(ledger["id"]))
    database = books.service.engine.database
    erased = (await committed(superuser, id_.ledger))[::3]
    first = await redact(database, superuser, now, ref, erased, "asked for by Ana")
    await redact(database, superuser, now, ref, [first << 10], "the reason named her")
    assert (await books.patch(f"/ledgers/{ledger['id']}", {"description": "after it"})).is_success


async def _keep(name: str, books: Books, ledger: Json) -> None:
    id_ = parse_id(ledger["id"])
    assert id_ is not None
    lines: list[bytes] = []
    await export_ledger(books.service.engine.database, id_, lines.append)
    (FOLDER / f"{name}.ndjson.gz").write_bytes(gzip.compress(b"".join(lines), mtime=0))
    note = (await books.get(f"/ledgers/{ledger['id']}/checkpoint")).text
    (FOLDER / f"{name}.checkpoint").write_text(note, encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())

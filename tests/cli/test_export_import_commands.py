"""`doppia export` and `doppia import` as they are typed: files that are whole or not there, and what is refused."""

import asyncio
import gzip
import os
import signal
import stat
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import asyncpg
import pytest

from doppia.accounting.ids import format_id
from doppia.cli.exports import ExportError, export
from doppia.cli.imports import import_
from doppia.engine.importing.imports import ImportRefusedError
from doppia.engine.platform import keys
from doppia.main import app
from doppia.proof.exchange import header_from_line
from doppia.store.database.connections import Database
from doppia.store.embedded.server import service_url
from doppia.store.ledger import ledgers
from doppia.store.log import log
from tests.engine.bookkeeping import Books, id_of, now
from tests.servers import Server


class Source(NamedTuple):
    """A database, and a ledger in it."""

    url: str
    ledger: str


async def new_database(postgres: Server) -> str:
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"create database {name} template template_doppia")
    await connection.close()
    return postgres.of(name)


@pytest.fixture
def source(postgres: Server) -> Source:
    """A database with a small ledger."""

    async def begin() -> Source:
        url = await new_database(postgres)
        database = Database(service_url(url))
        await database.open()
        books = await Books.begin(database)
        await books.open()
        await database.close()
        return Source(url, books.ledger.id)

    return asyncio.run(begin())


@pytest.fixture
def elsewhere(postgres: Server) -> str:
    """The URL of another database, with an organization."""

    async def begin() -> str:
        url = await new_database(postgres)
        database = Database(service_url(url))
        await database.open()
        await keys.begin(database, now)
        await database.close()
        return url

    return asyncio.run(begin())


def test_what_was_exported_is_imported(
    source: Source, elsewhere: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "books.ndjson.gz"
    export(source.ledger, output=str(file), database_url=source.url)
    header = header_from_line(gzip.decompress(file.read_bytes()).splitlines()[0])
    assert str(header.ledger_id) == source.ledger
    assert header.root.hex() in capsys.readouterr().err
    import_(str(file), database_url=elsewhere)
    said = capsys.readouterr().out
    assert source.ledger in said
    assert header.root.hex() in said
    with pytest.raises(ImportRefusedError, match="on this server already"):
        import_(str(file), database_url=elsewhere)


def test_a_compressed_file_says_what_a_plain_one_says_and_only_its_owner_reads_it(
    source: Source, tmp_path: Path
) -> None:
    plain, compressed = tmp_path / "books.ndjson", tmp_path / "books.ndjson.gz"
    for file in (plain, compressed):
        export(source.ledger, output=str(file), database_url=source.url)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert gzip.decompress(compressed.read_bytes()) == plain.read_bytes()
    assert sorted(tmp_path.iterdir()) == [plain, compressed], "nothing else is left"


def test_a_ledger_goes_through_a_pipe(
    source: Source, elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = BytesIO()
    written = TextIOWrapper(raw)
    monkeypatch.setattr(sys, "stdout", written)
    export(source.ledger, database_url=source.url)
    file = tmp_path / "books"
    file.write_bytes(raw.getvalue())
    with file.open() as opened:
        monkeypatch.setattr(sys, "stdin", opened)
        import_("-", database_url=elsewhere)
    with pytest.raises(ImportRefusedError, match=f"{source.ledger} is on this server already"):
        import_(str(file), database_url=elsewhere)


def test_a_hyphen_is_taken_for_a_file_as_it_is_typed() -> None:
    assert app.parse_args(["import", "-"])[1].arguments == {"file": "-"}
    assert app.parse_args(["export", "7", "--output", "-"])[1].arguments == {"ledger": "7", "output": "-"}


def test_an_import_that_waits_for_a_pipe_is_ended_by_one_interrupt_and_leaves_nothing(
    source: Source, elsewhere: str, tmp_path: Path
) -> None:
    file = tmp_path / "books.ndjson"
    export(source.ledger, output=str(file), database_url=source.url)
    lines = file.read_bytes().splitlines(keepends=True)
    command = [str(Path(sys.prefix) / "bin" / "doppia"), "import", "-", "--database-url", elsewhere]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as importing:
        assert importing.stdin is not None
        importing.stdin.write(b"".join(lines[:-1]))
        importing.stdin.flush()
        asyncio.run(_until_begun(elsewhere))
        importing.send_signal(signal.SIGINT)
        assert importing.wait(10) == 128 + signal.SIGINT
    import_(str(file), database_url=elsewhere)


async def _until_begun(url: str) -> None:
    """Wait until the first record of a ledger has been written, and the next is waited for."""
    connection = await asyncpg.connect(url)
    begun = """select exists (select from pg_stat_activity
                where datname = current_database() and state = 'idle in transaction'
                  and query like '%into ledger_heads%')"""
    async with asyncio.timeout(30):
        while not await connection.fetchval(begun):
            await asyncio.sleep(0.02)
    await connection.close()


def test_a_file_that_is_there_is_not_overwritten(source: Source, tmp_path: Path) -> None:
    file = tmp_path / "books.ndjson"
    file.write_text("mine")
    with pytest.raises(ExportError, match="is there already"):
        export(source.ledger, output=str(file), database_url=source.url)
    assert file.read_text() == "mine"


def test_a_file_that_comes_to_be_there_meanwhile_is_not_overwritten(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "books.ndjson"
    flush = os.fsync

    def write_before(handle: int) -> None:
        file.write_text("mine")
        flush(handle)

    monkeypatch.setattr(os, "fsync", write_before)
    with pytest.raises(ExportError, match="came to be there meanwhile"):
        export(source.ledger, output=str(file), database_url=source.url)
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def _unless_owned(ledger: str) -> str:
    found = id_of(ledger)
    return format_id(found.seconds + 1, found.ledger, 1)


def test_what_is_no_ledger_of_this_server_is_not_exported(source: Source, tmp_path: Path) -> None:
    file = tmp_path / "books.ndjson"
    for ledger in ("books", str(uuid4()), _unless_owned(source.ledger)):
        with pytest.raises(ExportError, match=r"is no ledger's id|There is no ledger"):
            export(ledger, output=str(file), database_url=source.url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "sentence"),
    [(3, "is not what was committed"), (1, "Record 2 .* is no record")],
    ids=["a value", "a form"],
)
def test_a_log_that_was_tampered_with_is_not_exported(
    source: Source, tmp_path: Path, place: int, sentence: str
) -> None:
    async def tamper() -> None:
        connection = await asyncpg.connect(source.url, server_settings={"search_path": "doppia"})
        await connection.execute("set session_replication_role = replica")
        changed = await connection.execute(
            "update log set payload = overlay(payload placing '\\x00' from $1 for 1) where sequence = 2", place
        )
        assert changed == "UPDATE 1"
        await connection.close()

    asyncio.run(tamper())
    file = tmp_path / "books.ndjson"
    with pytest.raises(ExportError, match=sentence):
        export(source.ledger, output=str(file), database_url=source.url)
    assert list(tmp_path.iterdir()) == [], "a broken export is never taken for a whole one"


def test_an_import_is_for_the_organization_that_is_named(source: Source, elsewhere: str, tmp_path: Path) -> None:
    file = tmp_path / "books.ndjson"
    export(source.ledger, output=str(file), database_url=source.url)
    with pytest.raises(ImportRefusedError, match="There is no organization"):
        import_(str(file), organization=uuid4(), database_url=elsewhere)

    async def look() -> tuple[ledgers.Owner | None, log.Size | None]:
        database = Database(service_url(elsewhere))
        await database.open()
        async with database.connection() as connection:
            number = id_of(source.ledger).ledger
            found = await ledgers.owner(connection, number), await log.size(connection, number)
        await database.close()
        return found

    assert asyncio.run(look()) == (None, None)

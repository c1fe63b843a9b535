"""`doppia redact` as it is typed: what it erases, what it refuses, and that it asks first."""

import asyncio
import io
import sys
from typing import NamedTuple

import asyncpg
import pytest

from doppia.accounting.errors import ObjectNotFound
from doppia.cli import CommandError
from doppia.cli.redact import redact
from doppia.engine.posting.writing import NOBODY
from doppia.store.database.connections import Database
from doppia.store.embedded.server import service_url
from tests.cli.test_export_import_commands import new_database
from tests.engine.bookkeeping import Books, move
from tests.servers import Server

CUSTOMER = {"customer": "4711"}


class Source(NamedTuple):
    """A database, and a ledger in it with four payments, of which the first three are a customer's."""

    url: str
    ledger: str
    payments: list[str]

    def query(self, query: str) -> list[object]:
        async def rows() -> list[object]:
            connection = await asyncpg.connect(self.url, server_settings={"search_path": "doppia"})
            try:
                return [row[0] for row in await connection.fetch(query)]
            finally:
                await connection.close()

        return asyncio.run(rows())

    def descriptions(self) -> list[object]:
        return self.query("select description from transactions order by transaction_sequence")

    def records(self) -> list[object]:
        return self.query("select count(*) from log")


@pytest.fixture
def source(postgres: Server) -> Source:
    async def begin() -> Source:
        url = await new_database(postgres)
        database = Database(service_url(url))
        await database.open()
        books = await Books.begin(database)
        cash, wallet = await books.open(), await books.open()
        payments = []
        for number in range(4):
            metadata = CUSTOMER if number < 3 else {"customer": "1"}
            _, command = books.create(move(cash, wallet, 5), description=f"payment {number}", metadata=metadata)
            payments.append((await books.engine.perform(NOBODY, command)).id)
        await books.engine.close()
        await database.close()
        return Source(url, books.ledger.id, payments)

    return asyncio.run(begin())


def test_what_is_named_and_what_has_the_metadata_loses_its_texts(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    redact(
        ledger=source.ledger,
        transaction=(source.payments[3],),
        metadata=("customer=4711",),
        reason="request 17",
        yes=True,
        database_url=source.url,
    )
    assert capsys.readouterr().out == f"ledger {source.ledger}: texts erased: 4, records that say so: 1\n"
    assert source.descriptions() == ["[redacted]"] * 4

    redact(ledger=source.ledger, metadata=("customer=4711",), yes=True, database_url=source.url)
    assert "There is nothing to redact" in capsys.readouterr().out


def test_more_than_are_redacted_at_once_are_redacted_in_several_records(
    source: Source, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doppia.engine.platform.redactions.OBJECTS_MAX", 2)
    redact(ledger=source.ledger, metadata=("customer=4711",), yes=True, database_url=source.url)
    assert capsys.readouterr().out == f"ledger {source.ledger}: texts erased: 3, records that say so: 2\n"
    assert source.descriptions() == ["[redacted]"] * 3 + ["payment 3"]


def test_it_asks_first_and_does_nothing_unless_the_answer_is_yes(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = source.records()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(CommandError, match="say --yes where nobody can be asked"):
        redact(ledger=source.ledger, metadata=("customer=4711",), database_url=source.url)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer in ("\n", "n\n", "yess\n"):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        with pytest.raises(CommandError, match="Nothing was redacted"):
            redact(ledger=source.ledger, metadata=("customer=4711",), database_url=source.url)
    assert source.records() == before

    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    redact(ledger=source.ledger, metadata=("customer=4711",), database_url=source.url)
    assert source.descriptions() == ["[redacted]"] * 3 + ["payment 3"]


def test_what_is_named_wrongly_is_refused_and_nothing_is_erased(source: Source) -> None:
    other = "65a1b2c3-0000-8000-8400-000000000400"

    def refused(sentence: str, ledger: str = source.ledger, **asked: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match=sentence):
            redact(ledger=ledger, yes=True, database_url=source.url, **asked)  # type: ignore[arg-type]

    before = source.records()
    refused("Say what to redact")
    refused("--ledger books is not an id", ledger="books", metadata=("a=b",))
    refused(f"no ledger with the id {other}", ledger=other, metadata=("a=b",))
    refused("--transaction 7 is not an id", transaction=("7",))
    refused(f"no ledger_transaction with the id {other}", transaction=(other,))
    refused("--metadata customer is not of the form key=value", metadata=("customer",))
    refused("--metadata =4711 is not of the form key=value", metadata=("=4711",))
    with pytest.raises(ObjectNotFound):
        redact(ledger=source.ledger, account=(source.payments[0],), yes=True, database_url=source.url)
    assert source.records() == before
    assert source.descriptions() == [f"payment {number}" for number in range(4)]

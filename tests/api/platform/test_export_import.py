"""A ledger that goes from one server to another by export and import: all of it, the same, or nothing."""

import gzip
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from io import BufferedReader, BytesIO, RawIOBase
from random import Random
from string import ascii_letters
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from doppia.accounting.ids import Id, parse_id
from doppia.accounting.ledger.transactions import ENTRIES_MAX
from doppia.accounting.texts import METADATA_KEY_LENGTH_MAX, METADATA_PAIRS_MAX, METADATA_VALUE_LENGTH_MAX
from doppia.api.http.auth import Authenticator
from doppia.api.http.request import BODY_BYTES_MAX, Service
from doppia.cli import imports as cli_imports
from doppia.cli.exports import export_ledger
from doppia.cli.imports import read_lines
from doppia.engine.importing import imports
from doppia.engine.importing.imports import ImportRefusedError, import_ledger
from doppia.engine.performing import Engine
from doppia.proof.exchange import LINE_BYTES_MAX, header_from_line
from doppia.proof.records import EntryRecord, microseconds
from doppia.store.database.connections import Database
from doppia.store.embedded.server import service_url
from doppia.store.log import imports as store
from tests.api.over_http import Books, Json, found_organization, now
from tests.api.whole_books import live, tables
from tests.servers import CHECKPOINT_KEYS, Server
from tests.store.invariants import assert_invariants

pytestmark = pytest.mark.anyio

Change = Callable[[list[bytes]], list[bytes]]

LISTS = (
    "ledgers", "ledger_accounts", "ledger_account_categories", "ledger_transactions", "ledger_entries",
    "ledger_transaction_versions", "ledger_account_balance_monitors", "ledger_account_statements",
    "ledger_account_settlements", "events",
)  # fmt: skip


@pytest.fixture
async def elsewhere_url(postgres: Server) -> AsyncIterator[str]:
    """The URL of another, empty database."""
    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"create database {name} template template_doppia")
    yield postgres.of(name)
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


@pytest.fixture
async def elsewhere(elsewhere_url: str) -> AsyncIterator[Books]:
    """The books of an organization on another server."""
    database = Database(service_url(elsewhere_url))
    await database.open()
    engine = Engine(database, now)
    made = await found_organization(Service(engine, Authenticator(database), CHECKPOINT_KEYS))
    async with made.client:
        yield made
    await engine.close()
    await database.close()


def id_of(ledger: Json) -> Id:
    found = parse_id(ledger["id"])
    assert found is not None
    return found


async def exported(books: Books, ledger: Json) -> list[bytes]:
    written: list[bytes] = []
    await export_ledger(books.service.engine.database, id_of(ledger), written.append)
    return b"".join(written).splitlines(keepends=True)


async def bring(books: Books, lines: Iterable[bytes]) -> imports.Imported:
    return await import_ledger(books.service.engine.database, now, books.organization_id, None, lines)


async def test_a_ledger_in_which_everything_happened_is_the_same_elsewhere(
    books: Books, elsewhere: Books, elsewhere_url: str
) -> None:
    ledger = await live(books)
    lines = await exported(books, ledger)
    imported = await bring(elsewhere, lines)
    header = header_from_line(lines[0])
    assert (imported.ledger_id, imported.records, imported.root) == (ledger["id"], header.records, header.root)
    assert imported.name == ledger["name"]
    number = id_of(ledger).ledger
    before, after = (
        await tables(books.service.engine.database, number),
        await tables(elsewhere.service.engine.database, number),
    )
    assert before.keys() == after.keys()
    for name, rows in before.items():
        assert rows, f"{name} is put to the test"
        assert after[name] == rows, name
    for path in LISTS:
        assert await elsewhere.pages(f"/{path}?per_page=100") == await books.pages(f"/{path}?per_page=100"), path
    assert await exported(elsewhere, ledger) == lines
    await assert_invariants(elsewhere_url)
    async with elsewhere.service.engine.database.connection() as connection:
        told = await connection.fetchrow("select kind, payload from organization_log order by sequence desc limit 1")
    assert told["kind"] == "ledger_imported"
    assert told["payload"] == {
        "ledger_id": ledger["id"], "name": ledger["name"], "records": header.records, "root": header.root.hex()
    }  # fmt: skip


async def test_a_ledger_lives_on_where_it_came_to(books: Books, elsewhere: Books, elsewhere_url: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    held = await books.transfer(cash, wallet, 5, "pending")
    ledger = {"id": cash["ledger_id"]}
    await bring(elsewhere, await exported(books, ledger))
    assert (await elsewhere.patch(f"/ledger_transactions/{held['id']}", {"status": "posted"})).is_success
    await elsewhere.transfer(cash, wallet, 7)
    assert (await elsewhere.balances(wallet))["posted"] == (12, 0, 12)
    assert (await books.balances(wallet))["posted"] == (0, 0, 0)
    await assert_invariants(elsewhere_url)


async def test_a_discarded_ledger_comes_as_it_was(books: Books, elsewhere: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    await books.transfer(cash, wallet)
    ledger = {"id": cash["ledger_id"]}
    assert (await books.delete(f"/ledgers/{ledger['id']}")).is_success
    await bring(elsewhere, await exported(books, ledger))
    number = id_of(ledger).ledger
    assert await tables(elsewhere.service.engine.database, number) == await tables(
        books.service.engine.database, number
    )


async def test_however_small_the_steps_the_ledger_is_the_same(
    books: Books, elsewhere: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await live(books)
    monkeypatch.setattr(imports, "_ENTRIES_AT_ONCE", 1)
    await bring(elsewhere, await exported(books, ledger))
    number = id_of(ledger).ledger
    assert await tables(elsewhere.service.engine.database, number) == await tables(
        books.service.engine.database, number
    )


async def small(books: Books) -> tuple[Json, list[bytes]]:
    """Make a ledger of ten records, and export it: lines 5 to 9 are transfers, the last of which 10 and 11 change."""
    cash, wallet = await books.cash_and_wallet()
    for amount in range(1, 5):
        await books.transfer(cash, wallet, amount, description="a")
    held = await books.transfer(cash, wallet, 9, "pending")
    for change in ({"description": "b"}, {"status": "posted"}):
        assert (await books.patch(f"/ledger_transactions/{held['id']}", change)).is_success
    ledger = {"id": cash["ledger_id"]}
    return ledger, await exported(books, ledger)


async def refused(books: Books, lines: Iterable[bytes]) -> str:
    """Return the sentence that refuses an import, after which everything is as it was."""
    before = await books.state()
    with pytest.raises(ImportRefusedError) as refusal:
        await bring(books, lines)
    assert await books.state() == before
    return str(refusal.value)


async def test_what_is_here_or_was_purged_is_refused(books: Books, elsewhere: Books) -> None:
    ledger, lines = await small(books)
    assert "on this server already" in await refused(books, lines)
    await bring(elsewhere, lines)
    assert "on this server already" in await refused(elsewhere, lines)
    assert (await elsewhere.delete(f"/ledgers/{ledger['id']}?purge=true&confirm={ledger['id']}")).is_success
    assert "was purged" in await refused(elsewhere, lines)


def _with(line: int, **fields: object) -> Change:
    """Change fields of a line, counted from 1."""

    def change(lines: list[bytes]) -> list[bytes]:
        told = msgspec.json.decode(lines[line - 1])
        return [*lines[: line - 1], msgspec.json.encode({**told, **fields}), *lines[line:]]

    return change


def _telling(line: int, **texts: object) -> Change:
    """Change texts of a line, counted from 1."""

    def change(lines: list[bytes]) -> list[bytes]:
        told = msgspec.json.decode(lines[line - 1]).get("texts", {"salt": b64encode(bytes(16)).decode()})
        return _with(line, texts={**told, **texts})(lines)

    return change


def _without(line: int, lines: list[bytes]) -> list[bytes]:
    return [*lines[: line - 1], *lines[line:]]


def _swapped(line: int, lines: list[bytes]) -> list[bytes]:
    return [*lines[: line - 1], lines[line], lines[line - 1], *lines[line + 1 :]]


def _in_both_entries(line: int, **fields: object) -> Change:
    def change(lines: list[bytes]) -> list[bytes]:
        entries = msgspec.json.decode(lines[line - 1])["entries"]
        return _with(line, entries=[{**entry, **fields} for entry in entries])(lines)

    return change


BROKEN: dict[str, tuple[Change, str]] = {
    "nothing": (lambda _: [], "The file is empty"),
    "another file": (lambda _: [b"PK\x03\x04"], "Line 1 is refused"),
    "another header": (_with(1, version=2), "Line 1 is refused: version"),
    "an id of nothing": (_with(1, ledger_id=str(UUID(int=7))), "Line 1 is refused: ledger_id"),
    "another ledger": (_with(1, ledger_id="65000000-0000-8000-8400-000000000400"), "Line 2 is refused"),
    "another root": (_with(1, root=bytes(32)), "do not make the root"),
    "too few counted": (_with(1, records=9), "Line 11 is refused: .*one more"),
    "too many counted": (_with(1, records=11), "ends after line 11, .* 1 are missing"),
    "its end is missing": (lambda lines: lines[:-2], "ends after line 9"),
    "a line is missing": (partial(_without, 6), "Line 6 is refused: record 5: in its place stands record 6"),
    "a line is there twice": (lambda lines: [*lines[:6], *lines[5:]], "Line 7 is refused"),
    "two lines are swapped": (partial(_swapped, 6), "Line 6 is refused: record 5: in its place stands record 6"),
    "half a line": (lambda lines: [*lines[:4], lines[4][:50], *lines[5:]], "Line 5 is refused"),
    "another amount": (_with(6, entries=[]), "Line 6 is refused"),
    "amounts changed alike": (_in_both_entries(6, amount="7"), "lines 2 to 11 has been changed"),
    "another description": (_telling(5, description="c"), "lines 2 to 11 has been changed"),
    "a version ahead": (_in_both_entries(6, lock_version=9), "Line 6 is refused: record 5: .*lock_version 9"),
    "a ledger of no number": (
        _with(1, ledger_id="65000000-0000-8000-8000-000000000400"),
        "Line 1 is refused: ledger_id",
    ),
    "no export of ours": (
        lambda lines: [b'{"format":"other"}', *lines[1:]],
        "Line 1 is refused: format: it is no dopp",
    ),
    "of a version to come": (
        lambda lines: [b'{"format":"doppia-ledger","version":2,"ledger":1}', *lines[1:]],
        "Line 1 is refused: version: it is 2, and this program reads 1",
    ),
    "a text with NUL": (
        _telling(6, description="\0"),
        "Line 6 is refused: record 5: transaction [-0-9a-f]{36}: description holds a NUL",
    ),
    "a name that is too long": (
        _telling(3, name="x" * 1001),
        "Line 3 is refused: record 2: account [-0-9a-f]{36}: name has 1001 characters",
    ),
    "a unit that is none": (
        _with(3, currency="US DOLLAR"),
        "Line 3 is refused: .* The currency 'US DOLLAR' is refused",
    ),
    "metadata that is too large": (
        _telling(6, metadata={"k": "v" * 1001}),
        r"Line 6 is refused: .*: metadata\.k has a value of 1001 characters",
    ),
    "an end of time": (
        _with(6, effective_at=microseconds(datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC))),
        "Line 6 is refused: .* beyond the calendar",
    ),
    "a time beyond the calendar": (_with(6, effective_at=2**62), "Line 6 is refused"),
    "a time of the future": (
        _with(11, recorded_at=4_102_444_800_000_000),
        "Line 11 is refused: recorded_at: it is more",
    ),
    "a deep line": (lambda lines: [*lines[:4], b'{"kind":' + b"[" * 100_000], "Line 5 is refused: It is nested"),
    "an external id that no index holds": (
        _telling(6, external_id="".join(Random(7).choices(ascii_letters, k=9_000))),
        "Line 6 is refused: .* external_id has 9000 characters, and may have 1 to 180",
    ),
    "an actor that is none": (
        _with(2, actor="AAAA"),
        "Line 2 is refused: record 1: ledger [-0-9a-f]{36}: actor has 3 bytes",
    ),
    "an external id there twice": (
        lambda lines: _telling(6, external_id="x")(_telling(5, external_id="x")(lines)),
        r"One of the lines 2 to 9 is refused by the database: transactions_external_id_key: .* \(Key .*, x\) already",
    ),
    "two things": (
        lambda lines: _telling(10, name=1)(_telling(6, external_id="x")(_telling(5, external_id="x")(lines))),
        "Line 10 is refused: ",
    ),
    "the database's first, and another thing": (
        lambda lines: _telling(11, name=1)(_telling(6, external_id="x")(_telling(5, external_id="x")(lines))),
        "One of the lines 2 to 9 is refused by the database: transactions_external_id_key",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), BROKEN.values(), ids=BROKEN)
async def test_what_is_not_whole_is_refused_by_its_line_and_leaves_nothing(
    books: Books, elsewhere: Books, change: Change, sentence: str
) -> None:
    _, lines = await small(books)
    assert len(lines) == 11
    told = await refused(elsewhere, change(lines))
    assert re.search(sentence, told), told


async def test_a_compressed_file_that_is_cut_off_or_damaged_is_refused(books: Books, elsewhere: Books) -> None:
    _, lines = await small(books)
    whole = gzip.compress(b"".join(lines))
    for broken in (whole[:-9], whole[: len(whole) // 2], whole[:40] + bytes(9) + whole[49:]):
        told = await refused(elsewhere, read_lines(BufferedReader(BytesIO(broken))))
        assert re.search(r"cut off or damaged (after line [1-9]|in its first line)|Line [1-9]\d* is refused", told), (
            told
        )
    for as_it_was in (whole, b"".join(lines)):
        assert [*read_lines(BufferedReader(BytesIO(as_it_was)))] == lines


class Failing(RawIOBase):
    """A file that can't be read on after its beginning."""

    def __init__(self, beginning: bytes) -> None:
        self._beginning = BytesIO(beginning)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._beginning.readinto(buffer)
        if not read:
            raise OSError(5, "Input/output error")
        return read


async def test_a_file_that_can_not_be_read_on_is_told_from_a_database_that_is_away(
    books: Books, elsewhere: Books
) -> None:
    _, lines = await small(books)
    for whole, where in ((b"".join(lines[:4]), "after line 4"), (gzip.compress(lines[0])[:20], "in its first line")):
        told = await refused(elsewhere, read_lines(BufferedReader(Failing(whole))))
        assert f"the file can't be read {where}: [Errno 5] Input/output error. Nothing was imported" in told


@pytest.mark.parametrize("place", [0, 3], ids=["the first", "a later one"])
async def test_a_line_without_end_is_read_no_further_than_a_line_goes(
    books: Books, elsewhere: Books, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    _, lines = await small(books)
    monkeypatch.setattr(cli_imports, "LINE_BYTES_MAX", 5_000)
    endless = b"".join(lines[:place]) + b" " * 50_000_000
    for whole in (endless, gzip.compress(endless, 1)):
        file: BufferedReader = BufferedReader(BytesIO(whole))
        told = await refused(elsewhere, read_lines(file))
        assert f"line {place + 1} is longer than the 5,000 bytes that a line may have. Nothing was imported" in told
        assert file.tell() < 100_000


async def test_every_line_that_a_request_can_make_is_taken() -> None:
    metadata = METADATA_PAIRS_MAX * (METADATA_KEY_LENGTH_MAX + METADATA_VALUE_LENGTH_MAX) * len(r"\u0001")
    entry = msgspec.structs.asdict(EntryRecord(2**48, 1, str(10**36), 2**63 - 1))
    told = [entry, {ENTRIES_MAX: -(2**60)}, {ENTRIES_MAX: {"salt": bytes(16), "metadata": {}}}]
    others = ENTRIES_MAX * len(msgspec.json.encode(told))
    assert 3 * (BODY_BYTES_MAX + metadata + others) <= LINE_BYTES_MAX


async def test_an_import_that_is_under_way_is_not_begun_again(books: Books, elsewhere: Books) -> None:
    ledger, lines = await small(books)
    async with elsewhere.service.engine.database.tx() as connection:
        assert await store.claim(connection, id_of(ledger).ledger)
        assert "is being imported at this moment" in await refused(elsewhere, lines)
    await bring(elsewhere, lines)


async def test_a_database_that_gives_up_says_why(books: Books, elsewhere_url: str, elsewhere: Books) -> None:
    _, lines = await small(books)
    connection = await asyncpg.connect(elsewhere_url)
    name = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database {name} set default_transaction_read_only = on")
    await connection.close()
    database = Database(service_url(elsewhere_url))
    await database.open()
    with pytest.raises(ImportRefusedError, match=r"The database gave up: .* read-only .*\. Nothing was imported"):
        await import_ledger(database, now, elsewhere.organization_id, None, lines)
    await database.close()

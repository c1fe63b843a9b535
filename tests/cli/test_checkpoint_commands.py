"""Checkpoints outside the database: the keys that sign them, and the places they are written to."""

import asyncio
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from doppia.cli import checkpoints as cli
from doppia.engine.background.checkpoints import CheckpointsNotWrittenError, Publisher, add_key, keys_at
from doppia.proof.checkpoints import CheckpointError, open_note, parse_verifier_key
from doppia.store.database.connections import Database
from doppia.store.log import log
from tests.engine.bookkeeping import Books
from tests.servers import CHECKPOINT_KEYS

pytestmark = pytest.mark.anyio

VERIFIERS = [key.verifier for key in CHECKPOINT_KEYS]


async def stated_of(books: Books) -> str:
    """Return the text that is signed of a ledger's log as it is now."""
    async with books.database.connection() as connection:
        size = await log.size(connection, books.ledger.number)
    assert size is not None
    return f"doppia/{books.ledger.id} {size.records} {size.root.hex()}"


def told(note: str) -> str:
    checkpoint = open_note(note, VERIFIERS)
    return f"{checkpoint.origin} {checkpoint.size} {checkpoint.root.hex()}"


async def test_each_ledger_becomes_a_file_that_says_how_far_it_was(database: Database, tmp_path: Path) -> None:
    books, others = await Books.begin(database), await Books.begin(database)
    publisher = Publisher(database, CHECKPOINT_KEYS, str(tmp_path))

    assert await publisher.publish() == 2
    first = {each.ledger.id: await stated_of(each) for each in (books, others)}
    assert await publisher.publish() == 0
    await books.open()
    assert await publisher.publish() == 1

    files = {str(file.relative_to(tmp_path)): told(file.read_text()) for file in tmp_path.rglob("*.checkpoint")}
    assert files == {
        f"{books.ledger.id}/1.checkpoint": first[books.ledger.id],
        f"{books.ledger.id}/2.checkpoint": await stated_of(books),
        f"{others.ledger.id}/1.checkpoint": first[others.ledger.id],
    }


async def test_a_file_that_is_there_stays_and_is_told_of_where_it_says_something_else(
    database: Database, tmp_path: Path
) -> None:
    each = [await Books.begin(database) for _ in range(3)]
    await Publisher(database, CHECKPOINT_KEYS, str(tmp_path)).publish()
    files = {books.ledger.id: tmp_path / books.ledger.id / "1.checkpoint" for books in each}
    first, second, third = [ref.id for ref in sorted(books.ledger for books in each)]
    files[first].write_text("what was known then")
    files[third].unlink()

    with pytest.raises(CheckpointsNotWrittenError, match=f"{first}.*says something else"):
        await Publisher(database, CHECKPOINT_KEYS, str(tmp_path)).publish()

    assert files[first].read_text() == "what was known then"
    assert files[second].exists()
    assert files[third].exists()


async def test_a_url_that_is_none_is_told_of_without_its_password(database: Database) -> None:
    await Books.begin(database)
    with pytest.raises(CheckpointError, match="not by ftp"):
        Publisher(database, CHECKPOINT_KEYS, "ftp://somewhere")
    for url in ("http://u:secret@127.0.0.1:9/x?token=abc", "http://[::bad/x?secret"):
        with pytest.raises(CheckpointsNotWrittenError) as failed:
            await Publisher(database, CHECKPOINT_KEYS, url).publish()
        assert "secret" not in str(failed.value)
        assert "abc" not in str(failed.value)


async def test_standard_output_takes_notes_with_a_line_between(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    each = [await Books.begin(database) for _ in range(2)]
    await Publisher(database, CHECKPOINT_KEYS, "-").publish()

    lines = capsys.readouterr().out.split("\n")
    notes = ["\n".join(lines[at : at + 5]) + "\n" for at in range(0, 12, 6)]
    assert {told(note) for note in notes} == {await stated_of(books) for books in each}
    assert lines[5::6] == ["", ""]


@pytest.fixture
def receiver() -> Iterator[Any]:
    """An HTTP server that keeps what is sent to it; its first answer is 503."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.append((self.path, self.headers["Content-Type"], body))
            self.send_response(503 if len(received) == 1 else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    received: list[tuple[str, str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/notes", received
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_url_that_does_not_take_a_note_is_sent_it_again(database: Database, receiver: Any) -> None:
    url, received = receiver
    books = await Books.begin(database)
    publisher = Publisher(database, CHECKPOINT_KEYS, url)

    with pytest.raises(CheckpointsNotWrittenError, match="answered 503"):
        await publisher.publish()
    assert await publisher.publish() == 1

    assert [(path, kind) for path, kind, _ in received] == [("/notes", "text/plain; charset=utf-8")] * 2
    assert told(received[1][2]) == await stated_of(books)


def test_a_key_file_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "there" / "checkpoint.keys"

    made = keys_at(file)

    assert keys_at(file) == made
    assert [key.name for key in made] == ["doppia"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_new_key_stands_before_the_others_and_takes_their_name(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.keys"
    first = add_key(file, "ledger.example.com")[0]
    second = add_key(file, None)[0]

    assert keys_at(file) == [second, first]
    assert (first.name, second.name) == ("ledger.example.com", "ledger.example.com")
    assert first.seed != second.seed


def test_a_file_without_a_key_takes_one(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.keys"
    file.write_text("\n")

    assert add_key(file, None) == keys_at(file)


@pytest.mark.parametrize("text", ["", "\n", "PRIVATE+KEY+doppia+00000000+AAAA\n"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "checkpoint.keys"
    file.write_text(text)
    with pytest.raises(CheckpointError):
        keys_at(file)


def test_a_key_is_not_called_what_a_note_can_not_say(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="without spaces and plus signs"):
        add_key(tmp_path / "checkpoint.keys", "my ledger")


async def test_the_commands_show_rotate_and_write(
    database: Database, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    books = await Books.begin(database)
    data = str(tmp_path)

    await asyncio.to_thread(cli.rotate, data=data, name="ledger.example.com")
    await asyncio.to_thread(cli.rotate, data=data)
    await asyncio.to_thread(cli.keys, data=data)
    newest, middle, *shown = capsys.readouterr().out.split()
    assert shown == [middle, newest]
    await asyncio.to_thread(cli.write, to="-", data=data, database_url=database_url)

    note = capsys.readouterr().out.removesuffix("\n")
    for line in shown:
        assert open_note(note, [parse_verifier_key(line)]).origin == f"ledger.example.com/{books.ledger.id}"

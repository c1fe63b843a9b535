"""`doppia verify`: of a database and of an export, with and without a checkpoint."""

import asyncio
import base64
import gzip
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from doppia.cli import CommandError, imports
from doppia.cli.verify import verify
from doppia.engine.posting.group import post
from doppia.proof.checkpoints import Checkpoint, CheckpointError, SigningKey, sign
from doppia.proof.exchange import header_from_line, header_of, header_to_line, to_line
from doppia.proof.sealing import Sealed, opened
from doppia.proof.tree import leaf_hash, root_of
from doppia.store.database.connections import Database
from tests.engine.bookkeeping import Books, move, now

pytestmark = pytest.mark.anyio

SALT = base64.b64encode(bytes(16)).decode()


class Verified:
    """A ledger of a few transactions: its export, a checkpoint of it, and the key that signed this."""

    def __init__(self, url: str, ledger: str, records: list[Sealed], folder: Path, capsys: Any) -> None:
        self.url, self.ledger, self.records, self.folder, self.capsys = url, ledger, records, folder, capsys
        self.lines = [to_line(opened(*record)) for record in records]
        self.key = SigningKey("books", bytes(range(32)))
        (folder / "keys").write_text(f"{self.key.verifier}\n")

    def root(self, size: int) -> bytes:
        return root_of(leaf_hash(payload) for payload, _ in self.records[:size])

    def export(self, lines: list[bytes] | None = None, name: str = "export.ndjson") -> Path:
        lines = self.lines if lines is None else lines
        header = header_to_line(header_of(UUID(self.ledger), len(self.records), self.root(len(self.records))))
        path = self.folder / name
        text = b"".join(line + b"\n" for line in [header, *lines])
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    def checkpoint(self, size: int, root: bytes | None = None) -> Path:
        path = self.folder / f"checkpoint-{size}"
        path.write_text(sign(Checkpoint(f"books/{self.ledger}", size, root or self.root(size)), [self.key]))
        return path

    async def run(self, **options: Any) -> tuple[int, str]:
        """Run the command; return its exit status and what it printed."""
        status = 0
        try:
            await asyncio.to_thread(verify, **options)
        except SystemExit as ended:
            status = 1 if ended.code else 0
        return status, self.capsys.readouterr().out

    def changed(self, place: int, texts: dict[str, Any] | None = None, **fields: Any) -> list[bytes]:
        """Return the lines with other fields or texts in one of them."""
        lines = list(self.lines)
        told = json.loads(lines[place])
        if texts is not None:
            fields["texts"] = {"salt": SALT, **told.get("texts", {}), **texts}
        lines[place] = json.dumps({**told, **fields}).encode()
        return lines


@pytest.fixture
async def verified(database: Database, database_url: str, tmp_path: Path, capsys: Any) -> Verified:
    books = await Books.begin(database)
    one, two = await books.open(), await books.open()
    for amount in range(1, 8):
        await post(database, now, [books.create(move(one, two, amount))])
    async with database.connection() as connection:
        rows = await connection.fetch("select payload, texts from log order by sequence")
    return Verified(database_url, books.ledger.id, [(row[0], row[1]) for row in rows], tmp_path, capsys)


async def test_a_database_is_verified_with_a_checkpoint_and_the_status_says_so(verified: Verified) -> None:
    resume = verified.folder / "resume"
    status, told = await verified.run(
        database_url=verified.url, checkpoint=(verified.checkpoint(5),), key=(str(verified.folder / "keys"),),
        resume=resume,
    )  # fmt: skip
    assert (status, told) == (0, f"ledger {verified.ledger}: 10 records, all holds\n")
    assert not resume.exists()
    status, told = await verified.run(database_url=verified.url, ledger=verified.ledger)
    assert status == 0
    connection = await asyncpg.connect(verified.url)
    await connection.execute("set session_replication_role = replica")
    await connection.execute("update doppia.entries set amount = 99 where entry = 4 * 1024 + 1")
    await connection.close()
    status, told = await verified.run(database_url=verified.url)
    assert status == 1
    assert "record 4: entry" in told
    assert "its amount is 99 in the table, and 1 by the log" in told


async def test_a_rewritten_database_is_found_by_its_checkpoint(verified: Verified) -> None:
    other = (verified.checkpoint(5, bytes(32)),)
    status, told = await verified.run(database_url=verified.url, checkpoint=other, key=(str(verified.key.verifier),))
    assert status == 1
    assert "its first 5 records are not those of the checkpoint" in told


async def test_a_checkpoint_needs_a_key_and_a_ledger_an_id(verified: Verified) -> None:
    with pytest.raises(CheckpointError, match="name one with --key"):
        verify(database_url=verified.url, checkpoint=(verified.checkpoint(5),))
    assert (await verified.run(database_url=verified.url, ledger="x"))[0] == 1
    missing = "65a1b2c3-0000-8000-8400-000000000400"
    assert (await verified.run(database_url=verified.url, ledger=missing))[0] == 1


@pytest.mark.parametrize("name", ["export.ndjson", "export.ndjson.gz"])
async def test_an_export_is_verified_without_a_database(verified: Verified, name: str) -> None:
    path = verified.export(name=name)
    status, told = await verified.run(
        export=path, checkpoint=(verified.checkpoint(5), verified.checkpoint(3)), key=(str(verified.key.verifier),)
    )
    assert status == 0
    assert told == (
        f"{path}: ledger {verified.ledger}: 10 records, all follow from each other, and begins with the 5 of the "
        "checkpoint\n"
    )
    assert (await verified.run(export=path))[0] == 0


async def test_the_first_wrong_record_of_an_export_is_named(verified: Verified) -> None:
    lines = verified.lines
    cases = {
        "record 4: ": [*lines[:3], b"{}", *lines[4:]],
        "record 5: in its place stands record 6": [*lines[:4], *lines[5:]],
        "record 6: in its place stands record 7": [*lines[:5], lines[6], lines[5], *lines[7:]],
        "it has 9 records": lines[:-1],
        "one of the records 1 to 10 has been changed, or the header": verified.changed(1, {"name": "mine"}),
        "is on account number 9": verified.changed(
            3, entries=[{**entry, "account": 9} for entry in json.loads(lines[3])["entries"]]
        ),
    }  # fmt: skip
    for says, changed in cases.items():
        status, told = await verified.run(export=verified.export(changed))
        assert status == 1
        assert says in told, told


async def test_a_damaged_export_is_told_by_where_it_ends(verified: Verified) -> None:
    whole = verified.export(name="export.ndjson.gz").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 :] = b"\xff" * (len(whole) - len(whole) // 2)
    cases = {"in its first line": whole[:40], "after line 11": whole[:-9], "": bytes(damaged)}
    for where, broken in cases.items():
        path = verified.folder / "broken.gz"
        path.write_bytes(broken)
        status, told = await verified.run(export=path)
        assert status == 1
        assert f"broken.gz: the compressed file is cut off or damaged {where}" in told, told
    status, told = await verified.run(export=verified.export([*verified.lines[:3], b'{"kind":' + b"[" * 100_000]))
    assert status == 1
    assert "record 4: It is nested too deeply" in told


async def test_a_line_without_end_is_no_line(verified: Verified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "LINE_BYTES_MAX", 5_000)
    status, told = await verified.run(export=verified.export([*verified.lines[:3], b" " * 5_001]))
    assert status == 1
    assert "line 5 is longer than the 5,000 bytes that a line may have" in told


async def test_an_export_holds_what_there_may_be(verified: Verified) -> None:
    status, told = await verified.run(export=verified.export(verified.changed(1, {"name": "x" * 1001})))
    assert status == 1
    assert "record 2: account " in told
    assert "name has 1001 characters, and may have 1 to 1,000" in told


async def test_what_the_rules_let_pass_is_looked_for_after_the_checkpoint(verified: Verified) -> None:
    key, changed = (str(verified.key.verifier),), verified.export(verified.changed(8, {"description": "mine"}))
    status, told = await verified.run(export=changed, checkpoint=(verified.checkpoint(6),), key=key)
    assert status == 1
    assert "one of the records 7 to 10 has been changed, or the header" in told
    whole = verified.export(name="whole.ndjson")
    lines = whole.read_bytes().splitlines(keepends=True)
    header = msgspec.structs.replace(header_from_line(lines[0]), root=bytes(32))
    whole.write_bytes(b"".join([header_to_line(header), b"\n", *lines[1:]]))
    status, told = await verified.run(export=whole, checkpoint=(verified.checkpoint(10),), key=key)
    assert status == 1
    assert "the records are those of the checkpoint, and the header is wrong" in told


async def test_files_that_hold_something_else_are_named(verified: Verified) -> None:
    path = verified.folder / "something"
    path.write_bytes(b"\xff")
    for checkpoint, key in ((path, str(verified.key.verifier)), (verified.checkpoint(5), str(path))):
        with pytest.raises(CheckpointError, match="something is no text"):
            verify(database_url=verified.url, checkpoint=(checkpoint,), key=(key,))
    number = json.loads(verified.lines[0])["ledger"]
    for told in (b"\xff", b"{", b"[]", b'{"ledger": %d}' % number, b'{"ledger": %d, "state": {}, "kept": {}}' % number):
        path.write_bytes(told)
        with pytest.raises(CommandError, match="something does not say how far"):
            verify(database_url=verified.url, resume=path)


async def test_an_export_of_another_history_is_found_by_its_checkpoint(verified: Verified) -> None:
    path, key = verified.export(), (str(verified.key.verifier),)
    cases = {
        "its first 5 records are not those of the checkpoint": verified.checkpoint(5, bytes(32)),
        "it has 10 records, and had 20 at the checkpoint": verified.checkpoint(20),
    }
    for says, checkpoint in cases.items():
        status, told = await verified.run(export=path, checkpoint=(checkpoint,), key=key)
        assert status == 1
        assert says in told
    other = Verified(verified.url, "65a1b2c3-0000-8000-8400-000000000400", verified.records, verified.folder, None)
    status, told = await verified.run(export=path, checkpoint=(other.checkpoint(5),), key=(str(other.key.verifier),))
    assert status == 1
    assert "and the checkpoint of 65a1b2c3" in told
    status, told = await verified.run(export=other.export())
    assert status == 1
    assert "is of ledger number" in told
    (verified.folder / "none").write_bytes(b"{}\n")
    status, told = await verified.run(export=verified.folder / "none")
    assert status == 1
    assert "header: " in told

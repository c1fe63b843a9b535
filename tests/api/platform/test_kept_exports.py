"""Exports that were made once and are kept: every later version verifies them, imports them, and writes them again."""

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from doppia.accounting.ids import parse_id
from doppia.cli.exports import export_ledger
from doppia.cli.verify import verify
from doppia.engine.importing.imports import import_ledger
from doppia.engine.platform import keys
from doppia.engine.verification.resume import Resumed
from doppia.engine.verification.verify import Finding
from doppia.engine.verification.verify import verify as verify_ledgers
from doppia.proof.checkpoints import open_note, parse_verifier_key
from doppia.proof.exchange import from_line, header_from_line, to_line
from doppia.proof.kinds import KINDS, kind_of
from doppia.proof.sealing import payload_of
from doppia.proof.tree import leaf_hash, root_of
from doppia.store.database.connections import Database
from tests.store.invariants import assert_invariants

FIXTURES = Path(__file__).parents[2] / "proof" / "fixtures"
KEYS = FIXTURES / "checkpoint.keys"
LATER = datetime(2100, 1, 1, tzinfo=UTC)
"""A server's time at which no export is of the future."""


def kept(name: str) -> list[bytes]:
    return gzip.decompress((FIXTURES / f"{name}.ndjson.gz").read_bytes()).splitlines(keepends=True)


@pytest.mark.parametrize("name", ["whole", "redacted"])
def test_a_kept_export_verifies_with_its_checkpoint(name: str, capsys: Any) -> None:
    verify(export=FIXTURES / f"{name}.ndjson.gz", checkpoint=(FIXTURES / f"{name}.checkpoint",), key=(str(KEYS),))
    records = len(kept(name)) - 1
    told = capsys.readouterr().out
    assert f"{records} records, all follow from each other, and begins with the {records} of the checkpoint" in told


@pytest.mark.parametrize("name", ["whole", "redacted"])
def test_every_line_of_a_kept_export_is_written_as_it_was_and_makes_the_root_that_was_signed(name: str) -> None:
    header, *lines = kept(name)
    records = [from_line(line) for line in lines]
    assert [to_line(record) + b"\n" for record in records] == lines
    trusted = [parse_verifier_key(line) for line in KEYS.read_text(encoding="utf-8").split()]
    checkpoint = open_note((FIXTURES / f"{name}.checkpoint").read_text(encoding="utf-8"), trusted)
    assert root_of(leaf_hash(payload_of(record)) for record in records) == checkpoint.root
    assert checkpoint.root == header_from_line(header).root


def test_every_kind_of_record_is_kept_and_every_text_that_a_kind_has() -> None:
    records = [from_line(line) for name in ("whole", "redacted") for line in kept(name)[1:]]
    assert {kind_of(record) for record in records} == {*KINDS}
    erased = [record for record in records if getattr(record, "texts", None) is not None and 0 not in record.salts]
    assert {"ledger", "account", "transaction", "entry", "redaction"} <= {kind_of(record).name for record in erased}


@pytest.fixture
async def organization(database: Database) -> UUID:
    """An organization of this test's own database."""
    begun = await keys.begin(database, lambda: LATER)
    assert begun is not None
    return begun[0].organization


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["whole", "redacted"])
async def test_a_kept_export_is_imported_and_exported_again_to_the_same_bytes(
    database: Database, database_url: str, organization: UUID, name: str
) -> None:
    lines = kept(name)
    imported = await import_ledger(database, lambda: LATER, organization, None, lines)
    steps = verify_ledgers(database, None, {}, Resumed())
    assert [told async for _, told in steps if isinstance(told, Finding)] == []
    written: list[bytes] = []
    target = parse_id(imported.ledger_id)
    assert target is not None
    await export_ledger(database, target, written.append)
    assert b"".join(written) == b"".join(lines)
    await assert_invariants(database_url)

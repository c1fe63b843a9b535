"""A kind grows by a field that is appended to its class, and nothing else: shown on a copy of the source.

In a copy, fields are added to two kinds of records, one line each. That program verifies what was exported before,
and writes it again to the same bytes. It takes records with the new fields; the program as it is refuses those.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import doppia
from doppia.proof.exchange import MalformedLine, from_line
from doppia.proof.sealing import FORMS, MalformedRecord, opened
from tests.proof.test_records import PINNED

SOURCE = Path(doppia.__file__).parent
FIXTURES = Path(__file__).parent / "fixtures"

APPENDED = {
    "    archived_reason: str | None = None\n": (
        "    rate: str | None = None\n    entry_codes: dict[int, int] | None = None\n"
    ),
    "    categories: list[int]\n    category: int | None = None\n": "    rank: int | None = None\n",
}
"""What is appended behind these lines of proof/records.py, to transactions and to the categories of an account."""

PROGRAM = """
import gzip, json, sys
from pathlib import Path

import msgspec

from doppia.cli.verify import verify
from doppia.proof.exchange import from_line, header_from_line, header_to_line, to_line
from doppia.proof.records import AccountCategories, TransactionWritten
from doppia.proof.sealing import check_canonical, opened, payload_of, sealed
from doppia.proof.tree import leaf_hash, root_of

fixtures, folder, pinned = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])

for payload, texts in pinned:
    as_sealed = bytes.fromhex(payload), None if texts is None else bytes.fromhex(texts)
    record = opened(*as_sealed)
    check_canonical(record, *as_sealed)
    assert sealed(record) == as_sealed

options = {"checkpoint": (fixtures / "whole.checkpoint",), "key": (str(fixtures / "checkpoint.keys"),)}
verify(export=fixtures / "whole.ndjson.gz", **options)

first, *lines = gzip.decompress((fixtures / "whole.ndjson.gz").read_bytes()).splitlines()
records = [from_line(line) for line in lines]
assert [to_line(record) for record in records] == lines


def grown(record):
    if isinstance(record, AccountCategories):
        return msgspec.structs.replace(record, rank=9)
    if isinstance(record, TransactionWritten) and record.entries is not None:
        return msgspec.structs.replace(record, rate="1.25", entry_codes={2: 7})
    return record


records = [grown(record) for record in records]
for record in records:
    assert opened(*sealed(record)) == record
    check_canonical(record, *sealed(record))
root = root_of(leaf_hash(payload_of(record)) for record in records)
header = msgspec.structs.replace(header_from_line(first), root=root)
export = folder / "grown.ndjson"
export.write_bytes(b"".join(line + b"\\\\n" for line in [header_to_line(header), *map(to_line, records)]))
verify(export=export)
longer = [record for record in records if getattr(record, "rank", None) or getattr(record, "rate", None)]
print(json.dumps([[payload_of(record).hex(), to_line(record).decode()] for record in longer]))
"""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the copy with more fields printed: payloads and lines that have them."""
    folder = tmp_path_factory.mktemp("grown")
    shutil.copytree(SOURCE, folder / "doppia", ignore=shutil.ignore_patterns("__pycache__"))
    records = folder / "doppia" / "proof" / "records.py"
    text = records.read_text(encoding="utf-8")
    for line, appended in APPENDED.items():
        assert text.count(line) == 1
        text = text.replace(line, line + appended)
    records.write_text(text, encoding="utf-8")
    pinned = json.dumps([[payload, texts] for _, payload, texts in PINNED])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("\\\\n", "\\n"), FIXTURES, folder, pinned],
        env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *told, printed = done.stdout.splitlines()
    assert all("all follow from each other" in line for line in told)
    assert len(told) == 2
    return json.loads(printed)


def test_old_bytes_stay_canonical_and_old_exports_verify_and_new_ones_do(grown: Any) -> None:
    assert len(grown) > 1000


def test_a_program_that_knows_fewer_fields_refuses_longer_arrays_with_a_sentence(grown: Any) -> None:
    refused = set()
    for payload, _ in grown:
        with pytest.raises(MalformedRecord) as sentence:
            opened(bytes.fromhex(payload), None)
        refused.add(str(sentence.value))
    known = {form.kind.number: len(form.figures) + 1 for form in FORMS.values()}
    assert refused == {
        f"its payload has {known[3] + 2} elements, and this program knows {known[3]} of kind 3",
        f"its payload has {known[6] + 1} elements, and this program knows {known[6]} of kind 6",
    }


def test_a_program_that_knows_fewer_fields_refuses_longer_lines_by_the_field(grown: Any) -> None:
    for _, line in grown:
        with pytest.raises(MalformedLine, match=r"unknown field `(rate|entry_codes|rank)`"):
            from_line(line.encode())
        assert re.search(r'"(rate|rank)":', line)

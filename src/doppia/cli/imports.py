"""`doppia import`: a ledger from the file that `doppia export` wrote."""

import asyncio
import gzip
import os
import sys
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

from cyclopts import Parameter

from doppia import settings
from doppia.cli.connect import Data, Url, connected, now, only_organization
from doppia.engine.imports import Imported, import_ledger
from doppia.proof.exchange import MalformedLine

_GZIP_MAGIC: Final = b"\x1f\x8b"


def import_(
    file: Annotated[str, Parameter(help='That `doppia export` wrote, compressed or not; "-" is standard input.')],
    *,
    organization: Annotated[UUID | None, Parameter(help="Whose the ledger will be; by default the first one.")] = None,
    data: Data = None,
    database_url: Url = None,
) -> None:
    """Bring a ledger to this server: with the same ids, balances, versions, lists and root, or not at all.

    Idempotency keys do not come with it: what was sent with one elsewhere is a new request here.
    """
    chosen = settings.load({"data": data, "database_url": database_url})

    async def run() -> Imported:
        async with connected(chosen) as database:
            owner = organization or await only_organization(database)
            return await import_ledger(database, now, owner, None, read_lines(source))

    with os.fdopen(os.dup(sys.stdin.fileno()), "rb") if file == "-" else Path(file).open("rb") as source:
        imported = asyncio.run(run())
    print(f"{imported.name}  {imported.ledger_id}")
    print(f"{imported.records} records; their root is {imported.root.hex()}")


def read_lines(file: BufferedReader) -> Iterator[bytes]:
    """Return the lines of an export, compressed or not.

    Raises:
        MalformedLine: it is compressed, and cut off or damaged.
    """
    if not file.peek(2).startswith(_GZIP_MAGIC):
        yield from file
        return
    line = 0
    try:
        with gzip.open(file) as lines:
            for text in lines:
                line += 1
                yield text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MalformedLine(f"the compressed file is cut off or damaged after line {line}: {error}") from error

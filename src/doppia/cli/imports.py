"""`doppia import`: a ledger from the file that `doppia export` wrote."""

import asyncio
import gc
import gzip
import os
import signal
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

from cyclopts import Parameter

from doppia import settings
from doppia.cli.connect import Data, Url, only_organization
from doppia.engine.importing.imports import Imported, import_ledger
from doppia.opening import connected, now
from doppia.proof.exchange import LINE_BYTES_MAX, UnreadableFile

_GZIP_MAGIC: Final = b"\x1f\x8b"


def import_(
    file: Annotated[
        str,
        Parameter(
            help='What `doppia export` wrote, compressed or not; "-" is standard input.', allow_leading_hyphen=True
        ),
    ],
    *,
    organization: Annotated[UUID | None, Parameter(help="Organization that will own it; by default the first.")] = None,
    data: Data = None,
    database_url: Url = None,
) -> None:
    """Bring a ledger to this server: with the same ids, balances, versions, lists and root, or not at all.

    Idempotency keys do not come with it: what was sent with one elsewhere is a new request here.
    """
    chosen = settings.load({"data": data, "database_url": database_url})
    # Each record makes small objects that are soon freed, among which the garbage collector would look in vain.
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)

    async def run() -> Imported:
        async with connected(chosen) as database:
            owner = organization or await only_organization(database)
            return await import_ledger(database, now, owner, None, read_lines(source))

    with (
        _interrupted_at_once(),
        os.fdopen(os.dup(sys.stdin.fileno()), "rb") if file == "-" else Path(file).open("rb") as source,
    ):
        imported = asyncio.run(run())
    print(f"{imported.name}  {imported.ledger_id}")
    print(f"{imported.records} records; their root is {imported.root.hex()}")


@contextmanager
def _interrupted_at_once() -> Iterator[None]:
    """Let Ctrl-C end a read that waits for a pipe. The event loop's own handler would act only after the read."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def read_lines(file: BufferedReader) -> Iterator[bytes]:
    """Return the lines of an export, compressed or not.

    Raises:
        UnreadableFile: a line is longer than LINE_BYTES_MAX, or the file can't be read, or its compression is damaged.
    """
    line = 0
    try:
        lines = gzip.GzipFile(fileobj=file) if file.peek(2).startswith(_GZIP_MAGIC) else file
        while text := lines.readline(LINE_BYTES_MAX + 1):
            if len(text) > LINE_BYTES_MAX:
                raise UnreadableFile(
                    f"line {line + 1} is longer than the {LINE_BYTES_MAX:,} bytes that a line may have"
                )
            line += 1
            yield text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFile(f"the compressed file is cut off or damaged {_after(line)}: {error}") from error
    except OSError as error:
        raise UnreadableFile(f"the file can't be read {_after(line)}: {error}") from error


def _after(line: int) -> str:
    return f"after line {line}" if line else "in its first line"

"""`doppia export`: the whole log of a ledger as lines of JSON, checked against its root while it is written."""

import asyncio
import gzip
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

from cyclopts import Parameter

from doppia import settings
from doppia.accounting.ids import Id, parse_id
from doppia.cli import CommandError
from doppia.cli.connect import Data, Url
from doppia.opening import connected
from doppia.proof.exchange import header_of, header_to_line, to_line
from doppia.proof.sealing import MalformedRecord, check_canonical, opened
from doppia.proof.tree import Frontier, leaf_hash
from doppia.store.database.connections import Database
from doppia.store.ledger import ledgers
from doppia.store.log import log
from doppia.store.log.log import Size

_RECORDS_AT_ONCE: Final = 1_000
_BYTES_AT_ONCE: Final = 4_000_000


class ExportError(CommandError):
    """A ledger can't be exported; the text says why. No file is left behind."""


def export(
    ledger: str,
    *,
    output: Annotated[
        str,
        Parameter(
            help='A new file, compressed where it ends in .gz; "-" is standard output.', allow_leading_hyphen=True
        ),
    ] = "-",
    data: Data = None,
    database_url: Url = None,
) -> None:
    """Write the whole log of a ledger as it is now, one record a line, for `doppia import` and for `doppia verify`.

    Args:
        ledger: the ledger's id.
    """
    target = parse_id(ledger)
    if target is None:
        raise ExportError(f"{ledger!r} is no ledger's id.")
    chosen = settings.load({"data": data, "database_url": database_url})

    async def run() -> Size:
        async with connected(chosen) as database:
            with _written(output) as write:
                return await export_ledger(database, target, write)

    size = asyncio.run(run())
    where = "standard output" if output == "-" else output
    print(f"{size.records} records to {where}; their root is {size.root.hex()}", file=sys.stderr)


async def export_ledger(database: Database, target: Id, write: Callable[[bytes], Any]) -> Size:
    """Write a ledger's log as it is when this begins, and return its size.

    The log is read in pages, without a snapshot: a record never changes, unless its texts are erased or the whole
    ledger is purged, and either is noticed.

    Raises:
        ExportError: there is no such ledger, what the log holds does not make the root that was committed with it, or
            texts were erased meanwhile.
    """
    async with database.connection() as connection:
        owner = await ledgers.owner(connection, target.ledger)
        size = await log.size(connection, target.ledger)
        if owner is None or size is None or owner.ledger_id != str(target):
            raise ExportError(f"There is no ledger {target}.")
        write(header_to_line(header_of(UUID(owner.ledger_id), *size)) + b"\n")
        tree = Frontier()
        while tree.size < size.records:
            limit = min(_RECORDS_AT_ONCE, size.records - tree.size)
            page = await log.records(connection, target.ledger, tree.size, limit, _BYTES_AT_ONCE)
            if not page:
                raise ExportError(f"Record {tree.size + 1} of ledger {target} is gone: was it purged just now?")
            tree, _ = tree.extended([leaf_hash(payload) for _, payload, _ in page])
            for sequence, payload, texts in page:
                write(_line(target, sequence, payload, texts))
        if await log.is_redacted_after(connection, target.ledger, size.records):
            raise ExportError(
                f"Texts of ledger {target} were erased while it was exported, and no record that was written says so. "
                "Export it again."
            )
    if tree.root() != size.root:
        raise ExportError(
            f"The log of ledger {target} is not what was committed: its records make another root than its head "
            "names. `doppia verify` finds the first one that is wrong."
        )
    return size


def _line(target: Id, sequence: int, payload: bytes, texts: bytes | None) -> bytes:
    try:
        record = opened(payload, texts)
        check_canonical(record, payload, texts)
    except MalformedRecord as error:
        raise ExportError(f"Record {sequence} of ledger {target} can't be exported: {error}.") from None
    return to_line(record) + b"\n"


@contextmanager
def _written(output: str) -> Iterator[Callable[[bytes], Any]]:
    """Yield a function that writes to a new file, or to standard output. Only a complete file gets its name.

    Raises:
        ExportError: the file is there already.
    """
    if output == "-":
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    if path.exists():
        raise ExportError(f"{path} is there already, and is not overwritten.")
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", 6, file, mtime=0) as compressed:
                    yield compressed.write
            else:
                yield file.write
            file.flush()
            os.fsync(file.fileno())
        _name(Path(partial), path)
    finally:
        with suppress(FileNotFoundError):
            Path(partial).unlink()


def _name(partial: Path, path: Path) -> None:
    """Give a complete file its name, unless another file has taken the name meanwhile."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise ExportError(f"{path} came to be there meanwhile, and is not overwritten.") from None

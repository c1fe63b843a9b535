"""Checkpoints of ledgers' logs: they are signed by keys in a file, and written to places outside the database."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from doppia.proof.checkpoints import (
    KEY_BYTES,
    Checkpoint,
    CheckpointError,
    SigningKey,
    is_key_name,
    parse_signing_key,
    sign,
)
from doppia.store.database.connections import Database
from doppia.store.files import write_whole
from doppia.store.log import log
from doppia.store.log.log import LedgerSize, Size

KEY_NAME: Final = "doppia"
"""A key that nobody named has this name.

The newest key's name also stands before the ledger's id in the origin of a checkpoint.
"""

_PAGE: Final = 100
"""The sizes of at most this many logs are read at once."""

_ANSWER_TIMEOUT_SECONDS: Final = 10

_log = structlog.get_logger()


class CheckpointsNotWrittenError(OSError):
    """A checkpoint could not be written to its place; the sentence says why."""


def _keys_in(path: Path) -> list[SigningKey]:
    keys = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.strip():
            try:
                keys.append(parse_signing_key(line))
            except CheckpointError as error:
                raise CheckpointError(f"{path}, line {number}: {error}") from None
    return keys


def keys_at(path: Path) -> list[SigningKey]:
    """Return the keys of a key file, the newest first. If there is no file, it is created with one key.

    Raises:
        CheckpointError: a line of the file is no key, or the file holds none.
        OSError: the file can't be read, or created.
    """
    if path.exists():
        keys = _keys_in(path)
        if not keys:
            raise CheckpointError(f"{path} holds no key; `doppia checkpoints rotate` puts one there.")
        return keys
    keys = add_key(path, None)
    _log.warning("a new key signs checkpoints from now on", file=str(path), verifier=str(keys[0].verifier))
    return keys


def add_key(path: Path, name: str | None) -> list[SigningKey]:
    """Put a new key before the others of a key file, and return all of them.

    Args:
        path: the file, which only its owner may read.
        name: the name of the new key; None takes that of the newest one.

    Raises:
        CheckpointError: a key can't have this name, or a line of the file is no key.
        OSError: the file can't be read, or written.
    """
    keys = _keys_in(path) if path.exists() else []
    named = name or (keys[0].name if keys else KEY_NAME)
    if not is_key_name(named):
        raise CheckpointError(f"A key can't be called {named!r}: it has a name without spaces and plus signs.")
    keys.insert(0, SigningKey(named, os.urandom(KEY_BYTES)))
    write_whole(path, "".join(f"{key.secret_text()}\n" for key in keys), is_private=True)
    return keys


def signed_checkpoint(keys: Sequence[SigningKey], ledger_id: str, size: Size) -> str:
    """Return the checkpoint of a log, signed by all keys, as the text of a signed note."""
    return sign(Checkpoint(f"{keys[0].name}/{ledger_id}", size.records, size.root), keys)


async def sizes(database: Database) -> AsyncIterator[LedgerSize]:
    """Yield the size and the root of each ledger's log, of all organizations."""
    after = 0
    while True:
        async with database.connection() as connection:
            page = await log.sizes(connection, after, _PAGE)
        for found in page:
            yield found
        if len(page) < _PAGE:
            return
        after = page[-1].ledger


class Publisher:
    """The publisher writes the checkpoints of all ledgers whose logs have grown since it last did."""

    def __init__(self, database: Database, keys: Sequence[SigningKey], to: str) -> None:
        """Describe where checkpoints are written; nothing is written yet.

        Args:
            database: the database with the logs.
            keys: the keys that sign, the newest first.
            to: "-" for standard output; or an http or https URL, to which each checkpoint is sent as the body of a
                POST; or else a folder, in which each becomes the file LEDGER_ID/SIZE.checkpoint.

        Raises:
            CheckpointError: `to` is a URL with another scheme.
        """
        self._database = database
        self._keys = keys
        scheme, separator, _ = to.partition("://")
        self._is_url = bool(separator)
        if separator and scheme.lower() not in {"http", "https"}:
            raise CheckpointError(f"Checkpoints are sent by http or https, and not by {scheme}.")
        self._to = to
        self._written: dict[int, int] = {}

    async def publish(self) -> int:
        """Write the checkpoints of all logs that have grown, and return how many were written.

        Raises:
            CheckpointsNotWrittenError: at least one was not written, and is tried again the next time; the others were.
            Unavailable.
        """
        count = 0
        failure: OSError | None = None
        async for found in sizes(self._database):
            if self._written.get(found.ledger) == found.size.records:
                continue
            text = signed_checkpoint(self._keys, found.ledger_id, found.size)
            try:
                await self._write(found, text)
            except OSError as error:
                failure = failure or error
                continue
            self._written[found.ledger] = found.size.records
            count += 1
        if failure is not None:
            raise CheckpointsNotWrittenError(f"A checkpoint can't be written: {failure}") from failure
        return count

    async def _write(self, found: LedgerSize, text: str) -> None:
        if self._to == "-":
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        elif self._is_url:
            await _send(self._to, text)
        else:
            path = Path(self._to) / found.ledger_id / f"{found.size.records}.checkpoint"
            await asyncio.to_thread(_write_once, path, text)


async def _send(url: str, text: str) -> None:
    import httpx2  # noqa: PLC0415 - of all imports this one would delay the start of the service most

    headers = {"Content-Type": "text/plain; charset=utf-8"}
    try:
        async with httpx2.AsyncClient(timeout=_ANSWER_TIMEOUT_SECONDS) as client:
            answer = await client.post(url, content=text.encode(), headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise OSError(f"the URL to send it to can't be reached: {error}") from error
    if answer.is_error:
        # The URL is left out of the sentence, because it may hold a password.
        raise OSError(f"the URL it was sent to answered {answer.status_code}")


def _write_once(path: Path, text: str) -> None:
    """Write a checkpoint to a file. If the file is there already, it stays as it is.

    Raises:
        OSError: the file is there and says something else of a log of the same size, or it can't be written.
    """
    if path.exists():
        if path.read_text(encoding="utf-8").partition("\n\n")[0] != text.partition("\n\n")[0]:
            raise OSError(f"{path} says something else of the same log: history was rewritten, or that file was")
        return
    write_whole(path, text)

"""Checkpoints of ledgers' logs: the keys that sign them, and the places outside the database that keep them."""

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
"""Of a key that nobody named; it stands before the ledger's id in the origin of its checkpoints as well."""

_PAGE: Final = 100
_log = structlog.get_logger()
_ANSWER_TIMEOUT_SECONDS: Final = 10


class CheckpointsNotWrittenError(OSError):
    """The place that checkpoints are written to did not take one; the sentence says why."""


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
    """Return the keys of a key file, the newest first; it is made with one key where there is none.

    Raises:
        CheckpointError: a line of it is no key, or it holds none.
        OSError: it can't be read, or made.
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
        name: of the key; None takes that of the newest one.

    Raises:
        CheckpointError: a key can't have this name, or a line of the file is no key.
        OSError.
    """
    keys = _keys_in(path) if path.exists() else []
    named = name or (keys[0].name if keys else KEY_NAME)
    if not is_key_name(named):
        raise CheckpointError(f"A key can't be called {named!r}: it has a name without spaces and plus signs.")
    keys.insert(0, SigningKey(named, os.urandom(KEY_BYTES)))
    write_whole(path, "".join(f"{key.secret_text()}\n" for key in keys), is_private=True)
    return keys


def note(keys: Sequence[SigningKey], ledger_id: str, size: Size) -> str:
    """Return the signed checkpoint of a log."""
    return sign(Checkpoint(f"{keys[0].name}/{ledger_id}", size.records, size.root), keys)


async def sizes(database: Database) -> AsyncIterator[LedgerSize]:
    """Yield how far the log of each ledger goes, whoever's it is."""
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
    """Writes the checkpoints of all ledgers whose logs have grown since it last did.

    Attributes:
        to: "-" is standard output; an http or https URL, to which each note is sent as the body of a POST; else a
            folder, in which each becomes the file LEDGER_ID/SIZE.checkpoint.
    """

    def __init__(self, database: Database, keys: Sequence[SigningKey], to: str) -> None:
        """Write to a place that may be away when it comes to it.

        Raises:
            CheckpointError: it can't be one.
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
        """Write what there is to write, and return how many checkpoints that were.

        Raises:
            CheckpointsNotWrittenError: one was not, and is tried again the next time; all others were.
            Unavailable.
        """
        count = 0
        failure: OSError | None = None
        async for found in sizes(self._database):
            if self._written.get(found.ledger) == found.size.records:
                continue
            text = note(self._keys, found.ledger_id, found.size)
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
    import httpx2  # noqa: PLC0415 - a service that starts would wait for it longest

    headers = {"Content-Type": "text/plain; charset=utf-8"}
    try:
        async with httpx2.AsyncClient(timeout=_ANSWER_TIMEOUT_SECONDS) as client:
            answer = await client.post(url, content=text.encode(), headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise OSError(f"the URL to send it to can't be reached: {error}") from error
    if answer.is_error:
        # Without the URL, which may hold a password.
        raise OSError(f"the URL it was sent to answered {answer.status_code}")


def _write_once(path: Path, text: str) -> None:
    """Write a file that is whole when it is there; one that is there stays.

    Raises:
        OSError: one is there that says something else of the log when it was so far, or it can't be written.
    """
    if path.exists():
        if path.read_text(encoding="utf-8").partition("\n\n")[0] != text.partition("\n\n")[0]:
            raise OSError(f"{path} says something else of the same log: history was rewritten, or that file was")
        return
    write_whole(path, text)

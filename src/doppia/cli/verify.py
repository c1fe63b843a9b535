"""`doppia verify`: whether a ledger is what its log says, and whether the log still is what it was."""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from doppia import settings
from doppia.accounting.ids import parse_id
from doppia.cli import CommandError
from doppia.cli.connect import Data, Url
from doppia.cli.verify_export import verify_export
from doppia.engine.verification.resume import Resumed
from doppia.engine.verification.verify import Finding, Progress, Verification
from doppia.engine.verification.verify import verify as verify_ledgers
from doppia.opening import connected
from doppia.proof.checkpoints import Checkpoint, CheckpointError, open_note, parse_verifier_key
from doppia.settings import Settings
from doppia.store.files import write_whole

_SECONDS_BETWEEN_SAVES: Final = 10
_SHARE_OF_SAVES: Final = 0.05
"""Saves take at most this share of the time, and come less often where they take long."""


def verify(
    *,
    data: Data = None,
    database_url: Url = None,
    ledger: Annotated[str | None, Parameter(help="Id of the only ledger to verify.")] = None,
    export: Annotated[Path | None, Parameter(help="Verify this export instead; no database is needed.")] = None,
    checkpoint: Annotated[
        tuple[Path, ...], Parameter(negative="", help="A checkpoint that the log must still begin with; repeatable.")
    ] = (),
    key: Annotated[
        tuple[str, ...], Parameter(negative="", help="Verifier key of the checkpoints, or a file of them; repeatable.")
    ] = (),
    resume: Annotated[
        Path | None, Parameter(help="Where to keep how far it has come, and to go on from if it is there.")
    ] = None,
) -> None:
    """Verify that all of a ledger follows from its log. The exit status is 0 only if it does.

    Every record is folded by the rules and hashed; entries, balances, and all else that is stored are compared with
    what must come out, and the root with the records. What is wrong is named by id.
    """
    checkpoints = _checkpoints(checkpoint, key)
    # Each record makes small objects that are soon freed. The garbage collector's default is to look for cycles after
    # every 700 of them, which takes a tenth of the time.
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    if export is not None:
        findings = verify_export(export, checkpoints, _Shown(Console(stderr=True)))
    else:
        chosen = settings.load({"data": data, "database_url": database_url})
        number = None if ledger is None else _number(ledger)
        resumed = _read_resumed(resume)
        findings = asyncio.run(_verify_online(chosen, number, checkpoints, resume, resumed))
        if resume is not None and not findings:
            resume.unlink(missing_ok=True)
    if findings:
        sys.exit(1)


def _number(ledger: str) -> int:
    found = parse_id(ledger)
    if found is None:
        sys.exit(f"{ledger!r} is no ledger's id.")
    return found.ledger


def _checkpoints(paths: tuple[Path, ...], keys: tuple[str, ...]) -> dict[str, Checkpoint]:
    """Return the largest checkpoint of each ledger, by the ledger's id.

    Raises:
        CheckpointError: a file holds no checkpoint or no key, or none of the keys has signed a checkpoint.
    """
    trusted = []
    for key in keys:
        lines = _text(Path(key)).split() if Path(key).is_file() else [key]
        trusted += [parse_verifier_key(line) for line in lines]
    if paths and not trusted:
        raise CheckpointError("A checkpoint is worth what the key is that signed it: name one with --key.")
    found: dict[str, Checkpoint] = {}
    for path in paths:
        opened = open_note(_text(path), trusted)
        id_ = opened.origin.rpartition("/")[2]
        if id_ not in found or found[id_].size < opened.size:
            found[id_] = opened
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is no text, and so neither a checkpoint nor a key: {error}.") from None


class _Shown:
    """Shows how far a verification has come: a bar for each ledger, where the output is a terminal."""

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("records"),
            TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, ledger: str, records: int, total: int) -> None:
        """Show how far one ledger has come."""
        if ledger not in self._tasks:
            self._tasks[ledger] = self._bar.add_task(ledger, total=total)
        self._bar.update(self._tasks[ledger], completed=records)


async def _verify_online(
    chosen: Settings,
    ledger: int | None,
    checkpoints: Mapping[str, Checkpoint],
    resume: Path | None,
    resumed: Resumed,
) -> int:
    """Verify what is in the database, and return how many findings there are."""
    findings = ledgers = 0
    save_at = time.monotonic() + _SECONDS_BETWEEN_SAVES
    with _Shown(Console(stderr=True)) as shown:
        async with connected(chosen) as database:
            async for verification, news in verify_ledgers(database, ledger, checkpoints, resumed):
                match news:
                    case Progress():
                        shown.step(news.ledger, news.records, news.total)
                        assert verification is not None, "only a verification makes progress"
                        if resume is not None and time.monotonic() >= save_at:
                            save_at = time.monotonic() + _save(resume, resumed, verification)
                    case Finding():
                        findings += 1
                        print(news, flush=True)
                    case _:
                        assert verification is not None, "only a verification ends well"
                        ledgers += 1
                        size = verification.state.sequence
                        print(f"ledger {verification.id}: {size} {'record' if size == 1 else 'records'}, all holds")
    if ledger is not None and not findings and not ledgers:
        sys.exit("There is no such ledger.")
    return findings


def _read_resumed(path: Path | None) -> Resumed:
    if path is None:
        return Resumed()
    try:
        return Resumed(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Resumed()
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path} does not say how far a verification has come: {error}. Name another.") from None


def _save(path: Path, resumed: Resumed, verification: Verification) -> float:
    """Write how far a verification has come to a file, and return after how many seconds to do so again."""
    began = time.monotonic()
    write_whole(path, json.dumps(resumed.plain(verification.state, verification.keep())))
    return max(_SECONDS_BETWEEN_SAVES, (time.monotonic() - began) / _SHARE_OF_SAVES)

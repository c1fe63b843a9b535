"""`doppia redact`: texts of a ledger erased for good, as the law may ask."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

from cyclopts import Parameter

from doppia import settings
from doppia.accounting.errors import NothingToRedact
from doppia.accounting.ids import Id, LedgerNumber, LedgerRef, parse_id
from doppia.accounting.texts import check_length, check_metadata_texts
from doppia.cli import CommandError
from doppia.cli.connect import Data, Url
from doppia.engine.performing import Engine
from doppia.engine.platform.redactions import WIRE_NAMES, RedactTexts, Target
from doppia.engine.posting.writing import NOBODY
from doppia.opening import connected, now
from doppia.store.ledger import ledgers

Ids = Annotated[tuple[str, ...], Parameter(negative="")]


def redact(
    *,
    ledger: str,
    transaction: Ids = (),
    entry: Ids = (),
    account: Ids = (),
    category: Ids = (),
    monitor: Ids = (),
    statement: Ids = (),
    settlement: Ids = (),
    metadata: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    reason: str | None = None,
    yes: Annotated[bool, Parameter(negative="")] = False,
    data: Data = None,
    database_url: Url = None,
) -> None:
    """Erase the texts of objects for good: names, descriptions, external ids and metadata, in all versions.

    Amounts, times and the accounts that they moved between stay, and so does every proof. The log says what was erased.

    Args:
        ledger: id of the ledger.
        transaction: id of a transaction, whose entries lose their metadata with it; repeatable, as are the next six.
        entry: id of an entry.
        account: id of an account.
        category: id of a category.
        monitor: id of a balance monitor.
        statement: id of an account statement.
        settlement: id of a settlement.
        metadata: key=value; whatever has all of these pairs in its metadata is redacted as well; repeatable.
        reason: stays in the log; it should name nobody.
        yes: do not ask first.
    """
    number = _id(ledger, "--ledger").ledger
    named = {
        "transaction": transaction,
        "entry": entry,
        "account": account,
        "category": category,
        "monitor": monitor,
        "statement": statement,
        "settlement": settlement,
    }
    targets = _targets(number, named)
    pairs = _pairs(metadata)
    if not targets and not pairs:
        raise CommandError("Say what to redact: objects by id, or --metadata key=value.")
    if reason is not None:
        check_length(reason, "reason")
    if not yes:
        _confirm(ledger)

    async def run() -> tuple[int, int]:
        async with connected(settings.load({"data": data, "database_url": database_url})) as database:
            async with database.connection() as connection:
                owner = await ledgers.owner(connection, number)
            if owner is None or owner.ledger_id != ledger:
                raise CommandError(f"There is no ledger with the id {ledger}.")
            engine = Engine(database, now)
            try:
                return await _redact(engine, LedgerRef(LedgerNumber(number), owner.ledger_id), targets, pairs, reason)
            finally:
                await engine.close()

    redactions, texts = asyncio.run(run())
    if not redactions:
        print("There is nothing to redact: what was named has no texts any more, or never had any.")
        return
    print(f"ledger {ledger}: texts erased: {texts}, records that say so: {redactions}")


async def _redact(
    engine: Engine, ledger: LedgerRef, targets: Sequence[Target], metadata: Mapping[str, str], reason: str | None
) -> tuple[int, int]:
    """Redact until nothing is left, and return how many redactions that took and how many texts they erased."""
    redactions = texts = 0
    while targets or metadata:
        command = RedactTexts(ledger=ledger, targets=targets, metadata=metadata, reason=reason)
        try:
            redaction = await engine.perform(NOBODY, command)
        except NothingToRedact:
            break
        redactions, texts = redactions + 1, texts + len(redaction.erased)
        targets = ()
    return redactions, texts


def _targets(ledger: int, named: Mapping[str, Sequence[str]]) -> list[Target]:
    targets = []
    for kind, ids in named.items():
        for text in ids:
            id_ = _id(text, f"--{kind}")
            if id_.ledger != ledger:
                raise CommandError(f"The ledger has no {WIRE_NAMES[kind]} with the id {text}.")
            targets.append(Target(kind, id_, f"--{kind}"))
    return targets


def _id(text: str, option: str) -> Id:
    id_ = parse_id(text)
    if id_ is None:
        raise CommandError(f"{option} {text} is not an id; one looks like 65a1b2c3-0000-8000-8400-000000000400.")
    return id_


def _pairs(metadata: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in metadata:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CommandError(f"--metadata {text} is not of the form key=value.")
        pairs[key] = value
    check_metadata_texts(pairs, "metadata")
    return pairs


def _confirm(ledger: str) -> None:
    """Ask whoever sits there whether he means it, since it can't be undone."""
    if not sys.stdin.isatty():
        raise CommandError("A redaction can't be undone: say --yes where nobody can be asked.")
    if input(f"Erase these texts of ledger {ledger} for good? It can't be undone. [y/N] ").strip().lower() != "y":
        raise CommandError("Nothing was redacted.")

"""A redaction as it will be done: its record, the texts in the log, and the rows that held them."""

import json
from collections.abc import Collection
from typing import Any

import asyncpg

from doppia.accounting.ids import LedgerRef
from doppia.accounting.platform.events import Event
from doppia.engine.posting.writing import Clock, begin
from doppia.proof.kinds import KINDS, kind_of
from doppia.proof.records import EntryAnnotated, Redacted, TransactionWritten, microseconds
from doppia.proof.sealing import opened
from doppia.store.database.connections import Connection, Database
from doppia.store.ledger import ledgers
from doppia.store.platform.redactions import erase

_TABLES = {
    "ledger": ("ledgers", "1"),  # the ledger is object 1 of its log
    "account": ("accounts", "account_sequence"),
    "transaction": ("transactions", "transaction_sequence"),
    "category": ("categories", "category_sequence"),
    "monitor": ("balance_monitors", "monitor_sequence"),
    "statement": ("account_statements", "statement_sequence"),
    "settlement": ("settlements", "settlement_sequence"),
}
"""Where the texts of each kind stand once more, and the column that names the object."""


async def redact(
    database: Database,
    superuser: asyncpg.Connection,
    clock: Clock,
    ledger: LedgerRef,
    erased: Collection[int],
    reason: str,
) -> int:
    """Erase blocks of texts, each the sequence of its record times 1024 plus an ordinal; return the redaction's."""
    async with database.tx() as connection:
        write = await begin(connection, clock, ledger)
        record = Redacted(
            sequence=write.sequence,
            recorded_at=microseconds(write.now),
            actor=None,
            event=Event.CREATED,
            erased=sorted(erased),
            reason=reason,
        )
        await ledgers.append(connection, ledger.number, write.tree, write.now, record)
        await erase(connection, ledger.number, record.erased)
    await _write_texts_again(superuser, ledger.number)
    return record.sequence


async def committed(connection: Connection | asyncpg.Connection, ledger: int) -> list[int]:
    """Return the numbers of all blocks of texts that a log has."""
    rows = await connection.fetch("select payload, texts from log where ledger_id = $1 order by sequence", ledger)
    records = [opened(payload, texts) for payload, texts in rows if texts is not None]
    return [record.sequence << 10 | ordinal for record in records for ordinal in record.salts]


async def _write_texts_again(superuser: asyncpg.Connection, ledger: int) -> None:
    """Let the texts in every row be those of the newest record about it, past all triggers."""
    newest: dict[tuple[str, int], Any] = {}
    metadata: dict[int, dict[str, str]] = {}
    for row in await superuser.fetch("select payload, texts from log where ledger_id = $1 order by sequence", ledger):
        record = opened(*row)
        kind = kind_of(record)
        newest[kind.name, kind.about(record)] = record
        if isinstance(record, TransactionWritten):
            first = record.sequence << 10
            metadata |= {first | ordinal: told for ordinal, told in (record.entry_metadata or {}).items()}
        elif isinstance(record, EntryAnnotated):
            metadata[record.entry_sequence << 10 | record.entry_ordinal] = record.metadata
    await superuser.execute("set session_replication_role = replica")
    for name, (table, key) in _TABLES.items():
        texts = next(kind.texts for kind in KINDS if kind.name == name)
        columns = ", ".join(f"{text} = ${place}" for place, text in enumerate(texts, 3))
        await superuser.executemany(
            f"update {table} set {columns} where ledger_id = $1 and {key} = $2",
            [
                (ledger, about, *[_column(name, getattr(record, text)) for text in texts])
                for (of_kind, about), record in newest.items()
                if of_kind == name
            ],
        )
    await superuser.executemany(
        "update entry_metadata set metadata = $3 where ledger_id = $1 and entry = $2",
        [(ledger, number, json.dumps(told)) for number, told in metadata.items()],
    )
    await superuser.execute("reset session_replication_role")


def _column(kind: str, text: Any) -> Any:
    if not isinstance(text, dict):
        return text
    return None if kind == "transaction" and not text else json.dumps(text)

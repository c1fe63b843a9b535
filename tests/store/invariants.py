"""What must hold in every snapshot of a whole database, I1 to I8 and I14: by plain SQL, and the log read against it."""

import itertools
import json
import re
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from doppia.engine.verification.resume import Resumed
from doppia.engine.verification.verify import Finding, verify
from doppia.proof.kinds import kind_of
from doppia.proof.records import (
    STATUSES,
    AccountCategories,
    AccountWritten,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    LedgerWritten,
    MonitorWritten,
    Redacted,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
    TransactionWritten,
    moment,
)
from doppia.proof.sealing import opened, sealed
from doppia.proof.tree import Frontier, Node, leaf_hash
from doppia.store.database.connections import Connection, Database

_SQL = Path(__file__).with_suffix(".sql").read_text()
_RULES = re.findall(r"^-- rule: ([^\n]+)\n(.*?;)$", _SQL, flags=re.MULTILINE | re.DOTALL)
_READS = dict(re.findall(r"^-- read: (\w+)\n(.*?;)$", _SQL, flags=re.MULTILINE | re.DOTALL))


async def assert_invariants(url: str) -> None:
    """Assert all of them on the database at `url`, in one snapshot."""
    connection = await asyncpg.connect(url, server_settings={"search_path": "doppia", "timezone": "UTC"})
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            broken = await violations(connection)
    finally:
        await connection.close()
    database = Database(url)
    await database.open()
    try:
        broken += [str(told) async for _, told in verify(database, None, {}, Resumed()) if isinstance(told, Finding)]
    finally:
        await database.close()
    assert not broken, "\n".join(broken)


async def violations(connection: Connection) -> list[str]:
    """Return a line for each row that breaks a rule."""
    assert len(_RULES) == _SQL.count("-- rule: "), "each rule is found"
    broken = []
    for rule, query in _RULES:
        broken += [f"{rule}: {dict(row)}" for row in await connection.fetch(query)]
    faults = [*await _log_faults(connection), *await _trees(connection)]
    return broken + [f"the log agrees with the tables: {fault}" for fault in faults]


async def _log_faults(connection: Connection) -> list[str]:
    faults = []
    newest: dict[tuple[int, type, int], Any] = {}
    written: dict[tuple[int, int], tuple[Any, ...]] = {}
    metadata: dict[tuple[int, int], dict[str, str]] = {}
    lives: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    settled: dict[tuple[int, int], int] = {}
    posted: dict[tuple[int, int], datetime] = {}
    for row in await connection.fetch(_READS["log"]):
        ledger, sequence, object_sequence, recorded_at, kind, event, *as_sealed = row
        record = opened(*as_sealed)
        about = _object(record)
        says = (record.sequence, about, moment(record.recorded_at), kind_of(record).number, record.event)
        if says != (sequence, object_sequence, recorded_at, kind, event):
            faults.append(f"record {sequence} of ledger {ledger} is not what its row says: {record}")
        if sealed(record) != tuple(as_sealed):
            faults.append(f"record {sequence} of ledger {ledger} is not in its canonical bytes")
        if isinstance(record, EntryAnnotated):
            metadata[ledger, record.entry_sequence << 10 | record.entry_ordinal] = record.metadata
            continue
        faults += _settle(settled, ledger, record)
        if isinstance(record, SettledEntries | Redacted):
            continue
        newest[ledger, type(record), record.account if isinstance(record, AccountCategories) else about] = record
        if isinstance(record, TransactionWritten):
            status = STATUSES[record.status]
            lives[ledger, about].append(status)
            if status == "posted" and record.entries:
                posted[ledger, about] = moment(record.recorded_at)
            for ordinal, of_entry in (record.entry_metadata or {}).items():
                metadata[ledger, sequence << 10 | ordinal] = of_entry
            its_time = record.recorded_at if record.effective_at is None else record.effective_at
            for ordinal, entry in enumerate(record.entries or (), 1):
                number = sequence << 10 | ordinal
                effective_at = (record.effective_times or {}).get(ordinal, its_time)
                side = "credit" if entry.direction else "debit"
                written[ledger, number] = (
                    about, entry.account, entry.lock_version, recorded_at, moment(effective_at), side, status,
                    entry.amount,
                )  # fmt: skip
    faults += [
        f"transaction {key} changed after it was final: {statuses}"
        for key, statuses in lives.items()
        if any(status not in ("pending", after) for status, after in itertools.pairwise(statuses))
    ]
    tables = await _tables(connection)
    discarded = {key for key, record in newest.items() if isinstance(record, CategoryWritten) and record.discarded}
    told = {
        (ledger, kind.__name__, about): fields
        for (ledger, kind, about), record in newest.items()
        if (fields := _parents(ledger, record, discarded) if kind is CategoryParents else _told(record))
    }
    faults += _differences("object", told, tables)
    faults += _differences("entry", written, await _entries(connection))
    rows = await connection.fetch(_READS["settled_entries"])
    faults += _differences("settled entry", settled, {(row[0], row[1]): row[2] for row in rows})
    kept = await connection.fetch(_READS["entry_metadata"])
    faults += _differences("metadata of entry", metadata, {(row[0], row[1]): json.loads(row[2]) for row in kept})
    times = await connection.fetch(_READS["posting_times"])
    faults += _differences("posting time of transaction", posted, {(row[0], row[1]): row[2] for row in times})
    return faults


async def _trees(connection: Connection) -> list[str]:
    """Return where heads and kept nodes are not those of the tree over a log's payloads."""
    leaves: defaultdict[int, list[bytes]] = defaultdict(list)
    nodes: set[tuple[int, Node]] = set()
    roots = {}
    for ledger, payload in await connection.fetch(_READS["payloads"]):
        leaves[ledger].append(leaf_hash(payload))
    for ledger, hashes in leaves.items():
        tree, kept = Frontier().extended(hashes)
        nodes |= {(ledger, node) for node in kept}
        roots[ledger] = tree.root(), tree.to_bytes()
    heads = await connection.fetch(_READS["trees"])
    faults = _differences("tree of ledger", roots, {row[0]: (row[1], row[2]) for row in heads})
    kept_nodes = {(row[0], Node(*row[1:])) for row in await connection.fetch(_READS["nodes"])}
    faults += [f"node of a tree is not kept, or not its: {node}" for node in nodes ^ kept_nodes]
    return faults


def _settle(settled: dict[tuple[int, int], int], ledger: int, record: Any) -> list[str]:
    """Let entries come to settlements and leave them as a record says; none comes to one while it is in another."""
    faults = []
    match record:
        case SettledEntries(settlement=settlement, added=added, removed=removed):
            for entry in added:
                if (ledger, entry) in settled:
                    faults.append(f"entry {entry} of ledger {ledger} came to {settlement} and was settled")
                settled[ledger, entry] = settlement
            for entry in removed:
                if settled.pop((ledger, entry), None) != settlement:
                    faults.append(f"entry {entry} of ledger {ledger} left {settlement} and was not in it")
        case SettlementWritten(settlement=settlement, status="archiving" | "archived"):
            for key in [key for key, of in settled.items() if key[0] == ledger and of == settlement]:
                del settled[key]
    return faults


def _differences(what: str, told: dict[Any, Any], stored: dict[Any, Any]) -> list[str]:
    return [
        f"{what} {key}: the log says {told.get(key)}, the table {stored.get(key)}"
        for key in told.keys() | stored.keys()
        if told.get(key) != stored.get(key)
    ]


def _parents(ledger: int, record: CategoryParents, discarded: set[tuple[int, type, int]]) -> tuple[int, ...]:
    """Return what a category is directly in, by its newest record: edges end where either side is discarded."""
    ended = {category for number, _, category in discarded if number == ledger}
    return () if record.category in ended else tuple(each for each in record.parents if each not in ended)


def _object(record: Any) -> int:
    match record:
        case LedgerWritten():
            return 1
        case (
            AccountWritten(account=about) | TransactionWritten(transaction=about) | EntryAnnotated(entry_sequence=about)
            | CategoryWritten(category=about) | CategoryParents(category=about)
            | MonitorWritten(monitor=about) | StatementWritten(sequence=about)
            | SettlementWritten(settlement=about) | SettledEntries(settlement=about) | Redacted(sequence=about)
        ):  # fmt: skip
            return int(about)
        case AccountCategories(account=account, category=category):
            return int(account if category is None else category)
        case _:
            raise AssertionError(record)


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else moment(microseconds)


def _told(record: Any) -> tuple[Any, ...]:
    match record:
        case LedgerWritten(name=name, description=description, metadata=metadata, discarded=discarded):
            return name, description, metadata, discarded
        case AccountWritten() as a:
            return (
                a.name, a.description, a.currency, a.currency_exponent, a.normal_balance, a.external_id,
                a.ledgerable_type, a.ledgerable_id, a.metadata, a.discarded,
            )  # fmt: skip
        case CategoryWritten() as c:
            return (
                c.name, c.description, c.currency, c.currency_exponent, c.normal_balance, c.external_id, c.metadata,
                c.discarded,
            )  # fmt: skip
        case AccountCategories(categories=categories):
            return tuple(categories)
        case MonitorWritten() as m:
            return (
                m.account, m.field, m.operator, m.value, m.triggered, m.description, m.discarded, m.metadata,
            )  # fmt: skip
        case StatementWritten() as w:
            return (
                w.account, w.lock_version, moment(w.effective_at_lower_bound), moment(w.effective_at_upper_bound),
                w.starting_sums, w.ending_sums, w.description, moment(w.recorded_at), w.metadata,
            )  # fmt: skip
        case SettlementWritten() as s:
            return (
                s.settled_account, s.contra_account, s.status, s.becomes, s.lock_version,
                _time(s.effective_at_upper_bound), s.allow_either_direction, s.skip_transaction, s.transaction,
                s.amount, s.direction, s.description, s.metadata,
            )  # fmt: skip
        case TransactionWritten() as t:
            return (
                t.version, STATUSES[t.status], moment(t.recorded_at if t.effective_at is None else t.effective_at),
                t.description, t.external_id, t.ledgerable_type, t.ledgerable_id, t.archived_reason, t.reverses,
                t.partially_posts, t.settlement, _time(t.expires_at), t.metadata,
            )  # fmt: skip
    raise AssertionError(record)


async def _tables(connection: Connection) -> dict[tuple[int, str, int], tuple[Any, ...]]:
    stored: dict[tuple[int, str, int], tuple[Any, ...]] = {}
    ledgers = await connection.fetch(_READS["ledgers"])
    for ledger, name, description, metadata, discarded in ledgers:
        stored[ledger, "LedgerWritten", 1] = (name, description, json.loads(metadata), discarded)
    accounts = await connection.fetch(_READS["accounts"])
    for ledger, account, *fields, metadata, discarded in accounts:
        stored[ledger, "AccountWritten", account] = (*fields, json.loads(metadata), discarded)
    categories = await connection.fetch(_READS["categories"])
    for ledger, category, *fields, metadata, discarded in categories:
        stored[ledger, "CategoryWritten", category] = (*fields, json.loads(metadata), discarded)
    for ledger, category, parents in await connection.fetch(_READS["category_parents"]):
        stored[ledger, "CategoryParents", category] = tuple(parents)
    for ledger, account, holders in await connection.fetch(_READS["account_categories"]):
        stored[ledger, "AccountCategories", account] = tuple(holders)
    others = (("monitors", "MonitorWritten"), ("statements", "StatementWritten"), ("settlements", "SettlementWritten"))
    for read, kind in others:
        for ledger, sequence, *fields, metadata in await connection.fetch(_READS[read]):
            stored[ledger, kind, sequence] = (*fields, json.loads(metadata))
    transactions = await connection.fetch(_READS["transactions"])
    for ledger, transaction, *fields, metadata in transactions:
        stored[ledger, "TransactionWritten", transaction] = (*fields, json.loads(metadata))
    return stored


async def _entries(connection: Connection) -> dict[tuple[int, int], tuple[Any, ...]]:
    rows = await connection.fetch(_READS["entries"])
    return {(row[0], row[1]): tuple(row)[2:] for row in rows}

"""The rows that records must have written, compared with those that are there; of entries, hundreds at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from doppia.accounting.ids import ORDINAL_BITS
from doppia.engine.verification.fold import Expected
from doppia.engine.verification.resume import digest
from doppia.proof.kinds import kind_of
from doppia.proof.records import Record
from doppia.proof.replay.state import State
from doppia.store.log import verification as store
from doppia.store.log.verification import Chunk


def wrong_rows(
    state: State, annotated: dict[int, tuple[bytes, int] | None], chunk: Chunk, expected: Expected
) -> list[tuple[int, str]]:
    """Return the first wrong row of each table, by the record that wrote it, or by which it stands there."""
    found: list[tuple[int, str]] = []
    entry = _first_difference(state, expected.entries, chunk.entries or [], store.ENTRY_COLUMNS, "entry")
    if entry is not None:
        found.append((entry[0] >> ORDINAL_BITS, entry[2]))
    discard = _first_difference(
        state, expected.discards, chunk.discards or [], store.DISCARD_COLUMNS, "the discard of entry"
    )
    if discard is not None:
        found.append((discard[1], discard[2]))
    return [*found, *_wrong_transactions(state, chunk, expected), *_wrong_metadata(state, annotated, chunk, expected)]


def _first_difference(
    state: State, expected: list[str], stored: list[str], columns: Sequence[str], what: str
) -> tuple[int, int, str] | None:
    """Return the entry's number in the first row that differs, what stands second in it, and a sentence."""
    if expected == stored:
        return None
    told, found = ({line.split(" ", 1)[0]: line for line in lines} for lines in (expected, stored))
    keys = [key for key in {**told, **found} if told.get(key) != found.get(key)]
    if not keys:
        return None
    key = min(keys, key=int)
    line, row = told.get(key), found.get(key)
    number, second = int(key), int((line or row or "").split(" ")[1])
    if line is None:
        assert row is not None, "they differ"
        created = store.seconds_of(row.split(" ")[columns.index("created_at")]) if "created_at" in columns else -1
        return number, second, f"{what} {state.entry_id(number, created)} is there, and no record wrote it"
    name = f"{what} {state.entry_id(number)}"
    if row is None:
        return number, second, f"{name} is missing"
    return number, second, f"{name}: {store.differing(columns, line, row)}"


def _wrong_transactions(state: State, chunk: Chunk, expected: Expected) -> list[tuple[int, str]]:
    final, newest = chunk.final or [], chunk.newest or []
    with_texts = dict(zip(chunk.with_texts or (), chunk.texts or (), strict=True))
    if expected.final == final and expected.newest == newest and not with_texts and not expected.with_texts:
        return []
    for place, record in enumerate(expected.transactions):
        is_newest = newest[place] is not None
        name = f"transaction {state.id_of(record.transaction)}"
        told = expected.final[place]
        if told is not None and (is_newest or record.status) and told != final[place]:
            return [(record.sequence, f"{name}: {store.differing(store.FINAL_COLUMNS, told, final[place])}")]
        if not is_newest:
            continue
        row = newest[place]
        assert row is not None, "it is the newest"
        if expected.newest[place] != row:
            sentence = store.differing(store.NEWEST_COLUMNS, expected.newest[place], row)
            return [(record.sequence, f"{name}: {sentence}")]
        row_texts = with_texts.get(record.sequence) or [*[None] * 5, "{}"]
        texts = [*store.texts_of(record), record.metadata]
        stored = [*row_texts[:-1], msgspec.json.decode(row_texts[-1] or "null")]
        for column, text, found in zip(store.TEXT_COLUMNS, texts, stored, strict=True):
            if text != found:
                sentence = f"its {column} is {found!r} in the table, and {text!r} by the log"
                return [(record.sequence, f"{name}: {sentence}")]
    return []


def _wrong_metadata(
    state: State, annotated: dict[int, tuple[bytes, int] | None], chunk: Chunk, expected: Expected
) -> list[tuple[int, str]]:
    found = []
    waiting = dict(expected.metadata)
    rows = zip(
        chunk.with_metadata or (), chunk.metadata or (), chunk.metadata_times or (), chunk.metadata_replaced or (),
        strict=True,
    )  # fmt: skip
    for number, metadata, updated_at, is_replaced in rows:
        told = waiting.pop(number, None)
        if is_replaced:
            # What it is now is seen at the end, by the last record that replaced it.
            later = None if told is None else (digest(told[0]), told[1])
            annotated.setdefault(number, later)
        elif told is None or told[0] != msgspec.json.decode(metadata) or store.time(told[1]) != updated_at:
            found.append((number >> ORDINAL_BITS, metadata_sentence(state, number)))
    found += [(number >> ORDINAL_BITS, metadata_sentence(state, number)) for number in waiting]
    return found


def difference(record: Record, row: Mapping[str, Any]) -> str | None:
    """Say in which column a row differs from what the newest record about its object says; None where in none.

    The row is that of an object other than a transaction, with the time of the record that created the object.
    """
    if row["created_at"] is None:
        return "its row is missing"
    told = {name: column(record) for name, column in kind_of(record).columns.items()}
    for name, value in {**told, "created_at": row["created_as"]}.items():
        if row[name] != value:
            return f"its {name} is {_shown(row[name])} in the table, and {_shown(value)} by the log"
    return None


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def metadata_sentence(state: State, number: int) -> str:
    """Say that the metadata of an entry is wrong."""
    return f"entry {state.entry_id(number)}: its metadata in the table is not that of the log"

"""The limits of the values in a record: those that callers meet, whoever made the record."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest

from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import format_id
from doppia.accounting.platform.events import Event
from doppia.accounting.texts import METADATA_PAIRS_MAX, NAME_LENGTH_MAX
from doppia.proof.limits import check_limits
from doppia.proof.records import (
    AccountWritten,
    CategoryWritten,
    EntryAnnotated,
    EntryRecord,
    Record,
    Redacted,
    TransactionWritten,
    microseconds,
)
from doppia.proof.replay.fold import Fault, Replay
from tests.proof.test_records import ACTOR, RECORDED_AT, RECORDS

COMMON: dict[str, Any] = {"sequence": 2, "recorded_at": RECORDED_AT, "actor": ACTOR, "event": Event.CREATED}
UNIT: dict[str, Any] = {"currency": "USD", "currency_exponent": 2, "normal_balance": "credit"}
ACCOUNT = AccountWritten(
    **COMMON, **UNIT, account=2, name="Cash", description=None, external_id=None, ledgerable_type=None,
    ledgerable_id=None, metadata={}, discarded=False,
)  # fmt: skip
CATEGORY = CategoryWritten(
    **COMMON, **UNIT, category=2, name="Assets", description=None, external_id=None, metadata={}, discarded=False
)
TRANSACTION = TransactionWritten(
    **COMMON, transaction=2, version=0, status=1, effective_at=None, expires_at=None, description=None,
    external_id=None, ledgerable_type=None, ledgerable_id=None, archived_reason=None, reverses=None,
    partially_posts=None, settlement=None, metadata={}, entries=None,
)  # fmt: skip


REDACTION = Redacted(**COMMON, erased=[1 << 10], reason=None)
ENTRIES = [EntryRecord(2, 0, "1", 1), EntryRecord(3, 1, "1", 1)]


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_what_the_service_writes_is_within_the_limits(record: Record) -> None:
    check_limits(record)


LARGEST: list[tuple[Any, dict[str, Any]]] = [
    (ACCOUNT, {"name": "\U0001f600" * 1000, "description": "", "external_id": "x" * 180, "actor": None}),
    (ACCOUNT, {"ledgerable_type": "t" * 100, "ledgerable_id": "i" * 100, "currency": "P" * 32}),
    (ACCOUNT, {"currency": "points", "currency_exponent": 30}),
    (ACCOUNT, {"currency": "USD", "currency_exponent": 5}),  # the standard may have said so once
    (TRANSACTION, {"metadata": {f"{place}".rjust(100): "v" * 1000 for place in range(100)}}),
    (TRANSACTION, {"entries": ENTRIES, "entry_metadata": {2: {"k": "v"}}}),
]


@pytest.mark.parametrize(("record", "fields"), LARGEST, ids=range(len(LARGEST)))
def test_what_is_just_within_a_limit_is_taken(record: Any, fields: dict[str, Any]) -> None:
    check_limits(msgspec.structs.replace(record, **fields))


BEYOND: dict[str, tuple[Any, dict[str, Any], str]] = {
    "an actor": (ACCOUNT, {"actor": bytes(15)}, "actor has 15 bytes"),
    "no name": (ACCOUNT, {"name": ""}, "name has 0 characters, and may have 1 to 1,000"),
    "a name": (CATEGORY, {"name": "x" * (NAME_LENGTH_MAX + 1)}, "name has 1001 characters"),
    "a description": (TRANSACTION, {"description": "x" * 1001}, "description has 1001 characters"),
    "an external id": (TRANSACTION, {"external_id": "x" * 181}, "external_id has 181 characters"),
    "no external id": (ACCOUNT, {"external_id": ""}, "external_id has 0 characters"),
    "a type": (TRANSACTION, {"ledgerable_type": "x" * 101}, "ledgerable_type has 101 characters"),
    "an id": (ACCOUNT, {"ledgerable_id": ""}, "ledgerable_id has 0 characters"),
    "a NUL": (CATEGORY, {"description": "a\0"}, "description holds a NUL character"),
    "half a pair": (CATEGORY, {"description": "\ud800"}, "description holds half of a surrogate pair"),
    "pairs": (ACCOUNT, {"metadata": dict.fromkeys(map(str, range(METADATA_PAIRS_MAX + 1)), "v")}, "holds 101 pairs"),
    "a key": (TRANSACTION, {"metadata": {"k" * 101: "v"}}, "metadata has a key of 101 characters"),
    "a NUL in a key": (TRANSACTION, {"metadata": {"k\0": "v"}}, "metadata holds a NUL character"),
    "a value": (TRANSACTION, {"metadata": {"k": "v" * 1001}}, "metadata.k has a value of 1001 characters"),
    "a NUL in a value": (TRANSACTION, {"metadata": {"k": "\0"}}, "metadata holds a NUL character"),
    "an empty value": (TRANSACTION, {"metadata": {"k": ""}}, "metadata has an empty value under 'k'"),
    "of an entry": (
        TRANSACTION, {"entries": ENTRIES, "entry_metadata": {2: {"": "v"}}}, r"entries\[1\].metadata has an empty key",
    ),
    "no reason": (REDACTION, {"reason": ""}, "reason has 0 characters, and may have 1 to 1,000"),
    "half a hash": (ACCOUNT, {"texts": bytes(16)}, "texts has 16 bytes, and a hash has 32"),
    "half a hash of an entry": (TRANSACTION, {"entry_texts": {2: bytes(16)}}, r"entry_texts\[2\] has 16 bytes"),
    "a code": (ACCOUNT, {"currency": "US DOLLAR"}, "'US DOLLAR' is refused: a code is 1 to 32 letters"),
    "an exponent": (CATEGORY, {"currency": "mile", "currency_exponent": 31}, "it goes from 0 to 30"),
    "an exponent below": (CATEGORY, {"currency_exponent": -1}, "it goes from 0 to 30"),
}  # fmt: skip


@pytest.mark.parametrize(("record", "fields", "says"), BEYOND.values(), ids=BEYOND)
def test_what_is_beyond_a_limit_is_refused_by_the_name_of_its_field(
    record: Any, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(LedgerError, match=says):
        check_limits(msgspec.structs.replace(record, **fields))


def _begun() -> Callable[..., None]:
    replay = Replay(7)

    def apply(record: Any, **fields: Any) -> None:
        sequence = replay.state.sequence + 1
        replay.apply(msgspec.structs.replace(record, sequence=sequence, recorded_at=RECORDED_AT, **fields))

    ledger = msgspec.structs.replace(RECORDS[0], ledger=7, event=Event.CREATED)
    apply(ledger)
    apply(ACCOUNT)
    apply(ACCOUNT, account=3)
    return apply


def test_a_fold_refuses_it_by_record_and_object() -> None:
    apply = _begun()
    with pytest.raises(Fault, match=f"^record 4: account {_id(4)}: name has 0 characters, [^.]*$"):
        apply(ACCOUNT, account=4, name="")
    apply = _begun()
    apply(TRANSACTION, transaction=4, entries=ENTRIES, entry_metadata={2: {"k": "v"}})
    entry = EntryAnnotated(**{**COMMON, "event": Event.UPDATED}, entry_sequence=4, entry_ordinal=2, metadata={"": "v"})
    with pytest.raises(Fault, match=f"^record 5: entry {_id(4, 2)}: metadata has an empty key"):
        apply(entry)


def _id(sequence: int, ordinal: int = 0) -> str:
    return format_id(RECORDED_AT // 1_000_000, 7, sequence, ordinal)


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"])
def test_the_ends_of_the_calendar_stand_for_no_time(end: str) -> None:
    apply, time = _begun(), datetime.fromisoformat(f"{end}+00:00")
    with pytest.raises(Fault, match="which is beyond the calendar"):
        apply(TRANSACTION, transaction=4, entries=ENTRIES, effective_at=microseconds(time))

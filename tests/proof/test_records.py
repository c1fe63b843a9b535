"""The canonical bytes of the log: pinned, for whoever holds a hash holds it against these bytes for ever."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.proof.records import (
    AccountCategories,
    AccountWritten,
    AnyRecord,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    EntryRecord,
    LedgerWritten,
    MonitorWritten,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
    TransactionWritten,
    canonical_bytes,
    kind_of,
    microseconds,
    moment,
    read_record,
)

RECORDED_AT = microseconds(datetime(2026, 3, 2, 9, 30, 0, 1, tzinfo=UTC))
ACTOR = bytes(range(16))

LEDGER = LedgerWritten(
    sequence=1,
    recorded_at=RECORDED_AT,
    actor=ACTOR,
    event=3,
    ledger=7,
    name="Wallets",
    description=None,
    metadata={"b": "2", "a": "1"},
    discarded=False,
)
ACCOUNT = AccountWritten(
    sequence=2,
    recorded_at=RECORDED_AT,
    actor=ACTOR,
    event=3,
    account=2,
    name="Maria",
    description="wallet",
    currency="PHP",
    currency_exponent=2,
    normal_balance="credit",
    external_id="m-1",
    ledgerable_type=None,
    ledgerable_id=None,
    metadata={},
    discarded=False,
)
TRANSACTION = TransactionWritten(
    sequence=3,
    recorded_at=RECORDED_AT,
    actor=None,
    event=3,
    transaction=3,
    version=0,
    status=1,
    effective_at=RECORDED_AT - 1,
    expires_at=None,
    description=None,
    external_id=None,
    ledgerable_type=None,
    ledgerable_id=None,
    archived_reason=None,
    reverses=None,
    partially_posts=None,
    settlement=None,
    metadata={"order": "9"},
    entries=[
        EntryRecord(2, 1, str(10**36), 1, None, None),
        EntryRecord(4, 0, str(10**36), 5, RECORDED_AT - 5, {"line": "2"}),
    ],
)
ANNOTATION = EntryAnnotated(
    sequence=4,
    recorded_at=RECORDED_AT,
    actor=ACTOR,
    event=3,
    entry_sequence=3,
    entry_ordinal=2,
    metadata={"note": "₱"},
)
CATEGORY = CategoryWritten(
    sequence=5,
    recorded_at=RECORDED_AT,
    actor=ACTOR,
    event=3,
    category=5,
    name="Wallets",
    description=None,
    currency="PHP",
    currency_exponent=2,
    normal_balance="credit",
    external_id="wallets",
    metadata={},
    discarded=False,
)
MEMBERSHIP = AccountCategories(
    sequence=6, recorded_at=RECORDED_AT, actor=ACTOR, event=3, account=2, category=5, categories=[5]
)
PARENTS = CategoryParents(sequence=7, recorded_at=RECORDED_AT, actor=ACTOR, event=3, category=8, parents=[5])
MONITOR = MonitorWritten(
    sequence=8,
    recorded_at=RECORDED_AT,
    actor=None,
    event=3,
    monitor=8,
    account=2,
    field="available_balance_amount",
    operator="less_than",
    value="-1",
    triggered=True,
    lock_version=3,
    description=None,
    metadata={},
    discarded=False,
)
STATEMENT = StatementWritten(
    sequence=9,
    recorded_at=RECORDED_AT,
    actor=ACTOR,
    event=3,
    account=2,
    lock_version=3,
    effective_at_lower_bound=RECORDED_AT - 9,
    effective_at_upper_bound=RECORDED_AT,
    starting_sums=["0", "0", "0", "0"],
    ending_sums=["1", "2", "3", "4"],
    description=None,
    metadata={},
)
SETTLEMENT = SettlementWritten(
    sequence=10,
    recorded_at=RECORDED_AT,
    actor=ACTOR,
    event=3,
    settlement=10,
    settled_account=2,
    contra_account=3,
    status="processing",
    becomes="posted",
    lock_version=3,
    effective_at_upper_bound=RECORDED_AT,
    allow_either_direction=False,
    skip_transaction=False,
    transaction=None,
    amount="7",
    direction=1,
    description=None,
    metadata={},
)
SETTLED = SettledEntries(
    sequence=11, recorded_at=RECORDED_AT, actor=None, event=3, settlement=10, added=[3 << 10 | 1], removed=[]
)
AMOUNT = "d925" + "31" + "30" * 36
ACCOUNT_BYTES = (
    "dc00100202cf00064c073b155601c410000102030405060708090a0b0c0d0e0f0302a54d61726961a677616c6c6574a3"
    "50485002a6637265646974a36d2d31c0c080c2"
)
TRANSACTION_BYTES = (
    "dc00140303cf00064c073b155601c003030001cf00064c073b155600c0c0c0c0c0c0c0c0c081a56f72646572a13992"
    f"960201{AMOUNT}01c0c0960400{AMOUNT}05cf00064c073b1555fc81a46c696e65a132"
)
PINNED: list[tuple[AnyRecord, str]] = [
    (
        LEDGER,
        ("9a0101cf00064c073b155601c410000102030405060708090a0b0c0d0e0f0307a757616c6c657473c082a161a131a162a132c2"),
    ),
    (ACCOUNT, ACCOUNT_BYTES),
    (TRANSACTION, TRANSACTION_BYTES),
    (ANNOTATION, "980404cf00064c073b155601c410000102030405060708090a0b0c0d0e0f03030281a46e6f7465a3e282b1"),
    (
        CATEGORY,
        (
            "9e0505cf00064c073b155601c410000102030405060708090a0b0c0d0e0f0305a757616c6c657473c0a350485002a663"
            "7265646974a777616c6c65747380c2"
        ),
    ),
    (MEMBERSHIP, "980606cf00064c073b155601c410000102030405060708090a0b0c0d0e0f0302059105"),
    (PARENTS, "970707cf00064c073b155601c410000102030405060708090a0b0c0d0e0f03089105"),
    (
        MONITOR,
        (
            "9f0808cf00064c073b155601c0030802b8617661696c61626c655f62616c616e63655f616d6f756e74a96c6573735f74"
            "68616ea22d31c303c080c2"
        ),
    ),
    (
        STATEMENT,
        (
            "9d0909cf00064c073b155601c410000102030405060708090a0b0c0d0e0f030203cf00064c073b1555f8cf00064c073b"
            "15560194a130a130a130a13094a131a132a133a134c080"
        ),
    ),
    (
        SETTLEMENT,
        (
            "dc00130a0acf00064c073b155601c410000102030405060708090a0b0c0d0e0f030a0203aa70726f63657373696e67a6"
            "706f7374656403cf00064c073b155601c2c2c0a13701c080"
        ),
    ),
    (SETTLED, "980b0bcf00064c073b155601c0030a91cd0c0190"),
]


@pytest.mark.parametrize(("record", "pinned"), PINNED, ids=[type(record).__name__ for record, _ in PINNED])
def test_the_bytes_of_a_record_never_change(record: AnyRecord, pinned: str) -> None:
    assert canonical_bytes(record).hex() == pinned
    assert read_record(bytes.fromhex(pinned)) == record


def test_the_bytes_of_a_record_begin_with_its_kind() -> None:
    for record, pinned in PINNED:
        assert msgspec.msgpack.decode(bytes.fromhex(pinned))[0] == kind_of(record)


def test_any_messagepack_library_reads_the_fields_in_order() -> None:
    plain = msgspec.msgpack.decode(canonical_bytes(LEDGER))
    assert plain == [1, 1, RECORDED_AT, ACTOR, 3, 7, "Wallets", None, {"a": "1", "b": "2"}, False]
    assert msgspec.msgpack.decode(canonical_bytes(TRANSACTION))[-1] == [
        [2, 1, str(10**36), 1, None, None],
        [4, 0, str(10**36), 5, RECORDED_AT - 5, {"line": "2"}],
    ]


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5)), st.data())
def test_the_order_in_which_metadata_came_does_not_matter(metadata: dict[str, str], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(metadata.items()))))
    one, other = (msgspec.structs.replace(LEDGER, metadata=told) for told in (metadata, shuffled))
    assert canonical_bytes(one) == canonical_bytes(other)


def test_metadata_keys_stand_in_the_order_of_their_bytes() -> None:
    keys = ["\U0001f600", "\uffff", "b", "aa", "é", "", "a"]
    told = msgspec.structs.replace(LEDGER, metadata=dict.fromkeys(keys, ""))
    written = list(msgspec.msgpack.decode(canonical_bytes(told))[8])
    assert written == sorted(keys, key=str.encode) == ["", "a", "aa", "b", "é", "\uffff", "\U0001f600"]


_numbers = st.integers(0, 2**48)
_texts = st.text(max_size=8)
_metadata = st.dictionaries(_texts, _texts, max_size=3)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    int: _numbers,
    int | None: st.none() | _numbers,
    str: _texts,
    str | None: st.none() | _texts,
    bool: st.booleans(),
    bytes | None: st.none() | st.binary(min_size=16, max_size=16),
    dict[str, str]: _metadata,
    dict[str, str] | None: st.none() | _metadata,
    list[str]: st.lists(_texts, max_size=4),
    list[int]: st.lists(_numbers, max_size=4),
}


def any_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{field.name: BY_TYPE[field.type] for field in msgspec.structs.fields(kind)})


BY_TYPE[list[EntryRecord] | None] = st.none() | st.lists(any_of(EntryRecord), max_size=3)


@given(st.one_of([any_of(kind) for kind in get_args(AnyRecord)]))
def test_every_record_reads_back_as_it_was_written_so_no_two_share_their_bytes(record: AnyRecord) -> None:
    assert read_record(canonical_bytes(record)) == record


@pytest.mark.parametrize("payload", [b"", b"\xc0", b"\x80", b"\x91\x09", canonical_bytes(LEDGER)[:-1], b"\xc1"])
def test_what_is_no_record_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_record(payload)


def test_times_are_microseconds_since_1970_in_utc_wherever_they_were_told() -> None:
    assert microseconds(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert microseconds(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1
    manila = timezone(timedelta(hours=8))
    assert microseconds(datetime(2026, 3, 2, 17, 30, 0, 1, tzinfo=manila)) == RECORDED_AT


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_comes_back_to_the_microsecond(time: datetime) -> None:
    assert moment(microseconds(time)) == time
    assert moment(microseconds(time)).tzinfo is UTC

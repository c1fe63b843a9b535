"""The canonical bytes of the log: pinned, for whoever holds a hash holds it against these bytes for ever."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.proof.kinds import KINDS, NUMBERS, kind_of
from doppia.proof.records import (
    AccountCategories,
    AccountWritten,
    CategoryParents,
    CategoryWritten,
    EntryAnnotated,
    EntryRecord,
    LedgerWritten,
    MonitorWritten,
    Record,
    Redacted,
    SettledEntries,
    SettlementWritten,
    StatementWritten,
    TransactionWritten,
    microseconds,
    moment,
)
from doppia.proof.sealing import (
    FORMS,
    MalformedRecord,
    check_canonical,
    commitment_to,
    opened,
    payload_of,
    seal,
    sealed,
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
    entries=[EntryRecord(2, 1, str(10**36), 1), EntryRecord(4, 0, str(10**36), 5)],
    effective_times={2: RECORDED_AT - 5},
    entry_metadata={2: {"line": "2"}},
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
REDACTION = Redacted(
    sequence=12, recorded_at=RECORDED_AT, actor=ACTOR, event=1, erased=[3 << 10, 3 << 10 | 2], reason="asked for"
)
RECORDS: list[Record] = [
    LEDGER, ACCOUNT, TRANSACTION, ANNOTATION, CATEGORY, MEMBERSHIP, PARENTS, MONITOR, STATEMENT, SETTLEMENT, SETTLED,
    REDACTION,
]  # fmt: skip
SALT = bytes(range(32, 48))


def salt() -> bytes:
    return SALT


def as_written(record: Record) -> Any:
    """Return a record as it is read again once it is in the log."""
    return opened(*seal(record, salt))


# Record, payload, and blocks of texts with the salt above.
PINNED: list[tuple[Record, str, str | None]] = [
    (
        LEDGER,
        (
            "980101cf00064c073b155601c410000102030405060708090a0b0c0d0e0f0307c2c420747d0ac32dc4497a12a26c0343"
            "42fb6f3b7315cf70acd9aa972131ee61d89053"
        ),
        "8100c423202122232425262728292a2b2c2d2e2f93a757616c6c657473c082a161a131a162a132",
    ),
    (
        ACCOUNT,
        (
            "9b0202cf00064c073b155601c410000102030405060708090a0b0c0d0e0f0302a350485002a6637265646974c2c4207e"
            "354c7b5fc9f8a72a8167502ff0f9e82ef71cdc6966758f437bcdc5c6934ed3"
        ),
        "8100c423202122232425262728292a2b2c2d2e2f94a54d61726961a677616c6c657480a36d2d31",
    ),
    (
        TRANSACTION,
        (
            "9d0303cf00064c073b155601c00303000192940201d92531303030303030303030303030303030303030303030303030"
            "30303030303030303030303001940400d925313030303030303030303030303030303030303030303030303030303030"
            "3030303030303005c420d9f055a460bafa45ecfead09d373e9d18de737778957344d74cdf8017dfe2533cf00064c073b"
            "1556008102c4202450bdb16a016a38486561140e7767400031189b6fb7813b9163089dffc117f38102cf00064c073b15"
            "55fc"
        ),
        (
            "8200c41b202122232425262728292a2b2c2d2e2f92c081a56f72646572a13902c419202122232425262728292a2b2c2d"
            "2e2f9181a46c696e65a132"
        ),
    ),
    (
        ANNOTATION,
        (
            "980404cf00064c073b155601c410000102030405060708090a0b0c0d0e0f030302c420a96fec656639972894427f6458"
            "e1ce2d948e431cf74485291f98735acc4f7153"
        ),
        "8100c41b202122232425262728292a2b2c2d2e2f9181a46e6f7465a3e282b1",
    ),
    (
        CATEGORY,
        (
            "9b0505cf00064c073b155601c410000102030405060708090a0b0c0d0e0f0305a350485002a6637265646974c2c4204a"
            "8dcfccc533e7531e5d1b50f51934145eb940b54808445e57a94847d912053a"
        ),
        "8100c423202122232425262728292a2b2c2d2e2f94a757616c6c657473c080a777616c6c657473",
    ),
    (
        MEMBERSHIP,
        "980606cf00064c073b155601c410000102030405060708090a0b0c0d0e0f0302910505",
        None,
    ),
    (
        PARENTS,
        "970707cf00064c073b155601c410000102030405060708090a0b0c0d0e0f03089105",
        None,
    ),
    (
        MONITOR,
        (
            "9d0808cf00064c073b155601c0030802b8617661696c61626c655f62616c616e63655f616d6f756e74a96c6573735f74"
            "68616ea22d31c303c2"
        ),
        None,
    ),
    (
        STATEMENT,
        (
            "9b0909cf00064c073b155601c410000102030405060708090a0b0c0d0e0f030203cf00064c073b1555f8cf00064c073b"
            "15560194a130a130a130a13094a131a132a133a134"
        ),
        None,
    ),
    (
        SETTLEMENT,
        (
            "dc00120a0acf00064c073b155601c410000102030405060708090a0b0c0d0e0f030a0203aa70726f63657373696e67c2"
            "c203cf00064c073b155601a13701c0c0a6706f73746564"
        ),
        None,
    ),
    (
        SETTLED,
        "980b0bcf00064c073b155601c0030a91cd0c0190",
        None,
    ),
    (
        REDACTION,
        (
            "970c0ccf00064c073b155601c410000102030405060708090a0b0c0d0e0f0192cd0c00cd0c02c420c4a9e6562fc587e5"
            "6cceb0b662009f5eced0d0ec52b5f20e664b5a3ed7d0e82f"
        ),
        "8100c41b202122232425262728292a2b2c2d2e2f91a961736b656420666f72",
    ),
]


@pytest.mark.parametrize(("record", "payload", "texts"), PINNED, ids=[type(record).__name__ for record in RECORDS])
def test_the_bytes_of_a_record_never_change(record: Record, payload: str, texts: str | None) -> None:
    blocks = None if texts is None else bytes.fromhex(texts)
    assert seal(record, salt) == (bytes.fromhex(payload), blocks)
    read = opened(bytes.fromhex(payload), blocks)
    assert sealed(read) == (bytes.fromhex(payload), blocks)
    assert without_commitments(read) == record
    check_canonical(read, bytes.fromhex(payload), blocks)


def without_commitments(record: Any) -> Any:
    """Return a record as it was before it was sealed."""
    names = {"texts", "entry_texts", "salts"} & {*record.__struct_fields__}
    return msgspec.structs.replace(record, **dict.fromkeys(names))


def test_every_kind_is_pinned_and_its_bytes_begin_with_its_number() -> None:
    assert [type(record) for record in RECORDS] == [kind.type for kind in KINDS]
    assert [record for record, _, _ in PINNED] == RECORDS
    for record, payload, _ in PINNED:
        number = msgspec.msgpack.decode(bytes.fromhex(payload))[0]
        assert number == kind_of(record).number == NUMBERS[kind_of(record).name]


def test_any_messagepack_library_reads_the_figures_in_order() -> None:
    payload, texts = seal(LEDGER, salt)
    assert texts is not None
    assert msgspec.msgpack.decode(payload) == [1, 1, RECORDED_AT, ACTOR, 3, 7, False, commitment_to(texts[4:])]
    payload, texts = seal(TRANSACTION, salt)
    assert texts is not None
    blocks = msgspec.msgpack.decode(texts, type=dict[int, bytes])
    assert msgspec.msgpack.decode(payload, strict=False, type=list[Any])[8:] == [
        [[2, 1, str(10**36), 1], [4, 0, str(10**36), 5]],
        commitment_to(blocks[0]),
        RECORDED_AT - 1,
        {2: commitment_to(blocks[2])},
        {2: RECORDED_AT - 5},
    ]


def test_a_block_is_its_salt_and_the_texts_in_order() -> None:
    _, texts = seal(ACCOUNT, salt)
    assert texts is not None
    block = msgspec.msgpack.decode(texts, type=dict[int, bytes])[0]
    assert block[:16] == SALT
    assert msgspec.msgpack.decode(block[16:]) == ["Maria", "wallet", {}, "m-1"]


def test_each_block_has_a_salt_of_its_own_so_that_equal_texts_do_not_show() -> None:
    salts = iter([b"a" * 16, b"b" * 16, b"c" * 16])
    told = msgspec.structs.replace(TRANSACTION, entry_metadata={1: {"line": "2"}, 2: {"line": "2"}})
    read = opened(*seal(told, lambda: next(salts)))
    assert read.salts == {0: b"a" * 16, 1: b"b" * 16, 2: b"c" * 16}
    assert read.entry_texts[1] != read.entry_texts[2]


def test_what_is_nil_at_the_end_is_not_written_and_what_is_in_between_is() -> None:
    plain = msgspec.structs.replace(
        TRANSACTION, metadata={}, effective_at=None, effective_times=None, entry_metadata=None
    )
    payload, texts = seal(plain, salt)
    assert (len(msgspec.msgpack.decode(payload)), texts) == (9, None)
    payload, _ = seal(msgspec.structs.replace(plain, archived_reason="expired"), salt)
    assert msgspec.msgpack.decode(payload)[9:] == [None] * 8 + ["expired"]
    payload, _ = seal(msgspec.structs.replace(plain, entries=None), salt)
    assert len(msgspec.msgpack.decode(payload)) == 8


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5)), st.data())
def test_the_order_in_which_metadata_came_does_not_matter(metadata: dict[str, str], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(metadata.items()))))
    one, other = (msgspec.structs.replace(LEDGER, metadata=told) for told in (metadata, shuffled))
    assert seal(one, salt) == seal(other, salt)


def test_metadata_keys_stand_in_the_order_of_their_bytes() -> None:
    keys = ["\U0001f600", "\uffff", "b", "aa", "é", "", "a"]
    _, texts = seal(msgspec.structs.replace(LEDGER, metadata=dict.fromkeys(keys, "")), salt)
    assert texts is not None
    block = msgspec.msgpack.decode(texts, type=dict[int, bytes])[0]
    written = list(msgspec.msgpack.decode(block[16:])[2])
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
    list[str]: st.lists(_texts, max_size=4),
    list[int]: st.lists(_numbers, max_size=4),
}


def in_order(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return maps from ordinals, in their order, that are not empty."""
    found = st.dictionaries(st.integers(1, 1000), values, min_size=1, max_size=3)
    return st.none() | found.map(lambda map_: dict(sorted(map_.items())))


BY_TYPE[dict[int, int] | None] = in_order(_numbers)
BY_TYPE[dict[int, dict[str, str]] | None] = in_order(st.dictionaries(_texts, _texts, min_size=1, max_size=3))


def any_of(kind: type[Any], strategies: dict[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Return records of a kind that are not sealed yet."""
    fields = {
        field.name: strategies[field.type]
        for field in msgspec.structs.fields(kind)
        if field.name not in ("texts", "entry_texts", "salts")
    }
    return st.builds(kind, **fields)


BY_TYPE[list[EntryRecord] | None] = st.none() | st.lists(any_of(EntryRecord, BY_TYPE), max_size=3)
ANY_RECORD = st.one_of([any_of(kind.type, BY_TYPE) for kind in KINDS])


@given(ANY_RECORD)
def test_every_record_reads_back_as_it_was_written_so_no_two_share_their_bytes(record: Record) -> None:
    payload, texts = seal(record, salt)
    read = opened(payload, texts)
    assert without_commitments(read) == record
    check_canonical(read, payload, texts)
    assert sealed(read) == (payload, texts)


@given(ANY_RECORD)
def test_a_record_whose_blocks_are_gone_keeps_its_payload_and_reads_as_erased(record: Record) -> None:
    payload, texts = seal(record, salt)
    read = opened(payload, None)
    check_canonical(read, payload, None)
    assert sealed(read) == (payload, None)
    assert opened(*sealed(read)) == read
    form = FORMS[type(record)]
    for name, text in zip(form.kind.texts, form.texts_of(read), strict=True):
        if texts is None or read.texts is None:
            assert text == getattr(record, name)
        elif name == "metadata":
            assert text == {"redacted": "[redacted]"}
        else:
            assert text == (None if name == "external_id" else "[redacted]")


def test_of_several_blocks_each_can_be_gone_by_itself() -> None:
    payload, texts = seal(TRANSACTION, salt)
    assert texts is not None
    blocks = msgspec.msgpack.decode(texts, type=dict[int, bytes])
    own = opened(payload, msgspec.msgpack.encode({0: blocks[0]}))
    assert (own.metadata, own.entry_metadata) == ({"order": "9"}, {2: {"redacted": "[redacted]"}})
    entry = opened(payload, msgspec.msgpack.encode({2: blocks[2]}))
    assert (entry.metadata, entry.description) == ({"redacted": "[redacted]"}, "[redacted]")
    assert entry.entry_metadata == {2: {"line": "2"}}
    for read in (own, entry):
        check_canonical(read, *sealed(read))


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc0", b"\x80", b"\x90", b"\x91\x0f", seal(LEDGER, salt)[0][:-1], b"\xc1", b"\x91" * 100_000, b"\x91\xc3"],
    ids=range(9),
)
def test_what_is_no_record_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedRecord, match="its payload is no record"):
        opened(payload, None)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_longer_array_than_a_kind_has_fields_is_refused_with_a_sentence(record: Record) -> None:
    whole = msgspec.msgpack.decode(seal(record, salt)[0], type=list[Any])
    elements = len(FORMS[type(record)].figures) + 1
    appended: list[Any] = [None, "name", {}, 7]
    for more in appended:
        longer = msgspec.msgpack.encode([*whole, *[None] * (elements - len(whole)), more])
        with pytest.raises(
            MalformedRecord, match=f"has {elements + 1} elements, and this program knows {elements} of kind {whole[0]}$"
        ):
            opened(longer, None)


def _with_block(ordinal: int, block: bytes) -> bytes:
    return msgspec.msgpack.encode({ordinal: block})


NOT_CANONICAL: dict[str, tuple[bytes, bytes | None, str]] = {
    "a nil at the end": (
        msgspec.msgpack.encode([*msgspec.msgpack.decode(seal(PARENTS, salt)[0])[:1], 7, 0, None, 2, 8, [], None]),
        None, "has 8 elements",
    ),
    "a nil commitment": (
        msgspec.msgpack.encode([8, 8, 0, None, 3, 8, 2, "f", "o", "1", True, 3, False, None]), None,
        "its payload is not in canonical bytes",
    ),
    "a long form of a number": (
        seal(MEMBERSHIP, salt)[0].replace(b"\x98\x06\x06", b"\x98\x06\xcc\x06"), None, "not in canonical bytes",
    ),
    "a long header": (b"\xdc\x00\x08" + seal(MEMBERSHIP, salt)[0][1:], None, "not in canonical bytes"),
    "no map of blocks": (seal(LEDGER, salt)[0], b"\xc0", "its texts can't be read"),
    "an empty map of blocks": (seal(LEDGER, salt)[0], b"\x80", "its texts are not in canonical bytes"),
    "blocks of a record that has none": (seal(PARENTS, salt)[0], _with_block(0, SALT), "does not commit to it"),
    "a block of an entry without one": (
        seal(TRANSACTION, salt)[0], _with_block(1, SALT), "a block of texts with the ordinal 1, and does not commit",
    ),
    "no salt": (seal(LEDGER, salt)[0], _with_block(0, SALT[1:]), "its texts can't be read"),
    "a text that is none": (
        seal(LEDGER, salt)[0], _with_block(0, SALT + b"\x91\x07"), "its texts can't be read: Expected `str",
    ),
    "a text that is no UTF-8": (
        seal(LEDGER, salt)[0], _with_block(0, SALT + b"\x91\xa1\xff"), "its texts can't be read",
    ),
    "another salt": (
        seal(LEDGER, salt)[0], seal(LEDGER, lambda: bytes(16))[1], "its texts are not what it commits to",
    ),
    "another text": (
        seal(ANNOTATION, salt)[0], seal(msgspec.structs.replace(ANNOTATION, metadata={"note": "p"}), salt)[1],
        "its texts are not what it commits to",
    ),
    "another metadata of an entry": (
        seal(TRANSACTION, salt)[0],
        seal(msgspec.structs.replace(TRANSACTION, entry_metadata={2: {"line": "3"}}), salt)[1],
        "the metadata of its entry 2 is not what it commits to",
    ),
    "keys out of order": (
        seal(LEDGER, salt)[0],
        _with_block(0, SALT + msgspec.msgpack.encode(["Wallets", None, {"b": "2", "a": "1"}])),
        "its texts are not in canonical bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_CANONICAL)
def test_bytes_that_a_record_can_not_have_are_refused(case: str) -> None:
    payload, texts, says = NOT_CANONICAL[case]
    with pytest.raises(MalformedRecord, match=says):
        check_canonical(opened(payload, texts), payload, texts)


def test_blocks_out_of_order_are_not_canonical() -> None:
    payload, texts = seal(TRANSACTION, salt)
    assert texts is not None
    blocks = msgspec.msgpack.decode(texts, type=dict[int, bytes])
    turned = msgspec.msgpack.encode(dict(sorted(blocks.items(), reverse=True)))
    with pytest.raises(MalformedRecord, match="its texts are not in canonical bytes"):
        check_canonical(opened(payload, turned), payload, turned)


def test_a_block_that_says_nothing_is_not_canonical() -> None:
    """A commitment to it would be one to no text at all."""
    block = SALT + b"\x90"
    payload = payload_of(msgspec.structs.replace(ANNOTATION, metadata={}, texts=commitment_to(block)))
    read = opened(payload, _with_block(0, block))
    with pytest.raises(MalformedRecord, match="it commits to texts, and its block has none"):
        check_canonical(read, payload, _with_block(0, block))


def test_times_are_microseconds_since_1970_in_utc_wherever_they_were_told() -> None:
    assert microseconds(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert microseconds(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1
    manila = timezone(timedelta(hours=8))
    assert microseconds(datetime(2026, 3, 2, 17, 30, 0, 1, tzinfo=manila)) == RECORDED_AT


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_comes_back_to_the_microsecond(time: datetime) -> None:
    assert moment(microseconds(time)) == time
    assert moment(microseconds(time)).tzinfo is UTC

"""A stranger's view of a ledger: records whose hashes lead to the root of a signed checkpoint, checked without us."""

import asyncio
import json
from base64 import b64decode
from typing import Any

import msgspec
import pytest

from doppia.proof.checkpoints import Checkpoint, open_note
from doppia.proof.tree import leaf_hash, root_of, verify_consistency, verify_inclusion
from tests.api.over_http import Books, Json, Refusal, refusal
from tests.servers import CHECKPOINT_KEYS

pytestmark = pytest.mark.anyio

VERIFIERS = [key.verifier for key in CHECKPOINT_KEYS]


async def ledger_of(books: Books, transactions: int) -> tuple[str, Json]:
    """Return the id of a ledger with two accounts and so many transactions, and one of the accounts."""
    cash, wallet = await books.cash_and_wallet()
    for _ in range(transactions):
        await books.transfer(cash, wallet)
    return cash["ledger_id"], wallet


async def checkpoint_of(books: Books, ledger: str) -> Checkpoint:
    answer = await books.get(f"/ledgers/{ledger}/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return open_note(answer.text, VERIFIERS)


async def records_of(books: Books, ledger: str, query: str = "") -> list[Json]:
    told = await books.read(f"/ledgers/{ledger}/log{query}")
    assert (told["object"], told["ledger_id"]) == ("ledger_log", ledger)
    records: list[Json] = told["records"]
    return records


async def payloads_of(books: Books, ledger: str) -> list[bytes]:
    return [b64decode(record["payload"]) for record in await records_of(books, ledger, "?limit=1000")]


async def test_the_records_of_a_log_lead_to_the_root_that_is_signed(books: Books) -> None:
    ledger, _ = await ledger_of(books, 5)

    checkpoint = await checkpoint_of(books, ledger)

    payloads = await payloads_of(books, ledger)
    assert checkpoint == Checkpoint(f"doppia/{ledger}", 8, root_of(leaf_hash(payload) for payload in payloads))


async def test_a_record_is_told_in_bytes_and_in_words(books: Books) -> None:
    ledger, wallet = await ledger_of(books, 0)
    await books.patch(f"/ledger_accounts/{wallet['id']}", {"metadata": {"₱": "e\u0301 🌍"}})

    record = (await records_of(books, ledger))[-1]

    payload = b64decode(record["payload"])
    assert record["sequence"] == 4
    assert b64decode(record["leaf_hash"]) == leaf_hash(payload)
    assert record["record"]["kind"] == "account"
    assert record["record"]["texts"]["metadata"] == {"₱": "e\u0301 🌍"}
    assert msgspec.msgpack.decode(payload)[1:3] == [4, record["record"]["recorded_at"]]


async def test_a_log_is_read_from_a_sequence_on_as_far_as_asked(books: Books) -> None:
    ledger, _ = await ledger_of(books, 5)

    async def sequences(query: str) -> list[int]:
        return [record["sequence"] for record in await records_of(books, ledger, query)]

    assert await sequences("") == [1, 2, 3, 4, 5, 6, 7, 8]
    assert await sequences("?from_sequence=0&limit=2") == [1, 2]
    assert await sequences("?from_sequence=7") == [7, 8]
    assert await sequences("?from_sequence=3&limit=3") == [3, 4, 5]
    assert await sequences("?from_sequence=9") == []
    assert await sequences("?from_sequence=9223372036854775807") == []
    assert (await books.read(f"/ledgers/{ledger}/log?limit=1"))["size"] == 8


async def test_each_record_is_proved_to_be_in_the_log_at_each_size_since(books: Books) -> None:
    ledger, _ = await ledger_of(books, 4)
    leaves = [leaf_hash(payload) for payload in await payloads_of(books, ledger)]
    for size in range(1, 8):
        for sequence in range(1, size + 1):
            told = await books.read(f"/ledgers/{ledger}/proofs/inclusion?sequence={sequence}&size={size}")
            hashes = [b64decode(text) for text in told["hashes"]]
            root = b64decode(told["root"])
            assert (told["sequence"], told["size"], root) == (sequence, size, root_of(leaves[:size]))
            assert b64decode(told["leaf_hash"]) == leaves[sequence - 1]
            assert verify_inclusion(leaves[sequence - 1], sequence - 1, size, hashes, root)


async def test_what_was_once_signed_is_proved_to_be_the_beginning_of_what_is_signed_now(books: Books) -> None:
    ledger, wallet = await ledger_of(books, 3)
    before = await checkpoint_of(books, ledger)
    for name in ("first", "second", "third"):
        await books.patch(f"/ledger_accounts/{wallet['id']}", {"name": name})
    after = await checkpoint_of(books, ledger)

    told = await books.read(f"/ledgers/{ledger}/proofs/consistency?from_size={before.size}")

    assert (told["from_size"], told["to_size"]) == (before.size, after.size) == (6, 9)
    assert (b64decode(told["from_root"]), b64decode(told["to_root"])) == (before.root, after.root)
    hashes = [b64decode(text) for text in told["hashes"]]
    assert verify_consistency(before.size, after.size, hashes, before.root, after.root)
    same = await books.read(f"/ledgers/{ledger}/proofs/consistency?from_size=9&to_size=9")
    assert same["hashes"] == []


async def test_the_record_of_an_object_an_entry_a_version_and_an_event_is_found_by_its_id(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = cash["ledger_id"]
    held = await books.transfer(cash, wallet, status="pending")
    await books.patch(f"/ledger_transactions/{held['id']}", {"status": "posted"})
    versions = await books.read(f"/ledger_transactions/{held['id']}/versions")
    event = (await books.read("/events"))[0]
    expected = {
        ledger: 1,
        wallet["id"]: 3,
        held["id"]: 4,
        held["ledger_entries"][1]["id"]: 4,
        versions[0]["id"]: 5,
        versions[1]["id"]: 4,
        event["id"]: 5,
    }
    for id_, sequence in expected.items():
        told = await books.read(f"/ledgers/{ledger}/proofs/inclusion?id={id_}")
        assert told["sequence"] == sequence, id_


async def test_checkpoints_read_while_others_post_are_of_whole_groups_and_each_begins_the_next(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    ledger = cash["ledger_id"]

    async def read() -> list[Checkpoint]:
        return [await checkpoint_of(books, ledger) for _ in range(20)]

    async def post() -> None:
        await asyncio.gather(*(books.transfer(cash, wallet) for _ in range(60)))

    told, _ = await asyncio.gather(read(), post())

    leaves = [leaf_hash(payload) for payload in await payloads_of(books, ledger)]
    assert len(leaves) == 63
    assert [each.root for each in told] == [root_of(leaves[: each.size]) for each in told]
    assert [each.size for each in told] == sorted(each.size for each in told)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("log?limit=0", Refusal(422, "parameter_invalid", "limit")),
        ("log?limit=1001", Refusal(422, "parameter_invalid", "limit")),
        ("log?from_sequence=x", Refusal(422, "parameter_invalid", "from_sequence")),
        ("log?after_cursor=x", Refusal(422, "parameter_unknown", "after_cursor")),
        ("checkpoint?size=3", Refusal(422, "parameter_unknown", "size")),
        ("proofs/inclusion", Refusal(422, "parameter_missing", "sequence")),
        ("proofs/inclusion?sequence=0", Refusal(422, "parameter_invalid", "sequence")),
        ("proofs/inclusion?sequence=4", Refusal(422, "parameter_invalid", "sequence")),
        ("proofs/inclusion?sequence=3&size=2", Refusal(422, "parameter_invalid", "sequence")),
        ("proofs/inclusion?sequence=1&size=4", Refusal(422, "parameter_invalid", "size")),
        ("proofs/inclusion?sequence=1&size=0", Refusal(422, "parameter_invalid", "size")),
        ("proofs/inclusion?sequence=1&id={wallet}", Refusal(422, "parameter_invalid", "id")),
        ("proofs/inclusion?id=x", Refusal(404, "object_not_found", "id")),
        ("proofs/inclusion?id={other}", Refusal(404, "object_not_found", "id")),
        ("proofs/inclusion?id={never}", Refusal(404, "object_not_found", "id")),
        ("proofs/consistency", Refusal(422, "parameter_missing", "from_size")),
        ("proofs/consistency?from_size=0", Refusal(422, "parameter_invalid", "from_size")),
        ("proofs/consistency?from_size=3&to_size=2", Refusal(422, "parameter_invalid", "from_size")),
        ("proofs/consistency?from_size=1&to_size=4", Refusal(422, "parameter_invalid", "to_size")),
    ],
)
async def test_what_cannot_be_proved_is_refused(books: Books, path: str, expected: Refusal) -> None:
    ledger, wallet = await ledger_of(books, 0)
    other, _ = await ledger_of(books, 0)
    never = f"{int(wallet['id'][:8], 16) - 1:08x}{wallet['id'][8:]}"

    answer = await books.get(f"/ledgers/{ledger}/{path.format(wallet=wallet['id'], other=other, never=never)}")

    assert refusal(answer) == expected


@pytest.mark.parametrize("path", ["log", "checkpoint", "proofs/inclusion?sequence=1", "proofs/consistency?from_size=1"])
async def test_nobody_sees_the_history_of_another_organization(books: Books, others: Books, path: str) -> None:
    ledger, _ = await ledger_of(books, 0)

    assert refusal(await others.get(f"/ledgers/{ledger}/{path}")) == Refusal(404, "object_not_found", None)


async def test_the_words_of_a_record_are_those_of_an_export(books: Books) -> None:
    ledger, _ = await ledger_of(books, 1)
    told: list[dict[str, Any]] = [each["record"] for each in await records_of(books, ledger)]
    assert [each["kind"] for each in told] == ["ledger", "account", "account", "transaction"]
    assert json.dumps(told[3]["entries"]).count('"amount": "100"') == 2

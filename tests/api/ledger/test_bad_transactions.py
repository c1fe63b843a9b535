"""Transactions that are refused: each with its status, its code, the place of the trouble, and nothing changed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.over_http import Books, Json, Refusal, entry, pair, refusal

pytestmark = pytest.mark.anyio

Make = Callable[[Json, Json], Json]
LARGEST = 10**36


def of(*legs: Json, **fields: Any) -> Json:
    return {"ledger_entries": list(legs), **fields}


def with_amount(amount: Any) -> Make:
    return lambda cash, wallet: of(entry(cash, "debit", amount), entry(wallet, "credit", 1))


def with_leg(**fields: Any) -> Make:
    return lambda cash, wallet: of(entry(cash, "debit", 1, **fields), entry(wallet, "credit", 1))


def with_field(**fields: Any) -> Make:
    return lambda cash, wallet: of(*pair(cash, wallet, 1), **fields)


def with_text(text: Any) -> Make:
    return lambda cash, wallet: of(
        {"ledger_account_id": cash["id"], "direction": "debit", "amount_string": text}, entry(wallet, "credit", 1)
    )


INVALID, UNKNOWN, MISSING = "parameter_invalid", "parameter_unknown", "parameter_missing"
AMOUNT, TEXT, ENTRIES = "ledger_entries[0].amount", "ledger_entries[0].amount_string", "ledger_entries"
LEG = "ledger_entries[0]"

REFUSED: list[tuple[str, Make, Refusal]] = [
    ("unbalanced", lambda c, w: of(entry(c, "debit", 2), entry(w, "credit", 1)), Refusal(422, "unbalanced", ENTRIES)),
    ("unbalanced by one in 10^36",
     lambda c, w: of(entry(c, "debit", LARGEST), entry(w, "credit", LARGEST - 1)), Refusal(422, "unbalanced", ENTRIES)),
    ("only debits", lambda c, w: of(entry(c, "debit", 0), entry(w, "debit", 0)), Refusal(422, "one_sided", ENTRIES)),
    ("only a credit", lambda _, w: of(entry(w, "credit", 1)), Refusal(422, "one_sided", ENTRIES)),
    ("no entries", lambda *_: of(), Refusal(422, "too_few_entries", ENTRIES)),
    ("1001 entries", lambda c, w: of(*pair(c, w, 1) * 500, entry(c, "debit", 0)),
     Refusal(422, "too_many_entries", ENTRIES)),
    ("entries missing", lambda *_: {"status": "posted"}, Refusal(422, MISSING, ENTRIES)),
    ("entries null", lambda *_: {"ledger_entries": None}, Refusal(422, INVALID, ENTRIES)),
    ("entries an object", lambda *_: {"ledger_entries": {}}, Refusal(422, INVALID, ENTRIES)),
    ("entry null", lambda *_: {"ledger_entries": [None]}, Refusal(422, INVALID, LEG)),
    ("negative", with_amount(-1), Refusal(422, "amount_out_of_range", AMOUNT)),
    ("10^36 + 1", with_amount(LARGEST + 1), Refusal(422, "amount_out_of_range", AMOUNT)),
    ("5000 digits", with_amount(10**4290), Refusal(422, "amount_out_of_range", AMOUNT)),
    ("a string", with_amount("100"), Refusal(422, INVALID, f"{LEG}.amount")),
    ("true", with_amount(True), Refusal(422, INVALID, f"{LEG}.amount")),
    ("an array", with_amount([1]), Refusal(422, INVALID, f"{LEG}.amount")),
    ("null", with_amount(None), Refusal(422, MISSING, AMOUNT)),
    ("text negative", with_text("-1"), Refusal(422, INVALID, TEXT)),
    ("text fractional", with_text("1.0"), Refusal(422, INVALID, TEXT)),
    ("text exponent", with_text("1e2"), Refusal(422, INVALID, TEXT)),
    ("text empty", with_text(""), Refusal(422, INVALID, TEXT)),
    ("text grouped", with_text("1,000"), Refusal(422, INVALID, TEXT)),
    ("text underscored", with_text("1_000"), Refusal(422, INVALID, TEXT)),
    ("text with zeros before", with_text("01"), Refusal(422, INVALID, TEXT)),
    ("text in other digits", with_text("\u0661"), Refusal(422, INVALID, TEXT)),
    ("text with a newline", with_text("1\n"), Refusal(422, INVALID, TEXT)),
    ("text of 5000 digits", with_text("9" * 5000), Refusal(422, INVALID, TEXT)),
    ("text over 10^36", with_text(str(LARGEST + 1)), Refusal(422, "amount_out_of_range", AMOUNT)),
    ("text a number", with_text(5), Refusal(422, INVALID, f"{LEG}.amount_string")),
    ("text unlike the number", with_leg(amount_string="2"), Refusal(422, INVALID, TEXT)),
    ("direction", lambda c, _: of(entry(c, "up", 1)), Refusal(422, INVALID, f"{LEG}.direction")),
    ("direction missing", lambda c, _: of({"ledger_account_id": c["id"], "amount": 1}),
     Refusal(422, MISSING, f"{LEG}.direction")),
    ("account missing", lambda *_: of({"direction": "debit", "amount": 1}),
     Refusal(422, MISSING, f"{LEG}.ledger_account_id")),
    ("account no UUID", with_leg(ledger_account_id="x"), Refusal(404, "object_not_found", f"{LEG}.ledger_account_id")),
    ("account a number", with_leg(ledger_account_id=1), Refusal(422, INVALID, f"{LEG}.ledger_account_id")),
    ("account unknown", with_leg(ledger_account_id="65a1b2c3-0000-8000-8400-000000000800"),
     Refusal(404, "object_not_found", f"{LEG}.ledger_account_id")),
    ("account a ledger", lambda c, w: of(entry({"id": c["ledger_id"]}, "debit", 1), entry(w, "credit", 1)),
     Refusal(404, "object_not_found", f"{LEG}.ledger_account_id")),
    ("account of another second", lambda c, w: of(entry({"id": f"00000001{c['id'][8:]}"}, "debit"), entry(w, "credit")),
     Refusal(404, "object_not_found", f"{LEG}.ledger_account_id")),
    ("misspelt field", with_field(desciption="x"), Refusal(422, UNKNOWN, "desciption")),
    ("field of another route", with_field(ledger_id="x"), Refusal(422, UNKNOWN, "ledger_id")),
    ("misspelt field of an entry", with_leg(lock_verison=1), Refusal(422, UNKNOWN, f"{LEG}.lock_verison")),
    ("misspelt comparison", with_leg(posted_balance_amount={"ge": 1}),
     Refusal(422, UNKNOWN, f"{LEG}.posted_balance_amount.ge")),
    ("lock a number", with_leg(posted_balance_amount=5), Refusal(422, INVALID, f"{LEG}.posted_balance_amount")),
    ("bound a string", with_leg(posted_balance_amount={"gte": "0"}),
     Refusal(422, INVALID, f"{LEG}.posted_balance_amount.gte")),
    ("bound beyond 10^45", with_leg(posted_balance_amount={"gte": -(10**45) - 1}),
     Refusal(422, INVALID, f"{LEG}.posted_balance_amount.gte")),
    ("lock_version negative", with_leg(lock_version=-1), Refusal(422, INVALID, f"{LEG}.lock_version")),
    ("lock_version of 2^63", with_leg(lock_version=2**63), Refusal(422, INVALID, f"{LEG}.lock_version")),
    ("lock_version a string", with_leg(lock_version="0"), Refusal(422, INVALID, f"{LEG}.lock_version")),
    ("show a number", with_leg(show_resulting_ledger_account_balances=1),
     Refusal(422, INVALID, f"{LEG}.show_resulting_ledger_account_balances")),
    ("status", with_field(status="done"), Refusal(422, INVALID, "status")),
    ("description of 1001", with_field(description="x" * 1001), Refusal(422, INVALID, "description")),
    ("description a number", with_field(description=5), Refusal(422, INVALID, "description")),
    ("external_id empty", with_field(external_id=""), Refusal(422, INVALID, "external_id")),
    ("external_id of 181", with_field(external_id="x" * 181), Refusal(422, INVALID, "external_id")),
    ("ledgerable_type of 101", with_field(ledgerable_type="x" * 101), Refusal(422, INVALID, "ledgerable_type")),
    ("metadata an array", with_field(metadata=[]), Refusal(422, INVALID, "metadata")),
    ("metadata of numbers", with_field(metadata={"a": 1}), Refusal(422, INVALID, "metadata[...]")),
    ("metadata of objects", with_field(metadata={"a": {"b": "c"}}), Refusal(422, INVALID, "metadata[...]")),
    ("metadata of 101 pairs", with_field(metadata={str(n): "v" for n in range(101)}),
     Refusal(422, "metadata_too_large", "metadata")),
    ("metadata key of 101", with_field(metadata={"k" * 101: "v"}), Refusal(422, "metadata_too_large", "metadata")),
    ("metadata key empty", with_field(metadata={"": "v"}), Refusal(422, "metadata_too_large", "metadata")),
    ("metadata value of 1001", with_field(metadata={"k": "v" * 1001}),
     Refusal(422, "metadata_too_large", "metadata.k")),
    ("metadata of an entry", with_leg(metadata={"k": "v" * 1001}),
     Refusal(422, "metadata_too_large", f"{LEG}.metadata.k")),
    ("two times", with_field(effective_at="2024-01-01T00:00:00Z", effective_date="2024-01-01"),
     Refusal(422, INVALID, "effective_date")),
]  # fmt: skip


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_a_transaction_that_cannot_be_is_refused_and_changes_nothing(
    books: Books, make: Make, expected: Refusal
) -> None:
    cash, wallet = await books.cash_and_wallet()
    held = await books.transfer(cash, wallet, status="pending")
    body = make(cash, wallet)
    before = await books.state()
    for status in ("pending", "posted"):
        sent = body if "status" in body else {**body, "status": status}
        answer = await books.post("/ledger_transactions", sent)
        assert refusal(answer) == expected
        assert len(answer.content) < 1000
    if expected.parameter is not None and expected.parameter.startswith("ledger_entries") and expected.code != MISSING:
        answer = await books.patch(f"/ledger_transactions/{held['id']}", body)
        assert refusal(answer) == expected
    assert await books.state() == before


@pytest.mark.parametrize(
    "number",
    ["100.0", "1.5", "1e2", "1E2", "1e400", "-0.0", "0.1e1", "1e36", "100." + 35 * "0" + "1"],
)
@pytest.mark.parametrize("where", ["amount", "lock_version", "gte"])
async def test_a_fraction_or_an_exponent_is_no_whole_number_even_where_it_equals_one(
    books: Books, where: str, number: str
) -> None:
    cash, wallet = await books.cash_and_wallet()
    before = await books.state()
    leg = entry(cash, "debit", 100, lock_version=100, posted_balance_amount={"gte": 100})
    part, _, rest = json.dumps(leg).partition(f'"{where}": 100')
    text = f'{{"ledger_entries": [{part}"{where}": {number}{rest}, {json.dumps(entry(wallet, "credit", 100))}]}}'
    headers = {"Content-Type": "application/json"}
    answer = await books.client.post("/api/ledger_transactions", content=text, headers=headers)
    told = refusal(answer)
    assert told.status in {400, 422}
    assert told.code in {"parameter_invalid", "invalid_json"}
    assert await books.state() == before


@pytest.mark.parametrize(
    "number", ["01", "+1", "1_0", "0x10", "NaN", "Infinity", "-Infinity", ".5", "5.", "--1", "-", "1e", "٣", "1 0"]
)
async def test_what_is_no_json_number_is_no_amount(books: Books, number: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    before = await books.state()
    text = json.dumps(of(*pair(cash, wallet, 12345))).replace("12345", number)
    headers = {"Content-Type": "application/json"}
    answer = await books.client.post("/api/ledger_transactions", content=text.encode(), headers=headers)
    assert refusal(answer) == Refusal(400, "invalid_json", None)
    assert await books.state() == before


async def test_an_amount_of_many_digits_is_answered_shortly(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    for digits in (40, 41, 300, 4300, 4301, 5000, 1_000_000):
        text = json.dumps(of(*pair(cash, wallet, 12345))).replace("12345", "9" * digits)
        headers = {"Content-Type": "application/json"}
        answer = await books.client.post("/api/ledger_transactions", content=text, headers=headers)
        told = refusal(answer)
        assert told.status in {400, 422}
        assert told.code in {"amount_out_of_range", "parameter_invalid", "invalid_json"}
        assert len(answer.content) < 1000


@pytest.mark.parametrize(
    "time",
    ["2024-13-01T00:00:00Z", "2024-00-10T00:00:00Z", "2024-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "now", "",
     "2024-01-01", "20240101T000000Z", "2024-01-01T25:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:61Z",
     "2024-01-01T00:00Z", "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+99:99", "2024-01-01T00:00:00+5",
     "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
     "10000-01-01T00:00:00Z", "-2024-01-01T00:00:00Z", "2024-01-01T00:00:00.Z", "1704067200", "2024-W01-1T00:00:00Z",
     "٢٠٢٤-01-01T00:00:00Z", "2024-01-01T00:00:00Z\n", "infinity", "2024-01-01T00:00:00 Europe/Berlin"],
)  # fmt: skip
async def test_a_time_that_cannot_be_is_refused_wherever_it_stands(books: Books, time: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    held = await books.transfer(cash, wallet, status="pending")
    posted = await books.transfer(cash, wallet)
    before = await books.state()
    legs = pair(cash, wallet)
    expected = Refusal(422, "parameter_invalid", "effective_at")
    assert refusal(await books.post("/ledger_transactions", of(*legs, effective_at=time))) == expected
    assert refusal(await books.patch(f"/ledger_transactions/{held['id']}", {"effective_at": time})) == expected
    reversal = await books.post(f"/ledger_transactions/{posted['id']}/reversal", {"effective_at": time})
    assert refusal(reversal) == expected
    legs[1]["effective_at"] = time
    in_entry = Refusal(422, "parameter_invalid", "ledger_entries[1].effective_at")
    assert refusal(await books.post("/ledger_transactions", of(*legs))) == in_entry
    assert await books.state() == before


@pytest.mark.parametrize("day", ["2024-02-30", "2024-13-01", "0000-01-01", "2024-1-1", "", "0001-01-01", "2024-W01-1"])
async def test_an_effective_date_that_cannot_be_is_refused(books: Books, day: str) -> None:
    cash, wallet = await books.cash_and_wallet()
    before = await books.state()
    answer = await books.post("/ledger_transactions", of(*pair(cash, wallet), effective_date=day))
    assert refusal(answer) == Refusal(422, "parameter_invalid", "effective_date")
    assert await books.state() == before


async def test_accounts_of_two_ledgers_do_not_meet_in_a_transaction(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    other, _ = await books.cash_and_wallet()
    held = await books.transfer(cash, wallet, status="pending")
    before = await books.state()
    expected = Refusal(422, "mixed_ledgers", "ledger_entries")
    for legs in (pair(cash, other), [*pair(cash, wallet), entry(other, "debit", 0)]):
        answer = await books.post("/ledger_transactions", of(*legs))
        assert refusal(answer) == expected
        told = answer.json()["errors"]["refusal"]["ledger_ids"]
        assert sorted(told) == sorted([cash["ledger_id"], other["ledger_id"]])
    path = f"/ledger_transactions/{held['id']}"
    assert refusal(await books.patch(path, of(entry(other, "debit"), entry(other, "credit")))) == expected
    assert await books.state() == before


async def test_1000_entries_are_taken(books: Books) -> None:
    cash, wallet = await books.cash_and_wallet()
    answer = await books.post("/ledger_transactions", of(*pair(cash, wallet, 1) * 500, status="posted"))
    assert answer.status_code == 201
    assert len(answer.json()["ledger_entries"]) == 1000
    assert await books.read(f"/ledger_transactions/{answer.json()['id']}") == answer.json()
    assert await books.lock_version(wallet) == 500

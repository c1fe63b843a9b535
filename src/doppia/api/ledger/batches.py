"""Batches: many new transactions of one ledger in one request, answered when all of them are durable."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from doppia.accounting.errors import LedgerError, MixedLedgers, ParameterInvalid, TooManyItems, TryAgain
from doppia.accounting.ids import Id
from doppia.accounting.ledger.transactions import Draft, Transaction
from doppia.api.http.errors import ErrorDetail, error_detail
from doppia.api.http.lists import BOOLEAN, parse_list
from doppia.api.http.request import BodyDecoder, Reply, Request
from doppia.api.ledger.drafts import TransactionCreate, read_create
from doppia.api.ledger.transactions import TransactionObject, to_object
from doppia.engine.posting.commands import CreateBatch
from doppia.engine.posting.group import refused_in_batch
from doppia.engine.posting.turns import Turns

TRANSACTIONS_MAX: Final = 10_000
NDJSON: Final = "application/x-ndjson"
PARAMETERS: Final = {"atomic": BOOLEAN}
OTHER_BODIES: Final = {NDJSON: "A transaction on each line."}


class BatchCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Transactions of one ledger, in order. Of an atomic batch all are accepted, or none."""

    example: ClassVar = {"atomic": True, "ledger_transactions": [TransactionCreate.example]}

    ledger_transactions: Annotated[
        list[TransactionCreate], Meta(extra_json_schema={"minItems": 1, "maxItems": TRANSACTIONS_MAX})
    ]
    atomic: bool = False


class _RawBatch(Struct, forbid_unknown_fields=True):
    """A batch whose transactions are read one by one, so that one that can't be read refuses itself alone."""

    ledger_transactions: list[Raw]
    atomic: bool = False


class BatchResult(Struct):
    """What became of one transaction of a batch: itself, or why it was refused."""

    status: Literal["accepted", "refused"]
    ledger_transaction: TransactionObject | None
    errors: ErrorDetail | None


class BatchObject(Struct):
    """What became of a batch, in the order of its transactions."""

    results: list[BatchResult]


_BATCH: Final = BodyDecoder(_RawBatch, checks_texts=False)
_ITEM: Final = BodyDecoder(TransactionCreate)


async def create(request: Request) -> Reply:
    """Create up to 10,000 transactions of one ledger, each accepted or refused by itself, or all of them or none."""
    query = parse_list(request.query, "batch", PARAMETERS, paged=False)
    raw, is_atomic = _read(request, atomic=query.values.get("atomic"))
    if not raw:
        raise ParameterInvalid(parameter="ledger_transactions", reason="must hold at least one transaction")
    if len(raw) > TRANSACTIONS_MAX:
        raise TooManyItems(count=len(raw), count_max=TRANSACTIONS_MAX)
    items, shows, ledger = await _items(request, raw, is_atomic=is_atomic)
    if ledger is None:
        # None of them names a ledger: nothing to post, only refusals to tell.
        refusals = [item for item in items if isinstance(item, LedgerError)]
        return Reply(200, await _render(refusals, shows, None, ""))
    command = CreateBatch(
        ledger=request.scope.ledger(ledger.ledger),
        size_bytes=len(request.body),
        keeps_result=any(shows),
        items=items,
        is_atomic=is_atomic,
    )
    results = await request.perform(command, [is_atomic, hashlib.sha256(request.body).hexdigest()])
    return Reply(200, await _render(results, shows, ledger, command.ledger.id))


def _read(request: Request, *, atomic: bool | None) -> tuple[Sequence[bytes], bool]:
    """Return the JSON of each transaction, and whether the batch is atomic."""
    if request.content_type.partition(";")[0].strip().lower() == NDJSON:
        return [line for line in request.body.splitlines() if line.strip()], bool(atomic)
    body = request.decode(_BATCH)
    if atomic is not None:
        raise ParameterInvalid(parameter="atomic", reason="stands in the body of a batch in JSON, not in its query")
    return [bytes(raw) for raw in body.ledger_transactions], body.atomic


async def _items(
    request: Request, raw: Sequence[bytes], *, is_atomic: bool
) -> tuple[list[Draft | LedgerError], list[Sequence[bool]], Id | None]:
    """Return the drafts or refusals, whose balances each shows, and an id of the ledger that the first one names.

    Raises:
        BatchRefused: the batch is atomic, and one can't be read.
        TryAgain: whose an account is can't be asked now.
    """
    items: list[Draft | LedgerError] = []
    shows: list[Sequence[bool]] = []
    ledger: Id | None = None
    turns = Turns()
    for index, text in enumerate(raw):
        await turns.give_way()
        show: Sequence[bool] = ()
        try:
            body = _ITEM.decode(text)
            draft, account = await read_create(request, body)
            ledger = ledger or account
            if account.ledger != ledger.ledger:
                numbers = sorted({account.ledger, ledger.ledger})
                raise MixedLedgers(ledger_ids=[request.scope.ledger_id(number) for number in numbers])
            show = [bool(entry.show_resulting_ledger_account_balances) for entry in body.ledger_entries]
            items.append(draft)
        except TryAgain:
            raise
        except LedgerError as refusal:
            if is_atomic:
                raise refused_in_batch(index, refusal) from None
            items.append(refusal)
        shows.append(show if any(show) else ())
    return items, shows, ledger


async def _render(
    told: Sequence[Transaction | LedgerError], shows: Sequence[Sequence[bool]], ledger: Id | None, ledger_id: str
) -> bytes:
    """Return a `BatchObject` as JSON, written piece by piece."""
    body = bytearray(b'{"results":[')
    turns = Turns()
    for one, show in zip(told, shows, strict=True):
        await turns.give_way()
        _encode_into(_result(one, ledger, ledger_id, show), body, -1)
        body += b","
    body[-1:] = b"]}"
    return bytes(body)


_encode_into: Final = msgspec.json.Encoder().encode_into


def _result(told: Transaction | LedgerError, ledger: Id | None, ledger_id: str, shows: Sequence[bool]) -> BatchResult:
    if isinstance(told, LedgerError):
        return BatchResult("refused", None, error_detail(told)[1])
    assert ledger is not None, "what was accepted has a ledger"
    return BatchResult("accepted", to_object(told, ledger.ledger, ledger_id, shows), None)

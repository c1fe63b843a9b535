"""A ledger's history for those who check it themselves: its log, its checkpoint, and proofs."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Raw, Struct

from doppia.accounting.errors import ObjectNotFound, ParameterInvalid, ParameterMissing
from doppia.accounting.ids import Id, parse_id
from doppia.api.http.lists import UUID_SCHEMA, VERSION, Kind, parse_list
from doppia.api.http.request import Reply, Request, encode
from doppia.api.http.wire import UuidText
from doppia.engine.background.checkpoints import signed_checkpoint
from doppia.proof.exchange import to_line
from doppia.proof.sealing import blocks_of, opened
from doppia.proof.tree import Nodes, consistency_proof, inclusion_proof, leaf_hash, nodes_of, subtree_root
from doppia.store.database.connections import Connection
from doppia.store.log import log
from doppia.store.log.log import Size

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1000
PAGE_BYTES_MAX: Final = 4_000_000
"""Of the payloads of one page, beyond its first."""


def _any_id(text: str, parameter: str) -> Id:
    id_ = parse_id(text)
    if id_ is None or id_.ledger == 0 or id_.sequence == 0:
        raise ObjectNotFound(object="ledger_log_record", id=text[:100], parameter=parameter)
    return id_


LOG_PARAMETERS: Final = {"from_sequence": VERSION, "limit": VERSION}
INCLUSION_PARAMETERS: Final = {"sequence": VERSION, "id": Kind(_any_id, schema=UUID_SCHEMA), "size": VERSION}
CONSISTENCY_PARAMETERS: Final = {"from_size": VERSION, "to_size": VERSION}

NOTE: Final = "text/plain; charset=utf-8"


class LogRecordObject(Struct, kw_only=True):
    """A record of a ledger's log: its canonical bytes, the blocks of texts that it commits to, and what they say.

    Block "0" holds the texts of the record itself, block "n" the metadata of its n-th entry; one that was erased is not
    there, and `texts` is null where none is.
    """

    object: Literal["ledger_log_record"] = "ledger_log_record"
    sequence: int
    leaf_hash: str
    payload: str
    texts: dict[str, str] | None
    record: dict[str, Any]


class LogObject(Struct, kw_only=True):
    """Records of a ledger's log, in order; `size` is the number of all that there are."""

    object: Literal["ledger_log"] = "ledger_log"
    ledger_id: UuidText
    size: int
    records: list[LogRecordObject]


class InclusionProofObject(Struct, kw_only=True):
    """The hashes that lead from a record to the root of the tree over the first `size` records."""

    object: Literal["inclusion_proof"] = "inclusion_proof"
    ledger_id: UuidText
    sequence: int
    leaf_hash: str
    size: int
    root: str
    hashes: list[str]


class ConsistencyProofObject(Struct, kw_only=True):
    """The hashes that show that the log of `from_size` records is the beginning of that of `to_size`."""

    object: Literal["consistency_proof"] = "consistency_proof"
    ledger_id: UuidText
    from_size: int
    from_root: str
    to_size: int
    to_root: str
    hashes: list[str]


def _text(hash_: bytes) -> str:
    return b64encode(hash_).decode()


async def _ledger(request: Request) -> int:
    id_ = await request.find(request.path["id"], "ledger")
    return id_.ledger


async def _size(connection: Connection, request: Request, ledger: int) -> Size:
    found = await log.size(connection, ledger)
    if found is None:
        raise ObjectNotFound(object="ledger", id=request.path["id"])
    return found


async def read_log(request: Request) -> Reply:
    """Read the records of a ledger's log from a sequence on, in order."""
    ledger = await _ledger(request)
    values = parse_list(request.query, "ledger_log", LOG_PARAMETERS, paged=False).values
    limit = values.get("limit", LIMIT_DEFAULT)
    if not 1 <= limit <= LIMIT_MAX:
        raise ParameterInvalid(parameter="limit", reason=f"must be 1 to {LIMIT_MAX}")
    after = max(values.get("from_sequence", 1), 1) - 1
    async with request.scope.connection() as connection:
        found = await log.records(connection, ledger, after, limit, PAGE_BYTES_MAX)
        size = await _size(connection, request, ledger)
    records = [_object(*row) for row in found]
    ledger_id = request.scope.ledger_id(ledger)
    return Reply(200, encode(LogObject(ledger_id=ledger_id, size=size.records, records=records)))


def _object(sequence: int, payload: bytes, texts: bytes | None) -> LogRecordObject:
    record = opened(payload, texts)
    return LogRecordObject(
        sequence=sequence,
        leaf_hash=_text(leaf_hash(payload)),
        payload=_text(payload),
        texts={str(ordinal): _text(block) for ordinal, block in blocks_of(record).items()} or None,
        record=Raw(to_line(record)),  # type: ignore[arg-type] # the same, encoded
    )


async def checkpoint(request: Request) -> Reply:
    """Get the signed checkpoint of a ledger's log as it is now: a C2SP signed note."""
    ledger = await _ledger(request)
    async with request.scope.connection() as connection:
        size = await _size(connection, request, ledger)
    text = signed_checkpoint(request.service.checkpoint_keys, request.scope.ledger_id(ledger), size)
    return Reply(200, text.encode(), {"Content-Type": NOTE})


async def inclusion(request: Request) -> Reply:
    """Prove that a record is part of a ledger's log."""
    ledger = await _ledger(request)
    values = parse_list(request.query, "inclusion_proof", INCLUSION_PARAMETERS, paged=False).values
    id_: Id | None = values.get("id")
    if "sequence" in values and id_ is not None:
        raise ParameterInvalid(parameter="id", reason="stands in the place of sequence; send one of them")
    if "sequence" not in values and id_ is None:
        raise ParameterMissing(parameter="sequence")
    async with request.scope.connection() as connection:
        whole = await _size(connection, request, ledger)
        size = _size_asked(values, "size", whole)
        sequence = values["sequence"] if id_ is None else id_.sequence
        if id_ is not None:
            await _check_id(connection, ledger, id_)
        if not 1 <= sequence <= size:
            raise ParameterInvalid(parameter="sequence", reason=f"must be 1 to {size}, where the log ends")
        root, leaf, *hashes = await _hashes(
            connection,
            ledger,
            lambda nodes: [
                subtree_root(0, size, nodes),
                nodes(0, sequence - 1),
                *inclusion_proof(sequence - 1, size, nodes),
            ],
        )
    return Reply(
        200,
        encode(
            InclusionProofObject(
                ledger_id=request.scope.ledger_id(ledger),
                sequence=sequence,
                leaf_hash=leaf,
                size=size,
                root=root,
                hashes=hashes,
            )
        ),
    )


async def consistency(request: Request) -> Reply:
    """Prove that a ledger's log as it was is the beginning of the log as it is, or was later."""
    ledger = await _ledger(request)
    values = parse_list(request.query, "consistency_proof", CONSISTENCY_PARAMETERS, paged=False).values
    if "from_size" not in values:
        raise ParameterMissing(parameter="from_size")
    async with request.scope.connection() as connection:
        whole = await _size(connection, request, ledger)
        to_size = _size_asked(values, "to_size", whole)
        from_size = _size_asked(values, "from_size", whole._replace(records=to_size))
        from_root, to_root, *hashes = await _hashes(
            connection,
            ledger,
            lambda nodes: [
                subtree_root(0, from_size, nodes),
                subtree_root(0, to_size, nodes),
                *consistency_proof(from_size, to_size, nodes),
            ],
        )
    return Reply(
        200,
        encode(
            ConsistencyProofObject(
                ledger_id=request.scope.ledger_id(ledger),
                from_size=from_size,
                from_root=from_root,
                to_size=to_size,
                to_root=to_root,
                hashes=hashes,
            )
        ),
    )


def _size_asked(values: Mapping[str, Any], parameter: str, whole: Size) -> int:
    size: int = values.get(parameter, whole.records)
    if not 1 <= size <= whole.records:
        raise ParameterInvalid(parameter=parameter, reason=f"must be 1 to {whole.records}")
    return size


async def _check_id(connection: Connection, ledger: int, id_: Id) -> None:
    """Ask that a record wrote what has this id: an object, an entry, a version or an event."""
    found = await log.records(connection, ledger, id_.sequence - 1, 1, 0)
    recorded_at = opened(found[0][1], None).recorded_at if found else 0
    if id_.ledger != ledger or not found or id_.seconds != recorded_at // 1_000_000:
        raise ObjectNotFound(object="ledger_log_record", id=str(id_), parameter="id")


async def _hashes(connection: Connection, ledger: int, prove: Callable[[Nodes], list[bytes]]) -> list[str]:
    """Return hashes that are made of nodes of the tree over a log."""
    nodes = await log.nodes(connection, ledger, nodes_of(prove))
    return [_text(hash_) for hash_ in prove(lambda level, place: nodes[level, place])]

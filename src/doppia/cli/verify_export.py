"""The part of `doppia verify` that needs no database: an export, read and folded from its first line to its last."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol, Self

from doppia.accounting.ids import parse_id
from doppia.cli.imports import read_lines
from doppia.proof.checkpoints import Checkpoint
from doppia.proof.exchange import Header, MalformedLine, UnreadableFile, from_line, header_from_line
from doppia.proof.records import Record
from doppia.proof.replay.fold import Fault, Replay
from doppia.proof.sealing import payload_of
from doppia.proof.tree import Frontier, leaf_hash

_RECORDS_BETWEEN_STEPS: Final = 1000


class _Wrong(Exception):
    """Says what is wrong with an export; the first fault ends its verification."""


class Shown(Protocol):
    """What shows how far a verification has come, such as a bar on a terminal."""

    def __enter__(self) -> Self:
        """Begin to show it."""

    def __exit__(self, *_: object) -> None:
        """End showing it."""

    def step(self, ledger: str, records: int, total: int) -> None:
        """Show how far one ledger has come."""


def verify_export(path: Path, checkpoints: Mapping[str, Checkpoint], shown: Shown) -> int:
    """Verify an export, print the result, and return how many faults were found: one at most."""
    try:
        with shown, path.open("rb") as file:
            result = _verify(read_lines(file), checkpoints, shown)
    except (_Wrong, UnreadableFile) as wrong:
        print(f"{path}: {wrong}")
        return 1
    print(f"{path}: {result}")
    return 0


def _records(lines: Iterator[bytes]) -> Iterator[Record]:
    """Return the records that the lines after the header stand for."""
    sequence = 1
    try:
        for line in lines:
            yield from_line(line)
            sequence += 1
    except MalformedLine as malformed:
        raise _Wrong(f"record {sequence}: {malformed}") from None


def _verify(lines: Iterator[bytes], checkpoints: Mapping[str, Checkpoint], shown: Shown) -> str:
    try:
        header = header_from_line(next(lines, b""))
    except MalformedLine as malformed:
        raise _Wrong(f"header: {malformed}") from None
    id_ = str(header.ledger_id)
    ledger = parse_id(id_)
    if ledger is None:
        raise _Wrong(f"header: {id_} is no ledger's id")
    checkpoint = checkpoints.get(id_)
    if checkpoints and checkpoint is None:
        raise _Wrong(f"it is of ledger {id_}, and the checkpoint of {', '.join(checkpoints)}")
    replay, tree = Replay(ledger.ledger), Frontier()
    leaves: list[bytes] = []
    for size, record in enumerate(_records(lines), 1):
        try:
            replay.apply(record)
        except Fault as fault:
            raise _Wrong(f"ledger {id_}: {fault}") from None
        leaves.append(leaf_hash(payload_of(record)))
        if checkpoint is not None and size == checkpoint.size:
            tree, leaves = tree.extended(leaves)[0], []
            if tree.root() != checkpoint.root:
                raise _Wrong(f"ledger {id_}: its first {size} records are not those of the checkpoint")
        if size % _RECORDS_BETWEEN_STEPS == 0:
            tree, leaves = tree.extended(leaves)[0], []
            shown.step(id_, size, header.records)
    tree, _ = tree.extended(leaves)
    try:
        replay.finish()
    except Fault as fault:
        raise _Wrong(f"ledger {id_}: {fault}") from None
    if replay.state.id_of(1) != id_:
        raise _Wrong(f"header: it names ledger {id_}, and its records {replay.state.id_of(1)}")
    if (tree.size, tree.root()) != (header.records, header.root):
        raise _Wrong(
            f"ledger {id_}: it has {tree.size} records with the root {tree.root().hex()}, and its header says "
            f"{header.records} with {header.root.hex()}{_where(tree.size, header, checkpoint)}"
        )
    if checkpoint is not None and tree.size < checkpoint.size:
        raise _Wrong(f"ledger {id_}: it has {tree.size} records, and had {checkpoint.size} at the checkpoint")
    seen = "" if checkpoint is None else f", and begins with the {checkpoint.size} of the checkpoint"
    return f"ledger {id_}: {tree.size} records, all follow from each other{seen}"


def _where(size: int, header: Header, checkpoint: Checkpoint | None) -> str:
    """Say which records may have been changed where none of them breaks a rule: not those before the checkpoint."""
    if size != header.records:
        return ""
    seen = 0 if checkpoint is None else checkpoint.size
    if seen >= size:
        return ": the records are those of the checkpoint, and the header is wrong"
    return f": one of the records {seen + 1} to {size} has been changed, or the header"

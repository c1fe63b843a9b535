"""How far a verification has come, so that another can go on from there."""

import hashlib
from typing import Any

import msgspec

from doppia.proof.replay.state import State, from_plain, to_plain
from doppia.store.log.verification import Head


class Kept(msgspec.Struct):
    """What is carried from one record of a ledger to the next, beside the fold.

    Attributes:
        entries: how many were compared.
        created: how many objects of each kind the log created.
        annotated: of entries whose metadata was or may have been replaced: its digest and when, None if it has none.
        settlements: when each last changed.
    """

    size: int = 0
    frontier: list[bytes] = []
    entries: int = 0
    nodes: int = 0
    created: dict[str, int] = {}
    annotated: dict[int, tuple[bytes, int] | None] = {}
    settlements: dict[int, int] = {}

    def count(self, kind: str) -> None:
        """Note that the log created one more of a kind."""
        self.created[kind] = self.created.get(kind, 0) + 1


def digest(metadata: Any) -> bytes:
    """Return what stands for the metadata of an entry until it is compared."""
    return hashlib.sha256(msgspec.msgpack.encode(metadata, order="sorted")).digest()[:16]


class _Begun(msgspec.Struct):
    """What `Resumed.plain` returned."""

    done: dict[str, str] = {}
    ledger: int | None = None
    state: Any = None
    kept: Any = None


class Resumed:
    """Where a verification ended that is to go on.

    Attributes:
        ledger: number of the ledger that it was at.
        done: of the ledgers that it had verified, by id: where their logs ended, and the root.
    """

    def __init__(self, told: Any = None) -> None:
        """Begin anew, or with what `plain` returned.

        Raises:
            ValueError: it returned something else.
        """
        try:
            begun = msgspec.convert({} if told is None else told, _Begun)
            self.ledger, self.done = begun.ledger, begun.done
            self._kept: tuple[State | None, Kept | None] = None, None
            if self.ledger is not None:
                self._kept = from_plain(begun.state), msgspec.convert(begun.kept, Kept, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error

    def of(self, head: Head) -> tuple[State | None, Kept | None]:
        """Return what was kept of a ledger."""
        return self._kept if head.ledger == self.ledger else (None, None)

    def plain(self, state: State, kept: Kept) -> Any:
        """Return what JSON can hold of the ledgers that are done, and of the one that is under way."""
        return {
            "done": self.done,
            "ledger": state.ledger,
            "state": to_plain(state),
            "kept": msgspec.to_builtins(kept, str_keys=True),
        }

"""What is asked of the engine and of the model alike; accounts, transactions and categories by number."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

Guards = tuple[tuple[str, str, int], ...]
"""Triples of balance, comparison and bound."""

GuardsOfCategories = tuple[tuple[int, Guards], ...]
"""Pairs of a category and guards of its balances."""


class ModelLeg(NamedTuple):
    account: int
    direction: str
    amount: int
    lock_version: int | None = None
    guards: Guards = ()


CLEAR: Final = -1
"""Stands for an `expires_at` that is taken away."""


class Request(NamedTuple):
    """What is asked for, by its kind; None keeps what is there, or asks for nothing.

    Attributes:
        target: of the transactions made so far the one that it is about.
        archives: whether what fails a balance lock is to be kept as archived.
        items: of a batch, each a creation.
    """

    kind: Literal["create", "revise", "reverse", "partial_post", "expire", "batch", "atomic_batch"]
    legs: Sequence[ModelLeg] | None = None
    status: str | None = None
    external_id: str | None = None
    target: int | None = None
    expires_at: int | None = None
    archives: bool = False
    items: tuple["Request", ...] = ()
    effective: int | None = None
    category_guards: GuardsOfCategories = ()

    @property
    def rewrites(self) -> bool:
        """Whether it changes its target, as only one request of a group may."""
        return self.kind in {"revise", "partial_post", "expire"}

"""What can be asked of a ledger's transactions."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id
from doppia.accounting.ledger.transactions import Draft, Transaction
from doppia.engine.posting.books import Needs
from doppia.engine.posting.writing import Key

Render: TypeAlias = Callable[[Transaction], bytes]


@dataclass(slots=True, kw_only=True)
class Command:
    """A change asked of a ledger's transactions.

    Attributes:
        ledger: its id, taken apart.
        actor: the 16 bytes of the id of the API key that asks; None where the service itself does.
        key: the caller's idempotency key.
        status: of the answer when it is accepted.
        size_bytes: of the request, which bounds how much goes into one group.
        keep_answer: whether the answer's body holds what log records do not yield, such as balances.
    """

    ledger: Id
    actor: bytes | None
    key: Key | None
    status: int
    size_bytes: int = 0
    keep_answer: bool = False


@dataclass(slots=True, kw_only=True)
class Single(Command):
    """A change about one transaction.

    Attributes:
        render: makes the answer's body.
    """

    render: Render


@dataclass(slots=True, kw_only=True)
class Create(Single):
    """A new transaction."""

    draft: Draft


@dataclass(slots=True, kw_only=True)
class Revise(Single):
    """A change to a transaction; `changes` as `transaction_life.revise` takes them."""

    target: Id
    changes: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Reverse(Single):
    """The reversal of a transaction; `draft` without legs."""

    target: Id
    draft: Draft


@dataclass(slots=True, kw_only=True)
class PartialPost(Single):
    """A part of a hold, posted; `draft` as `partial_posts.partial_post` takes it."""

    target: Id
    draft: Draft


@dataclass(slots=True, kw_only=True)
class Expire(Single):
    """The end of a hold that is due; one that is not is left as it is."""

    target: Id


@dataclass(slots=True, kw_only=True)
class Batch(Command):
    """Several new transactions, one after the other.

    Attributes:
        items: drafts, and the refusals of those that were none.
        is_atomic: whether one refusal refuses all.
        render: makes the answer's body from what became of each.
    """

    items: Sequence[Draft | LedgerError]
    is_atomic: bool
    render: Callable[[Sequence[Transaction | LedgerError]], Awaitable[bytes]]


REWRITES: Final = (Revise, PartialPost, Expire)
"""Commands of which one group holds at most one for the same transaction."""


def needs_of(commands: Sequence[Command]) -> Needs:
    """Return what is to be read to decide commands."""
    needs = Needs()
    for command in commands:
        if command.key is not None:
            needs.keys.add(command.key.digest)
        drafts: Sequence[Draft | LedgerError] = ()
        match command:
            case Create(draft=draft):
                drafts = (draft,)
            case Batch(items=items):
                drafts = items
            case Reverse(draft=draft, target=target) | PartialPost(draft=draft, target=target):
                drafts = (draft,)
                needs.transactions.add(target.sequence)
            case Revise(changes=changes, target=target):
                needs.transactions.add(target.sequence)
                locks = changes.get("category_locks") or ()
                external_id = changes.get("external_id")
                drafts = (Draft(changes.get("legs") or (), external_id=external_id, category_locks=locks),)
            case Expire(target=target):
                needs.transactions.add(target.sequence)
        for asked in drafts:
            if isinstance(asked, Draft):
                needs.accounts.update(leg.account for leg in asked.legs)
                needs.categories.update(lock.category for lock in asked.category_locks)
                if asked.external_id is not None:
                    needs.external_ids.add(asked.external_id)
    return needs

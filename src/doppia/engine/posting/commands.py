"""What can be asked of a ledger's transactions. Callers that wait for one ledger are posted together, in groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from doppia.accounting.errors import LedgerError
from doppia.accounting.ids import Id, LedgerRef
from doppia.accounting.ledger.transaction_life import Revision
from doppia.accounting.ledger.transactions import Draft, Transaction
from doppia.accounting.revisions import chosen
from doppia.engine.posting.books import Needs
from doppia.engine.posting.writing import Caller, Command

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class TransactionCommand(Command[T]):
    """A change asked of a ledger's transactions.

    Attributes:
        size_bytes: of the request, which bounds how much goes into one group.
        keeps_result: whether a key keeps the result though the log yields it, because the caller is shown more of it
            than that, such as balances.
    """

    ledger: LedgerRef
    size_bytes: int = 0
    keeps_result: bool = False


@dataclass(slots=True, kw_only=True)
class CreateTransaction(TransactionCommand[Transaction]):
    """A new transaction."""

    draft: Draft


@dataclass(slots=True, kw_only=True)
class ReviseTransaction(TransactionCommand[Transaction]):
    """A change to a transaction."""

    target: Id
    revision: Revision


@dataclass(slots=True, kw_only=True)
class ReverseTransaction(TransactionCommand[Transaction]):
    """The reversal of a transaction; `draft` without legs."""

    target: Id
    draft: Draft


@dataclass(slots=True, kw_only=True)
class PostPart(TransactionCommand[Transaction]):
    """A part of a hold, posted; `draft` as `partial_posts.partial_post` takes it."""

    target: Id
    draft: Draft


@dataclass(slots=True, kw_only=True)
class ExpireTransaction(TransactionCommand[Transaction | None]):
    """The end of a hold that is due; one that is not is left as it is, and there is no result."""

    target: Id


@dataclass(slots=True, kw_only=True)
class CreateBatch(TransactionCommand[list[Transaction | LedgerError]]):
    """Several new transactions, one after the other. The results are in the order of the items.

    Attributes:
        items: drafts, and the refusals of those that were none.
        is_atomic: whether one refusal refuses all.
    """

    items: Sequence[Draft | LedgerError]
    is_atomic: bool


REWRITES: Final = (ReviseTransaction, PostPart, ExpireTransaction)
"""The commands of which one group holds at most one for the same transaction."""


class Asked(NamedTuple):
    """A command, and who asks."""

    caller: Caller
    command: TransactionCommand[Any]


def needs_of(asked: Sequence[Asked]) -> Needs:
    """Return what is to be read to decide commands."""
    needs = Needs()
    for caller, command in asked:
        if caller.key is not None:
            needs.keys.add(caller.key.digest)
        drafts: Sequence[Draft | LedgerError] = ()
        match command:
            case CreateTransaction(draft=draft):
                drafts = (draft,)
            case CreateBatch(items=items):
                drafts = items
            case ReverseTransaction(draft=draft, target=target) | PostPart(draft=draft, target=target):
                drafts = (draft,)
                needs.transactions.add(target.sequence)
            case ReviseTransaction(revision=revision, target=target):
                needs.transactions.add(target.sequence)
                drafts = (
                    Draft(
                        chosen(revision.legs, ()),
                        external_id=chosen(revision.external_id, None),
                        category_guards=chosen(revision.category_guards, ()),
                    ),
                )
            case ExpireTransaction(target=target):
                needs.transactions.add(target.sequence)
        for item in drafts:
            if isinstance(item, Draft):
                needs.entries += len(item.legs)
                needs.accounts.update(leg.account for leg in item.legs)
                needs.categories.update(lock.category for lock in item.category_guards)
                if item.external_id is not None:
                    needs.external_ids.add(item.external_id)
    return needs

"""The commands about a ledger's transactions. Those that wait for one ledger are posted together, in groups."""

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
    """A change that a caller asks of a ledger's transactions.

    Attributes:
        size_bytes: the size of the request. A group takes requests only up to a limit of bytes.
        keeps_result: whether the key keeps the result even where it could be read from the log again, because the
            answer shows more than the log holds, such as the balances afterwards.
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
    """The reversal of a transaction; the draft is as `transaction_life.reversal` takes it."""

    target: Id
    draft: Draft


@dataclass(slots=True, kw_only=True)
class PostPart(TransactionCommand[Transaction]):
    """A part of a hold that is posted; the draft is as `partial_posts.partial_post` takes it."""

    target: Id
    draft: Draft


@dataclass(slots=True, kw_only=True)
class ExpireTransaction(TransactionCommand[Transaction | None]):
    """The end of a hold that is due. A hold that is not due stays as it is, and the result is None."""

    target: Id


@dataclass(slots=True, kw_only=True)
class CreateBatch(TransactionCommand[list[Transaction | LedgerError]]):
    """Several new transactions, decided one after the other. The results are in the order of the items.

    Attributes:
        items: the drafts; an item of the request that could not be read is the refusal of it.
        is_atomic: whether the refusal of one item refuses them all.
    """

    items: Sequence[Draft | LedgerError]
    is_atomic: bool


REWRITES: Final = (ReviseTransaction, PostPart, ExpireTransaction)
"""A group holds at most one of these commands for the same transaction."""


class Asked(NamedTuple):
    """A command, and who asks for it."""

    caller: Caller
    command: TransactionCommand[Any]


def needs_of(asked: Sequence[Asked]) -> Needs:
    """Return what must be read before these commands can be decided."""
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
                needs.accounts.update(leg.account for leg in item.legs)
                needs.categories.update(guarded.category for guarded in item.category_guards)
                if item.external_id is not None:
                    needs.external_ids.add(item.external_id)
    return needs

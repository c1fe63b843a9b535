"""The commands about categories: create, update, discard, and put accounts and other categories in or take them out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from doppia.accounting.errors import AccountDiscarded, ExternalIdTaken, ObjectDiscarded, ObjectNotFound
from doppia.accounting.ids import Id, LedgerRef
from doppia.accounting.ledger.balances import NOTHING, Direction
from doppia.accounting.ledger.categories import (
    Category,
    CategoryFields,
    check_categories_of_account,
    check_currency,
    check_nesting,
)
from doppia.accounting.money import Currency
from doppia.accounting.platform.events import Event
from doppia.accounting.revisions import UNCHANGED, Unchanged, chosen, merged
from doppia.engine.posting.writing import Command, Decision, Moment
from doppia.proof.records import AccountCategories, CategoryParents, Origin, Record
from doppia.store.database.connections import Connection
from doppia.store.ledger import categories
from doppia.store.ledger.categories import Member, record_of

KIND: Final = "ledger_account_category"

Holder = tuple[int, str] | None
"""This is the sequence and the id of the category that has an external id; None where no category has it."""


class Uppers(NamedTuple):
    """What is read before a category is created.

    Attributes:
        holder: the category that has the external id.
        named: the categories that the new one is to be below, by sequence.
        children: the sequences of the categories directly below each of the categories that `check_nesting` needs.
    """

    holder: Holder
    named: Mapping[int, Category]
    children: Mapping[int, list[int]]


@dataclass(frozen=True, kw_only=True)
class CreateCategory(Command[CategoryFields]):
    """Create a category, directly below others where `parents` names them.

    Raises, the first that holds, in this order:
        ExternalIdTaken: a category of the ledger has the external id.
        ObjectNotFound, ObjectDiscarded, CurrencyMismatch: of the first parent that is refused.
        CategoryTooDeep.
    """

    ledger: LedgerRef
    name: str
    currency: Currency
    normal_balance: Direction
    description: str | None = None
    external_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    parents: Sequence[Id] = ()

    async def read(self, connection: Connection) -> Uppers:
        """Return the category that has the external id, and the categories that the new one is to be below."""
        ledger, uppers = self.ledger.number, [id_.sequence for id_ in self.parents]
        holder = await _holder(connection, ledger, self.external_id)
        named = await categories.find(connection, ledger, set(uppers)) if uppers else {}
        children = await categories.children_around(connection, ledger, uppers, 0) if uppers else {}
        return Uppers(holder, named, children)

    def decide(self, found: Uppers, moment: Moment) -> Decision[CategoryFields]:
        """Decide, as `Command.decide` says."""
        _check_external_id(self.external_id, found.holder)
        uppers = named_categories(self.parents, found.named, self.currency)
        created = CategoryFields(
            category=Category(moment.id(), moment.sequence, self.currency, self.normal_balance, True),
            ledger=moment.ledger,
            name=self.name,
            description=self.description,
            external_id=self.external_id,
            metadata=self.metadata,
            sums=NOTHING,
            created_at=moment.now,
            updated_at=moment.now,
            discarded_at=None,
        )
        records: list[Record] = [record_of(created, moment.origin(Event.CREATED))]
        if uppers:
            for upper in uppers:
                check_nesting(upper, moment.sequence, found.children)
            records.append(_below(moment.sequence, uppers, moment.origin(Event.UPDATED, 1)))
        return Decision(created, records)


class Found(NamedTuple):
    """What is read of a category that is to change.

    Attributes:
        fields: the category; None where there is none.
        holder: the category that has the new external id.
    """

    fields: CategoryFields | None
    holder: Holder = None


@dataclass(frozen=True, kw_only=True)
class UpdateCategory(Command[CategoryFields]):
    """Change a category's name, description, external_id or metadata; metadata is merged in.

    Raises, the first that holds, in this order:
        ObjectNotFound, ObjectDiscarded, ExternalIdTaken, MetadataTooLarge.
    """

    ledger: LedgerRef
    target: Id
    name: str | Unchanged = UNCHANGED
    description: str | Unchanged | None = UNCHANGED
    external_id: str | Unchanged | None = UNCHANGED
    metadata: Mapping[str, str | None] | Unchanged | None = UNCHANGED

    async def read(self, connection: Connection) -> Found:
        """Return the category, and the category that has the new external id."""
        fields = await categories.get(connection, self.ledger.number, self.target.sequence)
        holder = None
        if fields is not None and self.external_id not in (UNCHANGED, fields.external_id):
            holder = await _holder(connection, self.ledger.number, chosen(self.external_id, None))
        return Found(fields, holder)

    def decide(self, found: Found, moment: Moment) -> Decision[CategoryFields]:
        """Decide, as `Command.decide` says."""
        before = _existing(self.target, found)
        _check_open(before.category, self.target)
        external_id = chosen(self.external_id, before.external_id)
        _check_external_id(external_id, found.holder)
        fields = before._replace(
            name=chosen(self.name, before.name),
            description=chosen(self.description, before.description),
            external_id=external_id,
            metadata=merged(self.metadata, before.metadata),
            updated_at=moment.now,
        )
        return Decision(fields, [record_of(fields, moment.origin(Event.UPDATED))])


@dataclass(frozen=True, kw_only=True)
class DiscardCategory(Command[CategoryFields]):
    """Discard a category: from now on it holds nothing and is in nothing. To discard it again changes nothing.

    Raises:
        ObjectNotFound.
    """

    ledger: LedgerRef
    target: Id

    async def read(self, connection: Connection) -> Found:
        """Return the category."""
        return Found(await categories.get(connection, self.ledger.number, self.target.sequence))

    def decide(self, found: Found, moment: Moment) -> Decision[CategoryFields]:
        """Decide, as `Command.decide` says."""
        before = _existing(self.target, found)
        if before.discarded_at is not None:
            return Decision(before, unchanged=self.target.sequence)
        fields = before._replace(sums=NOTHING, discarded_at=moment.now, updated_at=moment.now)
        return Decision(fields, [record_of(fields, moment.origin(Event.DISCARDED))])


@dataclass(frozen=True, kw_only=True)
class PlaceAccount(Command[None]):
    """Put an account directly into a category of the same ledger, or take it out.

    Nothing changes where the account is in the category already, or is out of it already.

    Attributes:
        inside: whether the account is to be in the category.

    Raises, the first that holds, in this order:
        ObjectNotFound, ObjectDiscarded: of the category.
        ObjectNotFound, AccountDiscarded: of the account.
        CurrencyMismatch, TooManyCategories.
    """

    ledger: LedgerRef
    category: Id
    account: Id
    inside: bool

    async def read(self, connection: Connection) -> tuple[Category | None, Member | None]:
        """Return the category and the account."""
        ledger, upper = self.ledger.number, self.category.sequence
        found = await categories.find(connection, ledger, [upper])
        return found.get(upper), await categories.member(connection, ledger, self.account.sequence)

    def decide(self, found: tuple[Category | None, Member | None], moment: Moment) -> Decision[None]:
        """Decide, as `Command.decide` says."""
        category, account = _check_open(found[0], self.category), found[1]
        if account is None or account.id != str(self.account):
            raise ObjectNotFound(object="ledger_account", id=str(self.account), parameter="ledger_account_id")
        if not account.is_open:
            raise AccountDiscarded(ledger_account_id=account.id, parameter="ledger_account_id")
        if (category.sequence in account.categories) is self.inside:
            return Decision(None)
        if self.inside:
            check_currency(account.currency, category)
        changed = sorted({*account.categories} ^ {category.sequence})
        record = placing(self.account.sequence, category.sequence, changed, moment.origin(Event.UPDATED))
        return Decision(None, [record])


class Nested(NamedTuple):
    """What is read before a category is put into another or taken out.

    Attributes:
        named: both categories, by sequence.
        parents: the sequences of the categories that the lower one is directly in.
        children: the sequences of the categories directly below each of the categories that `check_nesting` needs.
    """

    named: Mapping[int, Category]
    parents: Sequence[int]
    children: Mapping[int, list[int]]


@dataclass(frozen=True, kw_only=True)
class PlaceCategory(Command[None]):
    """Put a category directly into another one of the same ledger, or take it out.

    Nothing changes where the lower category is in the upper one already, or is out of it already.

    Attributes:
        inside: whether the lower category is to be in the upper one.

    Raises, the first that holds, in this order:
        ObjectNotFound, ObjectDiscarded: of the upper category, then of the lower one.
        CurrencyMismatch, CategoryCycle, CategoryTooDeep.
    """

    ledger: LedgerRef
    upper: Id
    lower: Id
    inside: bool

    async def read(self, connection: Connection) -> Nested:
        """Return both categories, and the categories around them."""
        ledger, upper, lower = self.ledger.number, self.upper.sequence, self.lower.sequence
        named = await categories.find(connection, ledger, [upper, lower])
        parents = await categories.parents(connection, ledger, lower)
        children = await categories.children_around(connection, ledger, [upper], lower) if self.inside else {}
        return Nested(named, parents, children)

    def decide(self, found: Nested, moment: Moment) -> Decision[None]:
        """Decide, as `Command.decide` says."""
        upper = _check_open(found.named.get(self.upper.sequence), self.upper)
        lower = _check_open(found.named.get(self.lower.sequence), self.lower, "sub_category_id")
        if (upper.sequence in found.parents) is self.inside:
            return Decision(None)
        if self.inside:
            check_currency(lower.currency, upper)
            check_nesting(upper.sequence, lower.sequence, found.children)
        parents = sorted({*found.parents} ^ {upper.sequence})
        return Decision(None, [_below(lower.sequence, parents, moment.origin(Event.UPDATED))])


async def _holder(connection: Connection, ledger: int, external_id: str | None) -> Holder:
    return None if external_id is None else await categories.external_id_holder(connection, ledger, external_id)


def _check_external_id(external_id: str | None, holder: Holder) -> None:
    if external_id is not None and holder is not None:
        raise ExternalIdTaken(external_id=external_id, taken_by=holder[1])


def _check_open(category: Category | None, target: Id, parameter: str | None = None) -> Category:
    """Return the category that was read for an id, if it is that category and is not discarded.

    Raises:
        ObjectNotFound, ObjectDiscarded.
    """
    if category is None or category.id != str(target):
        raise ObjectNotFound(object=KIND, id=str(target), parameter=parameter)
    if not category.is_open:
        raise ObjectDiscarded(object=KIND, id=category.id, parameter=parameter)
    return category


def _existing(target: Id, found: Found) -> CategoryFields:
    if found.fields is None or found.fields.category.id != str(target):
        raise ObjectNotFound(object=KIND, id=str(target))
    return found.fields


def named_categories(ids: Sequence[Id], found: Mapping[int, Category], currency: Currency) -> list[int]:
    """Return the sequences of the categories that a new account or category in this currency is to be in, ascending.

    `ids` are those that a request names in `ledger_account_category_ids`, and `found` the categories that were read.

    Raises:
        ObjectNotFound, ObjectDiscarded, CurrencyMismatch: of the first category that is refused.
    """
    for position, id_ in enumerate(ids):
        where = f"ledger_account_category_ids[{position}]"
        check_currency(currency, _check_open(found.get(id_.sequence), id_, where), where)
    return sorted({id_.sequence for id_ in ids})


def placing(account: int, category: int | None, inside: Sequence[int], origin: Origin) -> AccountCategories:
    """Return the record that says which categories an account is directly in.

    Args:
        account: the account's sequence.
        category: the category that the account was put into or taken out of, which the record is about; None where the
            account was opened in its categories, and the record is about the account.
        inside: the sequences of all categories that the account is directly in now, ascending.
        origin: the beginning of the record.

    Raises:
        TooManyCategories.
    """
    check_categories_of_account(len(inside))
    return AccountCategories(**origin._asdict(), account=account, category=category, categories=list(inside))


def _below(category: int, parents: Sequence[int], origin: Origin) -> CategoryParents:
    return CategoryParents(**origin._asdict(), category=category, parents=list(parents))

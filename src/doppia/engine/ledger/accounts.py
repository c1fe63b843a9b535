"""The commands about accounts: open, update, discard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from doppia.accounting.errors import AccountDiscarded, ExternalIdTaken, ObjectNotFound
from doppia.accounting.ids import Id, LedgerRef
from doppia.accounting.ledger.accounts import Account, AccountFields, check_discard
from doppia.accounting.ledger.balances import NOTHING, Direction
from doppia.accounting.ledger.categories import Category
from doppia.accounting.money import Currency
from doppia.accounting.platform.events import Event
from doppia.accounting.revisions import UNCHANGED, Unchanged, chosen, merged
from doppia.engine.ledger.categories import named_categories, placing
from doppia.engine.posting.writing import Command, Decision, Moment
from doppia.proof.records import Record
from doppia.store.database.connections import Connection
from doppia.store.ledger import accounts, categories
from doppia.store.ledger.accounts import record_of

Holder = tuple[int, str] | None
"""This is the sequence and the id of the account that has an external id; None where no account has it."""


@dataclass(frozen=True, kw_only=True)
class OpenAccount(Command[AccountFields]):
    """Open an account at zero. It is directly in the categories that `parents` names.

    Raises, the first that holds, in this order:
        ExternalIdTaken: an active account of the ledger has the external id.
        ObjectNotFound, ObjectDiscarded, CurrencyMismatch: of the first category that is refused.
        TooManyCategories.
    """

    ledger: LedgerRef
    name: str
    currency: Currency
    normal_balance: Direction
    description: str | None = None
    external_id: str | None = None
    ledgerable_type: str | None = None
    ledgerable_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    parents: Sequence[Id] = ()

    async def read(self, connection: Connection) -> tuple[Holder, Mapping[int, Category]]:
        """Return the account that has the external id, and the categories by sequence."""
        ledger = self.ledger.number
        holder = await _holder(connection, ledger, self.external_id)
        return holder, await categories.find(connection, ledger, {id_.sequence for id_ in self.parents})

    def decide(self, found: tuple[Holder, Mapping[int, Category]], moment: Moment) -> Decision[AccountFields]:
        """Decide, as `Command.decide` says."""
        holder, known = found
        _check_external_id(self.external_id, holder)
        account = Account(moment.id(), moment.sequence, self.currency, self.normal_balance, True, 0, NOTHING)
        opened = AccountFields(
            account=account,
            ledger=moment.ledger,
            name=self.name,
            description=self.description,
            external_id=self.external_id,
            ledgerable_type=self.ledgerable_type,
            ledgerable_id=self.ledgerable_id,
            metadata=self.metadata,
            created_at=moment.now,
            updated_at=moment.now,
            discarded_at=None,
        )
        records: list[Record] = [record_of(opened, moment.origin(Event.CREATED))]
        if named := named_categories(self.parents, known, self.currency):
            records.append(placing(account.sequence, None, named, moment.origin(Event.CREATED, 1)))
        return Decision(opened, records)


class Found(NamedTuple):
    """What is read of an account that is to change.

    Attributes:
        fields: the account; None where there is none.
        holder: the account that has the new external id.
        pending_entries: how many entries of the account are pending.
    """

    fields: AccountFields | None
    holder: Holder = None
    pending_entries: int = 0


@dataclass(frozen=True, kw_only=True)
class UpdateAccount(Command[AccountFields]):
    """Change an account's name, description, external_id or metadata; metadata is merged in.

    Raises, the first that holds, in this order:
        ObjectNotFound, AccountDiscarded, ExternalIdTaken, MetadataTooLarge.
    """

    ledger: LedgerRef
    target: Id
    name: str | Unchanged = UNCHANGED
    description: str | Unchanged | None = UNCHANGED
    external_id: str | Unchanged | None = UNCHANGED
    metadata: Mapping[str, str | None] | Unchanged | None = UNCHANGED

    async def read(self, connection: Connection) -> Found:
        """Return the account, and the account that has the new external id."""
        fields = await accounts.get(connection, self.ledger.number, self.target.sequence)
        holder = None
        if fields is not None and self.external_id not in (UNCHANGED, fields.external_id):
            holder = await _holder(connection, self.ledger.number, chosen(self.external_id, None))
        return Found(fields, holder)

    def decide(self, found: Found, moment: Moment) -> Decision[AccountFields]:
        """Decide, as `Command.decide` says."""
        before = _existing(self.target, found)
        if before.discarded_at is not None:
            raise AccountDiscarded(ledger_account_id=before.account.id)
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
class DiscardAccount(Command[AccountFields]):
    """Discard an account that is at zero with nothing pending. To discard it again changes nothing.

    Raises:
        ObjectNotFound, AccountNotEmpty.
    """

    ledger: LedgerRef
    target: Id

    async def read(self, connection: Connection) -> Found:
        """Return the account, and how many of its entries are pending."""
        ledger, sequence = self.ledger.number, self.target.sequence
        fields = await accounts.get(connection, ledger, sequence)
        return Found(fields, None, await accounts.count_pending_entries(connection, ledger, sequence))

    def decide(self, found: Found, moment: Moment) -> Decision[AccountFields]:
        """Decide, as `Command.decide` says."""
        before = _existing(self.target, found)
        if before.discarded_at is not None:
            return Decision(before, unchanged=self.target.sequence)
        check_discard(before.account, pending_entries=found.pending_entries)
        fields = before._replace(discarded_at=moment.now, updated_at=moment.now)
        return Decision(fields, [record_of(fields, moment.origin(Event.DISCARDED))])


async def _holder(connection: Connection, ledger: int, external_id: str | None) -> Holder:
    return None if external_id is None else await accounts.external_id_holder(connection, ledger, external_id)


def _check_external_id(external_id: str | None, holder: Holder) -> None:
    if external_id is not None and holder is not None:
        raise ExternalIdTaken(external_id=external_id, taken_by=holder[1])


def _existing(target: Id, found: Found) -> AccountFields:
    if found.fields is None or found.fields.account.id != str(target):
        raise ObjectNotFound(object="ledger_account", id=str(target))
    return found.fields

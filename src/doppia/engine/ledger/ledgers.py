"""The commands about ledgers: create, update, discard, purge."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from doppia.accounting.errors import ObjectNotFound, PurgeNotConfirmed
from doppia.accounting.ids import LEDGER_NUMBER_MAX, Id, LedgerRef
from doppia.accounting.ledger.ledgers import Ledger
from doppia.accounting.platform.events import Event
from doppia.accounting.revisions import UNCHANGED, Unchanged, chosen, merged
from doppia.engine.posting.writing import Caller, Command, Decision, Moment, OrganizationCommand
from doppia.proof.records import Origin, microseconds
from doppia.proof.tree import Frontier
from doppia.store.closing import settlements
from doppia.store.database.connections import Connection
from doppia.store.ledger import ledgers
from doppia.store.ledger.ledgers import record_of


@dataclass(frozen=True, kw_only=True)
class CreateLedger(OrganizationCommand[Ledger]):
    """Create a ledger. Its number is drawn at random among those that no ledger has."""

    organization: UUID
    name: str
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    async def carry_out(self, connection: Connection, caller: Caller, now: datetime) -> Ledger:
        """Write what was asked, under the lock of the organization."""
        number = 0
        while not number or not await ledgers.create(
            connection, number, self.organization, self.name, self.description, self.metadata, now
        ):
            number = secrets.randbelow(LEDGER_NUMBER_MAX) + 1
        ledger = await ledgers.get(connection, number)
        assert ledger is not None, "the statement before created the ledger"
        origin = Origin(1, microseconds(now), caller.actor_bytes(), Event.CREATED)
        await ledgers.append(connection, number, Frontier(), now, record_of(ledger, origin))
        payload = {"ledger_id": ledger.id, "name": self.name}
        await ledgers.append_organization(connection, self.organization, now, caller.actor, "ledger_created", payload)
        return ledger


@dataclass(frozen=True, kw_only=True)
class UpdateLedger(Command[Ledger]):
    """Change a ledger's name, description or metadata; metadata is merged in.

    Raises:
        MetadataTooLarge.
    """

    ledger: LedgerRef
    name: str | Unchanged = UNCHANGED
    description: str | Unchanged | None = UNCHANGED
    metadata: Mapping[str, str | None] | Unchanged | None = UNCHANGED

    async def read(self, connection: Connection) -> Ledger | None:
        """Return the ledger."""
        return await ledgers.get(connection, self.ledger.number)

    def decide(self, found: Ledger | None, moment: Moment) -> Decision[Ledger]:
        """Decide, as `Command.decide` says."""
        before = _existing(self.ledger, found)
        ledger = before._replace(
            name=chosen(self.name, before.name),
            description=chosen(self.description, before.description),
            metadata=merged(self.metadata, before.metadata),
            updated_at=moment.now,
        )
        return Decision(ledger, [record_of(ledger, moment.origin(Event.UPDATED))])


@dataclass(frozen=True, kw_only=True)
class DiscardLedger(Command[Ledger]):
    """Discard a ledger with its accounts. It can still be read, and accepts nothing more.

    To discard it again changes nothing.
    """

    ALLOWS_DISCARDED = True

    ledger: LedgerRef

    async def read(self, connection: Connection) -> Ledger | None:
        """Return the ledger."""
        return await ledgers.get(connection, self.ledger.number)

    def decide(self, found: Ledger | None, moment: Moment) -> Decision[Ledger]:
        """Decide, as `Command.decide` says."""
        before = _existing(self.ledger, found)
        if before.discarded_at is not None:
            return Decision(before, unchanged=1)
        ledger = before._replace(discarded_at=moment.now, updated_at=moment.now)
        return Decision(ledger, [record_of(ledger, moment.origin(Event.DISCARDED))])


def _existing(ref: LedgerRef, found: Ledger | None) -> Ledger:
    if found is None:
        raise ObjectNotFound(object="ledger", id=ref.id)
    return found


@dataclass(frozen=True, kw_only=True)
class PurgeLedger(OrganizationCommand[Ledger]):
    """Remove a ledger and all its data for good. A line in the organization's log and the idempotency key are left.

    The rows of its settled accounts are locked before its head, as settlements do.

    Attributes:
        confirmation: the ledger's id, which the caller repeats to confirm the purge.

    Raises, the first that holds, in this order:
        ObjectNotFound: the organization has no such ledger.
        PurgeNotConfirmed: `confirmation` is not the ledger's id.
    """

    organization: UUID
    target: Id
    confirmation: str | None

    async def carry_out(self, connection: Connection, caller: Caller, now: datetime) -> Ledger:
        """Write what was asked, under the lock of the organization."""
        number = self.target.ledger
        owner = await ledgers.owner(connection, number)
        if owner != (self.organization, str(self.target)):
            raise ObjectNotFound(object="ledger", id=str(self.target))
        await settlements.lock_accounts(connection, number)
        head = await ledgers.lock_head(connection, number)
        ledger = await ledgers.get(connection, number)
        if head is None or ledger is None:
            raise ObjectNotFound(object="ledger", id=str(self.target))
        if self.confirmation is None or self.confirmation.lower() != ledger.id:
            raise PurgeNotConfirmed(ledger_id=ledger.id)
        purged_at = max(now, head.recorded_at)
        await ledgers.purge(connection, self.organization, ledger, caller.actor, purged_at)
        return ledger._replace(discarded_at=ledger.discarded_at or purged_at)

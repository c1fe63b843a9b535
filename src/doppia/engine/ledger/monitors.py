"""The commands about balance monitors: create, update, discard.

`engine.posting.books` triggers and resolves monitors, when transactions change their accounts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from doppia.accounting.errors import AccountDiscarded, ObjectDiscarded, ObjectNotFound
from doppia.accounting.ids import Id, LedgerRef
from doppia.accounting.ledger.accounts import AccountFields
from doppia.accounting.ledger.monitors import (
    AlertOperator,
    Monitor,
    MonitoredField,
    MonitorFields,
    MonitorState,
    check_room,
    condition_holds,
)
from doppia.accounting.platform.events import Event
from doppia.accounting.revisions import UNCHANGED, Unchanged, chosen, merged
from doppia.engine.posting.writing import Command, Decision, Moment
from doppia.store.database.connections import Connection
from doppia.store.ledger import accounts, monitors
from doppia.store.ledger.monitors import record_of

_KIND: Final = "ledger_account_balance_monitor"


@dataclass(frozen=True, kw_only=True)
class CreateMonitor(Command[MonitorState]):
    """Create a monitor of an account. If its condition holds already, it is triggered from the start, without an event.

    Raises, the first that holds, in this order:
        ObjectNotFound: of the account.
        AccountDiscarded: the account takes no entries, so there is nothing to watch.
        TooManyMonitors.
    """

    ledger: LedgerRef
    account: Id
    monitored: MonitoredField
    operator: AlertOperator
    value: int
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    async def read(self, connection: Connection) -> tuple[AccountFields | None, int]:
        """Return the account, and how many monitors it has."""
        ledger, sequence = self.ledger.number, self.account.sequence
        watching = await monitors.of_accounts(connection, ledger, [sequence])
        return await accounts.get(connection, ledger, sequence), len(watching.get(sequence, ()))

    def decide(self, found: tuple[AccountFields | None, int], moment: Moment) -> Decision[MonitorState]:
        """Decide, as `Command.decide` says."""
        fields, watching = found
        if fields is None or fields.account.id != str(self.account):
            raise ObjectNotFound(object="ledger_account", id=str(self.account), parameter="ledger_account_id")
        account = fields.account
        if not account.is_open:
            raise AccountDiscarded(ledger_account_id=account.id, parameter="ledger_account_id")
        check_room(watching, account)
        holds = condition_holds(self.monitored, self.operator, self.value, account)
        created = MonitorFields(
            monitor=Monitor(moment.sequence, account.sequence, self.monitored, self.operator, self.value, holds),
            id=moment.id(),
            ledger=moment.ledger,
            description=self.description,
            metadata=self.metadata,
            created_at=moment.now,
            updated_at=moment.now,
            discarded_at=None,
        )
        return _written(MonitorState(created, account), moment, Event.CREATED)


@dataclass(frozen=True, kw_only=True)
class UpdateMonitor(Command[MonitorState]):
    """Change a monitor's description or metadata; metadata is merged in.

    Raises:
        ObjectNotFound, ObjectDiscarded, MetadataTooLarge.
    """

    ledger: LedgerRef
    target: Id
    description: str | Unchanged | None = UNCHANGED
    metadata: Mapping[str, str | None] | Unchanged | None = UNCHANGED

    async def read(self, connection: Connection) -> MonitorState | None:
        """Return the monitor with its account."""
        return await monitors.get(connection, self.ledger.number, self.target.sequence)

    def decide(self, found: MonitorState | None, moment: Moment) -> Decision[MonitorState]:
        """Decide, as `Command.decide` says."""
        before, account = _existing(self.target, found)
        if before.discarded_at is not None:
            raise ObjectDiscarded(object=_KIND, id=before.id)
        fields = before._replace(
            description=chosen(self.description, before.description),
            metadata=merged(self.metadata, before.metadata),
            updated_at=moment.now,
        )
        return _written(MonitorState(fields, account), moment, Event.UPDATED)


@dataclass(frozen=True, kw_only=True)
class DiscardMonitor(Command[MonitorState]):
    """Discard a monitor: it is never triggered or resolved again. To discard it again changes nothing.

    Raises:
        ObjectNotFound.
    """

    ledger: LedgerRef
    target: Id

    async def read(self, connection: Connection) -> MonitorState | None:
        """Return the monitor with its account."""
        return await monitors.get(connection, self.ledger.number, self.target.sequence)

    def decide(self, found: MonitorState | None, moment: Moment) -> Decision[MonitorState]:
        """Decide, as `Command.decide` says."""
        before, account = _existing(self.target, found)
        if before.discarded_at is not None:
            return Decision(MonitorState(before, account), unchanged=self.target.sequence)
        fields = before._replace(discarded_at=moment.now, updated_at=moment.now)
        return _written(MonitorState(fields, account), moment, Event.DISCARDED)


def _existing(target: Id, found: MonitorState | None) -> MonitorState:
    if found is None or found.fields.id != str(target):
        raise ObjectNotFound(object=_KIND, id=str(target))
    return found


def _written(state: MonitorState, moment: Moment, event: Event) -> Decision[MonitorState]:
    return Decision(state, [record_of(state.fields, state.account.lock_version, moment.origin(event))])

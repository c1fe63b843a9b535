"""The command about account statements: it makes one, which is final."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ids import Id, LedgerRef
from doppia.accounting.ledger.accounts import AccountFields
from doppia.accounting.ledger.balances import Sums
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.platform.events import Event
from doppia.engine.posting.writing import Command, Decision, Moment
from doppia.store.database.connections import Connection
from doppia.store.ledger import accounts, statements
from doppia.store.ledger.statements import record_of


@dataclass(frozen=True, kw_only=True)
class CreateStatement(Command[Statement]):
    """Make a statement of an account as it is known at its present lock_version. The account may be discarded.

    Entries effective at the lower bound belong to the statement, and those effective at the upper bound do not. The
    upper bound is not before the lower one.

    Raises:
        ObjectNotFound: of the account.
    """

    ledger: LedgerRef
    account: Id
    effective_at_lower_bound: datetime
    effective_at_upper_bound: datetime
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    async def read(self, connection: Connection) -> tuple[AccountFields | None, Sequence[Sums]]:
        """Return the account, and its sums before each bound; None and no sums where there is no account."""
        ledger, sequence = self.ledger.number, self.account.sequence
        fields = await accounts.get(connection, ledger, sequence)
        if fields is None:
            return None, ()
        bounds = [self.effective_at_lower_bound, self.effective_at_upper_bound]
        lock_version = fields.account.lock_version
        return fields, await statements.sums_before(connection, ledger, sequence, lock_version, bounds)

    def decide(self, found: tuple[AccountFields | None, Sequence[Sums]], moment: Moment) -> Decision[Statement]:
        """Decide, as `Command.decide` says."""
        fields, sums = found
        if fields is None or fields.account.id != str(self.account):
            raise ObjectNotFound(object="ledger_account", id=str(self.account), parameter="ledger_account_id")
        starting, ending = sums
        statement = Statement(
            id=moment.id(),
            ledger=moment.ledger,
            sequence=moment.sequence,
            account=fields.account._replace(sums=ending),
            effective_at_lower_bound=self.effective_at_lower_bound,
            effective_at_upper_bound=self.effective_at_upper_bound,
            starting=starting,
            description=self.description,
            metadata=self.metadata,
            created_at=moment.now,
        )
        return Decision(statement, [record_of(statement, moment.origin(Event.CREATED))])

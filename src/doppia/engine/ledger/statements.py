"""Account statements: made once, and final."""

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from doppia.accounting.errors import ObjectNotFound
from doppia.accounting.ids import Id, format_id
from doppia.accounting.ledger.statements import Statement
from doppia.accounting.platform.events import Event
from doppia.engine.posting.writing import Answer, Clock, Key, writing
from doppia.proof.records import StatementWritten, microseconds
from doppia.store.database.connections import Database
from doppia.store.ledger import accounts, statements


async def create(
    database: Database,
    clock: Clock,
    account_id: Id,
    actor: UUID | None,
    key: Key | None,
    render: Callable[[Statement], bytes],
    *,
    effective_at_lower_bound: datetime,
    effective_at_upper_bound: datetime,
    description: str | None,
    metadata: Mapping[str, str],
) -> Answer:
    """Make a statement of an account, be it discarded, as of its lock_version.

    The lower bound belongs to the statement and the upper one does not; the upper one is not before the lower.

    Raises:
        IdempotencyKeyReused, LedgerDiscarded.
        ObjectNotFound: of the account.
    """
    async with writing(database, clock, account_id, key) as write:
        if write.replay is not None:
            return write.replay
        found = await accounts.get(write.connection, account_id.ledger, account_id.sequence)
        if found is None or found.account.id != str(account_id):
            raise ObjectNotFound(object="ledger_account", id=str(account_id), parameter="ledger_account_id")
        account = found.account
        starting, ending = await statements.sums_before(
            write.connection,
            write.ledger,
            account.sequence,
            account.lock_version,
            [effective_at_lower_bound, effective_at_upper_bound],
        )
        statement = Statement(
            id=format_id(int(write.now.timestamp()), write.ledger, write.sequence),
            ledger=write.ledger,
            sequence=write.sequence,
            account=account._replace(sums=ending),
            effective_at_lower_bound=effective_at_lower_bound,
            effective_at_upper_bound=effective_at_upper_bound,
            starting=starting,
            description=description,
            metadata=metadata,
            created_at=write.now,
        )
        await statements.create(write.connection, statement)
        await write.append(_record(statement, actor))
        return await write.answer(201, render(statement))


def _record(statement: Statement, actor: UUID | None) -> StatementWritten:
    account = statement.account
    return StatementWritten(
        sequence=statement.sequence,
        recorded_at=microseconds(statement.created_at),
        actor=actor.bytes if actor else None,
        event=Event.CREATED,
        account=account.sequence,
        lock_version=account.lock_version,
        effective_at_lower_bound=microseconds(statement.effective_at_lower_bound),
        effective_at_upper_bound=microseconds(statement.effective_at_upper_bound),
        starting_sums=[str(part) for part in statement.starting],
        ending_sums=[str(part) for part in account.sums],
        description=statement.description,
        metadata=dict(statement.metadata),
    )
